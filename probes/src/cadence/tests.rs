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
