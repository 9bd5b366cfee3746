//! From points to columns.

use super::super::WireError;
use super::super::codes::Coded;
use super::super::intervals::{Parts, to_parts};
use super::super::layout::{Blob, Points};
use super::super::scale::{count, required, to_integer};
use super::super::varint::pack;
use super::rows::{LATENCY_ENDS, Row, columns};
use super::{MAX_POINTS, Percentiles, clips_per_s, energy_of_power, frames, idle_of_gross};
use crate::axis::Axis;
use crate::figures::{ROWS, WireColumn};
use crate::point::PointId;
use crate::summary::{EnergySummary, LatencySummary, PointSummary};
use std::collections::BTreeSet;

/// Throughput that differs by less than this from iterations over summed latency follows from them.
const SAME_THROUGHPUT: f64 = 1e-9;

/// The columns of `points`. Histograms keep their exact tails where `chosen` has the point.
pub(in crate::wire) fn encode(
    points: &[PointSummary],
    chosen: &BTreeSet<PointId>,
    idle_uw: Option<i64>,
) -> Result<Points, WireError> {
    let rows = points.iter().map(|point| row(point, idle_uw)).collect::<Result<Vec<Row>, WireError>>()?;
    let count = u32::try_from(points.len()).ok().filter(|&count| count <= MAX_POINTS);
    let sizes = |axis: Axis| {
        let sizes = points.iter().map(|point| point.id.shape.get(axis).map(i64::from));
        Some((axis.row().code, pack(sizes)?))
    };
    Ok(Points {
        count: count.ok_or(WireError::OutOfRange { what: "the number of points" })?,
        variant: pack(points.iter().map(|point| Some(point.id.variant.into()))),
        shape: Axis::SHAPE.into_iter().filter_map(sizes).collect(),
        columns: columns(&rows),
        histogram: histograms(points, chosen),
    })
}

fn row(point: &PointSummary, idle_uw: Option<i64>) -> Result<Row, WireError> {
    let number = |wire: WireColumn, value: f64| to_integer(wire.number(value), 1.0);
    let mut row = Row {
        status: Some(point.status.code().into()),
        elapsed_ns: elapsed(point),
        plain: ROWS
            .iter()
            .filter_map(|row| Some((row.wire?, (row.read)(point))))
            .map(|(wire, value)| value.and_then(|value| number(wire, value)))
            .collect(),
        ..Row::default()
    };
    if let Some(engine) = point.engine {
        row.engine_build_us = Some(count("an engine's build time", microseconds(engine.took.get()))?);
        row.engine_bytes = Some(count("an engine's size", engine.size.get())?);
        row.engine_cached = Some(engine.cached.into());
    }
    if let Some(latency) = &point.latency {
        put_latency(&mut row, latency)?;
    }
    if let Some(energy) = &point.energy {
        put_energy(&mut row, point, energy, idle_uw)?;
    }
    Ok(row)
}

const fn microseconds(ns: u64) -> u64 {
    ns.saturating_add(500) / 1000
}

fn put_latency(row: &mut Row, latency: &LatencySummary) -> Result<(), WireError> {
    let whole = |value: Option<f64>, parts: f64| {
        value.map(|value| required("a percentile", value, parts)).transpose()
    };
    let known = Percentiles {
        p50_x2: required("a median", latency.p50_ns, 2.0)?,
        p95_x20: whole(latency.p95_ns, 20.0)?,
        p99_x100: whole(latency.p99_ns, 100.0)?,
        p999_x1000: whole(latency.p999_ns, 1000.0)?,
    };
    let beyond = |value: Option<i64>, base: i64| value.map(|value| value - base);
    let iterations = count("iterations", latency.iterations)?;
    let sum = count("the summed latency", latency.sum_ns)?;
    row.iterations = Some(iterations);
    row.warmup_iterations = Some(count("warm-up iterations", latency.warmup_iterations)?);
    row.p50_ns_x2 = Some(known.p50_x2);
    row.sum_beyond_p50_ns = Some(sum - known.typical_sum(iterations)?);
    row.p95_beyond_p50_ns_x20 = beyond(known.p95_x20, known.below_p95()?);
    row.p99_beyond_p95_ns_x100 = beyond(known.p99_x100, known.below_p99()?);
    row.p999_beyond_p99_ns_x1000 = beyond(known.p999_x1000, known.below_p999()?);
    row.min_below_p50_ns = Some(known.p50_x2.div_euclid(2) - count("the minimum", latency.min_ns)?);
    row.max_beyond_percentile_ns = Some(count("the maximum", latency.max_ns)? - known.below_max());
    row.mad_e4 = to_integer(latency.mad_ns / Parts::TenThousandths.of(latency.p50_ns), 1.0);
    row.intervals = intervals(latency);
    row.tau_x10 = to_integer((latency.tau * 10.0 - 1e-6).ceil(), 1.0);
    row.steady = Some(i64::from(latency.steady.code()));
    Ok(())
}

