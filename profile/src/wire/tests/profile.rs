use crate::example;
use crate::plan::Deadline;
use crate::point::{PointId, Shape};
use crate::record::{Cause, EngineBuild, Failure, NotRun, OperatorCost, Stage};
use crate::summary::{Interval, LatencySummary, PointSummary, Profile, Status};
use crate::units::{Bytes, Nanos};
use crate::wire::points::{Described, described};
use crate::wire::{decode_profile, encode_profile};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn round_trip(profile: &Profile) -> Profile {
    decode_profile(&encode_profile(profile).unwrap()).unwrap()
}

/// The figures that a reader compares with Python's `statistics`.
fn reference(latency: &LatencySummary) -> [Option<u64>; 6] {
    [
        Some(latency.mean_ns.to_bits()),
        Some(latency.p50_ns.to_bits()),
        latency.p95_ns.map(f64::to_bits),
        latency.p99_ns.map(f64::to_bits),
        latency.p999_ns.map(f64::to_bits),
        Some(latency.sum_ns),
    ]
}

#[test]
fn a_27_point_profile_with_histograms_and_energy_fits_4_kb() {
    let profile = example::profile_of_27_points();
    assert_eq!(profile.points.len(), 27);
    let measured =
        |p: &PointSummary| p.energy.is_some() && p.latency.as_ref().is_some_and(|l| l.iterations == 1000);
    assert!(profile.points.iter().all(measured));
    let bytes = encode_profile(&profile).unwrap();
    println!("27 points with histograms and energy: {} bytes", bytes.len());
    assert!(bytes.len() <= 4096, "{} bytes", bytes.len());
}

#[test]
fn everything_that_is_not_a_figure_survives_unchanged() {
    let profile = example::profile();
    let mut arrived = round_trip(&profile);
    for (arrived, sent) in arrived.points.iter_mut().zip(&profile.points) {
        assert_eq!(arrived.status, sent.status);
        assert_eq!(arrived.not_run, sent.not_run);
        assert_eq!(arrived.because_of, sent.because_of);
        assert_eq!(arrived.failure, sent.failure);
        assert_eq!(arrived.operators, sent.operators);
        assert_eq!(arrived.remarks, sent.remarks);
        assert_eq!(arrived.id, sent.id);
    }
    assert_eq!(arrived.run, profile.run);
    assert_eq!(arrived.environment, profile.environment);
    assert_eq!(arrived.models, profile.models);
    assert_eq!(arrived.backends, profile.backends);
    assert_eq!(arrived.variants, profile.variants);
    assert_eq!(arrived.memory_pressure, profile.memory_pressure);
    assert_eq!(arrived.operating_points, profile.operating_points);
    assert_eq!(arrived.warnings, profile.warnings);
    assert_eq!(arrived.power_topology, profile.power_topology);
    assert_eq!((arrived.schema, arrived.analysis), (profile.schema, profile.analysis));
    assert_eq!(arrived.soaks[0].throttles, profile.soaks[0].throttles);
    assert_eq!(arrived.soaks[0].gate, profile.soaks[0].gate);
}

#[test]
fn figures_survive_within_the_resolution_of_the_documentation() {
    let profile = example::profile();
    let arrived = round_trip(&profile);
    let close = |a: Option<f64>, b: Option<f64>, relative: f64, absolute: f64| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= relative * b.abs() + absolute,
        (a, b) => a.is_none() && b.is_none(),
    };
    for (a, b) in arrived.points.iter().zip(&profile.points) {
        assert!(close(a.clips_per_s, b.clips_per_s, 1e-9, 0.0), "{:?}", a.id);
        assert!(close(a.frames_per_s, b.frames_per_s, 1e-9, 0.0));
        assert_eq!(a.peak_memory_bytes, b.peak_memory_bytes);
        assert_eq!((a.minor_faults, a.major_faults), (b.minor_faults, b.major_faults));
        assert_eq!(a.prepare_ns.map(|ns| ns / 1000), b.prepare_ns.map(|ns| (ns + 500) / 1000));
        let (Some(a), Some(b)) = (a.energy, b.energy) else { continue };
        assert!(close(Some(a.gross_per_frame_uj), Some(b.gross_per_frame_uj), 0.0, 0.0006));
        assert!(close(a.net_per_frame_uj, b.net_per_frame_uj, 0.0, 0.0011));
        assert!(close(Some(a.mean_power_mw), Some(b.mean_power_mw), 0.0, 0.5));
        assert_eq!(a.window_ms, b.window_ms);
    }
    for (a, b) in arrived.scaling.iter().zip(&profile.scaling) {
        assert!(close(Some(a.exponent), Some(b.exponent), 0.0, 5e-5));
        assert_eq!(a.breakpoint_clip_length, b.breakpoint_clip_length);
    }
    let (a, b) = (&arrived.soaks[0], &profile.soaks[0]);
    assert!(close(a.sustained_ratio, b.sustained_ratio, 0.0, 1e-6));
    assert!(close(a.burst_frames_per_s, b.burst_frames_per_s, 0.0, 0.0006));
    assert_eq!(a.segments.len(), b.segments.len());
}

