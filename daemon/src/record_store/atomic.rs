//! Whole files that are either the old or the new content, never half of it, whatever is cut off when.

use super::error::StoreError;
use clipmark_service::durable;
use std::path::Path;

/// Replaces the file at `path` by `bytes`.
///
/// # Errors
/// When the system refuses; the old content then stays.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    durable::replace(path, bytes).map_err(|error| StoreError::write(path)(error.source))
}

/// Makes a rename or a new file in `path`'s directory durable.
pub(super) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    durable::sync_parent(path).map_err(|error| StoreError::write(path)(error.source))
}

pub(super) fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), StoreError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| StoreError::damaged(path, error))?;
    bytes.push(b'\n');
    write_atomic(path, &bytes)
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let bytes = std::fs::read(path).map_err(StoreError::read(path))?;
    serde_json::from_slice(&bytes).map_err(|error| StoreError::damaged(path, error))
}

pub(super) fn create_dir(path: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(path).map_err(StoreError::write(path))
}
