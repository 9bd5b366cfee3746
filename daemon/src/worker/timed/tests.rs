use super::{Samples, Span, Stream, measure};
use crate::account::counters;
use crate::backend::{BackendError, Engine, RunTiming};
use crate::tensor::TensorData;
use crate::worker::clock::monotonic;
use crate::worker::protocol::MeasureOrder;
use clipmark_profile::point::Shape;
use clipmark_profile::record::{Cause, OperatorCost, Stage};
use clipmark_profile::units::Nanos;
use proptest::prelude::{prop, proptest};

/// An engine of declared times; fails when they run out.
struct Declared {
    walls: std::vec::IntoIter<u64>,
    compute: bool,
    wall_is_virtual: bool,
}

impl Declared {
    fn new(walls: &[u64]) -> Self {
        Self { walls: Vec::from(walls).into_iter(), compute: false, wall_is_virtual: true }
    }
}

impl Engine for Declared {
    fn set_inputs(&mut self, _: &[TensorData]) -> Result<(), BackendError> {
        Ok(())
    }

    fn run(&mut self) -> Result<RunTiming, BackendError> {
        let failed = || BackendError::new(Stage::Measure, Cause::Backend, "out of times");
        let wall = Nanos(self.walls.next().ok_or_else(failed)?);
        Ok(RunTiming {
            compute: self.compute.then_some(Nanos(wall.0 / 2)),
            h2d: self.compute.then_some(Nanos(wall.0 / 5)),
            virtual_wall: self.wall_is_virtual.then_some(wall),
            ..RunTiming::default()
        })
    }

    fn outputs(&mut self) -> Result<Vec<TensorData>, BackendError> {
        Ok(Vec::new())
    }

    fn operators(&mut self, _: u32) -> Result<Vec<OperatorCost>, BackendError> {
        Ok(Vec::new())
    }
}

fn measure_virtual(
    engine: &mut Declared,
    at: Shape,
    now: Nanos,
    order: &MeasureOrder,
    samples: &mut Samples,
) -> Span {
    super::measure_virtual(engine, now, order, Stream::of(order, at, now, None), samples)
}

fn at() -> Shape {
    Shape::new(1, 10).unwrap()
}

fn order(iterations: u32, paced_fps: Option<f64>) -> MeasureOrder {
    MeasureOrder {
        iterations,
        stop_after: Nanos::from_secs(3600),
        inference_limit: Nanos::from_secs(60),
        paced_fps,
        continues: false,
    }
}

#[test]
fn a_closed_loop_reports_the_declared_times_in_order() {
    let mut samples = Samples::default();
    let mut engine = Declared { compute: true, ..Declared::new(&[30, 10, 20]) };
    let span = measure_virtual(&mut engine, at(), Nanos(1000), &order(3, None), &mut samples);
    assert_eq!(samples.latencies(), [30, 10, 20]);
    assert_eq!(samples.compute(), [15, 5, 10]);
    assert_eq!(samples.h2d(), [6, 2, 4]);
    assert_eq!(samples.d2h(), [] as [u64; 0], "a time that is not told is absent");
    assert_eq!((span.started, span.ended, span.failure), (Nanos(1000), Nanos(1060), None));
}

#[test]
fn a_chunk_ends_when_its_time_is_up() {
    let mut samples = Samples::default();
    let mut engine = Declared::new(&[30, 30, 30, 30]);
    let order = MeasureOrder { stop_after: Nanos(50), ..order(4, None) };
    measure_virtual(&mut engine, at(), Nanos(0), &order, &mut samples);
    assert_eq!(samples.latencies(), [30, 30]);
}

#[test]
fn a_failure_keeps_the_inferences_before_it() {
    let mut samples = Samples::default();
    let span = measure_virtual(&mut Declared::new(&[5, 6]), at(), Nanos(0), &order(4, None), &mut samples);
    assert_eq!(samples.latencies(), [5, 6]);
    assert_eq!(span.failure.map(|failure| failure.message), Some("out of times".into()));
}

#[test]
fn an_inference_over_its_limit_is_timed_out() {
    let mut samples = Samples::default();
    let order = MeasureOrder { inference_limit: Nanos(100), ..order(9, None) };
    let span = measure_virtual(&mut Declared::new(&[50, 101, 50]), at(), Nanos(0), &order, &mut samples);
    assert_eq!(samples.latencies().len(), 2);
    assert_eq!(span.failure.map(|failure| failure.cause), Some(Cause::TimedOut));
}

