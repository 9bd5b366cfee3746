//! Soaks: what the board sustains, and when and why it throttles.

use super::Page;
use super::paint::Look;
use super::results::chosen;
use super::table::{Table, TableCell};
use crate::format::{self, clock_span, significant, span};
use crate::panels::{PanelLine, panels};
use crate::spark::{resample, sparkline};
use crate::words::{self, clean};
use clipmark_profile::series::Series;
use clipmark_profile::summary::{Profile, SoakSummary, Throttle};

/// Most lines per quantity in the sparklines.
const MOST_LINES: usize = 2;

/// Every soak, over time where its series is at hand.
pub(super) fn write(page: &mut Page, profile: &Profile, series: &[Series]) {
    for (index, soak) in profile.soaks.iter().enumerate() {
        let name = chosen(profile, soak.id);
        page.heading(&format!("Soak: {name}, {}", clock_span(soak.duration_ms)));
        for line in verdict(soak) {
            page.item("  ", "    ", &line, Look::Normal);
        }
        if let Some(series) = series.get(index).filter(|series| series.id == soak.id) {
            over_time(page, series);
        }
        segments(page, soak);
        for throttle in &soak.throttles {
            page.item("  ", "    ", &throttle_words(throttle), Look::Normal);
        }
        for remark in &soak.remarks {
            page.item("  ", "    ", &clean(remark, 400), Look::Faint);
        }
    }
}

/// The findings of a soak, one sentence each.
pub(crate) fn verdict(soak: &SoakSummary) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(reason) = &soak.aborted {
        lines.push(format!("Stopped before its time: {}.", clean(reason, 300)));
    }
    if let Some(failure) = &soak.failure {
        lines.push(format!(
            "Failed while {}: {}; {}.",
            words::stage(failure.stage),
            words::cause(failure.cause),
            clean(&failure.message, 500)
        ));
    }
    if let (Some(burst), Some(sustained)) = (soak.burst_frames_per_s, soak.sustained_frames_per_s) {
        let ratio = soak.sustained_ratio.map_or(String::new(), |r| format!(" ({})", format::percent(r)));
        lines.push(format!(
            "Sustains {} of {} frames/s{ratio}{}.",
            format::significant(sustained),
            format::significant(burst),
            soak.sustained_p99_ns.map_or(String::new(), |p99| format!(", P99 {}", span(p99)))
        ));
    }
    lines.push(match soak.time_to_throttle_ms {
        Some(ms) => format!("Throttles after {}.", clock_span(ms)),
        None => format!("No throttling within {}.", clock_span(soak.duration_ms)),
    });
    if let Some(period) = soak.oscillation_period_ms {
        lines.push(format!("Oscillates with a period of {}.", clock_span(period)));
    }
    if let Some(gate) = &soak.gate {
        let how = if gate.passed { "Started cool" } else { "Started WITHOUT a cool board" };
        let waited = clock_span(gate.waited.get() / 1_000_000);
        lines.push(format!("{how} after waiting {waited}: {}.", clean(&gate.reason, 300)));
    }
    let peaks: Vec<String> = soak
        .peak_temperatures
        .iter()
        .map(|(id, milli)| format!("{} {}", clean(id, 60), format::celsius(*milli)))
        .collect();
    if !peaks.is_empty() {
        lines.push(format!("Peaks: {}.", peaks.join(", ")));
    }
    lines
}

