//! Dominance: which points nobody would choose, whatever they care for.

use super::{Candidate, EPSILON, Measure};

/// Memory readings closer than this are the same: pages come and go.
const MEMORY_TOLERANCE: f64 = 0.02;

/// Whether `rival` beats `candidate` on P99, P99 as a share of the budget, throughput and energy with
/// intervals that do not overlap, by more than the share `slack`, and needs no more memory. A figure that
/// only one of the two has, or whose interval is open where it matters, keeps the candidate.
#[must_use]
pub fn certainly_dominates(rival: &Candidate, candidate: &Candidate, slack: f64) -> bool {
    let less = |rival: Option<Measure>, candidate: Option<Measure>| match (rival, candidate) {
        (Some(rival), Some(candidate)) => match (rival.upper, candidate.lower) {
            (Some(upper), Some(lower)) => upper * (1.0 + slack) < lower,
            _ => false,
        },
        (None, None) => true,
        _ => false,
    };
    let more_frames = match (rival.frames_per_s.lower, candidate.frames_per_s.upper) {
        (Some(lower), Some(upper)) => lower > upper * (1.0 + slack),
        _ => false,
    };
    let no_more_memory = match (rival.peak_memory_bytes, candidate.peak_memory_bytes) {
        (Some(rival), Some(candidate)) => rival <= candidate * (1.0 + MEMORY_TOLERANCE),
        _ => true,
    };
    more_frames
        && no_more_memory
        && rival.p99_ns.is_some()
        && less(rival.p99_ns, candidate.p99_ns)
        && less(rival.p99_share(), candidate.p99_share())
        && less(rival.energy_per_frame_uj, candidate.energy_per_frame_uj)
}

/// The objectives of the front, each so that less is better: P99 (its upper end where determinable),
/// seconds per frame, energy per frame, peak memory, and the share lost to throttling.
fn objectives(candidate: &Candidate) -> [Option<f64>; 5] {
    [
        candidate.p99_ns.map(|p99| p99.upper.unwrap_or(p99.estimate)),
        Some(1.0 / candidate.frames_per_s.estimate),
        candidate.energy_per_frame_uj.map(|energy| energy.estimate),
        candidate.peak_memory_bytes,
        candidate.sustained_ratio.map(|ratio| 1.0 / ratio.max(f64::MIN_POSITIVE)),
    ]
}

/// The epsilon-Pareto front: candidates that no other one matches on every objective, within [`EPSILON`],
/// while being better on one by more than that. An objective counts only where every candidate has it.
#[must_use]
pub fn pareto_front(candidates: &[Candidate]) -> Vec<usize> {
    let all: Vec<[Option<f64>; 5]> = candidates.iter().map(objectives).collect();
    let shared: Vec<usize> = (0..5).filter(|&k| all.iter().all(|values| values[k].is_some())).collect();
    let value = |index: usize, k: usize| all[index][k].unwrap_or(f64::INFINITY);
    let dominates = |rival: usize, index: usize| {
        let matches = |&k: &usize| value(rival, k) <= value(index, k) * (1.0 + EPSILON);
        let beats = |&k: &usize| value(rival, k) * (1.0 + EPSILON) < value(index, k);
        shared.iter().all(matches) && shared.iter().any(beats)
    };
    (0..all.len()).filter(|&index| !(0..all.len()).any(|rival| dominates(rival, index))).collect()
}