#[test]
fn histograms_keep_their_exact_tails_for_chosen_points_only() {
    let profile = example::profile();
    let chosen: Vec<PointId> = profile.operating_points.iter().flat_map(|o| o.chosen.clone()).collect();
    for (arrived, sent) in round_trip(&profile).points.iter().zip(&profile.points) {
        let (Some(arrived), Some(sent), id) = (&arrived.latency, &sent.latency, sent.id) else { continue };
        if chosen.contains(&id) {
            assert_eq!(arrived.histogram, sent.histogram, "{id:?}");
        } else {
            assert_eq!(arrived.histogram, sent.histogram.without_tail(), "{id:?}");
        }
    }
}

#[test]
fn a_throughput_that_does_not_follow_from_the_latencies_survives() {
    let mut profile = example::profile();
    let paced = &mut profile.points[0];
    paced.clips_per_s = Some(1.875);
    paced.frames_per_s = Some(15.0);
    profile.points[1].clips_per_s = None;
    profile.points[1].frames_per_s = None;
    let arrived = round_trip(&profile);
    assert!((arrived.points[0].clips_per_s.unwrap() - 1.875).abs() < 1e-9);
    assert_eq!(arrived.points[1].clips_per_s, None);
}

#[test]
fn every_kind_of_deadline_survives() {
    for deadline in [Deadline::None, Deadline::PerInference(Nanos(33_366_700)), Deadline::Fps(29.97)] {
        let mut profile = example::profile();
        profile.run.deadline = deadline;
        assert_eq!(round_trip(&profile).run.deadline, deadline);
    }
}

#[test]
fn a_figure_that_is_no_number_is_refused_and_not_sent_as_zero() {
    let mut profile = example::profile();
    profile.points[0].latency.as_mut().unwrap().p99_ns = Some(f64::NAN);
    let error = encode_profile(&profile).unwrap_err();
    assert!(error.to_string().contains("a percentile"), "{error}");
}

fn interval() -> impl Strategy<Value = Interval> {
    let end = || prop::option::of(0.0..1e11_f64);
    (end(), end()).prop_map(|(lower, upper)| Interval { lower, upper })
}

prop_compose! {
    fn latency()(
        mut summary in prop::collection::vec(prop_oneof![0..50_u64, 1_000_000..4_000_000_000_u64], 1..150)
            .prop_map(|series| example::latency(&series)),
        warmup in 0..1000_u64,
        mean in interval(), p95 in interval(), p99 in interval(),
        tau in 1.0..50.0_f64,
    ) -> LatencySummary {
        summary.warmup_iterations = warmup;
        summary.mean_ci_ns = mean;
        summary.p95_ci_ns = p95;
        summary.p99_ci_ns = p99;
        summary.tau = tau;
        summary
    }
}

