//! Sensor series as recorded: columns of `i32` per tier, with true read times and validity.

use crate::channel::Channel;
use crate::units::Nanos;
use serde::{Deserialize, Serialize};

/// What the board's sensors said over a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorRecord {
    /// Every channel that could be read at the start.
    pub channels: Vec<Channel>,
    /// Channels that are missing on this board: id and cause.
    pub absent: Vec<(String, String)>,
    /// How the total power is formed, in words, e.g. `VDD_IN` or `sum of VDD_GPU_SOC, VDD_CPU_CV, ...`.
    pub power_topology: Option<String>,
    /// Series per sampling tier.
    pub tiers: Vec<TierSeries>,
    /// CPU time that the sampler itself took.
    pub sampler_cpu: Nanos,
    /// Measured refresh interval per power channel: channel index and interval.
    pub refresh: Vec<(u16, Nanos)>,
    /// Trip points: thermal channel index, trip type, temperature in m\u{b0}C.
    pub trips: Vec<(u16, String, i32)>,
}

/// One tier: channels that are read together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierSeries {
    /// Nominal period. Never used as a duration: the stamps are.
    pub period: Nanos,
    /// When each tick was read (midpoint), nanoseconds since the run's start.
    pub stamps_ns: Vec<u64>,
    /// How long each tick's reads took.
    pub read_ns: Vec<u32>,
    /// Deadlines that passed unread and were not caught up.
    pub missed: u64,
    /// One column per channel of the tier.
    pub columns: Vec<Column>,
}

/// One channel's values, parallel to the tier's stamps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Index into [`SensorRecord::channels`].
    pub channel: u16,
    /// Values in the unit of the channel's kind; arbitrary where invalid.
    pub values: Vec<i32>,
    /// Validity, one bit per value, least significant first.
    pub valid: Vec<u64>,
}

impl Column {
    /// The value at `index`, or `None` when that read failed.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<i32> {
        let word = self.valid.get(index / 64)?;
        if word >> (index % 64) & 1 == 0 {
            return None;
        }
        self.values.get(index).copied()
    }

    /// Appends a reading.
    pub fn push(&mut self, value: Option<i32>) {
        let index = self.values.len();
        if index.is_multiple_of(64) {
            self.valid.push(0);
        }
        if let (Some(_), Some(word)) = (value, self.valid.last_mut()) {
            *word |= 1 << (index % 64);
        }
        self.values.push(value.unwrap_or(0));
    }
}
