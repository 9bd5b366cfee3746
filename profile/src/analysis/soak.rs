//! Soaks: segments, throttling and the state that a board sustains.

use crate::record::Record;
use crate::summary::SoakSummary;

/// One summary per soak of the record, in its order.
#[must_use]
pub fn of_record(_record: &Record) -> Vec<SoakSummary> {
    Vec::new()
}
