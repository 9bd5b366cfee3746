//! The reference figures: mean and quantiles, bit for bit those of Python's `statistics` module.
//!
//! On integers Python computes `mean` as an exact fraction and `quantiles` (method `exclusive`, Hyndman and
//! Fan 1996, type 6) as an integer interpolation, each followed by ONE correctly rounded division; so do we.
//! The conventions of peers are here too, under their names, for comparisons only.
//!
//! Samples are sorted ascending; this is the caller's part and not checked outside debug builds.

/// A quantile as Python names it: `statistics.quantiles(x, n=parts)[part - 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantile {
    part: u32,
    parts: u32,
}

impl Quantile {
    /// `quantiles(n=2)[0]`, the median.
    pub const P50: Self = Self { part: 1, parts: 2 };
    /// `quantiles(n=10)[8]`.
    pub const P90: Self = Self { part: 9, parts: 10 };
    /// `quantiles(n=20)[18]`.
    pub const P95: Self = Self { part: 19, parts: 20 };
    /// `quantiles(n=100)[98]`.
    pub const P99: Self = Self { part: 99, parts: 100 };
    /// `quantiles(n=1000)[998]`.
    pub const P999: Self = Self { part: 999, parts: 1000 };

    /// The quantile at `part / parts`; `None` unless 0 < part < parts.
    #[must_use]
    pub const fn new(part: u32, parts: u32) -> Option<Self> {
        if part == 0 || part >= parts { None } else { Some(Self { part, parts }) }
    }

    /// The fraction of the distribution at or below it.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.part) / f64::from(self.parts)
    }

    /// Where it lies in a sample of `n >= 2`: the 1-based lower rank, and the numerator of the weight of
    /// the next rank over `parts`. A numerator outside `0..=parts` extrapolates.
    pub(crate) fn position(self, n: u64) -> Option<(u64, i128)> {
        if n < 2 {
            return None;
        }
        let (part, parts) = (i128::from(self.part), i128::from(self.parts));
        let at = part * (i128::from(n) + 1);
        let rank = (at / parts).clamp(1, i128::from(n) - 1);
        Some((rank as u64, at - rank * parts))
    }

    /// Whether the reference figure lies outside the range of a sample of `n`: P99 does below 99 values,
    /// P95 below 19. Also true below 2, where it does not exist.
    #[must_use]
    pub fn extrapolates(self, n: u64) -> bool {
        match self.position(n) {
            None => true,
            Some((_, weight)) => weight < 0 || weight > i128::from(self.parts),
        }
    }

    /// The weight from [`Self::position`] as a share.
    pub(crate) fn share(self, weight: i128) -> f64 {
        weight as f64 / f64::from(self.parts)
    }

    /// Between two neighbouring order statistics, with the weight from [`Self::position`].
    pub(crate) fn interpolate(self, lower: u64, upper: u64, weight: i128) -> f64 {
        let parts = i128::from(self.parts);
        let numerator = i128::from(lower) * (parts - weight) + i128::from(upper) * weight;
        let size = divide(numerator.unsigned_abs(), u64::from(self.parts));
        if numerator < 0 { -size } else { size }
    }
}

/// `numerator / denominator` rounded once, to nearest with ties to even, as Python divides integers.
/// A zero denominator is an error of the caller.
fn divide(numerator: u128, denominator: u64) -> f64 {
    debug_assert!(denominator > 0, "division by zero");
    if numerator == 0 {
        return 0.0;
    }
    // At least 55 significant bits of quotient, the lowest made sticky: the conversion then rounds as the
    // infinitely long quotient would.
    let denominator = u128::from(denominator);
    let bits = |x: u128| 128 - x.leading_zeros();
    let shift = (56 + bits(denominator)).saturating_sub(bits(numerator));
    let scaled = numerator << shift;
    let sticky = u128::from(!scaled.is_multiple_of(denominator));
    ((scaled / denominator) | sticky) as f64 * 2f64.powi(-(shift as i32))
}

/// `float(statistics.mean(values))`; `None` for an empty slice. Order does not matter.
#[must_use]
pub fn mean(values: &[u64]) -> Option<f64> {
    let sum: u128 = values.iter().map(|&value| u128::from(value)).sum();
    (!values.is_empty()).then(|| divide(sum, values.len() as u64))
}

