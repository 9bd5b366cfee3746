use super::*;
use crate::simulated::Stall;
use crate::simulated::{Noise, SimulatedEngine, SimulatedSpec};
use crate::streams::verdict::Verdict;
use crate::streams::{ArrivalProcess, Phases};
use crate::truth::pacing::lindley;

const MS: u64 = 1_000_000;

fn board(phases: Phases, instances: u32, batch: u32) -> Board {
    let (period, deadline) = (Nanos(100 * MS), Nanos(100 * MS));
    let load = Load { streams: 1, period, deadline, phases, arrivals: ArrivalProcess::Periodic, seed: 5 };
    Board { load, servers: Servers { instances, batch }, longest: Nanos::from_secs(100_000) }
}

fn latencies(served: &Served) -> Vec<u64> {
    let inferences = served.inferences.iter();
    let completed = inferences.flat_map(|one| std::iter::repeat_n(one.completed, one.clips as usize));
    served.clips.iter().zip(completed).map(|(clip, completed)| completed.since(clip.arrival).0).collect()
}

#[test]
fn aligned_clips_take_a_service_time_for_every_round_of_servers() {
    for (instances, batch, streams) in [(1, 1, 7), (2, 1, 7), (1, 4, 7), (2, 3, 7), (3, 2, 6), (2, 4, 8)] {
        let board = board(Phases::Aligned, instances, batch);
        let served = board.serve(streams, Nanos::from_secs(10), |_| Nanos(9 * MS));
        let worst = latencies(&served).into_iter().max().unwrap();
        let rounds = u64::from(streams.div_ceil(instances * batch));
        assert_eq!(worst, rounds * 9 * MS, "{instances} instances of {batch}, {streams} streams");
    }
}

#[test]
fn the_capacity_of_aligned_streams_is_that_of_whole_rounds_within_deadline_and_period() {
    for (instances, batch) in [(1, 1), (2, 1), (1, 4), (2, 3), (4, 2)] {
        for (service, deadline) in [(9, 100), (13, 100), (40, 100), (9, 60), (13, 90)] {
            let mut board = board(Phases::Aligned, instances, batch);
            board.load.deadline = Nanos(deadline * MS);
            let rounds = deadline.min(100) / service;
            let expected = instances * batch * rounds as u32;
            for start in [1, expected, 3 * expected] {
                let found = board.search(start, |_| Nanos(service * MS));
                let exact = Found { last_holding: Some(expected), first_failing: Some(expected + 1) };
                assert_eq!(found, exact, "{instances} x {batch}, {service} ms in {deadline}, from {start}");
            }
        }
    }
}

#[test]
fn one_server_behind_random_phases_is_lindleys_queue_to_the_nanosecond() {
    for arrivals in [ArrivalProcess::Periodic, ArrivalProcess::Poisson] {
        let mut board = board(Phases::Random, 1, 1);
        board.load.arrivals = arrivals;
        board.load.deadline = Nanos::from_secs(1000);
        let spec =
            SimulatedSpec { noise: Noise { sigma: 0.2, ..Noise::default() }, ..SimulatedSpec::default() };
        let shape = crate::point::Shape::new(1, 16).unwrap();
        let mut engine = SimulatedEngine::prepare(&spec, shape, 0, None).unwrap();
        let streams = (0.95 * 100e6 / spec.mean_ns(shape)) as u32;
        let mut services = Vec::new();
        let served = board.serve(streams, Nanos::from_secs(30), |start| {
            let service = engine.infer(start).unwrap();
            services.push(service.0);
            service
        });
        let arrivals: Vec<u64> = served.clips.iter().map(|clip| clip.arrival.0).collect();
        assert!(arrivals.len() > 1000, "{}", arrivals.len());
        assert_eq!(latencies(&served), lindley(&arrivals, &services));
    }
}

#[test]
fn several_servers_are_kiefers_and_wolfowitzs_queue() {
    for instances in 2..=4 {
        let board = board(Phases::Random, instances, 1);
        let served = board.serve(12 * instances, Nanos::from_secs(20), |_| Nanos(8 * MS));
        let services = vec![8 * MS; served.clips.len()];
        assert_eq!(latencies(&served), kiefer_wolfowitz(&served.clips, &services, instances as usize));
    }
}

