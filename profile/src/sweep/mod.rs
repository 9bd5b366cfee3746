//! Decides what to measure next: a deterministic state machine over the points of a plan.
//!
//! Terms: a *step* is one bounded order for one point's engine; the *survey* tries every point once, in
//! ascending size (feasibility) and takes a first look at those that run (pilot); the *race* gives more
//! iterations to the points that may still be chosen, in randomised *blocks*, until the operating points
//! are decided and their P99 is established; the *anchor* is one point repeated in every block, to see the
//! board drift.
//!
//! Every planned point ends with exactly one outcome, whatever fails and whenever the run is stopped.
//! Nothing here measures, waits or reads a clock: the orchestrator asks [`Sweep::next`] with the time since
//! the run's start, carries the step out, and tells [`Sweep::observe`] what came of it.

mod estimate;
mod journal;
mod live;
mod point;
mod race;
mod rules;
mod step;
mod survey;
#[cfg(test)]
mod tests;

pub use journal::{JournalEntry, ReplayError};
pub use rules::{Allotment, SweepRules};
pub use step::{StepResult, SweepStep};

use crate::plan::{Deadline, Plan};
use crate::point::PointId;
use crate::record::{NotRun, Phase, PointOutcome};
use crate::stats::rng::Rng;
use crate::units::Nanos;
use live::LiveEngines;
use point::PointState;
use std::collections::VecDeque;

/// Steps without a single iteration or failure after which a point is given up.
const MOST_FRUITLESS: u32 = 2;

/// The state of a sweep.
#[derive(Debug, Clone)]
pub struct Sweep {
    rules: SweepRules,
    deadline: Deadline,
    /// The model of each variant, as an index: candidates compete within a model.
    models: Vec<usize>,
    points: Vec<PointState>,
    /// Points not yet tried, smallest first.
    survey: VecDeque<usize>,
    queue: VecDeque<Task>,
    pending: Option<(usize, SweepStep)>,
    live: LiveEngines,
    rng: Rng,
    block: u32,
    /// The point of the last step: its engine needs no lead-in.
    last: Option<usize>,
    anchor: Option<usize>,
    /// When the last piece ended, and the anchor's last one.
    clock: Nanos,
    anchored: Nanos,
    moved: bool,
    /// Times that blocks were planned.
    rounds: u32,
    /// A budget that follows what the pilot measured.
    extended: Nanos,
    stage: Stage,
    cancelled: bool,
}

/// How far the sweep is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Survey,
    Race,
    Done,
}

/// Something to be turned into a step.
#[derive(Debug, Clone)]
struct Task {
    index: usize,
    phase: Phase,
    /// Lead-in asked for; `None`: what the engine's state calls for.
    lead_in: Option<u32>,
    iterations: u32,
    time_limit: Nanos,
    block: u32,
}

/// How far a sweep is, for a display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Points with an outcome.
    pub settled: usize,
    /// Points that have been tried.
    pub tried: usize,
    /// Points of the plan.
    pub total: usize,
    /// The block that is being measured; 0 before the race.
    pub block: u32,
    /// Budget left; `None` when unlimited.
    pub budget_left: Option<Nanos>,
}

impl Sweep {
    /// A sweep over `plan`.
    #[must_use]
    pub fn new(plan: &Plan, rules: SweepRules) -> Self {
        let points = plan.points.iter().map(|&id| PointState::new(id)).collect();
        let live = LiveEngines::new(rules.max_live_engines, rules.max_live_memory.map(|bytes| bytes.0));
        Self {
            deadline: plan.deadline,
            models: survey::models(plan),
            points,
            survey: survey::order(&plan.points),
            queue: VecDeque::new(),
            pending: None,
            live,
            rng: Rng::new(rules.seed ^ 0x5eed_0b10_c4ed),
            block: 0,
            last: None,
            anchor: None,
            clock: Nanos(0),
            anchored: Nanos(0),
            moved: false,
            rounds: 0,
            extended: Nanos(0),
            stage: Stage::Survey,
            cancelled: false,
            rules,
        }
    }

    /// The next step, or `None` when the sweep has ended. `now` is the time since the run's start, pauses
    /// between resumed parts left out. The same step is returned until it has been observed.
    pub fn next(&mut self, now: Nanos) -> Option<SweepStep> {
        if self.pending.is_none() {
            self.pending = self.plan_step(now);
        }
        self.pending.as_ref().map(|(_, step)| step.clone())
    }

    fn plan_step(&mut self, now: Nanos) -> Option<(usize, SweepStep)> {
        loop {
            if self.stage != Stage::Done && self.budget_left(now) == Some(Nanos(0)) {
                self.end(NotRun::Budget);
            }
            if self.stage == Stage::Done {
                return None;
            }
            match self.queue.pop_front() {
                Some(task) => {
                    let wanted = self.points[task.index].is_open() || task.phase == Phase::Anchor;
                    if wanted {
                        return Some((task.index, self.step(&task, now)));
                    }
                }
                None if self.stage == Stage::Survey => self.continue_survey(now),
                None => self.plan_block(now),
            }
        }
    }

    /// Takes in what came of the step that [`Sweep::next`] returned. Without such a step, nothing happens.
    pub fn observe(&mut self, result: &StepResult) {
        let Some((index, step)) = self.pending.take() else { return };
        self.last = Some(index);
        self.clock = result.chunk.as_ref().map_or(self.clock, |chunk| chunk.ended);
        let point = &mut self.points[index];
        point.absorb(result);
        if let Some(bytes) = point.peak_memory {
            self.live.set_bytes(index, bytes);
        }
        if let Some(failure) = result.failure.as_ref() {
            self.live.lost(index);
            if step.ran_out_of_budget(failure, self.rules.prepare_limit) {
                self.points[index].cut_off();
            } else if !self.cancelled {
                self.fail(index, step.phase, failure);
            }
            return;
        }
        let fruitless = result.chunk.as_ref().is_none_or(|chunk| chunk.latencies_ns.is_empty());
        if fruitless {
            self.points[index].fruitless += 1;
            if self.points[index].fruitless >= MOST_FRUITLESS {
                self.points[index].settle(PointOutcome::Interrupted);
            }
        }
        self.after_step(index, &step, fruitless);
    }

