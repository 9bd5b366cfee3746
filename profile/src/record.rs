//! The evidence of a run: what was observed, before any statistic.
//!
//! The daemon writes a record to disk as it measures and `replay` reads it back; every finding in a
//! profile is a pure function of it. All instants are nanoseconds on the monotonic clock of the board,
//! counted from the start of the run.

use crate::environment::Environment;
use crate::plan::Plan;
use crate::point::PointId;
use crate::sensors::SensorRecord;
use crate::streams::Served;
use crate::streams::search::Effort;
use crate::units::{Bytes, Nanos};
use serde::{Deserialize, Serialize};

/// A whole run's evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What identifies and describes the run.
    pub header: RunHeader,
    /// Evidence per point, in the order in which points were first measured.
    pub points: Vec<PointEvidence>,
    /// Evidence per load of streams, in order of time.
    pub loads: Vec<LoadEvidence>,
    /// Evidence per soak.
    pub soaks: Vec<SoakEvidence>,
    /// What the board's sensors said during the run; `None` when the sampler was off.
    pub sensors: Option<SensorRecord>,
    /// Whether the run ended before its plan did, e.g. by Ctrl-C.
    pub partial: bool,
}

/// Everything known before the first inference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// Random identifier of the run, hexadecimal.
    pub run_id: String,
    /// Wall-clock start, milliseconds since the Unix epoch. Never used for durations.
    pub started_unix_ms: u64,
    /// The command line or the request's origin.
    pub origin: String,
    /// What was to be done.
    pub plan: Plan,
    /// The machine and the software.
    pub environment: Environment,
    /// One entry per distinct model in the plan's variants.
    pub models: Vec<ModelRecord>,
    /// One entry per distinct backend in the plan's variants.
    pub backends: Vec<BackendRecord>,
}

/// A model as measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// The name that variants use.
    pub name: String,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
    /// Size of the file.
    pub size_bytes: Bytes,
    /// Weights in the model, where they could be counted.
    pub parameters: Option<u64>,
    /// Inputs with dtype and symbolic shape, e.g. `video: f32[B,T,3,64,64]`.
    pub inputs: Vec<String>,
}

/// A backend as used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendRecord {
    /// The registry name that variants use.
    pub name: String,
    /// The version of the runtime behind it.
    pub version: String,
    /// The device, e.g. `cpu` or the GPU's name.
    pub device: String,
    /// Whether its figures are simulated.
    pub simulated: bool,
    /// What the backend's own timings mean and which flags it was given.
    pub notes: Vec<String>,
}

/// The evidence of one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointEvidence {
    /// Which point.
    pub id: PointId,
    /// How far it came.
    pub outcome: PointOutcome,
    /// Time to load and optimise the model for this point, apart from latency.
    pub prepare: Option<Nanos>,
    /// What was built for it, where the backend builds engines.
    #[serde(default)]
    pub engine: Option<EngineBuild>,
    /// Measured chunks in order of time. The first ones hold the warm-up: nothing is discarded here.
    pub chunks: Vec<Chunk>,
    /// The kernel's account of the worker.
    pub memory: Option<MemoryEvidence>,
    /// Most expensive operators, where asked for.
    pub operators: Vec<OperatorCost>,
    /// Effects seen on the outputs and inputs, e.g. that inputs of zeros run faster.
    pub remarks: Vec<String>,
}

impl PointEvidence {
    /// A point of which nothing but its outcome is known.
    #[must_use]
    pub fn new(id: PointId, outcome: PointOutcome) -> Self {
        Self {
            id,
            outcome,
            prepare: None,
            engine: None,
            chunks: Vec::new(),
            memory: None,
            operators: Vec::new(),
            remarks: Vec::new(),
        }
    }
}

/// An engine that a backend built for a point, as a file would hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineBuild {
    /// How long the build took, when it took place.
    pub took: Nanos,
    /// The engine's size.
    pub size: Bytes,
    /// Whether it was built earlier and taken from the cache.
    pub cached: bool,
}

/// How far a point came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointOutcome {
    /// Measured to the end.
    Measured,
    /// Measured in part, then dropped because another point beats it on every objective.
    Dominated {
        /// The point that beats it.
        by: PointId,
    },
    /// Measured in part when the budget or the user ended the run.
    Interrupted,
    /// Never started.
    NotRun {
        /// Why.
        why: NotRun,
        /// The point whose result ended this one, where it was a point's.
        because_of: Option<PointId>,
    },
    /// Started and failed.
    Failed(Failure),
}

/// Why a point was never started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotRun {
    /// A smaller point on the same axis already exceeded the memory limit.
    WouldExceedMemory,
    /// A smaller point on the same axis already exceeded the time limit.
    WouldExceedTime,
    /// The budget ended first.
    Budget,
    /// The user or a signal ended the run first.
    Cancelled,
    /// Another point of the same variant failed for a reason that no batch size or clip length changes.
    VariantFailed,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// Where a point failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading and parsing the model.
    Load,
    /// Shaping, optimising or building the engine.
    Prepare,
    /// The untimed first inference.
    WarmUp,
    /// A timed inference.
    Measure,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The backend does not know an operator of the model.
    UnsupportedOperator,
    /// The model does not accept this batch size or clip length.
    ImpossibleShape,
    /// The worker exceeded its memory limit or was killed for memory.
    OutOfMemory,
    /// The worker exceeded its time limit.
    TimedOut,
    /// The worker died by a signal or exit code of its own.
    Crashed,
    /// The backend is not usable on this machine.
    BackendUnavailable,
    /// The model file cannot be used.
    BadModel,
    /// Any other error that the backend reported.
    Backend,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// A failed point, as a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where.
    pub stage: Stage,
    /// What.
    pub cause: Cause,
    /// The backend's or the kernel's own words, at most 500 characters.
    pub message: String,
}

