//! The table of every sensed quantity: its kind, its unit, and what it means.
//!
//! A channel is one value that a probe can read, named `kind.name`, e.g. `power.VDD_IN` or
//! `temp.gpu-thermal`. Values travel as `i32` in the unit of the kind.

use serde::{Deserialize, Serialize};

/// What a channel measures. The unit of its `i32` values follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// Electrical power of a rail, mW.
    Power,
    /// Temperature of a thermal zone, m\u{b0}C.
    Temperature,
    /// A clock as it is or as it was requested, kHz.
    Clock,
    /// The floor below which a clock is not let fall, kHz.
    ClockFloor,
    /// The cap above which a clock is not let rise, kHz.
    ClockCap,
    /// How busy a unit is, per mille.
    Load,
    /// Memory-controller activity, raw: the unit is undocumented.
    BandwidthActivity,
    /// State of a cooling device; above 0 it limits something.
    Cooling,
    /// Over-current events since boot.
    OverCurrent,
    /// Throttle flags of the firmware, as bits.
    ThrottleFlags,
    /// Fan speed, revolutions a minute.
    FanSpeed,
    /// Fan drive, 0 to 255.
    FanDrive,
    /// Memory available, KiB.
    MemoryAvailable,
    /// Total time in memory-pressure stalls, milliseconds since boot.
    MemoryPressure,
    /// Voltage of a supply, mV.
    Voltage,
    /// Thermal throttle events since boot, as x86 CPUs count them.
    ThrottleCount,
    /// One that this version does not know, from a newer device.
    Unknown,
}

impl ChannelKind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Self; 16] = [
        Self::Power,
        Self::Voltage,
        Self::Temperature,
        Self::Cooling,
        Self::OverCurrent,
        Self::ThrottleFlags,
        Self::ThrottleCount,
        Self::Clock,
        Self::ClockFloor,
        Self::ClockCap,
        Self::Load,
        Self::BandwidthActivity,
        Self::FanSpeed,
        Self::FanDrive,
        Self::MemoryAvailable,
        Self::MemoryPressure,
    ];

    /// The first part of the ids of this kind's channels.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Voltage => "voltage",
            Self::Temperature => "temp",
            Self::Cooling => "cooling",
            Self::OverCurrent => "overcurrent",
            Self::ThrottleFlags => "throttle",
            Self::ThrottleCount => "throttle_count",
            Self::Clock => "clock",
            Self::ClockFloor => "floor",
            Self::ClockCap => "cap",
            Self::Load => "load",
            Self::BandwidthActivity => "bandwidth",
            Self::FanSpeed => "fan",
            Self::FanDrive => "fan_drive",
            Self::MemoryAvailable => "memory",
            Self::MemoryPressure => "pressure",
            Self::Unknown => "unknown",
        }
    }

    /// The unit of the channel's values.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Power => "mW",
            Self::Temperature => "m\u{b0}C",
            Self::Clock | Self::ClockFloor | Self::ClockCap => "kHz",
            Self::Load => "per mille",
            Self::BandwidthActivity => "raw",
            Self::Cooling => "state",
            Self::OverCurrent => "events",
            Self::ThrottleFlags => "bits",
            Self::FanSpeed => "rpm",
            Self::FanDrive => "of 255",
            Self::MemoryAvailable => "KiB",
            Self::MemoryPressure => "ms",
            Self::Voltage => "mV",
            Self::ThrottleCount => "events",
            Self::Unknown => "unknown",
        }
    }

    /// The least and the greatest value that a reading of this kind can be, in its unit: what is outside is
    /// no reading. docs/method.md, "Plausible readings", has the reason of each.
    #[must_use]
    pub const fn plausible(self) -> Option<(i32, i32)> {
        match self {
            Self::Power => Some((-3_700_000, 3_700_000)),
            Self::Voltage => Some((0, 60_000)),
            Self::Temperature => Some((-55_000, 125_000)),
            Self::Clock | Self::ClockFloor | Self::ClockCap => Some((0, 12_000_000)),
            Self::FanSpeed => Some((0, 60_000)),
            _ => None,
        }
    }

    /// Whether values only ever grow and a difference is what counts.
    #[must_use]
    pub const fn is_counter(self) -> bool {
        matches!(self, Self::OverCurrent | Self::ThrottleCount | Self::MemoryPressure)
    }
}

/// What clipmark does with a channel, beyond recording it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Recorded and shown.
    #[default]
    Context,
    /// A rail that counts towards the board's total power.
    TotalPower,
    /// The temperature that the start gate, the abort limit and the thermal cause look at.
    Junction,
    /// The CPU's clock.
    CpuClock,
    /// The GPU's clock.
    GpuClock,
    /// The memory's clock.
    MemoryClock,
    /// A cooling device whose activity means throttling.
    Throttles,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// One channel of one board.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Channel {
    /// `kind.name`, unique on the board.
    pub id: String,
    /// What it measures.
    pub kind: ChannelKind,
    /// What clipmark does with it.
    pub role: Role,
}

impl Channel {
    /// The channel `kind.name`.
    #[must_use]
    pub fn new(kind: ChannelKind, name: &str, role: Role) -> Self {
        Self { id: format!("{}.{name}", kind.prefix()), kind, role }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_prefix() {
        let mut prefixes: Vec<_> = ChannelKind::ALL.iter().map(|kind| kind.prefix()).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        assert_eq!(prefixes.len(), ChannelKind::ALL.len());
    }
}
