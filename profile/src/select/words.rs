//! One sentence per operating point: why it was chosen, and what the next best gives up.

use super::choose::{Choice, Goal, choose};
use super::{ASSUMED_FPS, Candidate};
use crate::point::PointId;
use crate::summary::{Objective, OperatingPoint, Profile};

/// Chooses for one objective and says why.
pub(super) fn operating_point(
    profile: &Profile,
    model: &str,
    objective: Objective,
    candidates: &[Candidate],
) -> OperatingPoint {
    let goal = Goal::of(objective, profile.run.deadline, candidates);
    let choice = choose(goal, candidates);
    let teller = Teller { profile, model, goal, candidates };
    let reason = if choice.chosen.is_empty() { teller.why_none() } else { teller.why(&choice) };
    let chosen = choice.chosen.iter().map(|&index| candidates[index].id).collect();
    OperatingPoint { objective, model: model.to_owned(), chosen, reason: sentence(&reason) }
}

/// With a capital at its start.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

pub(super) struct Teller<'a> {
    pub(super) profile: &'a Profile,
    pub(super) model: &'a str,
    pub(super) goal: Goal,
    pub(super) candidates: &'a [Candidate],
}

impl Teller<'_> {
    fn name(&self, id: PointId) -> String {
        let of_model = self.profile.variants.iter().filter(|variant| variant.model == self.model).count();
        match self.profile.variants.get(usize::from(id.variant)).filter(|_| of_model > 1) {
            Some(variant) => format!("{} of {variant}", id.shape),
            None => id.shape.to_string(),
        }
    }

    pub(super) fn why(&self, choice: &Choice) -> String {
        let best = &self.candidates[choice.chosen[0]];
        let tied: Vec<String> =
            choice.chosen[1..].iter().map(|&index| self.name(self.candidates[index].id)).collect();
        let tie = if tied.is_empty() {
            String::new()
        } else {
            format!(" ({} cannot be told apart from it)", list(&tied))
        };
        let next = match choice.next {
            Some(index) => self.next_best(best, &self.candidates[index]),
            None if tied.is_empty() => "no other point qualifies".to_owned(),
            None => "all other points that qualify are among these".to_owned(),
        };
        format!("{}{tie}; {next}.", self.praise(best, choice.admitted))
    }

    fn praise(&self, best: &Candidate, admitted: usize) -> String {
        let name = self.name(best.id);
        let frames = rate(best.frames_per_s.estimate);
        match self.goal {
            Goal::MostFrames => {
                format!("{name} completes the most frames a second, {frames}{}", self.of_settled())
            }
            Goal::MostFramesPerJoule => format!(
                "{name} needs the least energy per frame, {}{}",
                millijoules(best.energy_per_frame_uj.map_or(0.0, |energy| energy.estimate)),
                self.of_metered()
            ),
            Goal::SmallestShare => format!(
                "no deadline was given, so a stream of {ASSUMED_FPS} frames a second is assumed, the usual rate of \
                 cameras: of the {admitted} of {} points whose P99 is within the time that their clip lasts, {name} has the most headroom, with a \
                 P99 of {} of the {} that its clip lasts ({})",
                self.candidates.len(),
                Bound::of(best).share(best),
                milliseconds(best.deadline_ns),
                self.p99(best),
            ),
            Goal::DeadlineMostFrames | Goal::DeadlineLeastEnergy => format!(
                "{name} {} among the {admitted} of {} points whose P99 is within the deadline with 95 % confidence \
                 ({} of {})",
                match best.energy_per_frame_uj.filter(|_| self.goal == Goal::DeadlineLeastEnergy) {
                    Some(energy) =>
                        format!("needs the least energy per frame, {},", millijoules(energy.estimate)),
                    None => format!("completes the most frames a second, {frames},"),
                },
                self.candidates.len(),
                self.p99(best),
                milliseconds(best.deadline_ns),
            ),
        }
    }

    /// Says among which points, where some have figures without an interval.
    fn of_settled(&self) -> String {
        let settled =
            self.candidates.iter().filter(|candidate| candidate.frames_per_s.lower.is_some()).count();
        among(settled, self.candidates.len(), "enough iterations for an interval")
    }

    /// Says among which points, where some have no energy figure.
    fn of_metered(&self) -> String {
        let metered =
            self.candidates.iter().filter(|candidate| candidate.energy_per_frame_uj.is_some()).count();
        among(metered, self.candidates.len(), "an energy figure")
    }

    /// P99 as far as it is established.
    fn p99(&self, candidate: &Candidate) -> String {
        match candidate.p99_ns {
            Some(p99) => match p99.upper {
                Some(upper) => format!("at most {}", milliseconds(upper)),
                None => format!("about {} with an upper bound not determinable", milliseconds(p99.estimate)),
            },
            None => "not determinable".to_owned(),
        }
    }

    fn next_best(&self, best: &Candidate, next: &Candidate) -> String {
        let name = self.name(next.id);
        let loss = match self.goal {
            Goal::MostFrames | Goal::DeadlineMostFrames => {
                let share = 1.0 - next.frames_per_s.estimate / best.frames_per_s.estimate;
                less_or_unsettled(share, |share| format!("gives up {share} of the throughput"))
            }
            Goal::MostFramesPerJoule | Goal::DeadlineLeastEnergy => {
                match (best.energy_per_frame_uj, next.energy_per_frame_uj) {
                    (Some(best), Some(next)) => {
                        let more = next.estimate / best.estimate - 1.0;
                        less_or_unsettled(more, |more| format!("needs {more} more energy per frame"))
                    }
                    _ => "has no energy figure".to_owned(),
                }
            }
            Goal::SmallestShare => self.next_share(best, next),
        };
        format!("the next best, {name}, {loss}{}", self.gain(best, next))
    }

    /// The next best's share of its clip, as the same kind of figure as the best's.
    fn next_share(&self, best: &Candidate, next: &Candidate) -> String {
        let (own, other) = (Bound::of(best), Bound::of(next));
        if own == other {
            return format!("takes {}", other.share(next));
        }
        format!(
            "takes {} against {}, but how much at most is not determinable from its iterations",
            Bound::Estimate.share(next),
            Bound::Estimate.share(best)
        )
    }

    /// What the next best offers in return, where it does.
    fn gain(&self, best: &Candidate, next: &Candidate) -> String {
        if self.goal == Goal::SmallestShare {
            return String::new();
        }
        match (best.p99_ns, next.p99_ns) {
            (Some(own), Some(other)) if other.estimate < 0.95 * own.estimate => format!(
                " and in return has a P99 of about {} instead of about {}",
                milliseconds(other.estimate),
                milliseconds(own.estimate)
            ),
            _ => String::new(),
        }
    }

    pub(super) fn why_none(&self) -> String {
        if self.candidates.is_empty() {
            return format!("no point of {} was measured; see the failures of its points.", self.model);
        }
        match self.goal {
            Goal::MostFramesPerJoule => self.no_energy(),
            Goal::DeadlineMostFrames | Goal::DeadlineLeastEnergy => {
                format!("no point's P99 is within the deadline with 95 % confidence: {}", self.closest())
            }
            Goal::SmallestShare => format!(
                "no deadline was given, so a stream of {ASSUMED_FPS} frames a second is assumed, the usual rate of \
                 cameras, and no point keeps up with it: {}",
                self.closest()
            ),
            Goal::MostFrames => {
                "no point has enough iterations for this figure; a larger time budget (budget_s) gives them."
                    .to_owned()
            }
        }
    }

    fn no_energy(&self) -> String {
        let has_power = self.profile.power_topology.is_some()
            || self.profile.idle_power_mw.is_some()
            || self.profile.points.iter().any(|point| point.energy.is_some())
            || self.profile.soaks.iter().any(|soak| soak.energy.is_some() || soak.sustained_energy.is_some());
        if has_power {
            "energy per frame is unknown: no point was measured for the 10 s at a stretch that an energy figure takes; \
             a soak, or a larger time budget (budget_s), gives one."
        } else {
            "energy per frame is unknown: no power of the whole board could be read; `clipmarkd probe read` says why."
        }
        .to_owned()
    }

    fn closest(&self) -> String {
        let share =
            |candidate: &Candidate| candidate.p99_share().map_or(f64::INFINITY, |share| share.estimate);
        let closest = self.candidates.iter().min_by(|a, b| share(a).total_cmp(&share(b)));
        let Some((closest, p99)) = closest.and_then(|closest| Some((closest, closest.p99_ns?))) else {
            return "no point has enough iterations for a P99; a larger time budget (budget_s) gives them."
                .to_owned();
        };
        // More iterations narrow an interval; they move no estimate.
        let clip = |candidate: &Candidate| candidate.id.shape.clip();
        let is_shortest = self.candidates.iter().all(|other| clip(other) >= clip(closest));
        let advice = if p99.estimate <= closest.deadline_ns {
            "a larger time budget (budget_s) settles it"
        } else if is_shortest {
            "shorter clips, a lower frame rate or a faster backend would be needed"
        } else {
            // Shorter clips were measured and are further from keeping up.
            "a lower frame rate or a faster backend would be needed"
        };
        format!(
            "the closest, {}, has a P99 of about {} ({}) against {}; {advice}.",
            self.name(closest.id),
            milliseconds(p99.estimate),
            match p99.upper {
                Some(upper) => format!("at most {}", milliseconds(upper)),
                None => "upper bound not determinable".to_owned(),
            },
            milliseconds(closest.deadline_ns),
        )
    }
}

