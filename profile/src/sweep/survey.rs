//! The first look at every point: does it run, and roughly how fast.

use super::point::PointState;
use super::rules::Allotment;
use super::{Stage, Sweep, Task};
use crate::plan::Plan;
use crate::point::PointId;
use crate::record::{Cause, Failure, NotRun, Phase, PointOutcome};
use crate::units::Nanos;
use std::collections::VecDeque;

/// Iterations of another look at a slow point.
const LOOK: u32 = 6;

/// An index per variant that is the same for variants of the same model.
pub(super) fn models(plan: &Plan) -> Vec<usize> {
    let of = |variant: &crate::point::Variant| {
        plan.variants.iter().position(|other| other.model == variant.model).unwrap_or(0)
    };
    plan.variants.iter().map(of).collect()
}

/// Ascending in frames per inference, variants in turn: a budget that ends early leaves every variant with
/// its smaller points, and no point is tried before the ones that it covers.
pub(super) fn order(points: &[PointId]) -> VecDeque<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by_key(|&index| {
        let id = points[index];
        (id.shape.frames(), id.shape, id.variant)
    });
    order.into()
}

impl Sweep {
    /// Queues the feasibility step of the next untried point, or goes on to the race.
    pub(super) fn continue_survey(&mut self, now: Nanos) {
        let Some(index) = self.survey.pop_front() else {
            self.finish_survey();
            return;
        };
        if !self.points[index].is_open() {
            return;
        }
        let needed = self.expected(index);
        if self.budget_left(now).is_some_and(|left| left.0 as f64 <= needed) {
            self.points[index].settle(PointOutcome::NotRun { why: NotRun::Budget, because_of: None });
            return;
        }
        let time_limit = self.rules.inference_limit;
        let task =
            Task { index, phase: Phase::Feasibility, lead_in: Some(1), iterations: 0, time_limit, block: 0 };
        self.queue.push_back(task);
    }

    fn finish_survey(&mut self) {
        match self.rules.allotment {
            Allotment::Adaptive => {
                self.stage = Stage::Race;
                self.extend_budget();
            }
            Allotment::Fixed { .. } => self.end(NotRun::Budget),
        }
    }

    /// Time that a first inference will take at least, preparation included, nanoseconds: as much as at the slowest
    /// smaller point.
    fn expected(&self, index: usize) -> f64 {
        let id = self.points[index].id;
        let smaller = self.points.iter().filter(|point| {
            point.feasible && point.id.variant == id.variant && id.shape.covers(point.id.shape)
        });
        let time = |point: &PointState| {
            point.prepare.map_or(0.0, |prepare| prepare.0 as f64) + point.iteration_ns(&self.rules)
        };
        smaller.map(time).fold(0.0, f64::max)
    }

    /// Lets a budget that nobody asked for follow what the pilot measured, so that every point gets another look.
    fn extend_budget(&mut self) {
        let Some(budget) = self.rules.budget else { return };
        let open = self.points.iter().filter(|point| point.is_open());
        let look: f64 = open.map(|point| point.iteration_ns(&self.rules) * f64::from(LOOK)).sum();
        self.extended =
            Nanos(self.clock.0.saturating_add(look as u64).min(budget.0.saturating_mul(self.rules.stretch)));
    }

    /// What follows a point's feasibility, while its engine is alive.
    pub(super) fn queue_first_look(&mut self, index: usize) {
        match self.rules.allotment {
            Allotment::Adaptive => self.queue_pilot(index),
            Allotment::Fixed { .. } => self.queue_fixed(index),
        }
    }

    fn queue_pilot(&mut self, index: usize) {
        let (point, rules) = (&self.points[index], &self.rules);
        let affordable = point.iterations_within(rules.slowest_pilot, rules).max(1);
        let least = rules.least_iterations.min(affordable);
        let most = rules.pilot_iterations.max(least);
        let iterations = point.iterations_within(rules.pilot_time, rules).clamp(least, most);
        let time_limit = self.generous_limit(index, iterations);
        let task = Task { index, phase: Phase::Pilot, lead_in: Some(0), iterations, time_limit, block: 0 };
        self.queue.push_front(task);
    }

    /// Queues the anchor, so that the survey's points can be told from the time at which they were tried.
    pub(super) fn queue_survey_anchor(&mut self) {
        if self.clock.since(self.anchored) < self.rules.anchor_every {
            return;
        }
        let task = self.anchor_task(2, 0);
        self.queue.extend(task);
    }

    /// Queues the next stretch of a fixed count, the warm-up first; settles the point when it is complete.
    pub(super) fn queue_fixed(&mut self, index: usize) {
        let Allotment::Fixed { warm_up, iterations } = self.rules.allotment else { return };
        let point = &self.points[index];
        if !point.is_open() {
            return;
        }
        let most = point.iterations_within(self.rules.fixed_step, &self.rules).clamp(1, 1000);
        let warm_left = warm_up.saturating_sub(point.warmed);
        let left = iterations.saturating_sub(u32::try_from(point.samples.len()).unwrap_or(u32::MAX));
        if left == 0 {
            self.points[index].settle(PointOutcome::Measured);
            return;
        }
        let (lead_in, counted) = if warm_left > 0 { (warm_left.min(most), 0) } else { (0, left.min(most)) };
        self.points[index].warmed += lead_in;
        let time_limit = self.generous_limit(index, lead_in + counted);
        let task = Task {
            index,
            phase: Phase::Fixed,
            lead_in: Some(lead_in),
            iterations: counted,
            time_limit,
            block: 0,
        };
        self.queue.push_front(task);
    }

    /// A limit that ordinary iterations do not reach: ten times their expected time, and a second.
    pub(super) fn generous_limit(&self, index: usize, iterations: u32) -> Nanos {
        let expected = self.points[index].iteration_ns(&self.rules) * f64::from(iterations);
        Nanos((expected * 10.0) as u64 + Nanos::PER_SECOND)
    }

    /// Settles a failed point, and the untried ones that would fail for the same reason.
    pub(super) fn fail(&mut self, index: usize, phase: Phase, failure: &Failure) {
        let id = self.points[index].id;
        self.points[index].settle(PointOutcome::Failed(failure.clone()));
        let why = match failure.cause {
            Cause::OutOfMemory => NotRun::WouldExceedMemory,
            Cause::TimedOut if phase == Phase::Feasibility => NotRun::WouldExceedTime,
            Cause::UnsupportedOperator | Cause::BadModel | Cause::BackendUnavailable => NotRun::VariantFailed,
            _ => return,
        };
        for point in &mut self.points {
            let same = point.id.variant == id.variant;
            let hit = why == NotRun::VariantFailed || point.id.shape.covers(id.shape);
            if same && hit && !point.feasible && point.is_open() {
                point.settle(PointOutcome::NotRun { why, because_of: Some(id) });
            }
        }
    }
}
