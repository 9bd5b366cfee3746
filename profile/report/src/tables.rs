//! What each table of a report holds, for the terminal and the page alike.

use crate::contrast::Contrast;
use crate::findings::{break_words, energy_rows};
use crate::format::{self, clock_time, span};
use crate::grid::{ACROSS, DOWN, Figure, Grid};
use crate::table::{Datum, HeatScale, Table};
use crate::words::{self, clean};
use clipmark_profile::select;
use clipmark_profile::summary::{PointSummary, Profile, SoakSummary};

/// The best batch size at each clip length, model by model.
pub(crate) fn choices(profile: &Profile) -> Vec<Table> {
    let choices = select::clip_choices(profile);
    let mut models: Vec<&str> = choices.iter().map(|choice| choice.model.as_str()).collect();
    models.dedup();
    let of_model = |model: &str| {
        let title = format!("{BEST}: {}", clean(model, 60));
        let mut table =
            Table::new(title, ACROSS.row().short, ["keeps up", "streaming", "offline", "efficiency"]);
        for choice in choices.iter().filter(|choice| choice.model == model) {
            let ids = [&choice.streaming, &choice.offline, &choice.efficiency];
            let keeps_up = words::keeps_up(choice.keeps_up).to_owned();
            let best = ids.map(|ids| words::best(profile, ids));
            table.row(choice.clip_length.to_string(), [keeps_up].into_iter().chain(best));
        }
        table
    };
    models.into_iter().map(of_model).collect()
}

/// What [`choices`] show.
pub(crate) const BEST: &str = "Best batch size at each clip length";

/// P99 and throughput of every variant over its grids, each pair with the name of what it is of.
pub(crate) fn heat_maps(profile: &Profile) -> Vec<(String, [Table; 2])> {
    let of_variant = |index: usize| {
        let name = words::variant(&profile.variants[index]);
        let grids = Grid::of(profile, index as u16).into_iter();
        grids.map(move |grid| {
            let name = grid.beside.iter().fold(name.clone(), |name, held| format!("{name}, {held}"));
            (name, [Figure::P99, Figure::Throughput].map(|figure| heat_map(&grid, figure)))
        })
    };
    (0..profile.variants.len()).flat_map(of_variant).collect()
}

fn heat_map(grid: &Grid, figure: Figure) -> Table {
    let scale = HeatScale::over(figure, &grid.values(figure).collect::<Vec<f64>>());
    let heads = grid.across.iter().map(|&size| words::size(ACROSS, size));
    let mut table = Table::new(scale.title(), DOWN.row().short, heads);
    for &down in &grid.down {
        let cells = grid.across.iter().map(|&across| scale.datum(grid.cell(figure, down, across)));
        table.row(down.to_string(), cells);
    }
    table
}

/// The variants side by side, with the ratio to the best.
pub(crate) fn contrast(contrast: &Contrast) -> Table {
    let points = contrast.rows.iter().flat_map(|row| row.points.iter().flatten());
    let values: Vec<f64> = points.filter_map(|point| Figure::P99.of(point)).collect();
    let scale = HeatScale::over(Figure::P99, &values);
    let heads = contrast.labels.iter().flat_map(|label| [clean(label, 20), "x best".into()]);
    let title = format!("{}, {}", contrast.held, scale.title());
    let mut table = Table::new(title, ACROSS.row().unit, heads);
    for row in &contrast.rows {
        let cells = (0..contrast.labels.len()).flat_map(|index| {
            let ratio = row.ratio(index).map(format::significant).unwrap_or_default();
            [scale.datum(row.cell(Figure::P99, index)), Datum::Plain(ratio)]
        });
        table.row(row.across.to_string(), cells);
    }
    table
}

/// How latency grows, line by line.
pub(crate) fn exponents(profile: &Profile) -> Table {
    let mut table = Table::new("Exponents", "line", ["k", "95 % interval", "before and beyond the break"]);
    let labels = words::labels(&profile.variants);
    for line in &profile.scaling {
        let label = labels.get(usize::from(line.variant)).map_or("?", String::as_str);
        let interval = words::interval(line.exponent_ci, |k| format!("{k:.2}"));
        let cells = [
            format!("{:.2}", line.exponent),
            interval.unwrap_or_else(|| "not determinable".into()),
            break_words(line).unwrap_or_else(|| "one slope".into()),
        ];
        table.row(format!("{label}, {}", words::size(DOWN, line.batch_size)), cells);
    }
    table
}

/// What a frame costs at the chosen points and in soaks; `None` where no total power is known.
pub(crate) fn energy(profile: &Profile) -> Option<Table> {
    let heads =
        ["power", "per frame", "95 % interval", "above idle", "per clip", "per inference", "frames/J"];
    let mut table = Table::new("Energy", "point", heads);
    for (name, id, energy) in energy_rows(profile) {
        let frame = energy.gross_per_frame_uj;
        let interval = words::interval(energy.gross_ci_uj, format::energy);
        let cells = [
            format::power(energy.mean_power_mw),
            format::energy(frame),
            interval.unwrap_or_else(|| "not determinable".into()),
            energy.net_per_frame_uj.map(format::energy).unwrap_or_default(),
            format::energy(frame * f64::from(id.shape.clip())),
            format::energy(frame * id.shape.frames() as f64),
            format::significant(1e6 / frame),
        ];
        table.row(name, cells);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Stretches of a soak with one level of latency.
pub(crate) fn segments(soak: &SoakSummary) -> Option<Table> {
    let mut table = Table::new("Stretches with one level of latency", "segment", ["P50", "P99", "frames/s"]);
    for segment in &soak.segments {
        let cells = [
            span(segment.p50_ns),
            segment.p99_ns.map(span).unwrap_or_default(),
            format::significant(segment.frames_per_s),
        ];
        table.row(format!("{} to {}", clock_time(segment.start_ms), clock_time(segment.end_ms)), cells);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// The most expensive operators of a point, where they were asked for.
pub(crate) fn operators(point: &PointSummary) -> Option<Table> {
    let mut table = Table::new("Operators", "operator", ["type", "time", "share"]);
    for row in &point.operators {
        let cells = [clean(&row.kind, 20), span(row.time.get() as f64), format::percent(row.share)];
        table.row(clean(&row.name, 32), cells);
    }
    (!table.rows.is_empty()).then_some(table)
}
