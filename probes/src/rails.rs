//! A power rail: where it lies and how it is measured.

use crate::absence::Fault;
use crate::probe::{Discovery, RailSettings, Reading};
use crate::root::{Handle, ReadError};
use crate::values::{Decode, narrow};
use clipmark_profile::channel::ChannelKind;
use clipmark_profile::units::Nanos;

/// Every rail that was found, before the total is decided.
#[derive(Debug, Default)]
pub(crate) struct Rails {
    /// Those that can be opened.
    pub(crate) all: Vec<Rail>,
    /// Those that cannot: label and error.
    pub(crate) refused: Vec<(String, ReadError)>,
}

impl Rails {
    pub(crate) fn push(&mut self, rail: Rail) {
        self.all.push(rail);
    }

    /// Keeps a rail that is there and cannot be opened in mind, and lists it as absent.
    pub(crate) fn refuse(&mut self, label: String, error: ReadError, found: &mut Discovery) {
        found.absence(ChannelKind::Power, &label, error.clone());
        self.refused.push((label, error));
    }
}

/// A rail that exists.
#[derive(Debug)]
pub(crate) struct Rail {
    pub(crate) label: String,
    pub(crate) source: String,
    pub(crate) meter: Meter,
    pub(crate) volts: Option<Handle>,
    pub(crate) settings: RailSettings,
    pub(crate) meaning: Option<String>,
    /// Why it measures nothing, where that shows.
    pub(crate) dead: Option<Fault>,
    /// Why it cannot be read now, where that is more than a conversion that is not ready.
    pub(crate) failing: Option<Fault>,
}

impl Rail {
    pub(crate) const fn new(label: String, source: String, meter: Meter) -> Self {
        let settings = RailSettings { samples: None, update_interval: None, shunt_uohm: None };
        Self { label, source, meter, volts: None, settings, meaning: None, dead: None, failing: None }
    }
}

/// How one rail is measured.
#[derive(Debug)]
pub(crate) enum Meter {
    /// mV and mA.
    Product { volts: Handle, amps: Handle },
    /// A file that gives power, divided by this into mW, and one with the current whose sign it takes.
    Direct { power: Handle, divide: i64, amps: Option<Handle> },
    /// A counter of microjoules that wraps.
    Energy(EnergyCounter),
}

/// Power as the difference of a wrapping energy counter.
#[derive(Debug)]
pub(crate) struct EnergyCounter {
    pub(crate) file: Handle,
    pub(crate) wrap_uj: i64,
    pub(crate) last: Option<(Nanos, i64)>,
    pub(crate) moved: bool,
    /// What a counter that does not move is for want of.
    pub(crate) still: Fault,
}

impl EnergyCounter {
    /// The counter as it stands.
    pub(crate) fn count(&mut self) -> Result<i64, Fault> {
        Decode::Integer(1, 1).read(&mut self.file)
    }

    /// Mean power in mW since the last reading.
    pub(crate) fn read(&mut self, at: Nanos) -> Reading {
        let now = Decode::Integer(1, 1).read(&mut self.file)?;
        let Some((then, before)) = self.last.replace((at, now)) else {
            return Err(Fault::NeedsTwoReadings);
        };
        let span = at.since(then).get();
        let energy_uj = energy_between(before, now, self.wrap_uj);
        self.moved |= energy_uj > 0;
        if !self.moved {
            return Err(self.still);
        }
        if span == 0 {
            return Err(Fault::NeedsTwoReadings);
        }
        narrow((energy_uj as f64 * 1e6 / span as f64).round() as i64)
    }
}

/// Energy between two readings of a counter that returns to 0 after `wrap`.
const fn energy_between(before: i64, now: i64, wrap: i64) -> i64 {
    if now >= before { now - before } else { now + wrap - before }
}

#[cfg(test)]
mod tests {
    use super::energy_between;

    #[test]
    fn a_counter_that_wraps_gives_the_energy_between() {
        assert_eq!(energy_between(10, 30, 100), 20);
        assert_eq!(energy_between(90, 5, 100), 15);
    }
}
