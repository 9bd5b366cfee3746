//! P99 against throughput, with energy per frame as the size of a mark: what one gives up for the other.

use super::frame::{Area, horizontal, picture, vertical};
use super::scale::Scale;
use super::{color, path, px};
use crate::format::{self, TimeScale, round, significant, span};
use crate::grid::{Figure, extent};
use crate::words;
use clipmark_profile::point::PointId;
use clipmark_profile::summary::{PointSummary, Profile};
use maud::{Markup, html};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 470.0;
const AREA: Area = Area { left: 74.0, right: 930.0, top: 34.0, bottom: 412.0 };

/// Radius of a mark without energy.
const PLAIN: f64 = 5.5;

/// Radii of the least and the most energy per frame.
const RADII: (f64, f64) = (5.0, 17.0);

/// One point with both figures.
struct Mark<'a> {
    point: &'a PointSummary,
    p99_ns: f64,
    frames_per_s: f64,
    radius: f64,
}

/// The plot, or `None` below two points that have both figures.
pub(crate) fn pareto(profile: &Profile) -> Option<Markup> {
    let marks = marks(profile);
    if marks.len() < 2 {
        return None;
    }
    let (fast, slow) = extent(marks.iter().map(|m| m.p99_ns))?;
    let (few, many) = extent(marks.iter().map(|m| m.frames_per_s))?;
    let time = TimeScale::fitting([fast]);
    let x = Scale::logarithmic((fast / 1.2, slow * 1.2), AREA.across());
    let rates = if many / few > 8.0 {
        (few / 1.3, many * 1.3)
    } else {
        (few - 0.12 * (many - few), many + 0.12 * (many - few))
    };
    let y =
        if many / few > 8.0 { Scale::logarithmic(rates, AREA.up()) } else { Scale::linear(rates, AREA.up()) };
    let x_ticks: Vec<f64> = Scale::logarithmic((fast / time.ns / 1.2, slow / time.ns * 1.2), (0.0, 1.0))
        .ticks(9)
        .into_iter()
        .map(|tick| tick * time.ns)
        .collect();
    let description = format!(
        "P99 latency against throughput of {} points; a staircase joins those that no other point of the same model beats in both",
        marks.len()
    );
    let inner = html! {
        (vertical(AREA, y, &y.ticks(6), round, "frames/s"))
        (horizontal(AREA, x, &x_ticks, |ns| round(ns / time.ns), &format!("P99 latency, {}", time.unit)))
        @for (model, _) in models(profile) { (front(profile, &marks, &model, x, y)) }
        @for mark in &marks { (drawn(profile, mark, x, y)) }
        (names(profile, &marks, x, y))
    };
    Some(picture("", WIDTH, HEIGHT, &description, inner))
}

fn marks(profile: &Profile) -> Vec<Mark<'_>> {
    let energy = |point: &PointSummary| point.comparable_energy().map(|(uj, _)| uj).filter(|uj| *uj > 0.0);
    let range = extent(profile.points.iter().filter_map(energy));
    let radius = |point: &PointSummary| {
        let (Some((least, most)), Some(uj)) = (range, energy(point)) else { return PLAIN };
        // Area, not radius, stands for the quantity; at least RADII.0 so that every mark can be hit.
        let scale = RADII.1 / most.sqrt().max(least.sqrt());
        (uj.sqrt() * scale).max(RADII.0)
    };
    let mut marks: Vec<Mark> = profile
        .points
        .iter()
        .filter_map(|point| {
            let (p99_ns, frames_per_s) = (Figure::P99.of(point)?, Figure::Throughput.of(point)?);
            Some(Mark { point, p99_ns, frames_per_s, radius: radius(point) })
        })
        .filter(|mark| mark.p99_ns > 0.0 && mark.frames_per_s > 0.0)
        .collect();
    // Large marks first, so that small ones stay visible.
    marks.sort_by(|a, b| b.radius.total_cmp(&a.radius));
    marks
}

/// Every model with the index of its first variant.
fn models(profile: &Profile) -> Vec<(String, usize)> {
    let mut models: Vec<(String, usize)> = Vec::new();
    for (index, variant) in profile.variants.iter().enumerate() {
        if !models.iter().any(|(name, _)| *name == variant.model) {
            models.push((variant.model.clone(), index));
        }
    }
    models
}

