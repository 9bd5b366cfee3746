//! The store in a SQLite file: write-ahead log, every commit on the disk before it returns.

use super::StoreError;
use super::database::{Database, Dialect, Each, Row, Value};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Error, ErrorCode, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// How long a statement waits for another writer before the caller is told.
const BUSY: Duration = Duration::from_secs(2);

/// Statements kept ready.
const STATEMENTS: usize = 64;

/// A connection to a file.
#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
    place: String,
}

impl Sqlite {
    /// Opens a file that may be new; its directory is made too.
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory)
                .map_err(|source| StoreError::Directory { path: directory.to_owned(), source })?;
        }
        Self::connect(path, OpenFlags::default())
    }

    /// Opens a file that is there.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        // What cannot be looked at is left to SQLite to tell.
        if let Ok(false) = path.try_exists() {
            return Err(StoreError::Missing { place: path.display().to_string(), key: super::PATH_KEY });
        }
        Self::connect(path, OpenFlags::default().difference(OpenFlags::SQLITE_OPEN_CREATE))
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        let open = || {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
            // Reads the header, so that a file of something else is told here.
            connection.pragma_query(None, "schema_version", |_| Ok(()))?;
            // Durable at commit: receipts are promises.
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", "ON")?;
            connection.pragma_update(None, "cache_size", -32_768)?;
            // 128 MiB of log before it is worked into the file: a flood is written once, and again when it is over.
            connection.pragma_update(None, "wal_autocheckpoint", 32_768)?;
            Ok(connection)
        };
        let connection = open()
            .map_err(|error: Error| StoreError::Open { place: place.clone(), problem: error.to_string() })?;
        Ok(Self { connection, place })
    }

    fn failed(place: &str, error: &Error) -> StoreError {
        let (place, problem) = (place.to_owned(), error.to_string());
        let passing = [
            ErrorCode::DatabaseBusy,
            ErrorCode::DatabaseLocked,
            ErrorCode::DiskFull,
            ErrorCode::SystemIoFailure,
            ErrorCode::CannotOpen,
            ErrorCode::OutOfMemory,
        ];
        match error.sqlite_error_code() {
            Some(code) if passing.contains(&code) => StoreError::Unavailable { place, problem },
            _ => StoreError::Refused { place, problem },
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Blob(value) => ValueRef::Blob(value),
        }))
    }
}

struct SqliteRow<'a, 'b>(&'a rusqlite::Row<'b>, &'a str);

impl SqliteRow<'_, '_> {
    fn get<T: rusqlite::types::FromSql>(&self, column: usize) -> Result<Option<T>, StoreError> {
        self.0.get(column).map_err(|error| Sqlite::failed(self.1, &error))
    }
}

impl Row for SqliteRow<'_, '_> {
    fn int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        self.get(column)
    }

    fn real(&self, column: usize) -> Result<Option<f64>, StoreError> {
        self.get(column)
    }

    fn text(&self, column: usize) -> Result<Option<String>, StoreError> {
        self.get(column)
    }

    fn blob(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(column)
    }
}

impl Database for Sqlite {
    fn place(&self) -> &str {
        &self.place
    }

    fn adopt(&mut self) -> Result<(), StoreError> {
        let set = self.connection.pragma_update(None, "journal_mode", "WAL");
        set.map_err(|error| Self::failed(&self.place, &error))
    }

    fn dialect(&self) -> Dialect {
        Dialect {
            key: "INTEGER PRIMARY KEY",
            int: "INTEGER",
            real: "REAL",
            blob: "BLOB",
            table: "STRICT",
            clustered: "STRICT, WITHOUT ROWID",
            lock: "",
            skip_locked: "",
            is_store: "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'clipmark_fleet'",
        }
    }

    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let run = || self.connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values));
        run().map(|rows| rows as u64).map_err(|error| Self::failed(&self.place, &error))
    }

    fn query(&mut self, sql: &str, values: &[Value<'_>], each: &mut Each<'_>) -> Result<(), StoreError> {
        let failed = |error: Error| Self::failed(&self.place, &error);
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query(rusqlite::params_from_iter(values)).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            each(&SqliteRow(row, &self.place))?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.execute("BEGIN IMMEDIATE", &[]).map(drop)
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.execute("COMMIT", &[]).map(drop)
    }

    fn roll_back(&mut self) {
        // Some failures have rolled back already.
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK", &[])
        {
            tracing::warn!(%error, "a transaction could not be rolled back");
        }
    }
}
