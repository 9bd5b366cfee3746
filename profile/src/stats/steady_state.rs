//! Whether a latency sequence settled, how, and from which iteration on.
//!
//! After Barrett, Bolz-Tereick, Killick, Mount, Tratt: Virtual machine warmup blows hot and cold (OOPSLA
//! 2017): outliers are marked, PELT splits the rest where mean or variance change (penalty 15 ln n), and
//! the segments are compared with the final one. We work on log latency, so that equivalence is relative.
//! Two stretches are *equivalent* when their means differ by less than 1 %, half a standard deviation of
//! the final segment, or what correlated noise alone moves means by (four standard errors from the long-run
//! variance, at most 5 %). The equivalent stretch at the end must span a quarter of the iterations (500 of
//! 2000 there) and its own halves must be equivalent, else nothing settled.
//!
//! What this does not look at: clocks and temperatures. A board that heats up can look steady here.

use crate::stats::{changepoint, robust};
use serde::{Deserialize, Serialize};

/// Whether and how a latency sequence settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SteadyState {
    /// No change from the first iteration on.
    Flat,
    /// Faster after a warm-up.
    WarmUp,
    /// Slower after a while.
    Slowdown,
    /// No consistent final state.
    NoSteadyState,
    /// Too few iterations to tell.
    TooShort,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// Fewest iterations that can be classified.
pub const MIN_ITERATIONS: usize = 30;

/// PELT's penalty per change is this times ln n (Barrett et al.).
const PENALTY: f64 = 15.0;

/// Spread of log latency below which values count as equal: 0.01 %.
const SIGMA_FLOOR: f64 = 1e-4;

/// Means of log latency closer than this are equivalent: 1 %.
const EQUIVALENT: f64 = 0.01;

/// Standard deviations of the final segment within which means are equivalent too.
const EQUIVALENT_SIGMAS: f64 = 0.5;

/// Standard errors by which noise alone may part two means.
const EQUIVALENT_ERRORS: f64 = 4.0;

/// Means further apart than this are never put down to correlated noise: 5 %. A level that swings quickly
/// looks like such noise.
const MAX_NOISE: f64 = 0.05;

/// Share of the iterations that the steady stretch must span.
const STEADY_SHARE: f64 = 0.25;

/// How a sequence settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The classification.
    pub state: SteadyState,
    /// Iterations before the steady stretch; 0 when there is none to speak of.
    pub warmup_iterations: usize,
}

/// A stretch between two changes.
struct Segment {
    from: usize,
    length: f64,
    mean: f64,
    sigma: f64,
}

impl Segment {
    fn of(values: &[f64], from: usize, to: usize) -> Self {
        let part = &values[from..to];
        let length = part.len() as f64;
        let mean = part.iter().sum::<f64>() / length;
        let variance = part.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / length;
        Self { from, length, mean, sigma: variance.sqrt() }
    }

    /// Whether two stretches have one level, for noise of this long-run variance and standard deviation.
    fn equivalent(&self, other: &Self, long_run_variance: f64, sigma: f64) -> bool {
        let error = (long_run_variance * (1.0 / self.length + 1.0 / other.length)).sqrt();
        let noise = (EQUIVALENT_ERRORS * error).min(MAX_NOISE);
        let tolerance = EQUIVALENT.max(EQUIVALENT_SIGMAS * sigma).max(noise);
        (self.mean - other.mean).abs() <= tolerance
    }
}

