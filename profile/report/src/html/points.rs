//! Point by point: percentiles with intervals, memory, remarks, operators.

use super::{figure, scroll, table};
use crate::findings::{self, chosen, short};
use crate::format::{self, span};
use crate::{svg, tables, words};
use clipmark_profile::record::EngineBuild;
use clipmark_profile::summary::{Interval, LatencySummary, PointSummary, Profile};
use maud::{Markup, html};

/// The shape of every point's latencies.
pub(super) fn distributions(profile: &Profile) -> Option<Markup> {
    let plots: Vec<(String, Markup)> = profile
        .variants
        .iter()
        .enumerate()
        .filter_map(|(index, variant)| {
            Some((words::variant(variant), svg::distribution(profile, index as u16)?))
        })
        .collect();
    (!plots.is_empty()).then(|| {
        html! {
            @for (name, plot) in plots {
                h3 { (name) }
                (figure(
                    "Latency of each point relative to its median. The height is the square root of the density, so \
                     that tails show; the stroke is P99.",
                    plot,
                ))
            }
        }
    })
}

/// Every measured point's reference figures.
pub(super) fn percentiles(profile: &Profile) -> Option<Markup> {
    let measured: Vec<(&PointSummary, &LatencySummary)> =
        profile.points.iter().filter_map(|p| Some((p, p.latency.as_ref()?))).collect();
    if measured.is_empty() {
        return None;
    }
    let heads = ["n", "mean", "P50", "P95", "P99", "95 % interval of P99", "P99.9", "max", "MAD", "tau"];
    let moved = profile.drift.is_some();
    let common =
        if moved { &["mean, common state", "P50, common state", "P99, common state"][..] } else { &[] };
    let table = html! {
        table.ruled {
            caption { "Latency of one inference. tau: how many iterations are worth one independent one." }
            thead { tr { th.l scope="col" { "point" } @for head in heads.iter().chain(common) { th scope="col" { (head) } } } }
            tbody {
                @for (point, latency) in &measured {
                    tr {
                        th scope="row" { (short(profile, point.id)) }
                        td { (latency.iterations) }
                        td title=[bounds(latency.mean_ci_ns)] { (span(latency.mean_ns)) }
                        td title=[bounds(latency.p50_ci_ns)] { (span(latency.p50_ns)) }
                        td title=[bounds(latency.p95_ci_ns)] { (optional(latency.p95_ns)) }
                        td { (optional(latency.p99_ns)) @if latency.p99_extrapolated { sup { "?" } } }
                        td.wrap { (p99_interval(latency)) }
                        td { (optional(latency.p999_ns)) }
                        td { (span(latency.max_ns as f64)) }
                        td { (span(latency.mad_ns)) }
                        td { (format!("{:.1}", latency.tau)) }
                        @if moved {
                            @for found in [point.comparable_mean(), point.comparable_p50(), point.comparable_p99()] {
                                td title=[found.and_then(|(_, interval)| bounds(interval))] { (optional(found.map(|(ns, _)| ns))) }
                            }
                        }
                    }
                }
            }
        }
    };
    let extrapolated = measured.iter().any(|(_, latency)| latency.p99_extrapolated);
    Some(html! {
        (scroll("Percentiles of every point", table))
        @if extrapolated { p.note { "? extrapolated beyond fewer than 99 iterations" } }
    })
}

/// The device's own times beside the latency, where a backend tells them.
pub(super) fn device(profile: &Profile) -> Option<Markup> {
    let told: Vec<(&PointSummary, f64)> =
        profile.points.iter().filter_map(|point| Some((point, point.compute_p50_ns?))).collect();
    if told.is_empty() {
        return None;
    }
    let heads = [
        "compute P50",
        "compute P95",
        "compute P99",
        "to the device P50",
        "P99",
        "to the host P50",
        "P99",
        "latency less these, P50",
    ];
    let rest = |point: &PointSummary, compute: f64| {
        let latency = point.latency.as_ref()?.p50_ns;
        Some(latency - compute - point.h2d_p50_ns.unwrap_or(0.0) - point.d2h_p50_ns.unwrap_or(0.0))
    };
    let table = html! {
        table.ruled {
            caption { "Times by the device's own clock, beside the latency that the rest of this report is about." }
            thead { tr { th.l scope="col" { "point" } @for head in heads { th scope="col" { (head) } } } }
            tbody {
                @for (point, compute) in told {
                    tr {
                        th scope="row" { (short(profile, point.id)) }
                        td { (span(compute)) }
                        td { (optional(point.compute_p95_ns)) }
                        td { (optional(point.compute_p99_ns)) }
                        td { (optional(point.h2d_p50_ns)) }
                        td { (optional(point.h2d_p99_ns)) }
                        td { (optional(point.d2h_p50_ns)) }
                        td { (optional(point.d2h_p99_ns)) }
                        td { (optional(rest(point, compute))) }
                    }
                }
            }
        }
    };
    Some(scroll("Device times of every point", table))
}

