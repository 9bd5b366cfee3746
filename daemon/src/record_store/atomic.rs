//! Whole files that are either the old or the new content, never half of it, whatever is cut off when.

use super::error::StoreError;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Replaces the file at `path` by `bytes`: temporary file beside it, fsync, rename, fsync of the directory.
///
/// # Errors
/// When the system refuses any of these; the old content then stays.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = temporary_beside(path);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = renamed {
        // Best effort: the error that counts is the one above.
        let _ = std::fs::remove_file(&temporary);
        return Err(StoreError::write(path)(error));
    }
    sync_parent(path)
}

/// Makes a rename or a new file in `path`'s directory durable.
pub(super) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(StoreError::write(path))
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
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
