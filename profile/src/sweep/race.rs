//! Which points get more iterations, and in which order.
//!
//! A point is dropped only when one other point of its model certainly beats it on every objective. Of the
//! others, those get more that an operating point may still fall on; when the comparison is decided, the
//! chosen point gets more until its P99 is established or given up. Points that nothing chooses are
//! measured to a modest precision and left alone.

use super::estimate::Estimate;
use super::{Sweep, Task};
use crate::record::{NotRun, Phase, PointOutcome};
use crate::select::{self, Candidate, Goal, Measure, Score};
use crate::stats::early_stop::{self, Counts, Decision};
use crate::summary::Objective;
use crate::units::Nanos;
use std::collections::BTreeMap;

/// Drift of the anchor that counts as noise.
const DRIFT_FLOOR: f64 = 0.03;

/// Independent iterations below which P99 has no upper bound.
const LEAST_FOR_P99: f64 = 368.0;

/// Probability of calling a missed deadline met, or a met one missed.
const DEADLINE_ALPHA: f64 = 0.01;

/// Time of one anchor chunk.
const ANCHOR_TIME: Nanos = Nanos(50_000_000);

/// What is known about meeting a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Open,
    Yes,
    No,
}

/// Points by index, with what they are to be measured for.
type Needs = BTreeMap<usize, Phase>;

impl Sweep {
    /// Queues the next block of the race, or ends the sweep.
    pub(super) fn plan_block(&mut self, now: Nanos) {
        self.drop_dominated();
        let needs = self.needs();
        for (index, point) in self.points.iter_mut().enumerate() {
            // A P99 that no time is left for is absent from the profile: the point is measured without it.
            point.content = needs.get(&index) != Some(&Phase::Race);
        }
        let tasks = self.affordable(&needs, now);
        if tasks.is_empty() {
            // Points that still need more are those for which no time is left.
            self.end(NotRun::Budget);
            return;
        }
        self.block += 1;
        let anchor = self.anchor_task(tasks.len());
        let ordered = self.in_block_order(tasks);
        self.queue.extend(anchor.into_iter().chain(ordered));
    }

    /// Open points of one model with their figures.
    fn pool(&self, model: usize) -> Vec<(usize, Candidate)> {
        let open = self.points.iter().enumerate().filter(|(_, point)| {
            point.is_open() && self.models.get(usize::from(point.id.variant)) == Some(&model)
        });
        open.filter_map(|(index, point)| Some((index, self.candidate(index, point.estimate()?)))).collect()
    }

    fn candidate(&self, index: usize, estimate: &Estimate) -> Candidate {
        let point = &self.points[index];
        Candidate {
            id: point.id,
            deadline_ns: select::deadline_ns(self.deadline, point.id.shape),
            p99_ns: Some(Measure {
                estimate: estimate.p99,
                lower: estimate.p99_lower,
                upper: Some(estimate.provisional_p99_upper()),
            }),
            frames_per_s: estimate.frames_per_s(),
            energy_per_frame_uj: estimate.energy_per_frame(self.rules.power_uncertainty),
            peak_memory_bytes: point.peak_memory.map(|bytes| bytes as f64),
        }
    }

    fn model_indices(&self) -> Vec<usize> {
        let mut models = self.models.clone();
        models.sort_unstable();
        models.dedup();
        models
    }

    fn drop_dominated(&mut self) {
        let slack = self.drift();
        for model in self.model_indices() {
            let pool = self.pool(model);
            for (index, candidate) in &pool {
                let by = pool.iter().find(|(rival, figures)| {
                    rival != index && select::certainly_dominates(figures, candidate, slack)
                });
                if let Some((_, by)) = by {
                    self.points[*index].settle(PointOutcome::Dominated { by: by.id });
                }
            }
        }
    }

    /// How much the anchor's latency varied from block to block, as a share; 0 within its noise.
    pub(super) fn drift(&self) -> f64 {
        let Some(anchor) = self.anchor else { return 0.0 };
        let levels = || self.points[anchor].anchor.iter().map(|&(_, median)| median);
        let (least, most) = (levels().fold(f64::INFINITY, f64::min), levels().fold(0.0, f64::max));
        let drift = if least > 0.0 && least.is_finite() { most / least - 1.0 } else { 0.0 };
        if drift > DRIFT_FLOOR { drift } else { 0.0 }
    }

