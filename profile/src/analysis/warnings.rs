//! Findings about a run as a whole that weaken its figures. Each says what, how much, and what to do.

use crate::plan::Plan;
use crate::point::PointId;
use crate::record::Record;
use crate::summary::{BoardDrift, LatencySummary, PointSummary, Status, SteadyState};

/// Change of the board worth a warning: 5 %.
const DRIFT: f64 = 0.05;

/// Relative half width of a mean's interval that tells points apart.
const PRECISION: f64 = 0.02;

/// What it is taken for where the iterations determine none.
const UNKNOWN_PRECISION: f64 = 0.1;

/// Fewest and most iterations that a point is said to need.
const LEAST_MORE: f64 = 5.0;
const MOST: f64 = 1000.0;

/// How many points a warning names before it counts the rest.
const NAMED: usize = 3;

/// The warnings of a record.
pub(super) fn of_record(record: &Record, points: &[PointSummary], drift: Option<&BoardDrift>) -> Vec<String> {
    let plan = &record.header.plan;
    let mut warnings = Vec::new();
    warnings.extend(drift.and_then(moved));
    warnings.extend(drift.and_then(stalled));
    warnings.extend(unsteady(plan, points));
    warnings.extend(interrupted(record, plan, points));
    warnings
}

fn moved(drift: &BoardDrift) -> Option<String> {
    let (fastest, slowest) = drift.range()?;
    let first = drift.blocks.first()?.slowness;
    if slowest / fastest - 1.0 <= DRIFT {
        return None;
    }
    let change = (1.0 / first - 1.0) * 100.0;
    let towards = if change >= 0.0 { "slower" } else { "faster" };
    Some(format!(
        "the board drifted during the sweep: latency differed by {:.0} % between its fastest and its slowest block, and \
          the sweep ended {:.0} % {towards} than it began; points are compared in the state at the end of \
         the sweep, the figures as measured stay beside; keep other work off the board, or let it reach its \
         temperature and fix its clocks, for narrower intervals",
        (slowest / fastest - 1.0) * 100.0,
        change.abs(),
    ))
}

fn stalled(drift: &BoardDrift) -> Option<String> {
    (drift.stalls > 0).then(|| {
        format!(
            "the board stalled during {} inferences, each by 0.5 s or more: they are in the figures as measured and \
             left out where points are compared; look for other work on the machine",
            drift.stalls
        )
    })
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

/// What the time budget did not settle, with the time that it would take.
fn interrupted(record: &Record, plan: &Plan, points: &[PointSummary]) -> Option<String> {
    let cut: Vec<&PointSummary> = points.iter().filter(|point| point.status == Status::Interrupted).collect();
    if cut.is_empty() || record.partial {
        return None;
    }
    let names: Vec<String> = cut.iter().map(|point| name(plan, point.id)).collect();
    let more: f64 = cut.iter().filter_map(|point| Some(to_settle(point.latency.as_ref()?))).sum();
    let total = super::end(record).as_secs_f64() + more / 1e9;
    Some(format!(
        "the time budget ended before {} could be told apart from the others: their figures have wide intervals; about \
         {} more would settle them, a time budget (budget_s) of about {}",
        named(&names),
        rough(more / 1e9),
        rough(total),
    ))
}

/// Time in which a point's mean would be known to [`PRECISION`], ns.
fn to_settle(latency: &LatencySummary) -> f64 {
    let n = latency.iterations as f64;
    let half = match (latency.mean_ci_ns.lower, latency.mean_ci_ns.upper) {
        (Some(lower), Some(upper)) => (upper - lower) / 2.0 / latency.mean_ns,
        _ => UNKNOWN_PRECISION,
    };
    // An interval shrinks with the square root of the iterations.
    let needed = (n * (half / PRECISION).powi(2)).min(MOST).max(n + LEAST_MORE);
    (needed - n).max(LEAST_MORE) * latency.mean_ns
}

/// A span in words that promise no precision.
fn rough(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{} s", (s / 5.0).ceil() * 5.0),
        s if s < 5400.0 => format!("{} min", (s / 60.0).ceil()),
        s => format!("{:.1} h", s / 3600.0),
    }
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
