//! Reports for people: cohorts of boards, and two runs held against each other, as markup and as text.
//!
//! The dashboard frames the markup in its pages; `clipmark-fleet report` puts it into one file that needs
//! nothing else, or prints the text. A report of one board is clipmark-report's own. Statistics are
//! clipmark-profile's; nothing is computed here but what is to be shown.

pub(crate) mod at;
mod cohort;
mod comparison;
mod focus;
mod page;
mod study;
mod trends;

pub(crate) use at::At;
pub(crate) use cohort::{Links, html as cohorts, text as cohorts_text};
pub(crate) use comparison::{Compared, html as comparison, text as comparison_text};
pub(crate) use focus::Focus;
pub(crate) use page::{encoded, self_contained, style};
pub(crate) use study::{Asked, FACTORS, Study};
pub(crate) use trends::{FIGURES, Trends, Wanted, devices as trend_devices, html as trends};

use clipmark_profile::compare::Verdict;
use clipmark_profile::figures::Figure;
use clipmark_report::format::{bytes, energy, significant, span};
use maud::{Markup, html};

/// What a figure is called.
pub(crate) const fn metric(metric: Figure) -> &'static str {
    metric.row().meaning
}

/// A figure with its unit.
pub(crate) fn figure(of: Figure, value: f64) -> String {
    match of.name().rsplit('_').next() {
        Some("ns") => span(value),
        Some("s") => format!("{} frames/s", significant(value)),
        Some("uj") => energy(value),
        Some("bytes") => bytes(value as u64),
        _ => significant(value),
    }
}

/// What is said where boards changed during some runs; nothing where they all held still.
pub(crate) fn moved(runs: usize, all: usize) -> Option<String> {
    (runs > 0).then(|| {
        format!(
            "In {runs} of {all} runs the board changed while it was measured: their figures are estimates in its state \
             at the end of the sweep. Those as measured are in the board's report and in the export."
        )
    })
}

/// A verdict in a word.
pub(crate) const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Same => "same",
        Verdict::Worse => "WORSE",
        Verdict::NotComparable => "not comparable",
    }
}

/// A verdict with a mark, so that colour is not all that tells it.
pub(crate) fn mark(verdict: Verdict) -> Markup {
    let (text, class) = match verdict {
        Verdict::Better => ("\u{25b2} better", "better"),
        Verdict::Same => ("= same", "same"),
        Verdict::Worse => ("\u{25bc} worse", "worse"),
        Verdict::NotComparable => ("not comparable", "none"),
    };
    html! { span class=(format!("verdict {class}")) { (text) } }
}
