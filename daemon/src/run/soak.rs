//! A soak: one point for a long time, every inference kept.
//!
//! Terms: the *start gate* waits for a cool board ([`super::gate`]); *idle baselines* are stretches before
//! and after in which nothing runs, for the energy above idle. The next chunk is ordered before the last
//! one is written to disk, so the engine pauses for a pipe's round trip and not for a disk. Of each
//! inference the completion instant and the latency are kept, streamed to disk in segments. What a soak
//! means is the analysis's part.

use super::clock::RunClock;
use super::gate::{Look, Reference};
use super::limit::TemperatureLimit;
use super::pool::Pool;
use super::sensing::Sensing;
use super::watch::{ProgressSink, RunEvent};
use super::{RunEnding, RunError};
use crate::record_store::RecordStore;
use crate::record_store::soaks::SoakWriter;
use crate::worker::clock::monotonic;
use crate::worker::handle::{Trouble, Worker};
use crate::worker::protocol::{MeasureOrder, Measured};
use clipmark_probes::latest::Latest;
use clipmark_profile::channel::Role;
use clipmark_profile::pacing::Schedule;
use clipmark_profile::plan::{Load, Plan};
use clipmark_profile::point::PointId;
use clipmark_profile::record::{GateOutcome, PointOutcome, SoakEvidence};
use clipmark_profile::stats::robust;
use clipmark_profile::units::Nanos;
use std::sync::atomic::{AtomicBool, Ordering};

/// Length of a chunk: how often the view is renewed and the abort temperature looked at.
const CHUNK: Nanos = Nanos::from_secs(1);
/// Inferences of the first chunk, whose latency is not known yet.
const FIRST_CHUNK: u32 = 16;
/// Most inferences of a chunk.
const MOST_PER_CHUNK: u64 = 200_000;
/// Time between two writes: the most that a cut loses.
const SEGMENT: Nanos = Nanos::from_secs(10);
/// Most inferences kept; 16 bytes each.
const MOST_KEPT: u64 = 4_000_000;
/// Length of an idle baseline, at most a tenth of the soak.
const IDLE: Nanos = Nanos::from_secs(30);
/// Longest wait at the start gate, at most the soak's own length.
const GATE: Nanos = Nanos::from_secs(600);
/// How often a wait looks whether it is over.
const LOOK: Nanos = Nanos(250_000_000);

/// One soak to be carried out.
pub(super) struct Soak<'a> {
    pub(super) plan: &'a Plan,
    pub(super) point: PointId,
    pub(super) length: Nanos,
    pub(super) reference: &'a Reference,
    pub(super) sensing: &'a Sensing,
    pub(super) clock: &'a RunClock<'a>,
    pub(super) stop: &'a AtomicBool,
    pub(super) limit: &'a TemperatureLimit,
}

/// What cuts a soak short, other than its engine's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cut {
    Stopped,
    TooHot(String),
}

