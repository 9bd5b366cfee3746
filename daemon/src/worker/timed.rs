//! The timed loop.
//!
//! Between the two clock reads of an iteration lies [`Engine::run`] and nothing else. The arrays that
//! receive the times are allocated and touched beforehand; the loop does not allocate, log or lock.
//! Where the runtime hands out times that another program measured, those count under closed load.
//! Simulated engines declare their time instead: they have a loop of their own on a virtual clock.

use super::clock::{monotonic, sleep_until};
use super::protocol::MeasureOrder;
use crate::backend::{BackendError, Engine, RunTiming};
use clipmark_profile::pacing::Schedule;
use clipmark_profile::point::Shape;
use clipmark_profile::record::{Cause, Failure, Stage};
use clipmark_profile::units::Nanos;

/// Marks an iteration of which the backend did not tell a time.
const UNTOLD: u64 = u64::MAX;

/// Arrays for one chunk, reused by the next.
#[derive(Debug, Default)]
pub struct Samples {
    latencies: Vec<u64>,
    compute: Vec<u64>,
    h2d: Vec<u64>,
    d2h: Vec<u64>,
    count: usize,
}

/// How a chunk went: its times are in [`Samples`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Start of the first inference.
    pub started: Nanos,
    /// End of the last inference.
    pub ended: Nanos,
    /// What ended it early.
    pub failure: Option<Failure>,
}

impl Samples {
    /// Makes room for `iterations` and touches every page of it.
    pub fn reserve(&mut self, iterations: usize) {
        for array in [&mut self.latencies, &mut self.compute, &mut self.h2d, &mut self.d2h] {
            array.clear();
            array.resize(iterations, UNTOLD);
        }
        self.count = 0;
    }

    fn push(&mut self, latency: Nanos, timing: RunTiming) {
        self.latencies[self.count] = latency.0;
        self.compute[self.count] = timing.compute.map_or(UNTOLD, Nanos::get);
        self.h2d[self.count] = timing.h2d.map_or(UNTOLD, Nanos::get);
        self.d2h[self.count] = timing.d2h.map_or(UNTOLD, Nanos::get);
        self.count += 1;
    }

    /// Latencies of the chunk in nanoseconds, in order.
    #[must_use]
    pub fn latencies(&self) -> &[u64] {
        &self.latencies[..self.count]
    }

    /// Compute times of the chunk, or nothing unless every inference told one.
    #[must_use]
    pub fn compute(&self) -> &[u64] {
        self.told(&self.compute)
    }

    /// Transfer times to the device, as [`Samples::compute`].
    #[must_use]
    pub fn h2d(&self) -> &[u64] {
        self.told(&self.h2d)
    }

    /// Transfer times to the host, as [`Samples::compute`].
    #[must_use]
    pub fn d2h(&self) -> &[u64] {
        self.told(&self.d2h)
    }

    fn told<'a>(&self, times: &'a [u64]) -> &'a [u64] {
        let told = &times[..self.count];
        if told.contains(&UNTOLD) { &[] } else { told }
    }
}

/// Where a paced chunk stands in its stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stream {
    schedule: Schedule,
    next: u64,
}

impl Stream {
    /// The stream of `order` at `now`: what is left of `before` where the order continues it, a new one
    /// otherwise, and none under closed load.
    #[must_use]
    pub fn of(order: &MeasureOrder, at: Shape, now: Nanos, before: Option<Self>) -> Option<Self> {
        let fps = order.paced_fps?;
        let continued = before.filter(|_| order.continues);
        continued.or_else(|| Schedule::of_stream(now, at, fps).map(|schedule| Self { schedule, next: 0 }))
    }

    /// The stream after `count` more inferences.
    #[must_use]
    pub const fn after(self, count: usize) -> Self {
        Self { schedule: self.schedule, next: self.next + count as u64 }
    }
}

/// Runs one chunk on the real clock, closed loop without a stream.
pub fn measure(
    engine: &mut dyn Engine,
    order: &MeasureOrder,
    stream: Option<Stream>,
    samples: &mut Samples,
) -> Span {
    samples.reserve(order.iterations as usize);
    match stream {
        None => closed(engine, order, samples),
        Some(stream) => paced(engine, order, stream, samples),
    }
}

