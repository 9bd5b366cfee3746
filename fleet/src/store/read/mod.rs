//! What can be asked of the store.
//!
//! Every query is a struct whose absent fields do not restrict, and every answer is bounded by its `limit`.

mod filter;
mod overview;
mod points;
mod profiles;

pub use overview::{
    CommandQuery, CommandRow, Counts, DeviceQuery, DeviceRow, LastProfile, ModelName, ModelRow, PoisonRow,
};
pub use points::{PointQuery, PointRow};
pub use profiles::{ProfileId, ProfileQuery, ProfileRow, SeriesRow, SoakRow};

use super::StoreError;
use super::database::Row;
use clipmark_profile::topics::TopicError;
use std::str::FromStr;

/// A column that the schema declares NOT NULL.
fn required<T>(value: Option<T>, what: &'static str) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Damaged { what, problem: "it is missing".into() })
}

pub(super) fn text(row: &dyn Row, column: usize, what: &'static str) -> Result<String, StoreError> {
    required(row.text(column)?, what)
}

pub(super) fn count(row: &dyn Row, column: usize, what: &'static str) -> Result<u64, StoreError> {
    let value = required(row.int(column)?, what)?;
    u64::try_from(value).map_err(|error| StoreError::Damaged { what, problem: error.to_string() })
}

fn optional_count(row: &dyn Row, column: usize) -> Result<Option<u64>, StoreError> {
    Ok(row.int(column)?.and_then(|value| u64::try_from(value).ok()))
}

fn small(row: &dyn Row, column: usize, what: &'static str) -> Result<u32, StoreError> {
    let value = count(row, column, what)?;
    u32::try_from(value).map_err(|error| StoreError::Damaged { what, problem: error.to_string() })
}

fn flag(row: &dyn Row, column: usize, what: &'static str) -> Result<bool, StoreError> {
    Ok(count(row, column, what)? != 0)
}

fn optional_flag(row: &dyn Row, column: usize) -> Result<Option<bool>, StoreError> {
    Ok(row.int(column)?.map(|value| value != 0))
}

pub(super) fn identifier<T: FromStr<Err = TopicError>>(
    text: &str,
    what: &'static str,
) -> Result<T, StoreError> {
    text.parse().map_err(|error: TopicError| StoreError::Damaged { what, problem: error.to_string() })
}
