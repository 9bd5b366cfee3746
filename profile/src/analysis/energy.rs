//! Energy of the measured windows, from the power channels of the sensor record.

use crate::record::{PointEvidence, Record};
use crate::summary::EnergySummary;

/// Energy of one point over its measured chunks; `None` without a total power.
#[must_use]
pub fn of_point(_record: &Record, _point: &PointEvidence) -> Option<EnergySummary> {
    None
}

/// Idle power of the board in mW; `None` where no idle baseline was recorded.
#[must_use]
pub fn idle_power_mw(_record: &Record) -> Option<f64> {
    None
}
