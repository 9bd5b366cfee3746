//! How often each tier is read.
//!
//! Periods are nominal: no duration is ever derived from them, the stamps are. Under a paced load the
//! periods of the power and GPU tiers are made incommensurate with the load's, because a sampler that
//! beats with the load sees always the same part of it.

use crate::probe::Tier;
use clipmark_profile::units::Nanos;

/// The golden ratio's fraction: of all numbers the worst approximated by fractions of small integers.
const GOLDEN: f64 = 0.618_033_988_749_894_9;
/// Most of its period that reading a tier may take.
const MAX_DUTY: u64 = 4;

/// The nominal period of `tier` on a board whose rails make sense at `rails_hz`.
fn nominal(tier: Tier, rails_hz: f64) -> Nanos {
    match tier {
        Tier::Rails => Nanos((1e9 / rails_hz.clamp(0.1, 100.0)) as u64),
        Tier::Fast => Nanos(200_000_000),
        Tier::Medium => Nanos::from_secs(1),
        Tier::Slow => Nanos::from_secs(2),
        Tier::Rare => Nanos::from_secs(10),
    }
}

/// The period to use: the nominal one, longer where one reading costs `cost` of blocking I/O, and
/// incommensurate with a paced load.
#[must_use]
pub fn period(tier: Tier, rails_hz: f64, cost: Nanos, load: Option<Nanos>) -> Nanos {
    let bounded = Nanos(nominal(tier, rails_hz).get().max(cost.get().saturating_mul(MAX_DUTY)));
    match load {
        Some(load) if matches!(tier, Tier::Rails | Tier::Fast) => incommensurate(bounded, load),
        _ => bounded,
    }
}

/// A period near `nominal` whose ratio to `load` is as far from small fractions as can be: a whole number
/// plus the golden fraction, or the inverse of that for a load slower than the sampler.
fn incommensurate(nominal: Nanos, load: Nanos) -> Nanos {
    if load.get() == 0 || nominal.get() == 0 {
        return nominal;
    }
    let (nominal, load) = (nominal.get() as f64, load.get() as f64);
    let whole = |ratio: f64| (ratio - GOLDEN).round().max(0.0);
    let period = if nominal >= load {
        load * (whole(nominal / load) + GOLDEN)
    } else {
        load / (whole(load / nominal).max(1.0) + GOLDEN)
    };
    Nanos(period.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slow_monitors_are_read_less_often() {
        let cost = Nanos(430_000_000);
        assert_eq!(period(Tier::Rails, 5.0, Nanos(1_000_000), None), Nanos(200_000_000));
        assert_eq!(period(Tier::Rails, 5.0, cost, None), Nanos(1_720_000_000));
        assert_eq!(period(Tier::Medium, 5.0, Nanos(0), Some(Nanos(33_333_333))), Nanos::from_secs(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_small_fraction_of_the_load_is_hit(
            nominal_ms in 50u64..2000, load_us in 1_000u64..5_000_000
        ) {
            let (nominal, load) = (Nanos(nominal_ms * 1_000_000), Nanos(load_us * 1000));
            let period = incommensurate(nominal, load);
            let ratio = period.get() as f64 / nominal.get() as f64;
            prop_assert!((0.55..1.63).contains(&ratio), "{ratio}");
            let beat = (period.get() as f64 / load.get() as f64).fract();
            let beat = if period.get() >= load.get() { beat } else { (load.get() as f64 / period.get() as f64).fract() };
            for denominator in 1..=5 {
                let distance = (beat * f64::from(denominator)).fract();
                let distance = distance.min(1.0 - distance);
                prop_assert!(distance > 0.05, "{beat} is near a fraction of {denominator}");
            }
        }
    }
}
