//! What a point's iterations show so far, with the uncertainty that decisions need.
//!
//! A P99 has no upper bound below 368 iterations. Until then decisions use the largest latency seen as a
//! *provisional* upper bound. This rests on an assumption: a disturbance too rare to be seen yet delays a
//! longer inference at least as much as a shorter one. What is published never uses it.

use crate::point::Shape;
use crate::select::Measure;
use crate::stats::interval;
use crate::stats::quantile::{self, Quantile};

/// A point's latency so far, nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Estimate {
    /// Counted iterations.
    pub(super) n: usize,
    pub(super) mean: f64,
    mean_bounds: (Option<f64>, Option<f64>),
    /// P99, or the largest latency where P99 would be extrapolated.
    pub(super) p99: f64,
    pub(super) p99_lower: Option<f64>,
    pub(super) p99_upper: Option<f64>,
    /// How many iterations one independent one is worth, about P99.
    pub(super) tau: f64,
    pub(super) largest: f64,
    energy_per_inference: Option<f64>,
    frames: f64,
    /// Relative standard deviation that the board's state adds.
    state_sd: f64,
}

impl Estimate {
    pub(super) fn of(samples: &[u64], energy_per_inference: Option<f64>, at: Shape) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let (mean, largest) = (quantile::mean(&sorted)?, *sorted.last()? as f64);
        let series: Vec<f64> = samples.iter().map(|&latency| latency as f64).collect();
        let mean_ci = interval::of_mean(&series);
        let p99_ci = interval::of_quantile(samples, &sorted, Quantile::P99);
        let p99 = match quantile::reference(&sorted, Quantile::P99) {
            Some(p99) if !Quantile::P99.extrapolates(sorted.len() as u64) => p99,
            _ => largest,
        };
        Some(Self {
            n: samples.len(),
            mean,
            mean_bounds: (mean_ci.lower, mean_ci.upper),
            p99,
            p99_lower: p99_ci.interval.lower,
            p99_upper: p99_ci.interval.upper,
            tau: p99_ci.tau,
            largest,
            energy_per_inference,
            frames: at.frames() as f64,
            state_sd: 0.0,
        })
    }

    /// The same with what the board's state, as uncertain as `sd`, adds to every interval.
    pub(super) fn with_state(mut self, sd: f64) -> Self {
        let wider = |centre: f64, end: Option<f64>, sign: f64| {
            end.map(|end| centre + sign * (end - centre).abs().hypot(1.96 * sd * centre))
        };
        self.state_sd = sd;
        self.mean_bounds =
            (wider(self.mean, self.mean_bounds.0, -1.0), wider(self.mean, self.mean_bounds.1, 1.0));
        self.p99_lower = wider(self.p99, self.p99_lower, -1.0);
        self.p99_upper = wider(self.p99, self.p99_upper, 1.0);
        self
    }

    /// Half width of the mean's interval over the mean; `None` where the interval is open.
    pub(super) fn mean_precision(&self) -> Option<f64> {
        let (lower, upper) = (self.mean_bounds.0?, self.mean_bounds.1?);
        Some((upper - lower) / 2.0 / self.mean)
    }

    /// The upper bound of P99 that decisions may use before it is determinable.
    pub(super) fn provisional_p99_upper(&self) -> f64 {
        self.p99_upper.unwrap_or(self.largest * (1.0 + 1.96 * self.state_sd))
    }

    /// Frames a second.
    pub(super) fn frames_per_s(&self) -> Measure {
        let rate = |latency_ns: f64| self.frames * 1e9 / latency_ns;
        Measure {
            estimate: rate(self.mean),
            lower: self.mean_bounds.1.map(rate),
            upper: self.mean_bounds.0.filter(|&lower| lower > 0.0).map(rate),
        }
    }

    /// Energy per frame in microjoules: as uncertain as the mean latency and the power together.
    pub(super) fn energy_per_frame(&self, power_uncertainty: f64) -> Option<Measure> {
        let estimate = self.energy_per_inference? / self.frames;
        let spread = self.mean_precision().map(|precision| precision.hypot(power_uncertainty));
        Some(Measure {
            estimate,
            lower: spread.map(|spread| estimate * (1.0 - spread)),
            upper: spread.map(|spread| estimate * (1.0 + spread)),
        })
    }
}
