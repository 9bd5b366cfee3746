//! What parent and worker say to each other: one [`WorkerCommand`], one [`Reply`], in turn.
//!
//! Both ends are the same binary, so there is no version: the parent starts `/proc/self/exe`.

use crate::backend::{EngineSpec, MissingPart};
use crate::confine::{Bounds, Confinement};
use clipmark_profile::record::{BackendRecord, EngineBuild, Failure, OperatorCost};
use clipmark_profile::streams::{Inference, Load};
use clipmark_profile::units::{Bytes, Nanos};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The parent's orders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WorkerCommand {
    /// Give up everything beyond these bounds, for good: the first command, before any library or model is opened.
    /// Answered by [`Reply::Confined`].
    Confine(Bounds),
    /// Is this backend usable here, and which one is it?
    Check {
        /// Its registry name.
        backend: String,
    },
    /// Load, optimise, fill the inputs, run once untimed. Answered by [`Reply::Prepared`].
    Prepare(Box<PrepareOrder>),
    /// Run timed inferences. Answered by [`Reply::Measured`].
    Measure(MeasureOrder),
    /// Serve streams. Answered by [`Reply::Served`].
    Serve(LoadOrder),
    /// Profile the operators. Answered by [`Reply::Operators`].
    Operators {
        /// Inferences to average over.
        iterations: u32,
    },
    /// Digest the outputs of the last inference. Answered by [`Reply::Outputs`].
    Outputs,
    /// Compare random with constant and zero inputs. Answered by [`Reply::Sensitivity`].
    Sensitivity {
        /// Inferences per kind of input.
        iterations: u32,
    },
    /// Hold the outputs of a few inferences against each other: does the engine return only when they are
    /// complete? Answered by [`Reply::Completion`], or by a failure when it does not.
    Completion,
    /// The kernel's account of the worker. Answered by [`Reply::Account`].
    Account,
    /// End.
    Quit,
}

/// What to prepare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrepareOrder {
    /// The backend's registry name.
    pub backend: String,
    /// The model's file.
    pub model: PathBuf,
    /// The point.
    pub spec: EngineSpec,
    /// Seed of the inputs' contents.
    pub seed: u64,
    /// Engines that work in parallel when streams are served, at least 1.
    pub instances: u32,
}

/// Streams to serve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoadOrder {
    /// What is offered.
    pub load: Load,
    /// Clips that an instance takes at most.
    pub batch: u32,
    /// Clips arrive for this long.
    pub length: Nanos,
    /// An inference that takes longer ends the load as timed out.
    pub inference_limit: Nanos,
}

/// How many inferences to time, and how they are issued.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeasureOrder {
    /// At most this many inferences.
    pub iterations: u32,
    /// No inference starts later than this after the first one.
    pub stop_after: Nanos,
    /// An inference that takes longer ends the chunk as timed out.
    pub inference_limit: Nanos,
    /// Frames a second of the stream for paced load; `None`: closed loop.
    pub paced_fps: Option<f64>,
    /// For paced load: go on with the schedule of the chunk before, lateness included, instead of
    /// beginning a new one.
    pub continues: bool,
}

/// The worker's answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`WorkerCommand::Confine`].
    Confined(Confinement),
    /// To [`WorkerCommand::Check`].
    Checked(Result<BackendRecord, Unusable>),
    /// To [`WorkerCommand::Prepare`].
    Prepared(Prepared),
    /// To [`WorkerCommand::Measure`].
    Measured(Measured),
    /// To [`WorkerCommand::Serve`].
    Served(ServedLoad),
    /// To [`WorkerCommand::Operators`].
    Operators(Vec<OperatorCost>),
    /// To [`WorkerCommand::Outputs`].
    Outputs(Vec<OutputDigest>),
    /// To [`WorkerCommand::Sensitivity`].
    Sensitivity(Vec<FillTime>),
    /// To [`WorkerCommand::Completion`]: what remains doubtful, in words.
    Completion(Option<String>),
    /// To [`WorkerCommand::Account`].
    Account(Account),
    /// To any command: it failed, the worker lives on.
    Failed(Failure),
    /// To any command: something panicked, in these words, and the worker ends with it.
    Panicked(String),
}

/// Why a backend cannot be used here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unusable {
    /// Its reason.
    pub failure: Failure,
    /// What is not installed, where that is why.
    pub missing: Option<MissingPart>,
}

/// A prepared engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Time to load and optimise.
    pub prepare: Nanos,
    /// Time of the untimed first inference, which is in no statistic.
    pub first: Nanos,
    /// What the backend built, where it builds engines.
    pub engine: Option<EngineBuild>,
    /// What a reader must know of the engine's numbers.
    pub remarks: Vec<String>,
}

/// A measured chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Start of the first inference (for paced load its intended arrival), on the monotonic clock.
    pub started: Nanos,
    /// End of the last inference.
    pub ended: Nanos,
    /// Latency per inference, nanoseconds; for paced load from the intended arrival.
    pub latencies_ns: Vec<u64>,
    /// Device compute time per inference, where the backend tells it for every one; else empty.
    pub compute_ns: Vec<u64>,
    /// Transfer time to the device per inference, likewise.
    pub h2d_ns: Vec<u64>,
    /// Transfer time to the host per inference, likewise.
    pub d2h_ns: Vec<u64>,
    /// Context switches of the worker's main thread.
    pub context_switches: Option<u64>,
    /// Minor page faults of the worker.
    pub minor_faults: Option<u64>,
    /// Major page faults of the worker.
    pub major_faults: Option<u64>,
    /// What ended the chunk before its count, if a failure did. The inferences before it are kept.
    pub failure: Option<Failure>,
}

/// How a load was served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedLoad {
    /// The beginning of the load, on the monotonic clock.
    pub started: Nanos,
    /// End of the last inference.
    pub ended: Nanos,
    /// Every inference in the order of its clips, counted from the beginning of the load.
    pub inferences: Vec<Inference>,
    /// What ended the load early, if a failure did. The inferences before it are kept.
    pub failure: Option<Failure>,
}

/// One output of the last inference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputDigest {
    /// The output's name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// SHA-256 of its bytes, lower-case hexadecimal.
    pub sha256: String,
}

/// How long inferences take with one kind of input contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillTime {
    /// `random`, `constant` or `zero`.
    pub fill: String,
    /// Median of the inferences.
    pub median: Nanos,
    /// Fastest and slowest, to judge the difference by.
    pub range: [Nanos; 2],
}

/// The kernel's account of the worker, and the engine's of its device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// VmHWM.
    pub peak_resident: Option<Bytes>,
    /// VmRSS just before the model was loaded.
    pub base_resident: Option<Bytes>,
    /// Device memory in use.
    pub device: Option<Bytes>,
}
