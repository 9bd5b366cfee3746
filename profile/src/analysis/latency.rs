//! Latency and throughput of one point, from its chunks.
//!
//! Terms: the *counted* latencies are those behind the lead-in of each chunk; the *steady* ones are what is
//! left of them after the warm-up. A fixed run counts exactly its given iterations: nothing is discarded
//! beyond its own warm-up, and the steady-state finding is only reported.

use crate::plan::Load;
use crate::point::Shape;
use crate::record::{Chunk, Phase, PointEvidence};
use crate::stats::histogram::Histogram;
use crate::stats::interval;
use crate::stats::quantile::{self, Quantile};
use crate::stats::{robust, steady_state};
use crate::summary::{LatencySummary, SteadyState};
use crate::units::Nanos;

/// The latencies of a point that its figures are computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steady {
    /// Latencies in order of time, nanoseconds.
    pub latencies_ns: Vec<u64>,
    /// Inferences that were run and not used: lead-ins and warm-up.
    pub discarded: u64,
    /// How the counted sequence settled.
    pub state: SteadyState,
}

/// Splits off the warm-up of a counted sequence: how many iterations to discard, and how it settled. Only
/// a warm-up is discarded. A sequence that became slower, or never settled, is what the board does.
#[must_use]
pub fn warm_up(counted: &[u64]) -> (usize, SteadyState) {
    let settled = steady_state::classify(counted);
    match settled.state {
        SteadyState::WarmUp => (settled.warmup_iterations, settled.state),
        _ => (0, settled.state),
    }
}

/// Whether the point was measured by a given number of iterations.
fn is_fixed(point: &PointEvidence) -> bool {
    point.chunks.iter().any(|chunk| chunk.phase == Phase::Fixed)
}

/// The chunks that figures are computed from: of a fixed run, the fixed ones.
fn used(point: &PointEvidence) -> impl Iterator<Item = &Chunk> {
    let fixed = is_fixed(point);
    point.chunks.iter().filter(move |chunk| !fixed || chunk.phase == Phase::Fixed)
}

/// The latencies that count.
#[must_use]
pub fn steady(point: &PointEvidence) -> Steady {
    let counted: Vec<u64> = used(point).flat_map(Chunk::counted).copied().collect();
    let issued: usize = point.chunks.iter().map(|chunk| chunk.latencies_ns.len()).sum();
    let (warm_up, state) = warm_up(&counted);
    let latencies_ns = if is_fixed(point) { counted } else { counted[warm_up..].to_vec() };
    Steady { discarded: (issued - latencies_ns.len()) as u64, latencies_ns, state }
}

/// The summary of the steady latencies; `None` when there are none.
#[must_use]
pub fn summarize(steady: &Steady) -> Option<LatencySummary> {
    let series = &steady.latencies_ns;
    let mut sorted = series.clone();
    sorted.sort_unstable();
    let n = sorted.len() as u64;
    let values: Vec<f64> = series.iter().map(|&latency| latency as f64).collect();
    let bounds = |quantile| interval::of_quantile(series, &sorted, quantile);
    let p99 = bounds(Quantile::P99);
    let p999 = quantile::reference(&sorted, Quantile::P999);
    Some(LatencySummary {
        iterations: n,
        warmup_iterations: steady.discarded,
        sum_ns: sorted.iter().fold(0, |sum: u64, &latency| sum.saturating_add(latency)),
        mean_ns: quantile::mean(&sorted)?,
        p50_ns: quantile::median(&sorted)?,
        p95_ns: quantile::reference(&sorted, Quantile::P95),
        p99_ns: quantile::reference(&sorted, Quantile::P99),
        p999_ns: p999.filter(|_| !Quantile::P999.extrapolates(n)),
        min_ns: *sorted.first()?,
        max_ns: *sorted.last()?,
        mad_ns: robust::mad(&values)?,
        mean_ci_ns: interval::of_mean(&values),
        p50_ci_ns: bounds(Quantile::P50).interval,
        p95_ci_ns: bounds(Quantile::P95).interval,
        p99_ci_ns: p99.interval,
        tau: p99.tau,
        p99_extrapolated: Quantile::P99.extrapolates(n),
        steady: steady.state,
        histogram: Histogram::of(series),
    })
}

/// Clips a second. Closed load: batch size x iterations / summed latency, over the steady iterations, so
/// that what lies between inferences is not charged to the model. Paced load: batch size x inferences /
/// elapsed time, over whole chunks, because latency there contains waiting.
#[must_use]
pub fn clips_per_s(point: &PointEvidence, steady: &Steady, load: Load) -> Option<f64> {
    let clips = f64::from(point.id.shape.batch());
    let (inferences, ns) = match load {
        Load::Closed | Load::Unknown => {
            let sum: u128 = steady.latencies_ns.iter().map(|&latency| u128::from(latency)).sum();
            (steady.latencies_ns.len(), sum as f64)
        }
        Load::Paced => {
            let elapsed: u64 = used(point).map(|chunk| chunk.ended.since(chunk.started).0).sum();
            (used(point).map(|chunk| chunk.latencies_ns.len()).sum(), elapsed as f64)
        }
    };
    (inferences > 0 && ns > 0.0).then(|| clips * inferences as f64 / ns * 1e9)
}

/// Frames a second: clips a second x clip length.
#[must_use]
pub fn frames_per_s(clips_per_s: f64, at: Shape) -> f64 {
    clips_per_s * f64::from(at.clip())
}

/// Steady iterations over the deadline.
#[must_use]
pub fn misses(steady: &Steady, deadline: Nanos) -> u64 {
    steady.latencies_ns.iter().filter(|&&latency| latency > deadline.0).count() as u64
}

/// Percentiles of a time that the device measures itself, nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DeviceTime {
    /// Median.
    pub p50_ns: Option<f64>,
    /// P95.
    pub p95_ns: Option<f64>,
    /// P99.
    pub p99_ns: Option<f64>,
}

/// Percentiles of the device's own time that `array` picks from a chunk (compute or a transfer), over the
/// same inferences as the latency's; absent unless every chunk tells it.
#[must_use]
pub fn device_time(point: &PointEvidence, steady: &Steady, array: fn(&Chunk) -> &[u64]) -> DeviceTime {
    let mut times = Vec::new();
    for chunk in used(point).filter(|chunk| !chunk.latencies_ns.is_empty()) {
        if array(chunk).len() != chunk.latencies_ns.len() {
            return DeviceTime::default();
        }
        times.extend_from_slice(chunk.behind_lead_in(array(chunk)));
    }
    // What latency discards as warm-up is discarded here too.
    times.drain(..times.len().saturating_sub(steady.latencies_ns.len()));
    times.sort_unstable();
    DeviceTime {
        p50_ns: quantile::median(&times),
        p95_ns: quantile::reference(&times, Quantile::P95),
        p99_ns: quantile::reference(&times, Quantile::P99),
    }
}
