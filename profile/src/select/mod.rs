//! Which points are best, and for what.
//!
//! Terms: a *candidate* is a measured point with its figures and their 95 % intervals; a *constraint* is
//! held against the pessimistic end of an interval, an *objective* is ranked by it; points *tie* when they
//! differ by less than [`EPSILON`] or by less than the data can resolve. Candidates compete within one
//! model, over its backends, precisions and thread counts: which model is worth its cost depends on its
//! accuracy, which is not measured here.
//!
//! Nothing here measures or decides what to measure; the sweep asks the same questions of its running
//! estimates, so that what it certifies is what is chosen.

mod answer;
mod candidates;
mod choose;
mod dominance;
#[cfg(test)]
mod tests;
mod words;

pub use answer::{Answer, ClipChoice, KeepsUp, answers, clip_choices};
pub use choose::{Choice, Goal, Score, choose};
pub use dominance::certainly_dominates;

use crate::plan::Deadline;
use crate::point::PointId;
use crate::summary::{Objective, OperatingPoint, Profile};

/// Relative difference that does not matter: closer points are tied.
pub const EPSILON: f64 = 0.01;

/// Frames a second of the stream that is assumed where none was described: the usual rate of cameras.
pub const ASSUMED_FPS: f64 = 30.0;

/// A figure with the ends of its 95 % interval, where they could be determined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// The figure itself.
    pub estimate: f64,
    /// Lower end.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
}

/// A measured point, as far as a choice needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Which point.
    pub id: PointId,
    /// Time that one inference may take, ns: the stream's deadline, or that of the assumed stream.
    pub deadline_ns: f64,
    /// P99 latency, ns.
    pub p99_ns: Option<Measure>,
    /// Frames a second.
    pub frames_per_s: Measure,
    /// Energy of the whole board per frame, uJ.
    pub energy_per_frame_uj: Option<Measure>,
    /// Peak memory, bytes.
    pub peak_memory_bytes: Option<f64>,
}

impl Candidate {
    /// P99 as a share of the time that one inference may take.
    #[must_use]
    pub fn p99_share(&self) -> Option<Measure> {
        let share = |ns: f64| ns / self.deadline_ns;
        self.p99_ns.map(|p99| Measure {
            estimate: share(p99.estimate),
            lower: p99.lower.map(share),
            upper: p99.upper.map(share),
        })
    }
}

/// The time that one inference at a point may take under `deadline`, ns; without one, under a stream of
/// [`ASSUMED_FPS`].
#[must_use]
pub fn deadline_ns(deadline: Deadline, at: crate::point::Shape) -> f64 {
    match deadline.at(at) {
        Some(span) => span.0 as f64,
        None => f64::from(at.clip()) / ASSUMED_FPS * 1e9,
    }
}

/// The operating points of every model in `profile`, from its points and soaks alone. A run without a sweep has
/// none but those of its soaks.
#[must_use]
pub fn operating_points(profile: &Profile) -> Vec<OperatingPoint> {
    let mut rows = Vec::new();
    for model in models(profile) {
        let burst = candidates::of_points(profile, &model);
        let sustained = candidates::of_soaks(profile, &model);
        let has_swept = !profile.points.is_empty();
        let of_sweep = [Objective::Streaming, Objective::Offline, Objective::Efficiency];
        for objective in of_sweep.into_iter().filter(|_| has_swept) {
            rows.push(words::operating_point(profile, &model, objective, &burst));
        }
        if sustained.is_empty() {
            continue;
        }
        for objective in
            [Objective::SustainedStreaming, Objective::SustainedOffline, Objective::SustainedEfficiency]
        {
            rows.push(words::operating_point(profile, &model, objective, &sustained));
        }
    }
    rows
}

/// The models of a profile's variants, in the variants' order, each once.
fn models(profile: &Profile) -> Vec<String> {
    let mut models: Vec<String> = Vec::new();
    for variant in &profile.variants {
        if !models.contains(&variant.model) {
            models.push(variant.model.clone());
        }
    }
    models
}