fn intervals(latency: &LatencySummary) -> [Option<i64>; LATENCY_ENDS] {
    let (p95, p99) = (latency.p95_ns.unwrap_or(latency.p50_ns), latency.p99_ns.unwrap_or(latency.p50_ns));
    let ends = [
        to_parts(latency.mean_ci_ns, latency.mean_ns, Parts::TenThousandths),
        to_parts(latency.p50_ci_ns, latency.p50_ns, Parts::TenThousandths),
        to_parts(latency.p95_ci_ns, p95, Parts::Thousandths),
        to_parts(latency.p99_ci_ns, p99, Parts::Thousandths),
    ];
    std::array::from_fn(|i| ends[i / 2][i % 2])
}

/// Time for all iterations where it does not follow from the latencies; 0 where there is no throughput.
fn elapsed(point: &PointSummary) -> Option<i64> {
    let latency = point.latency.as_ref()?;
    let derived = clips_per_s(point.id.shape, latency.iterations, latency.sum_ns);
    match (point.clips_per_s, derived) {
        (None, None) => None,
        (None, Some(_)) => Some(0),
        (Some(given), Some(derived)) if (given / derived - 1.0).abs() < SAME_THROUGHPUT => None,
        (Some(given), _) => {
            let clips = f64::from(point.id.shape.batch()) * latency.iterations as f64;
            to_integer(clips / given, 1e9)
        }
    }
}

fn put_energy(
    row: &mut Row,
    point: &PointSummary,
    energy: &EnergySummary,
    idle_uw: Option<i64>,
) -> Result<(), WireError> {
    let power = required("mean power", energy.mean_power_mw, 1.0)?;
    let window = count("the energy window", energy.window_ms)?;
    let gross = required("energy per frame", energy.gross_per_frame_uj, 1e3)?;
    let frames = frames(point.id.shape, row.iterations.unwrap_or(0));
    row.mean_power_mw = Some(power);
    row.energy_window_ms = Some(window);
    row.energy_beyond_power_nj = Some(gross.wrapping_sub(energy_of_power(power, window, frames)));
    if let Some(net) = energy.net_per_frame_uj {
        let idle = gross.wrapping_sub(required("net energy per frame", net, 1e3)?);
        row.idle_energy_beyond_idle_power_nj = Some(idle.wrapping_sub(idle_of_gross(gross, idle_uw, power)));
    }
    row.energy_interval_e3 = to_parts(energy.gross_ci_uj, energy.gross_per_frame_uj, Parts::Thousandths);
    Ok(())
}

fn histograms(points: &[PointSummary], chosen: &BTreeSet<PointId>) -> Option<Vec<Blob>> {
    let bytes = |point: &PointSummary| {
        let Some(latency) = &point.latency else { return Blob::default() };
        let kept = if chosen.contains(&point.id) {
            latency.histogram.to_bytes()
        } else {
            latency.histogram.without_tail().to_bytes()
        };
        Blob(kept)
    };
    let all: Vec<Blob> = points.iter().map(bytes).collect();
    all.iter().any(|blob| !blob.0.is_empty()).then_some(all)
}
