//! Sources of planted latencies: distributions with exact quantiles, independent or correlated.

use crate::stats::rng::Rng;

/// A latency distribution in nanoseconds, known exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// exp of a normal: median, and standard deviation of the logarithm.
    Lognormal {
        /// Median in nanoseconds.
        median_ns: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Two uniform modes, e.g. two clocks: the slow one with probability `slow_share`.
    Bimodal {
        /// Lower end of the fast mode in nanoseconds; it spans 10 %.
        fast_ns: f64,
        /// Lower end of the slow mode in nanoseconds; it spans 10 %.
        slow_ns: f64,
        /// Probability of the slow mode, in (0, 1).
        slow_share: f64,
    },
    /// Heavy tail: P(X > x) = (least / x)^index.
    Pareto {
        /// Smallest value in nanoseconds.
        least_ns: f64,
        /// Tail index; the mean exists above 1.
        index: f64,
    },
}

/// The three distributions of the ground-truth tests.
pub const DISTRIBUTIONS: [Distribution; 3] = [
    Distribution::Lognormal { median_ns: 1e7, sigma: 0.1 },
    Distribution::Bimodal { fast_ns: 1e7, slow_ns: 2e7, slow_share: 0.05 },
    Distribution::Pareto { least_ns: 1e7, index: 2.5 },
];

impl Distribution {
    /// The exact quantile at `p` in (0, 1).
    #[must_use]
    pub fn quantile_ns(self, p: f64) -> f64 {
        match self {
            Self::Lognormal { median_ns, sigma } => median_ns * (sigma * normal_quantile(p)).exp(),
            Self::Bimodal { fast_ns, slow_ns, slow_share } => {
                let fast_share = 1.0 - slow_share;
                if p < fast_share {
                    fast_ns * (1.0 + 0.1 * p / fast_share)
                } else {
                    slow_ns * (1.0 + 0.1 * (p - fast_share) / slow_share)
                }
            }
            Self::Pareto { least_ns, index } => least_ns * (1.0 - p).powf(-1.0 / index),
        }
    }

    /// Independent draws.
    #[must_use]
    pub fn draw(self, n: usize, rng: &mut Rng) -> Vec<u64> {
        let draw = |rng: &mut Rng| match self {
            Self::Lognormal { median_ns, sigma } => median_ns * (sigma * rng.normal()).exp(),
            _ => self.quantile_ns(rng.uniform()),
        };
        (0..n).map(|_| draw(rng).round() as u64).collect()
    }
}

/// Lognormal latencies whose logarithm is an AR(1) with coefficient `phi` in [0, 1): the distribution of
/// [`Distribution::Lognormal`], each value correlated with the last.
#[must_use]
pub fn autoregressive(median_ns: f64, sigma: f64, phi: f64, n: usize, rng: &mut Rng) -> Vec<u64> {
    let fresh = (1.0 - phi * phi).sqrt();
    let mut level = rng.normal();
    (0..n)
        .map(|_| {
            let value = median_ns * (sigma * level).exp();
            level = phi * level + fresh * rng.normal();
            value.round() as u64
        })
        .collect()
}

/// The standard normal quantile, by bisection of [`normal_cdf`].
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal_cdf(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The standard normal distribution function: 1/2 + density (z + z^3/3 + z^5/15 + ..) (Marsaglia:
/// Evaluating the normal distribution, Journal of Statistical Software 11(4), 2004).
#[must_use]
pub fn normal_cdf(z: f64) -> f64 {
    if z.abs() > 8.5 {
        return if z > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut odd) = (z, z, 1.0);
    while term.abs() > 1e-18 * sum.abs() {
        odd += 2.0;
        term *= z * z / odd;
        sum += term;
    }
    0.5 + sum * (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_quantiles_are_those_of_the_tables() {
        for (p, z) in [(0.5, 0.0), (0.975, 1.959_963_985), (0.99, 2.326_347_874), (0.01, -2.326_347_874)] {
            assert!((normal_quantile(p) - z).abs() < 1e-8, "{p}");
        }
    }

    #[test]
    fn each_shape_draws_its_share_below_each_quantile() {
        for shape in DISTRIBUTIONS {
            let draws = shape.draw(40_000, &mut Rng::new(5));
            for p in [0.1, 0.5, 0.9, 0.99] {
                let below = draws.iter().filter(|&&x| (x as f64) <= shape.quantile_ns(p)).count();
                let share = below as f64 / draws.len() as f64;
                assert!(
                    (share - p).abs() < 4.0 * (p * (1.0 - p) / 40_000.0).sqrt(),
                    "{shape:?} {p}: {share}"
                );
            }
        }
    }
}
