//! 95 % confidence intervals of quantiles and means, widened for autocorrelation.
//!
//! Quantiles: two order statistics enclose the quantile with a probability that depends on no distribution
//! (David and Nagaraja: Order Statistics, 2003, section 7.1): the lower rank is the largest l with
//! P(B <= l-1) <= .025, the upper the smallest u with P(B >= u) <= .025, B ~ Bin(n, p). Correlated
//! exceedances carry less: the ranks are those of n / tau observations, scaled back to n. An end whose
//! rank falls outside the sample is absent: P99 has no upper end below 368 independent values, P99.9
//! below 3,688. The estimate of tau scatters around 1 even for independent values, so that a P99 of 400 of
//! them still lacks its upper end in four of ten runs, of 500 in one of ten, of 800 in none.
//!
//! What this does not do: it says nothing about a drift. Check the steady state first.

use crate::stats::autocorrelation;
use crate::stats::binomial::Binomial;
use crate::stats::quantile::{self, Quantile};
use serde::{Deserialize, Serialize};

/// A two-sided 95 % interval; an end that the sample cannot determine is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
}

/// Probability left outside an interval on each side.
pub const TAIL: f64 = 0.025;

/// Exceedances from which tau is estimated at least: fewer say too little about clustering, so that a
/// quantile beyond them is judged by the highest threshold that leaves this many.
const MIN_EXCEEDANCES: usize = 30;

/// A quantile's interval and how much the sample was worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantileInterval {
    /// The 95 % interval, in the unit of the sample.
    pub interval: Interval,
    /// Autocorrelation time of the exceedances; n / tau is the effective sample.
    pub tau: f64,
}

/// 1-based ranks in a sample of `n` that enclose the quantile with 95 %, when the sample is worth `n / tau`
/// independent values. `tau` below 1 counts as 1.
#[must_use]
pub fn ranks(n: u64, tau: f64, quantile: Quantile) -> (Option<u64>, Option<u64>) {
    let effective = (n as f64 / tau.max(1.0)) as u64;
    if effective == 0 {
        return (None, None);
    }
    let distribution = Binomial::new(effective, quantile.fraction());
    let centre = (effective as f64 * quantile.fraction()) as u64;
    let lower = (1..=centre.min(effective)).rev().find(|&rank| distribution.at_most(rank - 1) <= TAIL);
    let upper = (centre.max(1)..=effective).find(|&rank| 1.0 - distribution.at_most(rank - 1) <= TAIL);
    let scaled = |rank: u64| u128::from(rank) * u128::from(n);
    let lower = lower.map(|rank| (scaled(rank) / u128::from(effective)) as u64);
    let upper = upper.map(|rank| scaled(rank).div_ceil(u128::from(effective)) as u64);
    (lower, upper)
}

/// The 95 % interval of a quantile. `series` is in order of time, `sorted` the same values ascending.
#[must_use]
pub fn of_quantile(series: &[u64], sorted: &[u64], quantile: Quantile) -> QuantileInterval {
    debug_assert_eq!(series.len(), sorted.len(), "series and sample hold the same values");
    debug_assert!(sorted.is_sorted(), "the sample must be sorted");
    let tau = quantile_time(series, sorted, quantile);
    let (lower, upper) = ranks(sorted.len() as u64, tau, quantile);
    let value = |rank: Option<u64>| {
        rank.and_then(|rank| sorted.get((rank as usize).checked_sub(1)?)).map(|&value| value as f64)
    };
    QuantileInterval { interval: Interval { lower: value(lower), upper: value(upper) }, tau }
}

/// Autocorrelation time at the quantile, or at the highest threshold with enough exceedances.
fn quantile_time(series: &[u64], sorted: &[u64], quantile: Quantile) -> f64 {
    let Some(mut threshold) = quantile::reference(sorted, quantile) else {
        return 1.0;
    };
    if let Some(enough) = sorted.len().checked_sub(MIN_EXCEEDANCES + 1) {
        threshold = threshold.min(sorted[enough] as f64);
    }
    autocorrelation::exceedance_time(series, threshold)
}

