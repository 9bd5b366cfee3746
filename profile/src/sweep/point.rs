//! What a sweep knows of one point.

use super::estimate::Estimate;
use super::rules::SweepRules;
use super::step::StepResult;
use crate::analysis::drift::{Adjusted, Piece};
use crate::analysis::latency;
use crate::plan::Load;
use crate::point::PointId;
use crate::record::{Chunk, NotRun, Phase, PointOutcome};
use crate::stats::quantile;
use crate::units::Nanos;

/// Counted latencies among which a warm-up is sought: the search costs their square. The study searches all.
const WARM_UP_SEARCH: usize = 400;

/// Most iterations by which a later engine is warmed up because the first one needed it.
const MOST_WARM_UP: u32 = 200;

/// What a sweep knows of one point.
#[derive(Debug, Clone)]
pub(super) struct PointState {
    pub(super) id: PointId,
    /// Set once, when nothing more will be measured of it.
    pub(super) outcome: Option<PointOutcome>,
    /// Engines built so far.
    pub(super) engines: u32,
    /// Whether it came through its feasibility step.
    pub(super) feasible: bool,
    /// Counted latencies in order of time.
    pub(super) samples: Vec<u64>,
    /// What was counted together.
    pub(super) marks: Vec<Mark>,
    /// The latencies in the board's common state, where the board moved.
    adjusted: Option<Vec<u64>>,
    /// The point that beat it on everything, while that is in doubt again, and the last block before it was.
    pub(super) doubted: Option<(PointId, u32)>,
    /// Duration of one inference, before there is an estimate.
    level: Option<f64>,
    /// All inferences and their time, lead-ins included.
    inferences: u64,
    elapsed: f64,
    /// Energy, and the inferences and their time that it was measured over.
    energy_uj: f64,
    energy_inferences: u64,
    energy_busy_ns: f64,
    pub(super) peak_memory: Option<u64>,
    /// Longest preparation of an engine so far.
    pub(super) prepare: Option<Nanos>,
    /// Counted latencies before the steady state.
    slow_start: usize,
    /// Whether all that is searched for a warm-up has been.
    searched: bool,
    /// Whether the race has what it needs of it.
    pub(super) content: bool,
    /// Uncounted iterations after which a new engine is at speed.
    pub(super) warm_up: u32,
    /// Warm-up iterations of a fixed count that have been ordered.
    pub(super) warmed: u32,
    /// Steps that brought nothing.
    pub(super) fruitless: u32,
    /// As measured.
    raw: Option<Estimate>,
    /// In the board's common state.
    estimate: Option<Estimate>,
}

/// Latencies of one chunk: where they lie among the point's samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    from: Nanos,
    to: Nanos,
    pub(super) phase: Phase,
    pub(super) block: u32,
    start: usize,
    length: usize,
}

