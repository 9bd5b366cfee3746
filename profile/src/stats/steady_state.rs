//! Whether a latency sequence settled, how, and from which iteration on.
//!
//! After Barrett, Bolz-Tereick, Killick, Mount, Tratt: Virtual machine warmup blows hot and cold (OOPSLA
//! 2017): outliers are marked, PELT splits the rest where mean or variance change (penalty 15 ln n), and
//! the segments are compared with the final one. We work on log latency, so that equivalence is relative:
//! two segments are equivalent when their means differ by less than 1 % or half a standard deviation of the
//! final segment. The equivalent stretch at the end must span a quarter of the iterations (500 of 2000
//! there), else nothing settled.
//!
//! What this does not look at: clocks and temperatures. A board that heats up can look steady here.

use crate::stats::{changepoint, robust};
use crate::summary::SteadyState;

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
    mean: f64,
    sigma: f64,
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
    let tolerance = EQUIVALENT.max(EQUIVALENT_SIGMAS * last.sigma);
    let equivalent = |segment: &Segment| (segment.mean - last.mean).abs() <= tolerance;
    let different = segments.iter().rposition(|segment| !equivalent(segment));
    let Some(different) = different else {
        return flat_after_slow_start(&logs, &marks, last.mean);
    };
    let start = kept[segments[different + 1].from];
    if ((n - start) as f64) < STEADY_SHARE * n as f64 {
        return Settled { state: SteadyState::NoSteadyState, warmup_iterations: 0 };
    }
    let slower_before = segments.iter().all(|segment| equivalent(segment) || segment.mean > last.mean);
    let state = if slower_before { SteadyState::WarmUp } else { SteadyState::Slowdown };
    Settled { state, warmup_iterations: start }
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
    bounds
        .windows(2)
        .filter(|pair| pair[0] < pair[1])
        .map(|pair| {
            let part = &values[pair[0]..pair[1]];
            let n = part.len() as f64;
            let mean = part.iter().sum::<f64>() / n;
            let variance = part.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            Segment { from: pair[0], mean, sigma: variance.sqrt() }
        })
        .collect()
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
