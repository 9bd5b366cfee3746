use super::*;

fn check(decode: Decode, text: &str, expected: Result<i64, Fault>) {
    assert_eq!(decode.decode(text.as_bytes()), expected, "{decode:?} of {text:?}");
}

#[test]
fn texts_of_drivers_become_values() {
    check(Decode::Integer(1, 1), "5016\n", Ok(5016));
    check(Decode::Integer(1, 1), "-44000\n", Ok(-44000));
    check(Decode::Integer(1, 1000), "1020000000\n", Ok(1_020_000));
    check(Decode::Integer(1, 1), "<unsupported>\n", Err(Fault::NotKnown));
    check(Decode::Integer(1, 1), "2147483647\n", Err(Fault::OutOfRange));
    check(Decode::Integer(1, 1000), "4294967295\n", Err(Fault::OutOfRange));
    check(Decode::Integer(1, 1), "", Err(Fault::Unparsable));
    check(Decode::Integer(1, 1), "99999999999999999999\n", Err(Fault::OutOfRange));
    check(Decode::NonZero(1000), "0\n", Err(Fault::Unset));
    check(Decode::Hexadecimal, "80008\n", Ok(0x80008));
    check(Decode::PercentAt, "37@300000000Hz\n", Ok(370));
    check(Decode::MeanPercent, "NPU load:  Core0: 10%, Core1: 20%, Core2: 60%,\n", Ok(300));
    let meminfo = "MemTotal: 16334100 kB\nMemAvailable:   123456 kB\n";
    check(Decode::After("MemAvailable:", 1), meminfo, Ok(123_456));
    check(Decode::After("MemAvailable:", 1), "MemTotal: 1 kB\n", Err(Fault::NoSuchLine));
    let psi = "some avg10=0.00 avg60=0.00 avg300=0.00 total=5000\nfull avg10=0.00 total=1\n";
    check(Decode::After("total=", 1000), psi, Ok(5));
}

#[test]
fn a_gated_unit_is_asked_rarely_and_found_again_when_it_wakes() {
    let text = "/t\t@series 0:!EAGAIN,10000:5\n";
    let root = Root::stored(crate::tree::Tree::parse(text).unwrap());
    let handles = vec![root.open_value("/t").unwrap()];
    let mut source = Source { handles, decode: Decode::Integer(1, 1), gated: 0, skip: 0 };
    let mut readings = Vec::new();
    for second in 0..40 {
        root.set_time(Nanos::from_secs(second));
        readings.push(source.read());
    }
    let gated = Err(Fault::Refused(Errno::AGAIN));
    let woken = readings.iter().position(|reading| *reading == Ok(5)).unwrap();
    assert!((10..=10 + 16).contains(&woken), "{woken}");
    assert!(readings[..woken].iter().all(|reading| *reading == gated));
    assert!(readings[woken..].iter().all(|reading| *reading == Ok(5)));
}

#[test]
fn a_value_too_large_for_its_channel_is_a_fault() {
    assert_eq!(narrow(i64::from(i32::MAX) + 1), Err(Fault::OutOfRange));
    assert_eq!(narrow(-1), Ok(-1));
    assert_ne!(Fault::Refused(Errno::AGAIN).to_string(), "");
}
