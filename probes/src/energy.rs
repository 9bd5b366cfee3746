//! Power of x86 packages from their energy counters (RAPL), as differences across wraps.
//!
//! The kernel updates a counter about every millisecond, so that readings less than some 50 ms apart say
//! little; the rails' tier keeps further apart than that.

use crate::power::{Meter, Rail, Rails};
use crate::probe::{Discovery, Fault, Reading};
use crate::root::{Handle, Root};
use crate::values::{Decode, narrow};
use clipmark_profile::units::Nanos;

/// The energy counters of x86 packages and their domains. The same packages seen a second time through
/// MMIO (`intel-rapl-mmio`) are left out.
pub(crate) fn discover(root: &Root, found: &mut Discovery, rails: &mut Rails) {
    let base = "/sys/class/powercap";
    for zone in root.list(base).unwrap_or_default() {
        let Some(numbers) = zone.strip_prefix("intel-rapl:") else { continue };
        let name = |zone: &str| root.read_text(&format!("{base}/{zone}/name"));
        let Ok(own) = name(&zone) else { continue };
        let label = match numbers.split_once(':') {
            Some((package, _)) => {
                let package = name(&format!("intel-rapl:{package}")).unwrap_or_default();
                format!("{own}.{package}")
            }
            None => own,
        };
        let source = format!("{base}/{zone}/energy_uj");
        let wrap = root.read_number(&format!("{base}/{zone}/max_energy_range_uj"));
        match (root.open_value(&source), wrap) {
            (Ok(file), Ok(wrap_uj)) => {
                let still = if root.is_capture() && !root.moves() { Fault::OneInstant } else { Fault::Still };
                let meter = Meter::Energy(EnergyCounter { file, wrap_uj, last: None, moved: false, still });
                rails.push(Rail::new(label, source, meter));
            }
            (Err(error), _) | (_, Err(error)) => rails.refuse(label, error, found),
        }
    }
}

/// Power as the difference of a wrapping energy counter.
#[derive(Debug)]
pub(crate) struct EnergyCounter {
    file: Handle,
    wrap_uj: i64,
    last: Option<(Nanos, i64)>,
    moved: bool,
    /// What a counter that does not move is for want of.
    still: Fault,
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
mod tests;
