//! Made-up but realistic profiles and soaks, for tests and demonstrations of what consumes them.
//!
//! Deterministic: every figure comes from a fixed table of latencies and a seeded integer generator, so
//! that snapshots hold on every machine. The figures are no measurement of any board, and the profiles
//! say so (`simulated`). Only built with the feature `test-support`.

mod capacity;
mod drift;
mod messages;
mod soak;

pub use capacity::with_streams;
pub use drift::{comparable, drifted};
pub use messages::{Sample, messages};
pub use soak::soak_evidence;

use crate::environment::Environment;
use crate::plan::{Deadline, Load, Mode};
use crate::point::{PointId, Shape, Variant};
use crate::record::{BackendRecord, Cause, Failure, ModelRecord, NotRun, OperatorCost, Stage};
use crate::stats::histogram::Histogram;
use crate::stats::quantile::{self, Quantile};
use crate::stats::rng::Rng;
use crate::stats::{interval, robust, scaling};
use crate::summary::{
    EnergySummary, Interval, LatencySummary, MemoryPressure, Objective, OperatingPoint, PointSummary,
    PressureSign, Profile, RunInfo, Scaling, Status, SteadyState,
};
use crate::units::{Bytes, Nanos};

/// A seeded generator whose every number is the same to the last bit on all machines.
#[derive(Debug, Clone)]
pub struct Random(Rng);

impl Random {
    /// A generator that starts at `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// Uniform in 0 to 1.
    pub fn unit(&mut self) -> f64 {
        self.0.uniform()
    }

    /// Close to standard normal: the sum of twelve uniforms, less six. Needs no libm, whose last bit
    /// differs between platforms.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Latencies around `base_ns`: 2 % noise and a tail of one in fifty that is 10 to 60 % slower.
#[must_use]
pub fn latencies_ns(base_ns: u64, count: usize, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed ^ base_ns);
    (0..count)
        .map(|_| {
            let tail = if random.unit() < 0.02 { 1.1 + 0.5 * random.unit() } else { 1.0 };
            (base_ns as f64 * tail * (1.0 + 0.02 * random.normal())) as u64
        })
        .collect()
}

/// The summary of the latencies `series`, in order of time, by the statistics of this crate.
#[must_use]
pub fn latency(series: &[u64]) -> LatencySummary {
    let mut sorted = series.to_vec();
    sorted.sort_unstable();
    let count = sorted.len() as u64;
    let floats: Vec<f64> = series.iter().map(|&ns| ns as f64).collect();
    let p99 = interval::of_quantile(series, &sorted, Quantile::P99);
    let ends = |quantile| interval::of_quantile(series, &sorted, quantile).interval;
    LatencySummary {
        iterations: count,
        warmup_iterations: 24,
        sum_ns: sorted.iter().sum(),
        mean_ns: quantile::mean(series).unwrap_or_default(),
        p50_ns: quantile::median(&sorted).unwrap_or_default(),
        p95_ns: quantile::reference(&sorted, Quantile::P95),
        p99_ns: quantile::reference(&sorted, Quantile::P99),
        p999_ns: (!Quantile::P999.extrapolates(count))
            .then(|| quantile::reference(&sorted, Quantile::P999))
            .flatten(),
        min_ns: sorted.first().copied().unwrap_or_default(),
        max_ns: sorted.last().copied().unwrap_or_default(),
        mad_ns: robust::mad(&floats).unwrap_or_default(),
        mean_ci_ns: interval::of_mean(&floats),
        p50_ci_ns: ends(Quantile::P50),
        p95_ci_ns: ends(Quantile::P95),
        p99_ci_ns: p99.interval,
        tau: p99.tau,
        p99_extrapolated: Quantile::P99.extrapolates(count),
        steady: SteadyState::WarmUp,
        histogram: Histogram::of(series),
    }
}

