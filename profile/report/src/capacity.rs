//! How many streams a board sustains, in words.

use crate::format::{round, span};
use crate::grid::ACROSS;
use crate::table::Table;
use crate::words::{self, clean};
use clipmark_profile::streams::verdict::LoadFigures;
use clipmark_profile::streams::{ArrivalProcess, Phases};
use clipmark_profile::summary::{Capacity, Profile};

/// The certified numbers of streams at each clip length.
pub(crate) fn table(profile: &Profile) -> Table {
    let heads = ["engines", "sustains", "P99", "deadline", "fails at"];
    let mut table = Table::new("Streams that the board sustains", ACROSS.row().short, heads);
    for capacity in &profile.capacities {
        let count = |figures: &Option<LoadFigures>| {
            figures.as_ref().map_or("undecided".into(), |figures| figures.streams.to_string())
        };
        let sustains = match (&capacity.last_holding, &capacity.first_failing) {
            (None, Some(failing)) if failing.streams == 1 => "none".into(),
            (holding, _) => count(holding),
        };
        let p99 = capacity.last_holding.as_ref().and_then(|figures| figures.p99_ns);
        let cells = [
            what(profile, capacity),
            sustains,
            p99.map(span).unwrap_or_default(),
            span(capacity.deadline_ns as f64),
            count(&capacity.first_failing),
        ];
        table.row(across(capacity), cells);
    }
    table
}

fn across(capacity: &Capacity) -> String {
    capacity.id.shape.get(ACROSS).map_or(String::new(), |size| size.to_string())
}

/// Variant, batch size and instances.
pub(crate) fn what(profile: &Profile, capacity: &Capacity) -> String {
    let labels = words::labels(&profile.variants);
    let label = labels.get(usize::from(capacity.id.variant)).map_or("?", String::as_str);
    format!("{} B{} x {}", clean(label, 40), capacity.id.shape.batch(), capacity.instances)
}

/// The answer in one sentence, and what weakens it.
pub(crate) fn sentence(profile: &Profile, capacity: &Capacity) -> String {
    let fps = f64::from(capacity.id.shape.hop()) * 1e9 / capacity.period_ns.max(1) as f64;
    let offered = format!("streams of {} frames/s", round((fps * 100.0).round() / 100.0));
    let begin = format!("{}, clips of {}: ", what(profile, capacity), across(capacity));
    let held = match &capacity.last_holding {
        Some(figures) => {
            let p99 = figures.p99_ns.map_or(String::new(), |p99| format!("P99 {} ", span(p99)));
            let within = span(capacity.deadline_ns as f64);
            format!("sustains {} {offered}, {p99}within {within}", figures.streams)
        }
        None => format!("no number of {offered} was certified to be sustained"),
    };
    let reason = reason(capacity);
    let failed = match &capacity.first_failing {
        Some(figures) if reason.is_empty() => format!("; {} are not sustained", figures.streams),
        Some(figures) => format!("; {} are not: {reason}", figures.streams),
        None if reason.is_empty() => String::new(),
        None => format!("; {reason}"),
    };
    format!("{begin}{held}{failed}.")
}

/// Why more streams are not sustained, or why nothing was decided.
fn reason(capacity: &Capacity) -> String {
    if let Some(failure) = &capacity.failure {
        return format!("the search ended early: {}", clean(&failure.message, 300));
    }
    let figures = capacity.first_failing.as_ref().or(capacity.undecided.as_ref());
    figures.and_then(|figures| figures.reason.as_deref()).map_or(String::new(), |reason| clean(reason, 300))
}

/// What was offered, the same for every row.
pub(crate) fn conditions(capacity: &Capacity) -> String {
    let phases = match capacity.phases {
        Phases::Random => "random phases",
        Phases::Aligned => "aligned phases",
        Phases::Unknown => "phases that this version does not know",
    };
    let arrivals = match capacity.arrivals {
        ArrivalProcess::Periodic => "periodic arrivals",
        ArrivalProcess::Poisson => "Poisson arrivals",
        ArrivalProcess::Unknown => "arrivals that this version does not know",
    };
    format!(
        "{phases}, {arrivals}; sustained: the upper end of P99's 95 % interval is within the deadline, no stream misses \
         it for more than 1 % of its clips, and the number of waiting clips does not grow"
    )
}
