//! Scores of the steady-state classification and of level changes.

use super::source;
use crate::stats::rng::Rng;
use crate::stats::{changepoint, robust, steady_state};
use crate::summary::SteadyState;

/// How sequences of one planted shape were classified.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Classified {
    /// Share with the right name.
    pub right: f64,
    /// Median distance between the warm-up found and the planted one, iterations, over those named right.
    pub median_error: f64,
}

/// A planted course of the latency level over a sequence of iterations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Course {
    /// One level.
    Level,
    /// A step to the final level after so many iterations, from `ratio` times it.
    Step {
        /// Iterations before the final level.
        iterations: usize,
        /// First level / final level.
        ratio: f64,
    },
    /// Exponential approach from 1.5 times the final level; the warm-up ends within 1 % of it.
    Approach {
        /// Iterations until within 1 %.
        iterations: usize,
    },
    /// Rises by half over the whole sequence.
    Drift,
    /// Swings between two levels 20 % apart with this period.
    Swing {
        /// Iterations of a full period.
        period: usize,
    },
}

impl Course {
    /// The name and the warm-up that this course deserves.
    #[must_use]
    pub fn truth(self) -> (SteadyState, usize) {
        match self {
            Self::Level => (SteadyState::Flat, 0),
            Self::Step { iterations, ratio } if ratio > 1.0 => (SteadyState::WarmUp, iterations),
            Self::Step { iterations, .. } => (SteadyState::Slowdown, iterations),
            Self::Approach { iterations } => (SteadyState::WarmUp, iterations),
            Self::Drift | Self::Swing { .. } => (SteadyState::NoSteadyState, 0),
        }
    }

    /// Level at an iteration, relative to the final one.
    fn level(self, iteration: usize, n: usize) -> f64 {
        match self {
            Self::Level => 1.0,
            Self::Step { iterations, ratio } => {
                if iteration < iterations {
                    ratio
                } else {
                    1.0
                }
            }
            Self::Approach { iterations } => {
                1.0 + 0.5 * (-f64::ln(50.0) * iteration as f64 / iterations as f64).exp()
            }
            Self::Drift => 1.0 + 0.5 * iteration as f64 / n as f64,
            Self::Swing { period } => {
                if iteration % period < period / 2 {
                    1.0
                } else {
                    1.2
                }
            }
        }
    }
}

/// Classification of `runs` sequences of `n` iterations around 10 ms, 2 % noise with AR(1) coefficient `phi`.
#[must_use]
pub fn classified(course: Course, phi: f64, n: usize, runs: u32, seed: u64) -> Classified {
    let (state, warmup) = course.truth();
    let mut rng = Rng::new(seed);
    let mut errors = Vec::new();
    for _ in 0..runs {
        let noise = source::autoregressive(1e7, 0.02, phi, n, &mut rng);
        let series: Vec<u64> =
            noise.iter().enumerate().map(|(i, &x)| (x as f64 * course.level(i, n)) as u64).collect();
        let settled = steady_state::classify(&series);
        if settled.state == state {
            errors.push(settled.warmup_iterations.abs_diff(warmup) as f64);
        }
    }
    Classified {
        right: errors.len() as f64 / f64::from(runs.max(1)),
        median_error: robust::median(&errors).unwrap_or(f64::NAN),
    }
}

/// How level changes were found in a correlated series.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LevelChanges {
    /// Share of series without a step in which a change was found.
    pub false_rate: f64,
    /// The same with the variance of single values in place of the long-run variance, for contrast.
    pub naive_false_rate: f64,
    /// Share of series with a step in which a change was found within 10 values of it.
    pub found: f64,
    /// Median distance of the change found, in values.
    pub median_error: f64,
}

/// Level changes in `runs` series of 1800 values of log latency (half an hour at 1 Hz) with AR(1) noise of
/// standard deviation `sigma` and coefficient `phi`, with and without a step of `step` (log) in the middle.
#[must_use]
pub fn level_changes(step: f64, sigma: f64, phi: f64, runs: u32, seed: u64) -> LevelChanges {
    let n = 1800;
    let mut rng = Rng::new(seed);
    let (mut false_runs, mut naive_runs, mut errors) = (0, 0, Vec::new());
    let changes = |series: &[f64], variance: f64| {
        changepoint::mean(series, changepoint::throttle_penalty(variance, n), 5)
    };
    for _ in 0..runs {
        let series: Vec<f64> = source::autoregressive(1e9, sigma, phi, n, &mut rng)
            .iter()
            .map(|&x| (x as f64 / 1e9).ln())
            .collect();
        let noise = robust::long_run_variance_between_steps(&series).unwrap_or(f64::INFINITY);
        false_runs += u32::from(!changes(&series, noise).is_empty());
        naive_runs += u32::from(!changes(&series, sigma * sigma).is_empty());
        let stepped: Vec<f64> =
            series.iter().enumerate().map(|(i, x)| if i < n / 2 { *x } else { x + step }).collect();
        let noise = robust::long_run_variance_between_steps(&stepped).unwrap_or(f64::INFINITY);
        let nearest = changes(&stepped, noise).iter().map(|at| at.abs_diff(n / 2)).min();
        errors.extend(nearest.filter(|&error| error <= 10).map(|error| error as f64));
    }
    let share = |count: f64| count / f64::from(runs.max(1));
    LevelChanges {
        false_rate: share(f64::from(false_runs)),
        naive_false_rate: share(f64::from(naive_runs)),
        found: share(errors.len() as f64),
        median_error: robust::median(&errors).unwrap_or(f64::NAN),
    }
}