#[test]
fn a_stall_leaves_exactly_the_clips_that_arrive_in_it_waiting() {
    let board = board(Phases::Random, 1, 1);
    let stall = Stall { first_s: 2.0, period_s: 1000.0, length_ms: 700.0 };
    let spec = SimulatedSpec { stall: Some(stall), ..SimulatedSpec::default() };
    let mut spec = spec;
    (spec.latency.fixed_us, spec.latency.linear_us, spec.latency.quadratic_us) = (10_000.0, 0.0, 0.0);
    let shape = crate::point::Shape::new(1, 1).unwrap();
    let mut engine = SimulatedEngine::prepare(&spec, shape, 0, None).unwrap();
    let served = board.serve(8, Nanos::from_secs(10), |start| engine.infer(start).unwrap());
    let (from, to) = (Nanos(2000 * MS), Nanos(2700 * MS));
    let taken: u32 = served.inferences.iter().filter(|one| one.started < to).map(|one| one.clips).sum();
    let arrived = |instant: Nanos| served.clips.iter().filter(|clip| clip.arrival < instant).count() as u32;
    // One clip was being served when the stall began, or was taken at its first arrival.
    let idle_before =
        served.inferences.iter().filter(|one| one.started < from).all(|one| one.completed <= from);
    let in_service = u32::from(idle_before);
    let waiting_before: u32 = arrived(from)
        - served.inferences.iter().filter(|one| one.started < from).map(|one| one.clips).sum::<u32>();
    assert_eq!(arrived(to) - taken, waiting_before + arrived(to) - arrived(from) - in_service);
    let most = verdict::judge(&served).waiting.into_iter().max().unwrap();
    assert_eq!(most, arrived(to) - taken);
    assert_eq!(arrived(to) - arrived(from), 56, "8 streams for 7 periods");
}

#[test]
fn the_capacity_of_random_phases_is_the_exact_queues() {
    for seed in 0..12 {
        for instances in 1..=3 {
            let mut board = board(Phases::Random, instances, 1);
            board.load.seed = seed;
            let service = Nanos((7 + seed % 5) * MS + 300_000);
            let exact = exact_capacity(&board, service, Nanos::from_secs(200));
            let found = board.search(instances * 10, |_| service);
            let expected = Found { last_holding: Some(exact), first_failing: Some(exact + 1) };
            assert_eq!(found, expected, "seed {seed}, {instances} instances, {service:?}");
        }
    }
}

#[test]
fn a_noisy_capacity_is_within_one_stream_of_the_truth_and_never_above_it_by_more() {
    let shape = crate::point::Shape::new(1, 16).unwrap();
    let (mut within, mut runs) = (0, 0);
    for seed in 0..40 {
        let mut board = board(Phases::Random, 1, 1);
        board.load.seed = seed;
        let mut spec = SimulatedSpec { seed, ..SimulatedSpec::default() };
        spec.noise = Noise { sigma: 0.1, ..Noise::default() };
        (spec.latency.fixed_us, spec.latency.linear_us) = (7_000.0, 0.0);
        let mut engine = SimulatedEngine::prepare(&spec, shape, 0, None).unwrap();
        let mut infer = |start| engine.infer(start).unwrap();
        // The truth: a load of 20,000 clips, judged by its point estimates.
        let truth = (1..100)
            .take_while(|&streams| {
                let length = Nanos(20_000 / u64::from(streams) * board.load.period.0);
                let figures = verdict::judge(&board.serve(streams, length, &mut infer));
                figures.verdict != Verdict::Fails && figures.missed * 100 <= figures.clips
            })
            .count() as i64;
        let found = i64::from(board.search(10, infer).last_holding.unwrap_or(0));
        assert!(found <= truth + 1, "seed {seed}: {found} for {truth}");
        within += i32::from((found - truth).abs() <= 1);
        runs += 1;
    }
    assert!(within * 100 >= runs * 95, "{within} of {runs}");
}
