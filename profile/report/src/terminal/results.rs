//! What the run is for: the operating points, and what a frame costs.

use super::Page;
use super::paint::Look;
use crate::findings::chosen;
use crate::format::{self, span};
use crate::tables;
use crate::words::{self, clean};
use clipmark_profile::point::PointId;
use clipmark_profile::select;
use clipmark_profile::summary::{OperatingPoint, Profile};

/// The chosen points with their reasons, model by model.
pub(super) fn operating_points(page: &mut Page, profile: &Profile) {
    if profile.operating_points.is_empty() {
        page.heading("Operating points");
        page.paragraph("  ", "No operating point could be chosen: no point was measured far enough.");
        return;
    }
    let mut model = None;
    for entry in &profile.operating_points {
        if model != Some(&entry.model) {
            page.heading(&format!("Operating points of {}", clean(&entry.model, 60)));
            model = Some(&entry.model);
        }
        operating_point(page, profile, entry);
    }
}

/// The answer in two or three sentences, model by model.
pub(super) fn answers(page: &mut Page, profile: &Profile) {
    for answer in select::answers(profile) {
        page.line("");
        page.paragraph("", &clean(&answer.sentences.join(" "), 1200));
    }
}

/// The best choice at each clip length.
pub(super) fn choices(page: &mut Page, profile: &Profile) {
    for table in tables::choices(profile) {
        page.heading(&table.title);
        page.table(&table);
    }
}

fn operating_point(page: &mut Page, profile: &Profile, entry: &OperatingPoint) {
    let name = words::objective(entry.objective);
    match entry.chosen.first() {
        None => page.item("  ", "    ", &format!("{name}: none"), Look::Strong),
        Some(best) => {
            page.item("  ", "    ", &format!("{name}: {}", chosen(profile, *best)), Look::Strong);
            let figures = figures(profile, *best);
            if !figures.is_empty() {
                page.paragraph("    ", &figures.join(" \u{b7} "));
            }
        }
    }
    let others: Vec<String> = entry.chosen.iter().skip(1).map(|id| chosen(profile, *id)).collect();
    if !others.is_empty() {
        page.paragraph("    ", &format!("the data cannot tell it from {}", others.join("; ")));
    }
    page.item("    ", "    ", &clean(&entry.reason, 600), Look::Faint);
}

/// The figures of a point that bear on a choice.
fn figures(profile: &Profile, id: PointId) -> Vec<String> {
    let Some(point) = profile.points.iter().find(|p| p.id == id) else { return Vec::new() };
    let mut figures = Vec::new();
    if let Some(latency) = &point.latency
        && let Some((p99, interval)) = point.comparable_p99()
    {
        let bounds = words::interval(interval, span)
            .unwrap_or_else(|| format!("interval not determinable at n = {}", latency.iterations));
        figures.push(format!("P99 {} ({bounds})", span(p99)));
    }
    let rate = point.comparable_frames_per_s();
    figures.extend(rate.map(|rate| format!("{} frames/s", format::significant(rate))));
    figures.extend(point.comparable_energy().map(|(uj, _)| format!("{} a frame", format::energy(uj))));
    figures.extend(point.peak_memory_bytes.map(|peak| format!("peak {}", format::bytes(peak))));
    figures
}

/// What a frame costs at the chosen points, and in soaks.
pub(super) fn energy(page: &mut Page, profile: &Profile) {
    let Some(table) = tables::energy(profile) else { return };
    let state = if profile.drift.is_some() { ", as measured" } else { "" };
    page.heading(&format!("Energy at the chosen points{state}"));
    page.table(&table.without(&["95 % interval", "frames/J"]));
    let mut basis = Vec::new();
    if let Some(topology) = &profile.power_topology {
        basis.push(format!("total power: {}", clean(topology, 200)));
    }
    basis.extend(profile.idle_power_mw.map(|idle| format!("idle {}", format::power(idle))));
    if !basis.is_empty() {
        page.item("  ", "  ", &basis.join("; "), Look::Faint);
    }
}
