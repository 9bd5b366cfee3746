//! The findings of the sweep: comparison, heat tables, scaling, memory, failures, operators.

use super::Page;
use super::paint::{Look, Ramp};
use super::table::{Table, TableCell};
use crate::contrast::Contrast;
use crate::format::{self, TimeScale};
use crate::grid::{Cell, Figure, Grid, Mark, extent, log_position};
use crate::words::{self, clean};
use clipmark_profile::summary::{Profile, Scaling, SteadyState};
use std::collections::BTreeSet;

/// How one figure is shown over a grid.
struct HeatScale {
    figure: Figure,
    time: TimeScale,
    range: Option<(f64, f64)>,
}

impl HeatScale {
    fn over(figure: Figure, values: &[f64]) -> Self {
        let time = TimeScale::fitting(values.iter().copied());
        Self { figure, time, range: extent(values.iter().copied()) }
    }

    fn cell(&self, cell: &Cell, seen: &mut BTreeSet<Mark>) -> TableCell {
        match cell {
            Cell::Absent => TableCell::plain(""),
            Cell::Failed(word) => TableCell::with(*word, Look::Alarm),
            Cell::NotRun => TableCell::with("not run", Look::Faint),
            Cell::Figure { value, marks } => {
                seen.extend(marks);
                let mut text = match self.figure {
                    Figure::P99 => self.time.number(*value),
                    Figure::Throughput => format::significant(*value),
                };
                text.extend(marks.iter().map(|mark| mark.sign()));
                let (ramp, (low, high)) = (self.ramp(), self.range.unwrap_or((*value, *value)));
                TableCell::with(text, Look::Heat(ramp, log_position(*value, low, high)))
            }
        }
    }

    const fn ramp(&self) -> Ramp {
        match self.figure {
            Figure::P99 => Ramp::Latency,
            Figure::Throughput => Ramp::Throughput,
        }
    }

    fn title(&self) -> String {
        match self.figure {
            Figure::P99 => format!("P99 latency, {}", self.time.unit),
            Figure::Throughput => "throughput, frames/s".into(),
        }
    }
}

/// Two or more variants side by side over the clip lengths.
pub(super) fn contrast(page: &mut Page, profile: &Profile) {
    let Some(contrast) = Contrast::of(profile) else { return };
    let variants = 0..contrast.labels.len();
    let values: Vec<f64> = contrast
        .rows
        .iter()
        .flat_map(|row| row.points.iter().flatten().filter_map(|point| Figure::P99.of(point)))
        .collect();
    let scale = HeatScale::over(Figure::P99, &values);
    let state = words::common_state(profile);
    page.heading(&format!("Across clip lengths (batch {}, {}{state})", contrast.batch_size, scale.title()));
    let mut heads: Vec<String> = Vec::new();
    for label in &contrast.labels {
        heads.extend([clean(label, 20), "x best".into()]);
    }
    let mut table = Table::new("  frames", heads);
    let mut seen = BTreeSet::new();
    for row in &contrast.rows {
        let mut cells = Vec::new();
        for index in variants.clone() {
            cells.push(scale.cell(&row.cell(Figure::P99, index), &mut seen));
            cells.push(TableCell::plain(row.ratio(index).map(format::significant).unwrap_or_default()));
        }
        table.row(format!("  {}", row.clip_length), cells);
    }
    page.table(&table);
    legend(page, &seen);
    page.paragraph("  ", &contrast.sentence());
}

/// P99 and throughput over batch size and clip length, per variant.
pub(super) fn grids(page: &mut Page, profile: &Profile) {
    for (index, variant) in profile.variants.iter().enumerate() {
        let grid = Grid::of(profile, index as u16);
        if grid.batch_sizes.is_empty() {
            continue;
        }
        for figure in [Figure::P99, Figure::Throughput] {
            let values: Vec<f64> = grid.values(figure).collect();
            let scale = HeatScale::over(figure, &values);
            let state = words::common_state(profile);
            page.heading(&format!("{}: {}{state}", words::variant(variant), scale.title()));
            heat_table(page, &grid, &scale);
        }
    }
}

fn heat_table(page: &mut Page, grid: &Grid, scale: &HeatScale) {
    let heads = grid.clip_lengths.iter().map(|clip| format!("clip {clip}")).collect();
    let mut table = Table::new("  batch", heads);
    let mut seen = BTreeSet::new();
    for &batch in &grid.batch_sizes {
        let cells = grid
            .clip_lengths
            .iter()
            .map(|&clip| scale.cell(&grid.cell(scale.figure, batch, clip), &mut seen))
            .collect();
        table.row(format!("  {batch}"), cells);
    }
    page.table(&table);
    legend(page, &seen);
}

fn legend(page: &mut Page, seen: &BTreeSet<Mark>) {
    for mark in seen {
        page.item("  ", "    ", &format!("{} {}", mark.sign(), mark.meaning()), Look::Faint);
    }
}

