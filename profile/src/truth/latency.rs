//! Scores of quantiles, their intervals and the histogram.

use super::source::{self, Distribution};
use crate::stats::histogram::Histogram;
use crate::stats::interval;
use crate::stats::quantile::{self, Quantile};
use crate::stats::rng::Rng;
use crate::summary::Interval;

/// How intervals fared against a known quantile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Intervals with both ends that hold the truth.
    pub covered: u32,
    /// Intervals with both ends that miss it.
    pub missed: u32,
    /// Intervals that say "not determinable" at an end.
    pub refused: u32,
    /// Refused ones whose remaining end is on the wrong side of the truth.
    pub refused_and_wrong: u32,
}

impl Coverage {
    /// Share of the determined intervals that hold the truth; `None` when all were refused.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let determined = self.covered + self.missed;
        (determined > 0).then(|| f64::from(self.covered) / f64::from(determined))
    }

    /// Share of the runs in which an interval says nothing false, refused ones included.
    #[must_use]
    pub fn honest_rate(&self) -> f64 {
        let wrong = self.missed + self.refused_and_wrong;
        1.0 - f64::from(wrong) / f64::from((self.covered + self.missed + self.refused).max(1))
    }

    fn count(&mut self, found: Interval, truth: f64) {
        let below = found.lower.is_none_or(|lower| lower <= truth);
        let above = found.upper.is_none_or(|upper| upper >= truth);
        match (found.lower.is_some() && found.upper.is_some(), below && above) {
            (true, true) => self.covered += 1,
            (true, false) => self.missed += 1,
            (false, right) => {
                self.refused += 1;
                self.refused_and_wrong += u32::from(!right);
            }
        }
    }
}

fn sorted(series: &[u64]) -> Vec<u64> {
    let mut sample = series.to_vec();
    sample.sort_unstable();
    sample
}

/// Coverage of a quantile's interval over `runs` samples of `n` independent latencies.
#[must_use]
pub fn coverage_independent(
    shape: Distribution,
    quantile: Quantile,
    n: usize,
    runs: u32,
    seed: u64,
) -> Coverage {
    let truth = shape.quantile_ns(quantile.fraction());
    let mut rng = Rng::new(seed);
    let mut coverage = Coverage::default();
    for _ in 0..runs {
        let series = shape.draw(n, &mut rng);
        coverage.count(interval::of_quantile(&series, &sorted(&series), quantile).interval, truth);
    }
    coverage
}

/// Coverage over `runs` AR(1) series of `n` lognormal latencies: as published, and, second, of the interval
/// that ignores autocorrelation, for contrast.
#[must_use]
pub fn coverage_autocorrelated(
    phi: f64,
    quantile: Quantile,
    n: usize,
    runs: u32,
    seed: u64,
) -> (Coverage, Coverage) {
    let (median_ns, sigma) = (1e7, 0.1);
    let truth = Distribution::Lognormal { median_ns, sigma }.quantile_ns(quantile.fraction());
    let mut rng = Rng::new(seed);
    let (mut published, mut naive) = (Coverage::default(), Coverage::default());
    for _ in 0..runs {
        let series = source::autoregressive(median_ns, sigma, phi, n, &mut rng);
        let sample = sorted(&series);
        published.count(interval::of_quantile(&series, &sample, quantile).interval, truth);
        let (lower, upper) = interval::ranks(n as u64, 1.0, quantile);
        let value = |rank: Option<u64>| rank.map(|rank| sample[rank as usize - 1] as f64);
        naive.count(Interval { lower: value(lower), upper: value(upper) }, truth);
    }
    (published, naive)
}

/// Coverage of the mean's interval over `runs` AR(1) series of `n` lognormal latencies.
#[must_use]
pub fn coverage_of_mean(phi: f64, n: usize, runs: u32, seed: u64) -> Coverage {
    let (median_ns, sigma) = (1e7, 0.1);
    let truth = median_ns * f64::exp(0.5 * sigma * sigma);
    let mut rng = Rng::new(seed);
    let mut coverage = Coverage::default();
    for _ in 0..runs {
        let series = source::autoregressive(median_ns, sigma, phi, n, &mut rng);
        let series: Vec<f64> = series.iter().map(|&x| x as f64).collect();
        coverage.count(interval::of_mean(&series), truth);
    }
    coverage
}

/// Root-mean-square rank error of the reference quantile: the distance between the share of the distribution
/// at or below the estimate and the share meant, e.g. .003 for a P99 that is really the P99.3.
#[must_use]
pub fn rank_error(shape: Distribution, quantile: Quantile, n: usize, runs: u32, seed: u64) -> f64 {
    let mut rng = Rng::new(seed);
    let mut squares = 0.0;
    for _ in 0..runs {
        let sample = sorted(&shape.draw(n, &mut rng));
        let estimate = quantile::reference(&sample, quantile).unwrap_or(f64::NAN);
        squares += (share_below(shape, estimate) - quantile.fraction()).powi(2);
    }
    (squares / f64::from(runs.max(1))).sqrt()
}

/// The share of a distribution at or below a value, by bisection of its quantiles.
fn share_below(shape: Distribution, value: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if shape.quantile_ns(middle) <= value { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// How many of `trials` partitions of a sample into three histograms, merged in three orders, differ from the
/// histogram of the whole. 0 is the only right answer.
#[must_use]
pub fn merge_mismatches(trials: u32, seed: u64) -> u32 {
    let mut rng = Rng::new(seed);
    let mut mismatches = 0;
    for _ in 0..trials {
        let mut parts: [Histogram; 3] = Default::default();
        let mut whole = Histogram::default();
        for value in super::source::DISTRIBUTIONS[rng.below(3)].draw(500, &mut rng) {
            parts[rng.below(3)].record(value);
            whole.record(value);
        }
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut merged = Histogram::default();
            order.iter().for_each(|&i| merged.merge(&parts[i]));
            mismatches += u32::from(merged != whole);
        }
    }
    mismatches
}

/// Mean encoded size in bytes of a histogram of `n` latencies: without its exact tail, and with it.
#[must_use]
pub fn histogram_bytes(shape: Distribution, n: usize, runs: u32, seed: u64) -> (f64, f64) {
    let mut rng = Rng::new(seed);
    let (mut without, mut with) = (0, 0);
    for _ in 0..runs {
        let histogram = Histogram::of(&shape.draw(n, &mut rng));
        without += histogram.without_tail().to_bytes().len();
        with += histogram.to_bytes().len();
    }
    let runs = f64::from(runs.max(1));
    (without as f64 / runs, with as f64 / runs)
}
