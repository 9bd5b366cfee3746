//! Figure by figure: ratio, threshold, verdict.

use super::Verdict;
use crate::summary::{Interval, PointSummary};
use serde::{Deserialize, Serialize};

/// A figure of a point that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Median latency.
    P50Latency,
    /// P99 latency.
    P99Latency,
    /// Frames a second.
    FramesPerSecond,
    /// Energy per frame of the whole board.
    EnergyPerFrame,
    /// Peak memory, host and device.
    PeakMemory,
}

impl Metric {
    /// Every figure, in the order in which they are told.
    pub const ALL: [Self; 5] =
        [Self::P50Latency, Self::P99Latency, Self::FramesPerSecond, Self::EnergyPerFrame, Self::PeakMemory];

    /// Relative difference that never counts, however certain: run-to-run variation that one run cannot
    /// see.
    #[must_use]
    pub const fn floor(self) -> f64 {
        match self {
            Self::P50Latency | Self::FramesPerSecond => 0.02,
            Self::P99Latency => 0.05,
            Self::EnergyPerFrame | Self::PeakMemory => 0.03,
        }
    }

    const fn more_is_better(self) -> bool {
        matches!(self, Self::FramesPerSecond)
    }
}

/// One figure compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricComparison {
    /// Which figure.
    pub metric: Metric,
    /// The baseline's figure: ns, frames a second, uJ or bytes.
    pub baseline: f64,
    /// The candidate's.
    pub candidate: f64,
    /// Candidate / baseline.
    pub ratio: f64,
    /// Relative difference that would count; absent when an interval is open.
    pub threshold: Option<f64>,
    /// The finding.
    pub verdict: Verdict,
}

/// A figure with the half width of its 95 % interval, relative.
struct Figure {
    value: f64,
    half: Option<f64>,
}

fn figure(value: f64, interval: Interval) -> Option<Figure> {
    let half = match (interval.lower, interval.upper) {
        (Some(lower), Some(upper)) => Some((upper - lower) / 2.0 / value),
        _ => None,
    };
    (value > 0.0 && value.is_finite()).then_some(Figure { value, half })
}

fn read(point: &PointSummary, metric: Metric) -> Option<Figure> {
    let latency = point.latency.as_ref()?;
    match metric {
        Metric::P50Latency => figure(latency.p50_ns, latency.p50_ci_ns),
        Metric::P99Latency => figure(latency.p99_ns?, latency.p99_ci_ns),
        Metric::FramesPerSecond => {
            // Throughput is the inverse of the mean latency: the same relative uncertainty.
            let half = figure(latency.mean_ns, latency.mean_ci_ns)?.half;
            Some(Figure { half, ..figure(point.frames_per_s?, Interval::default())? })
        }
        Metric::EnergyPerFrame => {
            let energy = point.energy?;
            figure(energy.gross_per_frame_uj, energy.gross_ci_uj)
        }
        Metric::PeakMemory => {
            let bytes = point.peak_memory_bytes? + point.device_memory_bytes.unwrap_or(0);
            Some(Figure { half: Some(0.0), ..figure(bytes as f64, Interval::default())? })
        }
    }
}

/// The figures that both points have.
pub(super) fn compare(
    baseline: &PointSummary,
    candidate: &PointSummary,
    noise_factor: f64,
) -> Vec<MetricComparison> {
    let one = |metric: Metric| {
        let (own, other) = (read(baseline, metric)?, read(candidate, metric)?);
        let ratio = other.value / own.value;
        let noise = own.half.zip(other.half).map(|(own, other)| own.hypot(other));
        let threshold = noise.map(|noise| (noise_factor * noise).max(metric.floor()));
        let change = if metric.more_is_better() { 1.0 / ratio - 1.0 } else { ratio - 1.0 };
        let verdict = match threshold {
            None => Verdict::NotComparable,
            Some(threshold) if change > threshold => Verdict::Worse,
            Some(threshold) if change < -threshold => Verdict::Better,
            Some(_) => Verdict::Same,
        };
        Some(MetricComparison {
            metric,
            baseline: own.value,
            candidate: other.value,
            ratio,
            threshold,
            verdict,
        })
    };
    Metric::ALL.into_iter().filter_map(one).collect()
}
