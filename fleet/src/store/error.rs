//! Why the store did not do what was asked.

use std::path::PathBuf;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened.
    #[error(
        "cannot open the store {place}: {problem}; check that it exists, that this user may write there, and store.path"
    )]
    Open {
        /// Path or address.
        place: String,
        /// The database's words.
        problem: String,
    },
    /// There is no store where the configuration says, and the caller does not make one.
    #[error("there is no store at {place}; `clipmark-fleet serve` makes it; check {key}")]
    Missing {
        /// Path or address.
        place: String,
        /// The key of the configuration that says where.
        key: &'static str,
    },
    /// Nothing is wrong with the request; the same may succeed later.
    #[error("the store {place} is busy, full or away: {problem}; it is tried again")]
    Unavailable {
        /// Path or address.
        place: String,
        /// The database's words.
        problem: String,
    },
    /// The database refuses the request.
    #[error(
        "the store {place} refuses: {problem}; its tables may be damaged, see docs/operating.md on backups"
    )]
    Refused {
        /// Path or address.
        place: String,
        /// The database's words.
        problem: String,
    },
    /// The tables were written by a newer program.
    #[error(
        "the store's tables have version {found} and this program knows up to {known}; update clipmark-fleet"
    )]
    Newer {
        /// Version of the tables.
        found: i64,
        /// Version of this program.
        known: i64,
    },
    /// A value in the store is not what this program wrote there.
    #[error("the store holds an unusable {what}: {problem}; restore a backup, or remove the row")]
    Damaged {
        /// The value.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The directory of the database cannot be made.
    #[error("cannot make the directory {} for the store; check store.path and who may write there", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The kernel's words.
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// Whether the same request may succeed later: the store was locked, its disk full, its server away.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
