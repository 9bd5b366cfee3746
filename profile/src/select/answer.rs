//! What a person who deploys a model asks: which batch at which clip length, and the longest clip that keeps up.
//!
//! A clip length is the model's context, not a free knob: the best points are given for each, dropped points
//! included, because the points that beat them may have another clip length. Where the data cannot tell points
//! apart they are all given.

use super::choose::{Goal, choose};
use super::{ASSUMED_FPS, Candidate, candidates, words};
use crate::plan::Deadline;
use crate::point::PointId;
use crate::summary::{Objective, Profile};
use serde::Serialize;
use std::collections::BTreeSet;

/// Latency of a batch over that of one clip, above batch size, from which batching costs more than it brings.
const SUPERLINEAR: f64 = 1.02;

/// The same where it is sought over several clip lengths: the most extreme of several figures is often chance.
const CLEARLY_SUPERLINEAR: f64 = 1.5;

/// Whether a point at a clip length keeps up with the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepsUp {
    /// With 95 % confidence at P99.
    Yes,
    /// By its estimate; its iterations determine no upper bound, or one beyond the deadline.
    Probably,
    /// Not by its estimate.
    No,
    /// No point there has a P99.
    Unknown,
}

/// The best points at one clip length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClipChoice {
    /// The model.
    pub model: String,
    /// Frames in the clip.
    pub clip_length: u32,
    /// Whether it keeps up with the stream, or with the assumed one.
    pub keeps_up: KeepsUp,
    /// Best for a stream; several where the data cannot tell them apart.
    pub streaming: Vec<PointId>,
    /// Most frames a second.
    pub offline: Vec<PointId>,
    /// Least energy per frame.
    pub efficiency: Vec<PointId>,
}

/// The answer about one model, in two or three sentences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The model.
    pub model: String,
    /// The longest clip that keeps up with the stream with 95 % confidence.
    pub longest_clip: Option<u32>,
    /// What to use, and what weakens it.
    pub sentences: Vec<String>,
}

/// The best points of every model at every clip length.
#[must_use]
pub fn clip_choices(profile: &Profile) -> Vec<ClipChoice> {
    super::models(profile).iter().flat_map(|model| of_model(profile, model)).collect()
}

fn of_model(profile: &Profile, model: &str) -> Vec<ClipChoice> {
    let own = profile.points.iter().filter(|point| {
        profile.variants.get(usize::from(point.id.variant)).is_some_and(|variant| variant.model == model)
    });
    let lengths: BTreeSet<u32> = own.map(|point| point.id.shape.clip()).collect();
    let at = |clip_length: u32| {
        let candidates = candidates::at_clip_length(profile, model, clip_length);
        let best = |objective: Objective| {
            let goal = Goal::of(objective, profile.run.deadline, &candidates);
            let chosen = choose(goal, &candidates).chosen;
            chosen.into_iter().map(|index| candidates[index].id).collect::<Vec<_>>()
        };
        ClipChoice {
            model: model.to_owned(),
            clip_length,
            keeps_up: keeps_up(&candidates),
            streaming: best(Objective::Streaming),
            offline: best(Objective::Offline),
            efficiency: best(Objective::Efficiency),
        }
    };
    lengths.into_iter().map(at).collect()
}

fn keeps_up(candidates: &[Candidate]) -> KeepsUp {
    let shares = || candidates.iter().filter_map(Candidate::p99_share);
    if shares().next().is_none() {
        KeepsUp::Unknown
    } else if shares().any(|share| share.upper.is_some_and(|upper| upper <= 1.0)) {
        KeepsUp::Yes
    } else if shares().any(|share| share.estimate <= 1.0) {
        KeepsUp::Probably
    } else {
        KeepsUp::No
    }
}

/// The answers about every model of a sweep.
#[must_use]
pub fn answers(profile: &Profile) -> Vec<Answer> {
    let models = super::models(profile);
    let several = models.len() > 1;
    let answer = |model: &String| {
        let choices = of_model(profile, model);
        let longest = choices.iter().rev().find(|choice| choice.keeps_up == KeepsUp::Yes);
        let teller = Teller { profile, model, several };
        let mut sentences = vec![teller.stream(&choices, longest)];
        sentences.extend(teller.offline(&choices));
        sentences.extend(teller.efficiency());
        Answer { model: model.clone(), longest_clip: longest.map(|choice| choice.clip_length), sentences }
    };
    if profile.points.is_empty() { Vec::new() } else { models.iter().map(answer).collect() }
}

