//! A whole profile to and from bytes.

use super::codes::Coded;
use super::describe::{self, known_point, point_key, variant_index};
use super::layout::{Chosen, Note, Operator, Pressure, ProfileMessage, Scaling};
use super::scale::{required, to_figure, to_integer};
use super::soaks::{decode_failure, decode_soak, encode_failure, encode_soak};
use super::{MAX_PROFILE_BYTES, VERSION, WireError, capacities, check_version, drift, points};
use crate::codec;
use crate::point::{PointId, Shape};
use crate::record::{NotRun, OperatorCost};
use crate::summary::{
    self, Interval, MemoryPressure, Objective, OperatingPoint, PointSummary, PressureSign, Profile,
};
use crate::units::Nanos;
use std::collections::BTreeSet;

/// `profile` as packed CBOR, version 1.
///
/// # Errors
/// [`WireError::OutOfRange`] for a figure that no run can give (e.g. not a number), [`WireError::Codec`]
/// beyond [`MAX_PROFILE_BYTES`].
pub fn encode_profile(profile: &Profile) -> Result<Vec<u8>, WireError> {
    Ok(codec::to_cbor(&to_message(profile)?, MAX_PROFILE_BYTES)?)
}

/// Reads [`encode_profile`]'s bytes, or any others: what is not a profile is refused.
///
/// # Errors
/// Any [`WireError`].
pub fn decode_profile(bytes: &[u8]) -> Result<Profile, WireError> {
    check_version(bytes, MAX_PROFILE_BYTES)?;
    from_message(codec::from_cbor(bytes, MAX_PROFILE_BYTES)?)
}

pub(super) fn to_message(profile: &Profile) -> Result<ProfileMessage, WireError> {
    let chosen: BTreeSet<PointId> =
        profile.operating_points.iter().flat_map(|entry| entry.chosen.iter().copied()).collect();
    let idle_power_uw = profile.idle_power_mw.and_then(|mw| to_integer(mw, 1e3));
    Ok(ProfileMessage {
        version: VERSION,
        analysis: profile.analysis,
        run: describe::encode_run(&profile.run)?,
        environment: describe::encode_environment(&profile.environment),
        models: profile.models.iter().map(describe::encode_model).collect::<Result<_, _>>()?,
        backends: profile.backends.iter().map(describe::encode_backend).collect(),
        variants: profile.variants.iter().map(describe::encode_variant).collect(),
        points: points::encode(&profile.points, &chosen, idle_power_uw)?,
        notes: notes(&profile.points)?,
        scaling: profile.scaling.iter().map(encode_scaling).collect::<Result<_, _>>()?,
        memory_pressure: profile.memory_pressure.iter().map(encode_pressure).collect(),
        operating_points: profile.operating_points.iter().map(encode_chosen).collect(),
        soaks: profile.soaks.iter().map(encode_soak).collect::<Result<_, _>>()?,
        idle_power_uw,
        power_topology: profile.power_topology.clone(),
        sampler_cpu_ppm: profile.sampler_cpu_share.and_then(|share| to_integer(share, 1e6)),
        warnings: profile.warnings.clone(),
        drift: profile.drift.as_ref().map(drift::encode).transpose()?,
        capacities: capacities::encode(&profile.capacities)?,
    })
}

fn from_message(message: ProfileMessage) -> Result<Profile, WireError> {
    let variants = message.variants.len();
    let mut points = points::decode(&message.points, variants, message.idle_power_uw)?;
    for note in message.notes {
        annotate(&mut points, note, variants)?;
    }
    let unknown = points.iter().filter(|point| point.is_none()).count();
    let mut warnings = message.warnings;
    if unknown > 0 {
        warnings
            .push(format!("{unknown} points are left out: they vary axes that this version does not know"));
    }
    Ok(Profile {
        schema: message.version,
        analysis: message.analysis,
        run: describe::decode_run(message.run)?,
        environment: describe::decode_environment(message.environment),
        models: message.models.into_iter().map(describe::decode_model).collect::<Result<_, _>>()?,
        backends: message.backends.into_iter().map(describe::decode_backend).collect(),
        variants: message.variants.into_iter().map(describe::decode_variant).collect::<Result<_, _>>()?,
        points: points.into_iter().flatten().collect(),
        scaling: message
            .scaling
            .iter()
            .map(|line| decode_scaling(line, variants))
            .collect::<Result<_, _>>()?,
        memory_pressure: message
            .memory_pressure
            .iter()
            .map(|entry| decode_pressure(entry, variants))
            .collect::<Result<_, _>>()?,
        operating_points: message
            .operating_points
            .into_iter()
            .map(|entry| decode_chosen(entry, variants))
            .collect::<Result<_, _>>()?,
        soaks: message
            .soaks
            .into_iter()
            .filter_map(|soak| decode_soak(soak, variants).transpose())
            .collect::<Result<_, _>>()?,
        capacities: capacities::decode(message.capacities, variants)?,
        idle_power_mw: message.idle_power_uw.map(|uw| to_figure(uw, 1e3)),
        power_topology: message.power_topology,
        drift: message.drift.map(|drift| drift::decode(drift, variants)).transpose()?,
        sampler_cpu_share: message.sampler_cpu_ppm.map(|ppm| to_figure(ppm, 1e6)),
        warnings,
    })
}

