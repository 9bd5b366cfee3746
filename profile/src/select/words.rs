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

struct Teller<'a> {
    profile: &'a Profile,
    model: &'a str,
    goal: Goal,
    candidates: &'a [Candidate],
}

impl Teller<'_> {
    fn name(&self, id: PointId) -> String {
        let of_model = self.profile.variants.iter().filter(|variant| variant.model == self.model).count();
        match self.profile.variants.get(usize::from(id.variant)).filter(|_| of_model > 1) {
            Some(variant) => format!("{} of {variant}", id.shape),
            None => id.shape.to_string(),
        }
    }

    fn why(&self, choice: &Choice) -> String {
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
        let frames = best.frames_per_s;
        match self.goal {
            Goal::MostFrames => {
                format!("{name} completes the most frames a second, {}", rate(frames.estimate))
            }
            Goal::MostFramesPerJoule => format!(
                "{name} needs the least energy per frame, {}",
                millijoules(best.energy_per_frame_uj.map_or(0.0, |energy| energy.estimate))
            ),
            Goal::SmallestShare => format!(
                "no deadline was given, so a stream of {ASSUMED_FPS} frames a second is assumed, the usual \
                 rate of cameras: the P99 of {name}, {}, takes the smallest share, {}, of the {} that its \
                 clip lasts",
                self.p99(best),
                percent(best.p99_share().map_or(0.0, |share| share.upper.unwrap_or(share.estimate))),
                milliseconds(best.deadline_ns),
            ),
            Goal::DeadlineMostFrames | Goal::DeadlineLeastEnergy => format!(
                "{name} {} among the {admitted} of {} points whose P99 is within the deadline with 95 % \
                 confidence ({} of {})",
                match best.energy_per_frame_uj.filter(|_| self.goal == Goal::DeadlineLeastEnergy) {
                    Some(energy) =>
                        format!("needs the least energy per frame, {},", millijoules(energy.estimate)),
                    None => format!("completes the most frames a second, {},", rate(frames.estimate)),
                },
                self.candidates.len(),
                self.p99(best),
                milliseconds(best.deadline_ns),
            ),
        }
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
            Goal::MostFrames | Goal::DeadlineMostFrames => format!(
                "gives up {} of the throughput",
                percent(1.0 - next.frames_per_s.estimate / best.frames_per_s.estimate)
            ),
            Goal::MostFramesPerJoule | Goal::DeadlineLeastEnergy => {
                match (best.energy_per_frame_uj, next.energy_per_frame_uj) {
                    (Some(best), Some(next)) => {
                        format!(
                            "needs {} more energy per frame",
                            percent(next.estimate / best.estimate - 1.0)
                        )
                    }
                    _ => "has no energy figure".to_owned(),
                }
            }
            Goal::SmallestShare => {
                let share = next.p99_share().map_or(0.0, |share| share.upper.unwrap_or(share.estimate));
                format!("takes {}", percent(share))
            }
        };
        format!("the next best, {name}, {loss}{}", self.gain(best, next))
    }

    /// What the next best offers in return, where it does.
    fn gain(&self, best: &Candidate, next: &Candidate) -> String {
        if self.goal == Goal::SmallestShare {
            return String::new();
        }
        match (best.p99_ns, next.p99_ns) {
            (Some(own), Some(other)) if other.estimate < 0.95 * own.estimate => format!(
                " and in return has a P99 of {} instead of {}",
                milliseconds(other.estimate),
                milliseconds(own.estimate)
            ),
            _ => String::new(),
        }
    }

    fn why_none(&self) -> String {
        if self.candidates.is_empty() {
            return format!("no point of {} was measured; see the failures of its points.", self.model);
        }
        match self.goal {
            Goal::MostFramesPerJoule => "energy per frame is unknown: this machine has no power sensor that \
                                         clipmark could read; on a board that has one, see the sensor's error."
                .to_owned(),
            Goal::DeadlineMostFrames | Goal::DeadlineLeastEnergy => self.closest_to_deadline(),
            Goal::MostFrames | Goal::SmallestShare => {
                "no point has enough iterations for this figure; a larger time budget (budget_s) settles it.".to_owned()
            }
        }
    }

    fn closest_to_deadline(&self) -> String {
        let share = |candidate: &Candidate| {
            candidate.p99_share().map_or(f64::INFINITY, |share| share.upper.unwrap_or(share.estimate))
        };
        let closest = self.candidates.iter().min_by(|a, b| share(a).total_cmp(&share(b)));
        let Some(closest) = closest.filter(|closest| closest.p99_ns.is_some()) else {
            return "no point has enough iterations for a P99; a larger time budget (budget_s) settles it."
                .to_owned();
        };
        let advice = if closest.p99_ns.is_some_and(|p99| p99.upper.is_none()) {
            "a larger time budget (budget_s) settles it"
        } else {
            "shorter clips, a lower frame rate or a faster backend would be needed"
        };
        format!(
            "no point's P99 is within the deadline with 95 % confidence: the closest, {}, has a P99 of {} \
             against {}; {advice}.",
            self.name(closest.id),
            self.p99(closest),
            milliseconds(closest.deadline_ns),
        )
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Three significant digits.
fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn milliseconds(ns: f64) -> String {
    format!("{} ms", significant(ns / 1e6))
}

fn rate(per_s: f64) -> String {
    significant(per_s)
}

fn millijoules(uj: f64) -> String {
    format!("{} mJ", significant(uj / 1e3))
}

fn percent(share: f64) -> String {
    format!("{} %", significant(share * 100.0))
}
