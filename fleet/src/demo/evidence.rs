//! What a simulated board would have observed: a record on a virtual clock, of which the same analysis makes
//! a profile as of a real board's.
//!
//! Latencies come from clipmark-profile's simulated engine, sensors from the same power and throttling. Pure:
//! the wall clock is an argument.

use super::boards::{Behaviour, MODELS, SimulatedBoard};
use clipmark_profile::analysis::study;
use clipmark_profile::channel::{Channel, ChannelKind, Role};
use clipmark_profile::environment::Environment;
use clipmark_profile::plan::{Limits, Mode, Plan, PlanError, Request, UsableVariant};
use clipmark_profile::point::{PointId, Shape, Variant};
use clipmark_profile::record::{
    BackendRecord, Chunk, MemoryEvidence, ModelRecord, Phase, PointEvidence, PointOutcome, Record, RunHeader,
    SoakEvidence,
};
use clipmark_profile::sensors::{Column, SensorRecord, TierSeries};
use clipmark_profile::series::{self, Series};
use clipmark_profile::simulated::{SimulatedEngine, SimulatedSpec, ThrottleSpan};
use clipmark_profile::stats::rng::Rng;
use clipmark_profile::summary::Profile;
use clipmark_profile::units::{Bytes, Nanos};
use sha2::{Digest, Sha256};

/// Iterations of every point.
const ITERATIONS: usize = 250;

/// Length of a throttling board's soak, and when it begins to throttle, in seconds of its virtual clock.
const SOAK_S: u64 = 420;
const THROTTLES_AFTER_S: f64 = 150.0;

/// How much slower a throttled board is.
const SLOWDOWN: f64 = 1.38;

/// One run of a simulated board.
#[derive(Debug, Clone)]
pub(super) struct Run<'a> {
    pub(super) board: &'a SimulatedBoard,
    pub(super) request: Request,
    pub(super) run_id: String,
    pub(super) started_unix_ms: u64,
    pub(super) origin: String,
    /// Whether it has the newer firmware.
    pub(super) upgraded: bool,
    /// Whether it has the newer build of `joint`.
    pub(super) rebuilt: bool,
}

/// The made-up size of a model that has no file.
const SIZE_BYTES: u64 = 1_200_000;

/// What the newer firmware does to every latency, and the newer build to that of `joint`.
const UPGRADE: f64 = 1.06;
const REBUILD: f64 = 0.90;

/// What a run yields.
#[derive(Debug, Clone)]
pub(super) struct Findings {
    pub(super) profile: Profile,
    /// Series of its soaks.
    pub(super) series: Vec<Series>,
}

