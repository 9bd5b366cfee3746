//! How latency grows with clip length, per variant and batch size.

use crate::point::PointId;
use crate::stats::{robust, scaling};
use crate::summary::{PointSummary, Scaling, Status};
use std::collections::BTreeMap;

/// The residuals of `ln latency` from a line are judged against at least this: 1 %.
const LEAST_NOISE: f64 = 0.01;

/// Residuals beyond this many MAD are no part of the line.
const RESIDUAL_MADS: f64 = 3.0;

/// Excess, as a logarithm, that is never worth a finding.
const LEAST_EXCESS: f64 = 0.1;

/// Fewest clip lengths of which one can stand out.
const LEAST_FOR_LINE: usize = 5;

/// Median latencies by clip length in the state in which points are compared, nanoseconds, for each variant and batch
/// size.
fn rows(points: &[PointSummary]) -> BTreeMap<(u16, u32), Vec<(u32, f64)>> {
    let mut rows: BTreeMap<(u16, u32), Vec<(u32, f64)>> = BTreeMap::new();
    for point in points.iter().filter(|point| point.status != Status::Failed) {
        if let Some((p50_ns, _)) = point.comparable_p50() {
            let at = point.id.shape;
            let row = rows.entry((point.id.variant, at.batch())).or_default();
            row.push((at.clip(), p50_ns));
        }
    }
    rows
}

/// The scaling of every row with at least two clip lengths.
#[must_use]
pub fn of_points(points: &[PointSummary]) -> Vec<Scaling> {
    let row = |((variant, batch_size), row): ((u16, u32), Vec<(u32, f64)>)| {
        let line = scaling::exponent(&row)?;
        let noise = noise(points, variant, batch_size);
        let breakpoint = scaling::breakpoint(&row, noise);
        Some(Scaling {
            variant,
            batch_size,
            exponent: line.exponent,
            exponent_ci: line.interval,
            breakpoint_clip_length: breakpoint.map(|found| found.clip_length),
            segment_exponents: breakpoint.map(|found| found.exponents),
            polynomial_ns: scaling::quadratic(&row),
        })
    };
    rows(points).into_iter().filter_map(row).collect()
}

/// Relative uncertainty of the row's medians: half the median width of their intervals.
fn noise(points: &[PointSummary], variant: u16, batch_size: u32) -> f64 {
    let row =
        points.iter().filter(|point| point.id.variant == variant && point.id.shape.batch() == batch_size);
    let widths: Vec<f64> = row
        .filter_map(|point| {
            let (p50_ns, interval) = point.comparable_p50()?;
            Some((interval.upper? - interval.lower?) / 4.0 / p50_ns)
        })
        .collect();
    robust::median(&widths).unwrap_or(LEAST_NOISE).max(LEAST_NOISE)
}

/// Whether the latency at `id` lies above its row's line, as [`excesses`] has it.
#[must_use]
pub fn is_excess(points: &[PointSummary], id: PointId) -> bool {
    excesses(points, id.variant, id.shape.batch()).contains(&id.shape.clip())
}

/// Clip lengths whose latency lies above the row's line on logarithmic axes by more than 3 MAD of its
/// residuals, and by more than 10 %. Rows below five clip lengths have no line to leave.
#[must_use]
pub fn excesses(points: &[PointSummary], variant: u16, batch_size: u32) -> Vec<u32> {
    let rows = rows(points);
    let Some(row) = rows.get(&(variant, batch_size)).filter(|row| row.len() >= LEAST_FOR_LINE) else {
        return Vec::new();
    };
    let Some(line) = scaling::exponent(row) else { return Vec::new() };
    let residual = |&(frames, latency): &(u32, f64)| {
        latency.ln() - line.intercept - line.exponent * f64::from(frames).ln()
    };
    let residuals: Vec<f64> = row.iter().map(residual).collect();
    let Some(mad) = robust::mad(&residuals) else { return Vec::new() };
    let bound = (RESIDUAL_MADS * mad).max(LEAST_EXCESS);
    // As much as the median is uncertain, where it has an interval, is no excess.
    let uncertainty = |frames: u32| {
        let own = points.iter().find(|point| {
            point.id.variant == variant
                && point.id.shape.batch() == batch_size
                && point.id.shape.clip() == frames
        });
        let (p50_ns, interval) = own.and_then(PointSummary::comparable_p50)?;
        Some((p50_ns / interval.lower?).ln())
    };
    let above = row
        .iter()
        .zip(&residuals)
        .filter(|&(&(frames, _), &residual)| residual - uncertainty(frames).unwrap_or(0.0) > bound);
    above.map(|(&(frames, _), _)| frames).collect()
}
