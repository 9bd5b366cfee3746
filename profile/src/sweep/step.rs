//! What a sweep asks for, and what it is told back.

use crate::point::PointId;
use crate::record::{Cause, Chunk, Failure, Phase, Stage};
use crate::units::{Bytes, Microjoules, Nanos};
use serde::{Deserialize, Serialize};

/// One thing to measure next, bounded in iterations and in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepStep {
    /// Which point.
    pub point: PointId,
    /// What for.
    pub phase: Phase,
    /// Engines to close first, to stay within the caps of the rules.
    pub close: Vec<PointId>,
    /// Whether the point's engine must be built first; else it is still alive.
    pub build: bool,
    /// Which engine of this point it is, counted from 0.
    pub engine: u32,
    /// Iterations that only bring the engine back to speed: measured and recorded, not counted.
    pub lead_in: u32,
    /// Iterations that count, at most, after the lead-in.
    pub iterations: u32,
    /// The block it belongs to.
    pub block: u32,
    /// No iteration of the step starts later than this after its first one.
    pub time_limit: Nanos,
    /// Building the engine fails as timed out after this.
    pub prepare_limit: Nanos,
    /// One inference fails as timed out after this.
    pub inference_limit: Nanos,
}

impl SweepStep {
    /// Iterations to issue: lead-in and counted ones.
    #[must_use]
    pub const fn total_iterations(&self) -> u32 {
        self.lead_in.saturating_add(self.iterations)
    }

    /// The longest that the step can take when its limits are enforced.
    #[must_use]
    pub const fn longest(&self) -> Nanos {
        let build = if self.build { self.prepare_limit.0 } else { 0 };
        Nanos(self.time_limit.0.saturating_add(self.inference_limit.0).saturating_add(build))
    }

    /// Whether `failure` is the end of the time budget and no fault of the point: its engine was not ready within what
    /// was left of the budget, less than the run's `prepare_limit`.
    #[must_use]
    pub fn ran_out_of_budget(&self, failure: &Failure, prepare_limit: Nanos) -> bool {
        self.prepare_limit < prepare_limit
            && failure.stage == Stage::Prepare
            && failure.cause == Cause::TimedOut
    }

    /// An empty chunk with what the step already says of it: which engine, what for, which block.
    /// `issued` latencies came back, in order.
    #[must_use]
    pub fn chunk(&self, started: Nanos, ended: Nanos, latencies_ns: Vec<u64>) -> Chunk {
        Chunk {
            started,
            ended,
            lead_in: self.lead_in.min(u32::try_from(latencies_ns.len()).unwrap_or(u32::MAX)),
            latencies_ns,
            engine: self.engine,
            phase: self.phase,
            block: self.block,
            ..Chunk::default()
        }
    }
}

/// What came of a step. Everything is optional: a failed build has no chunk, a chunk that a failure or the
/// user cut short has fewer iterations than asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// The iterations, as they go into the record.
    pub chunk: Option<Chunk>,
    /// How long the engine took to build, when it was built.
    pub prepare: Option<Nanos>,
    /// The engine's peak memory so far, host and device together.
    pub peak_memory: Option<Bytes>,
    /// Energy of the whole board from the chunk's start to its end, where it has a power sensor.
    pub energy: Option<Microjoules>,
    /// What ended the engine.
    pub failure: Option<Failure>,
}
