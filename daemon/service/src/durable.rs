//! Whole files that are either the old or the new content, never half of it, whatever is cut off when.

use crate::disk::advice;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What a disk refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}; {}", path.display(), advice(source))]
pub struct DiskError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// The kernel's refusal.
    pub source: io::Error,
}

impl DiskError {
    /// What makes an error of the kernel's refusal.
    pub fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }
}

/// Replaces the file at `path` by `bytes`.
///
/// # Errors
///
/// As [`replace_with`].
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    replace_with(path, |mut file| file.write_all(bytes).map_err(DiskError::of("write", path))).map(drop)
}

/// Replaces the file at `path` by what `write` puts into a new one beside it, which is synced, renamed, and whose
/// directory is synced. Returns the new file, open for reading and writing. One process at a time replaces a file.
///
/// # Errors
///
/// When `write` fails, or the disk refuses. The old content then stays, and nothing else is left behind, unless the directory
/// alone could not be synced: the new content is there, and a loss of power may bring back the old one.
pub fn replace_with<E: From<DiskError>>(
    path: &Path,
    write: impl FnOnce(&File) -> Result<(), E>,
) -> Result<File, E> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let created = File::options().read(true).write(true).create(true).truncate(true).open(&temporary);
    let file = created.map_err(DiskError::of("create", &temporary))?;
    let rename = || {
        file.sync_all().map_err(DiskError::of("sync", &temporary))?;
        fs::rename(&temporary, path).map_err(DiskError::of("rename a new file to", path))
    };
    if let Err(error) = write(&file).and_then(|()| Ok(rename()?)) {
        // The error that counts is the one above.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_parent(path)?;
    Ok(file)
}

/// Makes a rename, or a new file, in the directory that holds `path` durable.
///
/// # Errors
///
/// When the disk refuses.
pub fn sync_parent(path: &Path) -> Result<(), DiskError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_dir(parent)
}

/// Makes what was created, renamed or removed in a directory durable.
///
/// # Errors
///
/// When the disk refuses.
pub fn sync_dir(dir: &Path) -> Result<(), DiskError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(DiskError::of("sync the directory", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["state.json"]);
    }

    #[test]
    fn what_fails_half_way_leaves_the_old_content_and_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        replace(&path, b"old").unwrap();
        let half = |mut file: &File| {
            file.write_all(b"ne").unwrap();
            Err(DiskError::of("write", &path)(io::ErrorKind::StorageFull.into()))
        };
        let error = replace_with(&path, half).unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("free some space"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["state.json"]);
        // The same where the last step fails: a directory is in the way.
        fs::create_dir(dir.path().join("in the way")).unwrap();
        let error = replace(&dir.path().join("in the way"), b"new").unwrap_err();
        assert_eq!(error.action, "rename a new file to");
        assert_eq!(names(dir.path()), ["in the way", "state.json"]);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = replace(&dir.path().join("gone/file"), b"x").unwrap_err();
        assert_eq!((error.action, error.path), ("create", dir.path().join("gone/file.tmp")));
    }
}