/// The SHA-256 that stands for a simulated model's file.
pub(super) fn digest(model: &str, rebuilt: bool) -> String {
    let build = if rebuilt && model == "joint" { 2 } else { 1 };
    let name = format!("simulated {model}, build {build}");
    Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn variants(request: &Request) -> Vec<Variant> {
    let named: Vec<String> =
        if request.models.is_empty() { MODELS.map(str::to_owned).to_vec() } else { request.models.clone() };
    named.into_iter().map(|model| Variant::new(model, "simulated")).collect()
}

/// What is to be done for a request, as the board's own plan.
pub(super) fn plan(request: &Request) -> Result<Plan, PlanError> {
    let usable = |variant| UsableVariant { variant, fixed: Vec::new() };
    let variants = UsableVariant::expand(variants(request).into_iter().map(usable).collect(), request);
    Plan::expand(request.clone(), variants, &Limits::default())
}

/// Carries `run` out on a virtual clock.
pub(super) fn carried_out(run: &Run<'_>) -> Result<Findings, PlanError> {
    let mut plan = plan(&run.request)?;
    let soaks = run.board.behaviour == Behaviour::Throttles;
    if soaks {
        plan.request.mode = Mode::Auto;
    }
    let mut clock = Nanos(2_000_000_000);
    let points: Vec<PointEvidence> =
        plan.points.iter().map(|&id| point(run, &plan.variants, id, &mut clock)).collect();
    let soak = plan.points.first().filter(|_| soaks).map(|&id| soak(run, &plan.variants, id, &mut clock));
    let sensors = sensors(run.board, soak.as_ref().map(|soak| soak.span), clock);
    let record = Record {
        header: header(run, plan),
        points,
        loads: Vec::new(),
        soaks: soak.into_iter().collect(),
        sensors: Some(sensors),
        partial: false,
    };
    let profile = study(&record);
    let series = record
        .soaks
        .iter()
        .map(|soak| {
            let summary = profile.soaks.iter().find(|summary| summary.id == soak.id);
            series::build(&run.run_id, soak, record.sensors.as_ref(), summary)
        })
        .collect();
    Ok(Findings { profile, series })
}

fn scale(run: &Run<'_>, model: &str) -> f64 {
    let upgrade = if run.upgraded { UPGRADE } else { 1.0 };
    let rebuild = if run.rebuilt && model == "joint" { REBUILD } else { 1.0 };
    // From day to day a board differs from itself by a little.
    let day = 1.0 + 0.004 * Rng::new(run.started_unix_ms ^ run.board.seed).normal();
    upgrade * rebuild * day
}

fn spec(run: &Run<'_>, variants: &[Variant], id: PointId, throttle: Vec<ThrottleSpan>) -> SimulatedSpec {
    let model = &variants[usize::from(id.variant)].model;
    let mut spec = run.board.spec(model, scale(run, model), throttle);
    spec.seed ^= run.started_unix_ms;
    spec
}

fn point(run: &Run<'_>, variants: &[Variant], id: PointId, clock: &mut Nanos) -> PointEvidence {
    let spec = spec(run, variants, id, Vec::new());
    let mut evidence = PointEvidence {
        prepare: Some(spec.prepare_time(id.shape)),
        memory: Some(MemoryEvidence {
            peak_resident: Some(spec.memory(id.shape)),
            ..MemoryEvidence::default()
        }),
        ..PointEvidence::new(id, PointOutcome::Measured)
    };
    clock.0 += spec.prepare_time(id.shape).0;
    match SimulatedEngine::prepare(&spec, id.shape, 0, None) {
        Ok(mut engine) => evidence.chunks.push(chunk(&mut engine, clock)),
        Err(failure) => evidence.outcome = PointOutcome::Failed(failure),
    }
    evidence
}

fn chunk(engine: &mut SimulatedEngine, clock: &mut Nanos) -> Chunk {
    let started = *clock;
    let mut latencies_ns = Vec::with_capacity(ITERATIONS);
    while latencies_ns.len() < ITERATIONS {
        // No failure is declared for these boards.
        let Ok(span) = engine.infer(*clock) else { break };
        clock.0 += span.0;
        latencies_ns.push(span.0);
    }
    Chunk { started, ended: *clock, latencies_ns, phase: Phase::Fixed, ..Chunk::default() }
}

fn soak(run: &Run<'_>, variants: &[Variant], id: PointId, clock: &mut Nanos) -> SoakEvidence {
    let start = Nanos(clock.0 + 20_000_000_000);
    let throttle = ThrottleSpan {
        at_s: start.as_secs_f64() + THROTTLES_AFTER_S,
        factor: SLOWDOWN,
        until_s: None,
        ramp_s: 2.0,
    };
    let spec = spec(run, variants, id, vec![throttle]);
    let end = start.0 + SOAK_S * 1_000_000_000;
    let (mut completed_ns, mut latencies_ns) = (Vec::new(), Vec::new());
    let mut now = start;
    if let Ok(mut engine) = SimulatedEngine::prepare(&spec, id.shape, 1, None) {
        while now.0 < end {
            let Ok(span) = engine.infer(now) else { break };
            now.0 += span.0;
            completed_ns.push(now.0);
            latencies_ns.push(span.0);
        }
    }
    *clock = Nanos(now.0 + 1_000_000_000);
    SoakEvidence {
        id,
        outcome: PointOutcome::Measured,
        aborted: None,
        gate: None,
        idle_before: None,
        span: [start, now],
        idle_after: None,
        completed_ns,
        latencies_ns,
        truncated: false,
    }
}

/// Power at 10 Hz and the rest once a second, from the start of the run to `end`.
fn sensors(board: &SimulatedBoard, soak: Option<[Nanos; 2]>, end: Nanos) -> SensorRecord {
    let spec = board.spec(MODELS[0], 1.0, Vec::new());
    let working = Shape::new(1, 8).and_then(|at| spec.power_mw(at)).unwrap_or_default();
    let mut rng = Rng::new(board.seed);
    let since_throttle = |second: f64| {
        let onset = soak?[0].as_secs_f64() + THROTTLES_AFTER_S;
        (second >= onset).then_some(second - onset)
    };
    let power = |second: f64, rng: &mut Rng| {
        let level = if since_throttle(second).is_some() { 0.82 * working } else { working };
        (level + 45.0 * rng.normal()) as i32 / 40 * 40
    };
    let junction = |second: f64, rng: &mut Rng| {
        let celsius = match (soak, since_throttle(second)) {
            (_, Some(since)) => 97.0 + 2.0 * (-since / 60.0).exp(),
            (Some(_), None) => 99.0 - 52.0 * (-second / 85.0).exp(),
            (None, None) => 58.0 - 12.0 * (-second / 60.0).exp(),
        };
        ((celsius + 0.1 * rng.normal()) * 1e3) as i32
    };
    let clock = |second: f64, _: &mut Rng| if since_throttle(second).is_some() { 420_000 } else { 624_750 };
    let cooling = |second: f64, _: &mut Rng| i32::from(since_throttle(second).is_some());
    let mut record = SensorRecord { power_topology: Some("VDD_IN".into()), ..SensorRecord::default() };
    record.notes.push("simulated: no sensor was read".into());
    let sensed: [(u64, ChannelKind, &str, Role, Reading<'_>); 4] = [
        (100, ChannelKind::Power, "VDD_IN", Role::TotalPower, &power),
        (1000, ChannelKind::Temperature, "tj-thermal", Role::Junction, &junction),
        (1000, ChannelKind::Clock, "gpu", Role::GpuClock, &clock),
        (1000, ChannelKind::Cooling, "gpu-throttle-alert", Role::Throttles, &cooling),
    ];
    for (period_ms, kind, name, role, reading) in sensed {
        let channel = record.channels.len() as u16;
        record.channels.push(Channel { id: format!("{}.{name}", kind.prefix()), kind, role });
        record.tiers.push(tier(period_ms, channel, end, |second| reading(second, &mut rng)));
    }
    record
}

type Reading<'a> = &'a dyn Fn(f64, &mut Rng) -> i32;

fn tier(period_ms: u64, channel: u16, end: Nanos, mut reading: impl FnMut(f64) -> i32) -> TierSeries {
    let period = Nanos(period_ms * 1_000_000);
    let mut tier = TierSeries { period, ..TierSeries::default() };
    let mut column = Column { channel, ..Column::default() };
    for tick in 0..=end.0 / period.0 {
        let at = tick * period.0;
        tier.stamps_ns.push(at);
        tier.read_ns.push(100_000);
        column.push(Some(reading(Nanos(at).as_secs_f64())));
    }
    tier.columns.push(column);
    tier
}

fn header(run: &Run<'_>, plan: Plan) -> RunHeader {
    let kind = run.board.kind;
    let models = plan.variants.iter().map(|variant| ModelRecord {
        name: variant.model.clone(),
        sha256: digest(&variant.model, run.rebuilt),
        size_bytes: Bytes(SIZE_BYTES),
        parameters: None,
        inputs: Vec::new(),
    });
    RunHeader {
        run_id: run.run_id.clone(),
        started_unix_ms: run.started_unix_ms,
        origin: run.origin.clone(),
        models: models.collect(),
        backends: vec![BackendRecord {
            name: "simulated".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            device: "none".into(),
            simulated: true,
            notes: vec!["made up for `clipmark-fleet demo`; nothing was measured".into()],
        }],
        environment: Environment {
            clipmark: env!("CARGO_PKG_VERSION").into(),
            arch: "aarch64".into(),
            board: Some(kind.board.into()),
            board_id: Some(kind.board_id.into()),
            l4t: Some(kind.l4t[usize::from(run.upgraded)].into()),
            power_mode: Some(kind.power_mode.into()),
            cpu: Some(kind.cpu.into()),
            memory_total: Some(Bytes(kind.memory_bytes)),
            ..Environment::default()
        },
        plan,
    }
}

#[cfg(test)]
mod tests {
    use super::super::boards::BOARDS;
    use super::*;
    use clipmark_profile::wire::{encode_profile, encode_series};

    fn findings(device: &str) -> Findings {
        let board = BOARDS.iter().find(|board| board.device == device).unwrap();
        let request = Request { clip_lengths: vec![8], batch_sizes: vec![1], ..Request::default() };
        let run = Run {
            board,
            request,
            run_id: "00ff".into(),
            started_unix_ms: 1_800_000_000_000,
            origin: "test".into(),
            upgraded: true,
            rebuilt: true,
        };
        carried_out(&run).unwrap()
    }

    #[test]
    fn everything_about_a_simulated_board_says_so() {
        let Findings { profile, series } = findings("sim-agx-orin");
        assert!(profile.run.simulated && profile.backends.iter().all(|backend| backend.simulated));
        assert!(profile.environment.board.as_ref().unwrap().contains("simulated"));
        assert!(profile.points.iter().all(|point| point.latency.is_some()) && series.is_empty());
        assert!(encode_profile(&profile).unwrap().len() < 60_000);
    }

    #[test]
    fn the_analysis_finds_the_planted_throttling_and_its_cause() {
        let Findings { profile, series } = findings("sim-orin-nano-5");
        let soak = &profile.soaks[0];
        let onset = soak.time_to_throttle_ms.unwrap();
        assert!(onset.abs_diff(150_000) < 10_000, "{onset}");
        assert_eq!(soak.throttles[0].cause, clipmark_profile::summary::ThrottleCause::Thermal);
        assert!((soak.throttles[0].slowdown - SLOWDOWN).abs() < 0.08, "{}", soak.throttles[0].slowdown);
        assert_eq!(series.len(), 1);
        assert!(encode_series(&series[0]).is_ok());
    }
}
