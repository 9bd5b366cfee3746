//! Resuming a sweep: its decisions are a function of what it was told, so telling it again restores it.

use super::{StepResult, Sweep, SweepRules, SweepStep};
use crate::plan::Plan;
use crate::units::Nanos;
use serde::{Deserialize, Serialize};

/// One step that was carried out, as kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Whether the run was resumed just before: the engines of earlier entries are gone.
    pub restarted: bool,
    /// The time at which the step was asked for.
    pub asked: Nanos,
    /// The step.
    pub step: SweepStep,
    /// What came of it.
    pub result: StepResult,
}

/// A journal that does not belong to the plan and rules it is replayed with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "entry {index} of the run's journal is a step that this plan would not have taken: the journal was \
     written for another request or by another version of clipmark; start a new run instead of resuming"
)]
pub struct ReplayError {
    /// The entry, counted from 0.
    pub index: usize,
}

impl Sweep {
    /// A sweep in the state in which `journal` left it. No engine is alive: the next step of every point
    /// builds its engine.
    ///
    /// # Errors
    /// When the journal's steps are not the ones that `plan` and `rules` lead to.
    pub fn replay(plan: &Plan, rules: SweepRules, journal: &[JournalEntry]) -> Result<Self, ReplayError> {
        let mut sweep = Self::new(plan, rules);
        for (index, entry) in journal.iter().enumerate() {
            if entry.restarted {
                sweep.forget_engines();
            }
            if sweep.next(entry.asked).as_ref() != Some(&entry.step) {
                return Err(ReplayError { index });
            }
            sweep.observe(&entry.result);
        }
        sweep.forget_engines();
        Ok(sweep)
    }
}
