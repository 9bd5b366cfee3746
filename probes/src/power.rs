//! Power rails: INA3221 and its kin through hwmon or iio, and the energy counters of x86.
//!
//! A rail's power is its voltage times its current, read back to back, or what the monitor computes
//! itself. Left out on purpose: the INA3221's sum channels (`in7`, `curr4`) and shunt voltages (`in4` to
//! `in6`), which are no rails; disabled and unconnected inputs; alarm files, whose reading clears flags.
//! The board file says which rails form the total; a rail that it does not name is never added.

use crate::board::{Board, any_match};
use crate::energy::EnergyCounter;
use crate::hwmon::Hwmon;
use crate::probe::{Discovery, Fault, Probe, RailSettings, Reading, Sensed, Sink, Tier};
use crate::root::{Handle, ReadError, Root};
use crate::values::{Decode, narrow};
use clipmark_profile::channel::{ChannelKind, Role};

use clipmark_profile::units::Nanos;

/// Inputs of an INA3221 that are rails.
const INA3221_RAILS: u32 = 3;
/// Least significant bit of the INA3221's bus voltage in mV and of its shunt voltage in uV (data sheet,
/// section 8.6).
const INA3221_BUS_LSB_MV: i64 = 8;
const INA3221_SHUNT_LSB_UV: i64 = 40;

/// A rail that exists, before the total is decided.
#[derive(Debug)]
pub(crate) struct Found {
    label: String,
    source: String,
    meter: Meter,
    volts: Option<Handle>,
    settings: RailSettings,
}

impl Found {
    pub(crate) const fn new(label: String, source: String, meter: Meter) -> Self {
        let settings = RailSettings { samples: None, update_interval: None, shunt_uohm: None };
        Self { label, source, meter, volts: None, settings }
    }
}

/// How one rail is measured.
#[derive(Debug)]
pub(crate) enum Meter {
    /// mV and mA.
    Product { volts: Handle, amps: Handle },
    /// A file that gives power, divided by this into mW.
    Direct { power: Handle, divide: i64 },
    /// A counter of microjoules that wraps.
    Energy(EnergyCounter),
}

/// Finds every rail and decides which form the total.
pub(crate) fn discover(root: &Root, board: &Board, found: &mut Discovery) {
    let mut rails = Vec::new();
    let devices = Hwmon::all(root);
    for device in &devices {
        if device.name == "ina3221" {
            ina3221(root, device, found, &mut rails);
        } else if !any_match(&board.power.ignore, &device.name) {
            power_inputs(root, board, device, &devices, &mut rails);
        }
    }
    iio(root, found, &mut rails);
    crate::energy::discover(root, found, &mut rails);
    let total = total(board, &rails, found);
    supply_voltages(root, board, &devices, found);
    Rails::assemble(rails, &total, board, found);
}

/// Indices of the rails whose sum is the total.
fn total(board: &Board, rails: &[Found], found: &mut Discovery) -> Vec<usize> {
    for alternative in &board.power.total {
        let matching = alternative.iter().map(|pattern| {
            let fits = rails.iter().enumerate().filter(|(_, rail)| pattern.matches(&rail.label));
            fits.map(|(at, _)| at).collect::<Vec<usize>>()
        });
        let matching: Vec<Vec<usize>> = matching.collect();
        if !matching.is_empty() && matching.iter().all(|fits| !fits.is_empty()) {
            let mut members = matching.concat();
            members.sort_unstable();
            members.dedup();
            let labels: Vec<&str> = members.iter().map(|at| rails[*at].label.as_str()).collect();
            found.power_topology = Some(match labels.as_slice() {
                [one] => (*one).to_owned(),
                several => format!("sum of {}", several.join(", ")),
            });
            return members;
        }
    }
    let refused = found.absent.iter().filter(|absence| absence.cause.contains("cannot read"));
    let refused: Vec<&str> = refused.map(|absence| absence.id.as_str()).collect();
    let cause = match (rails.is_empty(), refused.is_empty()) {
        (_, false) => format!("its rails cannot be read: see {}", refused.join(", ")),
        (true, true) => format!("no power rail is there ({})", board.power.scope),
        (false, true) => format!("the rails that would form it are not all there; {} lists them", board.id),
    };
    found.absence(ChannelKind::Power, "total", cause);
    Vec::new()
}

