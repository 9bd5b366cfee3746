//! The noise of simulated latencies: a mixture whose exact distribution is known.
//!
//! A factor is drawn around 1: from a lognormal body, with a given share from a slower lognormal mode
//! (bimodal) and a given share from a Pareto tail. Which part a draw comes from, and where in a lognormal
//! part it falls, follow stationary AR(1) sequences of standard normals, so that the marginal
//! distribution is the same for every autocorrelation.

use crate::stats::rng::Rng;
use serde::{Deserialize, Serialize};

/// What multiplies the noise-free latency.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Standard deviation of the logarithm in the lognormal parts.
    pub sigma: f64,
    /// Coefficient of the AR(1) sequences, 0 for independent draws.
    pub autocorrelation: f64,
    /// A second, slower mode.
    pub slow: Option<SlowMode>,
    /// A heavy tail.
    pub tail: Option<ParetoTail>,
    /// Standard deviation per iteration of a random walk of the logarithm: a state that is never steady.
    /// The exact quantiles do not account for it.
    pub wander: f64,
}

/// A second, slower mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowMode {
    /// Share of iterations in it, 0 to 1.
    pub share: f64,
    /// Its median over the body's.
    pub factor: f64,
}

/// A Pareto tail: P(X > x) = (factor / x)^alpha for x above `factor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParetoTail {
    /// Share of iterations in it, 0 to 1.
    pub share: f64,
    /// Its smallest value over the body's median.
    pub factor: f64,
    /// Its index: the mean is finite above 1, the variance above 2.
    pub alpha: f64,
}

/// Cumulative distribution of the standard normal.
fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

fn lognormal_cdf(x: f64, median: f64, sigma: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if sigma == 0.0 {
        return if x >= median { 1.0 } else { 0.0 };
    }
    normal_cdf((x / median).ln() / sigma)
}

impl Noise {
    fn shares(&self) -> (f64, f64, f64) {
        let slow = self.slow.as_ref().map_or(0.0, |slow| slow.share);
        let tail = self.tail.as_ref().map_or(0.0, |tail| tail.share);
        (1.0 - slow - tail, slow, tail)
    }

    /// Probability that the factor is at most `x`.
    #[must_use]
    pub fn cdf(&self, x: f64) -> f64 {
        let (body, ..) = self.shares();
        let mut probability = body * lognormal_cdf(x, 1.0, self.sigma);
        if let Some(slow) = &self.slow {
            probability += slow.share * lognormal_cdf(x, slow.factor, self.sigma);
        }
        if let Some(tail) = self.tail.as_ref().filter(|tail| x > tail.factor) {
            probability += tail.share * (1.0 - (tail.factor / x).powf(tail.alpha));
        }
        probability
    }

    /// The factor that a draw stays below with probability `q`, by bisection of [`Noise::cdf`].
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let (mut low, mut high) = (1e-9, 2.0);
        while self.cdf(high) < q && high < 1e12 {
            high *= 2.0;
        }
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if self.cdf(middle) < q { low = middle } else { high = middle }
        }
        high
    }

    /// The mean factor; infinite for a tail with alpha at most 1.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let (body, ..) = self.shares();
        let lognormal = (0.5 * self.sigma * self.sigma).exp();
        let slow = self.slow.as_ref().map_or(0.0, |slow| slow.share * slow.factor * lognormal);
        let tail = self.tail.as_ref().filter(|tail| tail.share > 0.0).map_or(0.0, |tail| {
            if tail.alpha <= 1.0 {
                f64::INFINITY
            } else {
                tail.share * tail.factor * tail.alpha / (tail.alpha - 1.0)
            }
        });
        body * lognormal + slow + tail
    }
}

/// The state of one engine's noise.
#[derive(Debug, Clone)]
pub(super) struct NoiseState {
    part: f64,
    within: f64,
    level: f64,
}

impl NoiseState {
    /// Starts in the stationary distribution.
    pub(super) fn new(source: &mut Rng) -> Self {
        Self { part: source.normal(), within: source.normal(), level: 0.0 }
    }

    /// Draws the next factor.
    pub(super) fn draw(&mut self, noise: &Noise, source: &mut Rng) -> f64 {
        let phi = noise.autocorrelation;
        let innovation = (1.0 - phi * phi).sqrt();
        self.part = phi * self.part + innovation * source.normal();
        self.within = phi * self.within + innovation * source.normal();
        if noise.wander > 0.0 {
            self.level += noise.wander * source.normal();
        }
        let (body, slow, _) = noise.shares();
        let place = normal_cdf(self.part);
        let lognormal = (noise.sigma * self.within).exp();
        let factor = match (&noise.slow, &noise.tail) {
            _ if place < body => lognormal,
            (Some(mode), _) if place < body + slow => mode.factor * lognormal,
            (_, Some(tail)) => tail.factor * (1.0 - source.uniform()).powf(-1.0 / tail.alpha),
            (Some(mode), None) => mode.factor * lognormal,
            (None, None) => lognormal,
        };
        factor * self.level.exp()
    }
}