    fn needs(&self) -> Needs {
        let mut needs = Needs::new();
        for model in self.model_indices() {
            let pool = self.pool(model);
            let candidates: Vec<Candidate> = pool.iter().map(|(_, candidate)| candidate.clone()).collect();
            for objective in [Objective::Streaming, Objective::Offline, Objective::Efficiency] {
                let goal = Goal::of(objective, self.deadline, &candidates);
                self.needs_of(goal, &pool, &mut needs);
            }
            for &(index, _) in &pool {
                let Some(estimate) = self.points[index].estimate() else { continue };
                let precise = estimate.mean_precision().is_some_and(|half| half <= self.rules.mean_precision);
                if !precise && self.iterations(index) < self.rules.race_iterations / 10 {
                    needs.entry(index).or_insert(Phase::Race);
                }
            }
        }
        needs
    }

    /// What one goal still needs: the contenders until they are told apart, then the winner's P99.
    fn needs_of(&self, goal: Goal, pool: &[(usize, Candidate)], needs: &mut Needs) {
        let mut scored: Vec<(usize, Score)> = pool
            .iter()
            .filter(|(index, candidate)| {
                !goal.has_deadline() || self.deadline(*index, candidate) != Verdict::No
            })
            .filter_map(|(index, candidate)| Some((*index, self.cautious_score(goal, candidate)?)))
            .collect();
        scored.sort_by(|a, b| worst(b.1).total_cmp(&worst(a.1)));
        let Some((&(leader, best), rest)) = scored.split_first() else { return };
        let contenders: Vec<usize> = rest
            .iter()
            .filter(|(index, score)| self.undecided(goal, (leader, best), (*index, *score)))
            .map(|c| c.0)
            .collect();
        if !contenders.is_empty() {
            for index in contenders.into_iter().chain([leader]).filter(|&index| self.may_race(index)) {
                needs.entry(index).or_insert(Phase::Race);
            }
            return;
        }
        let candidate = pool.iter().find(|(index, _)| *index == leader).map(|(_, candidate)| candidate);
        let open = match candidate {
            Some(candidate) if goal.has_deadline() => self.deadline(leader, candidate) == Verdict::Open,
            _ => self.p99_is_open(leader),
        };
        if open {
            needs.insert(leader, Phase::Certify);
        }
    }

    /// A score whose uncertainty is honest about P99 before its upper bound is determinable: then it is at
    /// least the distance to the lower bound.
    fn cautious_score(&self, goal: Goal, candidate: &Candidate) -> Option<Score> {
        let score = goal.score(candidate)?;
        if goal != Goal::SmallestShare {
            return Some(score);
        }
        let share = candidate.p99_share()?;
        let below = share.estimate - share.lower?;
        let above = score.uncertainty().unwrap_or(0.0);
        Some(Score { pessimistic: Some(score.estimate - above.max(below)), ..score })
    }

    fn iterations(&self, index: usize) -> u32 {
        u32::try_from(self.points[index].samples.len()).unwrap_or(u32::MAX)
    }

    fn may_race(&self, index: usize) -> bool {
        self.iterations(index) < self.rules.race_iterations
    }

    /// Whether more iterations should decide between the leader and another point.
    fn undecided(&self, goal: Goal, leader: (usize, Score), other: (usize, Score)) -> bool {
        if !self.may_race(leader.0) && !self.may_race(other.0) {
            return false;
        }
        let scale = leader.1.estimate.abs();
        let difference = leader.1.estimate - other.1.estimate;
        let (Some(own), Some(others)) = (leader.1.uncertainty(), other.1.uncertainty()) else { return true };
        let spread = own.hypot(others);
        let matters = match goal {
            Goal::SmallestShare => self.rules.p99_width / 2.0,
            _ => self.rules.epsilon,
        };
        let separate = difference > spread;
        let tied = difference.abs() <= matters * scale && spread <= matters * scale;
        !separate && !tied
    }

