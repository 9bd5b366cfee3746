//! Two profiles held against each other: what got better, what got worse, and what cannot be compared.
//!
//! Terms: the *baseline* is what was, the *candidate* what is. A [`Factor`] that differs makes
//! a comparison meaningless, unless the caller names it as what is being compared. A *condition* is something that may explain a change (a version, a kernel, a
//! governor): it is listed and refuses nothing. A difference counts when it exceeds a floor and a multiple
//! of the measurements' own uncertainty.
//!
//! Not here: comparing many devices (a cohort needs merged histograms), and showing the result.

mod aspects;
mod metrics;
#[cfg(test)]
mod tests;

pub use aspects::{Condition, Mismatch};
pub use metrics::MetricComparison;

use crate::identity::Factor;
use crate::point::{PointId, Shape, Variant};
use crate::summary::{Objective, PointSummary, Profile, Status};
use serde::{Deserialize, Serialize};

/// How differences are judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompareRule {
    /// Factors that are meant to differ: they are what is compared.
    pub varied: Vec<Factor>,
    /// Multiple of the two figures' combined 95 % half widths that a difference must exceed. 2 keeps the
    /// false verdicts over a hundred figures below one in a hundred comparisons.
    pub noise_factor: f64,
}

impl Default for CompareRule {
    fn default() -> Self {
        Self { varied: Vec::new(), noise_factor: 2.0 }
    }
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better by more than the threshold.
    Better,
    /// Within the threshold.
    Same,
    /// Worse by more than the threshold.
    Worse,
    /// There is no meaningful difference to take.
    NotComparable,
}

/// Two profiles compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The baseline's run.
    pub baseline: String,
    /// The candidate's run.
    pub candidate: String,
    /// Worse when any point is worse, else better when any is better, else the same.
    pub verdict: Verdict,
    /// Why nothing could be compared, or which factors were varied on purpose.
    pub mismatches: Vec<Mismatch>,
    /// What else differs and may explain a change.
    pub conditions: Vec<Condition>,
    /// Variants that both profiles have.
    pub variants: Vec<VariantComparison>,
    /// Variants that only one profile has, in words.
    pub unmatched: Vec<String>,
}

/// One variant compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantComparison {
    /// The baseline's variant.
    pub baseline: Variant,
    /// The candidate's variant.
    pub candidate: Variant,
    /// Why this variant cannot be compared, or which factors were varied on purpose.
    pub mismatches: Vec<Mismatch>,
    /// Grid points that both have.
    pub points: Vec<PointComparison>,
    /// Operating points that fall elsewhere.
    pub moved: Vec<MovedOperatingPoint>,
}

/// One point compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointComparison {
    /// Which point.
    pub shape: Shape,
    /// Worse when any figure is worse, else better when any is better.
    pub verdict: Verdict,
    /// Why it is not comparable, or what happened to it besides its figures.
    pub reason: Option<String>,
    /// Figure by figure.
    pub metrics: Vec<MetricComparison>,
}

/// An operating point that falls on other points than it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedOperatingPoint {
    /// Which one.
    pub objective: Objective,
    /// Where it was.
    pub baseline: Vec<Shape>,
    /// Where it is.
    pub candidate: Vec<Shape>,
}

/// Compares two profiles.
#[must_use]
pub fn compare(baseline: &Profile, candidate: &Profile, rule: &CompareRule) -> Comparison {
    let mismatches = aspects::of_runs(baseline, candidate);
    let refused = mismatches.iter().any(|mismatch| !mismatch.factor.is_among(&rule.varied));
    let (pairs, unmatched) = aspects::pair_variants(baseline, candidate, &rule.varied);
    let variant = |(own, other): (u16, u16)| {
        compare_variant(baseline, candidate, own, other, if refused { None } else { Some(rule) })
    };
    let variants: Vec<VariantComparison> = pairs.into_iter().map(variant).collect();
    let points = variants.iter().flat_map(|variant| &variant.points).map(|point| point.verdict);
    Comparison {
        baseline: baseline.run.id.clone(),
        candidate: candidate.run.id.clone(),
        verdict: overall(points),
        mismatches,
        conditions: aspects::conditions(baseline, candidate),
        variants,
        unmatched,
    }
}

/// Worse before better before the same; not comparable only when nothing is.
fn overall(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let mut found = Verdict::NotComparable;
    for verdict in verdicts {
        found = match (found, verdict) {
            (Verdict::Worse, _) | (_, Verdict::Worse) => Verdict::Worse,
            (Verdict::Better, _) | (_, Verdict::Better) => Verdict::Better,
            (Verdict::Same, _) | (_, Verdict::Same) => Verdict::Same,
            _ => Verdict::NotComparable,
        };
    }
    found
}

