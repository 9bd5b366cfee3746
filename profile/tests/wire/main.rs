//! Golden messages, and the documentation's decoder run on one of them.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers read files and fail a test, and a test that could not run must say so"
)]

mod messages;
mod python;
mod schema;

use clipmark_profile::summary::Profile;
use clipmark_profile::{example, wire};
use std::path::{Path, PathBuf};

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("the vector is there")
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name)
}

#[test]
fn golden_profiles_are_read_and_written_again_byte_for_byte() {
    for name in
        ["v1-profile.cbor", "v1-profile-27-points.cbor", "v1-profile-drifted.cbor", "v1-profile-streams.cbor"]
    {
        let profile = wire::decode_profile(&vector(name)).unwrap();
        assert_eq!(wire::encode_profile(&profile).unwrap(), vector(name), "{name}");
    }
}

#[test]
fn a_golden_profile_still_says_what_it_said() {
    let profile = wire::decode_profile(&vector("v1-profile.cbor")).unwrap();
    assert_eq!(profile.run.id, "5f0c1e9b7a3d4468");
    assert_eq!(profile.points.len(), 30);
    let latency = profile.points[0].latency.as_ref().unwrap();
    assert_eq!((latency.iterations, latency.sum_ns), (1000, example_sum()));
    assert_eq!(profile.soaks[0].throttles.len(), 2);
    assert_eq!(profile.operating_points.len(), 8);
}

#[test]
fn a_golden_profile_with_streams_says_how_many_are_sustained() {
    let profile = wire::decode_profile(&vector("v1-profile-streams.cbor")).unwrap();
    let expected = example::with_streams(example::profile_of_27_points());
    assert_eq!(profile.capacities.len(), 2);
    for (found, expected) in profile.capacities.iter().zip(&expected.capacities) {
        assert!(expected.last_holding.is_some() && expected.first_failing.is_some());
        let sides = |one: &clipmark_profile::summary::Capacity| {
            let side = |load: &clipmark_profile::streams::verdict::LoadFigures| {
                (load.streams, load.verdict, load.clips, load.p99_ns, load.waiting.clone())
            };
            [&one.last_holding, &one.first_failing].map(|load| load.as_ref().map(side))
        };
        assert_eq!(sides(found), sides(expected));
        assert_eq!((found.id, found.instances, found.loads), (expected.id, 2, expected.loads));
    }
}

fn example_sum() -> u64 {
    example::profile().points[0].latency.as_ref().map_or(0, |latency| latency.sum_ns)
}

#[test]
fn the_golden_series_is_read() {
    let series = wire::decode_series(&vector("v1-series.cbor")).unwrap();
    assert_eq!((series.ticks, series.channels.len(), series.trips.len()), (1800, 10, 2));
    assert_eq!(wire::decode_series(&wire::encode_series(&series).unwrap()).unwrap(), series);
}

/// The Python block of docs/wire.md with this index.
pub(crate) fn snippet(index: usize) -> String {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/wire.md");
    let text = std::fs::read_to_string(document).expect("docs/wire.md is there");
    let block = text.split("```python\n").nth(index + 1).expect("it has that many Python blocks");
    block.split_once("```").expect("the block ends").0.to_owned()
}

fn line(profile: &Profile, index: usize) -> Option<(String, f64, f64, f64)> {
    let point = &profile.points[index];
    let latency = point.latency.as_ref()?;
    Some((latency.iterations.to_string(), latency.mean_ns, latency.p50_ns, latency.p99_ns?))
}

#[test]
fn the_documentations_decoder_gives_the_same_figures_bit_for_bit() {
    let Some(python) = python::with("cbor2") else { return };
    let text = python::run(&python, &snippet(1), &[&path("v1-profile.cbor")]);
    let profile = wire::decode_profile(&vector("v1-profile.cbor")).unwrap();
    assert_eq!(text.lines().count(), 31);
    for (index, printed) in text.lines().skip(1).enumerate() {
        let fields: Vec<&str> = printed.split(',').collect();
        let Some((n, mean, p50, p99)) = line(&profile, index) else {
            assert_eq!(fields.len(), 5, "{printed}");
            continue;
        };
        assert_eq!(fields[5], n);
        let figures: Vec<f64> = fields[6..9].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(figures, [mean, p50, p99], "{printed}");
    }
}

#[test]
fn the_documentations_reader_of_comparable_figures_finds_those_of_every_point() {
    let Some(python) = python::with("cbor2") else { return };
    let script = format!(
        "import sys, cbor2\n{}\nfor index, own in comparable(cbor2.load(open(sys.argv[1], 'rb'))).items():\n    \
         print(index, *own, sep=',')",
        snippet(2)
    );
    let text = python::run(&python, &script, &[&path("v1-profile-drifted.cbor")]);
    let profile = wire::decode_profile(&vector("v1-profile-drifted.cbor")).unwrap();
    assert_eq!(text.lines().count(), profile.points.len());
    for printed in text.lines() {
        let fields: Vec<f64> = printed.split(',').map(|field| field.parse().unwrap()).collect();
        let own = profile.points[fields[0] as usize].comparable.unwrap();
        assert_eq!(fields[1..], [own.mean_ns, own.frames_per_s], "{printed}");
    }
    // A board that held still has none.
    assert_eq!(python::run(&python, &script, &[&path("v1-profile-27-points.cbor")]), "");
}
