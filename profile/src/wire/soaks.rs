//! Soaks and what they consist of.

use super::WireError;
use super::codes::Coded;
use super::describe::{known_point, point_key};
use super::layout;
use super::scale::{required, to_figure, to_integer};
use crate::record::{Cause, Failure, GateOutcome, Stage};
use crate::summary::{EnergySummary, Interval, SoakSegment, SoakSummary, Throttle, ThrottleCause};
use crate::units::Nanos;

pub(super) fn encode_failure(failure: &Failure) -> layout::Failure {
    layout::Failure {
        stage: failure.stage.code(),
        cause: failure.cause.code(),
        message: failure.message.clone(),
    }
}

pub(super) fn decode_failure(failure: layout::Failure) -> Result<Failure, WireError> {
    Ok(Failure { stage: Stage::of(failure.stage), cause: Cause::of(failure.cause), message: failure.message })
}

pub(super) fn encode_segment(segment: &SoakSegment) -> Result<layout::Segment, WireError> {
    Ok(layout::Segment {
        start_ms: segment.start_ms,
        end_ms: segment.end_ms,
        p50_ns_x100: required("a segment's median", segment.p50_ns, 100.0)?,
        p99_ns_x100: segment.p99_ns.and_then(|p99| to_integer(p99, 100.0)),
        mframes_per_s: required("a segment's throughput", segment.frames_per_s, 1e3)?,
    })
}

pub(super) fn decode_segment(segment: &layout::Segment) -> SoakSegment {
    SoakSegment {
        start_ms: segment.start_ms,
        end_ms: segment.end_ms,
        p50_ns: to_figure(segment.p50_ns_x100, 100.0),
        p99_ns: segment.p99_ns_x100.map(|p99| to_figure(p99, 100.0)),
        frames_per_s: to_figure(segment.mframes_per_s, 1e3),
    }
}

pub(super) fn encode_throttle(throttle: &Throttle) -> Result<layout::Throttle, WireError> {
    Ok(layout::Throttle {
        onset_ms: throttle.onset_ms,
        recovery_ms: throttle.recovery_ms,
        cause: throttle.cause.code(),
        slowdown_ppm: required("a slowdown", throttle.slowdown, 1e6)?,
        evidence: throttle.evidence.clone(),
    })
}

pub(super) fn decode_throttle(throttle: layout::Throttle) -> Result<Throttle, WireError> {
    Ok(Throttle {
        onset_ms: throttle.onset_ms,
        recovery_ms: throttle.recovery_ms,
        cause: ThrottleCause::of(throttle.cause),
        slowdown: to_figure(throttle.slowdown_ppm, 1e6),
        evidence: throttle.evidence,
    })
}

fn encode_energy(energy: &EnergySummary) -> Result<layout::Energy, WireError> {
    Ok(layout::Energy {
        mean_power_uw: required("mean power", energy.mean_power_mw, 1e3)?,
        gross_per_frame_nj: required("energy per frame", energy.gross_per_frame_uj, 1e3)?,
        net_per_frame_nj: energy.net_per_frame_uj.and_then(|net| to_integer(net, 1e3)),
        lower_nj: energy.gross_ci_uj.lower.and_then(|end| to_integer(end, 1e3)),
        upper_nj: energy.gross_ci_uj.upper.and_then(|end| to_integer(end, 1e3)),
        window_ms: energy.window_ms,
    })
}

fn decode_energy(energy: &layout::Energy) -> EnergySummary {
    let uj = |nj: Option<i64>| nj.map(|nj| to_figure(nj, 1e3));
    EnergySummary {
        mean_power_mw: to_figure(energy.mean_power_uw, 1e3),
        gross_per_frame_uj: to_figure(energy.gross_per_frame_nj, 1e3),
        net_per_frame_uj: uj(energy.net_per_frame_nj),
        gross_ci_uj: Interval { lower: uj(energy.lower_nj), upper: uj(energy.upper_nj) },
        window_ms: energy.window_ms,
    }
}

pub(super) fn encode_soak(soak: &SoakSummary) -> Result<layout::Soak, WireError> {
    let scaled = |value: Option<f64>, denominator| value.and_then(|value| to_integer(value, denominator));
    Ok(layout::Soak {
        point: point_key(soak.id),
        duration_ms: soak.duration_ms,
        inferences: soak.inferences,
        aborted: soak.aborted.clone(),
        failure: soak.failure.as_ref().map(encode_failure),
        gate: soak.gate.as_ref().map(|gate| layout::Gate {
            passed: gate.passed,
            waited_ns: gate.waited.get(),
            reason: gate.reason.clone(),
        }),
        segments: soak.segments.iter().map(encode_segment).collect::<Result<_, _>>()?,
        throttles: soak.throttles.iter().map(encode_throttle).collect::<Result<_, _>>()?,
        burst_mframes_per_s: scaled(soak.burst_frames_per_s, 1e3),
        sustained_mframes_per_s: scaled(soak.sustained_frames_per_s, 1e3),
        sustained_ratio_ppm: scaled(soak.sustained_ratio, 1e6),
        sustained_p99_ns_x100: scaled(soak.sustained_p99_ns, 100.0),
        time_to_throttle_ms: soak.time_to_throttle_ms,
        oscillation_period_ms: soak.oscillation_period_ms,
        energy: soak.energy.as_ref().map(encode_energy).transpose()?,
        sustained_energy: soak.sustained_energy.as_ref().map(encode_energy).transpose()?,
        peak_temperatures: soak.peak_temperatures.clone(),
        remarks: soak.remarks.clone(),
    })
}

/// The soak; `None` where its point varies axes that this version does not know.
pub(super) fn decode_soak(soak: layout::Soak, variants: usize) -> Result<Option<SoakSummary>, WireError> {
    let Some(id) = known_point(&soak.point, variants)? else { return Ok(None) };
    let figure = |value: Option<i64>, denominator| value.map(|value| to_figure(value, denominator));
    Ok(Some(SoakSummary {
        id,
        duration_ms: soak.duration_ms,
        inferences: soak.inferences,
        aborted: soak.aborted,
        failure: soak.failure.map(decode_failure).transpose()?,
        gate: soak.gate.map(|gate| GateOutcome {
            passed: gate.passed,
            waited: Nanos(gate.waited_ns),
            reason: gate.reason,
        }),
        segments: soak.segments.iter().map(decode_segment).collect(),
        throttles: soak.throttles.into_iter().map(decode_throttle).collect::<Result<_, _>>()?,
        burst_frames_per_s: figure(soak.burst_mframes_per_s, 1e3),
        sustained_frames_per_s: figure(soak.sustained_mframes_per_s, 1e3),
        sustained_ratio: figure(soak.sustained_ratio_ppm, 1e6),
        sustained_p99_ns: figure(soak.sustained_p99_ns_x100, 100.0),
        time_to_throttle_ms: soak.time_to_throttle_ms,
        oscillation_period_ms: soak.oscillation_period_ms,
        energy: soak.energy.as_ref().map(decode_energy),
        sustained_energy: soak.sustained_energy.as_ref().map(decode_energy),
        peak_temperatures: soak.peak_temperatures,
        remarks: soak.remarks,
    }))
}
