//! Findings about a run as a whole that weaken its figures. Each says what, how much, and what to do.

use super::latency;
use crate::plan::Plan;
use crate::point::PointId;
use crate::record::Record;
use crate::summary::{PointSummary, Status, SteadyState};

/// Drift of the anchor worth a warning: 5 %.
const DRIFT: f64 = 0.05;

/// How many points a warning names before it counts the rest.
const NAMED: usize = 3;

/// The warnings of a record.
pub(super) fn of_record(record: &Record, points: &[PointSummary]) -> Vec<String> {
    let plan = &record.header.plan;
    let mut warnings = Vec::new();
    warnings.extend(drift(record, plan));
    warnings.extend(unsteady(plan, points));
    warnings.extend(interrupted(record, plan, points));
    warnings
}

fn drift(record: &Record, plan: &Plan) -> Option<String> {
    let (anchor, drift) = latency::anchor_drift(&record.points).filter(|&(_, drift)| drift > DRIFT)?;
    Some(format!(
        "the board drifted during the sweep: {}, repeated in every block, varied by {:.0} %; differences \
         between points below that may be the board's; keep other work off it, or let it cool and fix its \
         clocks, and run again",
        name(plan, anchor.id),
        drift * 100.0
    ))
}

fn unsteady(plan: &Plan, points: &[PointSummary]) -> Option<String> {
    let unsteady = points.iter().filter(|point| {
        point.latency.as_ref().is_some_and(|latency| {
            matches!(latency.steady, SteadyState::NoSteadyState | SteadyState::Slowdown)
        })
    });
    let names: Vec<String> = unsteady.map(|point| name(plan, point.id)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "no steady state at {}: latency kept changing level or became slower, so that its figures mix \
             states; look for other work on the machine, or for throttling with a soak",
            named(&names)
        )
    })
}

fn interrupted(record: &Record, plan: &Plan, points: &[PointSummary]) -> Option<String> {
    let cut = points.iter().filter(|point| point.status == Status::Interrupted);
    let names: Vec<String> = cut.map(|point| name(plan, point.id)).collect();
    (!names.is_empty() && !record.partial).then(|| {
        format!(
            "the time budget ended before {} could be told apart from the others; a larger time budget (budget_s) settles it",
            named(&names)
        )
    })
}

fn name(plan: &Plan, id: PointId) -> String {
    match plan.variants.get(usize::from(id.variant)) {
        Some(variant) if plan.variants.len() > 1 => format!("{} of {}", id.shape, variant.model),
        _ => id.shape.to_string(),
    }
}

fn named(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let listed = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { listed } else { format!("{listed} and {more} more") }
}
