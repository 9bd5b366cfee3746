//! Heat maps, and the comparison of variants over clip lengths. A heat map is a table: its figures can be
//! read, copied and spoken, the ground colour only helps the eye.

use super::{figure, scroll};
use crate::contrast::Contrast;
use crate::format::{self, TimeScale};
use crate::grid::{Cell, Figure, Grid, Mark, extent, log_position};
use crate::svg;
use crate::terminal::sweep::break_words;
use crate::words;
use clipmark_profile::summary::Profile;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Where a ground becomes so strong that the figure on it needs the other ink.
const DEEP: f64 = 0.52;

/// How one figure is shown.
struct Heat {
    figure: Figure,
    time: TimeScale,
    range: Option<(f64, f64)>,
}

impl Heat {
    fn over(figure: Figure, values: &[f64]) -> Self {
        Self {
            figure,
            time: TimeScale::fitting(values.iter().copied()),
            range: extent(values.iter().copied()),
        }
    }

    fn title(&self) -> String {
        match self.figure {
            Figure::P99 => format!("P99 latency, {} (stronger colour: slower)", self.time.unit),
            Figure::Throughput => "Throughput, frames/s (stronger colour: more)".into(),
        }
    }

    fn cell(&self, cell: &Cell, seen: &mut BTreeSet<Mark>) -> Markup {
        match cell {
            Cell::Absent => html! { td {} },
            Cell::Failed(word) => html! { td.failed { (word) } },
            Cell::NotRun => html! { td.idle { "not run" } },
            Cell::Figure { value, marks } => {
                seen.extend(marks);
                let (low, high) = self.range.unwrap_or((*value, *value));
                let position = log_position(*value, low, high);
                let (ramp, text) = match self.figure {
                    Figure::P99 => ("latency", self.time.number(*value)),
                    Figure::Throughput => ("throughput", format::significant(*value)),
                };
                let class = if position > DEEP { format!("{ramp} deep") } else { ramp.into() };
                html! {
                    td class=(class) style=(format!("--v:{position:.3}")) {
                        (text)
                        @for mark in marks { sup title=(mark.meaning()) { (mark.sign()) } }
                    }
                }
            }
        }
    }
}

fn legend(seen: &BTreeSet<Mark>) -> Markup {
    html! {
        @for mark in seen { p.note { (mark.sign()) " " (mark.meaning()) } }
    }
}

/// How the board changed during the sweep.
pub(super) fn drift(profile: &Profile) -> Option<Markup> {
    let plot = svg::drift(profile.drift.as_ref()?)?;
    let caption = "Latency in each block of the sweep over latency in the common state, the board's at the end of the \
                   sweep, with 95 % intervals. All points that returned tell of it.";
    Some(figure(caption, plot))
}

/// P99 and throughput of every variant.
pub(super) fn heat_maps(profile: &Profile) -> Option<Markup> {
    let grids: Vec<(String, Grid)> = profile
        .variants
        .iter()
        .enumerate()
        .map(|(index, variant)| (words::variant(variant), Grid::of(profile, index as u16)))
        .filter(|(_, grid)| !grid.batch_sizes.is_empty())
        .collect();
    if grids.is_empty() {
        return None;
    }
    Some(html! {
        @if profile.drift.is_some() {
            p.note { "The board changed during the sweep: these figures are estimates" (words::common_state(profile)) ". The distributions and percentiles below are as measured; the last columns of the percentiles are in the common state." }
        }
        @for (name, grid) in &grids {
            h3 { (name) }
            div.pair {
                (heat_map(name, grid, Figure::P99))
                (heat_map(name, grid, Figure::Throughput))
            }
        }
    })
}

