//! Soaks: what the board sustains, and when and why it throttles.

use super::Page;
use super::paint::Look;
use crate::findings::{chosen, throttle_words, verdict};
use crate::format::{clock_span, clock_time, significant};
use crate::panels::{PanelLine, panels};
use crate::spark::{resample, sparkline};
use crate::tables;
use crate::words::clean;
use clipmark_profile::series::Series;
use clipmark_profile::summary::Profile;

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
        if let Some(table) = tables::segments(soak) {
            page.table(&table);
        }
        for throttle in &soak.throttles {
            page.item("  ", "    ", &throttle_words(throttle), Look::Normal);
        }
        for remark in &soak.remarks {
            page.item("  ", "    ", &clean(remark, 400), Look::Faint);
        }
    }
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
