//! Figure by figure: ratio, threshold, verdict.

use super::Verdict;
use crate::figures::Figure;
use crate::summary::{Interval, PointSummary};
use serde::{Deserialize, Serialize};

/// One figure compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricComparison {
    /// Which figure.
    pub metric: Figure,
    /// The baseline's value, in the unit of the figure's name.
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

/// A value with the half width of its 95 % interval, relative.
struct Known {
    value: f64,
    half: Option<f64>,
}

fn half(value: f64, interval: Interval) -> Option<f64> {
    let (lower, upper) = (interval.lower?, interval.upper?);
    Some((upper - lower) / 2.0 / value)
}

/// The figure in the state in which the run's points are compared.
fn read(point: &PointSummary, figure: Figure) -> Option<Known> {
    point.latency.as_ref()?;
    let (value, interval) =
        figure.in_common_state(point).filter(|(value, _)| *value > 0.0 && value.is_finite())?;
    let half = match figure {
        // Throughput is the inverse of the mean latency: the same relative uncertainty.
        Figure::FramesPerSecond => point.comparable_mean().and_then(|(mean, interval)| half(mean, interval)),
        Figure::PeakMemory => Some(0.0),
        _ => half(value, interval),
    };
    Some(Known { value, half })
}

/// The figures that both points have.
pub(super) fn compare(
    baseline: &PointSummary,
    candidate: &PointSummary,
    noise_factor: f64,
) -> Vec<MetricComparison> {
    let one = |metric: Figure| {
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
    Figure::compared().filter_map(one).collect()
}