/// A measured point: `base_ns` is its typical latency.
#[must_use]
pub fn measured(variant: u16, at: Shape, base_ns: u64, iterations: usize) -> PointSummary {
    let seed = u64::from(variant) << 32 | u64::from(at.batch()) << 16;
    let latency = latency(&latencies_ns(base_ns, iterations, seed));
    let clips_per_s = f64::from(at.batch()) * latency.iterations as f64 * 1e9 / latency.sum_ns as f64;
    let frames_per_s = clips_per_s * f64::from(at.clip());
    let power_mw = 5_400.0 + 350.0 * f64::from(at.batch());
    let gross = power_mw * 1e3 / frames_per_s;
    PointSummary {
        prepare_ns: Some(61_234_567 + base_ns / 7),
        clips_per_s: Some(clips_per_s),
        frames_per_s: Some(frames_per_s),
        peak_memory_bytes: Some((48 << 20) + at.frames() * 400 * 1024),
        minor_faults: Some(1_800 + 31 * at.frames()),
        major_faults: Some(0),
        psi_some_us: Some(0),
        swap_in_pages: Some(0),
        energy: Some(EnergySummary {
            mean_power_mw: power_mw,
            gross_per_frame_uj: gross,
            net_per_frame_uj: Some((power_mw - IDLE_MW) * 1e3 / frames_per_s),
            gross_ci_uj: Interval { lower: Some(gross * 0.985), upper: Some(gross * 1.014) },
            window_ms: latency.sum_ns / 1_000_000,
        }),
        latency: Some(latency),
        comparable: None,
        ..PointSummary::bare(PointId { variant, shape: at }, Status::Measured)
    }
}

/// A point without figures.
fn bare(variant: u16, at: Shape, status: Status) -> PointSummary {
    PointSummary::bare(PointId { variant, shape: at }, status)
}

const IDLE_MW: f64 = 3_312.5;
const DEADLINE: Nanos = Nanos(5_000_000);
const CLIP_LENGTHS: [u32; 5] = [8, 16, 32, 64, 128];
const BATCH_SIZES: [u32; 3] = [1, 2, 4];
/// Latency in ns per clip length at batch size 1.
const JOINT_NS: [u64; 5] = [2_011_000, 5_204_000, 15_530_000, 89_120_000, 424_310_000];
const TEMPORAL_NS: [u64; 5] = [1_204_000, 2_008_000, 3_811_000, 6_322_000, 14_830_000];

fn point_at(batch_size: u32, clip_length: u32) -> Shape {
    Shape::new(batch_size, clip_length).expect("the tables of this module hold no zero")
}

fn variant_points(variant: u16, base_ns: [u64; 5]) -> Vec<PointSummary> {
    let mut points = Vec::new();
    for batch_size in BATCH_SIZES {
        for (clip_length, base) in CLIP_LENGTHS.into_iter().zip(base_ns) {
            let scaled = base * u64::from(batch_size) * (103 - 3 * u64::from(batch_size)) / 100;
            points.push(measured(variant, point_at(batch_size, clip_length), scaled, 1000));
        }
    }
    points
}

/// Puts one point of each kind that is not a plain success into the grid.
fn spoil(points: &mut [PointSummary]) {
    for point in points {
        let at = (point.id.variant, point.id.shape.batch(), point.id.shape.clip());
        match at {
            (0, 2, 128) => {
                let message =
                    "worker killed for memory: VmHWM 1021 MiB reached the limit of 1024 MiB".to_owned();
                *point = bare(0, point.id.shape, Status::Failed);
                point.failure = Some(Failure { stage: Stage::Measure, cause: Cause::OutOfMemory, message });
            }
            (0, 4, 128) => {
                *point = bare(0, point.id.shape, Status::NotRun);
                point.not_run = Some(NotRun::WouldExceedMemory);
                point.because_of = Some(PointId { variant: 0, shape: point_at(2, 128) });
            }
            (0, 4, 8) => {
                *point = measured(0, point.id.shape, 8_900_000, 60);
                point.status = Status::Dominated;
                point.because_of = Some(PointId { variant: 0, shape: point_at(2, 8) });
            }
            (0, 1, 64) => point.major_faults = Some(214),
            (1, 4, 128) => {
                point.status = Status::Interrupted;
                point.remarks = vec!["inputs of zeros run 11 % faster than random ones".into()];
            }
            (1, 1, 16) => point.operators = operators(),
            _ => {}
        }
    }
}

fn operators() -> Vec<OperatorCost> {
    let row = |name: &str, kind: &str, time_ns: u64, share: f64| OperatorCost {
        name: name.into(),
        kind: kind.into(),
        time: Nanos(time_ns),
        share,
    };
    vec![
        row("/patch/MatMul", "OptMatMul", 812_000, 0.404),
        row("/block.0/attn/MatMul", "OptMatMul", 301_000, 0.150),
        row("/patch/Erf", "Erf", 240_500, 0.120),
    ]
}