fn ina3221(root: &Root, device: &Hwmon, found: &mut Discovery, rails: &mut Vec<Found>) {
    let number = |attribute: &str| root.read_number(&device.path(attribute)).ok();
    let samples = number("samples").and_then(|value| u32::try_from(value).ok());
    let update_interval = number("update_interval").and_then(|ms| u64::try_from(ms).ok());
    for input in 1..=INA3221_RAILS {
        let unnamed = format!("{}.in{input}", device.bus_address());
        let label = root.read_text(&device.path(&format!("in{input}_label"))).unwrap_or_default();
        if number(&format!("in{input}_enable")) == Some(0) {
            let name = if label.is_empty() { &unnamed } else { &label };
            found.absence(ChannelKind::Power, name, "the monitor's input is disabled (in_enable is 0)");
            continue;
        }
        if label.is_empty() || label == "NC" {
            let cause = "the monitor's input is not connected (no label, or NC)";
            found.absence(ChannelKind::Power, &unnamed, cause);
            continue;
        }
        let shunt = number(&format!("shunt{input}_resistor")).and_then(|value| u32::try_from(value).ok());
        let (volts, amps) = (format!("in{input}_input"), format!("curr{input}_input"));
        check_grid(&label, number(&volts), number(&amps), shunt, found);
        let source = format!("{} x {amps}", device.path(&volts));
        let settings = RailSettings {
            samples,
            update_interval: update_interval.map(|ms| Nanos(ms * 1_000_000)),
            shunt_uohm: shunt,
        };
        match product(root, &device.path(&volts), &device.path(&amps)) {
            Ok(meter) => rails.push(Found { label, source, meter, volts: None, settings }),
            Err(error) => found.unreadable(ChannelKind::Power, &label, &error),
        }
    }
}

fn product(root: &Root, volts: &str, amps: &str) -> Result<Meter, ReadError> {
    Ok(Meter::Product { volts: root.open_value(volts)?, amps: root.open_value(amps)? })
}

/// Notes readings that an INA3221 cannot give: another driver's scaling, or a fabricated tree.
fn check_grid(label: &str, mv: Option<i64>, ma: Option<i64>, shunt: Option<u32>, found: &mut Discovery) {
    if let Some(mv) = mv.filter(|mv| mv % INA3221_BUS_LSB_MV != 0) {
        found.notes.push(format!("rail {label} reads {mv} mV, which is not a multiple of 8 mV"));
    }
    if let (Some(ma), Some(shunt)) = (ma, shunt.filter(|shunt| *shunt > 0)) {
        let step_ma = INA3221_SHUNT_LSB_UV as f64 * 1000.0 / f64::from(shunt);
        let steps = ma as f64 / step_ma;
        if (steps - steps.round()).abs() * step_ma > 1.0 {
            let note = format!("rail {label} reads {ma} mA, which is not a multiple of {step_ma:.1} mA");
            found.notes.push(note);
        }
    }
}