/// Compares one variant; without a `rule` its points are listed as not comparable.
fn compare_variant(
    baseline: &Profile,
    candidate: &Profile,
    own: u16,
    other: u16,
    rule: Option<&CompareRule>,
) -> VariantComparison {
    let variants = (&baseline.variants[usize::from(own)], &candidate.variants[usize::from(other)]);
    let mismatches = aspects::of_variants([baseline, candidate], [own, other]);
    let rule = rule.filter(|rule| mismatches.iter().all(|mismatch| mismatch.factor.is_among(&rule.varied)));
    let mut points = Vec::new();
    for point in baseline.points.iter().filter(|point| point.id.variant == own) {
        let id = PointId { variant: other, shape: point.id.shape };
        if let Some(counterpart) = candidate.points.iter().find(|point| point.id == id) {
            points.push(compare_point(point, counterpart, rule));
        }
    }
    VariantComparison {
        baseline: variants.0.clone(),
        candidate: variants.1.clone(),
        mismatches,
        points,
        moved: if rule.is_some() { moved(baseline, candidate, variants) } else { Vec::new() },
    }
}

fn compare_point(
    baseline: &PointSummary,
    candidate: &PointSummary,
    rule: Option<&CompareRule>,
) -> PointComparison {
    let without_figures = |verdict, reason: String| PointComparison {
        shape: baseline.id.shape,
        verdict,
        reason: Some(reason),
        metrics: Vec::new(),
    };
    let Some(rule) = rule else {
        return without_figures(Verdict::NotComparable, "the runs are not comparable".to_owned());
    };
    match (ran(baseline), ran(candidate)) {
        (Ok(()), Ok(())) => {}
        (Ok(()), Err(Gone { says, failed: true })) => {
            return without_figures(Verdict::Worse, format!("it ran in the baseline and now {says}"));
        }
        (Err(Gone { says, failed: true }), Ok(())) => {
            return without_figures(Verdict::Better, format!("it runs now; in the baseline it {says}"));
        }
        (Err(gone), _) => {
            return without_figures(Verdict::NotComparable, format!("in the baseline it {}", gone.says));
        }
        (_, Err(gone)) => {
            return without_figures(Verdict::NotComparable, format!("in the candidate it {}", gone.says));
        }
    }
    let metrics = metrics::compare(baseline, candidate, rule.noise_factor);
    let verdict = overall(metrics.iter().map(|metric| metric.verdict));
    let reason = (verdict == Verdict::NotComparable)
        .then(|| "no figure was determined in both runs; measure more iterations".to_owned());
    PointComparison { shape: baseline.id.shape, verdict, reason, metrics }
}

/// Why a point has no figures.
struct Gone {
    says: String,
    /// Whether that is the variant's doing, and not the budget's or the user's.
    failed: bool,
}

fn ran(point: &PointSummary) -> Result<(), Gone> {
    use crate::record::NotRun;
    match (point.status, &point.failure, point.not_run) {
        (Status::Failed, Some(failure), _) => {
            Err(Gone { says: format!("failed: {}", failure.message), failed: true })
        }
        (Status::Failed, None, _) => Err(Gone { says: "failed".to_owned(), failed: true }),
        (Status::NotRun, _, Some(NotRun::WouldExceedMemory)) => {
            Err(Gone { says: "would exceed the memory limit".to_owned(), failed: true })
        }
        (Status::NotRun, _, Some(NotRun::WouldExceedTime)) => {
            Err(Gone { says: "would exceed the time limit".to_owned(), failed: true })
        }
        (Status::NotRun, _, Some(NotRun::VariantFailed)) => {
            Err(Gone { says: "could not run, as the whole variant".to_owned(), failed: true })
        }
        (Status::NotRun, ..) => Err(Gone { says: "was not reached".to_owned(), failed: false }),
        _ if point.latency.is_none() => {
            Err(Gone { says: "has no counted iteration".to_owned(), failed: false })
        }
        _ => Ok(()),
    }
}

fn moved(
    baseline: &Profile,
    candidate: &Profile,
    variants: (&Variant, &Variant),
) -> Vec<MovedOperatingPoint> {
    let mut moved = Vec::new();
    for row in baseline.operating_points.iter().filter(|row| row.model == variants.0.model) {
        let counterpart = candidate
            .operating_points
            .iter()
            .find(|other| other.objective == row.objective && other.model == variants.1.model);
        let Some(other) = counterpart else { continue };
        let places = |ids: &[PointId]| ids.iter().map(|id| id.shape).collect::<Vec<Shape>>();
        let (was, is) = (places(&row.chosen), places(&other.chosen));
        // Sets that share a point did not move: within a set the order is chance.
        let same = was.iter().any(|at| is.contains(at)) || was.is_empty() && is.is_empty();
        if !same {
            moved.push(MovedOperatingPoint { objective: row.objective, baseline: was, candidate: is });
        }
    }
    moved
}
