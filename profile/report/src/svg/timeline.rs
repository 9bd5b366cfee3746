//! A soak over time: latency, temperatures with their trip points, clocks and power under one time axis, with
//! the throttled stretches shaded across all of them.

use super::frame::{Area, horizontal, picture, vertical};
use super::scale::Scale;
use super::{color, path, px, spread};
use crate::format::clock_time;
use crate::format::{self, round, significant};
use crate::grid::extent;
use crate::panels::{Limit, Panel, PanelLine, panels};
use crate::words;
use clipmark_profile::series::Series;
use maud::{Markup, html};

const WIDTH: f64 = 960.0;
const PANEL: f64 = 118.0;
const GAP: f64 = 46.0;
const TOP: f64 = 56.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 790.0;

/// Where the shade of a throttled stretch begins; its name stands above.
const BAND_TOP: f64 = 20.0;

/// Ticks without a value over which a line is still drawn: slow tiers are not read in every tick.
const BRIDGED: usize = 15;

/// The plot, or `None` when the series has no ticks.
pub(crate) fn timeline(series: &Series) -> Option<Markup> {
    if series.ticks < 2 {
        return None;
    }
    let panels = panels(series);
    let length_s = f64::from(series.ticks) * f64::from(series.period_ms) / 1e3;
    let x = Scale::linear((0.0, length_s), (LEFT, RIGHT));
    let bottom = TOP + panels.len() as f64 * (PANEL + GAP) - GAP;
    let seconds = |tick: usize| (tick as f64 + 0.5) * f64::from(series.period_ms) / 1e3;
    let area = Area { left: LEFT, right: RIGHT, top: TOP, bottom };
    let names: Vec<&str> = panels.iter().map(|panel| panel.title.as_str()).collect();
    let description = format!(
        "Soak over {}: {}. {} throttled stretches.",
        format::clock_span((length_s * 1e3) as u64),
        names.join(", "),
        series.throttles.len()
    );
    let inner = html! {
        (bands(series, x, length_s, bottom))
        @for (index, panel) in panels.iter().enumerate() {
            @let top = TOP + index as f64 * (PANEL + GAP);
            (drawn(panel, Area { left: LEFT, right: RIGHT, top, bottom: top + PANEL }, x, &seconds))
        }
        (horizontal(area, x, &time_ticks(length_s), |s| clock_time((s * 1e3) as u64), "time since the soak's start"))
    };
    Some(picture("", WIDTH, bottom + 46.0, &description, inner))
}

/// Ticks at whole minutes or hours.
fn time_ticks(length_s: f64) -> Vec<f64> {
    let steps = [10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0];
    let step = steps.into_iter().find(|step| length_s / step <= 10.0).unwrap_or(86_400.0);
    (0..=(length_s / step) as u32).map(|n| f64::from(n) * step).collect()
}

/// Throttled stretches behind every panel, each named by its cause.
fn bands(series: &Series, x: Scale, length_s: f64, bottom: f64) -> Markup {
    html! {
        @for throttle in &series.throttles {
            @let from = throttle.onset_ms as f64 / 1e3;
            @let to = throttle.recovery_ms.map_or(length_s, |ms| ms as f64 / 1e3).min(length_s);
            @let (left, right) = (x.at(from.min(length_s)), x.at(to));
            rect.band x=(px(left)) y=(px(BAND_TOP)) width=(px((right - left).max(1.0))) height=(px(bottom - BAND_TOP)) {
                title { (crate::findings::throttle_words(throttle)) }
            }
            text x=(px(left)) y=(px(BAND_TOP - 6.0)) { (words::throttle(throttle.cause)) " " (format::factor(throttle.slowdown)) }
        }
    }
}

fn drawn(panel: &Panel, area: Area, x: Scale, seconds: &dyn Fn(usize) -> f64) -> Markup {
    let values = panel.lines.iter().flat_map(|line| line.values.iter().flatten().copied());
    let Some((low, high)) = extent(values) else { return html! {} };
    // A trip point far above everything measured would flatten the lines: it is named, not drawn.
    let near = |limit: &&Limit| limit.value <= high + 0.25 * (high - low).max(1.0) && limit.value >= low;
    let limits: Vec<&Limit> = panel.limits.iter().filter(near).collect();
    let high = limits.iter().map(|limit| limit.value).fold(high, f64::max);
    let high = panel.ceiling.as_ref().map_or(high, |ceiling| high.max(shown_ceiling(ceiling, high)));
    let margin = ((high - low) * 0.08).max(high.abs() * 0.004);
    let y = Scale::linear((low - margin, high + margin), area.up());
    let inside = |value: f64| value.min(high + margin);
    html! {
        (vertical(area, y, &y.ticks(4), round, &panel.title))
        @if let Some(ceiling) = &panel.ceiling {
            g class=(color(0, "")) { path.wash d=(wash(ceiling, x, y, area, seconds, &inside)) {} }
        }
        @for limit in &limits {
            line.limit x1=(px(area.left)) x2=(px(area.right)) y1=(px(y.at(limit.value))) y2=(px(y.at(limit.value))) {}
            text.limit.halo x=(px(area.left + 6.0)) y=(px(y.at(limit.value) - 5.0)) { (limit.name) }
        }
        @for (index, line) in panel.lines.iter().enumerate() {
            g class=(color(index, "")) { path.line stroke-width="1.4" d=(line_path(&line.values, x, y, seconds)) {} }
        }
        (end_names(panel, area, y))
    }
}

/// Where to cut the largest values off: above 98 in 100 of them, but not beyond 1.6 times the line.
fn shown_ceiling(ceiling: &[Option<f64>], high: f64) -> f64 {
    let mut values: Vec<f64> = ceiling.iter().flatten().copied().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() * 98 / 100).map_or(high, |value| value.min(1.6 * high))
}

fn line_path(values: &[Option<f64>], x: Scale, y: Scale, seconds: &dyn Fn(usize) -> f64) -> String {
    let mut points = Vec::new();
    let mut missing = 0;
    for (tick, value) in values.iter().enumerate() {
        match value {
            Some(value) => {
                missing = 0;
                points.push(Some((x.at(seconds(tick)), y.at(*value))));
            }
            None => {
                missing += 1;
                if missing == BRIDGED {
                    points.push(None);
                }
            }
        }
    }
    path(points)
}

/// The area below the largest values, cut off at the top of the panel.
fn wash(
    values: &[Option<f64>],
    x: Scale,
    y: Scale,
    area: Area,
    seconds: &dyn Fn(usize) -> f64,
    inside: &dyn Fn(f64) -> f64,
) -> String {
    let mut d = String::new();
    for (tick, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let at = px(x.at(seconds(tick)));
        d.push_str(&format!("M{at} {}V{}", px(area.bottom), px(y.at(inside(*value)))));
    }
    d
}

fn end_names(panel: &Panel, area: Area, y: Scale) -> Markup {
    let last = |line: &PanelLine| line.values.iter().rev().flatten().next().copied();
    let known: Vec<(usize, &PanelLine, f64)> =
        panel.lines.iter().enumerate().filter_map(|(i, line)| Some((i, line, last(line)?))).collect();
    let wanted: Vec<f64> = known.iter().map(|(_, _, value)| y.at(*value)).collect();
    let places = spread(&wanted, 15.0, (area.top, area.bottom));
    html! {
        @for ((index, line, value), place) in known.iter().zip(places) {
            text class=(color(*index, "own")) x=(px(area.right + 10.0)) y=(px(place + 4.0)) { (line.name) " " (significant(*value)) }
        }
    }
}