/// One sparkline per quantity that moves, and a bar under the throttled stretches.
fn over_time(page: &mut Page, series: &Series) {
    if series.ticks < 2 {
        return;
    }
    let panels = panels(series);
    let lines: Vec<(&str, &PanelLine)> = panels
        .iter()
        .flat_map(|panel| {
            let moving = panel.lines.iter().filter(|line| moves(line)).take(MOST_LINES);
            moving.map(|line| (unit(&panel.title), line))
        })
        .collect();
    let names =
        lines.iter().map(|(_, line)| line.name.chars().count()).max().unwrap_or(0).max("throttled".len());
    let ranges: Vec<String> = lines.iter().map(|(unit, line)| range(&line.values, unit)).collect();
    let widest = ranges.iter().map(|range| range.chars().count()).max().unwrap_or(0);
    let room = page.width.saturating_sub(names + widest + 6);
    if room < 8 {
        return;
    }
    let length = u64::from(series.ticks) * u64::from(series.period_ms);
    let end = clock_time(length);
    let columns = room.min(series.ticks as usize);
    page.line(&format!("  {:names$}  0:00{end:>left$}", "", left = columns.saturating_sub(4)));
    for ((_, line), range) in lines.iter().zip(&ranges) {
        let bars = sparkline(&resample(&line.values, columns));
        page.line(&format!("  {:names$}  {bars:columns$}  {range}", line.name));
    }
    if !series.throttles.is_empty() {
        let bar = throttled(series, length, columns);
        page.item("", "", &format!("  {:names$}  {bar}", "throttled"), Look::Alarm);
    }
}

/// Whether there is anything to see over time.
fn moves(line: &PanelLine) -> bool {
    crate::grid::extent(line.values.iter().flatten().copied()).is_some_and(|(low, high)| low < high)
}

/// The unit in a panel's title, e.g. `ms` of `latency, ms (...)`.
fn unit(title: &str) -> &str {
    title.split_once(", ").map_or("", |(_, rest)| rest.split(' ').next().unwrap_or(rest))
}

fn range(values: &[Option<f64>], unit: &str) -> String {
    let ends = crate::grid::extent(values.iter().flatten().copied());
    ends.map_or("absent".into(), |(low, high)| {
        format!("{} to {} {unit}", significant(low), significant(high))
    })
}

/// A mark in every column that a throttled stretch touches.
fn throttled(series: &Series, length_ms: u64, columns: usize) -> String {
    let edge = |column: usize| column as u64 * length_ms / columns as u64;
    let touched = |column: usize| {
        let (from, to) = (edge(column), edge(column + 1));
        series.throttles.iter().any(|t| t.onset_ms < to && t.recovery_ms.is_none_or(|end| end > from))
    };
    let marks: String = (0..columns).map(|column| if touched(column) { '━' } else { ' ' }).collect();
    marks.trim_end().to_owned()
}

fn segments(page: &mut Page, soak: &SoakSummary) {
    if soak.segments.is_empty() {
        return;
    }
    let heads = ["P50", "P99", "frames/s"].map(String::from).to_vec();
    let mut table = Table::new("  segment", heads);
    for segment in &soak.segments {
        let name = format!("  {} to {}", clock_time(segment.start_ms), clock_time(segment.end_ms));
        table.row(
            name,
            vec![
                TableCell::plain(span(segment.p50_ns)),
                TableCell::plain(segment.p99_ns.map(span).unwrap_or_default()),
                TableCell::plain(format::significant(segment.frames_per_s)),
            ],
        );
    }
    page.table(&table);
}

/// `10:12` from milliseconds since the soak's start.
pub(crate) fn clock_time(ms: u64) -> String {
    let seconds = ms / 1000;
    if seconds >= 3600 {
        format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    } else {
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }
}

/// One throttling event in words.
pub(crate) fn throttle_words(throttle: &Throttle) -> String {
    let until = throttle.recovery_ms.map_or_else(|| "the end".into(), clock_time);
    let evidence: Vec<String> = throttle.evidence.iter().map(|e| clean(e, 200)).collect();
    let evidence = if evidence.is_empty() { String::new() } else { format!(": {}", evidence.join(", ")) };
    format!(
        "Throttle ({}) from {} to {until}, median latency {}{evidence}.",
        words::throttle(throttle.cause),
        clock_time(throttle.onset_ms),
        format::factor(throttle.slowdown)
    )
}
