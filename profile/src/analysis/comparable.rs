//! Every point's figures in the board's common state.

use super::drift::{Adjusted, BlockState, BoardStates, Piece};
use super::latency;
use crate::plan::Load;
use crate::record::{Phase, Record};
use crate::stats::interval;
use crate::stats::quantile::{self, Quantile};
use crate::summary::{BoardDrift, Comparable, DriftBlock, EnergySummary, Interval, PointSummary};

/// The pieces of a record in order of time; the point's number is its place among the record's points. Of runs
/// with fixed counts there are none: no point returns, and so nothing tells the board from the points.
#[must_use]
pub fn pieces(record: &Record) -> Vec<Piece<'_>> {
    let chunks = record
        .points
        .iter()
        .enumerate()
        .flat_map(|(index, point)| point.chunks.iter().filter_map(move |chunk| Piece::of(index, chunk)));
    let mut pieces: Vec<Piece<'_>> = chunks.filter(|piece| piece.phase != Phase::Fixed).collect();
    pieces.sort_by_key(|piece| piece.from);
    pieces
}

/// Sets the comparable figures of `points` where the board moved or stalled, and says how it did.
pub(super) fn set(record: &Record, points: &mut [PointSummary]) -> Option<BoardDrift> {
    let pieces = pieces(record);
    let board = BoardStates::of(&pieces);
    let adjusted: Vec<Adjusted> =
        (0..record.points.len()).map(|index| board.adjusted(&pieces, index)).collect();
    let stalls: u64 = adjusted.iter().map(|own| own.stalls).sum();
    if !board.moved() && stalls == 0 {
        return None;
    }
    for (evidence, own) in record.points.iter().zip(&adjusted) {
        let point = points.iter_mut().find(|point| point.id == evidence.id);
        if let Some(point) = point {
            point.comparable = figures(point, own, record.header.plan.request.load);
        }
    }
    let anchor = pieces.iter().find(|piece| piece.phase == Phase::Anchor);
    Some(BoardDrift {
        anchor: anchor.map(|piece| record.points[piece.point].id),
        stalls,
        blocks: if board.moved() { board.blocks().iter().map(block).collect() } else { Vec::new() },
    })
}

fn block(state: &BlockState) -> DriftBlock {
    let (log, sd) = (state.slowness.value, state.slowness.variance.sqrt());
    let end = |sign: f64| Some((log + sign * 1.96 * sd).exp());
    DriftBlock {
        block: state.block,
        at_ms: (state.at_s * 1e3) as u64,
        slowness: log.exp(),
        slowness_ci: Interval { lower: end(-1.0), upper: end(1.0) },
    }
}

fn figures(point: &PointSummary, adjusted: &Adjusted, load: Load) -> Option<Comparable> {
    let (warm_up, _) = latency::warm_up(&adjusted.latencies_ns);
    let series = &adjusted.latencies_ns[warm_up..];
    let mut sorted = series.to_vec();
    sorted.sort_unstable();
    let values: Vec<f64> = series.iter().map(|&latency| latency as f64).collect();
    let mean_ns = quantile::mean(&sorted)?;
    let p99_ns = quantile::reference(&sorted, Quantile::P99);
    let p99_ci = interval::of_quantile(series, &sorted, Quantile::P99).interval;
    let p50 = quantile::median(&sorted)?;
    let p50_ci = interval::of_quantile(series, &sorted, Quantile::P50).interval;
    let as_measured = point.latency.as_ref()?.mean_ns;
    // Paced throughput is the stream's, whatever the latency.
    let frames_per_s = match load {
        Load::Closed | Load::Unknown => point.frames_per_s? * as_measured / mean_ns,
        Load::Paced => point.frames_per_s?,
    };
    let mut own = Comparable {
        mean_ns,
        mean_ci_ns: wider(mean_ns, interval::of_mean(&values), adjusted.state_sd),
        p50_ns: p50,
        p50_ci_ns: wider(p50, p50_ci, adjusted.state_sd),
        p99_ns,
        p99_ci_ns: p99_ns.map_or(p99_ci, |p99| wider(p99, p99_ci, adjusted.state_sd)),
        frames_per_s,
        energy_per_frame_uj: None,
        energy_ci_uj: Interval::default(),
        stalls: adjusted.stalls,
    };
    if let Some(energy) = point.energy {
        set_energy(&mut own, energy, point.id.shape.frames() as f64, adjusted.state_sd);
    }
    Some(own)
}

/// Sets the comparable energy of a point whose energy became known after the study.
pub(crate) fn set_energy_of(point: &mut PointSummary) {
    let Some(energy) = point.energy else { return };
    let frames = point.id.shape.frames() as f64;
    if let Some(own) = &mut point.comparable {
        let (sd, ci) = (0.0, own.mean_ci_ns);
        set_energy(own, energy, frames, sd);
        let relative = |end: Option<f64>| end.map(|end| end / own.mean_ns);
        let value = own.energy_per_frame_uj.unwrap_or_default();
        own.energy_ci_uj = Interval {
            lower: relative(ci.lower).map(|r| r * value),
            upper: relative(ci.upper).map(|r| r * value),
        };
    }
}

/// Takes the energy over the time in the common state, with the power as measured.
fn set_energy(own: &mut Comparable, energy: EnergySummary, frames: f64, state_sd: f64) {
    // nJ over a thousand: mW x ns / 1e6 are uJ.
    let value = energy.mean_power_mw * own.mean_ns / 1e6 / frames;
    let ratio = value / energy.gross_per_frame_uj;
    let scaled = |end: Option<f64>| end.map(|end| end * ratio);
    let ci = Interval { lower: scaled(energy.gross_ci_uj.lower), upper: scaled(energy.gross_ci_uj.upper) };
    own.energy_per_frame_uj = Some(value);
    own.energy_ci_uj = wider(value, ci, state_sd);
}

/// An interval with what the uncertainty of the board's state adds.
fn wider(centre: f64, interval: Interval, state_sd: f64) -> Interval {
    let out = |end: f64| (end - centre).abs().hypot(1.96 * state_sd * centre);
    Interval {
        lower: interval.lower.map(|end| centre - out(end)),
        upper: interval.upper.map(|end| centre + out(end)),
    }
}