fn closed(engine: &mut dyn Engine, order: &MeasureOrder, samples: &mut Samples) -> Span {
    let started = monotonic();
    let stop_at = started.0.saturating_add(order.stop_after.0);
    let mut ended = started;
    for _ in 0..order.iterations {
        let before = monotonic();
        let outcome = engine.run();
        let after = monotonic();
        let timing = match outcome {
            Ok(timing) => timing,
            Err(error) => return cut(started, ended, error),
        };
        ended = after;
        // A recorded inference took place earlier: the limit holds for its own time, not for this call's.
        let took = timing.recorded_wall.unwrap_or(after.since(before));
        samples.push(took, timing);
        if took > order.inference_limit {
            return too_slow(started, ended, took, order);
        }
        if after.0 >= stop_at {
            break;
        }
    }
    Span { started, ended, failure: None }
}

fn paced(engine: &mut dyn Engine, order: &MeasureOrder, stream: Stream, samples: &mut Samples) -> Span {
    let Stream { schedule, next } = stream;
    let started = schedule.arrival(next);
    let stop_at = monotonic().0.saturating_add(order.stop_after.0);
    let mut ended = started;
    for index in next..next + u64::from(order.iterations) {
        if index > next && schedule.arrival(index).0 >= stop_at {
            break;
        }
        sleep_until(schedule.arrival(index));
        let before = monotonic();
        let outcome = engine.run();
        let after = monotonic();
        let timing = match outcome {
            Ok(timing) => timing,
            Err(error) => return cut(started, ended, error),
        };
        if timing.recorded_wall.is_some() {
            let message =
                "the backend hands out recorded times, which follow no schedule; measure it with closed load";
            return cut(started, ended, BackendError::new(Stage::Measure, Cause::Backend, message));
        }
        ended = after;
        samples.push(schedule.latency(index, after), timing);
        if after.since(before) > order.inference_limit {
            return too_slow(started, ended, after.since(before), order);
        }
        if after.0 >= stop_at {
            break;
        }
    }
    Span { started, ended, failure: None }
}

/// Runs one chunk on a virtual clock that stands at `now`: every inference lasts as long as the engine
/// declares. An engine that declares nothing fails the chunk.
pub fn measure_virtual(
    engine: &mut dyn Engine,
    now: Nanos,
    order: &MeasureOrder,
    stream: Option<Stream>,
    samples: &mut Samples,
) -> Span {
    samples.reserve(order.iterations as usize);
    let stop_at = now.0.saturating_add(order.stop_after.0);
    let next = stream.map_or(0, |stream| stream.next);
    let mut ended = now;
    for index in next..next + u64::from(order.iterations) {
        let begin = stream.map_or(ended, |stream| stream.schedule.start_of(index, ended));
        if index > next && begin.0 >= stop_at {
            break;
        }
        let timing = match engine.run() {
            Ok(timing) => timing,
            Err(error) => return cut(now, ended, error),
        };
        let Some(wall) = timing.virtual_wall else {
            return Span { started: now, ended, failure: Some(no_virtual_time()) };
        };
        ended = Nanos(begin.0 + wall.0);
        let latency = stream.map_or(wall, |stream| stream.schedule.latency(index, ended));
        samples.push(latency, timing);
        if wall > order.inference_limit {
            return too_slow(now, ended, wall, order);
        }
    }
    Span { started: now, ended, failure: None }
}

fn cut(started: Nanos, ended: Nanos, error: BackendError) -> Span {
    Span { started, ended, failure: Some(error.into()) }
}

fn too_slow(started: Nanos, ended: Nanos, took: Nanos, order: &MeasureOrder) -> Span {
    Span { started, ended, failure: Some(over_limit(took, order.inference_limit)) }
}

/// The failure of an inference that took longer than `limit`.
pub(super) fn over_limit(took: Nanos, limit: Nanos) -> Failure {
    let message = format!(
        "one inference took {:.3} s, over the limit of {:.3} s; raise --inference-limit to measure it",
        took.as_secs_f64(),
        limit.as_secs_f64()
    );
    Failure { stage: Stage::Measure, cause: Cause::TimedOut, message }
}

/// The failure of an engine on a virtual clock that does not say how long an inference takes.
pub(super) fn no_virtual_time() -> Failure {
    let message = "the engine is run on a virtual clock and declares no time of its own".into();
    Failure { stage: Stage::Measure, cause: Cause::Backend, message }
}

#[cfg(test)]
mod tests;
