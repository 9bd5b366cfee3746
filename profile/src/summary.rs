//! The published profile: what a run found, with everything needed to reproduce it.
//!
//! These types are the boundary: their JSON form (names and units in the keys) is `profile.json`, and
//! [`crate::wire`] packs the same content as CBOR. A figure that could not be determined is absent, and
//! a point that failed is present with its failure.

mod capacity;
mod drift;

pub use capacity::Capacity;
pub use drift::{BoardDrift, Comparable, DriftBlock};

use crate::environment::Environment;
use crate::plan::{Deadline, Load, Mode};
use crate::point::{PointId, Shape, Variant};
use crate::record::{BackendRecord, EngineBuild, Failure, GateOutcome, ModelRecord, NotRun, OperatorCost};
pub use crate::stats::interval::Interval;
pub use crate::stats::steady_state::SteadyState;

use crate::stats::histogram::Histogram;
use serde::{Deserialize, Serialize};

/// Version of the profile's layout on the wire and in JSON.
pub const SCHEMA_VERSION: u16 = 1;

/// Version of the analysis that computed it; raised when the same record would give other figures.
pub const ANALYSIS_VERSION: u16 = 2;

/// A run's findings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema: u16,
    /// [`ANALYSIS_VERSION`] of the writer.
    pub analysis: u16,
    /// What identifies the run.
    pub run: RunInfo,
    /// The machine and the software.
    pub environment: Environment,
    /// The models measured.
    pub models: Vec<ModelRecord>,
    /// The backends used.
    pub backends: Vec<BackendRecord>,
    /// What was put to the test; points refer to it by index.
    pub variants: Vec<Variant>,
    /// Every point of the plan, in grid order.
    pub points: Vec<PointSummary>,
    /// How cost grows with clip length, per variant and batch size.
    pub scaling: Vec<Scaling>,
    /// Where memory pressure begins, per variant.
    pub memory_pressure: Vec<MemoryPressure>,
    /// Which points are best, and for what.
    pub operating_points: Vec<OperatingPoint>,
    /// How many streams the board sustains, per searched point and number of instances.
    #[serde(default)]
    pub capacities: Vec<Capacity>,
    /// Soaks.
    pub soaks: Vec<SoakSummary>,
    /// Idle power, where measured.
    pub idle_power_mw: Option<f64>,
    /// How the total power is formed, where there is one.
    pub power_topology: Option<String>,
    /// Cost of the sampler: share of one core, 0 to 1.
    pub sampler_cpu_share: Option<f64>,
    /// How the board changed during the sweep; absent where it held still.
    #[serde(default)]
    pub drift: Option<BoardDrift>,
    /// Findings about the run as a whole that weaken the figures.
    pub warnings: Vec<String>,
}

/// What identifies a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Random identifier, hexadecimal.
    pub id: String,
    /// Wall-clock start, milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Monotonic length of the run in milliseconds.
    pub duration_ms: u64,
    /// The command line or the request's origin.
    pub origin: String,
    /// Sweep, soak or both.
    pub mode: Mode,
    /// How inferences were issued.
    pub load: Load,
    /// The streaming constraint.
    pub deadline: Deadline,
    /// Seed of inputs and order.
    pub seed: u64,
    /// Whether any figure comes from the simulated backend.
    pub simulated: bool,
    /// Whether the run ended before its plan did.
    pub partial: bool,
}

/// The result of one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointSummary {
    /// Which point.
    pub id: PointId,
    /// How far it came.
    pub status: Status,
    /// Why it was never started.
    pub not_run: Option<NotRun>,
    /// The point that settled this one's fate: the one that dominates it, or whose result ended it.
    pub because_of: Option<PointId>,
    /// Where and why it failed.
    pub failure: Option<Failure>,
    /// Time to load and optimise, apart from latency.
    pub prepare_ns: Option<u64>,
    /// What was built for it, where the backend builds engines.
    #[serde(default)]
    pub engine: Option<EngineBuild>,
    /// Latency per inference.
    pub latency: Option<LatencySummary>,
    /// Clips completed a second of measuring: batch size x iterations / summed latency under closed load,
    /// / elapsed time under paced load.
    pub clips_per_s: Option<f64>,
    /// Frames completed a second: clips a second x clip length.
    pub frames_per_s: Option<f64>,
    /// Device compute time alone, median, where the backend tells it apart.
    pub compute_p50_ns: Option<f64>,
    /// Device compute time alone, P95.
    pub compute_p95_ns: Option<f64>,
    /// Device compute time alone, P99.
    pub compute_p99_ns: Option<f64>,
    /// Transfer of the inputs to the device, median, where the backend tells it apart.
    pub h2d_p50_ns: Option<f64>,
    /// Transfer of the inputs to the device, P99.
    pub h2d_p99_ns: Option<f64>,
    /// Transfer of the outputs to the host, median, where the backend tells it apart.
    pub d2h_p50_ns: Option<f64>,
    /// Transfer of the outputs to the host, P99.
    pub d2h_p99_ns: Option<f64>,
    /// Inferences that missed their deadline under paced load.
    pub deadline_misses: Option<u64>,
    /// Peak resident set of the worker in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Device memory in bytes.
    pub device_memory_bytes: Option<u64>,
    /// Minor page faults while measuring.
    pub minor_faults: Option<u64>,
    /// Major page faults while measuring.
    pub major_faults: Option<u64>,
    /// Growth of memory-pressure stalls while measuring, microseconds.
    pub psi_some_us: Option<u64>,
    /// Pages swapped in while measuring.
    pub swap_in_pages: Option<u64>,
    /// Energy while measuring, where the board has a total power.
    pub energy: Option<EnergySummary>,
    /// The figures in the board's common state, where it moved or stalled during the sweep: what points are
    /// compared by. Absent: the figures as measured are.
    #[serde(default)]
    pub comparable: Option<Comparable>,
    /// Most expensive operators, where asked for.
    pub operators: Vec<OperatorCost>,
    /// Effects seen on the outputs and inputs.
    pub remarks: Vec<String>,
}

