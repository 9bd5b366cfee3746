//! The columns of an export, with the unit in the name. What is not known is null.

use crate::store::PointRow;
use clipmark_profile::axis::{Axis, AxisValue, Domain};
use clipmark_profile::figures::{Figure, Stored};
use clipmark_profile::identity::Identity;
use clipmark_profile::summary::{Status, SteadyState};
use serde::Serialize;
use std::borrow::Cow;
use std::sync::LazyLock;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Real,
    Flag,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    Int(i64),
    Real(f64),
    Flag(bool),
}

/// Every column, in order: the run, the axes of the point, how it went, its figures.
pub(super) static COLUMNS: LazyLock<Vec<(&'static str, Kind)>> = LazyLock::new(|| {
    let run = [
        ("device", Kind::Text),
        ("profile", Kind::Int),
        ("received_unix_ms", Kind::Int),
        ("started_unix_ms", Kind::Int),
        ("clipmark", Kind::Text),
        ("board", Kind::Text),
        ("l4t", Kind::Text),
        ("load", Kind::Text),
        ("simulated", Kind::Flag),
        ("model_sha256", Kind::Text),
        ("backend_version", Kind::Text),
    ];
    let axes = Axis::VARIANT.into_iter().chain(Axis::SHAPE).map(|axis| {
        let is_count = matches!(axis.row().domain, Domain::Count { .. });
        (axis.column(), if is_count { Kind::Int } else { Kind::Text })
    });
    let course = [("status", Kind::Text), ("throttled", Kind::Flag), ("steady", Kind::Text)];
    let figures = Figure::stored().map(|(figure, stored)| match stored {
        Stored::Int => (figure.name(), Kind::Int),
        Stored::Real => (figure.name(), Kind::Real),
    });
    run.into_iter().chain(axes).chain(course).chain(figures).collect()
});

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a Option<String>> for Cell<'a> {
    fn from(text: &'a Option<String>) -> Self {
        text.as_deref().map_or(Self::Null, Self::from)
    }
}

impl From<u64> for Cell<'_> {
    /// The store holds no number above 2^63 - 1.
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Cell<'_> {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

/// The name that serde gives a variant without data.
fn name<T: Serialize>(value: &T) -> Cell<'static> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Cell::Text(Cow::Owned(name)),
        _ => Cell::Null,
    }
}

/// The value of an axis; null where it is unset.
fn axis(identity: &Identity, axis: Axis) -> Cell<'static> {
    let size = identity.shape.get(axis).map(AxisValue::Count);
    match identity.variant.get(axis).or(size) {
        None => Cell::Null,
        Some(AxisValue::Count(count)) => count.into(),
        Some(AxisValue::Name(name)) => Cell::Text(Cow::Owned(name)),
    }
}

/// The values of a row, in the order of [`COLUMNS`].
pub(super) fn row(row: &PointRow) -> Vec<Cell<'_>> {
    let (figures, identity) = (&row.figures, &row.identity);
    let run = [
        row.device.as_str().into(),
        Cell::Int(row.profile.0),
        row.received_unix_ms.into(),
        row.started_unix_ms.into(),
        row.clipmark.as_str().into(),
        (&row.board).into(),
        (&row.l4t).into(),
        Cell::Text(Cow::Owned(identity.load.to_string())),
        Cell::Flag(identity.simulated),
        (&identity.digest).into(),
        (&row.backend_version).into(),
    ];
    let axes = Axis::VARIANT.into_iter().chain(Axis::SHAPE).map(|own| axis(identity, own));
    let (status, steady): (&Status, &SteadyState) = (&figures.status, &figures.steady);
    let course = [name(status), figures.throttled.map_or(Cell::Null, Cell::Flag), name(steady)];
    let values = Figure::stored().map(|(figure, stored)| match (stored, figures.figures.get(figure)) {
        (_, None) => Cell::Null,
        (Stored::Int, Some(value)) => Cell::Int(value as i64),
        (Stored::Real, Some(value)) => Cell::Real(value),
    });
    run.into_iter().chain(axes).chain(course).chain(values).collect()
}