/// The points of one model that no other beats in both figures, joined by a staircase.
fn front(profile: &Profile, marks: &[Mark], model: &str, x: Scale, y: Scale) -> Markup {
    let mut own: Vec<&Mark> = marks
        .iter()
        .filter(|m| profile.variants.get(usize::from(m.point.id.variant)).is_some_and(|s| s.model == model))
        .collect();
    own.sort_by(|a, b| a.p99_ns.total_cmp(&b.p99_ns).then(b.frames_per_s.total_cmp(&a.frames_per_s)));
    let mut steps = Vec::new();
    let mut best = 0.0;
    for mark in own {
        if mark.frames_per_s > best {
            if best > 0.0 {
                steps.push(Some((x.at(mark.p99_ns), y.at(best))));
            }
            best = mark.frames_per_s;
            steps.push(Some((x.at(mark.p99_ns), y.at(best))));
        }
    }
    let index = models(profile).iter().find(|(name, _)| name == model).map_or(0, |(_, index)| *index);
    html! { path class=(color(index, "thin")) stroke-dasharray="4 3" d=(path(steps)) {} }
}

fn drawn(profile: &Profile, mark: &Mark, x: Scale, y: Scale) -> Markup {
    let id = mark.point.id;
    let energy = mark.point.energy.map(|e| format!(", {} a frame", format::energy(e.gross_per_frame_uj)));
    html! {
        circle class=(color(usize::from(id.variant), "bubble")) cx=(px(x.at(mark.p99_ns))) cy=(px(y.at(mark.frames_per_s))) r=(px(mark.radius)) {
            title {
                (crate::findings::short(profile, id)) ": P99 " (span(mark.p99_ns)) ", "
                (significant(mark.frames_per_s)) " frames/s" (energy.unwrap_or_default())
            }
        }
    }
}

/// Names of the chosen points, beside their marks: one name a point, all its objectives in it.
fn names(profile: &Profile, marks: &[Mark], x: Scale, y: Scale) -> Markup {
    let mut chosen: Vec<(PointId, Vec<&str>)> = Vec::new();
    for entry in &profile.operating_points {
        let Some(&id) = entry.chosen.first() else { continue };
        let name = words::objective(entry.objective);
        match chosen.iter_mut().find(|(known, _)| *known == id) {
            Some((_, names)) => names.push(name),
            None => chosen.push((id, vec![name])),
        }
    }
    let around = |m: &Mark| {
        let (cx, cy) = (x.at(m.p99_ns), y.at(m.frames_per_s));
        (cx - m.radius, cy - m.radius, cx + m.radius, cy + m.radius)
    };
    let mut taken: Vec<(f64, f64, f64, f64)> = marks.iter().map(around).collect();
    let mut texts = Vec::new();
    for (id, names) in chosen {
        let Some(mark) = marks.iter().find(|m| m.point.id == id) else { continue };
        let (cx, cy) = (x.at(mark.p99_ns), y.at(mark.frames_per_s));
        let text = format!("{}: {}", id.shape, names.join(" + "));
        let (tx, ty, anchor) = place(&text, (cx, cy), mark.radius, &mut taken);
        texts.push((usize::from(id.variant), tx, ty, anchor, cx, cy, text));
    }
    html! {
        @for (variant, tx, ty, anchor, cx, cy, text) in texts {
            circle class=(color(variant, "")) cx=(px(cx)) cy=(px(cy)) r="2.2" fill="currentColor" {}
            text class=(color(variant, "own halo")) x=(px(tx)) y=(px(ty)) text-anchor=(anchor) { (text) }
        }
    }
}

/// A free place beside a mark: right, left, above right, below right, and further down.
fn place(
    text: &str,
    (cx, cy): (f64, f64),
    radius: f64,
    taken: &mut Vec<(f64, f64, f64, f64)>,
) -> (f64, f64, &'static str) {
    let width = 6.4 * text.chars().count() as f64;
    let beside = radius + 6.0;
    let rows = [4.0, -12.0, 20.0, -28.0, 36.0, -44.0, 52.0];
    let candidates =
        rows.iter().flat_map(|dy| [(cx + beside, cy + dy, "start"), (cx - beside, cy + dy, "end")]);
    let bounds = |x: f64, y: f64, anchor: &str| {
        let left = if anchor == "start" { x } else { x - width };
        (left, y - 12.0, left + width, y + 4.0)
    };
    let free = |&(x, y, anchor): &(f64, f64, &'static str)| {
        let (l, t, r, b) = bounds(x, y, anchor);
        let inside = l >= AREA.left && r <= WIDTH && t >= AREA.top - 16.0 && b <= AREA.bottom;
        inside && !taken.iter().any(|&(l2, t2, r2, b2)| l < r2 && l2 < r && t < b2 && t2 < b)
    };
    let mut candidates = candidates;
    let found = candidates.find(free).unwrap_or((cx + beside, cy + 4.0, "start"));
    taken.push(bounds(found.0, found.1, found.2));
    found
}
