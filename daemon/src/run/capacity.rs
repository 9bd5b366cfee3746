//! How many streams the board sustains: loads are offered to parallel engines until the search is over.
//!
//! Which points, which loads and what they mean is decided in [`clipmark_profile::analysis::capacity`] and
//! [`clipmark_profile::streams`]. A load lies on disk before the next one is offered; a run that was cut off goes on
//! with the search from its loads.

use super::clock::RunClock;
use super::pool::Pool;
use super::watch::{ProgressSink, RunEvent};
use super::{RunEnding, RunError};
use crate::record_store::{self, RecordStore};
use crate::worker::handle::{Trouble, Worker};
use crate::worker::protocol::LoadOrder;
use clipmark_profile::analysis::capacity::{self, Target};
use clipmark_profile::analysis::study;
use clipmark_profile::axis::Axis;
use clipmark_profile::plan::{Limits, Plan};
use clipmark_profile::record::{Failure, LoadEvidence};
use clipmark_profile::streams::search::{Effort, Trial};
use clipmark_profile::streams::verdict::{self, LoadFigures, Verdict};
use clipmark_profile::streams::{Load, Served, Servers};
use clipmark_profile::units::Nanos;

/// The searches of a run.
pub(super) struct Capacities<'a> {
    pub(super) plan: &'a Plan,
    pub(super) limits: &'a Limits,
    pub(super) clock: &'a RunClock<'a>,
    /// Why the run must end now, if it must.
    pub(super) must_end: &'a dyn Fn() -> Option<RunEnding>,
}

/// How one load ended.
enum Offered {
    Kept(Box<LoadEvidence>),
    Stopped,
}

impl Capacities<'_> {
    /// Searches every target, leaving out what an earlier part of the run did.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub(super) fn run(
        &self,
        pool: &mut Pool<'_>,
        store: &mut RecordStore,
        watcher: &mut dyn ProgressSink,
    ) -> Result<RunEnding, RunError> {
        let record = record_store::read(store.out())?;
        for target in capacity::targets(&study(&record), &self.plan.request) {
            let ending = self.search(&target, &record.loads, pool, store, watcher)?;
            if ending != RunEnding::Complete {
                return Ok(ending);
            }
        }
        Ok(RunEnding::Complete)
    }

    fn search(
        &self,
        target: &Target,
        before: &[LoadEvidence],
        pool: &mut Pool<'_>,
        store: &mut RecordStore,
        watcher: &mut dyn ProgressSink,
    ) -> Result<RunEnding, RunError> {
        if before.iter().any(|load| target.is_of(load) && load.failure.is_some()) {
            return Ok(RunEnding::Complete);
        }
        let mut search = target.search(&self.plan.request, self.limits.most(Axis::Streams), before);
        let mut worker = None;
        while let Some(trial) = search.next() {
            if let Some(ending) = (self.must_end)() {
                return Ok(ending);
            }
            let offered = self.offer(target, trial, &mut worker, pool);
            let Offered::Kept(load) = offered else {
                return Ok((self.must_end)().unwrap_or(RunEnding::Stopped));
            };
            store.append_load(&load)?;
            let figures = verdict::judge(&load.served);
            watcher.tell(&RunEvent::Note(&self.told(target, trial, &figures, load.failure.as_ref())));
            if load.failure.is_some() {
                break;
            }
            search.observe(trial, &figures);
        }
        Ok(RunEnding::Complete)
    }

    /// Offers the load of `trial` to the engines in `worker`, which are built first where there are none.
    fn offer(
        &self,
        target: &Target,
        trial: Trial,
        worker: &mut Option<Worker>,
        pool: &mut Pool<'_>,
    ) -> Offered {
        let request = &self.plan.request;
        let Some((load, length)) = capacity::offer(request, target, trial) else { return Offered::Stopped };
        let now = self.clock.now();
        let servers = Servers { instances: target.instances, batch: target.id.shape.batch() };
        let failed = |failure: Failure| {
            let served = Served { load, servers, clips: Vec::new(), inferences: Vec::new() };
            let failure = Some(failure);
            let (id, effort) = (target.id, trial.effort);
            Offered::Kept(Box::new(LoadEvidence { id, effort, started: now, ended: now, served, failure }))
        };
        let engines = match worker {
            Some(engines) => engines,
            None => match pool.parallel(target.id, target.instances) {
                Ok(engines) => worker.insert(engines),
                Err(Trouble::Stopped) => return Offered::Stopped,
                Err(Trouble::Failed(failure)) => return failed(failure),
            },
        };
        match self.serve(engines, target, trial, servers, load, length) {
            Ok(evidence) => Offered::Kept(Box::new(evidence)),
            Err(Trouble::Stopped) => Offered::Stopped,
            Err(Trouble::Failed(failure)) => failed(failure),
        }
    }

    fn serve(
        &self,
        engines: &mut Worker,
        target: &Target,
        trial: Trial,
        servers: Servers,
        load: Load,
        length: Nanos,
    ) -> Result<LoadEvidence, Trouble> {
        let inference_limit = Nanos((self.plan.request.inference_limit_s * 1e9) as u64);
        let order = LoadOrder { load, batch: servers.batch, length, inference_limit };
        let answer = engines.serve(&order)?;
        let [started, ended] = self.clock.place_span([answer.started, answer.ended]);
        let clips = clipmark_profile::streams::arrivals::of_load(&load, length);
        let served = Served { load, servers, clips, inferences: answer.inferences };
        Ok(LoadEvidence {
            id: target.id,
            effort: trial.effort,
            started,
            ended,
            served,
            failure: answer.failure,
        })
    }

    fn told(
        &self,
        target: &Target,
        trial: Trial,
        figures: &LoadFigures,
        failure: Option<&Failure>,
    ) -> String {
        let variant = &self.plan.variants[usize::from(target.id.variant)];
        let shape = target.id.shape.with(Axis::Streams, trial.streams).unwrap_or(target.id.shape);
        let what = match trial.effort {
            Effort::Probe => "probed",
            Effort::Certify => "certified",
            Effort::Extend => "certified longer",
        };
        let outcome = match (failure, figures.verdict, trial.effort) {
            (Some(failure), ..) => format!("failed: {}", failure.message),
            (None, Verdict::Fails, _) => "not sustained".into(),
            (None, Verdict::Holds, _) => "sustained".into(),
            (None, _, Effort::Probe) if figures.looks_sustained() => "looks sustained".into(),
            (None, _, Effort::Probe) => "looks not sustained".into(),
            (None, ..) => "undecided".into(),
        };
        let reason = figures.reason.as_ref().filter(|_| failure.is_none() && trial.effort.is_certified());
        let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
        format!("streams {}/{} {shape}, {what}: {outcome}{reason}", variant.model, variant.backend)
    }
}