/// The 95 % interval of the mean: mean +- t sqrt(variance tau / n), with n / tau - 1 degrees of freedom.
/// Without ends when the series is worth fewer than two independent values.
#[must_use]
pub fn of_mean(series: &[f64]) -> Interval {
    let n = series.len() as f64;
    if n < 2.0 {
        return Interval::default();
    }
    let mean = series.iter().sum::<f64>() / n;
    let variance = series.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let effective = n / autocorrelation::time(series);
    if effective < 2.0 {
        return Interval::default();
    }
    let half = student_t(effective - 1.0) * (variance / effective).sqrt();
    Interval { lower: Some(mean - half), upper: Some(mean + half) }
}

/// The .975 quantile of Student's t with `freedom >= 1` degrees of freedom, within 1 %: Hill's expansion
/// (Algorithm 396, Communications of the ACM 13(10), 1970) of the normal quantile in 1 / freedom, exact
/// values below 3 where it fails.
#[must_use]
pub fn student_t(freedom: f64) -> f64 {
    const EXACT: [f64; 3] = [12.7062, 4.3027, 3.1824];
    if freedom < 3.0 {
        // Between whole degrees 1 / t is nearly linear.
        let freedom = freedom.max(1.0);
        let below = (freedom as usize - 1).min(1);
        let share = freedom - (below + 1) as f64;
        return 1.0 / ((1.0 - share) / EXACT[below] + share / EXACT[below + 1]);
    }
    let z: f64 = 1.959_963_984_540_054;
    let z2 = z * z;
    let terms = [
        z * (z2 + 1.0) / 4.0,
        z * ((5.0 * z2 + 16.0) * z2 + 3.0) / 96.0,
        z * (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / 384.0,
        z * ((((79.0 * z2 + 776.0) * z2 + 1482.0) * z2 - 1920.0) * z2 - 945.0) / 92_160.0,
    ];
    terms.iter().rev().fold(0.0, |sum, term| (sum + term) / freedom) + z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_independent_values_bound_p99_by_the_983rd_and_the_997th() {
        assert_eq!(ranks(1000, 1.0, Quantile::P99), (Some(983), Some(997)));
        assert_eq!(ranks(1000, 1.0, Quantile::P50), (Some(469), Some(532)));
    }

    #[test]
    fn p99_has_no_upper_end_below_368_values_and_p999_below_3688() {
        for (quantile, least) in [(Quantile::P99, 368), (Quantile::P999, 3688)] {
            assert_eq!(ranks(least - 1, 1.0, quantile).1, None, "{quantile:?}");
            assert_eq!(ranks(least, 1.0, quantile).1, Some(least), "{quantile:?}");
        }
        assert_eq!(ranks(0, 1.0, Quantile::P50), (None, None));
        assert_eq!(ranks(3, 1.0, Quantile::P50), (None, None));
    }

    #[test]
    fn autocorrelation_widens_the_ranks_until_an_end_is_lost() {
        let (lower, upper) = ranks(1000, 2.0, Quantile::P99);
        assert!(lower < Some(983), "{lower:?}");
        assert!(upper > Some(997), "{upper:?}");
        assert_eq!(ranks(1000, 4.0, Quantile::P99).1, None);
    }

    #[test]
    fn student_t_is_within_1_percent_of_the_tables() {
        let table = [
            (1.0, 12.7062),
            (2.0, 4.3027),
            (3.0, 3.1824),
            (4.0, 2.7764),
            (5.0, 2.5706),
            (10.0, 2.2281),
            (30.0, 2.0423),
            (1000.0, 1.9623),
        ];
        for (freedom, exact) in table {
            assert!((student_t(freedom) / exact - 1.0).abs() < 0.01, "{freedom}: {}", student_t(freedom));
        }
    }

    #[test]
    fn means_of_constants_are_certain_and_of_a_trend_undetermined() {
        let certain = of_mean(&[4.0; 50]);
        assert_eq!((certain.lower, certain.upper), (Some(4.0), Some(4.0)));
        assert_eq!(of_mean(&[1.0]).lower, None);
        let trend: Vec<f64> = (0..10).map(|i| f64::from(i) * f64::from(i)).collect();
        let interval = of_mean(&trend);
        assert!(interval.lower.is_none_or(|lower| lower < 20.0), "{interval:?}");
    }
}
