//! Which points get more iterations, and in which order.
//!
//! A point is dropped only when one other point of its model certainly beats it on every objective. Of the
//! others, those get more that an operating point may still fall on; when the comparison is decided, the
//! chosen point gets more until its P99 is established or given up. Points that nothing chooses are
//! measured to a modest precision and left alone.

use super::estimate::Estimate;
use super::point::PointState;
use super::{Sweep, Task};
use crate::analysis::drift::{Adjusted, BoardStates, Piece};
use crate::point::PointId;
use crate::record::{NotRun, Phase, PointOutcome};
use crate::select::{self, Candidate, Goal, Measure, Score};
use crate::stats::early_stop::{self, Counts, Decision};
use crate::summary::Objective;
use crate::units::Nanos;
use std::collections::BTreeMap;

/// Independent iterations below which P99 has no upper bound.
const LEAST_FOR_P99: f64 = 368.0;

/// Probability of calling a missed deadline met, or a met one missed.
const DEADLINE_ALPHA: f64 = 0.01;

/// Most iterations of a point in a block that only compares.
const GLANCE: u32 = 30;

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
type Needs = BTreeMap<usize, Need>;

/// What a point is to be measured for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Need {
    phase: Phase,
    /// One short piece, beside the others.
    glance: bool,
}

impl Need {
    const RACE: Self = Self { phase: Phase::Race, glance: false };
    const GLANCE: Self = Self { phase: Phase::Race, glance: true };
    const CERTIFY: Self = Self { phase: Phase::Certify, glance: false };
}

impl Sweep {
    /// Queues the next block of the race, or ends the sweep.
    pub(super) fn plan_block(&mut self, now: Nanos) {
        self.reassess();
        self.drop_dominated();
        let needs = self.needs();
        self.reopen(&needs);
        for (index, point) in self.points.iter_mut().enumerate() {
            // A P99 that no time is left for is absent from the profile: the point is measured without it.
            point.content = needs.get(&index).is_none_or(|need| need.phase != Phase::Race);
        }
        let tasks = self.affordable(&needs, now);
        if tasks.is_empty() {
            // Points that still need more are those for which no time is left.
            self.end(NotRun::Budget);
            return;
        }
        self.queue_blocks(tasks);
    }

    /// Takes every point's figures in the board's common state, where it moved or stalled.
    fn reassess(&mut self) {
        let mut pieces: Vec<Piece<'_>> =
            self.points.iter().enumerate().flat_map(|(index, point)| point.pieces(index)).collect();
        pieces.sort_by_key(|piece| piece.from);
        let board = BoardStates::of(&pieces);
        let adjusted: Vec<Adjusted> =
            (0..self.points.len()).map(|index| board.adjusted(&pieces, index)).collect();
        self.moved = board.moved();
        for (point, adjusted) in self.points.iter_mut().zip(adjusted) {
            if self.moved || adjusted.stalls > 0 { point.adjust(adjusted) } else { point.adjust_nothing() }
        }
    }

    /// Splits tasks into short pieces, block by block, so that what is compared is measured close in time.
    fn queue_blocks(&mut self, tasks: Vec<Task>) {
        for mut group in self.groups(tasks) {
            while !group.is_empty() {
                self.block += 1;
                let anchor = self.anchor_task(group.len(), self.block);
                self.rng.shuffle(&mut group);
                self.queue.extend(anchor);
                for task in &mut group {
                    let piece = self.piece(task.index).min(task.iterations);
                    // A rest that is too short for a piece of its own goes along.
                    let rest = task.iterations - piece;
                    let piece = if rest < piece.div_ceil(2) { task.iterations } else { piece };
                    task.iterations -= piece;
                    let time_limit = self.generous_limit(task.index, piece);
                    self.queue.push_back(Task {
                        iterations: piece,
                        block: self.block,
                        time_limit,
                        ..task.clone()
                    });
                }
                group.retain(|task| task.iterations > 0);
            }
        }
    }

    /// Iterations of a point in one block: as few as can be compared where the board moves.
    fn piece(&self, index: usize) -> u32 {
        let time = if self.moved { Nanos(0) } else { self.rules.chunk_time };
        let fits = self.points[index].iterations_within(time, &self.rules);
        fits.max(self.rules.least_chunk)
    }

