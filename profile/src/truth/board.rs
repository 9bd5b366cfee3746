//! A board that does not exist: carries out a sweep's steps with simulated engines on a virtual clock.

use crate::environment::Environment;
use crate::pacing::Schedule;
use crate::plan::{Deadline, Load, Plan};
use crate::point::PointId;
use crate::record::{BackendRecord, Cause, Failure, MemoryEvidence, PointEvidence, Record, RunHeader, Stage};
use crate::simulated::{SimulatedEngine, SimulatedSpec};
use crate::sweep::{JournalEntry, StepResult, Sweep, SweepRules, SweepStep};
use crate::units::{Bytes, Microjoules, Nanos};
use std::collections::BTreeMap;

/// A virtual board with the engines that are alive on it.
#[derive(Debug)]
pub struct VirtualBoard<'a> {
    specs: &'a [SimulatedSpec],
    /// Paced load: the stream's rate.
    fps: Option<f64>,
    memory_limit: Option<Bytes>,
    engines: BTreeMap<PointId, SimulatedEngine>,
    /// The virtual clock.
    pub now: Nanos,
}

/// A finished virtual run.
#[derive(Debug, Clone)]
pub struct VirtualRun {
    /// The evidence.
    pub record: Record,
    /// Every step with its result.
    pub journal: Vec<JournalEntry>,
    /// Virtual time from start to end.
    pub elapsed: Nanos,
}

impl<'a> VirtualBoard<'a> {
    /// A board that runs `specs`, one per variant of `plan`.
    #[must_use]
    pub fn new(plan: &Plan, specs: &'a [SimulatedSpec]) -> Self {
        let fps = match (plan.request.load, plan.deadline) {
            (Load::Paced, Deadline::Fps(fps)) => Some(fps),
            _ => None,
        };
        let memory_limit = plan.request.memory_limit_bytes.map(Bytes);
        Self { specs, fps, memory_limit, engines: BTreeMap::new(), now: Nanos(0) }
    }

    /// Carries out one step and moves the clock on.
    pub fn carry_out(&mut self, step: &SweepStep) -> StepResult {
        for closed in &step.close {
            self.engines.remove(closed);
        }
        let mut result = StepResult::default();
        let spec = &self.specs[usize::from(step.point.variant)];
        if step.build {
            let prepare = spec.prepare_time(step.point.shape);
            if prepare > step.prepare_limit {
                self.now = Nanos(self.now.0 + step.prepare_limit.0);
                let message =
                    format!("simulated: preparing takes {prepare}, the limit is {}", step.prepare_limit);
                let (stage, cause) = (Stage::Prepare, Cause::TimedOut);
                return StepResult { failure: Some(Failure { stage, cause, message }), ..result };
            }
            self.now = Nanos(self.now.0 + prepare.0);
            let ordinal = u64::from(step.engine);
            match SimulatedEngine::prepare(spec, step.point.shape, ordinal, self.memory_limit) {
                Ok(engine) => self.engines.insert(step.point, engine),
                Err(failure) => return StepResult { failure: Some(failure), ..result },
            };
            result.prepare = Some(prepare);
        }
        self.infer(step, &mut result);
        if result.failure.is_some() {
            self.engines.remove(&step.point);
        }
        result
    }

    fn infer(&mut self, step: &SweepStep, result: &mut StepResult) {
        let spec = &self.specs[usize::from(step.point.variant)];
        let Some(engine) = self.engines.get_mut(&step.point) else { return };
        let started = self.now;
        let schedule = self.fps.and_then(|fps| Schedule::of_stream(started, step.point.shape, fps));
        let mut latencies = Vec::new();
        let mut busy = 0;
        for index in 0..u64::from(step.total_iterations()) {
            let begin = schedule.map_or(self.now, |schedule| schedule.start_of(index, self.now));
            match engine.infer(begin).and_then(|span| within(span, step)) {
                Ok(span) => {
                    self.now = Nanos(begin.0 + span.0);
                    busy += span.0;
                    latencies.push(schedule.map_or(span, |schedule| schedule.latency(index, self.now)).0);
                }
                Err(failure) => {
                    result.failure = Some(failure);
                    break;
                }
            }
            if self.now.since(started) >= step.time_limit {
                break;
            }
        }
        result.peak_memory = Some(spec.memory(step.point.shape));
        let power = spec.power_mw(step.point.shape);
        result.energy = power.map(|mw| Microjoules((mw * busy as f64 / 1e6) as i64));
        result.chunk = Some(step.chunk(started, self.now, latencies));
    }
}

fn within(span: Nanos, step: &SweepStep) -> Result<Nanos, Failure> {
    if span <= step.inference_limit {
        return Ok(span);
    }
    Err(Failure {
        stage: Stage::Measure,
        cause: Cause::TimedOut,
        message: format!("simulated: an inference of {span} is above the limit of {}", step.inference_limit),
    })
}

/// Runs a whole sweep of `plan` on a virtual board.
#[must_use]
pub fn run(plan: &Plan, rules: SweepRules, specs: &[SimulatedSpec]) -> VirtualRun {
    let mut board = VirtualBoard::new(plan, specs);
    let mut sweep = Sweep::new(plan, rules);
    let mut journal = Vec::new();
    let mut evidence: Vec<PointEvidence> = Vec::new();
    while let Some(step) = sweep.next(board.now) {
        let asked = board.now;
        let result = board.carry_out(&step);
        sweep.observe(&result);
        keep(&mut evidence, &step, &result, specs);
        journal.push(JournalEntry { restarted: false, asked, step, result });
    }
    for (id, outcome) in sweep.outcomes() {
        match evidence.iter_mut().find(|point| point.id == id) {
            Some(point) => point.outcome = outcome,
            None => evidence.push(PointEvidence::new(id, outcome)),
        }
    }
    let record = Record {
        header: header(plan),
        points: evidence,
        loads: Vec::new(),
        soaks: Vec::new(),
        sensors: None,
        partial: false,
    };
    VirtualRun { record, journal, elapsed: board.now }
}

fn keep(evidence: &mut Vec<PointEvidence>, step: &SweepStep, result: &StepResult, specs: &[SimulatedSpec]) {
    let known = evidence.iter().position(|point| point.id == step.point);
    let at = known.unwrap_or_else(|| {
        evidence.push(PointEvidence::new(step.point, crate::record::PointOutcome::Interrupted));
        evidence.len() - 1
    });
    let point = &mut evidence[at];
    point.prepare = point.prepare.or(result.prepare);
    point.chunks.extend(result.chunk.clone());
    if result.peak_memory.is_some() {
        let base = Bytes(specs[usize::from(step.point.variant)].memory.base_bytes);
        point.memory = Some(MemoryEvidence {
            peak_resident: result.peak_memory,
            base_resident: Some(base),
            ..MemoryEvidence::default()
        });
    }
}

fn header(plan: &Plan) -> RunHeader {
    let mut backends: Vec<BackendRecord> = Vec::new();
    for variant in &plan.variants {
        if !backends.iter().any(|backend| backend.name == variant.backend) {
            backends.push(BackendRecord {
                name: variant.backend.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                device: "virtual".to_owned(),
                simulated: true,
                notes: Vec::new(),
            });
        }
    }
    RunHeader {
        run_id: "0".repeat(32),
        started_unix_ms: 0,
        origin: "virtual board".to_owned(),
        plan: plan.clone(),
        environment: Environment { clipmark: env!("CARGO_PKG_VERSION").to_owned(), ..Environment::default() },
        models: Vec::new(),
        backends,
    }
}
