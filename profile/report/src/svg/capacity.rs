//! Sustained streams over clip length, and waiting clips over time.

use super::frame::{Area, horizontal, picture, vertical};
use super::scale::Scale;
use super::{color, path, px, spread};
use crate::format::round;
use crate::grid::extent;
use clipmark_profile::streams::verdict::LoadFigures;
use clipmark_profile::summary::{Capacity, Profile};
use maud::{Markup, html};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 400.0;
const AREA: Area = Area { left: 64.0, right: 740.0, top: 34.0, bottom: 342.0 };
const LOW_HEIGHT: f64 = 220.0;
const LOW_AREA: Area = Area { left: 64.0, right: 740.0, top: 34.0, bottom: 162.0 };

/// One variant with one number of instances.
struct CapacityLine<'a> {
    name: String,
    capacities: Vec<&'a Capacity>,
}

/// The curve, or `None` where nothing was certified.
pub(crate) fn capacity(profile: &Profile) -> Option<Markup> {
    let lines = lines(profile);
    let certified =
        |capacity: &&Capacity| capacity.last_holding.is_some() || capacity.first_failing.is_some();
    let shown = || lines.iter().flat_map(|line| &line.capacities).copied().filter(certified);
    let clips = extent(shown().map(|capacity| f64::from(capacity.id.shape.clip())))?;
    let most =
        shown().flat_map(|one| [&one.last_holding, &one.first_failing]).flatten().map(|load| load.streams);
    let most = f64::from(most.max()?);
    let x = Scale::logarithmic(clips, AREA.across());
    let y = Scale::linear((0.0, most), AREA.up());
    let mut ticks: Vec<f64> = shown().map(|capacity| f64::from(capacity.id.shape.clip())).collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    let last = |line: &CapacityLine| line.capacities.last().map_or(0.0, |one| f64::from(held(one)));
    let wanted: Vec<f64> = lines.iter().map(|line| y.at(last(line))).collect();
    let places = spread(&wanted, 17.0, (AREA.top, AREA.bottom));
    let inner = html! {
        (vertical(AREA, y, &y.ticks(6), round, "sustained streams"))
        (horizontal(AREA, x, &ticks, round, "clip length, frames"))
        @for (index, (line, place)) in lines.iter().zip(places).enumerate() {
            (drawn(index, line, x, y))
            text class=(color(index, "own halo")) x=(px(AREA.right + 14.0)) y=(px(place + 4.0)) { (line.name) }
        }
    };
    Some(picture("", WIDTH, HEIGHT, &description(&lines), inner))
}

fn held(capacity: &Capacity) -> u32 {
    capacity.streams().unwrap_or(0)
}

fn lines(profile: &Profile) -> Vec<CapacityLine<'_>> {
    let mut lines: Vec<CapacityLine<'_>> = Vec::new();
    for capacity in &profile.capacities {
        let same = |line: &&mut CapacityLine<'_>| {
            let first = line.capacities[0];
            (first.id.variant, first.instances) == (capacity.id.variant, capacity.instances)
        };
        match lines.iter_mut().find(same) {
            Some(line) => line.capacities.push(capacity),
            None => lines.push(CapacityLine { name: name(profile, capacity), capacities: vec![capacity] }),
        }
    }
    lines.iter_mut().for_each(|line| line.capacities.sort_by_key(|capacity| capacity.id.shape.clip()));
    lines
}

fn name(profile: &Profile, capacity: &Capacity) -> String {
    let labels = crate::words::labels(&profile.variants);
    let label = labels.get(usize::from(capacity.id.variant)).map_or("?", String::as_str);
    format!("{} x {}", crate::words::clean(label, 16), capacity.instances)
}

fn drawn(index: usize, line: &CapacityLine<'_>, x: Scale, y: Scale) -> Markup {
    let at = |clip: u32, streams: u32| (x.at(f64::from(clip)), y.at(f64::from(streams)));
    let points =
        line.capacities.iter().map(|one| one.streams().map(|streams| at(one.id.shape.clip(), streams)));
    html! {
        g class=(color(index, "")) {
            path.line d=(path(points)) {}
            @for one in &line.capacities {
                @if let Some(figures) = &one.last_holding {
                    @let (cx, cy) = at(one.id.shape.clip(), figures.streams);
                    circle.dot cx=(px(cx)) cy=(px(cy)) r="3.6" {
                        title { "clips of " (one.id.shape.clip()) ": " (figures.streams) " streams" }
                    }
                }
                @if let Some(figures) = &one.first_failing {
                    @let (cx, cy) = at(one.id.shape.clip(), figures.streams);
                    circle.thin cx=(px(cx)) cy=(px(cy)) r="5" {
                        title { "clips of " (one.id.shape.clip()) ": " (figures.streams) " streams are not sustained" }
                    }
                }
            }
        }
    }
}

fn description(lines: &[CapacityLine<'_>]) -> String {
    let each = |line: &CapacityLine<'_>| {
        let points: Vec<String> = line
            .capacities
            .iter()
            .map(|one| format!("{} at clips of {}", held(one), one.id.shape.clip()))
            .collect();
        format!("{}: {}", line.name, points.join(", "))
    };
    format!("Sustained streams over clip length. {}", lines.iter().map(each).collect::<Vec<_>>().join("; "))
}

/// Waiting clips over the loads on both sides of the capacity; `None` where there is neither.
pub(crate) fn waiting(capacity: &Capacity) -> Option<Markup> {
    let loads: Vec<&LoadFigures> =
        [&capacity.last_holding, &capacity.first_failing].into_iter().flatten().collect();
    let most = loads.iter().flat_map(|load| &load.waiting).copied().max()?;
    let longest = loads.iter().map(|load| load.duration_ms).max()? as f64 / 1e3;
    let x = Scale::linear((0.0, longest.max(1e-3)), LOW_AREA.across());
    let y = Scale::linear((0.0, f64::from(most.max(1))), LOW_AREA.up());
    let ends: Vec<f64> =
        loads.iter().map(|load| y.at(load.waiting.last().copied().unwrap_or(0).into())).collect();
    let places = spread(&ends, 17.0, (LOW_AREA.top, LOW_AREA.bottom));
    let names: Vec<String> = loads.iter().map(|load| format!("{} streams", load.streams)).collect();
    let inner = html! {
        (vertical(LOW_AREA, y, &y.ticks(4), round, "waiting clips"))
        (horizontal(LOW_AREA, x, &x.ticks(6), round, "time, s"))
        @for (index, load) in loads.iter().enumerate() {
            path class=(color(index, "line")) d=(path(steps(load, x, y))) { title { (names[index]) } }
        }
        @for (index, (name, place)) in names.iter().zip(places).enumerate() {
            text class=(color(index, "own halo")) x=(px(LOW_AREA.right + 14.0)) y=(px(place + 4.0)) { (name) }
        }
    };
    let description = format!("Waiting clips over time: {}; at most {most}", names.join(" and "));
    Some(picture("", WIDTH, LOW_HEIGHT, &description, inner))
}

fn steps(load: &LoadFigures, x: Scale, y: Scale) -> Vec<Option<(f64, f64)>> {
    let seconds = load.duration_ms as f64 / 1e3;
    let count = load.waiting.len().max(1) as f64;
    let at = |(index, &waiting): (usize, &u32)| {
        Some((x.at((index as f64 + 0.5) / count * seconds), y.at(f64::from(waiting))))
    };
    load.waiting.iter().enumerate().map(at).collect()
}
