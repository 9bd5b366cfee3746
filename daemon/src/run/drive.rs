//! The loop of a run: ask the sweep, carry the step out, keep what came of it.

use super::error::RunError;
use super::outputs;
use super::pool::Pool;
use super::sensing::Sensing;
use super::subjects::RunModel;
use super::watch::{BoardNow, News, Watcher};
use super::{Ending, Finished, Setting};
use crate::record_store::{self, Head, RecordStore, RunEnd};
use crate::worker::clock::monotonic;
use crate::worker::handle::Settings;
use clipmark_profile::analysis::study;
use clipmark_profile::plan::{Mode, Plan};
use clipmark_profile::sweep::{JournalEntry, Sweep};
use clipmark_profile::units::{MilliCelsius, Nanos};
use std::sync::atomic::Ordering;

/// A run about to begin or to go on.
pub(super) struct Parts<'a> {
    pub(super) head: &'a Head,
    pub(super) models: &'a [RunModel],
    pub(super) settings: Settings,
    pub(super) setting: &'a Setting,
    pub(super) store: RecordStore,
    pub(super) sweep: Sweep,
}

/// Carries the parts out. `elapsed` is the time that earlier parts of the run took.
pub(super) fn run(
    parts: Parts<'_>,
    elapsed: Nanos,
    restarted: bool,
    watcher: &mut dyn Watcher,
) -> Result<Finished, RunError> {
    let Parts { head, models, settings, setting, mut store, sweep } = parts;
    let plan = &head.header.plan;
    let origin = monotonic().since(elapsed);
    let sensing = if setting.sampler {
        Sensing::start(&setting.root, &setting.boards, plan, origin, store.next_series()?)?
    } else {
        Sensing::off()
    };
    let pool = Pool::new(plan, models, settings, origin)
        .with_options(setting.options.clone(), setting.cache_dir.clone());
    let mut drive = Drive { plan, setting, origin, restarted, sweep, pool, sensing: &sensing };
    let ending = match plan.request.mode {
        Mode::Sweep | Mode::Auto => drive.sweep(&mut store, watcher)?,
        Mode::Soak => Ending::Complete,
    };
    store.settle(&drive.sweep.outcomes())?;
    drive.pool.close();
    drop(drive);
    let sensors = sensing.stop()?;
    let partial = ending != Ending::Complete;
    store.finish(&RunEnd { partial, reason: reason(ending).into() })?;
    let mut record = record_store::read(store.out())?;
    record.sensors = sensors.or(record.sensors);
    let profile = study(&record);
    outputs::write(store.out(), &record, &profile)?;
    Ok(Finished { profile, ending })
}

const fn reason(ending: Ending) -> &'static str {
    match ending {
        Ending::Complete => "the plan was carried out",
        Ending::Stopped => "the run was stopped",
        Ending::TooHot => "the board reached the abort temperature",
    }
}

struct Drive<'a> {
    plan: &'a Plan,
    setting: &'a Setting,
    origin: Nanos,
    /// Whether the next step is the first after a resumption.
    restarted: bool,
    sweep: Sweep,
    pool: Pool<'a>,
    sensing: &'a Sensing,
}

impl Drive<'_> {
    fn now(&self) -> Nanos {
        monotonic().since(self.origin)
    }

    fn sweep(&mut self, store: &mut RecordStore, watcher: &mut dyn Watcher) -> Result<Ending, RunError> {
        loop {
            let board = self.sensing.board_now();
            if let Some(ending) = self.must_end(board) {
                self.sweep.cancel();
                return Ok(ending);
            }
            let asked = self.now();
            let Some(step) = self.sweep.next(asked) else { return Ok(Ending::Complete) };
            let progress = self.sweep.progress(asked);
            watcher.tell(&News::Step { step: &step, progress, elapsed: asked, board });
            let (result, news) = self.pool.carry_out(&step);
            self.sweep.observe(&result);
            watcher.tell(&News::Done { step: &step, result: &result });
            let entry = JournalEntry { restarted: std::mem::take(&mut self.restarted), asked, step, result };
            store.commit(&entry, news)?;
        }
    }

    fn must_end(&self, board: BoardNow) -> Option<Ending> {
        if self.setting.stop.load(Ordering::Relaxed) {
            return Some(Ending::Stopped);
        }
        let limit = MilliCelsius((self.plan.request.abort_celsius? * 1e3) as i32);
        board.hottest.is_some_and(|hottest| hottest >= limit).then_some(Ending::TooHot)
    }
}
