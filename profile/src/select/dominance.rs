//! Dominance: which points nobody would choose, whatever they care for.

use super::{Candidate, Measure};

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
