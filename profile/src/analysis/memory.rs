//! Where memory pressure begins.

use super::scaling;
use crate::record::Cause;
use crate::summary::{MemoryPressure, PointSummary, PressureSign};

/// Major faults, stall time and swapped pages below these are the machine's everyday business.
const LEAST_MAJOR_FAULTS: u64 = 10;
const LEAST_STALL_US: u64 = 10_000;
const LEAST_SWAP_PAGES: u64 = 64;

/// The smallest point of each variant at which a sign of memory pressure shows, in the order of frames per
/// inference, then batch size.
#[must_use]
pub fn pressure(points: &[PointSummary], variants: usize) -> Vec<MemoryPressure> {
    (0..variants).map(|variant| of_variant(points, variant as u16)).collect()
}

fn of_variant(points: &[PointSummary], variant: u16) -> MemoryPressure {
    let mut own: Vec<&PointSummary> = points.iter().filter(|point| point.id.variant == variant).collect();
    own.sort_by_key(|point| (point.id.shape.frames(), point.id.shape));
    let first = own.into_iter().find_map(|point| Some((point.id.shape, sign(points, point)?)));
    MemoryPressure { variant, first: first.map(|(at, _)| at), sign: first.map(|(_, sign)| sign) }
}

/// What rose at a point; the hardest evidence first.
fn sign(points: &[PointSummary], point: &PointSummary) -> Option<PressureSign> {
    let at_least = |value: Option<u64>, least: u64| value.is_some_and(|value| value >= least);
    if point.failure.as_ref().is_some_and(|failure| failure.cause == Cause::OutOfMemory) {
        return Some(PressureSign::OutOfMemory);
    }
    if at_least(point.swap_in_pages, LEAST_SWAP_PAGES) {
        return Some(PressureSign::Swap);
    }
    if at_least(point.major_faults, LEAST_MAJOR_FAULTS) {
        return Some(PressureSign::MajorFaults);
    }
    if at_least(point.psi_some_us, LEAST_STALL_US) {
        return Some(PressureSign::PressureStall);
    }
    scaling::is_excess(points, point.id).then_some(PressureSign::LatencyResidual)
}