/// What a chunk was measured for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Whether the point runs at all, and what it needs.
    Feasibility,
    /// A first look at every feasible point.
    #[default]
    Pilot,
    /// More of the points that may still be chosen, in randomised blocks.
    Race,
    /// The same point again in every block, to see the board drift.
    Anchor,
    /// P99 of a chosen point.
    Certify,
    /// A given number of iterations, with no decisions.
    Fixed,
}

impl Phase {
    /// The word for it in progress and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Feasibility => "feasibility",
            Self::Pilot => "pilot",
            Self::Race => "race",
            Self::Anchor => "anchor",
            Self::Certify => "certify",
            Self::Fixed => "fixed",
        }
    }
}

/// Consecutive iterations of one point.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// When the first inference started.
    pub started: Nanos,
    /// When the last inference completed.
    pub ended: Nanos,
    /// Latency per inference in nanoseconds, in order. For paced load from the intended arrival.
    pub latencies_ns: Vec<u64>,
    /// Device-only compute time per inference, where the backend can tell it apart; else empty.
    pub compute_ns: Vec<u64>,
    /// Transfer of the inputs to the device per inference, as `compute_ns`.
    #[serde(default)]
    pub h2d_ns: Vec<u64>,
    /// Transfer of the outputs to the host per inference, as `compute_ns`.
    #[serde(default)]
    pub d2h_ns: Vec<u64>,
    /// Leading iterations that only bring the engine back to speed after a pause: recorded, not counted.
    pub lead_in: u32,
    /// Which engine of this point measured it, counted from 0: every engine warms up anew.
    pub engine: u32,
    /// What it was measured for.
    pub phase: Phase,
    /// The block of the sweep it belongs to; blocks are randomised.
    pub block: u32,
    /// Voluntary and involuntary context switches of the worker in this chunk.
    pub context_switches: u64,
}

impl Chunk {
    /// The latencies that count: those after the lead-in.
    #[must_use]
    pub fn counted(&self) -> &[u64] {
        self.behind_lead_in(&self.latencies_ns)
    }

    /// What counts of `times`, one of the chunk's arrays.
    #[must_use]
    pub fn behind_lead_in<'a>(&self, times: &'a [u64]) -> &'a [u64] {
        let lead_in = usize::try_from(self.lead_in).unwrap_or(usize::MAX).min(times.len());
        &times[lead_in..]
    }
}

/// The kernel's account of one worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryEvidence {
    /// Peak resident set (VmHWM).
    pub peak_resident: Option<Bytes>,
    /// Resident set just before the model was loaded.
    pub base_resident: Option<Bytes>,
    /// Device memory in use, where the backend tells.
    pub device: Option<Bytes>,
    /// Minor page faults during measured chunks (getrusage).
    pub minor_faults: Option<u64>,
    /// Major page faults during measured chunks (getrusage).
    pub major_faults: Option<u64>,
    /// Growth of the memory pressure stall total (PSI `some`) while measuring, microseconds.
    pub psi_some_us: Option<u64>,
    /// Pages swapped in system-wide while measuring.
    pub swap_in_pages: Option<u64>,
}

/// One operator's share of a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorCost {
    /// The node's name.
    pub name: String,
    /// The operator's type.
    pub kind: String,
    /// Mean time per inference.
    pub time: Nanos,
    /// Share of the inference, 0 to 1.
    pub share: f64,
}

/// The evidence of one load: streams that were offered to the engines of a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadEvidence {
    /// The point, without its streams and hop: those are the load's.
    pub id: PointId,
    /// Whether it steered the search or was to be judged.
    pub effort: Effort,
    /// When the load began.
    pub started: Nanos,
    /// When the last inference completed.
    pub ended: Nanos,
    /// What was offered and what came of it.
    pub served: Served,
    /// What ended it early, if a failure did; of an engine that could not be built, too.
    pub failure: Option<Failure>,
}

/// The evidence of one soak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoakEvidence {
    /// Which point.
    pub id: PointId,
    /// How it ended.
    pub outcome: PointOutcome,
    /// Why it was stopped before its time, if it was.
    pub aborted: Option<String>,
    /// How the start gate ended: waited for a cool, unrestricted board, or gave up.
    pub gate: Option<GateOutcome>,
    /// Instants of the idle baseline before the soak.
    pub idle_before: Option<[Nanos; 2]>,
    /// Instants of the soak proper.
    pub span: [Nanos; 2],
    /// Instants of the idle baseline after the soak.
    pub idle_after: Option<[Nanos; 2]>,
    /// Every inference: completion instants in nanoseconds since the run's start.
    pub completed_ns: Vec<u64>,
    /// Every inference: latency in nanoseconds, parallel to `completed_ns`.
    pub latencies_ns: Vec<u64>,
    /// Whether the full-rate record ran out of its bound and was truncated.
    pub truncated: bool,
}

/// How the start gate ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateOutcome {
    /// Whether the board was cool and its clocks free when the soak began.
    pub passed: bool,
    /// How long the gate waited.
    pub waited: Nanos,
    /// What it still waited for when it gave up, or why it passed at once.
    pub reason: String,
}
