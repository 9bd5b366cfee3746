//! How often a power monitor really renews its reading.
//!
//! A monitor that averages 512 conversions renews its registers every few hundred milliseconds; faster
//! reads see old values again. Sources disagree on what a read sees in between, so it is measured: the
//! rails are read in a burst and the time between changes is taken.

use clipmark_profile::units::Nanos;

/// Fewer changes than this say nothing.
const MIN_CHANGES: usize = 4;

/// The interval between renewals of one rail, from readings in a burst: the lower quartile of the times
/// between changes, because a renewal that happens to give the same value looks like a longer interval.
/// `None` when the value hardly changed.
#[must_use]
pub fn interval(readings: &[(Nanos, i32)]) -> Option<Nanos> {
    let changes = readings.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1].0);
    let changes: Vec<Nanos> = changes.collect();
    if changes.len() < MIN_CHANGES {
        return None;
    }
    let mut spans: Vec<u64> = changes.windows(2).map(|pair| pair[1].since(pair[0]).get()).collect();
    spans.sort_unstable();
    Some(Nanos(spans[spans.len() / 4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A monitor that renews every `renew_ms`, read every millisecond for two seconds; every third renewal
    /// repeats the value before.
    fn burst(renew_ms: u64) -> Vec<(Nanos, i32)> {
        (0..2000u64)
            .map(|ms| {
                let renewal = ms / renew_ms;
                let shown = if renewal % 3 == 2 { renewal - 1 } else { renewal };
                (Nanos(ms * 1_000_000), shown as i32 * 8)
            })
            .collect()
    }

    #[test]
    fn the_interval_is_found_although_some_renewals_repeat_a_value() {
        for renew_ms in [7, 20, 100, 215] {
            assert_eq!(interval(&burst(renew_ms)), Some(Nanos(renew_ms * 1_000_000)), "{renew_ms} ms");
        }
    }

    #[test]
    fn a_still_rail_has_no_known_interval() {
        assert_eq!(interval(&burst(1900)), None);
        assert_eq!(interval(&[]), None);
    }
}
