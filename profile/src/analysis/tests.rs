use super::{latency, memory, scaling, study};
use crate::plan::{Limits, Plan, Request, UsableVariant};
use crate::point::{PointId, Shape, Variant};
use crate::record::{Chunk, Phase, PointEvidence, PointOutcome, Record};
use crate::simulated::{Noise, SimulatedSpec, WarmUp, WarmUpShape};
use crate::summary::{Objective, PressureSign, Status, SteadyState};
use crate::sweep::SweepRules;
use crate::truth::board;
use crate::units::Nanos;

fn id(batch_size: u32, clip_length: u32) -> PointId {
    PointId { variant: 0, shape: Shape::new(batch_size, clip_length).unwrap() }
}

fn chunk(phase: Phase, lead_in: u32, latencies: &[u64]) -> Chunk {
    let ended = Nanos(latencies.iter().sum());
    Chunk { phase, lead_in, latencies_ns: latencies.to_vec(), ended, ..Chunk::default() }
}

fn evidence(chunks: Vec<Chunk>) -> PointEvidence {
    PointEvidence { chunks, ..PointEvidence::new(id(2, 8), PointOutcome::Measured) }
}

fn run(request: Request, spec: SimulatedSpec) -> Record {
    let variant = Variant::new("m", "simulated");
    let usable = UsableVariant { variant, fixed: Vec::new() };
    let plan = Plan::expand(request, vec![usable], &Limits::default()).unwrap();
    board::run(&plan, SweepRules::for_plan(&plan), &[spec]).record
}

fn quadratic() -> SimulatedSpec {
    let mut spec =
        SimulatedSpec { noise: Noise { sigma: 0.01, ..Noise::default() }, ..SimulatedSpec::default() };
    (spec.latency.fixed_us, spec.latency.linear_us, spec.latency.quadratic_us) = (0.0, 0.0, 10.0);
    spec
}

#[test]
fn lead_ins_are_recorded_and_not_counted() {
    let point = evidence(vec![chunk(Phase::Pilot, 2, &[90, 80, 10, 10]), chunk(Phase::Race, 1, &[70, 10])]);
    let steady = latency::steady(&point);
    assert_eq!(steady.latencies_ns, vec![10, 10, 10]);
    assert_eq!(steady.discarded, 3);
}

#[test]
fn a_fixed_run_counts_its_iterations_even_when_the_first_ones_are_slow() {
    let slow: Vec<u64> = (0..100).map(|i| if i < 20 { 5000 } else { 1000 + i % 3 }).collect();
    let fixed = evidence(vec![chunk(Phase::Feasibility, 1, &[9]), chunk(Phase::Fixed, 0, &slow)]);
    assert_eq!(latency::steady(&fixed).latencies_ns.len(), 100);
    assert_eq!(latency::steady(&fixed).state, SteadyState::WarmUp);
    let adaptive = evidence(vec![chunk(Phase::Pilot, 0, &slow)]);
    assert_eq!(latency::steady(&adaptive).latencies_ns.len(), 80);
}

#[test]
fn throughput_counts_summed_latency_closed_and_elapsed_time_paced() {
    let mut paced = chunk(Phase::Pilot, 0, &[1_000_000; 10]);
    paced.ended = Nanos(100_000_000);
    let point = evidence(vec![paced]);
    let steady = latency::steady(&point);
    let closed = latency::clips_per_s(&point, &steady, crate::plan::Load::Closed).unwrap();
    assert!((closed - 2000.0).abs() < 1e-9, "2 clips each ms: {closed}");
    let paced = latency::clips_per_s(&point, &steady, crate::plan::Load::Paced).unwrap();
    assert!((paced - 200.0).abs() < 1e-9, "20 clips in 100 ms: {paced}");
    assert!((latency::frames_per_s(closed, id(2, 8).shape) - 16_000.0).abs() < 1e-9);
}

#[test]
fn the_devices_own_times_are_absent_unless_every_chunk_tells_them() {
    let mut told = chunk(Phase::Pilot, 1, &[20, 10, 10, 10]);
    told.compute_ns = vec![19, 7, 8, 9];
    told.h2d_ns = vec![9, 1, 1, 2];
    let silent = chunk(Phase::Race, 0, &[10]);
    let p50 = |chunks: Vec<Chunk>, array: fn(&Chunk) -> &[u64]| {
        let point = evidence(chunks);
        latency::device_time(&point, &latency::steady(&point), array).p50_ns
    };
    assert_eq!(p50(vec![told.clone()], |chunk| &chunk.compute_ns), Some(8.0));
    assert_eq!(p50(vec![told.clone()], |chunk| &chunk.h2d_ns), Some(1.0));
    assert_eq!(p50(vec![told.clone()], |chunk| &chunk.d2h_ns), None);
    assert_eq!(p50(vec![told, silent], |chunk| &chunk.compute_ns), None);
}

#[test]
fn the_devices_own_times_leave_the_warm_up_out_as_latency_does() {
    let latencies: Vec<u64> = [4000; 20].into_iter().chain((0..80).map(|i| 1000 + i % 3)).collect();
    let mut warmed = chunk(Phase::Pilot, 0, &latencies);
    warmed.compute_ns = latencies.iter().map(|ns| ns - 100).collect();
    let point = evidence(vec![warmed]);
    let steady = latency::steady(&point);
    assert!(steady.discarded >= 20, "{steady:?}");
    let compute = latency::device_time(&point, &steady, |chunk| &chunk.compute_ns);
    assert_eq!((compute.p50_ns, compute.p99_ns), (Some(901.0), Some(902.0)));
}

