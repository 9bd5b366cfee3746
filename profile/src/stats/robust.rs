//! Figures that a few wild values cannot move: medians, MAD, outlier marks, long-run variance.

use crate::stats::autocorrelation;

/// Makes the MAD of normal data an estimate of its standard deviation: 1 / Phi^-1(3/4).
pub const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

/// Iterations in the window against which an outlier is judged (Barrett et al.).
const OUTLIER_WINDOW: usize = 200;

/// How many times the spread P90 - P10 an outlier lies from the window's median (Barrett et al.).
const OUTLIER_SPREADS: f64 = 3.0;

/// Median of `values` in any order; `None` when empty. NaN sorts last.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    let half = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let (below, middle, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    let middle = *middle;
    if !below.is_empty() && below.len() == half && values.len().is_multiple_of(2) {
        let lower = values[..half].iter().copied().max_by(f64::total_cmp)?;
        return Some(lower + (middle - lower) / 2.0);
    }
    Some(middle)
}

/// Median absolute deviation from the median, unscaled; `None` when empty.
#[must_use]
pub fn mad(values: &[f64]) -> Option<f64> {
    let centre = median(values)?;
    median(&values.iter().map(|x| (x - centre).abs()).collect::<Vec<_>>())
}

/// Marks values that stand out from their surroundings: beyond the median +- 3 (P90 - P10) of the 200
/// iterations around them (Barrett, Bolz-Tereick, Killick, Mount, Tratt: Virtual machine warmup blows hot
/// and cold, OOPSLA 2017, section 4). Shorter series are judged as one window, those below 10 not at all.
#[must_use]
pub fn outliers(series: &[f64]) -> Vec<bool> {
    let n = series.len();
    if n < 10 {
        return vec![false; n];
    }
    let width = OUTLIER_WINDOW.min(n);
    let mut window: Vec<f64> = series[..width].to_vec();
    window.sort_by(f64::total_cmp);
    let mut first = 0;
    let mut marks = Vec::with_capacity(n);
    for (at, value) in series.iter().enumerate() {
        let wanted = at.saturating_sub(width / 2).min(n - width);
        while first < wanted {
            replace(&mut window, series[first], series[first + width]);
            first += 1;
        }
        let centre = (window[(width - 1) / 2] + window[width / 2]) / 2.0;
        let spread = window[(width - 1) * 9 / 10] - window[(width - 1) / 10];
        marks.push((value - centre).abs() > OUTLIER_SPREADS * spread && spread > 0.0);
    }
    marks
}

/// Takes `old` out of a sorted window and puts `new` in.
fn replace(window: &mut Vec<f64>, old: f64, new: f64) {
    let at = window.partition_point(|x| x.total_cmp(&old).is_lt());
    if at < window.len() {
        window.remove(at);
    }
    let at = window.partition_point(|x| x.total_cmp(&new).is_lt());
    window.insert(at, new);
}

/// Long-run variance of a stationary series: variance x autocorrelation time, so that a mean over n values
/// has variance `long_run_variance / n`. `None` below 4 values.
#[must_use]
pub fn long_run_variance(series: &[f64]) -> Option<f64> {
    let n = series.len();
    if n < 4 {
        return None;
    }
    let mean = series.iter().sum::<f64>() / n as f64;
    let variance = series.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    Some(variance * autocorrelation::time(series))
}

/// Lags over which [`long_run_variance_between_steps`] looks at differences.
const MAX_DIFFERENCE_LAG: usize = 16;