impl PointState {
    pub(super) fn new(id: PointId) -> Self {
        Self {
            id,
            outcome: None,
            engines: 0,
            feasible: false,
            samples: Vec::new(),
            marks: Vec::new(),
            adjusted: None,
            doubted: None,
            level: None,
            inferences: 0,
            elapsed: 0.0,
            energy_uj: 0.0,
            energy_inferences: 0,
            energy_busy_ns: 0.0,
            peak_memory: None,
            prepare: None,
            slow_start: 0,
            searched: false,
            content: false,
            warm_up: 0,
            warmed: 0,
            fruitless: 0,
            raw: None,
            estimate: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.outcome.is_none()
    }

    pub(super) fn settle(&mut self, outcome: PointOutcome) {
        self.outcome.get_or_insert(outcome);
    }

    /// What becomes of it when the sweep ends now because of `why`.
    pub(super) fn outcome_if_ended(&self, why: NotRun) -> PointOutcome {
        if let Some((by, _)) = self.doubted {
            return PointOutcome::Dominated { by };
        }
        match (self.engines, self.content) {
            (0, _) => PointOutcome::NotRun { why, because_of: None },
            (_, true) => PointOutcome::Measured,
            (_, false) => PointOutcome::Interrupted,
        }
    }

    /// What its iterations show so far; `None` before the first counted one.
    pub(super) fn estimate(&self) -> Option<&Estimate> {
        self.estimate.as_ref()
    }

    /// Settles a point whose engine was not ready when the time budget ended.
    pub(super) fn cut_off(&mut self) {
        let none = self.samples.is_empty();
        let budget = PointOutcome::NotRun { why: NotRun::Budget, because_of: None };
        self.settle(if none { budget } else { PointOutcome::Interrupted });
    }

    /// Takes in what came of a step.
    pub(super) fn absorb(&mut self, result: &StepResult) {
        if let Some(bytes) = result.peak_memory {
            self.peak_memory = Some(self.peak_memory.unwrap_or(0).max(bytes.0));
        }
        self.prepare = self.prepare.max(result.prepare);
        let Some(chunk) = &result.chunk else { return };
        let issued = chunk.latencies_ns.len();
        if issued == 0 {
            return;
        }
        self.inferences += issued as u64;
        self.elapsed += chunk.ended.since(chunk.started).0 as f64;
        if let Some(energy) = result.energy {
            self.energy_uj += energy.0 as f64;
            self.energy_inferences += issued as u64;
            self.energy_busy_ns += chunk.latencies_ns.iter().map(|&latency| latency as f64).sum::<f64>();
        }
        self.count(chunk);
        if chunk.phase == Phase::Fixed {
            self.level = Some(self.elapsed / self.inferences as f64);
            return;
        }
        if !self.searched {
            let searched = &self.samples[..self.samples.len().min(WARM_UP_SEARCH)];
            (self.slow_start, _) = latency::warm_up(searched);
            self.searched = self.samples.len() >= WARM_UP_SEARCH;
        }
        self.warm_up = u32::try_from(self.slow_start).unwrap_or(u32::MAX).min(MOST_WARM_UP);
        self.adjusted = None;
        self.raw = Estimate::of(self.steady(), self.energy_per_inference(), self.id.shape);
        self.estimate.clone_from(&self.raw);
    }

    /// Takes its figures in the common state of a board that moved or stalled.
    pub(super) fn adjust(&mut self, adjusted: Adjusted) {
        let searched = &adjusted.latencies_ns[..adjusted.latencies_ns.len().min(WARM_UP_SEARCH)];
        let (slow_start, _) = latency::warm_up(searched);
        let steady = adjusted.latencies_ns[slow_start..].to_vec();
        // The power as measured over the time in the common state.
        let power = (self.energy_busy_ns > 0.0).then(|| self.energy_uj / self.energy_busy_ns);
        let energy = power.zip(quantile::mean(&steady)).map(|(power, mean)| power * mean);
        if let Some(estimate) = Estimate::of(&steady, energy, self.id.shape) {
            self.estimate = Some(estimate.with_state(adjusted.state_sd));
            self.adjusted = Some(steady);
        }
    }

    /// Takes its figures as they were measured.
    pub(super) fn adjust_nothing(&mut self) {
        self.adjusted = None;
        self.estimate.clone_from(&self.raw);
    }

    /// Its figures as measured.
    pub(super) fn raw(&self) -> Option<&Estimate> {
        self.raw.as_ref()
    }

    /// Its pieces, for the board's states.
    pub(super) fn pieces(&self, index: usize) -> impl Iterator<Item = Piece<'_>> {
        self.marks.iter().map(move |mark| Piece {
            point: index,
            from: mark.from,
            to: mark.to,
            phase: mark.phase,
            block: mark.block,
            latencies_ns: &self.samples[mark.start..mark.start + mark.length],
        })
    }

    /// Blocks in which it was measured beside others.
    pub(super) fn shared_blocks(&self) -> impl Iterator<Item = u32> {
        let shared = self.marks.iter().filter(|mark| mark.block > 0 && mark.phase == Phase::Race);
        shared.map(|mark| mark.block)
    }

    /// Counted latencies of the steady state, in the common state of a board that moved.
    pub(super) fn steady(&self) -> &[u64] {
        match &self.adjusted {
            Some(adjusted) => adjusted,
            None => &self.samples[self.slow_start.min(self.samples.len())..],
        }
    }

    fn count(&mut self, chunk: &Chunk) {
        let counted = chunk.counted();
        if counted.is_empty() {
            self.level = chunk.latencies_ns.iter().max().map(|&latency| latency as f64);
        }
        if let Some(piece) = Piece::of(0, chunk) {
            self.marks.push(Mark {
                from: piece.from,
                to: piece.to,
                phase: chunk.phase,
                block: chunk.block,
                start: self.samples.len(),
                length: counted.len(),
            });
        }
        self.samples.extend_from_slice(counted);
    }

    fn energy_per_inference(&self) -> Option<f64> {
        (self.energy_inferences > 0).then(|| self.energy_uj / self.energy_inferences as f64)
    }

    /// Expected time of one iteration, waiting for paced arrivals included, nanoseconds.
    pub(super) fn iteration_ns(&self, rules: &SweepRules) -> f64 {
        let latency = match &self.estimate {
            Some(estimate) => estimate.mean,
            None => self.level.unwrap_or(0.0),
        };
        if rules.load == Load::Paced && self.inferences > 0 {
            return (self.elapsed / self.inferences as f64).max(latency);
        }
        latency.max(1.0)
    }

    /// How many iterations fit into `time`, at least 0.
    pub(super) fn iterations_within(&self, time: Nanos, rules: &SweepRules) -> u32 {
        (time.0 as f64 / self.iteration_ns(rules)).min(f64::from(u32::MAX)) as u32
    }
}
