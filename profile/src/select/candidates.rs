//! Candidates from a profile's points and soaks.

use super::{Candidate, Measure, deadline_ns};
use crate::summary::{EnergySummary, Interval, PointSummary, Profile, SoakSummary, Status};

fn measure(estimate: f64, interval: Interval) -> Measure {
    Measure { estimate, lower: interval.lower, upper: interval.upper }
}

fn energy(summary: Option<EnergySummary>) -> Option<Measure> {
    summary.map(|energy| measure(energy.gross_per_frame_uj, energy.gross_ci_uj))
}

/// The candidates of one model, in the order of the profile's points.
pub(super) fn of_points(profile: &Profile, model: &str) -> Vec<Candidate> {
    let points = profile.points.iter().filter(|point| model_of(profile, point.id.variant) == Some(model));
    points
        .filter(|point| point.status != Status::Dominated)
        .filter_map(|point| of_point(profile, point))
        .collect()
}

/// The candidates of one model at one clip length: dropped points too, which other clip lengths beat.
pub(super) fn at_clip_length(profile: &Profile, model: &str, clip_length: u32) -> Vec<Candidate> {
    let points = profile.points.iter().filter(|point| {
        point.id.shape.clip() == clip_length && model_of(profile, point.id.variant) == Some(model)
    });
    points.filter_map(|point| of_point(profile, point)).collect()
}

fn model_of(profile: &Profile, variant: u16) -> Option<&str> {
    profile.variants.get(usize::from(variant)).map(|variant| variant.model.as_str())
}

fn of_point(profile: &Profile, point: &PointSummary) -> Option<Candidate> {
    if matches!(point.status, Status::Failed | Status::NotRun) {
        return None;
    }
    let (mean_ns, mean_ci_ns) = point.comparable_mean()?;
    let frames_per_s = point.comparable_frames_per_s()?;
    // Throughput and mean latency are the same figure: its interval follows from the mean's.
    let scale = |bound: Option<f64>| bound.map(|mean| frames_per_s * mean_ns / mean);
    Some(Candidate {
        id: point.id,
        deadline_ns: deadline_ns(profile.run.deadline, point.id.shape),
        p99_ns: point.comparable_p99().map(|(p99, interval)| measure(p99, interval)),
        frames_per_s: Measure {
            estimate: frames_per_s,
            lower: scale(mean_ci_ns.upper),
            upper: scale(mean_ci_ns.lower.filter(|&lower| lower > 0.0)),
        },
        energy_per_frame_uj: point.comparable_energy().map(|(value, interval)| measure(value, interval)),
        peak_memory_bytes: point
            .peak_memory_bytes
            .map(|host| host.saturating_add(point.device_memory_bytes.unwrap_or(0)) as f64),
    })
}

/// The soaked points of one model, with the figures that they sustain.
pub(super) fn of_soaks(profile: &Profile, model: &str) -> Vec<Candidate> {
    profile
        .soaks
        .iter()
        .filter(|soak| model_of(profile, soak.id.variant) == Some(model))
        .filter_map(|soak| of_soak(profile, soak))
        .collect()
}

fn of_soak(profile: &Profile, soak: &SoakSummary) -> Option<Candidate> {
    let exact = |value: f64| Measure { estimate: value, lower: Some(value), upper: Some(value) };
    let open = |value: f64| Measure { estimate: value, lower: None, upper: None };
    Some(Candidate {
        id: soak.id,
        deadline_ns: deadline_ns(profile.run.deadline, soak.id.shape),
        // A soak runs every inference that the sustained state holds: its P99 is the population's.
        p99_ns: soak.sustained_p99_ns.map(exact),
        frames_per_s: open(soak.sustained_frames_per_s?),
        energy_per_frame_uj: energy(soak.sustained_energy),
        peak_memory_bytes: None,
    })
}
