//! What can be asked of the store.
//!
//! Every query is a struct whose absent fields do not restrict, and every answer is bounded by its `limit`.

mod filter;
mod overview;
mod points;
mod profiles;

pub use overview::{
    CommandQuery, CommandRow, ConflictRow, Counts, DeviceQuery, DeviceRow, LastProfile, ModelName, ModelRow,
    PoisonRow, RefusalRow,
};
pub use points::{PointQuery, PointRow};
pub use profiles::{ProfileId, ProfileQuery, ProfileRow, SeriesRow, SoakRow};

use super::StoreError;
use super::database::Row;
use super::rows::named;
use clipmark_profile::axis::Axis;
use clipmark_profile::point::Shape;
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

/// A row whose columns are found by their names, in the order of a SELECT.
struct Named<'a> {
    row: &'a dyn Row,
    names: &'a [&'static str],
}

impl Named<'_> {
    fn at(&self, name: &'static str) -> Result<usize, StoreError> {
        let place = self.names.iter().position(|own| *own == name);
        place.ok_or_else(|| StoreError::Damaged { what: name, problem: "it was not asked for".into() })
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        self.row.text(self.at(name)?)
    }

    fn needed(&self, name: &'static str) -> Result<String, StoreError> {
        required(self.text(name)?, name)
    }

    fn int(&self, name: &'static str) -> Result<Option<i64>, StoreError> {
        self.row.int(self.at(name)?)
    }

    fn count(&self, name: &'static str) -> Result<u64, StoreError> {
        count(self.row, self.at(name)?, name)
    }

    fn real(&self, name: &'static str) -> Result<Option<f64>, StoreError> {
        self.row.real(self.at(name)?)
    }

    fn shape(&self) -> Result<Shape, StoreError> {
        let mut sizes = [0; Axis::SHAPE.len()];
        for (size, axis) in sizes.iter_mut().zip(Axis::SHAPE) {
            *size = small(self.row, self.at(axis.column())?, axis.name())?;
        }
        let damaged = || StoreError::Damaged { what: "shape", problem: format!("{sizes:?} is no shape") };
        Shape::of_sizes(&sizes).ok_or_else(damaged)
    }

    /// The value that a name of an enum stands for.
    fn one_of<T: serde::de::DeserializeOwned>(&self, name: &'static str) -> Result<T, StoreError> {
        let text = self.needed(name)?;
        named(&text).ok_or(StoreError::Damaged { what: name, problem: text })
    }
}

pub(super) fn identifier<T: FromStr<Err = TopicError>>(
    text: &str,
    what: &'static str,
) -> Result<T, StoreError> {
    text.parse().map_err(|error: TopicError| StoreError::Damaged { what, problem: error.to_string() })
}
