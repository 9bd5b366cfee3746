use crate::codec::CodecError;
use crate::example;
use crate::plan::Mode;
use crate::point::Precision;
use crate::series;
use crate::summary::{Objective, Profile, Status};
use crate::wire::layout::{Blob, Packed, Scalar};
use crate::wire::{
    MAX_PROFILE_BYTES, WireError, decode_profile, decode_series, encode_profile, encode_series, profile,
    series as wire_series, varint,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
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
fn after(change: impl Fn(&mut crate::wire::layout::ProfileMessage)) -> Result<Profile, WireError> {
    let mut message = profile::to_message(&example::profile()).unwrap();
    change(&mut message);
    decode_profile(&crate::codec::to_cbor(&message, MAX_PROFILE_BYTES).unwrap())
}

fn changed(change: impl Fn(&mut crate::wire::layout::ProfileMessage)) -> WireError {
    after(change).unwrap_err()
}

const CLIP_LENGTH: u8 = 1;
const STATUS: u8 = 4;
const ITERATIONS: u8 = 6;
const P50: u8 = 8;

fn put(columns: &mut BTreeMap<u8, Blob>, code: u8, numbers: &[i64]) {
    columns.insert(code, varint::pack(numbers.iter().map(|&number| Some(number))).unwrap());
}

#[test]
fn codes_from_the_future_are_unknown_and_the_rest_is_read() {
    let known = decode_profile(&PROFILE).unwrap();
    let newer = after(|m| {
        m.run.mode = 9;
        put(&mut m.points.columns, STATUS, &[77]);
        put(&mut m.points.columns, 200, &[1]);
        m.notes[0].not_run = Some(88);
        m.variants[0].0.insert(99, Scalar::Count(3));
        m.variants[0].0.insert(2, Scalar::Name("fp4".into()));
        m.operating_points[0].objective = 50;
    });
    let newer = newer.unwrap();
    assert_eq!(newer.run.mode, Mode::Unknown);
    assert_eq!(newer.variants[0].precision, Precision::Unknown);
    assert_eq!(newer.variants[0].model, known.variants[0].model);
    assert_eq!(newer.operating_points[0].objective, Objective::Unknown);
    assert!(newer.points.iter().all(|point| point.status == Status::Unknown));
    let latencies = |profile: &Profile| profile.points.iter().map(|p| p.latency.clone()).collect::<Vec<_>>();
    assert_eq!(latencies(&newer), latencies(&known));
}

#[test]
fn a_point_on_an_axis_from_the_future_is_left_out_and_said() {
    let known = decode_profile(&PROFILE).unwrap();
    let count = known.points.len();
    let newer = after(|m| {
        let sizes = (0..count).map(|index| (index == 1).then_some(4));
        m.points.shape.insert(77, varint::pack(sizes).unwrap());
        m.operating_points[0].chosen.push(vec![0, 1, 8, 0, 0, 4]);
    });
    let newer = newer.unwrap();
    assert_eq!(newer.points.len(), count - 1);
    assert_eq!(newer.points[1], known.points[2]);
    assert!(newer.warnings.last().unwrap().starts_with("1 points are left out"), "{:?}", newer.warnings);
    assert_eq!(newer.operating_points[0].chosen, known.operating_points[0].chosen);
}

#[test]
fn contradictions_are_named() {
    let column = |numbers: &[i64]| varint::pack(numbers.iter().map(|&number| Some(number)));
    let cases = [
        (changed(|m| m.points.variant = column(&[9])), "a variant refers to number 9"),
        (changed(|m| m.points.variant = column(&[1 << 40])), "a variant or a size of a shape"),
        (changed(|m| put(&mut m.points.shape, CLIP_LENGTH, &[0])), "a variant or a size of a point"),
        (changed(|m| drop(m.points.shape.remove(&CLIP_LENGTH))), "a variant or a size of a point"),
        (changed(|m| drop(m.points.columns.remove(&STATUS))), "a point's status is outside"),
        (changed(|m| m.points.count = 29), "values where 29 belong"),
        (changed(|m| m.points.count = u32::MAX), "the number of points"),
        (changed(|m| drop(m.points.columns.remove(&P50))), "the median"),
        (
            changed(|m| put(&mut m.points.columns, ITERATIONS, &[1, 2])),
            "column iterations holds 2 values where 30",
        ),
        (changed(|m| put(&mut m.points.columns, ITERATIONS, &[-1])), "iterations is outside"),
        (changed(|m| m.notes[0].point = 30), "a note refers to number 30"),
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