/// Classifies latencies in order of time, nanoseconds.
#[must_use]
pub fn classify(latencies: &[u64]) -> Settled {
    let n = latencies.len();
    if n < MIN_ITERATIONS {
        return Settled { state: SteadyState::TooShort, warmup_iterations: 0 };
    }
    let logs: Vec<f64> = latencies.iter().map(|&x| (x.max(1) as f64).ln()).collect();
    let marks = robust::outliers(&logs);
    let kept: Vec<usize> = (0..n).filter(|&i| !marks[i]).collect();
    let values: Vec<f64> = kept.iter().map(|&i| logs[i]).collect();
    let penalty = PENALTY * (values.len().max(2) as f64).ln();
    let changes = changepoint::mean_and_variance(&values, penalty, SIGMA_FLOOR);
    let segments = segments(&values, &changes);
    let Some(last) = segments.last() else {
        return Settled { state: SteadyState::NoSteadyState, warmup_iterations: 0 };
    };
    let noise = robust::long_run_variance_between_steps(&values).unwrap_or(0.0);
    let equivalent = |a: &Segment, b: &Segment| a.equivalent(b, noise, last.sigma);
    let different = segments.iter().rposition(|segment| !equivalent(segment, last));
    let from = different.map_or(0, |at| segments[at + 1].from);
    let middle = from + (values.len() - from) / 2;
    let halves = [(from, middle), (middle, values.len())].map(|(a, b)| Segment::of(&values, a, b));
    let settled = (n - kept[from]) as f64 >= STEADY_SHARE * n as f64 && equivalent(&halves[0], &halves[1]);
    if !settled {
        return Settled { state: SteadyState::NoSteadyState, warmup_iterations: 0 };
    }
    if different.is_none() {
        return flat_after_slow_start(&logs, &marks, last.mean);
    }
    let slower = |segment: &Segment| equivalent(segment, last) || segment.mean > last.mean;
    let state = if segments.iter().all(slower) { SteadyState::WarmUp } else { SteadyState::Slowdown };
    Settled { state, warmup_iterations: kept[from] }
}

/// One level throughout, except perhaps for a few first iterations so slow that they were set aside as
/// outliers: those are a warm-up.
fn flat_after_slow_start(logs: &[f64], marks: &[bool], level: f64) -> Settled {
    let slow = marks.iter().zip(logs).take_while(|&(&marked, &log)| marked && log > level).count();
    let state = if slow == 0 { SteadyState::Flat } else { SteadyState::WarmUp };
    Settled { state, warmup_iterations: slow }
}

fn segments(values: &[f64], changes: &[usize]) -> Vec<Segment> {
    let mut bounds = vec![0];
    bounds.extend(changes);
    bounds.push(values.len());
    let stretches = bounds.windows(2).filter(|pair| pair[0] < pair[1]);
    stretches.map(|pair| Segment::of(values, pair[0], pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Rng;

    fn latencies(n: usize, spread: f64, seed: u64, level_ms: impl Fn(usize) -> f64) -> Vec<u64> {
        let mut rng = Rng::new(seed);
        (0..n).map(|i| (1e6 * level_ms(i) * (spread * rng.normal()).exp()) as u64).collect()
    }

    #[track_caller]
    fn check(series: &[u64], state: SteadyState, warmup: usize, within: usize) {
        let settled = classify(series);
        assert_eq!(settled.state, state, "{settled:?}");
        assert!(settled.warmup_iterations.abs_diff(warmup) <= within, "{settled:?} against {warmup}");
    }

    #[test]
    fn each_shape_gets_its_name() {
        check(&latencies(1000, 0.02, 1, |_| 10.0), SteadyState::Flat, 0, 0);
        check(&latencies(1000, 0.02, 2, |i| if i < 120 { 13.0 } else { 10.0 }), SteadyState::WarmUp, 120, 3);
        check(&latencies(1000, 0.02, 3, |i| if i < 200 { 9.0 } else { 10.0 }), SteadyState::Slowdown, 200, 3);
        check(&latencies(1000, 0.02, 4, |i| 10.0 + i as f64 / 100.0), SteadyState::NoSteadyState, 0, 0);
        let swinging = |i: usize| if (i / 100).is_multiple_of(2) { 10.0 } else { 12.0 };
        check(&latencies(1000, 0.02, 5, swinging), SteadyState::NoSteadyState, 0, 0);
        check(&latencies(29, 0.02, 6, |_| 10.0), SteadyState::TooShort, 0, 0);
    }

    #[test]
    fn a_few_very_slow_first_iterations_are_a_warm_up() {
        check(&latencies(1000, 0.02, 7, |i| if i < 3 { 50.0 } else { 10.0 }), SteadyState::WarmUp, 3, 0);
    }

    #[test]
    fn equal_latencies_are_flat() {
        check(&[5_000_000; 400], SteadyState::Flat, 0, 0);
        check(&[0; 400], SteadyState::Flat, 0, 0);
    }

    #[test]
    fn scattered_stalls_do_not_unsettle_a_sequence() {
        let stalled = |i: usize| if i % 97 == 50 { 80.0 } else { 10.0 };
        check(&latencies(2000, 0.02, 8, stalled), SteadyState::Flat, 0, 0);
    }
}
