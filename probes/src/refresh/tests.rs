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
