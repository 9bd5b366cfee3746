//! The table on the terminal, row by row as it is found, and as Markdown.

use crate::row::{Row, Verdict};
use crate::{Measured, Section};
use std::fmt::Write as _;
use std::io::Write as _;

const CLAIM: usize = 62;
const FIGURE: usize = 14;
const TARGET: usize = 15;

fn say(text: &str) {
    // A closed pipe has no reader who could miss it.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn width() -> usize {
    terminal_size::terminal_size().map_or(110, |(width, _)| usize::from(width.0)).clamp(60, 120)
}

fn wrapped(text: &str, indent: &str) -> String {
    let options = textwrap::Options::new(width()).initial_indent(indent).subsequent_indent(indent);
    textwrap::fill(text, options)
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "ok",
        Verdict::Missed => "MISSED",
        Verdict::NotMeasured => "not measured",
    }
}

pub(crate) fn heading(section: &Section) {
    say(&format!("\n{}\n{}\n", section.name.to_uppercase(), wrapped(section.how, "")));
}

pub(crate) fn row(row: &Row) {
    let (figure, target) = (row.figure_text(), row.target_text());
    let line = format!("{:<CLAIM$} {figure:>FIGURE$}  {target:<TARGET$} {}", row.claim, word(row.verdict()));
    say(line.trim_end());
    if !row.note.is_empty() {
        say(&wrapped(&row.note, "    "));
    }
}

pub(crate) fn closing(met: usize, missed: usize, absent: usize) {
    say(&format!("\n{met} targets kept, {missed} missed, {absent} not measured here"));
}

/// The whole table.
pub(crate) fn markdown(measured: &[Measured]) -> String {
    let build = if cfg!(debug_assertions) { "a development build" } else { "a release build" };
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let mut text = format!(
        "# The table of measured truth\n\nWritten by `cargo run --release -p clipmark-proof -- --markdown docs/proof.md`; \
         this one by {build}, on {} with {cpus} CPUs. Timings are of the machine it ran on; ratios were taken in one run.\n",
        std::env::consts::ARCH,
    );
    for part in measured {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n## {}\n\n{}\n\n", part.section.name, part.section.how);
        text.push_str("| claim | figure | target | |\n|---|---|---|---|\n");
        for row in &part.rows {
            let claim = if row.note.is_empty() {
                row.claim.clone()
            } else {
                format!("{}<br><small>{}</small>", row.claim, row.note)
            };
            let (figure, target) = (row.figure_text(), row.target_text());
            let line = format!("| {claim} | {figure} | {target} | {} |", word(row.verdict()));
            text.push_str(&line.replace('\n', " "));
            text.push('\n');
        }
    }
    text
}
