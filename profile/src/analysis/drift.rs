//! How the board changed while points were measured in turn, and what each point's latencies would have been in
//! one common state.
//!
//! Terms: a *piece* is what one chunk counted; its *level* is the trimmed mean of its log latencies; the *common
//! state* is the board's at the end of the sweep, in the last blocks that more than one point shared. The sweep
//! decides by these figures and the study publishes them: both ask here.

use crate::record::{Chunk, Phase};
use crate::stats::drift::{Cell, Estimate, Fit};
use crate::stats::{autocorrelation, robust};
use crate::units::Nanos;

/// Share of a piece's latencies that its level leaves out at each end.
const TRIM: f64 = 0.1;

/// The trimmed mean's variance over the plain mean's, for normal noise.
const TRIMMED_VARIANCE: f64 = 1.06;

/// Uncertainty of a level that no number of iterations removes: 0.1 %.
const LEAST_SD: f64 = 1e-3;

/// Scatter of single latencies where no point has iterations enough to tell.
const USUAL_SCATTER: f64 = 0.05;

/// Iterations from which a point tells its own scatter.
const ENOUGH: usize = 8;

/// Shared blocks that the common state is the average of.
pub const COMMON_BLOCKS: usize = 3;

/// Most blocks that are told apart in a profile.
const MOST_BLOCKS: usize = 48;

/// A single latency that is this much longer than its point's level, and this many times as long, is a stall of
/// the board: nothing ran meanwhile.
const STALL: Nanos = Nanos(500_000_000);
const STALL_FACTOR: f64 = 4.0;

/// What one chunk counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece<'a> {
    /// Which point, by any numbering.
    pub point: usize,
    /// When counting began.
    pub from: Nanos,
    /// When the last inference completed.
    pub to: Nanos,
    /// What it was measured for.
    pub phase: Phase,
    /// Its block.
    pub block: u32,
    /// The latencies.
    pub latencies_ns: &'a [u64],
}

impl<'a> Piece<'a> {
    /// The piece of `chunk`; `None` where nothing counted.
    #[must_use]
    pub fn of(point: usize, chunk: &'a Chunk) -> Option<Self> {
        let latencies_ns = chunk.counted();
        let lead: u64 = chunk.latencies_ns[..chunk.latencies_ns.len() - latencies_ns.len()].iter().sum();
        (!latencies_ns.is_empty()).then_some(Self {
            point,
            from: Nanos(chunk.started.0.saturating_add(lead).min(chunk.ended.0)),
            to: chunk.ended,
            phase: chunk.phase,
            block: chunk.block,
            latencies_ns,
        })
    }

    fn middle_s(&self) -> f64 {
        f64::midpoint(self.from.as_secs_f64(), self.to.as_secs_f64())
    }

    /// Measured beside others, in an order that was drawn.
    fn is_shared(&self) -> bool {
        matches!(self.phase, Phase::Race | Phase::Anchor) && self.block > 0
    }
}

/// A point's latencies in the common state.
#[derive(Debug, Clone, PartialEq)]
pub struct Adjusted {
    /// The latencies, in order of time.
    pub latencies_ns: Vec<u64>,
    /// Relative uncertainty, as a standard deviation, that the board's state adds to that of the latencies.
    pub state_sd: f64,
    /// Latencies left out as stalls of the board.
    pub stalls: u64,
}

/// The board over a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardStates {
    /// Middle of each piece in seconds, block, whether it was shared.
    marks: Vec<(f64, u32, bool)>,
    /// Weight of each piece in the common state.
    common: Vec<f64>,
    fit: Option<Fit>,
}

