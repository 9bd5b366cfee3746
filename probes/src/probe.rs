//! What a probe is: a group of channels that are read together.
//!
//! Terms: a *channel* is one value; a *tier* groups channels that are read at one rate; a *fault* is one
//! read that failed or gave a value that cannot be true. Discovery allocates; [`Probe::read`] does not.

pub use crate::absence::Fault;
use crate::absence::{Absence, AbsenceCause};
use clipmark_profile::channel::{Channel, ChannelKind, Role};
use clipmark_profile::units::Nanos;
use std::collections::BTreeSet;
use std::fmt;

/// How often a group of channels is read, from most to least often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Power rails, at the rate that the board file gives.
    Rails,
    /// GPU clock and load, 5 a second.
    Fast,
    /// Temperatures, cooling, CPU clocks, floors and caps, fan, memory: once a second.
    Medium,
    /// Throttle counters and debugfs: every two seconds.
    Slow,
    /// Measured CPU clocks, which cost the measured CPU time: every ten seconds, and only on request.
    Rare,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 5] = [Self::Rails, Self::Fast, Self::Medium, Self::Slow, Self::Rare];
}

/// The outcome of reading one channel.
pub type Reading = Result<i32, Fault>;

/// A channel and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sensed {
    /// The channel.
    pub channel: Channel,
    /// Path or paths that it is read from.
    pub source: String,
    /// What its values mean on this board, where that is not plain.
    pub meaning: Option<String>,
}

/// Receives the readings of one probe, in the order of its channels.
#[derive(Debug)]
pub struct Sink<'a> {
    slots: &'a mut [Reading],
    next: usize,
}

impl<'a> Sink<'a> {
    /// A sink into `slots`, one per channel.
    pub fn new(slots: &'a mut [Reading]) -> Self {
        Self { slots, next: 0 }
    }

    /// The reading of the next channel. Readings beyond the last channel are dropped.
    pub fn put(&mut self, reading: Reading) {
        if let Some(slot) = self.slots.get_mut(self.next) {
            *slot = reading;
        }
        self.next += 1;
    }
}

/// A group of channels that are read together.
pub trait Probe: Send + fmt::Debug {
    /// How often to read it.
    fn tier(&self) -> Tier;

    /// Its channels, in the order of its readings.
    fn channels(&self) -> &[Sensed];

    /// Reads every channel once and puts one reading per channel. Does not allocate, log or retry.
    /// `at` is the present instant on the clock that differences are taken over.
    fn read(&mut self, at: Nanos, sink: &mut Sink<'_>);
}

/// Reads every channel of `probe` once into `slots`. What is outside the plausible range of its kind is a
/// fault, whichever probe read it.
pub fn read_plausible(probe: &mut dyn Probe, at: Nanos, slots: &mut [Reading]) {
    probe.read(at, &mut Sink::new(slots));
    for (slot, sensed) in slots.iter_mut().zip(probe.channels()) {
        *slot = slot.and_then(|value| plausible(sensed.channel.kind, value));
    }
}

/// `value`, unless no reading of `kind` can be that.
pub(crate) const fn plausible(kind: ChannelKind, value: i32) -> Reading {
    match kind.plausible() {
        Some((low, high)) if value < low || value > high => Err(Fault::Implausible { kind, value }),
        _ => Ok(value),
    }
}

/// What discovery found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The probes.
    pub probes: Vec<Box<dyn Probe>>,
    /// Channels that are missing.
    pub absent: Vec<Absence>,
    /// How rails are measured: channel id and settings.
    pub rails: Vec<(String, RailSettings)>,
    /// Trip points: channel id, type, temperature in m°C.
    pub trips: Vec<(String, String, i32)>,
    /// How the total power is formed, where there is a total.
    pub power_topology: Option<String>,
    /// Which temperatures stand for the chip.
    pub chip_zones: ChipZones,
    /// What a reader must know of the readings.
    pub notes: Vec<String>,
    ids: BTreeSet<String>,
}

/// How the temperatures were found that the start gate, the temperature limit and the thermal cause look
/// at: those with [`Role::Junction`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChipZones {
    /// Their names say that they stand for the chip.
    Known,
    /// No name says so: every temperature that could be the chip's.
    Hottest,
    /// There is none.
    #[default]
    None,
}

/// Settings of a power monitor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RailSettings {
    /// Conversions averaged.
    pub samples: Option<u32>,
    /// The monitor's own update interval.
    pub update_interval: Option<Nanos>,
    /// Shunt resistor in micro-ohms.
    pub shunt_uohm: Option<u32>,
}

impl Discovery {
    /// A channel whose id no other channel of this board has: a repeated name gets `#2`, `#3`, ...
    pub fn channel(&mut self, kind: ChannelKind, name: &str, role: Role) -> Channel {
        let name = clean(name);
        let mut channel = Channel::new(kind, &name, role);
        let mut number = 1;
        while !self.ids.insert(channel.id.clone()) {
            number += 1;
            channel = Channel::new(kind, &format!("{name}#{number}"), role);
        }
        channel
    }

    /// Whether a channel of this name exists already.
    #[must_use]
    pub fn has(&self, kind: ChannelKind, name: &str) -> bool {
        self.ids.contains(&Channel::new(kind, name, Role::Context).id)
    }

    /// Notes that a channel is missing, with its cause.
    pub fn absence(&mut self, kind: ChannelKind, name: &str, cause: impl Into<AbsenceCause>) {
        self.absent.push(Absence::new(kind, &clean(name), cause));
    }
}

/// A name fit for an id: anything unusual becomes a hyphen.
fn clean(name: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '#' | '@' | '+');
    name.trim().chars().map(|c| if keep(c) { c } else { '-' }).collect()
}