impl PointSummary {
    /// A point of which nothing but its status is known.
    #[must_use]
    pub const fn bare(id: PointId, status: Status) -> Self {
        Self {
            id,
            status,
            not_run: None,
            because_of: None,
            failure: None,
            prepare_ns: None,
            engine: None,
            latency: None,
            clips_per_s: None,
            frames_per_s: None,
            compute_p50_ns: None,
            compute_p95_ns: None,
            compute_p99_ns: None,
            h2d_p50_ns: None,
            h2d_p99_ns: None,
            d2h_p50_ns: None,
            d2h_p99_ns: None,
            deadline_misses: None,
            peak_memory_bytes: None,
            device_memory_bytes: None,
            minor_faults: None,
            major_faults: None,
            psi_some_us: None,
            swap_in_pages: None,
            energy: None,
            comparable: None,
            operators: Vec::new(),
            remarks: Vec::new(),
        }
    }
}

/// How far a point came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Measured to the end.
    Measured,
    /// Measured in part, then dropped: beaten on every objective.
    Dominated,
    /// Measured in part when the run ended.
    Interrupted,
    /// Never started.
    NotRun,
    /// Started and failed.
    Failed,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// Latency of one point, nanoseconds. Percentiles follow Python's `statistics.quantiles` (exclusive).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Iterations after the warm-up.
    pub iterations: u64,
    /// Iterations discarded as warm-up.
    pub warmup_iterations: u64,
    /// Sum of the latencies.
    pub sum_ns: u64,
    /// Arithmetic mean.
    pub mean_ns: f64,
    /// Median.
    pub p50_ns: f64,
    /// `quantiles(n=20)[18]`; absent below two iterations.
    pub p95_ns: Option<f64>,
    /// `quantiles(n=100)[98]`; absent below two iterations.
    pub p99_ns: Option<f64>,
    /// `quantiles(n=1000)[998]`; absent below 999 iterations, where it would extrapolate.
    pub p999_ns: Option<f64>,
    /// Smallest.
    pub min_ns: u64,
    /// Largest.
    pub max_ns: u64,
    /// Median absolute deviation from the median.
    pub mad_ns: f64,
    /// 95 % interval of the mean.
    pub mean_ci_ns: Interval,
    /// 95 % interval of the median, widened for autocorrelation.
    pub p50_ci_ns: Interval,
    /// 95 % interval of P95, widened for autocorrelation.
    pub p95_ci_ns: Interval,
    /// 95 % interval of P99, widened for autocorrelation.
    pub p99_ci_ns: Interval,
    /// Autocorrelation time of exceedances of P99; the effective sample is iterations / tau.
    pub tau: f64,
    /// Whether P99 lies beyond the largest observation (fewer than 99 iterations).
    pub p99_extrapolated: bool,
    /// Whether the sequence settled.
    pub steady: SteadyState,
    /// The whole distribution.
    pub histogram: Histogram,
}

/// Energy over measured windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EnergySummary {
    /// Mean total power over the windows, mW.
    pub mean_power_mw: f64,
    /// Energy per frame, whole board, uJ.
    pub gross_per_frame_uj: f64,
    /// Energy per frame above idle, uJ; absent without an idle baseline.
    pub net_per_frame_uj: Option<f64>,
    /// 95 % interval of the gross energy per frame, uJ.
    pub gross_ci_uj: Interval,
    /// Total length of the windows, ms.
    pub window_ms: u64,
}

/// How latency grows with clip length, at one batch size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Index into the profile's variants.
    pub variant: u16,
    /// Batch size.
    pub batch_size: u32,
    /// Theil-Sen slope of log latency over log clip length: 1 is linear, 2 quadratic.
    pub exponent: f64,
    /// 95 % interval of the slope.
    pub exponent_ci: Interval,
    /// Clip length after which another slope holds, where BIC prefers two segments.
    pub breakpoint_clip_length: Option<u32>,
    /// Slopes before and after the breakpoint.
    pub segment_exponents: Option<[f64; 2]>,
    /// a, b, c of latency = a + bF + cF^2, nanoseconds.
    pub polynomial_ns: Option<[f64; 3]>,
}