/// Which figure of a P99 a sentence speaks of: the two sides of a comparison are of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Upper,
    Estimate,
}

impl Bound {
    fn of(candidate: &Candidate) -> Self {
        if candidate.p99_ns.is_some_and(|p99| p99.upper.is_some()) { Self::Upper } else { Self::Estimate }
    }

    fn share(self, candidate: &Candidate) -> String {
        let share = candidate.p99_share();
        match (self, share.and_then(|share| share.upper)) {
            (Self::Upper, Some(upper)) => format!("at most {}", percent(upper)),
            _ => format!("about {}", percent(share.map_or(0.0, |share| share.estimate))),
        }
    }
}

fn among(some: usize, all: usize, what: &str) -> String {
    if some == all || some == 0 {
        String::new()
    } else {
        format!(", of the {some} of {all} points with {what}")
    }
}

/// A loss in words; a figure that is better and yet not chosen has no interval to choose it by.
fn less_or_unsettled(share: f64, loss: impl Fn(&str) -> String) -> String {
    if share > 0.0 {
        return loss(&percent(share));
    }
    "looks as good or better, but from too few iterations for an interval".to_owned()
}

pub(super) fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Three significant digits.
pub(super) fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

pub(super) fn milliseconds(ns: f64) -> String {
    format!("{} ms", significant(ns / 1e6))
}

pub(super) fn rate(per_s: f64) -> String {
    significant(per_s)
}

pub(super) fn millijoules(uj: f64) -> String {
    format!("{} mJ", significant(uj / 1e3))
}

fn percent(share: f64) -> String {
    format!("{} %", significant(share * 100.0))
}
