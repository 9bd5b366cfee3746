//! Open-loop load: when the clips of a live stream arrive, and what latency means then.
//!
//! Terms: the *intended arrival* is when the schedule says that an inference's input is complete; the
//! inference starts then, or when the one before it completes, whichever is later. Latency counts from the
//! intended arrival, so that a stall is charged to every clip that waits for it (else it would be
//! "coordinated omission"). Clips are never dropped: a board that cannot keep up shows growing latency.
//! Waiting for the arrival is the caller's.

use crate::point::Shape;
use crate::units::Nanos;

/// The arrivals of one paced measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    start: Nanos,
    period_ns: f64,
}

impl Schedule {
    /// A stream of `fps` frames a second whose first clip is complete at `start`. A batch of several clips
    /// is as many streams in step, so an inference arrives every clip length / fps seconds.
    ///
    /// `None` unless `fps` is a positive number.
    #[must_use]
    pub fn of_stream(start: Nanos, at: Shape, fps: f64) -> Option<Self> {
        let period_ns = f64::from(at.clip()) / fps * 1e9;
        (period_ns > 0.0 && period_ns.is_finite()).then_some(Self { start, period_ns })
    }

    /// The intended arrival of inference `index`, counted from 0. Computed from the start, not from the
    /// last arrival: rounding does not add up.
    #[must_use]
    pub fn arrival(&self, index: u64) -> Nanos {
        Nanos(self.start.0.saturating_add((index as f64 * self.period_ns).round() as u64))
    }

    /// When inference `index` starts, given when the one before it completed.
    #[must_use]
    pub fn start_of(&self, index: u64, previous_completed: Nanos) -> Nanos {
        self.arrival(index).max(previous_completed)
    }

    /// The latency of inference `index`, which completed at `completed`.
    #[must_use]
    pub fn latency(&self, index: u64, completed: Nanos) -> Nanos {
        completed.since(self.arrival(index))
    }
}
