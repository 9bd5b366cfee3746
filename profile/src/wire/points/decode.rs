//! From columns to points.

use super::super::WireError;
use super::super::codes::Coded;
use super::super::describe::point_id;
use super::super::intervals::{Parts, to_interval};
use super::super::layout::Points;
use super::super::scale::{sum, to_figure, uncount};
use super::super::varint::unpack;
use super::rows::{Row, plain, rows};
use super::{MAX_POINTS, Percentiles, clips_per_s, energy_of_power, frames, idle_of_gross};
use crate::axis::Axis;
use crate::point::{PointId, Shape};
use crate::record::EngineBuild;
use crate::stats::histogram::Histogram;
use crate::stats::quantile::Quantile;
use crate::summary::{EnergySummary, LatencySummary, PointSummary, Status, SteadyState};
use crate::units::{Bytes, Nanos};

/// The points of `columns`; notes are added by the caller. A point on axes that this version does not know is absent.
pub(in crate::wire) fn decode(
    columns: &Points,
    variants: usize,
    idle_uw: Option<i64>,
) -> Result<Vec<Option<PointSummary>>, WireError> {
    if columns.count > MAX_POINTS {
        return Err(WireError::OutOfRange { what: "the number of points" });
    }
    let expected = columns.count as usize;
    let found = columns.histogram.as_ref().map_or(expected, Vec::len);
    if found != expected {
        return Err(WireError::Length { column: "histogram", found, expected });
    }
    let ids = identities(columns, expected, variants)?;
    let rows = rows(&columns.columns, expected)?;
    let point = |(at, (id, row)): (usize, (Option<PointId>, &Row))| {
        let bytes = columns.histogram.as_ref().map_or(&[][..], |all| &all[at].0);
        let Some(id) = id else { return Ok(None) };
        decode_point(id, row, histogram(at, bytes)?, idle_uw).map(Some)
    };
    ids.into_iter().zip(&rows).enumerate().map(point).collect()
}

/// Which point each is; absent where it has a size of an axis that this version does not know.
fn identities(columns: &Points, count: usize, variants: usize) -> Result<Vec<Option<PointId>>, WireError> {
    let what = "a variant or a size of a shape";
    let wrong = || WireError::OutOfRange { what };
    let numbers = unpack("variant", columns.variant.as_ref(), count)?;
    let mut keys: Vec<Vec<u32>> = Vec::with_capacity(count);
    for number in numbers {
        keys.push(vec![u32::try_from(need(what, number)?).map_err(|_| wrong())?]);
    }
    let mut known = vec![true; count];
    for axis in Axis::SHAPE {
        let sizes = unpack(axis.name(), columns.shape.get(&axis.row().code), count)?;
        for (key, size) in keys.iter_mut().zip(sizes) {
            key.push(u32::try_from(size.unwrap_or(0)).map_err(|_| wrong())?);
        }
    }
    let is_known = |code: u8| Axis::SHAPE.iter().any(|axis| axis.row().code == code);
    for (_, column) in columns.shape.iter().filter(|(code, _)| !is_known(**code)) {
        let sizes = unpack("an unknown axis", Some(column), count)?;
        known.iter_mut().zip(sizes).for_each(|(known, size)| *known &= size.is_none());
    }
    let id = |(key, known): (&Vec<u32>, bool)| point_id(key, variants).map(|id| known.then_some(id));
    keys.iter().zip(known).map(id).collect()
}

fn histogram(point: usize, bytes: &[u8]) -> Result<Histogram, WireError> {
    if bytes.is_empty() {
        return Ok(Histogram::default());
    }
    Histogram::from_bytes(bytes).map_err(|source| WireError::Histogram { point, source })
}

fn optional(what: &'static str, value: Option<i64>) -> Result<Option<u64>, WireError> {
    value.map(|value| uncount(what, value)).transpose()
}

fn decode_point(
    id: PointId,
    row: &Row,
    histogram: Histogram,
    idle_uw: Option<i64>,
) -> Result<PointSummary, WireError> {
    let status = code(need("a point's status", row.status)?);
    let latency = row.iterations.map(|iterations| latency(row, iterations, histogram)).transpose()?;
    let elapsed = optional("elapsed time", row.elapsed_ns)?;
    let clips_per_s =
        latency.as_ref().and_then(|l| clips_per_s(id.shape, l.iterations, elapsed.unwrap_or(l.sum_ns)));
    let mut point = PointSummary {
        engine: engine(row)?,
        latency,
        clips_per_s,
        frames_per_s: clips_per_s.map(|clips| clips * f64::from(id.shape.clip())),
        energy: energy(id.shape, row, idle_uw)?,
        ..PointSummary::bare(id, Status::of(status))
    };
    for ((name, wire), number) in plain().zip(&row.plain) {
        if let Some(number) = number {
            // Counts are never negative.
            let figure = wire.figure(uncount(name, *number)?);
            (wire.write)(&mut point, figure);
        }
    }
    Ok(point)
}