    /// Open points of one model with their figures.
    fn pool(&self, model: usize) -> Vec<(usize, Candidate)> {
        let open = self.of_model(model).filter(|&index| self.points[index].is_open());
        open.filter_map(|index| Some((index, self.candidate(index, self.points[index].estimate()?))))
            .collect()
    }

    fn of_model(&self, model: usize) -> impl Iterator<Item = usize> {
        let own = move |point: &PointState| self.models.get(usize::from(point.id.variant)) == Some(&model);
        self.points.iter().enumerate().filter(move |(_, point)| own(point)).map(|(index, _)| index)
    }

    /// Points of one model that were dropped, with their figures in the common state and as measured.
    fn dropped(&self, model: usize) -> Vec<(usize, [Candidate; 2])> {
        let figures = |index: usize| {
            let point = &self.points[index];
            let dropped = matches!(point.outcome, Some(PointOutcome::Dominated { .. }));
            let both = [point.estimate()?, point.raw()?];
            dropped.then(|| (index, both.map(|estimate| self.candidate(index, estimate))))
        };
        self.of_model(model).filter_map(figures).collect()
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

    /// Drops what one other point certainly beats on everything, and takes back what on a board that moved is no
    /// longer certain to be beaten.
    fn drop_dominated(&mut self) {
        for model in self.model_indices() {
            let pool = self.pool(model);
            let beaten_by = |index: usize, candidate: &Candidate| {
                let by = pool.iter().find(|(rival, figures)| {
                    *rival != index
                        && self.may_drop(index)
                        && select::certainly_dominates(figures, candidate, 0.0)
                });
                by.map(|(_, by)| by.id)
            };
            let open = pool.iter().map(|(index, candidate)| (*index, beaten_by(*index, candidate)));
            let again = self.dropped(model).into_iter().filter(|_| self.moved);
            let again = again.map(|(index, [candidate, _])| (index, beaten_by(index, &candidate)));
            let found: Vec<(usize, Option<PointId>)> = open.chain(again).collect();
            for (index, by) in found {
                let settled = self.may_drop(index);
                let point = &mut self.points[index];
                point.outcome = by.map(|by| PointOutcome::Dominated { by });
                if settled {
                    point.doubted = None;
                }
            }
        }
    }

    /// A point that was taken back is dropped again only after it ran side by side with the leaders.
    fn may_drop(&self, index: usize) -> bool {
        self.points[index].doubted.is_none_or(|(_, since)| {
            let mut blocks: Vec<u32> =
                self.points[index].shared_blocks().filter(|&block| block > since).collect();
            blocks.dedup();
            blocks.len() >= self.rules.side_by_side as usize
        })
    }

    /// Whether two points were measured in enough blocks together.
    fn side_by_side(&self, one: usize, other: usize) -> bool {
        let others: Vec<u32> = self.points[other].shared_blocks().collect();
        let together = self.points[one].shared_blocks().filter(|block| others.contains(block)).count();
        together >= self.rules.side_by_side as usize
    }

    /// Takes dropped points back that are to be measured again.
    fn reopen(&mut self, needs: &Needs) {
        let block = self.block;
        for &index in needs.keys() {
            let point = &mut self.points[index];
            if let Some(PointOutcome::Dominated { by }) = point.outcome {
                point.doubted = Some((by, block));
                point.outcome = None;
            }
        }
    }

    fn needs(&self) -> Needs {
        let mut needs = Needs::new();
        for model in self.model_indices() {
            let pool = self.pool(model);
            let dropped = self.dropped(model);
            let candidates: Vec<Candidate> = pool.iter().map(|(_, candidate)| candidate.clone()).collect();
            for objective in [Objective::Streaming, Objective::Offline, Objective::Efficiency] {
                let goal = Goal::of(objective, self.deadline, &candidates);
                self.needs_of(goal, &pool, &dropped, &mut needs);
            }
            for &(index, _) in &pool {
                let Some(estimate) = self.points[index].estimate() else { continue };
                let precise = estimate.mean_precision().is_some_and(|half| half <= self.rules.mean_precision);
                if !precise && self.iterations(index) < self.rules.race_iterations / 10 {
                    needs.entry(index).or_insert(Need::RACE);
                }
            }
        }
        needs
    }

    /// What one goal still needs: the contenders until they are told apart, then the winner's P99.
    fn needs_of(
        &self,
        goal: Goal,
        pool: &[(usize, Candidate)],
        dropped: &[(usize, [Candidate; 2])],
        needs: &mut Needs,
    ) {
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
                needs.insert(index, Need::RACE);
            }
            return;
        }
        let rivals = self.rivals(goal, (leader, best), pool, dropped);
        if !rivals.is_empty() {
            for index in rivals.into_iter().chain([leader]) {
                needs.entry(index).or_insert(Need::GLANCE);
            }
            return;
        }
        let candidate = pool.iter().find(|(index, _)| *index == leader).map(|(_, candidate)| candidate);
        let open = match candidate {
            Some(candidate) if goal.has_deadline() => self.deadline(leader, candidate) == Verdict::Open,
            _ => self.p99_is_open(leader),
        };
        if open {
            needs.entry(leader).or_insert(Need::CERTIFY);
        }
    }

    /// The photo finish: points that could still beat the leader, in the common state or as measured, and were
    /// not yet measured side by side with it.
    fn rivals(
        &self,
        goal: Goal,
        (leader, best): (usize, Score),
        pool: &[(usize, Candidate)],
        dropped: &[(usize, [Candidate; 2])],
    ) -> Vec<usize> {
        let could_win = |candidate: &Candidate| {
            let reach =
                goal.score(candidate).map(|score| score.estimate + score.uncertainty().unwrap_or(0.0));
            goal.could_admit(candidate) && reach.is_none_or(|reach| reach > worst(best))
        };
        let open = pool.iter().filter(|(index, candidate)| {
            let raw = self.points[*index].raw().map(|raw| self.candidate(*index, raw));
            could_win(candidate) || raw.is_some_and(|raw| could_win(&raw))
        });
        let dropped = dropped.iter().filter(|(_, figures)| figures.iter().any(could_win));
        let rivals = open.map(|(index, _)| *index).chain(dropped.map(|(index, _)| *index));
        rivals.filter(|&index| index != leader && !self.side_by_side(index, leader)).collect()
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
        let task = |(&index, &need): (&usize, &Need)| {
            let n = self.iterations(index);
            let grown = (f64::from(n) * (self.rules.growth - 1.0)).ceil() as u32;
            let wanted = if need.glance { self.piece(index).min(GLANCE) } else { grown };
            let wanted = wanted.clamp(1, self.rules.certify_iterations);
            let fits = share.map_or(u32::MAX, |share| {
                let build = if self.live.holds(index) { None } else { self.points[index].prepare };
                self.points[index].iterations_within(share.since(build.unwrap_or_default()), &self.rules)
            });
            let worthwhile = n.div_ceil(10).clamp(1, wanted);
            if fits < worthwhile {
                return None;
            }
            let iterations = wanted.min(fits);
            let time_limit = self.generous_limit(index, iterations);
            Some(Task { index, phase: need.phase, lead_in: None, iterations, time_limit, block: 0 })
        };
        needs.iter().filter_map(task).collect()
    }

    /// The anchor's part of a block that holds other points too.
    pub(super) fn anchor_task(&mut self, others: usize, block: u32) -> Option<Task> {
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
        Some(Task { index, phase: Phase::Anchor, lead_in: None, iterations, time_limit, block })
    }

    /// The cheapest open point that has been measured.
    fn choose_anchor(&self) -> Option<usize> {
        let measured = (0..self.points.len())
            .filter(|&index| self.points[index].is_open() && self.points[index].estimate().is_some());
        let cost = |index: &usize| self.points[*index].iteration_ns(&self.rules);
        measured.min_by(|a, b| cost(a).total_cmp(&cost(b)))
    }

    /// One group where all engines fit alive; else neighbours that fit, in an order that every other time is
    /// reversed.
    fn groups(&mut self, mut tasks: Vec<Task>) -> Vec<Vec<Task>> {
        tasks.sort_by_key(|task| self.points[task.index].id);
        let room = self.live.capacity() - usize::from(self.anchor.is_some() && self.live.capacity() > 1);
        let mut groups: Vec<Vec<Task>> = tasks.chunks(room.max(1)).map(<[Task]>::to_vec).collect();
        self.rounds += 1;
        if self.rounds.is_multiple_of(2) {
            groups.reverse();
        }
        groups
    }
}

fn worst(score: Score) -> f64 {
    score.pessimistic.unwrap_or(f64::NEG_INFINITY)
}