proptest! {
    /// Lindley's recursion: wait(k+1) = max(0, wait(k) + service(k) - period), latency = wait + service.
    #[test]
    fn paced_latency_follows_the_lindley_recursion(services in prop::collection::vec(1_u64..4_000_000_000, 1..60)) {
        let period = 1_000_000_000_u64;
        let mut samples = Samples::default();
        let mut engine = Declared::new(&services);
        // Ten frames at ten frames a second: one clip each second.
        measure_virtual(&mut engine, at(), Nanos(7), &order(services.len() as u32, Some(10.0)), &mut samples);
        let mut wait = 0_u64;
        for (index, &service) in services.iter().enumerate() {
            proptest::prop_assert_eq!(samples.latencies()[index], wait + service);
            wait = (wait + service).saturating_sub(period);
        }
    }
}

proptest! {
    /// However a stream is cut into chunks, its latencies are those of one chunk.
    #[test]
    fn a_continued_stream_keeps_its_schedule(
        services in prop::collection::vec(1_u64..3_000_000_000, 2..40),
        cut in 1_usize..40,
    ) {
        let cut = cut.min(services.len() - 1);
        let mut samples = Samples::default();
        let whole = order(services.len() as u32, Some(10.0));
        measure_virtual(&mut Declared::new(&services), at(), Nanos(7), &whole, &mut samples);
        let expected = samples.latencies().to_vec();

        let mut engine = Declared::new(&services);
        let first = order(cut as u32, Some(10.0));
        let stream = Stream::of(&first, at(), Nanos(7), None);
        let span = super::measure_virtual(&mut engine, Nanos(7), &first, stream, &mut samples);
        let mut latencies = samples.latencies().to_vec();
        let rest = MeasureOrder { continues: true, ..order((services.len() - cut) as u32, Some(10.0)) };
        let stream = Stream::of(&rest, at(), span.ended, stream.map(|stream| stream.after(cut)));
        super::measure_virtual(&mut engine, span.ended, &rest, stream, &mut samples);
        latencies.extend(samples.latencies());
        proptest::prop_assert_eq!(latencies, expected);
    }
}

#[test]
fn paced_load_on_the_real_clock_never_starts_before_the_arrival() {
    let mut samples = Samples::default();
    let mut engine = Declared { wall_is_virtual: false, ..Declared::new(&[0; 5]) };
    // Ten frames at 5000 frames a second: one clip every 2 ms.
    let span = {
        let order = order(5, Some(5000.0));
        measure(&mut engine, &order, Stream::of(&order, at(), monotonic(), None), &mut samples)
    };
    assert_eq!(samples.latencies().len(), 5);
    assert!(span.ended.since(span.started) >= Nanos(8_000_000));
}

#[test]
fn the_loop_itself_causes_no_page_faults() {
    let mut samples = Samples::default();
    let mut engine = Declared { wall_is_virtual: false, ..Declared::new(&vec![0; 200_000]) };
    samples.reserve(100_000);
    let before = counters().minor_faults.unwrap();
    measure(&mut engine, &order(100_000, None), None, &mut samples);
    let faults = counters().minor_faults.unwrap() - before;
    // Other tests run in this process; the arrays alone would be 390 pages.
    assert!(faults < 200, "{faults} minor faults");
}

/// An engine that hands out what another program measured.
struct Recorded;

impl Engine for Recorded {
    fn set_inputs(&mut self, _: &[TensorData]) -> Result<(), BackendError> {
        Ok(())
    }

    fn run(&mut self) -> Result<RunTiming, BackendError> {
        Ok(RunTiming { recorded_wall: Some(Nanos::from_secs(5)), ..RunTiming::default() })
    }

    fn outputs(&mut self) -> Result<Vec<TensorData>, BackendError> {
        Ok(Vec::new())
    }

    fn operators(&mut self, _: u32) -> Result<Vec<OperatorCost>, BackendError> {
        Ok(Vec::new())
    }
}

#[test]
fn recorded_latencies_stand_in_for_the_clock_and_are_held_to_the_limit() {
    let mut samples = Samples::default();
    let span = measure(&mut Recorded, &order(3, None), None, &mut samples);
    assert_eq!(span.failure, None);
    assert_eq!(samples.latencies(), [5_000_000_000; 3]);
    let limited = MeasureOrder { inference_limit: Nanos::from_secs(4), ..order(3, None) };
    let failure = measure(&mut Recorded, &limited, None, &mut samples).failure.unwrap();
    assert_eq!(failure.cause, Cause::TimedOut);
}

#[test]
fn recorded_latencies_follow_no_schedule() {
    let mut samples = Samples::default();
    let order = order(3, Some(1e5));
    let stream = Stream::of(&order, at(), monotonic(), None);
    let failure = measure(&mut Recorded, &order, stream, &mut samples).failure.unwrap();
    assert!(failure.message.contains("closed load"), "{}", failure.message);
}