impl Profile {
    /// How latency of the variant at `index` grows where the rest of the shape is that of `held`.
    #[must_use]
    pub fn scaling_at(&self, index: usize, held: Shape) -> Option<&Scaling> {
        let is_plain = held.sizes().len() <= 2;
        let same = |line: &&Scaling| usize::from(line.variant) == index && line.batch_size == held.batch();
        self.scaling.iter().find(same).filter(|_| is_plain)
    }
}

/// The first point at which memory pressure shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPressure {
    /// Index into the profile's variants.
    pub variant: u16,
    /// The smallest such point; absent when no point showed pressure.
    pub first: Option<Shape>,
    /// What rose there.
    pub sign: Option<PressureSign>,
}

/// A sign of memory pressure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PressureSign {
    /// Major page faults while measuring.
    MajorFaults,
    /// Growing pressure-stall time.
    PressureStall,
    /// Pages swapped in.
    Swap,
    /// The worker ran out of memory.
    OutOfMemory,
    /// Latency left the scaling line by more than 3 MAD.
    LatencyResidual,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// What an operating point is best for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Meets the stream's deadline at P99, at the least energy or with the most frames a second.
    Streaming,
    /// Most frames a second.
    Offline,
    /// Most frames per joule.
    Efficiency,
    /// As streaming, in the state that a soak sustains.
    SustainedStreaming,
    /// As offline, in the state that a soak sustains.
    SustainedOffline,
    /// As efficiency, in the state that a soak sustains.
    SustainedEfficiency,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// A chosen point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// What it is best for.
    pub objective: Objective,
    /// The model whose points competed: models are not chosen between, backends of one model are.
    pub model: String,
    /// The chosen points; several when the data cannot tell them apart, best estimate first.
    pub chosen: Vec<PointId>,
    /// Why, and what the next best gives up: one sentence. When `chosen` is empty, why none qualifies.
    pub reason: String,
}

/// The findings of one soak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoakSummary {
    /// Which point.
    pub id: PointId,
    /// Monotonic length in milliseconds.
    pub duration_ms: u64,
    /// Inferences completed.
    pub inferences: u64,
    /// Why it was stopped before its time, if it was.
    pub aborted: Option<String>,
    /// Where and why it failed.
    pub failure: Option<Failure>,
    /// How the start gate ended.
    pub gate: Option<GateOutcome>,
    /// Segments of steady latency.
    pub segments: Vec<SoakSegment>,
    /// Throttling, in order of onset.
    pub throttles: Vec<Throttle>,
    /// Frames a second in the first steady segment.
    pub burst_frames_per_s: Option<f64>,
    /// Frames a second in the final stationary segment.
    pub sustained_frames_per_s: Option<f64>,
    /// Sustained / burst.
    pub sustained_ratio: Option<f64>,
    /// P99 in the final stationary segment.
    pub sustained_p99_ns: Option<f64>,
    /// Time to the first throttling in ms; absent when there was none within `duration_ms` (censored).
    pub time_to_throttle_ms: Option<u64>,
    /// Period of a throttle oscillation in ms, where there is one.
    pub oscillation_period_ms: Option<u64>,
    /// Energy over the whole soak.
    pub energy: Option<EnergySummary>,
    /// Energy over the sustained segment.
    pub sustained_energy: Option<EnergySummary>,
    /// Hottest reading per thermal channel: id and m\u{b0}C.
    pub peak_temperatures: Vec<(String, i32)>,
    /// What else is worth knowing, e.g. that the full-rate record was truncated.
    pub remarks: Vec<String>,
}

/// A stretch of a soak with one level of latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoakSegment {
    /// Start, ms since the soak's start.
    pub start_ms: u64,
    /// End, ms since the soak's start.
    pub end_ms: u64,
    /// Median latency.
    pub p50_ns: f64,
    /// P99 latency, where determinable.
    pub p99_ns: Option<f64>,
    /// Frames a second.
    pub frames_per_s: f64,
}

/// One throttling event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Throttle {
    /// Onset, ms since the soak's start.
    pub onset_ms: u64,
    /// End, ms since the soak's start; absent when it lasted to the end.
    pub recovery_ms: Option<u64>,
    /// Why.
    pub cause: ThrottleCause,
    /// Median latency during / median latency before.
    pub slowdown: f64,
    /// The evidence: channel ids with what they did.
    pub evidence: Vec<String>,
}

/// Why a board throttled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThrottleCause {
    /// A thermal trip: a throttling cooling device became active or a zone reached a passive trip.
    Thermal,
    /// Over-current or under-voltage events.
    OverCurrent,
    /// The power mode's caps or floors changed.
    PowerModeCap,
    /// The memory clock fell.
    MemoryClock,
    /// The CPU clock fell with no other sign.
    CpuClock,
    /// The GPU clock fell with no other sign.
    GpuClock,
    /// Latency rose and no channel says why.
    Unexplained,
    /// One that this version does not know, from a newer device.
    Unknown,
}
