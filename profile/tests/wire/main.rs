//! Golden messages.

mod vectors;

use clipmark_profile::{example, wire};
use vectors::{message, vector};

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

#[test]
fn golden_messages_are_what_is_written_today() {
    for sample in example::messages() {
        let name = message(&sample);
        assert_eq!(vector(&name), sample.bytes, "{name}");
    }
}
