//! The loop of a run: ask the sweep, carry the step out, keep what came of it.

use super::capacity::Capacities;
use super::clock::RunClock;
use super::error::RunError;
use super::gate::Reference;
use super::limit::TemperatureLimit;
use super::outputs;
use super::pool::Pool;
use super::sensing::{Sampling, Sensing};
use super::soak::Soak;
use super::variants::RunModel;
use super::watch::{ProgressSink, RunEvent};
use super::{Finished, RunContext, RunEnding};
use crate::record_store::{self, Head, RecordStore, RunEnd};
use crate::worker::clock::monotonic;
use crate::worker::handle::WorkerConfig;
use clipmark_profile::analysis::study;
use clipmark_profile::plan::{Mode, Plan};
use clipmark_profile::point::PointId;
use clipmark_profile::record::PointOutcome;
use clipmark_profile::summary::Profile;
use clipmark_profile::sweep::{JournalEntry, Sweep};
use clipmark_profile::units::Nanos;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest wait for the sampler's first readings.
const FIRST_READINGS: Nanos = Nanos::from_secs(5);
/// Length of a soak that a request asks for without saying how long.
const DEFAULT_SOAK_S: f64 = 1800.0;

/// A run about to begin or to go on.
pub(super) struct Parts<'a> {
    pub(super) head: &'a Head,
    pub(super) models: &'a [RunModel],
    pub(super) settings: WorkerConfig,
    pub(super) setting: &'a RunContext,
    pub(super) store: RecordStore,
    pub(super) sweep: Sweep,
}

/// Carries the parts out. `elapsed` is the time that earlier parts of the run took.
pub(super) fn run(
    parts: Parts<'_>,
    elapsed: Nanos,
    restarted: bool,
    watcher: &mut dyn ProgressSink,
) -> Result<Finished, RunError> {
    let Parts { head, models, settings, setting, mut store, sweep } = parts;
    let plan = &head.header.plan;
    let origin = monotonic().since(elapsed);
    let sensing = if setting.sampler {
        let replayed = setting.simulate.is_some() && setting.root.is_capture();
        let (root, boards) = (&setting.root, &setting.boards);
        let replay_from = replayed.then_some(elapsed);
        Sensing::start(plan, Sampling { root, boards, origin, replay_from, file: store.next_series()? })?
    } else {
        Sensing::Off
    };
    let limit = TemperatureLimit::of(&plan.request);
    let over = AtomicBool::new(false);
    let ending = std::thread::scope(|scope| {
        let now = move || monotonic().since(origin);
        let watch = limit.watch(scope, &sensing, now, Arc::clone(&setting.stop), &over);
        let clock = RunClock::of(&sensing, origin, elapsed);
        let pool = Pool::new(plan, models, settings, &clock, setting.cache_dir.clone());
        let (clock, sensing, limit) = (&clock, &sensing, &limit);
        let mut drive = Drive { plan, setting, clock, restarted, sweep, pool, sensing, limit };
        let ending = drive.all(&mut store, watcher);
        drive.pool.close();
        over.store(true, Ordering::Relaxed);
        watch.iter().for_each(|watch| watch.thread().unpark());
        ending
    })?;
    let sensors = sensing.stop()?;
    let partial = ending != RunEnding::Complete;
    let reason = limit.breach().unwrap_or_else(|| reason(ending).into());
    store.finish(&RunEnd { partial, reason })?;
    let mut record = record_store::read(store.out())?;
    record.sensors = sensors.or(record.sensors);
    let profile = study(&record);
    let series = outputs::write(store.out(), &record, &profile)?;
    Ok(Finished { profile, series, ending })
}

const fn reason(ending: RunEnding) -> &'static str {
    match ending {
        RunEnding::Complete => "the plan was carried out",
        RunEnding::Stopped => "the run was stopped",
        RunEnding::TooHot => "the board reached the temperature limit",
    }
}

/// The points to soak: those of the request on every variant, or the best of each kind that was chosen.
fn soak_points(plan: &Plan, found: impl FnOnce() -> Profile) -> Vec<PointId> {
    let asked = &plan.request.soak_points;
    let mut points = Vec::new();
    if asked.is_empty() {
        let chosen = found().operating_points;
        points.extend(chosen.iter().filter_map(|point| point.chosen.first().copied()));
    } else {
        let variants = 0..u16::try_from(plan.variants.len()).unwrap_or(u16::MAX);
        points
            .extend(variants.flat_map(|variant| asked.iter().map(move |&at| PointId { variant, shape: at })));
    }
    let mut seen = BTreeSet::new();
    points.retain(|&point| seen.insert(point));
    points
}

