//! What can go wrong with a record, told so that a user can mend it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a record cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system refused a write.
    #[error("cannot write {}: {}", path.display(), likely(source))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused a read.
    #[error("cannot read {}: {}", path.display(), likely(source))]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error(
        "{} is damaged: {reason}; restore it from a copy, or measure again into another directory",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The directory holds a record already.
    #[error(
        "{} holds a record already; go on with it by --resume {0}, or choose another --out",
        path.display()
    )]
    Exists {
        /// The output directory.
        path: PathBuf,
    },
    /// The directory holds no record.
    #[error("{} holds no record (no record/header.json); give the directory that `run --out` wrote", path.display())]
    NoRecord {
        /// The output directory.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("{} is being written by another clipmarkd; wait for it to end, or choose another --out", path.display())]
    Busy {
        /// The output directory.
        path: PathBuf,
    },
    /// A record of another version.
    #[error(
        "{} has format {found}, this clipmarkd reads format {known}; read it with the version that wrote it",
        path.display()
    )]
    Version {
        /// The header.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this version.
        known: u32,
    },
}

impl StoreError {
    pub(super) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Write { path: path.into(), source }
    }

    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Read { path: path.into(), source }
    }

    pub(super) fn damaged(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Damaged { path: path.into(), reason: reason.to_string() }
    }
}

/// The likely cause of an I/O error and what to do about it.
fn likely(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full; free some space, or choose another disk by --out",
        io::ErrorKind::QuotaExceeded => {
            "your disk quota is used up; free some space, or choose another --out"
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not; change the permissions, or choose another directory by --out"
        }
        io::ErrorKind::ReadOnlyFilesystem => "the disk is mounted read-only; choose another one by --out",
        io::ErrorKind::NotFound => "a part of the path does not exist; check its spelling",
        io::ErrorKind::NotADirectory => "a part of the path is a file, not a directory; check its spelling",
        io::ErrorKind::FileTooLarge => "the file would exceed the limit set for files (ulimit -f)",
        _ => "the system refused; see the reason below and the kernel's log (dmesg)",
    }
}
