//! The live engines of a run: one worker process per point, built, asked and closed as the sweep says.

use super::clock::RunClock;
use super::variants::RunModel;
use crate::account::{Pressure, pressure};
use crate::backend::tensorrt::share;
use crate::backend::{EngineSpec, options};
use crate::record_store::PointNews;
use crate::worker::handle::{Trouble, Worker, WorkerConfig};
use crate::worker::protocol::{FillTime, MeasureOrder, Measured, PrepareOrder, Reply, WorkerCommand};
use clipmark_profile::plan::{Load, Plan};
use clipmark_profile::point::{PointId, Shape};
use clipmark_profile::record::{Cause, Chunk, Failure, MemoryEvidence, Phase, Stage};
use clipmark_profile::sweep::{StepResult, SweepStep};
use clipmark_profile::units::{Bytes, Nanos};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Inferences that a per-operator profile averages over.
const OPERATOR_ITERATIONS: u32 = 5;
/// Inferences per kind of input when the engine's sensitivity to its inputs is looked at.
const SENSITIVITY_ITERATIONS: u32 = 15;
/// Engines slower than this are not examined for sensitivity.
const SENSITIVITY_SLOWEST: Nanos = Nanos(200_000_000);
/// Medians further apart than this share are a finding.
const SENSITIVITY_SHARE: f64 = 0.1;

/// Everything that shapes engines, beside the point itself.
#[derive(Debug)]
pub struct Pool<'a> {
    plan: &'a Plan,
    models: &'a [RunModel],
    settings: WorkerConfig,
    cache_dir: Option<PathBuf>,
    clock: &'a RunClock<'a>,
    live: BTreeMap<PointId, Worker>,
    /// Variants whose sensitivity to inputs was looked at.
    examined: BTreeSet<u16>,
}

impl<'a> Pool<'a> {
    /// A pool without engines.
    #[must_use]
    pub fn new(
        plan: &'a Plan,
        models: &'a [RunModel],
        settings: WorkerConfig,
        clock: &'a RunClock<'a>,
        cache_dir: Option<PathBuf>,
    ) -> Self {
        let (live, examined) = (BTreeMap::new(), BTreeSet::new());
        Self { plan, models, settings, cache_dir, clock, live, examined }
    }

    /// Carries a step out. Whatever goes wrong is part of the result.
    pub fn carry_out(&mut self, step: &SweepStep) -> (StepResult, PointNews) {
        for id in &step.close {
            self.live.remove(id);
        }
        let (mut result, mut news) = (StepResult::default(), PointNews::default());
        match self.attempt(step, &mut result, &mut news) {
            Ok(()) | Err(Trouble::Stopped) => {}
            Err(Trouble::Failed(failure)) => {
                result.failure = Some(failure);
                self.live.remove(&step.point);
            }
        }
        (result, news)
    }

    /// Closes every engine.
    pub fn close(&mut self) {
        self.live.clear();
    }

    /// The worker that holds `point`'s engine, built when there is none. Every other engine is closed: a
    /// soak has the machine to itself.
    ///
    /// # Errors
    /// The engine cannot be built, or the run is to stop.
    pub fn alone(&mut self, point: PointId) -> Result<&mut Worker, Trouble> {
        self.live.retain(|&id, worker| id == point && worker.alive());
        if !self.live.contains_key(&point) {
            let mut worker = Worker::spawn(&self.settings).map_err(Trouble::Failed)?;
            worker.prepare(self.order(point)?)?;
            self.live.insert(point, worker);
        }
        Ok(self.live.get_mut(&point).expect("inserted just above"))
    }

    /// A worker of its own with `instances` engines of `point`. Every other engine is closed.
    ///
    /// # Errors
    /// An engine cannot be built, or the run is to stop.
    pub fn parallel(&mut self, point: PointId, instances: u32) -> Result<Worker, Trouble> {
        self.close();
        let mut worker = Worker::spawn(&self.settings).map_err(Trouble::Failed)?;
        worker.prepare(PrepareOrder { instances, ..self.order(point)? })?;
        Ok(worker)
    }

