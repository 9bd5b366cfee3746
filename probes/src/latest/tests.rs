use super::*;
use crate::probe::Fault;
use proptest::prelude::*;

#[test]
fn a_channel_is_absent_before_its_first_reading_and_after_a_failed_one() {
    let latest = Latest::new(vec![Channel::new(ChannelKind::Temperature, "tj", Role::Junction)]);
    assert_eq!(latest.get(0), None);
    latest.put(0, Nanos(5_000_000), Ok(-7));
    assert_eq!(latest.get(0), Some(Newest { value: Some(-7), stamp: Nanos(5_000_000) }));
    assert_eq!(latest.hottest().map(|hottest| hottest.value), Some(MilliCelsius(-7)));
    latest.put(0, Nanos(6_000_000), Err(Fault::Unparsable));
    assert_eq!(latest.get(0), Some(Newest { value: None, stamp: Nanos(6_000_000) }));
    assert_eq!(latest.hottest(), None);
}

/// What is confirmed after each of `readings`, m°C; `None` among them is a read that failed.
fn confirmed(readings: &[Option<i32>]) -> Vec<Option<i32>> {
    let latest = Latest::new(vec![Channel::new(ChannelKind::Temperature, "tj", Role::Junction)]);
    let mut stamps = (0u64..).map(|second| Nanos(second * Nanos::PER_SECOND));
    let confirmed = readings.iter().map(|reading| {
        latest.put(0, stamps.next().unwrap(), reading.ok_or(Fault::Unparsable));
        latest.hottest_confirmed().map(|hottest| hottest.value.get())
    });
    confirmed.collect()
}

#[test]
fn a_single_reading_confirms_nothing_and_two_in_a_row_do() {
    assert_eq!(confirmed(&[Some(85)]), [None]);
    assert_eq!(confirmed(&[Some(44), Some(85), Some(44)]), [None, Some(44), Some(44)]);
    assert_eq!(confirmed(&[Some(44), Some(85), Some(86)]), [None, Some(44), Some(85)]);
}

#[test]
fn reads_that_fail_now_and_then_do_not_hide_the_heat() {
    assert_eq!(confirmed(&[Some(85), None, Some(85)])[2], Some(85));
    assert_eq!(confirmed(&[Some(85), None, None, None, None, Some(85)])[5], None);
}

#[test]
fn a_total_with_a_missing_rail_is_absent() {
    let rail = |name| Channel::new(ChannelKind::Power, name, Role::TotalPower);
    let latest = Latest::new(vec![rail("a"), rail("b")]);
    latest.put(0, Nanos(0), Ok(5));
    assert_eq!(latest.total_power(), None);
    latest.put(1, Nanos(0), Ok(6));
    assert_eq!(latest.total_power(), Some(Milliwatts(11)));
}

#[test]
fn sticky_firmware_bits_are_no_throttling_now() {
    let flags = Channel::new(ChannelKind::ThrottleFlags, "firmware", Role::Context);
    assert!(says_throttled(&flags, Some(0x80008)));
    assert!(!says_throttled(&flags, Some(0xe0000)));
    let fan = Channel::new(ChannelKind::Cooling, "pwm-fan", Role::Context);
    assert!(!says_throttled(&fan, Some(4)));
}

proptest! {
    #[test]
    fn every_value_and_stamp_is_read_back(value in any::<i32>(), ms in 0u64..(1 << 30)) {
        let latest = Latest::new(vec![Channel::new(ChannelKind::Power, "a", Role::Context)]);
        latest.put(0, Nanos(ms * 1_000_000), Ok(value));
        prop_assert_eq!(latest.get(0), Some(Newest { value: Some(value), stamp: Nanos(ms * 1_000_000) }));
    }
}
