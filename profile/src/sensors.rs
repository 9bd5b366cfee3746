//! Sensor series as recorded: columns of `i32` per tier, with true read times and validity.

use crate::channel::{Channel, Role};
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
    /// The board file whose knowledge shaped this record, from config/boards.
    pub board: Option<String>,
    /// What the total power covers, in words, e.g. `whole module, memory and I/O included`.
    pub power_scope: Option<String>,
    /// How each monitored rail is measured.
    pub rails: Vec<Rail>,
    /// What a channel's values mean on this board, where it is not plain: channel index and meaning.
    pub meanings: Vec<(u16, String)>,
    /// The memory-controller activity at saturation, where the board file gives it.
    pub bandwidth_full_scale: Option<i32>,
    /// Whether the series stops before the run did: its bound was reached or its writer was cut off.
    pub truncated: bool,
    /// What a reader must know of the readings.
    pub notes: Vec<String>,
}

/// How a power rail is measured by its monitor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rail {
    /// Index of the power channel in [`SensorRecord::channels`].
    pub channel: u16,
    /// Conversions that the monitor averages.
    pub samples: Option<u32>,
    /// The monitor's own update interval.
    pub update_interval: Option<Nanos>,
    /// Shunt resistor in micro-ohms.
    pub shunt_uohm: Option<u32>,
}

impl SensorRecord {
    /// Index of the channel called `id`.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<u16> {
        self.channels.iter().position(|channel| channel.id == id).and_then(|index| u16::try_from(index).ok())
    }

    /// The tier and the column that hold `channel`.
    #[must_use]
    pub fn series(&self, channel: u16) -> Option<(&TierSeries, &Column)> {
        self.tiers.iter().find_map(|tier| {
            tier.columns.iter().find(|column| column.channel == channel).map(|column| (tier, column))
        })
    }

    /// Indices of the channels with `role`.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = u16> + '_ {
        self.channels
            .iter()
            .enumerate()
            .filter(move |(_, channel)| channel.role == role)
            .filter_map(|(index, _)| u16::try_from(index).ok())
    }
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

impl TierSeries {
    /// Adds what the same tier read later: its columns are in the same order.
    pub fn append(&mut self, later: &Self) {
        self.stamps_ns.extend_from_slice(&later.stamps_ns);
        self.read_ns.extend_from_slice(&later.read_ns);
        self.missed += later.missed;
        for (column, more) in self.columns.iter_mut().zip(&later.columns) {
            for index in 0..more.values.len() {
                column.push(more.get(index));
            }
        }
    }
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

    /// A column for `channel` that takes `rows` readings without allocating.
    #[must_use]
    pub fn with_capacity(channel: u16, rows: usize) -> Self {
        Self { channel, values: Vec::with_capacity(rows), valid: Vec::with_capacity(rows.div_ceil(64)) }
    }

    /// Removes every reading and keeps the memory.
    pub fn clear(&mut self) {
        self.values.clear();
        self.valid.clear();
    }

    /// Whether any reading is valid.
    #[must_use]
    pub fn any_valid(&self) -> bool {
        self.valid.iter().any(|word| *word != 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(values: &[Option<i32>]) -> TierSeries {
        let mut column = Column::with_capacity(0, values.len());
        values.iter().for_each(|value| column.push(*value));
        TierSeries {
            stamps_ns: (0..values.len() as u64).collect(),
            read_ns: vec![1; values.len()],
            columns: vec![column],
            ..TierSeries::default()
        }
    }

    #[test]
    fn appended_series_keep_every_value_and_gap_across_word_borders() {
        let one: Vec<_> = (0..70).map(|i| (i % 3 != 0).then_some(i)).collect();
        let two: Vec<_> = (0..130).map(|i| (i % 5 != 0).then_some(-i)).collect();
        let mut joined = tier(&one);
        joined.append(&tier(&two));
        let read: Vec<_> = (0..200).map(|index| joined.columns[0].get(index)).collect();
        assert_eq!(read, [one, two].concat());
        assert_eq!(joined.stamps_ns.len(), 200);
        assert_eq!(joined.columns[0].get(200), None);
    }
}
