//! The choice itself: constraint, ranking, ties.

use super::{Candidate, EPSILON, Measure};
use crate::plan::Deadline;
use crate::summary::Objective;

/// What is sought, with everything that the data on hand decide about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Meet the budget at P99 with the least energy per frame.
    DeadlineLeastEnergy,
    /// Meet the budget at P99 with the most frames a second, for want of power readings.
    DeadlineMostFrames,
    /// The smallest P99 as a share of the budget, for want of a deadline.
    SmallestShare,
    /// The most frames a second.
    MostFrames,
    /// The most frames a joule.
    MostFramesPerJoule,
}

impl Goal {
    /// The goal of `objective` among `candidates`.
    #[must_use]
    pub fn of(objective: Objective, deadline: Deadline, candidates: &[Candidate]) -> Self {
        match objective {
            Objective::Offline | Objective::SustainedOffline => Self::MostFrames,
            Objective::Efficiency | Objective::SustainedEfficiency => Self::MostFramesPerJoule,
            // A board that names objectives of its own has also chosen for them.
            Objective::Streaming | Objective::SustainedStreaming | Objective::Unknown => match deadline {
                Deadline::None => Self::SmallestShare,
                _ if candidates.iter().all(|candidate| candidate.energy_per_frame_uj.is_some()) => {
                    Self::DeadlineLeastEnergy
                }
                _ => Self::DeadlineMostFrames,
            },
        }
    }

    /// Whether the budget is a constraint of this goal.
    #[must_use]
    pub const fn has_deadline(self) -> bool {
        matches!(self, Self::DeadlineLeastEnergy | Self::DeadlineMostFrames)
    }

    /// How well `candidate` does, constraint aside; `None` where the figure is missing.
    #[must_use]
    pub fn score(self, candidate: &Candidate) -> Option<Score> {
        match self {
            Self::SmallestShare => candidate.p99_share().map(Score::less_is_better),
            Self::MostFrames | Self::DeadlineMostFrames => {
                Some(Score::more_is_better(candidate.frames_per_s))
            }
            Self::MostFramesPerJoule | Self::DeadlineLeastEnergy => {
                candidate.energy_per_frame_uj.map(Score::less_is_better)
            }
        }
    }

    /// Whether `candidate` may yet turn out to keep the constraint.
    #[must_use]
    pub fn could_admit(self, candidate: &Candidate) -> bool {
        let share = candidate.p99_share().and_then(|share| share.lower);
        let has_limit = self.has_deadline() || self == Self::SmallestShare;
        !has_limit || share.is_none_or(|share| share <= 1.0)
    }

    /// Whether `candidate` may be chosen: its P99 is below the budget with confidence.
    #[must_use]
    pub fn admits(self, candidate: &Candidate) -> bool {
        let share = candidate.p99_share();
        let upper = share.and_then(|share| share.upper);
        match self {
            _ if self.has_deadline() => upper.is_some_and(|upper| upper <= 1.0),
            // The stream is assumed: what is known must do, but a point that cannot keep up is never named.
            Self::SmallestShare => share.is_some_and(|share| upper.unwrap_or(share.estimate) <= 1.0),
            _ => true,
        }
    }
}

/// How well a candidate does: more is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The figure, negated where less is better.
    pub estimate: f64,
    /// The worse end of its interval.
    pub pessimistic: Option<f64>,
}

impl Score {
    fn more_is_better(measure: Measure) -> Self {
        Self { estimate: measure.estimate, pessimistic: measure.lower }
    }

    fn less_is_better(measure: Measure) -> Self {
        Self { estimate: -measure.estimate, pessimistic: measure.upper.map(|upper| -upper) }
    }

    /// Distance from the figure to its worse end.
    #[must_use]
    pub fn uncertainty(self) -> Option<f64> {
        self.pessimistic.map(|end| (self.estimate - end).abs())
    }

    /// Determined scores first, then the better pessimistic end, then the better estimate.
    fn ranks_before(self, other: Self) -> std::cmp::Ordering {
        let known = other.pessimistic.is_some().cmp(&self.pessimistic.is_some());
        let worst = |score: Self| score.pessimistic.unwrap_or(score.estimate);
        known.then(worst(other).total_cmp(&worst(self))).then(other.estimate.total_cmp(&self.estimate))
    }

    /// Whether `self` and `other` differ by less than matters, or than their uncertainties resolve.
    #[must_use]
    pub fn ties_with(self, other: Self) -> bool {
        let difference = (self.estimate - other.estimate).abs();
        if difference <= EPSILON * self.estimate.abs() {
            return true;
        }
        match (self.uncertainty(), other.uncertainty()) {
            (Some(own), Some(others)) => difference <= own.hypot(others),
            _ => false,
        }
    }
}

/// A choice among candidates, by their index.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// The best, and those that tie with it; best estimate first.
    pub chosen: Vec<usize>,
    /// The best of the rest.
    pub next: Option<usize>,
    /// How many candidates met the constraint.
    pub admitted: usize,
}

/// Chooses among `candidates`.
#[must_use]
pub fn choose(goal: Goal, candidates: &[Candidate]) -> Choice {
    let mut ranked: Vec<(usize, Score)> = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| goal.admits(candidate))
        .filter_map(|(index, candidate)| Some((index, goal.score(candidate)?)))
        .collect();
    ranked.sort_by(|a, b| a.1.ranks_before(b.1));
    let Some(&(_, best)) = ranked.first() else { return Choice::default() };
    let admitted = ranked.len();
    let (mut tied, rest): (Vec<_>, Vec<_>) =
        ranked.into_iter().partition(|(_, score)| best.ties_with(*score));
    tied.sort_by(|a, b| b.1.estimate.total_cmp(&a.1.estimate));
    let chosen = tied.into_iter().map(|(index, _)| index).collect();
    Choice { chosen, next: rest.first().map(|&(index, _)| index), admitted }
}
