use crate::codec::CodecError;
use crate::example;
use crate::series;
use crate::wire::layout::{Blob, Packed};
use crate::wire::{
    MAX_PROFILE_BYTES, WireError, decode_profile, decode_series, encode_profile, encode_series, profile,
    series as wire_series, varint,
};
use proptest::prelude::*;
use std::sync::LazyLock;

static PROFILE: LazyLock<Vec<u8>> = LazyLock::new(|| encode_profile(&example::profile()).unwrap());
static SERIES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let id = example::profile().soaks[0].id;
    let (mut evidence, sensors) = example::soak_evidence(id);
    evidence.span[1].0 = evidence.span[0].0 + 60_000_000_000;
    encode_series(&series::build("r", &evidence, Some(&sensors), None)).unwrap()
});

#[test]
fn every_truncation_is_refused() {
    for end in (0..PROFILE.len()).step_by(7) {
        assert!(decode_profile(&PROFILE[..end]).is_err(), "{end} bytes");
    }
    for end in (0..SERIES.len()).step_by(7) {
        assert!(decode_series(&SERIES[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn a_message_beyond_the_limit_is_refused_before_it_is_parsed() {
    let huge = vec![0xa0; MAX_PROFILE_BYTES + 1];
    let expected = CodecError::TooLong { length: MAX_PROFILE_BYTES + 1, limit: MAX_PROFILE_BYTES };
    assert_eq!(decode_profile(&huge), Err(WireError::Codec(expected.clone())));
    assert_eq!(decode_series(&huge), Err(WireError::Codec(expected)));
}

#[test]
fn another_version_is_named_even_when_nothing_else_fits() {
    // {0: 2, 1: "whatever"}
    let newer = [0xa2, 0x00, 0x02, 0x01, 0x61, b'x'];
    for error in [decode_profile(&newer).unwrap_err(), decode_series(&newer).unwrap_err()] {
        assert_eq!(error, WireError::Version { found: 2 });
        assert!(error.to_string().contains("update the older"), "{error}");
    }
}

#[test]
fn a_field_from_the_future_is_skipped() {
    // One more entry in the outermost map: 99 => [1, {2: "x"}].
    let mut newer = PROFILE.clone();
    let (header, entries) = (newer[0] & 0xe0, newer[0] & 0x1f);
    assert_eq!(header, 0xa0, "the message is a map with its length in the first byte");
    newer[0] = header | (entries + 1);
    newer.extend([0x18, 99, 0x82, 0x01, 0xa1, 0x02, 0x61, b'x']);
    assert_eq!(decode_profile(&newer), decode_profile(&PROFILE));
}

/// Decodes the example after a change to its message.
fn changed(change: impl Fn(&mut crate::wire::layout::ProfileMessage)) -> WireError {
    let mut message = profile::to_message(&example::profile()).unwrap();
    change(&mut message);
    decode_profile(&crate::codec::to_cbor(&message, MAX_PROFILE_BYTES).unwrap()).unwrap_err()
}

#[test]
fn contradictions_are_named() {
    let column = |numbers: &[i64]| varint::pack(numbers.iter().map(|&number| Some(number)));
    let cases = [
        (changed(|m| m.points.variant = column(&[9])), "a variant refers to number 9"),
        (changed(|m| m.points.variant = column(&[1 << 40])), "a variant, batch size or clip length"),
        (changed(|m| m.points.clip_length = column(&[0])), "a batch size or clip length"),
        (changed(|m| m.points.status = column(&[77])), "a point's status has the unknown code 77"),
        (changed(|m| m.points.status = None), "a point's status is outside"),
        (changed(|m| m.points.count = 29), "values where 29 belong"),
        (changed(|m| m.points.count = u32::MAX), "the number of points"),
        (changed(|m| m.points.p50_ns_x2 = None), "the median"),
        (changed(|m| m.points.iterations = column(&[1, 2])), "column iterations holds 2 values where 30"),
        (changed(|m| m.points.iterations = column(&[-1])), "iterations is outside"),
        (changed(|m| m.notes[0].point = 30), "a note refers to number 30"),
        (changed(|m| m.run.mode = 9), "the mode has the unknown code 9"),
        (changed(|m| m.run.deadline_fps_e6 = Some(1)), "the deadline"),
        (changed(|m| m.points.histogram.as_mut().unwrap()[1].0 = vec![99]), "histogram of point 1"),
    ];
    for (error, expected) in cases {
        assert!(error.to_string().contains(expected), "{error} lacks `{expected}`");
    }
}

#[test]
fn a_column_that_claims_more_numbers_than_there_are_ticks_is_refused() {
    let decoded = decode_series(&SERIES).unwrap();
    let mut message = wire_series::to_message(&decoded).unwrap();
    let long =
        pco::standalone::simple_compress(&vec![1_i32; 1_000_000], &pco::ChunkConfig::default()).unwrap();
    message.latency_max = Packed { pco: Blob(long), runs: None };
    let bytes = crate::codec::to_cbor(&message, 1 << 20).unwrap();
    let error = decode_series(&bytes).unwrap_err();
    assert!(error.to_string().contains("does not hold 60 numbers"), "{error}");
}

/// Replaces some bytes of `original`.
fn mutated(original: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((0..original.len(), any::<u8>()), 1..8);
    (edits, 0..3_u8, 0..original.len()).prop_map(move |(edits, kind, at)| {
        let mut bytes = original.to_vec();
        for (at, value) in edits {
            bytes[at] = value;
        }
        match kind {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at / 2..at)),
            _ => {}
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_mutated_profile_is_refused_or_can_be_sent_on(bytes in mutated(&PROFILE)) {
        if let Ok(profile) = decode_profile(&bytes) {
            let _ = encode_profile(&profile);
        }
    }

    #[test]
    fn a_mutated_series_is_refused_or_can_be_sent_on(bytes in mutated(&SERIES)) {
        if let Ok(series) = decode_series(&bytes) {
            prop_assert!(encode_series(&series).is_ok());
        }
    }

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode_profile(&bytes).is_err());
        prop_assert!(decode_series(&bytes).is_err());
    }
}
