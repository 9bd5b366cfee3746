//! Power rails: monitors on a bus, and the energy counters of x86.
//!
//! A rail's power is its voltage times its current, read back to back, or what the monitor computes itself;
//! power that flows the other way is negative. The board file says which rails form the total.

use crate::board::Board;
use crate::hwmon::Hwmon;
use crate::probe::{Discovery, Fault, Probe, Reading, Sensed, Sink, Tier, plausible};
use crate::rails::{Meter, Rail, Rails};
use crate::root::{Handle, Root};
use crate::values::{Decode, narrow};
use crate::{energy, monitors, total};
use clipmark_profile::channel::{ChannelKind, Role};
use clipmark_profile::units::Nanos;

/// The INA3221's bus-voltage register with all bits set, mV; its inputs bear 26 V.
const INA3221_FULL_SCALE_MV: i64 = 32_760;

/// Finds every rail and decides which form the total.
pub(crate) fn discover(root: &Root, board: &Board, found: &mut Discovery) {
    let mut rails = Rails::default();
    monitors::discover(root, board, found, &mut rails);
    energy::discover(root, found, &mut rails);
    let total = total::choose(root, board, &mut rails, found);
    supply_voltages(root, board, found);
    RailProbe::assemble(rails.all, &total, board, found);
}

fn supply_voltages(root: &Root, board: &Board, found: &mut Discovery) {
    let mut values = crate::values::Values::new(Tier::Medium);
    for device in &Hwmon::all(root) {
        for (key, name) in &board.power.voltages {
            let Some(attribute) = key.strip_prefix(&format!("{}/", device.name)) else { continue };
            let channel = found.channel(ChannelKind::Voltage, name, Role::Context);
            values.add(root, found, channel, &device.path(attribute), Decode::Integer(1, 1));
        }
    }
    values.finish(found);
}

/// The probe over all rails: power of each, and the voltage of those that form the total.
#[derive(Debug)]
struct RailProbe {
    sensed: Vec<Sensed>,
    meters: Vec<(Meter, Voltage)>,
}

/// Whether and how a rail's voltage is a channel too.
#[derive(Debug)]
enum Voltage {
    /// It is none.
    Unread,
    /// The voltage that the product used.
    OfProduct,
    /// A file of its own.
    File(Handle),
}

impl RailProbe {
    fn assemble(rails: Vec<Rail>, total: &[usize], board: &Board, found: &mut Discovery) {
        let mut probe = Self { sensed: Vec::new(), meters: Vec::new() };
        for (at, rail) in rails.into_iter().enumerate() {
            let in_total = total.contains(&at);
            let role = if in_total { Role::TotalPower } else { Role::Context };
            let channel = found.channel(ChannelKind::Power, &rail.label, role);
            let parent = board.power.downstream.get(&rail.label).filter(|_| !in_total);
            let parent = parent.map(|parent| format!("part of {parent}: not added to the total"));
            found.rails.push((channel.id.clone(), rail.settings));
            let source = rail.source.clone();
            probe.sensed.push(Sensed { channel, source: rail.source, meaning: parent.or(rail.meaning) });
            let voltage = match (in_total, &rail.meter, rail.volts) {
                (true, Meter::Product { .. }, _) => Voltage::OfProduct,
                (true, _, Some(file)) => Voltage::File(file),
                _ => Voltage::Unread,
            };
            if !matches!(voltage, Voltage::Unread) {
                let channel = found.channel(ChannelKind::Voltage, &rail.label, Role::Context);
                let source = match &voltage {
                    Voltage::File(file) => file.path().to_owned(),
                    _ => source.split(" x ").next().unwrap_or_default().to_owned(),
                };
                probe.sensed.push(Sensed { channel, source, meaning: None });
            }
            probe.meters.push((rail.meter, voltage));
        }
        if !probe.meters.is_empty() {
            found.probes.push(Box::new(probe));
        }
    }
}

impl Probe for RailProbe {
    fn tier(&self) -> Tier {
        Tier::Rails
    }

    fn channels(&self) -> &[Sensed] {
        &self.sensed
    }

    fn read(&mut self, at: Nanos, sink: &mut Sink<'_>) {
        for (meter, voltage) in &mut self.meters {
            let (power, product_volts) = meter.read(at);
            sink.put(power);
            match voltage {
                Voltage::Unread => {}
                Voltage::OfProduct => sink.put(product_volts),
                Voltage::File(file) => sink.put(Decode::Integer(1, 1).read(file).and_then(narrow)),
            }
        }
    }
}

impl Meter {
    /// A file that gives microwatts.
    pub(crate) const fn microwatts(power: Handle) -> Self {
        Self::Direct { power, divide: 1000, amps: None }
    }

    /// Power in mW now, of a monitor; a counter has none at one instant, but shows whether it can be read.
    pub(crate) fn peek(&mut self) -> Result<Option<i32>, Fault> {
        match self {
            Self::Energy(counter) => counter.count().map(|_| None),
            Self::Product { .. } | Self::Direct { .. } => {
                let value = self.read(Nanos(0)).0?;
                plausible(ChannelKind::Power, value).map(Some)
            }
        }
    }

    /// Power in mW, and the voltage in mV that it was computed from.
    fn read(&mut self, at: Nanos) -> (Reading, Reading) {
        let millis = Decode::Integer(1, 1);
        match self {
            Self::Product { volts, amps } => {
                let volts = millis.read(volts).and_then(below_full_scale);
                let power = volts.and_then(|mv| {
                    millis.read(amps).map(|ma| mv.saturating_mul(ma).saturating_add(500).div_euclid(1000))
                });
                (power.and_then(narrow), volts.and_then(narrow))
            }
            Self::Direct { power, divide, amps } => {
                let power = Decode::Integer(1, *divide).read(power);
                let backwards = amps.as_mut().is_some_and(|amps| millis.read(amps).is_ok_and(|ma| ma < 0));
                let signed = power.map(|power| if backwards { -power.abs() } else { power });
                (signed.and_then(narrow), Err(Fault::Unparsable))
            }
            Self::Energy(counter) => (counter.read(at), Err(Fault::Unparsable)),
        }
    }
}

const fn below_full_scale(mv: i64) -> Result<i64, Fault> {
    if mv >= INA3221_FULL_SCALE_MV { Err(Fault::OutOfRange) } else { Ok(mv) }
}

#[cfg(test)]
mod tests;