fn variant(model: &str) -> Variant {
    Variant::new(model, "tract")
}

fn model(name: &str, digest: char) -> ModelRecord {
    ModelRecord {
        name: name.into(),
        sha256: digest.to_string().repeat(64),
        size_bytes: Bytes(1_213_440),
        parameters: Some(301_216),
        inputs: vec!["video: f32[B,T,3,64,64]".into(), "text: i64[B,16]".into()],
    }
}

fn environment() -> Environment {
    Environment {
        clipmark: "0.1.0".into(),
        os: Some("Ubuntu 22.04.5 LTS".into()),
        kernel: Some("5.15.148-tegra".into()),
        arch: "aarch64".into(),
        board: Some("NVIDIA Jetson Orin Nano Developer Kit".into()),
        board_id: Some("jetson-orin-nano".into()),
        l4t: Some("36.4.3".into()),
        power_mode: Some("1 25W".into()),
        cpu: Some("Cortex-A78AE".into()),
        cpus_online: Some(6),
        governor: Some("schedutil".into()),
        memory_total: Some(Bytes(7_990_292_480)),
        memory_available: Some(Bytes(6_210_564_096)),
        swap_total: Some(Bytes(3_995_074_560)),
        load_centi: Some(12),
        virtualization: None,
        worker_cpus: Some("2-5".into()),
        worker_memory_max: Some(Bytes(6_442_450_944)),
        warnings: vec![
            "The CPU governor is schedutil, so clocks follow load; run `sudo jetson_clocks` for steady figures."
                .into(),
        ],
        absent: vec![("bandwidth.actmon".into(), "permission denied: debugfs needs CAP_DAC_READ_SEARCH".into())],
    }
}

/// Lines over the batch sizes with at least four clip lengths, by the statistics of this crate.
fn scaling_lines(variant: u16, points: &[PointSummary]) -> Vec<Scaling> {
    let line = |batch_size: u32| {
        let pairs: Vec<(u32, f64)> = points
            .iter()
            .filter(|p| p.id.shape.batch() == batch_size)
            .filter_map(|p| Some((p.id.shape.clip(), p.latency.as_ref()?.p50_ns)))
            .collect();
        let fit = scaling::exponent(&pairs).filter(|_| pairs.len() > 3)?;
        let bend = scaling::breakpoint(&pairs, 0.01);
        Some(Scaling {
            variant,
            batch_size,
            exponent: fit.exponent,
            exponent_ci: fit.interval,
            breakpoint_clip_length: bend.map(|b| b.clip_length),
            segment_exponents: bend.map(|b| b.exponents),
            polynomial_ns: scaling::quadratic(&pairs),
        })
    };
    BATCH_SIZES.into_iter().filter_map(line).collect()
}

/// The three objectives of a sweep, chosen among `points`, which all belong to `model`. What the next best
/// gives up is computed, so that sentence and figures agree.
fn operating_points(model: &str, points: &[PointSummary]) -> Vec<OperatingPoint> {
    let frame_energy = |p: &PointSummary| Some(-p.energy?.gross_per_frame_uj);
    let in_time = |p: &PointSummary| {
        let fits = p.latency.as_ref()?.p99_ci_ns.upper? <= DEADLINE.get() as f64;
        if fits { frame_energy(p) } else { None }
    };
    vec![
        chosen(
            Objective::Streaming,
            model,
            points,
            "Least energy per frame among the points whose P99 upper bound meets the 5 ms deadline",
            "needs more energy",
            in_time,
        ),
        chosen(Objective::Offline, model, points, "Most frames per second", "gives up", |p| p.frames_per_s),
        chosen(
            Objective::Efficiency,
            model,
            points,
            "Most frames per joule",
            "needs more energy",
            frame_energy,
        ),
    ]
}

fn chosen(
    objective: Objective,
    model: &str,
    points: &[PointSummary],
    why: &str,
    loss: &str,
    score: impl Fn(&PointSummary) -> Option<f64>,
) -> OperatingPoint {
    let mut ranked: Vec<(f64, PointId)> = points.iter().filter_map(|p| Some((score(p)?, p.id))).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let reason = match ranked.as_slice() {
        [] => "No point qualifies.".into(),
        [_] => format!("{why}; no other point qualifies."),
        [best, next, ..] => {
            let percent = (next.0 / best.0 - 1.0).abs() * 100.0;
            format!("{why}; the next best, {}, {loss} ({percent:.1} %).", next.1.shape)
        }
    };
    let chosen = ranked.first().map(|best| best.1).into_iter().collect();
    OperatingPoint { objective, model: model.into(), chosen, reason }
}