impl Soak<'_> {
    /// Carries the soak out. A failing engine is part of its evidence.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(super) fn run(
        &self,
        pool: &mut Pool<'_>,
        store: &mut RecordStore,
        watcher: &mut dyn ProgressSink,
    ) -> Result<RunEnding, RunError> {
        let mut evidence = self.blank();
        // Built before the gate: building heats the board.
        let worker = match pool.alone(self.point) {
            Ok(worker) => worker,
            Err(Trouble::Stopped) => return Ok(self.stopped().ending()),
            Err(Trouble::Failed(failure)) => {
                evidence.outcome = PointOutcome::Failed(failure);
                store.begin_soak(&evidence)?;
                return Ok(RunEnding::Complete);
            }
        };
        let mut cut = self.wait_at_gate(&mut evidence, watcher);
        if cut.is_none() {
            evidence.idle_before = self.idle(&mut cut);
        }
        evidence.span = [self.clock.now(); 2];
        let writer = store.begin_soak(&evidence)?;
        let mut tape = SampleLog::new(writer);
        if cut.is_none() {
            cut = self.measure(worker, &mut evidence, &mut tape, watcher)?;
        }
        if cut.is_none() {
            evidence.idle_after = self.idle(&mut cut);
        }
        tape.flush()?;
        evidence.truncated = tape.truncated;
        let ending = cut.as_ref().map_or(RunEnding::Complete, Cut::ending);
        if let Some(cut) = cut {
            evidence.aborted = Some(cut.words());
        } else if evidence.outcome == PointOutcome::Interrupted {
            evidence.outcome = PointOutcome::Measured;
        }
        tape.writer.describe(&evidence)?;
        Ok(ending)
    }

    fn blank(&self) -> SoakEvidence {
        SoakEvidence {
            id: self.point,
            outcome: PointOutcome::Interrupted,
            aborted: None,
            gate: None,
            idle_before: None,
            span: [self.clock.now(); 2],
            idle_after: None,
            completed_ns: Vec::new(),
            latencies_ns: Vec::new(),
            truncated: false,
        }
    }

    fn label(&self) -> String {
        let variant = &self.plan.variants[usize::from(self.point.variant)];
        format!("{}/{} {}", variant.model, variant.backend, self.point.shape)
    }

    /// Sleeps for a while; what cuts it short.
    fn rest(&self, length: Nanos) -> Option<Cut> {
        let until = self.clock.now().0 + length.0;
        while self.clock.now().0 < until {
            if let Some(cut) = self.cut() {
                return Some(cut);
            }
            self.clock.sleep_until(Nanos(until.min(self.clock.now().0 + LOOK.0)));
        }
        self.cut()
    }

    fn cut(&self) -> Option<Cut> {
        if let Some(breach) = self.limit.look(self.sensing.latest(), self.clock.now()) {
            return Some(Cut::TooHot(breach));
        }
        self.stop.load(Ordering::Relaxed).then_some(Cut::Stopped)
    }

    /// Why a worker was stopped.
    fn stopped(&self) -> Cut {
        self.limit.breach().map_or(Cut::Stopped, Cut::TooHot)
    }

    fn wait_at_gate(&self, evidence: &mut SoakEvidence, watcher: &mut dyn ProgressSink) -> Option<Cut> {
        let Some(latest) = self.sensing.latest() else {
            let reason = "the sampler is off: nothing is known of the board's temperature".into();
            evidence.gate = Some(GateOutcome { passed: false, waited: Nanos(0), reason });
            return None;
        };
        let began = self.clock.now();
        let bound = GATE.min(self.length);
        let mut told = false;
        loop {
            match self.reference.look(latest, self.clock.now().since(began), bound) {
                Look::Open(outcome) | Look::GivenUp(outcome) => {
                    evidence.gate = Some(outcome);
                    return None;
                }
                Look::Wait(missing) => {
                    if !told {
                        watcher.tell(&RunEvent::Note(&format!(
                            "soak {}: waiting for the board to cool: {missing}",
                            self.label()
                        )));
                        told = true;
                    }
                    if let Some(cut) = self.rest(LOOK) {
                        return Some(cut);
                    }
                }
            }
        }
    }

    /// An idle baseline, where there is a total power to average.
    fn idle(&self, cut: &mut Option<Cut>) -> Option<[Nanos; 2]> {
        let has_power =
            |latest: &Latest| latest.channels().iter().any(|channel| channel.role == Role::TotalPower);
        self.sensing.latest().filter(|latest| has_power(latest))?;
        let began = self.clock.now();
        *cut = self.rest(IDLE.min(Nanos(self.length.0 / 10)));
        cut.is_none().then(|| [began, self.clock.now()])
    }

    /// The soak proper: chunk after chunk until its length is reached.
    fn measure(
        &self,
        worker: &mut Worker,
        evidence: &mut SoakEvidence,
        tape: &mut SampleLog,
        watcher: &mut dyn ProgressSink,
    ) -> Result<Option<Cut>, RunError> {
        let label = self.label();
        let limit = Nanos((self.plan.request.inference_limit_s * 1e9) as u64);
        let mut line = SoakTimeline::new(self.fps(), self.point, limit);
        let mut latency = None;
        let mut order = line.order(latency, self.length);
        worker.begin_measure(&order);
        loop {
            let measured = match worker.end_measure(&order) {
                Ok(measured) => self.clock.place(measured),
                Err(Trouble::Stopped) => return Ok(Some(self.stopped())),
                Err(Trouble::Failed(failure)) => {
                    evidence.outcome = PointOutcome::Failed(failure);
                    return Ok(None);
                }
            };
            line.take(&measured, |completed, latency| tape.push(completed, latency));
            evidence.span = line.span.unwrap_or(evidence.span);
            if let Some(failure) = measured.failure {
                evidence.outcome = PointOutcome::Failed(failure);
                return Ok(None);
            }
            let left = self.length.since(line.elapsed());
            let cut = self.cut();
            latency = median(&measured.latencies_ns).or(latency);
            if left.0 > 0 && cut.is_none() {
                order = line.order(latency, left);
                worker.begin_measure(&order);
            }
            tape.flush_when_due()?;
            let (elapsed, length, board) = (line.elapsed(), self.length, self.sensing.board_now());
            watcher.tell(&RunEvent::Soak { label: &label, elapsed, length, latency, board });
            if left.0 == 0 || cut.is_some() {
                return Ok(cut);
            }
        }
    }

    fn fps(&self) -> Option<f64> {
        self.plan.request.fps.filter(|_| self.plan.request.load == Load::Paced)
    }
}