/// `float(statistics.median(sorted))`; `None` for an empty sample.
#[must_use]
pub fn median(sorted: &[u64]) -> Option<f64> {
    debug_assert!(sorted.is_sorted(), "the sample must be sorted");
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[half] as f64),
        _ => Some(divide(u128::from(sorted[half - 1]) + u128::from(sorted[half]), 2)),
    }
}

/// `statistics.quantiles(sorted, n=parts)[part - 1]`, method `exclusive`; `None` below two values.
/// Check [`Quantile::extrapolates`] before presenting it.
#[must_use]
pub fn reference(sorted: &[u64], quantile: Quantile) -> Option<f64> {
    debug_assert!(sorted.is_sorted(), "the sample must be sorted");
    let (rank, weight) = quantile.position(sorted.len() as u64)?;
    let rank = rank as usize;
    Some(quantile.interpolate(sorted[rank - 1], sorted[rank], weight))
}

/// The percentile of MLPerf LoadGen: `x[floor(p n)]`, 0-based.
#[must_use]
pub fn mlperf(sorted: &[u64], quantile: Quantile) -> Option<u64> {
    let at = sorted.len() as u128 * u128::from(quantile.part) / u128::from(quantile.parts);
    sorted.get(at as usize).copied()
}

/// The percentile of trtexec: excludes `trunc((1 - p) n)` values at the top, in single precision
/// (`samples/common/sampleReporting.cpp`).
#[must_use]
pub fn trtexec(sorted: &[u64], quantile: Quantile) -> Option<u64> {
    let percent = (quantile.fraction() * 100.0) as f32;
    let excluded = ((1.0 - percent / 100.0) * sorted.len() as f32) as usize;
    let last = sorted.len().checked_sub(1)?;
    sorted.get(last.saturating_sub(excluded)).copied()
}

/// The percentile of Triton's perf_analyzer: `x[trunc(p (n - 1) + 0.5)]`, 0-based.
#[must_use]
pub fn perf_analyzer(sorted: &[u64], quantile: Quantile) -> Option<u64> {
    let last = sorted.len().checked_sub(1)?;
    let at = quantile.fraction() * last as f64 + 0.5;
    sorted.get(at as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_p99_of_1_to_1000_lies_between_the_990th_and_the_991st() {
        let sample: Vec<u64> = (1..=1000).collect();
        assert_eq!(reference(&sample, Quantile::P99), Some(990.99));
        assert_eq!(mlperf(&sample, Quantile::P99), Some(991));
        assert_eq!(trtexec(&sample, Quantile::P99), Some(991));
        assert_eq!(perf_analyzer(&sample, Quantile::P99), Some(990));
    }

    #[test]
    fn p99_extrapolates_below_99_values_p95_below_19_and_p999_below_999() {
        for (quantile, least) in [(Quantile::P99, 99), (Quantile::P95, 19), (Quantile::P999, 999)] {
            assert!(quantile.extrapolates(least - 1), "{quantile:?}");
            assert!(!quantile.extrapolates(least), "{quantile:?}");
        }
        let sample: Vec<u64> = (1..=50).collect();
        assert!(reference(&sample, Quantile::P99).unwrap() > 50.0);
    }

    #[test]
    fn too_small_samples_have_no_figure() {
        assert_eq!(mean(&[]), None);
        assert_eq!(median(&[]), None);
        assert_eq!(reference(&[5], Quantile::P99), None);
        assert_eq!(mlperf(&[], Quantile::P99), None);
        assert_eq!(trtexec(&[], Quantile::P99), None);
        assert_eq!(perf_analyzer(&[], Quantile::P99), None);
    }

    #[test]
    fn a_mean_beyond_53_bits_is_rounded_once() {
        // Ties to even and just above a tie: a division of two already rounded doubles gets these wrong.
        let tie = (1u64 << 53) + 1;
        assert_eq!(mean(&[tie, tie]), Some((1u64 << 53) as f64));
        assert_eq!(mean(&[tie, tie, tie + 1]), Some(((1u64 << 53) + 2) as f64));
        assert_eq!(mean(&[u64::MAX, u64::MAX]), Some(u64::MAX as f64));
        // Above the tie by a thousandth, far below the bits that the division keeps.
        let mut nearly_tie = vec![tie; 999];
        nearly_tie.push(tie + 1);
        assert_eq!(mean(&nearly_tie), Some(((1u64 << 53) + 2) as f64));
    }
}
