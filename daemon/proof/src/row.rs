//! One line of the table: a claim, how it was measured, the figure and the target.

use serde::Serialize;
use std::fmt;

/// What the figure is held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "bound")]
pub(crate) enum Target {
    /// The figure may not be larger.
    AtMost(f64),
    /// The figure may not be smaller.
    AtLeast(f64),
    /// The figure is missing, and so is what to hold it against.
    Unknown,
}

/// How a claim fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The target is kept.
    Met,
    /// The target is missed.
    Missed,
    /// It could not be measured here; the row's note says why and what would help.
    NotMeasured,
}

/// A claim with its figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    /// What is claimed.
    pub claim: String,
    /// The figure; absent when it could not be measured.
    pub figure: Option<f64>,
    /// Its unit, empty for plain ratios and counts.
    pub unit: &'static str,
    /// What it is held against.
    pub target: Target,
    /// Contrast, circumstances, or why there is no figure.
    pub note: String,
}

impl Row {
    fn new(claim: impl Into<String>, figure: f64, unit: &'static str, target: Target) -> Self {
        Self { claim: claim.into(), figure: Some(figure), unit, target, note: String::new() }
    }

    pub(crate) fn at_most(claim: impl Into<String>, figure: f64, unit: &'static str, bound: f64) -> Self {
        Self::new(claim, figure, unit, Target::AtMost(bound))
    }

    pub(crate) fn at_least(claim: impl Into<String>, figure: f64, unit: &'static str, bound: f64) -> Self {
        Self::new(claim, figure, unit, Target::AtLeast(bound))
    }

    /// A claim that could not be measured, with the cause and what would help.
    pub(crate) fn absent(claim: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { claim: claim.into(), figure: None, unit: "", target: Target::Unknown, note: cause.to_string() }
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// How it fared. A figure that is no number misses every target.
    pub(crate) fn verdict(&self) -> Verdict {
        let kept = |kept: bool| if kept { Verdict::Met } else { Verdict::Missed };
        match (self.figure, self.target) {
            (None, _) | (_, Target::Unknown) => Verdict::NotMeasured,
            (Some(figure), Target::AtMost(bound)) => kept(figure <= bound),
            (Some(figure), Target::AtLeast(bound)) => kept(figure >= bound),
        }
    }

    /// The figure in words.
    pub(crate) fn figure_text(&self) -> String {
        self.figure.map_or_else(|| "-".into(), |figure| self.with_unit(figure))
    }

    /// The target in words.
    pub(crate) fn target_text(&self) -> String {
        match self.target {
            Target::AtMost(0.0) => "none".into(),
            Target::AtMost(bound) => format!("<= {}", self.with_unit(bound)),
            Target::AtLeast(bound) => format!(">= {}", self.with_unit(bound)),
            Target::Unknown => String::new(),
        }
    }

    fn with_unit(&self, value: f64) -> String {
        let number = number(value);
        if self.unit.is_empty() { number } else { format!("{number} {}", self.unit) }
    }
}

/// Three significant digits, whole numbers in full.
fn number(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 || size >= 1000.0 {
        return format!("{value:.0}");
    }
    let decimals = match size {
        s if s >= 100.0 => 1,
        s if s >= 10.0 => 2,
        s if s >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Row, Verdict, number};

    #[test]
    fn a_figure_is_judged_by_its_target() {
        assert_eq!(Row::at_most("x", 1.0, "", 1.0).verdict(), Verdict::Met);
        assert_eq!(Row::at_most("x", 1.1, "", 1.0).verdict(), Verdict::Missed);
        assert_eq!(Row::at_least("x", 0.9, "", 1.0).verdict(), Verdict::Missed);
        assert_eq!(Row::at_least("x", f64::NAN, "", 1.0).verdict(), Verdict::Missed);
        assert_eq!(Row::absent("x", "no broker").verdict(), Verdict::NotMeasured);
    }

    #[test]
    fn numbers_keep_three_significant_digits() {
        let cases = [
            (0.0, "0"),
            (9.35, "9.35"),
            (0.0123, "0.0123"),
            (11.944, "11.94"),
            (3906.0, "3906"),
            (0.95, "0.95"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
