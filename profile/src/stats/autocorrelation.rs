//! How many independent observations a series is worth.
//!
//! Terms: *tau*, the integrated autocorrelation time 1 + 2 sum of rho_k: a mean over n values has the
//! variance of a mean over n / tau independent ones. Estimated by Geyer's initial positive sequence (Geyer:
//! Practical Markov chain Monte Carlo, Statistical Science 7(4), 1992): lags are added in pairs
//! rho_2k + rho_2k+1 until a pair is not positive. Never below 1 here: negative correlation earns nothing.

/// Products computed per call at most; beyond it a series counts as one that never decorrelates.
const MAX_PRODUCTS: usize = 400_000_000;

/// Autocorrelation time of `series`, in 1..=n. 1 for a constant or very short series; n where no pair of
/// lags up to n / 2 falls to zero, as in a trend.
#[must_use]
pub fn time(series: &[f64]) -> f64 {
    let n = series.len();
    if n < 4 {
        return 1.0;
    }
    let mean = series.iter().sum::<f64>() / n as f64;
    let centred: Vec<f64> = series.iter().map(|x| x - mean).collect();
    let covariance = |lag: usize| -> f64 { centred.iter().zip(&centred[lag..]).map(|(a, b)| a * b).sum() };
    let variance = covariance(0);
    if variance <= f64::EPSILON * f64::EPSILON * mean * mean * n as f64 {
        return 1.0;
    }
    let mut tau: f64 = -1.0;
    let longest = (n / 2).min((MAX_PRODUCTS / n).max(2));
    for even in (0..longest).step_by(2) {
        let pair = (covariance(even) + covariance(even + 1)) / variance;
        if pair <= 0.0 {
            return tau.clamp(1.0, n as f64);
        }
        tau += 2.0 * pair;
    }
    n as f64
}

/// Autocorrelation time of the exceedances `1[x > threshold]`: what counts for the variance of a quantile.
#[must_use]
pub fn exceedance_time(series: &[u64], threshold: f64) -> f64 {
    let indicator: Vec<f64> = series.iter().map(|&x| f64::from(u8::from(x as f64 > threshold))).collect();
    time(&indicator)
}

#[cfg(test)]
mod tests {
    use super::{exceedance_time, time};
    use crate::stats::rng::Rng;

    fn autoregressive(phi: f64, n: usize, seed: u64) -> Vec<f64> {
        let mut rng = Rng::new(seed);
        let mut level = rng.normal() / (1.0 - phi * phi).sqrt();
        (0..n)
            .map(|_| {
                level = phi * level + rng.normal();
                level
            })
            .collect()
    }

    #[test]
    fn an_autoregression_has_the_time_of_its_formula() {
        for phi in [0.0, 0.5, 0.9] {
            let exact = (1.0 + phi) / (1.0 - phi);
            let estimate = time(&autoregressive(phi, 40_000, 11));
            assert!((estimate / exact - 1.0).abs() < 0.15, "phi {phi}: {estimate} against {exact}");
        }
    }

    #[test]
    fn negative_correlation_never_counts_for_more_than_n() {
        assert_eq!(time(&autoregressive(-0.8, 5_000, 5)), 1.0);
    }

    #[test]
    fn constants_count_fully_and_a_block_of_exceedances_counts_little() {
        assert_eq!(time(&[3.0; 100]), 1.0);
        assert_eq!(time(&[]), 1.0);
        let step: Vec<u64> = (0..1000).map(|i| u64::from(i >= 500)).collect();
        assert!(exceedance_time(&step, 0.5) > 100.0);
    }
}