fn engine(row: &Row) -> Result<Option<EngineBuild>, WireError> {
    let Some(us) = row.engine_build_us else { return Ok(None) };
    let us = uncount("an engine's build time", us)?;
    let size = uncount("an engine's size", need("an engine's size", row.engine_bytes)?)?;
    let cached = match row.engine_cached {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(WireError::OutOfRange { what: "whether an engine was cached" }),
    };
    Ok(Some(EngineBuild { took: Nanos(us.saturating_mul(1000)), size: Bytes(size), cached }))
}

fn percentiles(row: &Row) -> Result<Percentiles, WireError> {
    let p50_x2 = need("the median", row.p50_ns_x2)?;
    let mut known = Percentiles { p50_x2, p95_x20: None, p99_x100: None, p999_x1000: None };
    if let Some(beyond) = row.p95_beyond_p50_ns_x20 {
        known.p95_x20 = Some(sum("P95", known.below_p95()?, beyond)?);
    }
    if let Some(beyond) = row.p99_beyond_p95_ns_x100 {
        known.p99_x100 = Some(sum("P99", known.below_p99()?, beyond)?);
    }
    if let Some(beyond) = row.p999_beyond_p99_ns_x1000 {
        known.p999_x1000 = Some(sum("P99.9", known.below_p999()?, beyond)?);
    }
    Ok(known)
}

fn need(what: &'static str, value: Option<i64>) -> Result<i64, WireError> {
    value.ok_or(WireError::OutOfRange { what })
}

/// A code as it arrives; what is no code becomes one that no enum has.
fn code(value: i64) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

fn latency(row: &Row, iterations: i64, histogram: Histogram) -> Result<LatencySummary, WireError> {
    let known = percentiles(row)?;
    let beyond = need("the summed latency", row.sum_beyond_p50_ns)?;
    let sum_ns = sum("the summed latency", known.typical_sum(iterations)?, beyond)?;
    let below = need("the minimum", row.min_below_p50_ns)?;
    let min = sum("the minimum", known.p50_x2.div_euclid(2), below.saturating_neg())?;
    let max = sum("the maximum", known.below_max(), need("the maximum", row.max_beyond_percentile_ns)?)?;
    let iterations = uncount("iterations", iterations)?;
    let sum_ns = uncount("the summed latency", sum_ns)?;
    let mean_ns = if iterations == 0 { 0.0 } else { sum_ns as f64 / iterations as f64 };
    let p50_ns = to_figure(known.p50_x2, 2.0);
    let p95_ns = known.p95_x20.map(|value| to_figure(value, 20.0));
    let p99_ns = known.p99_x100.map(|value| to_figure(value, 100.0));
    let ends =
        |first, figure, parts| to_interval([row.intervals[first], row.intervals[first + 1]], figure, parts);
    Ok(LatencySummary {
        iterations,
        warmup_iterations: uncount("warm-up", need("warm-up iterations", row.warmup_iterations)?)?,
        sum_ns,
        mean_ns,
        p50_ns,
        p95_ns,
        p99_ns,
        p999_ns: known.p999_x1000.map(|value| to_figure(value, 1000.0)),
        min_ns: uncount("the minimum", min)?,
        max_ns: uncount("the maximum", max)?,
        mad_ns: need("the MAD", row.mad_e4)? as f64 * Parts::TenThousandths.of(p50_ns),
        mean_ci_ns: ends(0, mean_ns, Parts::TenThousandths),
        p50_ci_ns: ends(2, p50_ns, Parts::TenThousandths),
        p95_ci_ns: ends(4, p95_ns.unwrap_or(p50_ns), Parts::Thousandths),
        p99_ci_ns: ends(6, p99_ns.unwrap_or(p50_ns), Parts::Thousandths),
        tau: to_figure(need("tau", row.tau_x10)?, 10.0),
        p99_extrapolated: Quantile::P99.extrapolates(iterations),
        steady: SteadyState::of(code(need("a steady state", row.steady)?)),
        histogram,
    })
}

fn energy(at: Shape, row: &Row, idle_uw: Option<i64>) -> Result<Option<EnergySummary>, WireError> {
    let Some(power) = row.mean_power_mw else { return Ok(None) };
    let window = need("the energy window", row.energy_window_ms)?;
    let beyond = need("energy per frame", row.energy_beyond_power_nj)?;
    let frames = frames(at, row.iterations.unwrap_or(0));
    let gross = energy_of_power(power, window, frames).wrapping_add(beyond);
    let net = row.idle_energy_beyond_idle_power_nj.map(|beyond| {
        let idle = idle_of_gross(gross, idle_uw, power).wrapping_add(beyond);
        gross.wrapping_sub(idle)
    });
    let gross_uj = to_figure(gross, 1e3);
    Ok(Some(EnergySummary {
        mean_power_mw: to_figure(power, 1.0),
        gross_per_frame_uj: gross_uj,
        net_per_frame_uj: net.map(|nj| to_figure(nj, 1e3)),
        gross_ci_uj: to_interval(row.energy_interval_e3, gross_uj, Parts::Thousandths),
        window_ms: uncount("the energy window", window)?,
    }))
}