/// Monitors that compute power themselves, in microwatts.
fn power_inputs(root: &Root, board: &Board, device: &Hwmon, all: &[Hwmon], rails: &mut Vec<Found>) {
    for number in device.numbers(root, "power", "_input") {
        let attribute = format!("power{number}_input");
        let key = format!("{}/{attribute}", device.name);
        let label = board.power.rails.get(&key).cloned().or_else(|| {
            let label = root.read_text(&device.path(&format!("power{number}_label")));
            label.or_else(|_| root.read_text(&device.path("label"))).ok().filter(|text| !text.is_empty())
        });
        let alike = all.iter().filter(|other| other.name == device.name).count();
        let place = if alike > 1 { format!("@{}", device.bus_address()) } else { String::new() };
        let label = label.unwrap_or_else(|| format!("{}.power{number}{place}", device.name));
        let path = device.path(&attribute);
        if let Ok(power) = root.open_value(&path) {
            let volts = root.open_value(&device.path("in1_input")).ok();
            let meter = Meter::Direct { power, divide: 1000 };
            rails.push(Found { volts, ..Found::new(label, path, meter) });
        }
    }
}

/// The INA3221 driver of JetPack 4, which computes power in milliwatts.
fn iio(root: &Root, found: &mut Discovery, rails: &mut Vec<Found>) {
    let base = "/sys/bus/i2c/drivers/ina3221x";
    for device in root.list(base).unwrap_or_default() {
        let entries = root.list(&format!("{base}/{device}")).unwrap_or_default();
        for entry in entries.iter().filter(|entry| entry.starts_with("iio:device")) {
            let Ok(dir) = root.resolve(&format!("{base}/{device}/{entry}")) else { continue };
            for input in 0..INA3221_RAILS {
                iio_rail(root, &dir, input, found, rails);
            }
        }
    }
}

fn iio_rail(root: &Root, dir: &str, input: u32, found: &mut Discovery, rails: &mut Vec<Found>) {
    let Ok(label) = root.read_text(&format!("{dir}/rail_name_{input}")) else { return };
    if label.is_empty() || label == "NC" {
        return;
    }
    let source = format!("{dir}/in_power{input}_input");
    match root.open_value(&source) {
        Ok(power) => {
            let volts = root.open_value(&format!("{dir}/in_voltage{input}_input")).ok();
            let meter = Meter::Direct { power, divide: 1 };
            rails.push(Found { volts, ..Found::new(label, source, meter) });
        }
        Err(error) => found.unreadable(ChannelKind::Power, &label, &error),
    }
}

fn supply_voltages(root: &Root, board: &Board, devices: &[Hwmon], found: &mut Discovery) {
    let mut values = crate::values::Values::new(Tier::Medium);
    for device in devices {
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
struct Rails {
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

impl Rails {
    fn assemble(rails: Vec<Found>, total: &[usize], board: &Board, found: &mut Discovery) {
        let mut probe = Self { sensed: Vec::new(), meters: Vec::new() };
        for (at, rail) in rails.into_iter().enumerate() {
            let in_total = total.contains(&at);
            let role = if in_total { Role::TotalPower } else { Role::Context };
            let channel = found.channel(ChannelKind::Power, &rail.label, role);
            let parent = board.power.downstream.get(&rail.label);
            let meaning = parent.map(|parent| format!("part of {parent}: not added to the total"));
            found.rails.push((channel.id.clone(), rail.settings));
            let source = rail.source.clone();
            probe.sensed.push(Sensed { channel, source: rail.source, meaning });
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

impl Probe for Rails {
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
    /// Power in mW, and the voltage in mV that it was computed from.
    fn read(&mut self, at: Nanos) -> (Reading, Reading) {
        let millis = Decode::Integer(1, 1);
        match self {
            Self::Product { volts, amps } => {
                let (volts, amps) = (millis.read(volts), millis.read(amps));
                let power = volts.and_then(|mv| amps.map(|ma| (mv * ma + 500).div_euclid(1000)));
                (power.and_then(narrow), volts.and_then(narrow))
            }
            Self::Direct { power, divide } => {
                (Decode::Integer(1, *divide).read(power).and_then(narrow), Err(Fault::Unparsable))
            }
            Self::Energy(counter) => (counter.read(at), Err(Fault::Unparsable)),
        }
    }
}

#[cfg(test)]
#[path = "power_tests.rs"]
mod tests;
