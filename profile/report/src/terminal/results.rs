//! What the run is for: the operating points, and what a frame costs.

use super::Page;
use super::paint::Look;
use super::table::{Table, TableCell};
use crate::format::{self, span};
use crate::words::{self, clean};
use clipmark_profile::point::PointId;
use clipmark_profile::select;
use clipmark_profile::summary::{EnergySummary, OperatingPoint, Profile};

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

/// The best batch at each clip length.
pub(super) fn clip_lengths(page: &mut Page, profile: &Profile) {
    let choices = select::clip_choices(profile);
    let mut models: Vec<&str> = choices.iter().map(|choice| choice.model.as_str()).collect();
    models.dedup();
    for model in models {
        page.heading(&format!("Best batch size at each clip length: {}", clean(model, 60)));
        let heads = ["keeps up", "streaming", "offline", "efficiency"].map(String::from).to_vec();
        let mut table = Table::new("  clip", heads);
        for choice in choices.iter().filter(|choice| choice.model == model) {
            let ids = [&choice.streaming, &choice.offline, &choice.efficiency];
            let mut cells = vec![TableCell::plain(words::keeps_up(choice.keeps_up))];
            cells.extend(ids.map(|ids| TableCell::plain(words::batches(profile, ids))));
            table.row(format!("  {}", choice.clip_length), cells);
        }
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

/// A point with its variant, in words.
pub(crate) fn chosen(profile: &Profile, id: PointId) -> String {
    let labels = words::labels(&profile.variants);
    let label = labels.get(usize::from(id.variant)).map_or("?", String::as_str);
    format!("{label}, {}", words::point(id.shape))
}

/// A point with its variant, short enough for the head of a row.
pub(crate) fn short(profile: &Profile, id: PointId) -> String {
    let labels = words::labels(&profile.variants);
    let label = labels.get(usize::from(id.variant)).map_or("?", String::as_str);
    format!("{label} {}", id.shape)
}

/// The figures of a point that bear on a choice.
pub(crate) fn figures(profile: &Profile, id: PointId) -> Vec<String> {
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
    let rows = energy_rows(profile);
    if rows.is_empty() {
        return;
    }
    let state = if profile.drift.is_some() { ", as measured" } else { "" };
    page.heading(&format!("Energy at the chosen points{state}"));
    let heads = ["power", "per frame", "above idle", "per clip", "per inference"].map(String::from).to_vec();
    let mut table = Table::new("  point", heads);
    for (name, id, energy) in rows {
        let per_clip = energy.gross_per_frame_uj * f64::from(id.shape.clip());
        let per_inference = per_clip * f64::from(id.shape.batch());
        table.row(
            format!("  {name}"),
            vec![
                TableCell::plain(format::power(energy.mean_power_mw)),
                TableCell::plain(format::energy(energy.gross_per_frame_uj)),
                TableCell::plain(energy.net_per_frame_uj.map(format::energy).unwrap_or_default()),
                TableCell::plain(format::energy(per_clip)),
                TableCell::plain(format::energy(per_inference)),
            ],
        );
    }
    page.table(&table);
    let mut basis = Vec::new();
    if let Some(topology) = &profile.power_topology {
        basis.push(format!("total power: {}", clean(topology, 200)));
    }
    basis.extend(profile.idle_power_mw.map(|idle| format!("idle {}", format::power(idle))));
    if !basis.is_empty() {
        page.item("  ", "  ", &basis.join("; "), Look::Faint);
    }
}

/// Name, point and energy of every chosen point and soak that has a total power, each once.
pub(crate) fn energy_rows(profile: &Profile) -> Vec<(String, PointId, EnergySummary)> {
    let mut rows: Vec<(String, PointId, EnergySummary)> = Vec::new();
    let chosen_ids = profile.operating_points.iter().filter_map(|entry| entry.chosen.first());
    for &id in chosen_ids {
        let energy = profile.points.iter().find(|p| p.id == id).and_then(|p| p.energy);
        if let Some(energy) = energy
            && !rows.iter().any(|row| row.1 == id)
        {
            rows.push((short(profile, id), id, energy));
        }
    }
    for soak in &profile.soaks {
        let name = short(profile, soak.id);
        rows.extend(soak.energy.map(|energy| (format!("{name}, soak"), soak.id, energy)));
        rows.extend(soak.sustained_energy.map(|e| (format!("{name}, sustained"), soak.id, e)));
    }
    rows
}
