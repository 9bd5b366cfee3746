//! The columns of an export, with the unit in the name. What is not known is null.

use crate::store::PointRow;
use clipmark_profile::summary::{Status, SteadyState};
use serde::Serialize;
use std::borrow::Cow;

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

/// Every column, in order.
pub(super) const COLUMNS: [(&str, Kind); 29] = [
    ("device", Kind::Text),
    ("profile", Kind::Int),
    ("received_unix_ms", Kind::Int),
    ("started_unix_ms", Kind::Int),
    ("clipmark", Kind::Text),
    ("board", Kind::Text),
    ("l4t", Kind::Text),
    ("power_mode", Kind::Text),
    ("simulated", Kind::Flag),
    ("model", Kind::Text),
    ("model_sha256", Kind::Text),
    ("backend", Kind::Text),
    ("backend_version", Kind::Text),
    ("precision", Kind::Text),
    ("threads", Kind::Int),
    ("batch_size", Kind::Int),
    ("clip_length", Kind::Int),
    ("status", Kind::Text),
    ("throttled", Kind::Flag),
    ("steady", Kind::Text),
    ("iterations", Kind::Int),
    ("mean_ns", Kind::Real),
    ("p50_ns", Kind::Real),
    ("p95_ns", Kind::Real),
    ("p99_ns", Kind::Real),
    ("max_ns", Kind::Int),
    ("frames_per_s", Kind::Real),
    ("energy_per_frame_uj", Kind::Real),
    ("peak_memory_bytes", Kind::Int),
];

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

impl From<Option<f64>> for Cell<'_> {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Null, Self::Real)
    }
}

/// The name that serde gives a variant without data.
fn name<T: Serialize>(value: &T) -> Cell<'static> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Cell::Text(Cow::Owned(name)),
        _ => Cell::Null,
    }
}

/// The values of a row, in the order of [`COLUMNS`].
pub(super) fn row(row: &PointRow) -> [Cell<'_>; COLUMNS.len()] {
    let figures = &row.figures;
    let (status, steady): (&Status, &SteadyState) = (&figures.status, &figures.steady);
    [
        row.device.as_str().into(),
        Cell::Int(row.profile.0),
        row.received_unix_ms.into(),
        row.started_unix_ms.into(),
        row.clipmark.as_str().into(),
        (&row.board).into(),
        (&row.l4t).into(),
        (&row.power_mode).into(),
        Cell::Flag(row.simulated),
        row.model.as_str().into(),
        (&row.model_sha256).into(),
        row.backend.as_str().into(),
        (&row.backend_version).into(),
        row.precision.as_str().into(),
        row.threads.into(),
        figures.batch_size.into(),
        figures.clip_length.into(),
        name(status),
        figures.throttled.map_or(Cell::Null, Cell::Flag),
        name(steady),
        figures.iterations.into(),
        Cell::Real(figures.mean_ns),
        Cell::Real(figures.p50_ns),
        figures.p95_ns.into(),
        figures.p99_ns.into(),
        figures.max_ns.into(),
        figures.frames_per_s.into(),
        figures.energy_per_frame_uj.into(),
        figures.peak_memory_bytes.map_or(Cell::Null, Cell::from),
    ]
}
