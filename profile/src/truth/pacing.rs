//! Open-loop latencies against the exact recursion of a queue.
//!
//! Lindley (The theory of queues with a single server, 1952): in a queue with one server, the next customer
//! waits W' = max(0, W + S - A), where S is the service time of the one before and A the time between their
//! arrivals; its latency is W' + S'. A stream that is paced as [`crate::pacing::Schedule`] says is such a
//! queue, so that both must agree to the nanosecond.

use crate::pacing::Schedule;
use crate::point::Shape;
use crate::simulated::{SimulatedEngine, SimulatedSpec, Stall};
use crate::stats::quantile::{Quantile, reference};
use crate::units::Nanos;

/// Latencies of a queue with one server, from the arrivals and the service times.
#[must_use]
pub fn lindley(arrivals_ns: &[u64], services_ns: &[u64]) -> Vec<u64> {
    let mut waiting = 0_u64;
    let mut latencies = Vec::with_capacity(services_ns.len());
    for (index, service) in services_ns.iter().enumerate() {
        if index > 0 {
            let between = arrivals_ns[index] - arrivals_ns[index - 1];
            waiting = (waiting + services_ns[index - 1]).saturating_sub(between);
        }
        latencies.push(waiting + service);
    }
    latencies
}

/// One paced run on the virtual clock.
#[derive(Debug, Clone, PartialEq)]
pub struct PacedRun {
    /// Latencies from the intended arrivals.
    pub latencies_ns: Vec<u64>,
    /// Intended arrivals.
    pub arrivals_ns: Vec<u64>,
    /// Time each inference took once started, stalls included.
    pub services_ns: Vec<u64>,
}

/// Issues `count` inferences of `spec` at `at` on the schedule of a stream of `fps`. `None` for a rate that
/// is no stream, or a spec that fails.
#[must_use]
pub fn paced(spec: &SimulatedSpec, at: Shape, fps: f64, count: u64) -> Option<PacedRun> {
    let mut engine = SimulatedEngine::prepare(spec, at, 0, None).ok()?;
    let schedule = Schedule::of_stream(Nanos(0), at, fps)?;
    let mut run = PacedRun { latencies_ns: Vec::new(), arrivals_ns: Vec::new(), services_ns: Vec::new() };
    let mut completed = Nanos(0);
    for index in 0..count {
        let start = schedule.start_of(index, completed);
        let service = engine.infer(start).ok()?;
        completed = Nanos(start.0 + service.0);
        run.latencies_ns.push(schedule.latency(index, completed).0);
        run.arrivals_ns.push(schedule.arrival(index).0);
        run.services_ns.push(service.0);
    }
    Some(run)
}

/// What coordinated omission hides: P99 in ms of a board that stalls 2 s in every 60 s under a stream of
/// 30 clips of one frame a second, measured in a closed loop and on the stream's schedule.
#[must_use]
pub fn omission() -> Option<(f64, f64)> {
    let mut spec = SimulatedSpec::default();
    (spec.latency.fixed_us, spec.latency.linear_us) = (20_000.0, 0.0);
    spec.stall = Some(Stall { first_s: 30.0, period_s: 60.0, length_ms: 2000.0 });
    let at = Shape::new(1, 1)?;
    let p99_ms = |mut latencies: Vec<u64>| {
        latencies.sort_unstable();
        reference(&latencies, Quantile::P99).map(|ns| ns / 1e6)
    };
    let mut engine = SimulatedEngine::prepare(&spec, at, 0, None).ok()?;
    let mut closed = Vec::new();
    let mut now = Nanos(0);
    while now < Nanos::from_secs(600) {
        let latency = engine.infer(now).ok()?;
        now = Nanos(now.0 + latency.0);
        closed.push(latency.0);
    }
    let open = paced(&spec, at, 30.0, 30 * 600)?;
    Some((p99_ms(closed)?, p99_ms(open.latencies_ns)?))
}

#[cfg(test)]
mod tests {
    use super::{lindley, omission, paced};
    use crate::point::Shape;
    use crate::simulated::{Noise, SimulatedSpec, Stall};
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    #[test]
    fn the_recursion_is_right_on_a_worked_example() {
        // Arrivals every 10; services 4, 25, 4, 4: the second delays the two behind it.
        assert_eq!(lindley(&[0, 10, 20, 30], &[4, 25, 4, 4]), vec![4, 25, 19, 13]);
    }

    #[test]
    fn a_stall_that_a_closed_loop_hides_shows_on_the_schedule() {
        let (closed, open) = omission().unwrap();
        assert!((closed - 20.0).abs() < 0.1, "closed loop: {closed} ms");
        assert!((1500.0..2000.0).contains(&open), "open loop: {open} ms");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn paced_latencies_equal_the_recursion_to_the_nanosecond(
            seed: u64, fps in 0.5..2000.0_f64, frames in 1..64_u32, us in 10.0..100_000.0_f64,
            sigma in 0.0..1.0_f64, stall in 0.0..3000.0_f64,
        ) {
            let noise = Noise { sigma, ..Noise::default() };
            let mut spec = SimulatedSpec { seed, noise, ..SimulatedSpec::default() };
            (spec.latency.fixed_us, spec.latency.linear_us) = (us, 0.0);
            spec.stall =
                (stall > 1.0).then_some(Stall { first_s: 0.2, period_s: 4.0, length_ms: stall });
            let run = paced(&spec, Shape::new(1, frames).unwrap(), fps, 300).unwrap();
            prop_assert_eq!(&run.latencies_ns, &lindley(&run.arrivals_ns, &run.services_ns));
        }
    }
}