fn optional(ns: Option<f64>) -> String {
    ns.map(span).unwrap_or_default()
}

fn bounds(interval: Interval) -> Option<String> {
    words::interval(interval, span).map(|text| format!("95 % interval: {text}"))
}

fn p99_interval(latency: &LatencySummary) -> String {
    match words::interval(latency.p99_ci_ns, span) {
        Some(text) if latency.p99_ci_ns.upper.is_none() => {
            format!("{text}, upper not determinable at n = {}", latency.iterations)
        }
        Some(text) => text,
        None => format!("not determinable at n = {}", latency.iterations),
    }
}

/// Where pressure begins, and what each point took.
pub(super) fn memory(profile: &Profile) -> Option<Markup> {
    let measured: Vec<&PointSummary> =
        profile.points.iter().filter(|p| p.peak_memory_bytes.is_some() || p.minor_faults.is_some()).collect();
    if measured.is_empty() && profile.memory_pressure.is_empty() {
        return None;
    }
    let number = |value: Option<u64>| value.map(|v| format::thousands(v.into())).unwrap_or_default();
    let table = html! {
        table.ruled {
            thead { tr {
                th.l scope="col" { "point" }
                @for head in ["prepared in", "build", "engine", "peak", "device", "minor faults", "major faults", "PSI stalls", "pages swapped in"] {
                    th scope="col" { (head) }
                }
            } }
            tbody {
                @for point in &measured {
                    tr {
                        th scope="row" { (short(profile, point.id)) }
                        td { (optional(point.prepare_ns.map(|ns| ns as f64))) }
                        td { (point.engine.map(build_words).unwrap_or_default()) }
                        td { (point.engine.map(|engine| format::bytes(engine.size.get())).unwrap_or_default()) }
                        td { (point.peak_memory_bytes.map(format::bytes).unwrap_or_default()) }
                        td { (point.device_memory_bytes.map(format::bytes).unwrap_or_default()) }
                        td { (number(point.minor_faults)) }
                        td { (number(point.major_faults)) }
                        td { (point.psi_some_us.map(|us| span(us as f64 * 1e3)).unwrap_or_default()) }
                        td { (number(point.swap_in_pages)) }
                    }
                }
            }
        }
    };
    Some(html! {
        ul.plain {
            @for entry in findings::memory_pressure(profile) { li { (entry) } }
        }
        @if !measured.is_empty() {
            details { summary { "Preparation, memory and page faults of every point" } (scroll("Memory of every point", table)) }
        }
    })
}

/// How long a build took, and whether this run paid for it.
fn build_words(engine: EngineBuild) -> String {
    let took = span(engine.took.get() as f64);
    if engine.cached { format!("{took}, earlier") } else { took }
}

/// What a reader must know beside the figures.
pub(super) fn remarks(profile: &Profile) -> Option<Markup> {
    let notes = findings::notes(profile);
    (!notes.is_empty()).then(|| {
        html! { ul.plain { @for (name, note) in &notes { li { b { (name) } ": " (note) } } } }
    })
}

/// The most expensive operators, where they were asked for.
pub(super) fn operators(profile: &Profile) -> Option<Markup> {
    let asked = profile.points.iter().filter_map(|point| Some((point.id, tables::operators(point)?)));
    let asked: Vec<_> = asked.collect();
    (!asked.is_empty()).then(|| {
        html! {
            @for (id, table) in &asked {
                details open[profile.points.len() < 4] {
                    summary { (chosen(profile, *id)) }
                    (table::plain(table))
                }
            }
        }
    })
}
