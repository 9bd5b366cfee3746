//! Between floating-point figures and the integers on the wire.
//!
//! A figure that is a fraction of an integer with a known denominator survives exactly: the integer is below
//! 2^51, rounding the product finds it, and one correctly rounded division gives the same double again.

use super::WireError;

/// `value * denominator`, rounded to the nearest integer; `None` unless the product is below 2^63.
pub(super) fn to_integer(value: f64, denominator: f64) -> Option<i64> {
    let scaled = (value * denominator).round();
    (scaled.is_finite() && scaled.abs() < 9.2e18).then_some(scaled as i64)
}

/// The inverse of [`to_integer`].
pub(super) fn to_figure(integer: i64, denominator: f64) -> f64 {
    integer as f64 / denominator
}

/// As [`to_integer`], an error where there is no such integer.
pub(super) fn required(what: &'static str, value: f64, denominator: f64) -> Result<i64, WireError> {
    to_integer(value, denominator).ok_or(WireError::OutOfRange { what })
}

/// A count as it travels.
pub(super) fn count(what: &'static str, value: u64) -> Result<i64, WireError> {
    i64::try_from(value).map_err(|_| WireError::OutOfRange { what })
}

/// A count as it arrives; never negative.
pub(super) fn uncount(what: &'static str, value: i64) -> Result<u64, WireError> {
    u64::try_from(value).map_err(|_| WireError::OutOfRange { what })
}

/// `a + b`, refused where a hostile message makes it overflow.
pub(super) fn sum(what: &'static str, a: i64, b: i64) -> Result<i64, WireError> {
    a.checked_add(b).ok_or(WireError::OutOfRange { what })
}

/// `a * b`, refused where it overflows.
pub(super) fn product(what: &'static str, a: i64, b: i64) -> Result<i64, WireError> {
    a.checked_mul(b).ok_or(WireError::OutOfRange { what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fractions_of_whole_nanoseconds_survive_bit_for_bit(
            numerator in 0..(1_i64 << 51),
            denominator in prop::sample::select(vec![2.0, 4.0, 20.0, 100.0, 1000.0]),
        ) {
            let figure = to_figure(numerator, denominator);
            // Whatever a reference statistic can give is such a quotient; the integer may differ only where
            // the quotient does not tell neighbours apart.
            let back = to_figure(to_integer(figure, denominator).unwrap(), denominator);
            prop_assert_eq!(back.to_bits(), figure.to_bits());
        }
    }

    #[test]
    fn what_is_no_number_or_too_large_is_refused() {
        for value in [f64::NAN, f64::INFINITY, 1e19, -1e19] {
            assert_eq!(to_integer(value, 1.0), None, "{value}");
        }
        assert!(sum("x", i64::MAX, 1).is_err());
        assert!(product("x", i64::MAX, 2).is_err());
        assert!(uncount("x", -1).is_err());
    }
}