impl BoardStates {
    /// The states that `pieces`, in order of time, tell of.
    #[must_use]
    pub fn of(pieces: &[Piece<'_>]) -> Self {
        let marks = pieces.iter().map(|piece| (piece.middle_s(), piece.block, piece.is_shared())).collect();
        let fit = Fit::of(&cells(pieces));
        Self { marks, common: common(pieces), fit }
    }

    /// Whether the board moved by more than its noise.
    #[must_use]
    pub fn moved(&self) -> bool {
        self.fit.as_ref().is_some_and(Fit::moved)
    }

    /// The latencies of `point` in the common state: as measured where the board held still and nothing stalled.
    #[must_use]
    pub fn adjusted(&self, pieces: &[Piece<'_>], point: usize) -> Adjusted {
        let own = || pieces.iter().filter(move |piece| piece.point == point);
        let fit = self.fit.as_ref().filter(|fit| fit.moved());
        let mut stalls = 0;
        let mut logs = Vec::new();
        for piece in own() {
            let (level, span) = (level(piece.latencies_ns).exp(), piece.to.since(piece.from).as_secs_f64());
            let count = piece.latencies_ns.len() as f64;
            for (index, &latency) in piece.latencies_ns.iter().enumerate() {
                let excess = latency as f64 - level;
                if excess > STALL.0 as f64 && latency as f64 > STALL_FACTOR * level {
                    stalls += 1;
                    continue;
                }
                let at = piece.from.as_secs_f64() + span * (index as f64 + 0.5) / count;
                logs.push((latency as f64).ln() - fit.map_or(0.0, |fit| self.state_at(fit, at)));
            }
        }
        let (shift, state_sd) = fit.map_or((0.0, 0.0), |fit| self.shift(fit, point, &logs));
        let latencies_ns = logs.iter().map(|log| ((log + shift).exp().round() as u64).max(1)).collect();
        Adjusted { latencies_ns, state_sd, stalls }
    }

    /// What moves a point's state-free logarithms to its level in the common state, and what the state's
    /// uncertainty adds.
    fn shift(&self, fit: &Fit, point: usize, logs: &[f64]) -> (f64, f64) {
        let Some(target) = fit.level(point, &self.common) else { return (0.0, 0.0) };
        let sd = (target.variance - fit.own_variance(point)).max(0.0).sqrt();
        (target.value - trimmed_mean(logs), sd)
    }

    /// The fitted state at an instant, between the pieces' middles in a straight line.
    fn state_at(&self, fit: &Fit, at_s: f64) -> f64 {
        let after = self.marks.partition_point(|mark| mark.0 < at_s);
        let last = self.marks.len() - 1;
        if after == 0 {
            return fit.state[0];
        }
        if after > last {
            return fit.state[last];
        }
        let (before, behind) = (self.marks[after - 1].0, self.marks[after].0);
        let share = if behind > before { (at_s - before) / (behind - before) } else { 1.0 };
        fit.state[after - 1] + share * (fit.state[after] - fit.state[after - 1])
    }

    /// How slow the board was in each block against the common state, as the logarithm of the ratio. Where blocks are
    /// many, neighbours are taken together.
    #[must_use]
    pub fn blocks(&self) -> Vec<BlockState> {
        let Some(fit) = &self.fit else { return Vec::new() };
        let changes = 1 + self.marks.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
        let least = if changes > MOST_BLOCKS { self.marks.len().div_ceil(MOST_BLOCKS) } else { 1 };
        let mut blocks: Vec<BlockState> = Vec::new();
        let mut index = 0;
        while index < self.marks.len() {
            let block = self.marks[index].1;
            let ends = |&k: &usize| self.marks[k].1 != block && k >= index + least;
            let end = (index..self.marks.len()).find(ends).unwrap_or(self.marks.len());
            let mut weights: Vec<f64> = self.common.iter().map(|weight| -weight).collect();
            for weight in &mut weights[index..end] {
                *weight += 1.0 / (end - index) as f64;
            }
            let middle = self.marks[index..end].iter().map(|mark| mark.0).sum::<f64>() / (end - index) as f64;
            blocks.push(BlockState { block, at_s: middle, slowness: fit.contrast(&weights) });
            index = end;
        }
        blocks
    }
}

/// The board in one block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockState {
    /// Which block; 0 is the survey.
    pub block: u32,
    /// Its middle, seconds since the run's start.
    pub at_s: f64,
    /// Logarithm of latency in it over latency in the common state.
    pub slowness: Estimate,
}

fn level(latencies_ns: &[u64]) -> f64 {
    let logs: Vec<f64> = latencies_ns.iter().map(|&latency| (latency.max(1) as f64).ln()).collect();
    trimmed_mean(&logs)
}

fn trimmed_mean(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = ((sorted.len() as f64 * TRIM).ceil() as usize).min(sorted.len().saturating_sub(1) / 2);
    let kept = &sorted[cut..sorted.len() - cut];
    kept.iter().sum::<f64>() / kept.len().max(1) as f64
}

/// Scatter of single latencies and what one independent one is worth, per point.
struct Scatter {
    point: usize,
    sd: Option<f64>,
    tau: f64,
}

fn scatters(pieces: &[Piece<'_>]) -> Vec<Scatter> {
    let mut residuals: Vec<(usize, Vec<f64>)> = Vec::new();
    for piece in pieces {
        let level = level(piece.latencies_ns);
        let own = piece.latencies_ns.iter().map(|&latency| (latency.max(1) as f64).ln() - level);
        match residuals.iter_mut().find(|(point, _)| *point == piece.point) {
            Some((_, known)) => known.extend(own),
            None => residuals.push((piece.point, own.collect())),
        }
    }
    let scatter = |(point, residuals): (usize, Vec<f64>)| {
        let sd = (residuals.len() >= ENOUGH)
            .then(|| robust::mad(&residuals).map(|mad| mad * robust::MAD_TO_SIGMA))
            .flatten();
        let tau = autocorrelation::time(&residuals).min(residuals.len() as f64 / 4.0).max(1.0);
        Scatter { point, sd, tau }
    };
    residuals.into_iter().map(scatter).collect()
}

fn cells(pieces: &[Piece<'_>]) -> Vec<Cell> {
    let scatters = scatters(pieces);
    let known: Vec<f64> = scatters.iter().filter_map(|scatter| scatter.sd).collect();
    let usual = robust::median(&known).unwrap_or(USUAL_SCATTER);
    let cell = |piece: &Piece<'_>| {
        let scatter = scatters.iter().find(|scatter| scatter.point == piece.point);
        let (sd, tau) = scatter.map_or((usual, 1.0), |scatter| (scatter.sd.unwrap_or(usual), scatter.tau));
        let worth = (piece.latencies_ns.len() as f64 / tau).max(1.0);
        let variance = TRIMMED_VARIANCE * sd * sd / worth + LEAST_SD * LEAST_SD;
        Cell { item: piece.point, at_s: piece.middle_s(), level: level(piece.latencies_ns), variance }
    };
    pieces.iter().map(cell).collect()
}

/// Equal weights of the pieces in the last blocks that points shared; without any, of the last quarter.
fn common(pieces: &[Piece<'_>]) -> Vec<f64> {
    let mut blocks: Vec<u32> = Vec::new();
    for piece in pieces.iter().rev().filter(|piece| piece.is_shared()) {
        let shared = || pieces.iter().any(|other| other.block == piece.block && other.point != piece.point);
        if !blocks.contains(&piece.block) && shared() {
            blocks.push(piece.block);
        }
        if blocks.len() > COMMON_BLOCKS {
            blocks.pop();
            break;
        }
    }
    let last = pieces.len() - pieces.len().div_ceil(4);
    let counts = |(index, piece): (usize, &Piece<'_>)| match blocks.is_empty() {
        true => index >= last,
        false => piece.is_shared() && blocks.contains(&piece.block),
    };
    let chosen: Vec<bool> = pieces.iter().enumerate().map(counts).collect();
    let count = chosen.iter().filter(|&&chosen| chosen).count().max(1) as f64;
    chosen.into_iter().map(|chosen| f64::from(u8::from(chosen)) / count).collect()
}