prop_compose! {
    fn point()(
        at in (1..64_u32, 1..5000_u32).prop_map(|(b, t)| Shape::new(b, t).unwrap()),
        variant in 0..2_u16,
        latency in prop::option::of(latency()),
        counts in prop::array::uniform8(prop::option::of(0..1_u64 << 40)),
        energy in prop::option::of((0.0..1e5_f64, 0.0..1e9_f64, prop::option::of(-1e6..1e9_f64), interval(), 0..1_u64 << 32)),
        notes in (any::<bool>(), any::<bool>(), prop::collection::vec(".{0,12}", 0..3)),
        rate in prop::option::of(1.0..1e5_f64),
    ) -> PointSummary {
        let mut point = example::measured(variant, at, 1_000_000, 1);
        point.latency = latency;
        point.clips_per_s = point.latency.as_ref().and(rate);
        point.frames_per_s = point.clips_per_s.map(|clips| clips * f64::from(at.clip()));
        point.prepare_ns = counts[0];
        point.deadline_misses = counts[1];
        point.peak_memory_bytes = counts[2];
        point.device_memory_bytes = counts[3];
        point.minor_faults = counts[4];
        point.major_faults = counts[5];
        point.psi_some_us = counts[6];
        point.swap_in_pages = counts[7];
        point.engine = counts[7].map(|us| EngineBuild {
            took: Nanos(us * 1000),
            size: Bytes(us),
            cached: us % 2 == 0,
        });
        point.compute_p50_ns = counts[0].map(|n| n as f64 / 2.0);
        point.compute_p95_ns = counts[1].map(|n| n as f64 / 20.0);
        point.compute_p99_ns = counts[2].map(|n| n as f64 / 100.0);
        point.h2d_p50_ns = counts[3].map(|n| n as f64 / 2.0);
        point.h2d_p99_ns = counts[4].map(|n| n as f64 / 100.0);
        point.d2h_p50_ns = counts[5].map(|n| n as f64 / 2.0);
        point.d2h_p99_ns = counts[6].map(|n| n as f64 / 100.0);
        point.energy = energy.map(|(power, gross, net, ci, window)| crate::summary::EnergySummary {
            mean_power_mw: power,
            gross_per_frame_uj: gross,
            net_per_frame_uj: net,
            gross_ci_uj: ci,
            window_ms: window,
        });
        if notes.0 {
            point.status = Status::Failed;
            point.failure = Some(Failure { stage: Stage::Prepare, cause: Cause::Crashed, message: "signal 11".into() });
        }
        if notes.1 {
            point.not_run = Some(NotRun::Budget);
            point.because_of = Some(point.id);
            point.operators =
                vec![OperatorCost { name: "n".into(), kind: "k".into(), time: Nanos(7), share: 0.25 }];
        }
        point.remarks = notes.2;
        point
    }
}

/// The device's own times.
fn device(point: &PointSummary) -> [Option<f64>; 7] {
    [
        point.compute_p50_ns,
        point.compute_p95_ns,
        point.compute_p99_ns,
        point.h2d_p50_ns,
        point.h2d_p99_ns,
        point.d2h_p50_ns,
        point.d2h_p99_ns,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn reference_figures_survive_bit_for_bit_and_encoding_again_changes_nothing(
        points in prop::collection::vec(point(), 0..6),
    ) {
        let mut profile = example::profile();
        profile.points = points;
        let bytes = encode_profile(&profile).unwrap();
        let arrived = decode_profile(&bytes).unwrap();
        for (arrived, sent) in arrived.points.iter().zip(&profile.points) {
            prop_assert_eq!(arrived.latency.as_ref().map(reference), sent.latency.as_ref().map(reference));
            if let (Some(arrived), Some(sent)) = (&arrived.latency, &sent.latency) {
                prop_assert_eq!((arrived.min_ns, arrived.max_ns), (sent.min_ns, sent.max_ns));
                prop_assert_eq!(arrived.p99_extrapolated, sent.p99_extrapolated);
            }
            prop_assert_eq!(device(arrived), device(sent));
        }
        prop_assert_eq!(encode_profile(&arrived).unwrap(), bytes);
    }
}

/// The rows of the table of columns in docs/wire.md.
fn documented() -> String {
    let row =
        |column: &Described| format!("| {} | `{}` | {} |\n", column.code, column.name, column.meaning.trim());
    let rows: String = described().iter().map(row).collect();
    format!("| column | name | number |\n|---|---|---|\n{rows}")
}

#[test]
fn the_documentation_lists_every_column_and_no_code_twice() {
    let page = include_str!("../../../../docs/wire.md");
    assert!(page.contains(&documented()), "docs/wire.md lacks this table:\n{}", documented());
    let codes: BTreeSet<u8> = described().iter().map(|column| column.code).collect();
    assert_eq!(codes.len(), described().len());
}