#[test]
fn a_study_names_three_operating_points_for_the_model() {
    let profile = study(&run(Request::default(), quadratic()));
    let objectives: Vec<Objective> = profile.operating_points.iter().map(|row| row.objective).collect();
    assert_eq!(objectives, vec![Objective::Streaming, Objective::Offline, Objective::Efficiency]);
    assert_eq!(profile.operating_points[0].chosen[0], id(1, 8), "{:?}", profile.operating_points[0]);
    assert!(profile.operating_points[2].chosen.is_empty(), "no power was measured");
    assert!(profile.run.simulated);
    assert_eq!(profile.points.len(), 15);
}

#[test]
fn every_operating_point_says_in_one_sentence_why_and_what_the_next_best_gives_up() {
    let assumed = study(&run(Request::default(), quadratic())).operating_points;
    assert!(
        assumed[0].reason.starts_with("No deadline was given, so a stream of 30 frames a second is assumed")
    );
    let mut linear = quadratic();
    (linear.latency.fixed_us, linear.latency.linear_us, linear.latency.quadratic_us) = (9000.0, 100.0, 0.0);
    let offline = &study(&run(Request::default(), linear)).operating_points[1];
    assert!(offline.reason.starts_with("B4 T128 completes the most frames a second"), "{}", offline.reason);
    assert!(offline.reason.contains("; the next best, B"), "{}", offline.reason);
    assert!(offline.reason.contains("gives up"), "{}", offline.reason);
    assert!(assumed[2].reason.starts_with("Energy per frame is unknown"), "{}", assumed[2].reason);
    let impossible = Request { deadline_ms: Some(0.1), ..Request::default() };
    let none = &study(&run(impossible, quadratic())).operating_points[0];
    assert!(none.chosen.is_empty());
    assert!(none.reason.starts_with("No point's P99 is within the deadline"), "{}", none.reason);
    assert!(assumed.iter().chain([none]).all(|row| row.reason.ends_with('.')));
}

#[test]
fn the_exponent_of_a_quadratic_model_is_2_at_every_batch_size() {
    let profile = study(&run(Request::default(), quadratic()));
    assert_eq!(profile.scaling.len(), 3);
    for line in &profile.scaling {
        assert!((line.exponent - 2.0).abs() < 0.02, "{line:?}");
    }
}

#[test]
fn a_point_that_leaves_the_line_marks_the_start_of_memory_pressure() {
    let mut record = run(Request { batch_sizes: vec![1], ..Request::default() }, quadratic());
    for point in &mut record.points {
        let slower = if point.id.shape.clip() == 64 { 3 } else { 1 };
        for chunk in &mut point.chunks {
            chunk.latencies_ns.iter_mut().for_each(|latency| *latency *= slower);
        }
    }
    let profile = study(&record);
    assert_eq!(scaling::excesses(&profile.points, 0, 1), vec![64]);
    let pressure = &memory::pressure(&profile.points, 1)[0];
    assert_eq!((pressure.first, pressure.sign), (Some(id(1, 64).shape), Some(PressureSign::LatencyResidual)));
}

#[test]
fn the_kernel_tells_where_memory_pressure_begins() {
    let mut record = run(Request::default(), quadratic());
    for point in record.points.iter_mut().filter(|point| point.id.shape.frames() >= 128) {
        point.memory.get_or_insert_default().major_faults = Some(500);
    }
    let profile = study(&record);
    let pressure = &profile.memory_pressure[0];
    assert_eq!((pressure.first, pressure.sign), (Some(id(1, 128).shape), Some(PressureSign::MajorFaults)));
}

#[test]
fn without_any_sign_memory_pressure_is_absent() {
    let profile = study(&run(Request::default(), quadratic()));
    assert_eq!((profile.memory_pressure[0].first, profile.memory_pressure[0].sign), (None, None));
}

#[test]
fn a_warm_up_is_found_and_discarded() {
    let mut spec = quadratic();
    spec.warm_up = Some(WarmUp { iterations: 12, factor: 4.0, shape: WarmUpShape::Step });
    let request = Request { clip_lengths: vec![8], batch_sizes: vec![1], ..Request::default() };
    let profile = study(&run(request, spec.clone()));
    let latency = profile.points[0].latency.as_ref().unwrap();
    assert_eq!(latency.steady, SteadyState::WarmUp);
    let exact = spec.quantile_ns(id(1, 8).shape, 0.5);
    assert!((latency.p50_ns / exact - 1.0).abs() < 0.01);
    assert!((latency.mean_ns / exact - 1.0).abs() < 0.01, "{} against {exact}", latency.mean_ns);
}

#[test]
fn a_drifting_board_is_warned_of() {
    let mut linear = quadratic();
    (linear.latency.linear_us, linear.latency.quadratic_us, linear.latency.fixed_us) = (100.0, 0.0, 2000.0);
    let drifting = SimulatedSpec { drift_per_minute: 0.5, ..linear.clone() };
    let profile = study(&run(Request { budget_s: Some(3600.0), ..Request::default() }, drifting));
    assert!(profile.warnings.iter().any(|warning| warning.contains("drifted")), "{:?}", profile.warnings);
    let calm = study(&run(Request { budget_s: Some(3600.0), ..Request::default() }, linear));
    assert!(!calm.warnings.iter().any(|warning| warning.contains("drifted")), "{:?}", calm.warnings);
}

#[test]
fn points_of_the_plan_that_the_record_lacks_are_not_run() {
    let mut record = run(Request::default(), quadratic());
    record.points.retain(|point| point.id != id(4, 128));
    record.partial = true;
    let profile = study(&record);
    assert_eq!(profile.points.last().unwrap().status, Status::NotRun);
    assert!(profile.run.partial);
}
