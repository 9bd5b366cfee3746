//! Soaks: what the board sustains, and when and why it throttles.

use super::Page;
use super::paint::Look;
use super::results::chosen;
use super::table::{Table, TableCell};
use crate::format::{self, clock_span, span};
use crate::words::{self, clean};
use clipmark_profile::summary::{Profile, SoakSummary, Throttle};

/// Every soak.
pub(super) fn write(page: &mut Page, profile: &Profile) {
    for soak in &profile.soaks {
        let name = chosen(profile, soak.id);
        page.heading(&format!("Soak: {name}, {}", clock_span(soak.duration_ms)));
        for line in verdict(soak) {
            page.item("  ", "    ", &line, Look::Normal);
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