/// Long-run variance of the noise in a series whose level may step, as of a board that throttles.
///
/// The whole-series estimate would take the steps for noise. Differences x_{t+k} - x_t contain a step only
/// where they span it, so that their MAD ignores steps; for an AR(1) noise its square grows as
/// 2 s^2 (1 - phi^k). phi and s^2 are fitted to lags 1 to 16 on the log scale, and the long-run variance is
/// s^2 (1 + phi) / (1 - phi). (Chakar, Lebarbier, Levy-Leduc, Robin: A robust approach for estimating
/// change-points in the mean of an AR(1) process, Bernoulli 23(2), 2017, use lags 1 and 2; Romano, Rigaill,
/// Runge, Fearnhead: Detecting abrupt changes in the presence of local fluctuations and autocorrelated
/// noise, JASA 117, 2022, fit several.) `None` below 16 values; 0 where most neighbours are equal.
#[must_use]
pub fn long_run_variance_between_steps(series: &[f64]) -> Option<f64> {
    let longest = MAX_DIFFERENCE_LAG.min(series.len() / 8);
    if longest < 2 {
        return None;
    }
    let mut spreads = Vec::with_capacity(longest);
    for lag in 1..=longest {
        let differences: Vec<f64> = series.iter().zip(&series[lag..]).map(|(a, b)| b - a).collect();
        let sigma = mad(&differences)? * MAD_TO_SIGMA;
        if sigma <= 0.0 {
            return Some(0.0);
        }
        spreads.push((sigma * sigma).ln());
    }
    let (_, phi, variance) = (0..=98)
        .map(|percent| f64::from(percent) / 100.0)
        .map(|phi| fit_autoregression(&spreads, phi))
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(variance * (1.0 + phi) / (1.0 - phi))
}

/// How well ln(2 s^2 (1 - phi^k)) fits the log squared spreads of lags 1, 2, ..: squared error, phi, s^2.
fn fit_autoregression(spreads: &[f64], phi: f64) -> (f64, f64, f64) {
    let shape = |index: usize| (2.0 * (1.0 - phi.powi(index as i32 + 1))).ln();
    let n = spreads.len() as f64;
    let level = spreads.iter().enumerate().map(|(i, s)| s - shape(i)).sum::<f64>() / n;
    let error = spreads.iter().enumerate().map(|(i, s)| (s - shape(i) - level).powi(2)).sum();
    (error, phi, level.exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Rng;

    #[test]
    fn medians_take_the_middle_or_the_mean_of_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(mad(&[1.0, 1.0, 2.0, 2.0, 4.0, 6.0, 9.0]), Some(1.0));
    }

    #[test]
    fn a_stall_is_marked_and_ordinary_noise_is_not() {
        let mut rng = Rng::new(1);
        let mut series: Vec<f64> = (0..1000).map(|_| 10.0 + 0.1 * rng.normal()).collect();
        for at in [0, 500, 999] {
            series[at] = 30.0;
        }
        let marks = outliers(&series);
        let marked: Vec<usize> = (0..1000).filter(|&i| marks[i]).collect();
        assert_eq!(marked, [0, 500, 999]);
    }

    #[test]
    fn a_step_is_no_outlier() {
        let mut rng = Rng::new(2);
        let series: Vec<f64> =
            (0..1000).map(|i| if i < 500 { 10.0 } else { 11.0 } + 0.1 * rng.normal()).collect();
        assert!(outliers(&series).iter().filter(|&&mark| mark).count() <= 2);
    }

    #[test]
    fn steps_do_not_pass_for_noise_in_the_long_run_variance() {
        let (n, phi) = (1800, 0.9);
        let exact = 1.0 / ((1.0f64 - phi) * (1.0 - phi));
        let mut estimates = Vec::new();
        for seed in 0..40 {
            let mut rng = Rng::new(seed);
            let mut noise = 0.0;
            let series: Vec<f64> = (0..n)
                .map(|i| {
                    noise = phi * noise + rng.normal();
                    noise + if i > 900 { 50.0 } else { 0.0 }
                })
                .collect();
            estimates.push(long_run_variance_between_steps(&series).unwrap() / exact);
        }
        let middle = median(&estimates).unwrap();
        assert!((0.6..1.7).contains(&middle), "{middle}: {estimates:?}");
    }

    #[test]
    fn the_long_run_variance_of_a_constant_is_0_and_of_too_few_values_unknown() {
        assert_eq!(long_run_variance_between_steps(&[2.0; 100]), Some(0.0));
        assert_eq!(long_run_variance(&[2.0; 100]), Some(0.0));
        assert_eq!(long_run_variance_between_steps(&[2.0; 10]), None);
        assert_eq!(long_run_variance(&[2.0; 3]), None);
    }
}