    fn attempt(
        &mut self,
        step: &SweepStep,
        result: &mut StepResult,
        news: &mut PointNews,
    ) -> Result<(), Trouble> {
        if step.build || !self.live.contains_key(&step.point) {
            self.build(step, result, news)?;
        }
        let Some(worker) = self.live.get_mut(&step.point) else { return Ok(()) };
        let before = pressure();
        let measured = self.clock.place(worker.measure(&measure_order(self.plan, step))?);
        let since = pressure_since(before, pressure());
        let account = worker.account().ok();
        let memory = MemoryEvidence {
            peak_resident: account.and_then(|account| account.peak_resident),
            base_resident: account.and_then(|account| account.base_resident),
            device: account.and_then(|account| account.device),
            minor_faults: measured.minor_faults,
            major_faults: measured.major_faults,
            ..since
        };
        result.peak_memory = total(memory.peak_resident, memory.device);
        news.memory = Some(memory);
        result.chunk = Some(chunk(step, &measured));
        if let Some(failure) = measured.failure {
            return Err(Trouble::Failed(failure));
        }
        if step.phase == Phase::Feasibility || (step.phase == Phase::Fixed && step.build) {
            self.examine(step, &measured.latencies_ns, news)?;
        }
        Ok(())
    }

    fn build(
        &mut self,
        step: &SweepStep,
        result: &mut StepResult,
        news: &mut PointNews,
    ) -> Result<(), Trouble> {
        let mut settings = self.settings.clone();
        settings.prepare_limit = Duration::from_nanos(step.prepare_limit.0);
        settings.inference_limit = Duration::from_nanos(step.inference_limit.0);
        if settings.prepare_limit < self.settings.prepare_limit {
            // Cut by the time budget, which the first inference must keep too.
            settings.inference_limit = Duration::ZERO;
        }
        let mut worker = Worker::spawn(&settings).map_err(Trouble::Failed)?;
        let prepared = worker.prepare(self.order(step.point)?)?;
        result.prepare = Some(prepared.prepare);
        news.engine = prepared.engine;
        news.remarks.extend(prepared.remarks);
        self.live.insert(step.point, worker);
        Ok(())
    }

    fn order(&self, point: PointId) -> Result<PrepareOrder, Trouble> {
        let variant = &self.plan.variants[usize::from(point.variant)];
        let model = self.models.iter().find(|model| model.record.name == variant.model);
        let model = model.ok_or_else(|| {
            let message = format!("the model {} is not part of this run", variant.model);
            Trouble::Failed(Failure { stage: Stage::Load, cause: Cause::BadModel, message })
        })?;
        let at = |at: Shape| -> Result<EngineSpec, Failure> {
            Ok(EngineSpec {
                shape: at,
                precision: variant.precision,
                threads: variant.threads,
                inputs: model.shape.at(at)?,
                options: options::of_backend(&variant.backend, &self.plan.request.backend_options),
                cache_dir: self.cache_dir.clone(),
            })
        };
        let mut spec = at(point.shape).map_err(Trouble::Failed)?;
        let of_variant = self.plan.points.iter().filter(|other| other.variant == point.variant);
        // Points that cannot be share no engine.
        let all: Vec<EngineSpec> =
            of_variant.chain([&point]).filter_map(|other| at(other.shape).ok()).collect();
        share(&mut spec.options, &all).map_err(|error| Trouble::Failed(error.into()))?;
        let (backend, path) = (variant.backend.clone(), model.path.clone());
        Ok(PrepareOrder { backend, model: path, spec, seed: self.plan.request.seed, instances: 1 })
    }