/// What the soak of `id` adds.
fn sustained(model: &str, id: PointId) -> [OperatingPoint; 2] {
    let row = |objective, chosen, reason: &str| OperatingPoint {
        objective,
        model: model.into(),
        chosen,
        reason: reason.into(),
    };
    [
        row(
            Objective::SustainedStreaming,
            vec![id],
            "Its sustained P99 still meets the 5 ms deadline after throttling.",
        ),
        row(
            Objective::SustainedOffline,
            Vec::new(),
            "No point qualifies: the soak covered only one point; soak more points with `--soak-points`.",
        ),
    ]
}

fn run_info(origin: &str) -> RunInfo {
    RunInfo {
        id: "5f0c1e9b7a3d4468".into(),
        started_unix_ms: 1_767_225_600_000,
        duration_ms: 127_431,
        origin: origin.into(),
        mode: Mode::Auto,
        load: Load::Closed,
        deadline: Deadline::PerInference(DEADLINE),
        seed: 0,
        simulated: true,
        partial: false,
    }
}

/// The built-in pair over 5 clip lengths and 3 batch sizes, with a failed, a not-run, a dominated and an
/// interrupted point, a soak that throttles twice, and operating points.
#[must_use]
pub fn profile() -> Profile {
    let mut points = variant_points(0, JOINT_NS);
    points.extend(variant_points(1, TEMPORAL_NS));
    spoil(&mut points);
    let soaked = PointId { variant: 1, shape: point_at(1, 16) };
    let mut chosen = operating_points("joint", &points[..15]);
    chosen.extend(operating_points("temporal", &points[15..]));
    chosen.extend(sustained("temporal", soaked));
    let mut lines = scaling_lines(0, &points[..15]);
    lines.extend(scaling_lines(1, &points[15..]));
    Profile {
        schema: crate::summary::SCHEMA_VERSION,
        analysis: crate::summary::ANALYSIS_VERSION,
        run: run_info("clipmarkd run --deadline 5ms --soak 30m"),
        environment: environment(),
        models: vec![model("joint", 'a'), model("temporal", 'b')],
        backends: vec![BackendRecord {
            name: "tract".into(),
            version: "0.23.9".into(),
            device: "cpu".into(),
            simulated: true,
            notes: vec!["latency spans one state.run call, inputs ready in memory".into()],
        }],
        variants: vec![variant("joint"), variant("temporal")],
        points,
        scaling: lines,
        memory_pressure: vec![
            MemoryPressure {
                variant: 0,
                first: Some(point_at(1, 64)),
                sign: Some(PressureSign::MajorFaults),
            },
            MemoryPressure { variant: 1, first: None, sign: None },
        ],
        operating_points: chosen,
        capacities: Vec::new(),
        soaks: vec![soak::summary(soaked)],
        idle_power_mw: Some(IDLE_MW),
        power_topology: Some("VDD_IN".into()),
        drift: None,
        sampler_cpu_share: Some(0.0041),
        warnings: Vec::new(),
    }
}

/// One variant over 9 clip lengths and 3 batch sizes, every point measured with 1000 iterations: the
/// profile whose wire size is bounded.
#[must_use]
pub fn profile_of_27_points() -> Profile {
    let clip_lengths = [4, 8, 12, 16, 24, 32, 48, 64, 128];
    let mut points = Vec::new();
    for batch_size in BATCH_SIZES {
        for clip_length in clip_lengths {
            let frames = u64::from(batch_size) * u64::from(clip_length);
            points.push(measured(0, point_at(batch_size, clip_length), 420_000 + 118_000 * frames, 1000));
        }
    }
    let operating_points = operating_points("joint", &points);
    let mut profile = profile();
    profile.run.origin = "clipmarkd run --deadline 5ms".into();
    profile.run.mode = Mode::Sweep;
    profile.models.truncate(1);
    profile.variants.truncate(1);
    profile.scaling = scaling_lines(0, &points);
    profile.memory_pressure = vec![MemoryPressure { variant: 0, first: None, sign: None }];
    profile.operating_points = operating_points;
    profile.points = points;
    profile.soaks.clear();
    profile
}
