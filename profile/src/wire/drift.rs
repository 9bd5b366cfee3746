//! How the board changed, and figures in its common state.

use super::WireError;
use super::describe::{point_id, point_key};
use super::intervals::{Parts, to_interval, to_parts};
use super::layout::{Comparable, Drift, DriftBlock};
use super::scale::{required, to_figure};
use crate::summary::{self, Interval};

pub(super) fn encode(drift: &summary::BoardDrift) -> Result<Drift, WireError> {
    Ok(Drift {
        anchor: drift.anchor.map(point_key),
        stalls: drift.stalls,
        blocks: drift.blocks.iter().map(encode_block).collect::<Result<_, _>>()?,
    })
}

pub(super) fn decode(drift: Drift, variants: usize) -> Result<summary::BoardDrift, WireError> {
    Ok(summary::BoardDrift {
        anchor: drift.anchor.map(|key| point_id(&key, variants)).transpose()?,
        stalls: drift.stalls,
        blocks: drift.blocks.iter().map(decode_block).collect(),
    })
}

fn encode_block(block: &summary::DriftBlock) -> Result<DriftBlock, WireError> {
    let slowness_e6 = required("a block's slowness", block.slowness, 1e6)?;
    let interval_e4 = ends(block.slowness_ci, to_figure(slowness_e6, 1e6)).to_vec();
    Ok(DriftBlock { block: block.block, at_ms: block.at_ms, slowness_e6, interval_e4 })
}

fn decode_block(block: &DriftBlock) -> summary::DriftBlock {
    let slowness = to_figure(block.slowness_e6, 1e6);
    let slowness_ci = interval(&block.interval_e4, 0, slowness);
    summary::DriftBlock { block: block.block, at_ms: block.at_ms, slowness, slowness_ci }
}

pub(super) fn encode_comparable(own: &summary::Comparable) -> Result<Comparable, WireError> {
    let mean_ns_x100 = required("a comparable mean", own.mean_ns, 1e2)?;
    let p50_ns_x100 = required("a comparable median", own.p50_ns, 1e2)?;
    let p99_ns_x100 = own.p99_ns.map(|p99| required("a comparable P99", p99, 1e2)).transpose()?;
    let energy = own.energy_per_frame_uj.map(|uj| required("a comparable energy", uj, 1e3)).transpose()?;
    let of = |interval: Interval, figure: Option<i64>, denominator: f64| match figure {
        Some(figure) => ends(interval, to_figure(figure, denominator)),
        None => [None, None],
    };
    let intervals = [
        of(own.mean_ci_ns, Some(mean_ns_x100), 1e2),
        of(own.p50_ci_ns, Some(p50_ns_x100), 1e2),
        of(own.p99_ci_ns, p99_ns_x100, 1e2),
        of(own.energy_ci_uj, energy, 1e3),
    ];
    Ok(Comparable {
        mean_ns_x100,
        p50_ns_x100,
        p99_ns_x100,
        frames_per_s_e6: required("a comparable throughput", own.frames_per_s, 1e6)?,
        energy_nj_per_frame: energy,
        stalls: own.stalls,
        intervals_e4: intervals.concat(),
    })
}

pub(super) fn decode_comparable(own: Comparable) -> Result<summary::Comparable, WireError> {
    let mean_ns = to_figure(own.mean_ns_x100, 1e2);
    let p50_ns = to_figure(own.p50_ns_x100, 1e2);
    let p99_ns = own.p99_ns_x100.map(|p99| to_figure(p99, 1e2));
    let energy_per_frame_uj = own.energy_nj_per_frame.map(|nj| to_figure(nj, 1e3));
    let frames_per_s = to_figure(own.frames_per_s_e6, 1e6);
    if mean_ns <= 0.0 || frames_per_s < 0.0 {
        return Err(WireError::OutOfRange { what: "a comparable figure" });
    }
    let at = |first: usize, figure: Option<f64>| {
        figure.map_or(Interval::default(), |figure| interval(&own.intervals_e4, first, figure))
    };
    Ok(summary::Comparable {
        mean_ns,
        mean_ci_ns: at(0, Some(mean_ns)),
        p50_ns,
        p50_ci_ns: at(2, Some(p50_ns)),
        p99_ns,
        p99_ci_ns: at(4, p99_ns),
        frames_per_s,
        energy_per_frame_uj,
        energy_ci_uj: at(6, energy_per_frame_uj),
        stalls: own.stalls,
    })
}

fn ends(interval: Interval, figure: f64) -> [Option<i64>; 2] {
    to_parts(interval, figure, Parts::TenThousandths)
}

/// The interval whose ends stand at `first` and behind it; ends that are missing are not determined.
fn interval(ends: &[Option<i64>], first: usize, figure: f64) -> Interval {
    let end = |index: usize| ends.get(index).copied().flatten();
    to_interval([end(first), end(first + 1)], figure, Parts::TenThousandths)
}

#[cfg(test)]
mod tests {
    use crate::example;
    use crate::summary::{BoardDrift, Comparable, DriftBlock, Interval};
    use crate::wire::{decode_profile, encode_profile};

    #[test]
    fn the_board_and_comparable_figures_travel() {
        let mut profile = example::profile_of_27_points();
        let near = |figure: f64| Interval { lower: Some(figure * 0.98), upper: Some(figure * 1.03) };
        profile.drift = Some(BoardDrift {
            anchor: Some(profile.points[0].id),
            stalls: 3,
            blocks: vec![
                DriftBlock { block: 0, at_ms: 1200, slowness: 0.87, slowness_ci: near(0.87) },
                DriftBlock { block: 1, at_ms: 4200, slowness: 1.01, slowness_ci: Interval::default() },
            ],
        });
        profile.points[3].comparable = Some(Comparable {
            mean_ns: 41_234_567.25,
            mean_ci_ns: near(41_234_567.25),
            p50_ns: 40e6,
            p50_ci_ns: near(40e6),
            p99_ns: None,
            p99_ci_ns: Interval::default(),
            frames_per_s: 812.25,
            energy_per_frame_uj: Some(1234.5),
            energy_ci_uj: near(1234.5),
            stalls: 1,
        });
        let bytes = encode_profile(&profile).unwrap();
        let arrived = decode_profile(&bytes).unwrap();
        let (sent, got) = (profile.points[3].comparable.unwrap(), arrived.points[3].comparable.unwrap());
        assert_eq!((got.mean_ns, got.frames_per_s, got.p99_ns), (sent.mean_ns, sent.frames_per_s, None));
        assert!(got.mean_ci_ns.lower.unwrap() <= sent.mean_ci_ns.lower.unwrap());
        assert!(got.mean_ci_ns.upper.unwrap() >= sent.mean_ci_ns.upper.unwrap());
        let drift = arrived.drift.as_ref().unwrap();
        assert_eq!((drift.anchor, drift.stalls, drift.blocks.len()), (Some(profile.points[0].id), 3, 2));
        assert_eq!(drift.blocks[1].slowness_ci, Interval::default());
        assert_eq!(encode_profile(&arrived).unwrap(), bytes);
    }
}
