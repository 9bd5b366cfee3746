//! Median latency over clip length on logarithmic axes: a straight line is a power law, its slope the
//! exponent.

use super::frame::{Area, horizontal, picture, vertical};
use super::scale::Scale;
use super::{color, path, px, spread};
use crate::format::{TimeScale, round, span};
use crate::grid::extent;
use crate::words;
use clipmark_profile::plan::Deadline;
use clipmark_profile::point::Shape;
use clipmark_profile::summary::{Profile, Scaling};
use maud::{Markup, html};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 430.0;
const AREA: Area = Area { left: 64.0, right: 740.0, top: 34.0, bottom: 372.0 };

/// Strokes by which batch sizes are told apart, beside their labels.
const DASHES: [&str; 4] = ["", "7 4", "2 3.5", "10 3 2 3"];

/// One variant at one batch size.
struct ScalingLine<'a> {
    variant: usize,
    batch_size: u32,
    rank: usize,
    points: Vec<(u32, f64)>,
    fit: Option<&'a Scaling>,
}

/// The plot, or `None` when no variant was measured at two clip lengths.
pub(crate) fn scaling(profile: &Profile) -> Option<Markup> {
    let lines = lines(profile);
    let all = || lines.iter().flat_map(|line| line.points.iter().copied());
    let clips = extent(all().map(|(clip, _)| f64::from(clip)))?;
    let range = extent(all().map(|(_, ns)| ns))?;
    let x = Scale::logarithmic(clips, AREA.across());
    let y = Scale::logarithmic((range.0 / 1.25, range.1 * 1.25), AREA.up());
    let time = TimeScale::fitting([range.0]);
    let mut ticks: Vec<f64> = all().map(|(clip, _)| f64::from(clip)).collect();
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
        (horizontal(AREA, x, &apart(&ticks, x), round, "clip length, frames"))
        (deadline(profile.run.deadline, x, y, clips, range))
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
        let of_variant = || profile.points.iter().filter(move |p| usize::from(p.id.variant) == variant);
        let mut batches: Vec<u32> = of_variant().map(|p| p.id.shape.batch()).collect();
        batches.sort_unstable();
        batches.dedup();
        for (rank, batch_size) in batches.into_iter().enumerate() {
            let mut points: Vec<(u32, f64)> = of_variant()
                .filter(|p| p.id.shape.batch() == batch_size)
                .filter_map(|p| Some((p.id.shape.clip(), p.comparable_p50()?.0)))
                .filter(|(_, ns)| *ns > 0.0)
                .collect();
            points.sort_by_key(|(clip, _)| *clip);
            if points.len() < 2 {
                continue;
            }
            let fit = profile
                .scaling
                .iter()
                .find(|fit| usize::from(fit.variant) == variant && fit.batch_size == batch_size);
            lines.push(ScalingLine { variant, batch_size, rank, points, fit });
        }
    }
    lines
}

fn drawn(line: &ScalingLine, x: Scale, y: Scale) -> Markup {
    let at = |&(clip, ns): &(u32, f64)| (x.at(f64::from(clip)), y.at(ns));
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
                    title { "batch " (line.batch_size) ", clip " (point.0) ": " (span(point.1)) }
                }
            }
        }
    }
}

/// Names at the ends of the lines; those that end at the same clip length are moved apart.
fn ends(lines: &[ScalingLine], labels: &[String], x: Scale, y: Scale) -> Markup {
    let last = |line: &ScalingLine| line.points.last().copied().unwrap_or((1, 1.0));
    let mut clips: Vec<u32> = lines.iter().map(|line| last(line).0).collect();
    clips.sort_unstable();
    clips.dedup();
    let mut named = Vec::new();
    for clip in clips {
        let group: Vec<&ScalingLine> = lines.iter().filter(|line| last(line).0 == clip).collect();
        let wanted: Vec<f64> = group.iter().map(|line| y.at(last(line).1)).collect();
        let places = spread(&wanted, 17.0, (AREA.top, AREA.bottom));
        named.extend(group.into_iter().zip(places).map(|(line, place)| (line, x.at(f64::from(clip)), place)));
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
    format!("{} B{}{exponent}", words::clean(name, 16), line.batch_size)
}

fn deadline(deadline: Deadline, x: Scale, y: Scale, clips: (f64, f64), range: (f64, f64)) -> Markup {
    let limit = |clip: f64| {
        let at = Shape::new(1, clip as u32)?;
        Some(deadline.at(at)?.get() as f64)
    };
    let (Some(first), Some(last)) = (limit(clips.0), limit(clips.1)) else { return html! {} };
    let inside = |ns: f64| ns >= range.0 / 1.25 && ns <= range.1 * 1.25;
    if !inside(first) || !inside(last) {
        return html! {};
    }
    html! {
        path.limit d=(path([Some((x.at(clips.0), y.at(first))), Some((x.at(clips.1), y.at(last)))])) {}
        text.limit.halo x=(px(x.at(clips.0) + 6.0)) y=(px(y.at(first) - 6.0)) { "deadline" }
    }
}

fn description(lines: &[ScalingLine], labels: &[String]) -> String {
    let each: Vec<String> = lines.iter().map(|line| end_label(line, labels)).collect();
    format!("Median latency over clip length, both axes logarithmic: {}", each.join("; "))
}
