//! Median latency along [`ACROSS`] on logarithmic axes: a straight line is a power law, its slope the
//! exponent.

use super::frame::{Area, horizontal, picture, vertical};
use super::scale::Scale;
use super::{color, path, px, spread};
use crate::format::{TimeScale, round, span};
use crate::grid::{ACROSS, extent};
use crate::words;
use clipmark_profile::axis::Axis;
use clipmark_profile::plan::Deadline;
use clipmark_profile::point::Shape;
use clipmark_profile::summary::{Profile, Scaling};
use maud::{Markup, html};
use std::collections::BTreeMap;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 430.0;
const AREA: Area = Area { left: 64.0, right: 740.0, top: 34.0, bottom: 372.0 };

/// Strokes by which lines of one variant are told apart, beside their labels.
const DASHES: [&str; 4] = ["", "7 4", "2 3.5", "10 3 2 3"];

/// One variant with the rest of its shape held.
struct ScalingLine<'a> {
    variant: usize,
    held: Shape,
    rank: usize,
    points: Vec<(u32, f64)>,
    fit: Option<&'a Scaling>,
}

/// The plot, or `None` when no variant was measured at two sizes.
pub(crate) fn scaling(profile: &Profile) -> Option<Markup> {
    let lines = lines(profile);
    let all = || lines.iter().flat_map(|line| line.points.iter().copied());
    let sizes = extent(all().map(|(size, _)| f64::from(size)))?;
    let range = extent(all().map(|(_, ns)| ns))?;
    let x = Scale::logarithmic(sizes, AREA.across());
    let y = Scale::logarithmic((range.0 / 1.25, range.1 * 1.25), AREA.up());
    let time = TimeScale::fitting([range.0]);
    let mut ticks: Vec<f64> = all().map(|(size, _)| f64::from(size)).collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    let labels = words::labels(&profile.variants);
    let y_ticks: Vec<f64> =
        Scale::logarithmic((range.0 / time.ns / 1.25, range.1 / time.ns * 1.25), AREA.up())
            .ticks(8)
            .into_iter()
            .map(|tick| tick * time.ns)
            .collect();
    let inner = html! {
        (vertical(AREA, y, &y_ticks, |ns| round(ns / time.ns), &format!("median latency, {}", time.unit)))
        (horizontal(AREA, x, &apart(&ticks, x), round, &format!("{ACROSS}, {}", ACROSS.row().unit)))
        (deadline(profile.run.deadline, x, y, sizes, range))
        @for line in &lines { (drawn(line, x, y)) }
        (ends(&lines, &labels, x, y))
    };
    Some(picture("", WIDTH, HEIGHT, &description(&lines, &labels), inner))
}

/// Those of `ticks` that are far enough from the one before.
fn apart(ticks: &[f64], scale: Scale) -> Vec<f64> {
    let mut kept: Vec<f64> = Vec::new();
    for &tick in ticks {
        if kept.last().is_none_or(|&last| scale.at(tick) - scale.at(last) >= 26.0) {
            kept.push(tick);
        }
    }
    kept
}

fn lines(profile: &Profile) -> Vec<ScalingLine<'_>> {
    let mut lines = Vec::new();
    for variant in 0..profile.variants.len() {
        let mut by_held = BTreeMap::<Shape, Vec<(u32, f64)>>::new();
        for point in profile.points.iter().filter(|p| usize::from(p.id.variant) == variant) {
            let shape = point.id.shape;
            let held = shape.with(ACROSS, 1).zip(shape.get(ACROSS));
            if let (Some((held, across)), Some((ns, _))) =
                (held, point.comparable_p50().filter(|p| p.0 > 0.0))
            {
                by_held.entry(held).or_default().push((across, ns));
            }
        }
        for (rank, (held, mut points)) in by_held.into_iter().enumerate() {
            points.sort_by_key(|(across, _)| *across);
            if points.len() >= 2 {
                let fit = profile.scaling_at(variant, held);
                lines.push(ScalingLine { variant, held, rank, points, fit });
            }
        }
    }
    lines
}

fn drawn(line: &ScalingLine, x: Scale, y: Scale) -> Markup {
    let at = |&(size, ns): &(u32, f64)| (x.at(f64::from(size)), y.at(ns));
    let broken = line.fit.and_then(|fit| fit.breakpoint_clip_length);
    html! {
        g class=(color(line.variant, "")) {
            path.line d=(path(line.points.iter().map(|point| Some(at(point))))) stroke-dasharray=(DASHES[line.rank % DASHES.len()]) {}
            @for point in &line.points {
                @let (cx, cy) = at(point);
                @if broken == Some(point.0) {
                    circle.thin cx=(px(cx)) cy=(px(cy)) r="7.5" {}
                }
                circle.dot cx=(px(cx)) cy=(px(cy)) r="3.6" {
                    title { (line.held.with(ACROSS, point.0).map(words::point).unwrap_or_default()) ": " (span(point.1)) }
                }
            }
        }
    }
}

/// Names at the ends of the lines; those that end at the same size are moved apart.
fn ends(lines: &[ScalingLine], labels: &[String], x: Scale, y: Scale) -> Markup {
    let last = |line: &ScalingLine| line.points.last().copied().unwrap_or((1, 1.0));
    let mut sizes: Vec<u32> = lines.iter().map(|line| last(line).0).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut named = Vec::new();
    for size in sizes {
        let group: Vec<&ScalingLine> = lines.iter().filter(|line| last(line).0 == size).collect();
        let wanted: Vec<f64> = group.iter().map(|line| y.at(last(line).1)).collect();
        let places = spread(&wanted, 17.0, (AREA.top, AREA.bottom));
        named.extend(group.into_iter().zip(places).map(|(line, place)| (line, x.at(f64::from(size)), place)));
    }
    html! {
        @for (line, end, place) in named {
            text class=(color(line.variant, "own halo")) x=(px(end + 14.0)) y=(px(place + 4.0)) { (end_label(line, labels)) }
        }
    }
}

fn end_label(line: &ScalingLine, labels: &[String]) -> String {
    let name = labels.get(line.variant).map_or("?", String::as_str);
    let exponent = line.fit.map_or(String::new(), |fit| format!(", k = {:.2}", fit.exponent));
    let held = Axis::SHAPE.into_iter().filter(|axis| *axis != ACROSS);
    let held = held.filter_map(|axis| Some(format!(" {}{}", axis.row().label, line.held.get(axis)?)));
    format!("{}{}{exponent}", words::clean(name, 16), held.collect::<String>())
}

fn deadline(deadline: Deadline, x: Scale, y: Scale, sizes: (f64, f64), range: (f64, f64)) -> Markup {
    let limit = |size: f64| {
        let at = Shape::UNIT.with(ACROSS, size as u32)?;
        Some(deadline.at(at)?.get() as f64)
    };
    let (Some(first), Some(last)) = (limit(sizes.0), limit(sizes.1)) else { return html! {} };
    let inside = |ns: f64| ns >= range.0 / 1.25 && ns <= range.1 * 1.25;
    if !inside(first) || !inside(last) {
        return html! {};
    }
    html! {
        path.limit d=(path([Some((x.at(sizes.0), y.at(first))), Some((x.at(sizes.1), y.at(last)))])) {}
        text.limit.halo x=(px(x.at(sizes.0) + 6.0)) y=(px(y.at(first) - 6.0)) { "deadline" }
    }
}

fn description(lines: &[ScalingLine], labels: &[String]) -> String {
    let each: Vec<String> = lines.iter().map(|line| end_label(line, labels)).collect();
    format!("Median latency over {ACROSS}, both axes logarithmic: {}", each.join("; "))
}