struct Drive<'a> {
    plan: &'a Plan,
    setting: &'a RunContext,
    clock: &'a RunClock<'a>,
    /// Whether the next step is the first after a resumption.
    restarted: bool,
    sweep: Sweep,
    pool: Pool<'a>,
    sensing: &'a Sensing,
    limit: &'a TemperatureLimit,
}

impl Drive<'_> {
    /// The sweep, then the streams, then the soaks.
    fn all(
        &mut self,
        store: &mut RecordStore,
        watcher: &mut dyn ProgressSink,
    ) -> Result<RunEnding, RunError> {
        let soaks = self.plan.request.mode != Mode::Sweep;
        // Before anything loads the board.
        let reference = if soaks { self.reference() } else { Reference::default() };
        let mut ending = self.sweep(store, watcher)?;
        store.settle(&self.sweep.outcomes())?;
        if self.plan.request.streams.is_some() && ending == RunEnding::Complete {
            let (sensing, limit, clock) = (self.sensing, self.limit, self.clock);
            let stop = self.setting.stop.as_ref();
            let must_end = || must_end(sensing, limit, clock, stop);
            let (plan, limits) = (self.plan, &self.setting.limits);
            ending = Capacities { plan, limits, clock, must_end: &must_end }.run(
                &mut self.pool,
                store,
                watcher,
            )?;
        }
        if soaks && ending == RunEnding::Complete {
            ending = self.soaks(&reference, store, watcher)?;
        }
        if let Some(breach) = self.limit.breach() {
            watcher.tell(&RunEvent::Note(&format!("the run ends: {breach}")));
        }
        Ok(ending)
    }

    fn sweep(
        &mut self,
        store: &mut RecordStore,
        watcher: &mut dyn ProgressSink,
    ) -> Result<RunEnding, RunError> {
        loop {
            let board = self.sensing.board_now();
            if let Some(ending) = self.must_end() {
                self.sweep.cancel();
                return Ok(ending);
            }
            let asked = self.clock.now();
            let Some(step) = self.sweep.next(asked) else { return Ok(RunEnding::Complete) };
            let progress = self.sweep.progress(asked);
            watcher.tell(&RunEvent::Step { step: &step, progress, elapsed: asked, board });
            let (result, news) = self.pool.carry_out(&step);
            self.sweep.observe(&result);
            watcher.tell(&RunEvent::Done { step: &step, result: &result });
            let entry = JournalEntry { restarted: std::mem::take(&mut self.restarted), asked, step, result };
            store.commit(&entry, news)?;
        }
    }

    /// What the board reads at rest, as soon as the sampler has read everything once.
    fn reference(&self) -> Reference {
        let Some(latest) = self.sensing.latest() else { return Reference::default() };
        let until = self.clock.now().0 + FIRST_READINGS.0;
        while !Reference::is_ready(latest)
            && self.clock.now().0 < until
            && !self.setting.stop.load(Ordering::Relaxed)
        {
            self.clock.sleep_until(Nanos(self.clock.now().0 + FIRST_READINGS.0 / 50));
        }
        Reference::take(latest)
    }

    /// Soaks the requested points, or the chosen ones, leaving out what an earlier part of the run soaked.
    fn soaks(
        &mut self,
        reference: &Reference,
        store: &mut RecordStore,
        watcher: &mut dyn ProgressSink,
    ) -> Result<RunEnding, RunError> {
        let record = record_store::read(store.out())?;
        let done = |id: PointId| {
            record.soaks.iter().any(|soak| soak.id == id && soak.outcome == PointOutcome::Measured)
        };
        let length = Nanos((self.plan.request.soak_s.unwrap_or(DEFAULT_SOAK_S) * 1e9) as u64);
        for point in soak_points(self.plan, || study(&record)).into_iter().filter(|&point| !done(point)) {
            let (plan, sensing, clock, limit) = (self.plan, self.sensing, self.clock, self.limit);
            let stop = self.setting.stop.as_ref();
            let soak = Soak { plan, point, length, reference, sensing, clock, stop, limit };
            let ending = soak.run(&mut self.pool, store, watcher)?;
            if ending != RunEnding::Complete {
                return Ok(ending);
            }
        }
        Ok(RunEnding::Complete)
    }

    fn must_end(&self) -> Option<RunEnding> {
        must_end(self.sensing, self.limit, self.clock, &self.setting.stop)
    }
}

fn must_end(
    sensing: &Sensing,
    limit: &TemperatureLimit,
    clock: &RunClock<'_>,
    stop: &AtomicBool,
) -> Option<RunEnding> {
    if limit.look(sensing.latest(), clock.now()).is_some() {
        return Some(RunEnding::TooHot);
    }
    stop.load(Ordering::Relaxed).then_some(RunEnding::Stopped)
}
