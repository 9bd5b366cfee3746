//! The shape of each point's latencies: density over latency relative to the median, one ridge a point.
//!
//! The axis is relative because a spread of 3 % is invisible on an axis that spans the whole grid.

use super::frame::{Area, horizontal, picture};
use super::scale::Scale;
use super::{color, px};
use crate::format::{self, span};
use clipmark_profile::stats::histogram::{Bucket, Histogram};
use clipmark_profile::stats::quantile::Quantile;
use clipmark_profile::summary::{LatencySummary, PointSummary, Profile};
use maud::{Markup, html};

const WIDTH: f64 = 960.0;
const ROW: f64 = 27.0;
const TOP: f64 = 26.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 800.0;

/// Share of a distribution's top that may run out of the picture.
const CUT: Quantile = Quantile::P999;

/// The ridges of the variant at `index`, or `None` when it has no histogram.
pub(crate) fn distribution(profile: &Profile, index: u16) -> Option<Markup> {
    let points: Vec<(&PointSummary, &LatencySummary)> = profile
        .points
        .iter()
        .filter(|p| p.id.variant == index)
        .filter_map(|p| Some((p, p.latency.as_ref()?)))
        .filter(|(_, latency)| latency.histogram.total() >= 10 && latency.p50_ns > 0.0)
        .collect();
    let (low, high) = domain(&points)?;
    let bottom = TOP + ROW * points.len() as f64;
    let area = Area { left: LEFT, right: RIGHT, top: TOP, bottom };
    let x = Scale::logarithmic((low, high), area.across());
    let ticks = x.ticks(8);
    let description = format!(
        "Distribution of latency relative to the median of {} points, from {} to {}",
        points.len(),
        format::factor(low),
        format::factor(high)
    );
    let inner = html! {
        text.strong x="0" y="12" { "point" }
        text.strong x=(px(RIGHT + 12.0)) y="12" { "P50" }
        text.strong x=(px(RIGHT + 88.0)) y="12" { "P99" }
        @for &tick in &ticks {
            line.grid x1=(px(x.at(tick))) x2=(px(x.at(tick))) y1=(px(TOP)) y2=(px(bottom)) {}
        }
        (horizontal(area, x, &ticks, |ratio| format!("{}x", format::round(ratio)), "latency / median"))
        @for (row, (point, latency)) in points.iter().enumerate() {
            (ridge(usize::from(index), point, latency, TOP + ROW * (row + 1) as f64, x, (low, high)))
        }
    };
    Some(picture("", WIDTH, bottom + 46.0, &description, inner))
}

/// From the fastest to nearly the slowest, relative to the median.
fn domain(points: &[(&PointSummary, &LatencySummary)]) -> Option<(f64, f64)> {
    let low = points.iter().map(|(_, l)| l.min_ns as f64 / l.p50_ns).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|(_, l)| top(l)).fold(0.0, f64::max);
    (high > low && low.is_finite()).then(|| ((low / 1.02).max(0.2), (high * 1.02).min(6.0)))
}

fn top(latency: &LatencySummary) -> f64 {
    let cut = latency.histogram.quantile(CUT).map_or(latency.max_ns as f64, |e| e.value_ns);
    cut.max(latency.p99_ns.unwrap_or(0.0)) / latency.p50_ns
}

fn ridge(
    variant: usize,
    point: &PointSummary,
    latency: &LatencySummary,
    base: f64,
    x: Scale,
    domain: (f64, f64),
) -> Markup {
    let mark = |ns: Option<f64>, height: f64| {
        let at =
            ns.map(|ns| ns / latency.p50_ns).filter(|r| *r >= domain.0 && *r <= domain.1).map(|r| x.at(r));
        html! {
            @if let Some(at) = at { line.thin x1=(px(at)) x2=(px(at)) y1=(px(base - height)) y2=(px(base)) {} }
        }
    };
    html! {
        g class=(color(variant, "")) {
            path.area d=(outline(&latency.histogram, latency.p50_ns, base, x, domain)) {
                title { (point.id.shape) ": n = " (latency.iterations) ", max " (span(latency.max_ns as f64)) }
            }
            (mark(latency.p99_ns, 13.0))
        }
        text x="0" y=(px(base - 5.0)) { (point.id.shape) }
        text x=(px(RIGHT + 12.0)) y=(px(base - 5.0)) { (span(latency.p50_ns)) }
        text x=(px(RIGHT + 88.0)) y=(px(base - 5.0)) { (latency.p99_ns.map(span).unwrap_or_default()) }
    }
}

/// Density per unit of log latency as steps, its square root scaled to the row so that tails show.
fn outline(histogram: &Histogram, p50_ns: f64, base: f64, x: Scale, domain: (f64, f64)) -> String {
    let edges = |b: &Bucket| (b.lower_ns as f64 / p50_ns, (b.upper_ns + 1) as f64 / p50_ns);
    let density = |b: &Bucket| {
        let (lower, upper) = edges(b);
        b.count as f64 / (upper / lower.max(f64::MIN_POSITIVE)).ln()
    };
    let buckets: Vec<Bucket> = histogram.buckets().collect();
    let highest = buckets.iter().map(density).fold(0.0, f64::max);
    let mut d = format!("M{} {}", px(x.at(domain.0)), px(base));
    let mut next = 0;
    for bucket in &buckets {
        let (lower, upper) = edges(bucket);
        if upper < domain.0 || lower > domain.1 {
            continue;
        }
        let height = (density(bucket) / highest).sqrt() * (ROW - 4.0);
        let (from, to) = (px(x.at(lower.max(domain.0))), px(x.at(upper.min(domain.1))));
        if bucket.lower_ns != next {
            d.push_str(&format!("V{}H{from}", px(base)));
        }
        d.push_str(&format!("V{}H{to}", px(base - height)));
        next = bucket.upper_ns + 1;
    }
    d.push_str(&format!("V{}H{}", px(base), px(x.at(domain.1))));
    d
}