/// What only some points have.
fn notes(points: &[PointSummary]) -> Result<Vec<Note>, WireError> {
    let mut notes = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let operators: Vec<Operator> =
            point.operators.iter().map(encode_operator).collect::<Result<_, _>>()?;
        let note = Note {
            point: u32::try_from(index)
                .map_err(|_| WireError::OutOfRange { what: "the number of points" })?,
            not_run: point.not_run.map(Coded::code),
            because_of: point.because_of.map(point_key),
            failure: point.failure.as_ref().map(encode_failure),
            operators: (!operators.is_empty()).then_some(operators),
            remarks: (!point.remarks.is_empty()).then(|| point.remarks.clone()),
            comparable: point.comparable.as_ref().map(drift::encode_comparable).transpose()?,
        };
        let empty = Note { point: note.point, ..Note::default() };
        if note != empty {
            notes.push(note);
        }
    }
    Ok(notes)
}

fn annotate(points: &mut [Option<PointSummary>], note: Note, variants: usize) -> Result<(), WireError> {
    let (index, count) = (note.point as usize, points.len());
    let point = points.get_mut(index).ok_or(WireError::Dangling { what: "a note", index, count })?;
    let Some(point) = point else { return Ok(()) };
    point.not_run = note.not_run.map(NotRun::of);
    let because_of = note.because_of.map(|key| known_point(&key, variants)).transpose()?;
    point.because_of = because_of.flatten();
    point.failure = note.failure.map(decode_failure).transpose()?;
    point.comparable = note.comparable.map(drift::decode_comparable).transpose()?;
    point.operators = note.operators.unwrap_or_default().into_iter().map(decode_operator).collect();
    point.remarks = note.remarks.unwrap_or_default();
    Ok(())
}

fn encode_operator(operator: &OperatorCost) -> Result<Operator, WireError> {
    Ok(Operator {
        name: operator.name.clone(),
        kind: operator.kind.clone(),
        time_ns: operator.time.get(),
        share_ppm: required("an operator's share", operator.share, 1e6)?,
    })
}

fn decode_operator(operator: Operator) -> OperatorCost {
    OperatorCost {
        name: operator.name,
        kind: operator.kind,
        time: Nanos(operator.time_ns),
        share: to_figure(operator.share_ppm, 1e6),
    }
}

fn encode_scaling(line: &summary::Scaling) -> Result<Scaling, WireError> {
    let exponent = |value: f64| required("an exponent", value, 1e4);
    let cost = |value: f64| required("a coefficient of the polynomial", value, 100.0);
    Ok(Scaling {
        variant: line.variant,
        batch_size: line.batch_size,
        exponent_e4: exponent(line.exponent)?,
        lower_e4: line.exponent_ci.lower.map(exponent).transpose()?,
        upper_e4: line.exponent_ci.upper.map(exponent).transpose()?,
        breakpoint_clip_length: line.breakpoint_clip_length,
        segment_exponents_e4: line
            .segment_exponents
            .map(|[before, after]| Ok::<_, WireError>((exponent(before)?, exponent(after)?)))
            .transpose()?,
        polynomial_ns_x100: line
            .polynomial_ns
            .map(|[a, b, c]| Ok::<_, WireError>((cost(a)?, cost(b)?, cost(c)?)))
            .transpose()?,
    })
}

fn decode_scaling(line: &Scaling, variants: usize) -> Result<summary::Scaling, WireError> {
    let exponent = |value: i64| to_figure(value, 1e4);
    let cost = |value: i64| to_figure(value, 100.0);
    Ok(summary::Scaling {
        variant: variant_index(line.variant, variants)?,
        batch_size: line.batch_size,
        exponent: exponent(line.exponent_e4),
        exponent_ci: Interval { lower: line.lower_e4.map(exponent), upper: line.upper_e4.map(exponent) },
        breakpoint_clip_length: line.breakpoint_clip_length,
        segment_exponents: line
            .segment_exponents_e4
            .map(|(before, after)| [exponent(before), exponent(after)]),
        polynomial_ns: line.polynomial_ns_x100.map(|(a, b, c)| [cost(a), cost(b), cost(c)]),
    })
}

fn encode_pressure(entry: &MemoryPressure) -> Pressure {
    Pressure {
        variant: entry.variant,
        first: entry.first.map(|at| at.sizes().to_vec()),
        sign: entry.sign.map(Coded::code),
    }
}

fn decode_pressure(entry: &Pressure, variants: usize) -> Result<MemoryPressure, WireError> {
    let point =
        |sizes: &Vec<u32>| Shape::of_sizes(sizes).ok_or(WireError::OutOfRange { what: "a size of a point" });
    Ok(MemoryPressure {
        variant: variant_index(entry.variant, variants)?,
        first: entry.first.as_ref().map(point).transpose()?,
        sign: entry.sign.map(PressureSign::of),
    })
}

fn encode_chosen(entry: &OperatingPoint) -> Chosen {
    Chosen {
        objective: entry.objective.code(),
        model: entry.model.clone(),
        chosen: entry.chosen.iter().copied().map(point_key).collect(),
        reason: entry.reason.clone(),
    }
}

fn decode_chosen(entry: Chosen, variants: usize) -> Result<OperatingPoint, WireError> {
    Ok(OperatingPoint {
        objective: Objective::of(entry.objective),
        model: entry.model,
        chosen: entry
            .chosen
            .iter()
            .filter_map(|key| known_point(key, variants).transpose())
            .collect::<Result<_, _>>()?,
        reason: entry.reason,
    })
}