impl Cut {
    const fn ending(&self) -> RunEnding {
        match self {
            Self::Stopped => RunEnding::Stopped,
            Self::TooHot(_) => RunEnding::TooHot,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Stopped => "the run was stopped".into(),
            Self::TooHot(words) => words,
        }
    }
}

fn median(latencies_ns: &[u64]) -> Option<Nanos> {
    let values: Vec<f64> = latencies_ns.iter().map(|&ns| ns as f64).collect();
    robust::median(&values).map(|median| Nanos(median as u64))
}

/// The soak's own line of time, from chunk to chunk.
#[derive(Debug)]
struct SoakTimeline {
    fps: Option<f64>,
    point: PointId,
    inference_limit: Nanos,
    /// First start and last completion, once there are any.
    span: Option<[Nanos; 2]>,
    /// How far later chunks are moved so that none begins before its predecessor ended: a simulated
    /// engine's clock runs ahead of the real one.
    shift: u64,
    /// Inferences so far.
    count: u64,
}

impl SoakTimeline {
    const fn new(fps: Option<f64>, point: PointId, inference_limit: Nanos) -> Self {
        Self { fps, point, inference_limit, span: None, shift: 0, count: 0 }
    }

    /// The next chunk, of about [`CHUNK`] and not longer than `left`. A paced chunk goes on with the
    /// stream where the last one left it.
    fn order(&self, latency: Option<Nanos>, left: Nanos) -> MeasureOrder {
        let fits = |each: Nanos| (CHUNK.0 * 5 / 4 / each.0.max(1)).clamp(1, MOST_PER_CHUNK);
        let iterations = latency.map_or(FIRST_CHUNK, |each| u32::try_from(fits(each)).unwrap_or(u32::MAX));
        MeasureOrder {
            iterations,
            stop_after: CHUNK.min(left),
            inference_limit: self.inference_limit,
            paced_fps: self.fps,
            continues: self.span.is_some(),
        }
    }

    /// Takes a chunk's inferences in: `keep` is told completion instant and latency of each.
    fn take(&mut self, measured: &Measured, mut keep: impl FnMut(Nanos, u64)) {
        let ended_before = self.span.map_or(measured.started, |[_, ended]| ended);
        self.shift = self.shift.max(ended_before.since(measured.started).0);
        let started = Nanos(measured.started.0 + self.shift);
        let first = self.span.map_or(started, |[first, _]| first);
        let mut ended = ended_before;
        let schedule = self.fps.and_then(|fps| Schedule::of_stream(first, self.point.shape, fps));
        for (index, completed) in (self.count..).zip(completions(measured, started)) {
            let latency = measured.latencies_ns[(index - self.count) as usize];
            ended = schedule.map_or(completed, |schedule| Nanos(schedule.arrival(index).0 + latency));
            keep(ended, latency);
        }
        self.count += measured.latencies_ns.len() as u64;
        self.span = Some([first, ended]);
    }

    fn elapsed(&self) -> Nanos {
        self.span.map_or(Nanos(0), |[first, ended]| ended.since(first))
    }
}

/// Completion instants under closed load: the latencies one after another. What the loop itself took is
/// spread evenly, so that the last completion is the chunk's end.
fn completions(measured: &Measured, started: Nanos) -> impl Iterator<Item = Nanos> + '_ {
    let total: u64 = measured.latencies_ns.iter().sum();
    let overhead = measured.ended.since(measured.started).0.saturating_sub(total);
    let count = measured.latencies_ns.len().max(1) as u128;
    let mut completed = started.0;
    (1_u128..).zip(&measured.latencies_ns).map(move |(index, &latency)| {
        completed += latency;
        Nanos(completed + (u128::from(overhead) * index / count) as u64)
    })
}

/// Inferences on their way to disk.
#[derive(Debug)]
struct SampleLog {
    writer: SoakWriter,
    completed_ns: Vec<u64>,
    latencies_ns: Vec<u64>,
    truncated: bool,
    flushed: Nanos,
}

impl SampleLog {
    fn new(writer: SoakWriter) -> Self {
        let (completed_ns, latencies_ns) = (Vec::new(), Vec::new());
        Self { writer, completed_ns, latencies_ns, truncated: false, flushed: monotonic() }
    }

    fn push(&mut self, completed: Nanos, latency: u64) {
        if self.writer.count() + self.completed_ns.len() as u64 >= MOST_KEPT {
            self.truncated = true;
            return;
        }
        self.completed_ns.push(completed.0);
        self.latencies_ns.push(latency);
    }

    fn flush_when_due(&mut self) -> Result<(), RunError> {
        if monotonic().since(self.flushed) >= SEGMENT { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), RunError> {
        self.flushed = monotonic();
        self.writer.append(&self.completed_ns, &self.latencies_ns)?;
        self.completed_ns.clear();
        self.latencies_ns.clear();
        Ok(())
    }
}
