//! How many streams a board sustains.

use super::WireError;
use super::codes::Coded;
use super::describe::{known_point, point_key};
use super::layout;
use super::scale::{required, to_figure};
use super::soaks::{decode_failure, encode_failure};
use crate::streams::verdict::{LoadFigures, Verdict, WorstStream};
use crate::streams::{ArrivalProcess, Phases};
use crate::summary::{Capacity, Interval};

pub(super) fn encode(capacities: &[Capacity]) -> Result<Option<Vec<layout::Capacity>>, WireError> {
    let encoded: Vec<layout::Capacity> = capacities.iter().map(encode_one).collect::<Result<_, _>>()?;
    Ok((!encoded.is_empty()).then_some(encoded))
}

/// Those whose points vary axes that this version does not know are left out.
pub(super) fn decode(
    capacities: Option<Vec<layout::Capacity>>,
    variants: usize,
) -> Result<Vec<Capacity>, WireError> {
    let decode = |capacity| decode_one(capacity, variants).transpose();
    capacities.unwrap_or_default().into_iter().filter_map(decode).collect()
}

fn encode_one(capacity: &Capacity) -> Result<layout::Capacity, WireError> {
    let load = |figures: &Option<LoadFigures>| figures.as_ref().map(encode_load).transpose();
    Ok(layout::Capacity {
        point: point_key(capacity.id),
        instances: capacity.instances,
        period_ns: capacity.period_ns,
        deadline_ns: capacity.deadline_ns,
        phases: capacity.phases.code(),
        arrivals: capacity.arrivals.code(),
        loads: capacity.loads,
        last_holding: load(&capacity.last_holding)?,
        first_failing: load(&capacity.first_failing)?,
        undecided: load(&capacity.undecided)?,
        failure: capacity.failure.as_ref().map(encode_failure),
    })
}

fn decode_one(capacity: layout::Capacity, variants: usize) -> Result<Option<Capacity>, WireError> {
    let Some(id) = known_point(&capacity.point, variants)? else { return Ok(None) };
    Ok(Some(Capacity {
        id,
        instances: capacity.instances,
        period_ns: capacity.period_ns,
        deadline_ns: capacity.deadline_ns,
        phases: Phases::of(capacity.phases),
        arrivals: ArrivalProcess::of(capacity.arrivals),
        loads: capacity.loads,
        last_holding: capacity.last_holding.map(decode_load),
        first_failing: capacity.first_failing.map(decode_load),
        undecided: capacity.undecided.map(decode_load),
        failure: capacity.failure.map(decode_failure).transpose()?,
    }))
}

fn encode_load(figures: &LoadFigures) -> Result<layout::Load, WireError> {
    let scaled = |what: &'static str, value: Option<f64>, denominator: f64| {
        value.map(|value| required(what, value, denominator)).transpose()
    };
    Ok(layout::Load {
        streams: figures.streams,
        verdict: figures.verdict.code(),
        reason: figures.reason.clone(),
        duration_ms: figures.duration_ms,
        clips: figures.clips,
        missed: figures.missed,
        given_up: figures.given_up,
        inferences: figures.inferences,
        part_filled: figures.part_filled,
        p50_ns_x2: scaled("a load's median", figures.p50_ns, 2.0)?,
        p99_ns_x100: scaled("a load's P99", figures.p99_ns, 100.0)?,
        p99_lower_ns: scaled("a load's P99", figures.p99_ci_ns.lower, 1.0)?,
        p99_upper_ns: scaled("a load's P99", figures.p99_ci_ns.upper, 1.0)?,
        worst_stream: figures.worst_stream.map(|worst| (worst.clips, worst.missed)),
        streams_shown: figures.streams_shown,
        backlog_e6: scaled("a backlog's growth", figures.backlog_per_s, 1e6)?,
        backlog_lower_e6: scaled("a backlog's growth", figures.backlog_ci.lower, 1e6)?,
        backlog_upper_e6: scaled("a backlog's growth", figures.backlog_ci.upper, 1e6)?,
        waiting: figures.waiting.clone(),
    })
}

fn decode_load(load: layout::Load) -> LoadFigures {
    let figure = |integer: Option<i64>, denominator: f64| integer.map(|value| to_figure(value, denominator));
    LoadFigures {
        streams: load.streams,
        verdict: Verdict::of(load.verdict),
        reason: load.reason,
        duration_ms: load.duration_ms,
        clips: load.clips,
        missed: load.missed,
        given_up: load.given_up,
        inferences: load.inferences,
        part_filled: load.part_filled,
        p50_ns: figure(load.p50_ns_x2, 2.0),
        p99_ns: figure(load.p99_ns_x100, 100.0),
        p99_ci_ns: Interval { lower: figure(load.p99_lower_ns, 1.0), upper: figure(load.p99_upper_ns, 1.0) },
        worst_stream: load.worst_stream.map(|(clips, missed)| WorstStream { clips, missed }),
        streams_shown: load.streams_shown,
        backlog_per_s: figure(load.backlog_e6, 1e6),
        backlog_ci: Interval {
            lower: figure(load.backlog_lower_e6, 1e6),
            upper: figure(load.backlog_upper_e6, 1e6),
        },
        waiting: load.waiting,
    }
}