/// How latency grows with clip length.
pub(super) fn scaling(page: &mut Page, profile: &Profile) {
    if profile.scaling.is_empty() {
        return;
    }
    page.heading("Scaling with clip length (latency ~ frames^k)");
    let labels = words::labels(&profile.variants);
    let heads = ["k", "95 % interval", "before and beyond the break"].map(String::from).to_vec();
    let mut table = Table::new("  line", heads);
    for line in &profile.scaling {
        let label = labels.get(usize::from(line.variant)).map_or("?", String::as_str);
        let interval = words::interval(line.exponent_ci, |k| format!("{k:.2}"));
        let cells = [
            format!("{:.2}", line.exponent),
            interval.unwrap_or_else(|| "not determinable".into()),
            break_words(line).unwrap_or_else(|| "one slope".into()),
        ];
        table.row(format!("  {label}, batch {}", line.batch_size), cells.map(TableCell::plain).to_vec());
    }
    page.table(&table);
}

/// The slopes on both sides of the breakpoint, where there is one.
pub(crate) fn break_words(line: &Scaling) -> Option<String> {
    let clip = line.breakpoint_clip_length?;
    Some(match line.segment_exponents {
        Some([before, after]) => format!("{before:.2} to clip {clip}, then {after:.2}"),
        None => format!("at clip {clip}"),
    })
}

/// Where memory pressure begins.
pub(super) fn memory(page: &mut Page, profile: &Profile) {
    if profile.memory_pressure.is_empty() {
        return;
    }
    page.heading("Memory pressure");
    let labels = words::labels(&profile.variants);
    for entry in &profile.memory_pressure {
        let label = labels.get(usize::from(entry.variant)).map_or("?", String::as_str);
        page.item("  ", "    ", &format!("{label}: {}", pressure_words(entry)), Look::Normal);
    }
    let peak = profile.points.iter().filter_map(|p| Some((p.peak_memory_bytes?, p.id))).max_by_key(|p| p.0);
    if let Some((bytes, id)) = peak {
        let label = labels.get(usize::from(id.variant)).map_or("?", String::as_str);
        let text = format!("highest peak {} ({label}, {})", format::bytes(bytes), words::point(id.shape));
        page.paragraph("  ", &text);
    }
}

/// Where pressure begins and what shows it.
pub(crate) fn pressure_words(entry: &clipmark_profile::summary::MemoryPressure) -> String {
    match (entry.first, entry.sign) {
        (Some(at), Some(sign)) => format!("from {} on ({})", words::point(at), words::pressure(sign)),
        (Some(at), None) => format!("from {} on", words::point(at)),
        (None, _) => "no sign at any point measured".into(),
    }
}

/// Failed and not-run points with their causes, and remarks.
pub(super) fn failures(page: &mut Page, profile: &Profile) {
    let labels = words::labels(&profile.variants);
    let notes: Vec<(String, String)> = profile
        .points
        .iter()
        .flat_map(|point| {
            let label = labels.get(usize::from(point.id.variant)).map_or("?", String::as_str);
            let name = format!("{label}, {}", words::point(point.id.shape));
            point_notes(point).into_iter().map(move |note| (name.clone(), note))
        })
        .collect();
    if notes.is_empty() {
        return;
    }
    page.heading("Points that failed, were not run, or need a remark");
    for (name, note) in notes {
        page.item("  ", "    ", &format!("{name}: {note}"), Look::Normal);
    }
}

/// What a reader must know about a point beside its figures.
pub(crate) fn point_notes(point: &clipmark_profile::summary::PointSummary) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(failure) = &point.failure {
        notes.push(format!(
            "failed while {}: {}; {}",
            words::stage(failure.stage),
            words::cause(failure.cause),
            clean(&failure.message, 500)
        ));
    }
    if let Some(reason) = point.not_run {
        let settled_by =
            point.because_of.map_or(String::new(), |id| format!(" ({})", words::point(id.shape)));
        notes.push(format!("not run: {}{settled_by}", words::not_run(reason)));
    }
    if let Some(latency) = &point.latency
        && matches!(latency.steady, SteadyState::Slowdown | SteadyState::NoSteadyState)
    {
        let which = if point.comparable.is_some() { "its figures as measured" } else { "its figures" };
        let course = words::steady(latency.steady);
        notes.push(format!("latency {course}: {which} describe no single state"));
    }
    notes.extend(point.remarks.iter().map(|remark| clean(remark, 500)));
    notes
}

/// The most expensive operators, where they were asked for.
pub(super) fn operators(page: &mut Page, profile: &Profile) {
    let labels = words::labels(&profile.variants);
    for point in profile.points.iter().filter(|p| !p.operators.is_empty()) {
        let label = labels.get(usize::from(point.id.variant)).map_or("?", String::as_str);
        page.heading(&format!("Most expensive operators: {label}, {}", words::point(point.id.shape)));
        let mut table = Table::new("  operator", vec!["type".into(), "time".into(), "share".into()]);
        for row in &point.operators {
            table.row(
                format!("  {}", clean(&row.name, 32)),
                vec![
                    TableCell::plain(clean(&row.kind, 20)),
                    TableCell::plain(format::span(row.time.get() as f64)),
                    TableCell::plain(format::percent(row.share)),
                ],
            );
        }
        page.table(&table);
    }
}