    fn after_step(&mut self, index: usize, step: &SweepStep, fruitless: bool) {
        match step.phase {
            Phase::Feasibility if !fruitless => {
                self.points[index].feasible = true;
                self.queue_first_look(index);
            }
            Phase::Feasibility if self.points[index].is_open() => self.survey.push_front(index),
            Phase::Fixed => self.queue_fixed(index),
            Phase::Pilot => self.queue_survey_anchor(),
            Phase::Anchor => self.anchored = self.clock,
            _ => {}
        }
    }

    /// Ends the sweep on behalf of the user: nothing new is started. A step that is under way may still be
    /// observed; what it measured is kept.
    pub fn cancel(&mut self) {
        self.cancelled = true;
        self.end(NotRun::Cancelled);
    }

    fn end(&mut self, why: NotRun) {
        self.stage = Stage::Done;
        self.queue.clear();
        for point in &mut self.points {
            let outcome = point.outcome_if_ended(why);
            point.settle(outcome);
        }
    }

    /// What became of every point, in the plan's order. Before the sweep has ended, what would become of it
    /// if the run were stopped now.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(PointId, PointOutcome)> {
        let outcome = |point: &PointState| match &point.outcome {
            Some(outcome) => outcome.clone(),
            None => point.outcome_if_ended(NotRun::Cancelled),
        };
        self.points.iter().map(|point| (point.id, outcome(point))).collect()
    }

    /// Points that will not be run, with the reason and the point whose result ended them.
    #[must_use]
    pub fn skipped(&self) -> Vec<(PointId, NotRun, Option<PointId>)> {
        let skipped = |point: &PointState| match point.outcome {
            Some(PointOutcome::NotRun { why, because_of }) => Some((point.id, why, because_of)),
            _ => None,
        };
        self.points.iter().filter_map(skipped).collect()
    }

    /// How far the sweep is.
    #[must_use]
    pub fn progress(&self, now: Nanos) -> Progress {
        Progress {
            settled: self.points.iter().filter(|point| !point.is_open()).count(),
            tried: self.points.iter().filter(|point| point.feasible || !point.is_open()).count(),
            total: self.points.len(),
            block: self.block,
            budget_left: self.budget_left(now),
        }
    }

    /// Time left in this stage; `None` when unlimited.
    fn budget_left(&self, now: Nanos) -> Option<Nanos> {
        self.budget().map(|budget| budget.since(now))
    }

    /// The budget of this stage, engines' preparation included.
    fn budget(&self) -> Option<Nanos> {
        match self.stage {
            Stage::Survey => self.rules.survey_budget,
            Stage::Race | Stage::Done => self.rules.budget.map(|budget| budget.max(self.extended)),
        }
    }

    /// Longest preparation of a new engine that the budget allows, with a little over it: what is cut off then has
    /// brought nothing.
    fn prepare_limit(&self, now: Nanos) -> Nanos {
        let limit = self.rules.prepare_limit;
        match (self.budget(), self.budget_left(now)) {
            (Some(budget), Some(left)) => limit.min(Nanos(left.0 + budget.0 / 20)),
            _ => limit,
        }
    }

    /// The step for `task`, with the engines that it costs.
    fn step(&mut self, task: &Task, now: Nanos) -> SweepStep {
        let index = task.index;
        let bytes = self.memory_floor(index);
        let (points, anchor) = (&self.points, self.anchor);
        let mut closed =
            self.live.close_finished(|live| live != index && !points[live].is_open() && anchor != Some(live));
        let build = !self.live.holds(index);
        closed.extend(self.live.acquire(index, bytes));
        let lead_in = task.lead_in.unwrap_or_else(|| self.lead_in(index, build));
        let time_limit = match self.budget_left(now) {
            Some(left) => Nanos(task.time_limit.0.min(left.0)),
            None => task.time_limit,
        };
        self.points[index].engines += u32::from(build);
        SweepStep {
            point: self.points[index].id,
            phase: task.phase,
            close: closed.into_iter().map(|closed| self.points[closed].id).collect(),
            build,
            engine: self.points[index].engines.saturating_sub(1),
            lead_in,
            iterations: task.iterations,
            block: task.block,
            time_limit,
            prepare_limit: self.prepare_limit(now),
            inference_limit: self.rules.inference_limit,
        }
    }

    /// Every engine is gone, as after a restart of the daemon.
    fn forget_engines(&mut self) {
        self.live.clear();
        self.last = None;
    }

    /// Iterations that bring an engine back to speed.
    fn lead_in(&self, index: usize, build: bool) -> u32 {
        if !build && self.last == Some(index) {
            return 0;
        }
        let point = &self.points[index];
        let paused = point.iterations_within(self.rules.lead_in, &self.rules).clamp(1, 10);
        if build { paused.max(point.warm_up) } else { paused }
    }

    /// The least memory that the engine can need: its own peak, or that of a smaller point.
    fn memory_floor(&self, index: usize) -> u64 {
        let id = self.points[index].id;
        self.points[index].peak_memory.unwrap_or_else(|| {
            let smaller =
                |point: &&PointState| point.id.variant == id.variant && id.shape.covers(point.id.shape);
            self.points.iter().filter(smaller).filter_map(|point| point.peak_memory).max().unwrap_or(0)
        })
    }
}
