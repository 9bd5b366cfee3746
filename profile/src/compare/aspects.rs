//! What must agree before figures may be compared, and what else differs.

use crate::axis::Axis;
use crate::identity::{Factor, Identity};
use crate::point::{PointId, Shape, Variant};
use crate::summary::{BoardDrift, Profile};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A factor in which two profiles differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Which factor.
    pub factor: Factor,
    /// The baseline's value.
    pub baseline: String,
    /// The candidate's value.
    pub candidate: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.factor.name();
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

fn known(value: &Option<String>) -> String {
    value.clone().unwrap_or_else(|| UNKNOWN.to_owned())
}

/// Factors of whole runs; the others are of a variant.
const OF_RUNS: [Factor; 4] = [Factor::Simulation, Factor::Board, Factor::POWER_MODE, Factor::Load];

/// What differs between the identities of two variants, among the factors that `wanted` admits. Firmware is a condition:
/// it may explain a change and refuses nothing.
fn mismatches(
    profiles: [&Profile; 2],
    variants: [u16; 2],
    wanted: impl Fn(&Factor) -> bool,
) -> Vec<Mismatch> {
    let identity =
        |side: usize| Identity::of(profiles[side], PointId { variant: variants[side], shape: Shape::UNIT });
    let (Some(own), Some(other)) = (identity(0), identity(1)) else { return Vec::new() };
    let differing = own.differences(&other).into_iter().filter(wanted);
    differing
        .map(|factor| Mismatch { factor, baseline: own.value(factor), candidate: other.value(factor) })
        .collect()
}

/// Factors of whole runs that differ.
pub(super) fn of_runs(baseline: &Profile, candidate: &Profile) -> Vec<Mismatch> {
    mismatches([baseline, candidate], [0, 0], |factor| OF_RUNS.contains(factor))
}

/// Factors of a pair of variants that differ.
pub(super) fn of_variants(profiles: [&Profile; 2], variants: [u16; 2]) -> Vec<Mismatch> {
    mismatches(profiles, variants, |factor| !OF_RUNS.contains(factor) && *factor != Factor::Firmware)
}

/// Pairs the variants that agree on every axis that is not varied, by their index in each profile, and names those that
/// have no single counterpart.
pub(super) fn pair_variants(
    baseline: &Profile,
    candidate: &Profile,
    varied: &[Factor],
) -> (Vec<(u16, u16)>, Vec<String>) {
    let agree = |own: &Variant, other: &Variant| {
        let held = Axis::VARIANT.into_iter().filter(|axis| !varied.contains(&Factor::Axis(*axis)));
        held.into_iter().all(|axis| own.get(axis) == other.get(axis))
    };
    let (mut pairs, mut unmatched) = (Vec::new(), Vec::new());
    for (index, own) in (0u16..).zip(&baseline.variants) {
        let others: Vec<u16> = (0u16..)
            .zip(&candidate.variants)
            .filter(|(_, other)| agree(own, other))
            .map(|(at, _)| at)
            .collect();
        match others.as_slice() {
            [only] => pairs.push((index, *only)),
            [] => unmatched.push(format!("{own} is only in the baseline")),
            _ => unmatched.push(format!("{own} of the baseline has several counterparts in the candidate")),
        }
    }
    for (index, other) in (0u16..).zip(&candidate.variants) {
        if !pairs.iter().any(|&(_, paired)| paired == index) {
            unmatched.push(format!("{other} is only in the candidate"));
        }
    }
    (pairs, unmatched)
}

/// What the board did during a sweep, and which figures follow from it.
fn course(drift: Option<&BoardDrift>) -> String {
    let Some(drift) = drift else { return "held still, figures as measured".to_owned() };
    match drift.range().map(|(fastest, slowest)| slowest / fastest) {
        Some(factor) => format!("changed by a factor of {factor:.2}, figures in its state at the end"),
        None => format!("stalled {} times, figures without its stalls", drift.stalls),
    }
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
        ("board during the sweep", course(baseline.drift.as_ref()), course(candidate.drift.as_ref())),
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