    /// What is asked of an engine once, outside any timing: its operators, where wanted, and, for the first
    /// point of a variant, whether it returns only when its outputs are complete, and whether the contents of
    /// the inputs move the latency.
    fn examine(
        &mut self,
        step: &SweepStep,
        latencies_ns: &[u64],
        news: &mut PointNews,
    ) -> Result<(), Trouble> {
        let limit = self.settings.inference_limit;
        let Some(worker) = self.live.get_mut(&step.point) else { return Ok(()) };
        if self.plan.request.per_op {
            let command = WorkerCommand::Operators { iterations: OPERATOR_ITERATIONS };
            match worker.ask(&command, Stage::Measure, limit * (OPERATOR_ITERATIONS + 1)) {
                Ok(Reply::Operators(operators)) => news.operators = operators,
                Err(trouble) if !worker.alive() => return Err(trouble),
                Err(Trouble::Failed(failure)) => {
                    news.remarks.push(format!("no profile per operator: {}", failure.message));
                }
                _ => {}
            }
        }
        let quick = latencies_ns.iter().max().is_some_and(|&slowest| slowest <= SENSITIVITY_SLOWEST.0);
        if quick && self.examined.insert(step.point.variant) {
            if let Reply::Completion(Some(doubt)) =
                worker.ask(&WorkerCommand::Completion, Stage::WarmUp, limit * 4)?
            {
                news.remarks.push(doubt);
            }
            let command = WorkerCommand::Sensitivity { iterations: SENSITIVITY_ITERATIONS };
            match worker.ask(&command, Stage::Measure, limit * 4) {
                Ok(Reply::Sensitivity(times)) => news.remarks.extend(sensitivity_remark(&times)),
                Err(trouble) if !worker.alive() => return Err(trouble),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The part of the record that a placed measurement is.
fn chunk(step: &SweepStep, measured: &Measured) -> Chunk {
    let mut chunk = step.chunk(measured.started, measured.ended, measured.latencies_ns.clone());
    chunk.compute_ns.clone_from(&measured.compute_ns);
    chunk.h2d_ns.clone_from(&measured.h2d_ns);
    chunk.d2h_ns.clone_from(&measured.d2h_ns);
    chunk.context_switches = measured.context_switches.unwrap_or(0);
    chunk
}

fn measure_order(plan: &Plan, step: &SweepStep) -> MeasureOrder {
    MeasureOrder {
        iterations: step.total_iterations(),
        stop_after: step.time_limit,
        inference_limit: step.inference_limit,
        paced_fps: plan.request.fps.filter(|_| plan.request.load == Load::Paced),
        continues: false,
    }
}

fn total(host: Option<Bytes>, device: Option<Bytes>) -> Option<Bytes> {
    match (host, device) {
        (Some(host), Some(device)) => Some(Bytes(host.0 + device.0)),
        (host, device) => host.or(device),
    }
}

/// Growth of the system's memory pressure over a chunk.
fn pressure_since(before: Pressure, after: Pressure) -> MemoryEvidence {
    let grew = |before: Option<u64>, after: Option<u64>| Some(after?.saturating_sub(before?));
    MemoryEvidence {
        psi_some_us: grew(before.some_us, after.some_us),
        swap_in_pages: grew(before.swap_in_pages, after.swap_in_pages),
        ..MemoryEvidence::default()
    }
}

/// A sentence when other inputs than random ones run at another speed: a figure on zeros would then
/// mislead, and so may one on random inputs.
#[must_use]
pub fn sensitivity_remark(times: &[FillTime]) -> Option<String> {
    let random = times.iter().find(|time| time.fill == "random")?;
    let differs = |time: &&FillTime| {
        let share = time.median.0 as f64 / random.median.0.max(1) as f64 - 1.0;
        let apart = time.range[1] < random.range[0] || time.range[0] > random.range[1];
        apart && share.abs() > SENSITIVITY_SHARE
    };
    let other = times.iter().find(differs)?;
    let share = (other.median.0 as f64 / random.median.0.max(1) as f64 - 1.0) * 100.0;
    Some(format!(
        "inputs of {} values take {share:+.0} % time compared with random ones: latency depends on the contents",
        other.fill
    ))
}

#[cfg(test)]
mod tests {
    use super::{FillTime, sensitivity_remark};
    use clipmark_profile::units::Nanos;

    fn time(fill: &str, median: u64, range: [u64; 2]) -> FillTime {
        FillTime { fill: fill.into(), median: Nanos(median), range: range.map(Nanos) }
    }

    #[test]
    fn zero_inputs_that_run_at_another_speed_are_a_finding() {
        let zero_is_quick = [time("zero", 700, [690, 720]), time("random", 1000, [980, 1050])];
        let remark = sensitivity_remark(&zero_is_quick).unwrap();
        assert!(remark.contains("zero") && remark.contains("-30 %"), "{remark}");
    }

    #[test]
    fn inputs_that_run_alike_or_overlap_are_none() {
        let alike = [time("constant", 1010, [1000, 1030]), time("random", 1000, [980, 1050])];
        assert_eq!(sensitivity_remark(&alike), None);
        let noisy = [time("zero", 700, [600, 1400]), time("random", 1000, [900, 1500])];
        assert_eq!(sensitivity_remark(&noisy), None);
    }
}
