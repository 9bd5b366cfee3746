//! What the store needs of a database: parameters, rows, transactions.
//!
//! Statements are written once, with parameters `?1`, `?2`, ...; an implementation translates what its
//! database spells differently. Deliberately tiny: no query builder, no mapping of types.

use super::StoreError;
use std::fmt::Debug;

/// A parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// SQL's NULL.
    Null,
    /// A 64-bit integer.
    Int(i64),
    /// A 64-bit float.
    Real(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Int(value.into())
    }
}

impl From<u64> for Value<'_> {
    /// Numbers above 2^63 - 1, which nothing here reaches, become that number.
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Blob(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of an answer. Columns count from 0.
pub trait Row {
    /// An integer, or NULL.
    ///
    /// # Errors
    /// When the column holds something else.
    fn int(&self, column: usize) -> Result<Option<i64>, StoreError>;
    /// A float, or NULL.
    ///
    /// # Errors
    /// When the column holds something else.
    fn real(&self, column: usize) -> Result<Option<f64>, StoreError>;
    /// Text, or NULL.
    ///
    /// # Errors
    /// When the column holds something else.
    fn text(&self, column: usize) -> Result<Option<String>, StoreError>;
    /// Bytes, or NULL.
    ///
    /// # Errors
    /// When the column holds something else.
    fn blob(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError>;
}

/// What is done with each row.
pub type Each<'a> = dyn FnMut(&dyn Row) -> Result<(), StoreError> + 'a;

/// How a database spells what is not the same everywhere.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// A key that the database chooses itself.
    pub key: &'static str,
    /// A 64-bit integer.
    pub int: &'static str,
    /// A 64-bit float.
    pub real: &'static str,
    /// Bytes.
    pub blob: &'static str,
    /// What follows the definition of a table.
    pub table: &'static str,
    /// What follows the definition of a table whose rows lie in the order of its primary key.
    pub clustered: &'static str,
    /// What precedes the name of a table that is to be locked against other writers until the transaction
    /// ends; empty where a transaction that may write is alone anyway.
    pub lock: &'static str,
    /// What follows a SELECT that leaves out what others have locked; empty where writers are alone anyway.
    pub skip_locked: &'static str,
    /// A SELECT that has a row when the store's tables are there.
    pub is_store: &'static str,
}

/// A connection to a database.
pub trait Database: Send + Debug {
    /// Path or address, without what is secret.
    fn place(&self) -> &str;
    /// Sets what outlives the connection. Called only where the store is or is to be made, for it changes the
    /// database, which may be another program's.
    ///
    /// # Errors
    /// The database's refusal.
    fn adopt(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    /// How it spells things.
    fn dialect(&self) -> Dialect;
    /// Runs a statement and returns how many rows it changed.
    ///
    /// # Errors
    /// The database's refusal.
    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError>;
    /// Runs a statement and hands over its rows.
    ///
    /// # Errors
    /// The database's refusal, or what `each` returns.
    fn query(&mut self, sql: &str, values: &[Value<'_>], each: &mut Each<'_>) -> Result<(), StoreError>;
    /// Begins a transaction that may write. Waits for other writers.
    ///
    /// # Errors
    /// The database's refusal.
    fn begin(&mut self) -> Result<(), StoreError>;
    /// Makes the transaction durable.
    ///
    /// # Errors
    /// The database's refusal; the transaction then never was.
    fn commit(&mut self) -> Result<(), StoreError>;
    /// Undoes the transaction, if there is one.
    fn roll_back(&mut self);
}
