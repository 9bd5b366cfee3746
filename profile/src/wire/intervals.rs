//! Intervals as distances from their figure in equal parts of it, rounded outward: what arrives is never
//! narrower than what was measured.

use crate::summary::Interval;

/// Into how many parts a figure is divided.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parts {
    /// 1,000.
    Thousandths,
    /// 10,000.
    TenThousandths,
}

impl Parts {
    /// One part of `figure`, or of 1 where the figure is smaller.
    pub(super) fn of(self, figure: f64) -> f64 {
        let parts = match self {
            Self::Thousandths => 1e3,
            Self::TenThousandths => 1e4,
        };
        figure.abs().max(1.0) / parts
    }
}

/// Keeps what was decoded from being rounded outward once more.
const ROUNDING: f64 = 1e-6;

/// Largest distance that travels, in parts; a farther end counts as not determined.
const MOST: f64 = 1e8;

/// Lower and upper end; `None` where the sample does not determine it.
pub(super) fn to_parts(interval: Interval, figure: f64, parts: Parts) -> [Option<i64>; 2] {
    let unit = parts.of(figure);
    let whole = |distance: f64| {
        let outward = (distance / unit - ROUNDING).ceil();
        (outward.abs() <= MOST).then_some(outward as i64)
    };
    [interval.lower.and_then(|end| whole(figure - end)), interval.upper.and_then(|end| whole(end - figure))]
}

/// The inverse of [`to_parts`].
pub(super) fn to_interval(ends: [Option<i64>; 2], figure: f64, parts: Parts) -> Interval {
    let unit = parts.of(figure);
    Interval {
        lower: ends[0].map(|n| figure - n as f64 * unit),
        upper: ends[1].map(|n| figure + n as f64 * unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_arrives_encloses_what_was_measured_and_does_not_widen_again(
            figure in 0.0..1e12_f64,
            below in 0.0..1.0_f64,
            above in 0.0..5.0_f64,
        ) {
            let measured =
                Interval { lower: Some(figure * (1.0 - below)), upper: Some(figure * (1.0 + above)) };
            let ends = to_parts(measured, figure, Parts::TenThousandths);
            let arrived = to_interval(ends, figure, Parts::TenThousandths);
            let slack = figure.max(1.0) * 1e-9;
            let (lower, upper) = (arrived.lower.unwrap(), arrived.upper.unwrap());
            prop_assert!(lower <= measured.lower.unwrap() + slack);
            prop_assert!(upper >= measured.upper.unwrap() - slack);
            prop_assert!(measured.lower.unwrap() - lower <= figure.max(1.0) * 1.1e-4);
            prop_assert_eq!(to_parts(arrived, figure, Parts::TenThousandths), ends);
        }
    }

    #[test]
    fn an_end_that_is_not_determined_stays_so() {
        let open = Interval { lower: Some(90.0), upper: None };
        assert_eq!(to_parts(open, 100.0, Parts::Thousandths), [Some(100), None]);
        let tiny = to_interval([None, Some(10)], 0.0, Parts::TenThousandths);
        assert_eq!(tiny, Interval { lower: None, upper: Some(0.001) });
    }
}