    /// Whether a point meets its deadline at P99.
    fn deadline(&self, index: usize, candidate: &Candidate) -> Verdict {
        let Some(estimate) = self.points[index].estimate() else { return Verdict::Open };
        let budget = candidate.deadline_ns;
        let rule = early_stop::Rule {
            over_rate: 0.01,
            alpha: DEADLINE_ALPHA,
            max_iterations: (f64::from(self.rules.certify_iterations) / estimate.tau) as u64,
        };
        let counts = Counts::of(self.points[index].steady(), budget as u64).deflated(estimate.tau);
        let bounded = estimate.p99_upper.is_some_and(|upper| upper <= budget);
        match rule.decide(counts) {
            Decision::Pass if bounded => Verdict::Yes,
            Decision::Pass | Decision::Continue if self.p99_is_affordable(index, estimate) => Verdict::Open,
            _ => Verdict::No,
        }
    }

    fn p99_is_open(&self, index: usize) -> bool {
        let Some(estimate) = self.points[index].estimate() else { return true };
        match (estimate.p99_lower, estimate.p99_upper) {
            (Some(lower), Some(upper)) => {
                upper - lower > self.rules.p99_width * estimate.p99 && self.may_race(index)
            }
            _ => self.p99_is_affordable(index, estimate),
        }
    }

    /// Futility: whether the iterations that an upper bound needs are within the rules.
    fn p99_is_affordable(&self, index: usize, estimate: &Estimate) -> bool {
        let most = f64::from(self.rules.certify_iterations);
        let hopeless = estimate.n >= 200 && estimate.tau * LEAST_FOR_P99 > most;
        self.iterations(index) < self.rules.certify_iterations && !hopeless
    }

    /// Turns needs into tasks, leaving out points for which the time left allows too little.
    fn affordable(&self, needs: &Needs, now: Nanos) -> Vec<Task> {
        let share = self.budget_left(now).map(|left| Nanos(left.0 / (2 * needs.len().max(1) as u64)));
        let task = |(&index, &phase): (&usize, &Phase)| {
            let n = self.iterations(index);
            let grown = (f64::from(n) * (self.rules.growth - 1.0)).ceil() as u32;
            let wanted = grown.clamp(1, self.rules.certify_iterations);
            let fits =
                share.map_or(u32::MAX, |share| self.points[index].iterations_within(share, &self.rules));
            let worthwhile = n.div_ceil(10).clamp(1, wanted);
            if fits < worthwhile {
                return None;
            }
            let iterations = wanted.min(fits);
            let time_limit = self.generous_limit(index, iterations);
            Some(Task { index, phase, lead_in: None, iterations, time_limit })
        };
        needs.iter().filter_map(task).collect()
    }

    /// The anchor's part of a block that holds other points too.
    fn anchor_task(&mut self, others: usize) -> Option<Task> {
        if others < 2 || self.live.capacity() < 2 {
            return None;
        }
        let index = match self.anchor {
            Some(index) => index,
            None => self.choose_anchor()?,
        };
        if matches!(self.points[index].outcome, Some(PointOutcome::Failed(_))) {
            return None;
        }
        self.anchor = Some(index);
        self.live.pin(self.anchor);
        let iterations = self.points[index].iterations_within(ANCHOR_TIME, &self.rules).clamp(5, 15);
        let time_limit = self.generous_limit(index, iterations);
        Some(Task { index, phase: Phase::Anchor, lead_in: None, iterations, time_limit })
    }

    /// The cheapest open point that has been measured.
    fn choose_anchor(&self) -> Option<usize> {
        let measured = (0..self.points.len())
            .filter(|&index| self.points[index].is_open() && self.points[index].estimate().is_some());
        let cost = |index: &usize| self.points[*index].iteration_ns(&self.rules);
        measured.min_by(|a, b| cost(a).total_cmp(&cost(b)))
    }

    /// Random order where all engines fit alive; else groups of neighbours that fit, in an order that every
    /// other block reverses, random within.
    fn in_block_order(&mut self, mut tasks: Vec<Task>) -> Vec<Task> {
        tasks.sort_by_key(|task| self.points[task.index].id);
        let room = self.live.capacity() - usize::from(self.anchor.is_some() && self.live.capacity() > 1);
        let mut groups: Vec<Vec<Task>> = tasks.chunks(room.max(1)).map(<[Task]>::to_vec).collect();
        for group in &mut groups {
            self.rng.shuffle(group);
        }
        if self.block.is_multiple_of(2) {
            groups.reverse();
        }
        groups.into_iter().flatten().collect()
    }
}

fn worst(score: Score) -> f64 {
    score.pessimistic.unwrap_or(f64::NEG_INFINITY)
}