fn heat_map(name: &str, grid: &Grid, figure: Figure) -> Markup {
    let values: Vec<f64> = grid.values(figure).collect();
    let heat = Heat::over(figure, &values);
    let mut seen = BTreeSet::new();
    let rows: Vec<(u32, Vec<Markup>)> = grid
        .batch_sizes
        .iter()
        .map(|&batch| {
            let cells =
                grid.clip_lengths.iter().map(|&clip| heat.cell(&grid.cell(figure, batch, clip), &mut seen));
            (batch, cells.collect())
        })
        .collect();
    let table = html! {
        table.heat {
            caption { (heat.title()) }
            thead { tr {
                th.l scope="col" { "batch \\ clip" }
                @for clip in &grid.clip_lengths { th scope="col" { (clip) } }
            } }
            tbody {
                @for (batch, cells) in rows { tr { th scope="row" { (batch) } @for cell in cells { (cell) } } }
            }
        }
    };
    html! { div { (scroll(&format!("{name}: {}", heat.title()), table)) (legend(&seen)) } }
}

/// How latency grows with clip length, and the variants side by side.
pub(super) fn contrast(profile: &Profile) -> Option<Markup> {
    let plot = svg::scaling(profile);
    let table = contrast_table(profile);
    if plot.is_none() && table.is_none() {
        return None;
    }
    let caption = "Both axes are logarithmic: a straight line is a power law, k its exponent (1 is linear, 2 \
                   quadratic). A ring marks a clip length after which another slope holds.";
    Some(html! {
        @if let Some(plot) = plot { (figure(caption, plot)) }
        @if !profile.scaling.is_empty() { (exponents(profile)) }
        @if let Some(table) = table { (table) }
    })
}

fn exponents(profile: &Profile) -> Markup {
    let labels = words::labels(&profile.variants);
    let table = html! {
        table.ruled {
            thead { tr {
                th.l scope="col" { "line" } th scope="col" { "k" } th scope="col" { "95 % interval" }
                th scope="col" { "before and beyond the break" }
            } }
            tbody {
                @for line in &profile.scaling {
                    tr {
                        th scope="row" {
                            (labels.get(usize::from(line.variant)).map_or("?", String::as_str)) ", batch " (line.batch_size)
                        }
                        td { (format!("{:.2}", line.exponent)) }
                        td { (words::interval(line.exponent_ci, |k| format!("{k:.2}")).unwrap_or_else(|| "not determinable".into())) }
                        td { (break_words(line).unwrap_or_else(|| "one slope".into())) }
                    }
                }
            }
        }
    };
    html! { details { summary { "Exponents with intervals" } (scroll("Exponents", table)) } }
}

/// P99 against throughput.
pub(super) fn trade_off(profile: &Profile) -> Option<Markup> {
    let caption = "Better is up and to the left. The area of a mark is energy per frame, where it was \
                   measured; a staircase joins the points that no other point of the same model beats in both";
    let caption = format!("{caption}{}.", words::common_state(profile));
    svg::pareto(profile).map(|plot| figure(&caption, plot))
}

fn contrast_table(profile: &Profile) -> Option<Markup> {
    let contrast = Contrast::of(profile)?;
    let values: Vec<f64> = contrast
        .rows
        .iter()
        .flat_map(|row| row.points.iter().flatten().filter_map(|point| Figure::P99.of(point)))
        .collect();
    let heat = Heat::over(Figure::P99, &values);
    let mut seen = BTreeSet::new();
    let rows: Vec<(u32, Vec<(Markup, String)>)> = contrast
        .rows
        .iter()
        .map(|row| {
            let cells = (0..contrast.labels.len()).map(|index| {
                let ratio = row.ratio(index).map(format::factor).unwrap_or_default();
                (heat.cell(&row.cell(Figure::P99, index), &mut seen), ratio)
            });
            (row.clip_length, cells.collect())
        })
        .collect();
    let table = html! {
        table.heat {
            caption { (heat.title()) ", batch " (contrast.batch_size) "; beside it the ratio to the best" }
            thead { tr {
                th.l scope="col" { "frames" }
                @for label in &contrast.labels { th scope="col" { (label) } th scope="col" { "ratio" } }
            } }
            tbody {
                @for (clip, cells) in rows {
                    tr { th scope="row" { (clip) } @for (cell, ratio) in cells { (cell) td { (ratio) } } }
                }
            }
        }
    };
    Some(html! { (scroll("Variants across clip lengths", table)) (legend(&seen)) })
}
