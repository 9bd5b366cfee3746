//! A board that changed during a sweep, and figures in its common state.

use super::{Interval, PointSummary};
use crate::point::PointId;
use serde::{Deserialize, Serialize};

/// How the board changed during a sweep, by all points that returned: latency then over latency in the *common
/// state*, the board's at the end of the sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoardDrift {
    /// The point that returned in every block.
    pub anchor: Option<PointId>,
    /// Latencies that are no part of comparable figures, because nothing ran for most of their time.
    pub stalls: u64,
    /// The board block by block, in order of time.
    pub blocks: Vec<DriftBlock>,
}

/// The board in one block of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DriftBlock {
    /// Which block; 0 is the survey.
    pub block: u32,
    /// Its middle, ms since the run's start.
    pub at_ms: u64,
    /// Latency in it over latency in the common state.
    pub slowness: f64,
    /// Its 95 % interval.
    pub slowness_ci: Interval,
}

impl BoardDrift {
    /// The smallest and the largest slowness of a block.
    #[must_use]
    pub fn range(&self) -> Option<(f64, f64)> {
        let slowness = || self.blocks.iter().map(|block| block.slowness);
        Some((slowness().reduce(f64::min)?, slowness().reduce(f64::max)?))
    }
}

/// A point's figures in the state that the board had at the end of the sweep, estimated from how all points
/// changed from block to block.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparable {
    /// Mean latency, ns.
    pub mean_ns: f64,
    /// Its 95 % interval, which holds the uncertainty of the board's state.
    pub mean_ci_ns: Interval,
    /// Median latency, ns.
    pub p50_ns: f64,
    /// Its 95 % interval.
    pub p50_ci_ns: Interval,
    /// P99 latency, ns.
    pub p99_ns: Option<f64>,
    /// Its 95 % interval.
    pub p99_ci_ns: Interval,
    /// Frames completed a second.
    pub frames_per_s: f64,
    /// Energy per frame, whole board, uJ: the power as measured over the time in the common state.
    pub energy_per_frame_uj: Option<f64>,
    /// Its 95 % interval.
    pub energy_ci_uj: Interval,
    /// Latencies left out because the board stalled.
    pub stalls: u64,
}

impl PointSummary {
    /// Mean latency in the state in which points are compared, with its interval, ns.
    #[must_use]
    pub fn comparable_mean(&self) -> Option<(f64, Interval)> {
        match &self.comparable {
            Some(comparable) => Some((comparable.mean_ns, comparable.mean_ci_ns)),
            None => self.latency.as_ref().map(|latency| (latency.mean_ns, latency.mean_ci_ns)),
        }
    }

    /// Median latency in the state in which points are compared, with its interval, ns.
    #[must_use]
    pub fn comparable_p50(&self) -> Option<(f64, Interval)> {
        match &self.comparable {
            Some(comparable) => Some((comparable.p50_ns, comparable.p50_ci_ns)),
            None => self.latency.as_ref().map(|latency| (latency.p50_ns, latency.p50_ci_ns)),
        }
    }

    /// P99 in the state in which points are compared, with its interval, ns.
    #[must_use]
    pub fn comparable_p99(&self) -> Option<(f64, Interval)> {
        match &self.comparable {
            Some(comparable) => Some((comparable.p99_ns?, comparable.p99_ci_ns)),
            None => self.latency.as_ref().and_then(|latency| Some((latency.p99_ns?, latency.p99_ci_ns))),
        }
    }

    /// Frames a second in the state in which points are compared.
    #[must_use]
    pub fn comparable_frames_per_s(&self) -> Option<f64> {
        self.comparable.map_or(self.frames_per_s, |comparable| Some(comparable.frames_per_s))
    }

    /// Energy per frame in the state in which points are compared, with its interval, uJ.
    #[must_use]
    pub fn comparable_energy(&self) -> Option<(f64, Interval)> {
        let scaled = self.comparable.and_then(|own| Some((own.energy_per_frame_uj?, own.energy_ci_uj)));
        scaled.or_else(|| self.energy.map(|energy| (energy.gross_per_frame_uj, energy.gross_ci_uj)))
    }
}
