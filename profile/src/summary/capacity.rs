//! How many streams a board sustains.

use crate::point::PointId;
use crate::record::Failure;
use crate::streams::verdict::LoadFigures;
use crate::streams::{ArrivalProcess, Phases};
use serde::{Deserialize, Serialize};

/// What a search for the capacity of a point came to, with its evidence on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// The point: its variant, batch size, clip length and hop.
    pub id: PointId,
    /// Engines that worked in parallel.
    pub instances: u32,
    /// Between two clips of a stream.
    pub period_ns: u64,
    /// Within which a clip must be complete after its last frame's arrival.
    pub deadline_ns: u64,
    /// When the first clips arrived.
    pub phases: Phases,
    /// How clips followed each other.
    pub arrivals: ArrivalProcess,
    /// Loads that were offered.
    pub loads: u32,
    /// The most streams that were certified to be sustained.
    pub last_holding: Option<LoadFigures>,
    /// The fewest streams above it that were certified not to be.
    pub first_failing: Option<LoadFigures>,
    /// The last certified load that decided nothing, where one of the two is absent.
    pub undecided: Option<LoadFigures>,
    /// What ended the search early.
    pub failure: Option<Failure>,
}

impl Capacity {
    /// The capacity: the most streams that were certified to be sustained.
    #[must_use]
    pub fn streams(&self) -> Option<u32> {
        self.last_holding.as_ref().map(|figures| figures.streams)
    }
}
