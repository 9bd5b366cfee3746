//! What a sweep knows of one point.

use super::estimate::Estimate;
use super::rules::SweepRules;
use super::step::StepResult;
use crate::analysis::latency;
use crate::plan::Load;
use crate::point::PointId;
use crate::record::{Chunk, NotRun, Phase, PointOutcome};
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
    /// Duration of one inference, before there is an estimate.
    level: Option<f64>,
    /// All inferences and their time, lead-ins included.
    inferences: u64,
    elapsed: f64,
    /// Energy and the inferences that it was measured over.
    energy_uj: f64,
    energy_inferences: u64,
    pub(super) peak_memory: Option<u64>,
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
    estimate: Option<Estimate>,
    /// Median latency of the anchor phase, by block.
    pub(super) anchor: Vec<(u32, f64)>,
}

impl PointState {
    pub(super) fn new(id: PointId) -> Self {
        Self {
            id,
            outcome: None,
            engines: 0,
            feasible: false,
            samples: Vec::new(),
            level: None,
            inferences: 0,
            elapsed: 0.0,
            energy_uj: 0.0,
            energy_inferences: 0,
            peak_memory: None,
            slow_start: 0,
            searched: false,
            content: false,
            warm_up: 0,
            warmed: 0,
            fruitless: 0,
            estimate: None,
            anchor: Vec::new(),
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

    /// Takes in what came of a step.
    pub(super) fn absorb(&mut self, result: &StepResult) {
        if let Some(bytes) = result.peak_memory {
            self.peak_memory = Some(self.peak_memory.unwrap_or(0).max(bytes.0));
        }
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
        self.estimate = Estimate::of(self.steady(), self.energy_per_inference(), self.id.shape);
    }

    /// Counted latencies of the steady state.
    pub(super) fn steady(&self) -> &[u64] {
        &self.samples[self.slow_start.min(self.samples.len())..]
    }

    fn count(&mut self, chunk: &Chunk) {
        let counted = chunk.counted();
        if counted.is_empty() {
            self.level = chunk.latencies_ns.iter().max().map(|&latency| latency as f64);
        }
        if chunk.phase == Phase::Anchor && !counted.is_empty() {
            let mut sorted = counted.to_vec();
            sorted.sort_unstable();
            self.anchor.push((chunk.block, sorted[sorted.len() / 2] as f64));
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
