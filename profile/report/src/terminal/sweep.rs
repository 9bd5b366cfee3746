//! The findings of the sweep: how the board changed, comparison, heat tables, scaling, memory, failures, operators.

use super::Page;
use super::paint::Look;
use crate::contrast::Contrast;
use crate::findings::{self, chosen};
use crate::grid::ACROSS;
use crate::spark::{resample, sparkline};
use crate::words;
use crate::{format, tables};
use clipmark_profile::summary::Profile;

/// Most characters of the line.
const MOST_CHARACTERS: usize = 48;

/// The board in each block, where it changed.
pub(super) fn drift(page: &mut Page, profile: &Profile) {
    let Some(drift) = &profile.drift else { return };
    let Some((fastest, slowest)) = drift.range() else { return };
    page.heading("The board during the sweep: latency over that at its end");
    let levels: Vec<Option<f64>> = drift.blocks.iter().map(|block| Some(block.slowness)).collect();
    let line = sparkline(&resample(&levels, MOST_CHARACTERS.min(page.width / 2)));
    page.paragraph("  ", &format!("{line}  {fastest:.2} to {slowest:.2} times, in {} blocks", levels.len()));
}

/// Two or more variants side by side.
pub(super) fn contrast(page: &mut Page, profile: &Profile) {
    let Some(contrast) = Contrast::of(profile) else { return };
    let table = tables::contrast(&contrast);
    page.heading(&format!("Across {ACROSS}s ({}{})", table.title, words::common_state(profile)));
    page.table(&table);
    page.paragraph("  ", &contrast.sentence());
}

/// P99 and throughput over the grid, per variant.
pub(super) fn grids(page: &mut Page, profile: &Profile) {
    for (name, tables) in tables::heat_maps(profile) {
        for table in tables {
            page.heading(&format!("{name}: {}{}", table.title, words::common_state(profile)));
            page.table(&table);
        }
    }
}

/// How latency grows.
pub(super) fn scaling(page: &mut Page, profile: &Profile) {
    let table = tables::exponents(profile);
    if !table.rows.is_empty() {
        page.heading(&format!("Scaling with {ACROSS} (latency ~ {}^k)", ACROSS.row().unit));
        page.table(&table);
    }
}

/// Where memory pressure begins.
pub(super) fn memory(page: &mut Page, profile: &Profile) {
    let pressure = findings::memory_pressure(profile);
    if pressure.is_empty() {
        return;
    }
    page.heading("Memory pressure");
    for entry in pressure {
        page.item("  ", "    ", &entry, Look::Normal);
    }
    let peak = profile.points.iter().filter_map(|p| Some((p.peak_memory_bytes?, p.id))).max_by_key(|p| p.0);
    if let Some((bytes, id)) = peak {
        page.paragraph("  ", &format!("highest peak {} ({})", format::bytes(bytes), chosen(profile, id)));
    }
}

/// Failed and not-run points with their causes, and remarks.
pub(super) fn failures(page: &mut Page, profile: &Profile) {
    let notes = findings::notes(profile);
    if notes.is_empty() {
        return;
    }
    page.heading("Points that failed, were not run, or need a remark");
    for (name, note) in notes {
        page.item("  ", "    ", &format!("{name}: {note}"), Look::Normal);
    }
}

/// The most expensive operators, where they were asked for.
pub(super) fn operators(page: &mut Page, profile: &Profile) {
    for point in &profile.points {
        let Some(table) = tables::operators(point) else { continue };
        page.heading(&format!("Most expensive operators: {}", chosen(profile, point.id)));
        page.table(&table);
    }
}