struct Teller<'a> {
    profile: &'a Profile,
    model: &'a str,
    several: bool,
}

impl Teller<'_> {
    fn name(&self, id: PointId) -> String {
        let of_model = self.profile.variants.iter().filter(|variant| variant.model == self.model).count();
        let (batch, clip) = (id.shape.batch(), id.shape.clip());
        let on = self.profile.variants.get(usize::from(id.variant)).filter(|_| of_model > 1);
        let on =
            on.map_or(String::new(), |variant| format!(" on {} ({})", variant.backend, variant.precision));
        format!("batch {batch} with {clip}-frame clips{on}")
    }

    fn candidate(&self, id: PointId) -> Option<Candidate> {
        let own = candidates::at_clip_length(self.profile, self.model, id.shape.clip());
        own.into_iter().find(|candidate| candidate.id == id)
    }

    /// The stream, as the start of a sentence.
    fn condition(&self) -> String {
        match self.profile.run.deadline {
            Deadline::None => {
                format!("With a stream of {ASSUMED_FPS} frames a second, assumed because none was given")
            }
            Deadline::Fps(fps) => format!("With a stream of {} frames a second", words::rate(fps)),
            Deadline::PerInference(limit) => {
                format!("With {} allowed for an inference", words::milliseconds(limit.0 as f64))
            }
        }
    }

    fn stream(&self, choices: &[ClipChoice], longest: Option<&ClipChoice>) -> String {
        let beyond = longest.map_or(0, |choice| choice.clip_length);
        let probable: Vec<&ClipChoice> = choices
            .iter()
            .filter(|choice| choice.keeps_up == KeepsUp::Probably && choice.clip_length > beyond)
            .collect();
        let sure = longest.and_then(|choice| self.candidate(self.steadiest(choice)?));
        let mut text = match (sure, probable.last()) {
            (Some(best), _) => self.keeps_up("keeps up", &best, &upper_or_estimate(&best)),
            (None, Some(choice)) => match self.likeliest(choice) {
                Some(best) => {
                    let p99 = best.p99_ns.map_or(0.0, |p99| p99.estimate);
                    let figure = format!("about {}", words::milliseconds(p99));
                    format!(
                        "{}, by too few iterations to be sure",
                        self.keeps_up("seems to keep up", &best, &figure)
                    )
                }
                None => self.keeps_up_nowhere(choices),
            },
            (None, None) => self.keeps_up_nowhere(choices),
        };
        if longest.is_some() && !probable.is_empty() {
            let lengths: Vec<String> = probable.iter().map(|choice| choice.clip_length.to_string()).collect();
            let frames = words::list(&lengths);
            text.push_str(&format!("; {frames} frames may keep up too, by too few iterations to be sure"));
        }
        text.push('.');
        text
    }

    fn keeps_up(&self, how: &str, best: &Candidate, figure: &str) -> String {
        format!(
            "{}, {} {how} with clips of up to {} frames: the P99 of {} is {figure} of {}",
            self.condition(),
            self.model,
            best.id.shape.clip(),
            self.name(best.id),
            words::milliseconds(best.deadline_ns),
        )
    }

    /// The point of a clip length whose P99 is the smallest share of its deadline.
    fn likeliest(&self, choice: &ClipChoice) -> Option<Candidate> {
        let own = candidates::at_clip_length(self.profile, self.model, choice.clip_length);
        let share =
            |candidate: &Candidate| candidate.p99_share().map_or(f64::INFINITY, |share| share.estimate);
        own.into_iter().min_by(|a, b| share(a).total_cmp(&share(b)))
    }

    /// The point of a clip length that is sure to keep up: the streaming choice, else any whose bound says so.
    fn steadiest(&self, choice: &ClipChoice) -> Option<PointId> {
        let sure = |id: &PointId| {
            let share = self.candidate(*id).and_then(|candidate| candidate.p99_share()?.upper);
            share.is_some_and(|share| share <= 1.0)
        };
        let others = candidates::at_clip_length(self.profile, self.model, choice.clip_length);
        let others: Vec<PointId> = others.iter().map(|candidate| candidate.id).collect();
        choice.streaming.iter().chain(&others).copied().find(sure)
    }

    fn keeps_up_nowhere(&self, choices: &[ClipChoice]) -> String {
        let all = choices
            .iter()
            .flat_map(|choice| candidates::at_clip_length(self.profile, self.model, choice.clip_length));
        let share =
            |candidate: &Candidate| candidate.p99_share().map_or(f64::INFINITY, |share| share.estimate);
        let closest = all.min_by(|a, b| share(a).total_cmp(&share(b))).filter(|c| c.p99_ns.is_some());
        match closest {
            Some(closest) => format!(
                "{}, no clip length of {} keeps up: the closest, {}, has a P99 of about {} where {} are \
                 allowed",
                self.condition(),
                self.model,
                self.name(closest.id),
                words::milliseconds(closest.p99_ns.map_or(0.0, |p99| p99.estimate)),
                words::milliseconds(closest.deadline_ns),
            ),
            None => format!("No point of {} was measured often enough for a P99", self.model),
        }
    }

    fn chosen(&self, objective: Objective) -> Option<Candidate> {
        let row = self
            .profile
            .operating_points
            .iter()
            .find(|row| row.objective == objective && row.model == self.model)?;
        self.candidate(*row.chosen.first()?)
    }

    fn offline(&self, choices: &[ClipChoice]) -> Option<String> {
        let best = self.chosen(Objective::Offline)?;
        let subject = if self.several { format!(" with {}", self.model) } else { String::new() };
        let mut text = format!(
            "For offline work{subject}, use {}: {} frames a second",
            self.name(best.id),
            words::rate(best.frames_per_s.estimate)
        );
        if let Some(cost) = self.superlinear(choices, best.id) {
            text.push_str(&format!("; {cost}"));
        }
        text.push('.');
        Some(text)
    }

    /// Batching that costs more than it brings, at the clip length of `id`, else at the shortest where it surely does.
    fn superlinear(&self, choices: &[ClipChoice], id: PointId) -> Option<String> {
        let own = id.shape.clip();
        let at_own = self.superlinear_at(own, id.variant, SUPERLINEAR);
        if let Some(cost) = at_own {
            return Some(format!("batching costs more than it brings, {cost}"));
        }
        let lengths =
            choices.iter().map(|choice| choice.clip_length).filter(|&clip_length| clip_length != own);
        let found = lengths.filter_map(|clip_length| {
            Some((clip_length, self.superlinear_at(clip_length, id.variant, CLEARLY_SUPERLINEAR)?))
        });
        let (clip_length, cost) = found.min_by_key(|(clip_length, _)| *clip_length)?;
        Some(format!("batching costs more than it brings with {clip_length}-frame clips, {cost}"))
    }

    fn superlinear_at(&self, clip_length: u32, variant: u16, least_excess: f64) -> Option<String> {
        let own = candidates::at_clip_length(self.profile, self.model, clip_length);
        let same = || own.iter().filter(|candidate| candidate.id.variant == variant);
        let batch = |candidate: &Candidate| candidate.id.shape.batch();
        let (least, most) = (same().min_by_key(|c| batch(c))?, same().max_by_key(|c| batch(c))?);
        let seconds = |candidate: &Candidate, rate: f64| candidate.id.shape.frames() as f64 / rate;
        let times = f64::from(batch(most)) / f64::from(batch(least));
        let ratio = seconds(most, most.frames_per_s.estimate) / seconds(least, least.frames_per_s.estimate);
        // The quickest that the larger batch may be over the slowest that the smaller may be.
        let surely = seconds(most, most.frames_per_s.upper?) / seconds(least, least.frames_per_s.lower?);
        (surely > times * least_excess).then(|| {
            let (most, least) = (batch(most), batch(least));
            format!("batch {most} takes {} times as long as batch {least}", words::significant(ratio))
        })
    }

    fn efficiency(&self) -> Option<String> {
        let best = self.chosen(Objective::Efficiency)?;
        let energy = best.energy_per_frame_uj?;
        Some(format!(
            "The least energy, {} a frame, is that of {}.",
            words::millijoules(energy.estimate),
            self.name(best.id)
        ))
    }
}

fn upper_or_estimate(candidate: &Candidate) -> String {
    match candidate.p99_ns {
        Some(p99) => match p99.upper {
            Some(upper) => format!("at most {}", words::milliseconds(upper)),
            None => format!("about {}", words::milliseconds(p99.estimate)),
        },
        None => "not determinable".to_owned(),
    }
}

#[cfg(test)]
mod tests;
