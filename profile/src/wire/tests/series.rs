use crate::channel::{Channel, ChannelKind, Role};
use crate::example;
use crate::point::{PointId, Shape};
use crate::series::{self, ChannelSeries, Series, Trip, quantum};
use crate::wire::{WireError, decode_series, encode_series};
use proptest::prelude::*;

fn soak() -> Series {
    let profile = example::profile();
    let summary = &profile.soaks[0];
    let (evidence, sensors) = example::soak_evidence(summary.id);
    series::build(&profile.run.id, &evidence, Some(&sensors), Some(summary))
}

#[test]
fn half_an_hour_of_ten_moving_channels_fits_10_kb_and_survives_exactly() {
    let series = soak();
    assert_eq!((series.ticks, series.period_ms, series.channels.len()), (1800, 1000, 10));
    let moving = |channel: &&ChannelSeries| {
        let distinct: std::collections::BTreeSet<_> = channel.values.iter().collect();
        distinct.len() > 1
    };
    assert_eq!(series.channels.iter().filter(moving).count(), 9, "all but the memory clock move");
    let bytes = encode_series(&series).unwrap();
    println!("10 channels over 30 minutes at 1 Hz: {} bytes", bytes.len());
    assert!(bytes.len() <= 10 * 1024, "{} bytes", bytes.len());
    let mut arrived = decode_series(&bytes).unwrap();
    assert_eq!(encode_series(&arrived).unwrap(), bytes);
    // Throughput of a segment is rounded to thousandths of a frame, as in the profile.
    for (arrived, sent) in arrived.segments.iter_mut().zip(&series.segments) {
        assert!((arrived.frames_per_s - sent.frames_per_s).abs() < 0.0006);
        arrived.frames_per_s = sent.frames_per_s;
    }
    assert_eq!(arrived, series);
}

#[test]
fn a_series_without_sensors_survives() {
    let (evidence, _) = example::soak_evidence(soak().id);
    let series = series::build("r", &evidence, None, None);
    assert_eq!(decode_series(&encode_series(&series).unwrap()).unwrap(), series);
}

#[test]
fn a_column_of_another_length_is_refused() {
    let mut series = soak();
    series.latency_max.pop();
    assert!(matches!(encode_series(&series), Err(WireError::Length { found: 1799, expected: 1800, .. })));
}

#[test]
fn a_trip_of_a_channel_that_is_not_there_is_refused() {
    let mut series = soak();
    series.trips[0].channel = 10;
    let error = decode_series(&encode_series(&series).unwrap()).unwrap_err();
    assert_eq!(error, WireError::Dangling { what: "a trip point", index: 10, count: 10 });
}

fn column(ticks: usize, step: i32) -> impl Strategy<Value = Vec<Option<i32>>> {
    let value = prop_oneof![3 => Just(None), 8 => (-2000..2000_i32).prop_map(move |v| Some(v * step)), 1 => any::<i32>().prop_map(Some)];
    prop::collection::vec(value, ticks)
}

prop_compose! {
    fn series()(ticks in 0..80_usize)(
        p50 in column(ticks, 1),
        max in column(ticks, 1),
        power in column(ticks, quantum(ChannelKind::Power)),
        load in column(ticks, quantum(ChannelKind::Load)),
        ticks in Just(ticks),
        unit in prop::sample::select(vec![1_u64, 10, 1000, 100_000]),
    ) -> Series {
        let channel = |id: &str, kind, values| ChannelSeries {
            channel: Channel { id: id.into(), kind, role: Role::Context },
            values,
        };
        Series {
            run_id: "r".into(),
            id: PointId { variant: 3, shape: Shape::new(2, 64).unwrap() },
            start_ms: 5,
            period_ms: 1000,
            ticks: ticks as u32,
            latency_unit_ns: unit,
            latency_p50: p50,
            latency_max: max,
            channels: vec![channel("power.x", ChannelKind::Power, power), channel("load.y", ChannelKind::Load, load)],
            trips: vec![Trip { channel: 1, kind: "hot".into(), milli_celsius: -40_000 }],
            segments: Vec::new(),
            throttles: Vec::new(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_series_survives_exactly(series in series()) {
        let bytes = encode_series(&series).unwrap();
        prop_assert_eq!(decode_series(&bytes).unwrap(), series);
    }
}
