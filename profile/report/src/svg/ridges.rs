//! Merged distributions of several cohorts under one latency axis, one ridge a cohort.

use super::frame::{Area, horizontal, picture};
use super::scale::Scale;
use super::{color, px};
use crate::format::{TimeScale, round, span};
use crate::words::clean;
use clipmark_profile::cohort::Pool;
use clipmark_profile::stats::quantile::Quantile;
use maud::{Markup, html};

const WIDTH: f64 = 960.0;
const ROW: f64 = 74.0;
const TOP: f64 = 8.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 940.0;

/// Bins across the picture.
const BINS: usize = 146;

/// One distribution.
#[derive(Debug, Clone, Copy)]
pub struct Ridge<'a> {
    /// What it is of.
    pub name: &'a str,
    /// A second line, e.g. how many boards.
    pub note: &'a str,
    /// The distribution.
    pub pool: &'a Pool,
}

/// The plot, or `None` when there is no distribution.
#[must_use]
pub fn ridges(rows: &[Ridge<'_>]) -> Option<Markup> {
    let rows: Vec<&Ridge<'_>> = rows.iter().filter(|row| !row.pool.is_empty()).collect();
    let at = |row: &&Ridge<'_>, quantile| row.pool.quantile(quantile);
    let part = |part| Quantile::new(part, 1000);
    let lows = rows.iter().filter_map(|row| at(row, part(1)?));
    let highs = rows.iter().filter_map(|row| at(row, Quantile::P999));
    let (low, high) = (lows.reduce(f64::min)? / 1.03, highs.reduce(f64::max)? * 1.05);
    let bottom = TOP + ROW * rows.len() as f64;
    let area = Area { left: LEFT, right: RIGHT, top: TOP, bottom };
    let x = Scale::logarithmic((low, high), area.across());
    let ticks = x.ticks(8);
    let time = TimeScale::fitting(ticks.iter().copied());
    let edges: Vec<f64> = (0..=BINS).map(|bin| low * (high / low).powf(bin as f64 / BINS as f64)).collect();
    let densities: Vec<Vec<f64>> = rows.iter().map(|row| row.pool.densities(&edges)).collect();
    let names: Vec<String> = rows.iter().map(|row| clean(row.name, 60)).collect();
    let description = format!("Latency distributions of {}", names.join(", "));
    let inner = html! {
        @for &tick in &ticks {
            line.grid x1=(px(x.at(tick))) x2=(px(x.at(tick))) y1=(px(TOP)) y2=(px(bottom)) {}
        }
        (horizontal(area, x, &ticks, |ns| round(ns / time.ns), &format!("latency, {}", time.unit)))
        @for (index, (row, density)) in rows.iter().zip(&densities).enumerate() {
            (ridge(index, row, density, &edges, TOP + ROW * (index + 1) as f64, x))
        }
    };
    Some(picture("", WIDTH, bottom + 46.0, &description, inner))
}

fn ridge(index: usize, row: &Ridge<'_>, density: &[f64], edges: &[f64], base: f64, x: Scale) -> Markup {
    // The two may lie close together: their labels stand one above the other.
    let marks = [("P50", Quantile::P50, 50.0), ("P99", Quantile::P99, 36.0)];
    html! {
        line.grid x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(base)) y2=(px(base)) {}
        g class=(color(index, "")) {
            path.area d=(outline(density, edges, base, x)) { title { (clean(row.name, 60)) ", " (row.note) } }
            @for (name, quantile, above) in marks {
                @if let Some(value) = row.pool.quantile(quantile) {
                    line.mark x1=(px(x.at(value))) x2=(px(x.at(value))) y1=(px(base - 46.0)) y2=(px(base)) {}
                    text.own.halo x=(px(x.at(value) + 4.0)) y=(px(base - above)) { (name) " " (span(value)) }
                }
            }
        }
        text.strong x="0" y=(px(base - 30.0)) { (clean(row.name, 30)) }
        text x="0" y=(px(base - 14.0)) { (clean(row.note, 36)) }
    }
}

/// Steps whose heights are the square roots of the densities, so that tails show.
fn outline(density: &[f64], edges: &[f64], base: f64, x: Scale) -> String {
    let highest = density.iter().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut d = format!("M{} {}", px(x.at(edges[0])), px(base));
    for (bin, value) in density.iter().enumerate() {
        let height = (value / highest).sqrt() * (ROW - 14.0);
        d.push_str(&format!("V{}H{}", px(base - height), px(x.at(edges[bin + 1]))));
    }
    d.push_str(&format!("V{}", px(base)));
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cohorts_share_one_axis_and_nothing_gives_no_plot() {
        let pool = |base: f64| Pool::of_figures((0..40).map(|i| (i, base * 1.002_f64.powi(i as i32))));
        let (fast, slow) = (pool(5e6), pool(8e6));
        let rows = [
            Ridge { name: "36.4.3", note: "40 boards", pool: &fast },
            Ridge { name: "<b>", note: "", pool: &slow },
        ];
        let plot = ridges(&rows).unwrap().into_string();
        assert!(plot.contains("latency, ms") && plot.contains("P99 5.") && plot.contains("P99 8."), "{plot}");
        assert!(!plot.contains("<b>") && !plot.contains("NaN"));
        assert!(ridges(&[]).is_none());
        assert!(ridges(&[Ridge { name: "x", note: "", pool: &Pool::default() }]).is_none());
    }
}
