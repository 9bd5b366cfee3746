//! A board that became slower during its sweep.

use crate::summary::{BoardDrift, Comparable, DriftBlock, Interval, PointSummary, Profile};

/// The figures of `point` in a common state that is `slowness` times as slow as while the point was measured. Of a point
/// without a latency they are 0.
#[must_use]
pub fn comparable(point: &PointSummary, slowness: f64) -> Comparable {
    let end = |end: Option<f64>| end.map(|end| end * slowness);
    let ends = |ci: Interval| Interval { lower: end(ci.lower), upper: end(ci.upper) };
    let latency = point.latency.as_ref();
    let interval = |read: fn(&crate::summary::LatencySummary) -> Interval| {
        latency.map(|latency| ends(read(latency))).unwrap_or_default()
    };
    Comparable {
        mean_ns: latency.map_or(0.0, |latency| latency.mean_ns * slowness),
        mean_ci_ns: interval(|latency| latency.mean_ci_ns),
        p50_ns: latency.map_or(0.0, |latency| latency.p50_ns * slowness),
        p50_ci_ns: interval(|latency| latency.p50_ci_ns),
        p99_ns: latency.and_then(|latency| end(latency.p99_ns)),
        p99_ci_ns: interval(|latency| latency.p99_ci_ns),
        frames_per_s: point.frames_per_s.unwrap_or_default() / slowness,
        energy_per_frame_uj: point.energy.map(|energy| energy.gross_per_frame_uj * slowness),
        energy_ci_uj: point.energy.map(|energy| ends(energy.gross_ci_uj)).unwrap_or_default(),
        stalls: 0,
    }
}

/// `profile` of a board that was `slowness` times as slow at the end of the sweep as while the points were measured.
#[must_use]
pub fn drifted(mut profile: Profile, slowness: f64) -> Profile {
    let block = |block: u32, slowness: f64| DriftBlock {
        block,
        at_ms: 1000 + 10_000 * u64::from(block),
        slowness,
        slowness_ci: Interval { lower: Some(slowness * 0.99), upper: Some(slowness * 1.01) },
    };
    profile.drift = Some(BoardDrift {
        anchor: profile.points.first().map(|point| point.id),
        stalls: 0,
        blocks: vec![block(0, 1.0 / slowness), block(1, 1.0)],
    });
    for point in profile.points.iter_mut().filter(|point| point.latency.is_some()) {
        point.comparable = Some(comparable(point, slowness));
    }
    profile
}
