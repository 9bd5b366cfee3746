//! What must agree before figures may be compared, and what else differs.

use crate::plan::Deadline;
use crate::point::Variant;
use crate::summary::Profile;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that identifies what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// The model: its name and digest.
    Model,
    /// The backend.
    Backend,
    /// Numeric precision.
    Precision,
    /// Threads per inference.
    Threads,
    /// The board.
    Board,
    /// The power mode.
    PowerMode,
    /// The device that a backend ran on.
    Device,
    /// How inferences were issued.
    Load,
    /// Whether figures are simulated.
    Simulation,
}

impl Aspect {
    /// The name in sentences.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Backend => "backend",
            Self::Precision => "precision",
            Self::Threads => "thread count",
            Self::Board => "board",
            Self::PowerMode => "power mode",
            Self::Device => "device",
            Self::Load => "load",
            Self::Simulation => "simulation",
        }
    }
}

/// An aspect in which two profiles differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Which aspect.
    pub aspect: Aspect,
    /// The baseline's value.
    pub baseline: String,
    /// The candidate's value.
    pub candidate: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.aspect.name();
        write!(
            f,
            "the {name} differs: {} against {}; compare runs with the same {name}, or name it as what is \
             compared",
            self.baseline, self.candidate
        )
    }
}

/// Something that may explain a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What it is, e.g. `kernel`.
    pub name: String,
    /// The baseline's value.
    pub baseline: String,
    /// The candidate's value.
    pub candidate: String,
}

const UNKNOWN: &str = "unknown";

fn mismatch(aspect: Aspect, baseline: String, candidate: String) -> Option<Mismatch> {
    (baseline != candidate).then_some(Mismatch { aspect, baseline, candidate })
}

fn known(value: &Option<String>) -> String {
    value.clone().unwrap_or_else(|| UNKNOWN.to_owned())
}

/// Aspects of whole runs that differ.
pub(super) fn of_runs(baseline: &Profile, candidate: &Profile) -> Vec<Mismatch> {
    let board = |profile: &Profile| {
        let environment = &profile.environment;
        match (&environment.board_id, &environment.board, &environment.cpu) {
            (Some(id), ..) => id.clone(),
            (None, Some(board), _) => board.clone(),
            (None, None, cpu) => known(cpu),
        }
    };
    let simulated = |profile: &Profile| {
        if profile.run.simulated { "simulated figures" } else { "measured figures" }.to_owned()
    };
    let load = |profile: &Profile| match (profile.run.load, profile.run.deadline) {
        (crate::plan::Load::Closed, _) => "closed".to_owned(),
        (crate::plan::Load::Paced, Deadline::Fps(fps)) => format!("paced at {fps} frames/s"),
        (crate::plan::Load::Paced, _) => "paced".to_owned(),
    };
    let power = |profile: &Profile| known(&profile.environment.power_mode);
    [
        mismatch(Aspect::Simulation, simulated(baseline), simulated(candidate)),
        mismatch(Aspect::Board, board(baseline), board(candidate)),
        mismatch(Aspect::PowerMode, power(baseline), power(candidate)),
        mismatch(Aspect::Load, load(baseline), load(candidate)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Aspects of a pair of variants that differ.
pub(super) fn of_variants(
    baseline: &Profile,
    candidate: &Profile,
    variants: (&Variant, &Variant),
) -> Vec<Mismatch> {
    let model = |profile: &Profile, variant: &Variant| {
        let record = profile.models.iter().find(|model| model.name == variant.model);
        match record {
            Some(record) => format!("{} ({:.12})", variant.model, record.sha256),
            None => format!("{} (digest {UNKNOWN})", variant.model),
        }
    };
    let digest = |profile: &Profile, variant: &Variant| {
        profile.models.iter().find(|model| model.name == variant.model).map(|model| model.sha256.clone())
    };
    let device = |profile: &Profile, variant: &Variant| {
        let record = profile.backends.iter().find(|backend| backend.name == variant.backend);
        record.map_or_else(|| UNKNOWN.to_owned(), |backend| backend.device.clone())
    };
    let (own, other) = variants;
    let same_model = digest(baseline, own) == digest(candidate, other);
    let models = Mismatch {
        aspect: Aspect::Model,
        baseline: model(baseline, own),
        candidate: model(candidate, other),
    };
    let threads = |variant: &Variant| variant.threads.to_string();
    let precision = |variant: &Variant| variant.precision.to_string();
    [
        (!same_model).then_some(models),
        mismatch(Aspect::Backend, own.backend.clone(), other.backend.clone()),
        mismatch(Aspect::Precision, precision(own), precision(other)),
        mismatch(Aspect::Threads, threads(own), threads(other)),
        mismatch(Aspect::Device, device(baseline, own), device(candidate, other)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Pairs the variants that agree in every aspect that is not varied, by their index in each profile, and
/// names those that have no single counterpart.
pub(super) fn pair_variants(
    baseline: &Profile,
    candidate: &Profile,
    varied: &[Aspect],
) -> (Vec<(u16, u16)>, Vec<String>) {
    let free = |aspect: Aspect| varied.contains(&aspect);
    let agree = |own: &Variant, other: &Variant| {
        (free(Aspect::Model) || own.model == other.model)
            && (free(Aspect::Backend) || own.backend == other.backend)
            && (free(Aspect::Precision) || own.precision == other.precision)
            && (free(Aspect::Threads) || own.threads == other.threads)
    };
    let (mut pairs, mut unmatched) = (Vec::new(), Vec::new());
    for (index, own) in baseline.variants.iter().enumerate() {
        let others: Vec<usize> =
            (0..candidate.variants.len()).filter(|&other| agree(own, &candidate.variants[other])).collect();
        match others.as_slice() {
            [only] => pairs.push((index as u16, *only as u16)),
            [] => unmatched.push(format!("{own} is only in the baseline")),
            _ => unmatched.push(format!("{own} of the baseline has several counterparts in the candidate")),
        }
    }
    for (index, other) in candidate.variants.iter().enumerate() {
        if !pairs.iter().any(|&(_, paired)| usize::from(paired) == index) {
            unmatched.push(format!("{other} is only in the candidate"));
        }
    }
    (pairs, unmatched)
}

/// Conditions that differ between two runs.
pub(super) fn conditions(baseline: &Profile, candidate: &Profile) -> Vec<Condition> {
    let (own, other) = (&baseline.environment, &candidate.environment);
    let mut rows = vec![
        ("clipmark", own.clipmark.clone(), other.clipmark.clone()),
        ("analysis", baseline.analysis.to_string(), candidate.analysis.to_string()),
        ("operating system", known(&own.os), known(&other.os)),
        ("kernel", known(&own.kernel), known(&other.kernel)),
        ("L4T", known(&own.l4t), known(&other.l4t)),
        ("governor", known(&own.governor), known(&other.governor)),
        ("virtualization", known(&own.virtualization), known(&other.virtualization)),
        ("worker CPUs", known(&own.worker_cpus), known(&other.worker_cpus)),
    ];
    for backend in &baseline.backends {
        if let Some(same) = candidate.backends.iter().find(|other| other.name == backend.name) {
            rows.push((backend.name.as_str(), backend.version.clone(), same.version.clone()));
        }
    }
    let differing = rows.into_iter().filter(|(_, own, other)| own != other);
    differing
        .map(|(name, baseline, candidate)| Condition { name: name.to_owned(), baseline, candidate })
        .collect()
}
