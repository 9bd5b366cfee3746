//! Power monitors on a bus: INA3221 and its kin through hwmon or iio.
//!
//! Left out on purpose: the INA3221's sum channels (`in7`, `curr4`) and shunt voltages (`in4` to `in6`), which
//! are no rails; disabled and unconnected inputs; alarm files, whose reading clears flags. A rail that is there
//! and may not be read is refused with its error, and never silently missing.

use crate::absence::AbsenceCause;
use crate::board::{Board, any_match};
use crate::hwmon::Hwmon;
use crate::probe::{Discovery, RailSettings};
use crate::rails::{Meter, Rail, Rails};
use crate::root::{ReadError, Root};
use clipmark_profile::channel::ChannelKind;
use clipmark_profile::units::Nanos;

/// Inputs of an INA3221 that are rails.
const INA3221_RAILS: u32 = 3;
/// Least significant bit of the INA3221's bus voltage in mV and of its shunt voltage in uV (data sheet,
/// section 8.6).
const INA3221_BUS_LSB_MV: i64 = 8;
const INA3221_SHUNT_LSB_UV: i64 = 40;
/// Power below this says nothing about a scale: monitors count in steps of up to 25 mW.
const LEAST_COMPARED_MW: i64 = 100;
/// A power register this many times above or below voltage times current contradicts it.
const CONTRADICTION: f64 = 2.0;

/// Finds the rails of every monitor.
pub(crate) fn discover(root: &Root, board: &Board, found: &mut Discovery, rails: &mut Rails) {
    let devices = Hwmon::all(root);
    for device in &devices {
        if device.name == "ina3221" {
            ina3221(root, device, found, rails);
        } else if !any_match(&board.power.ignore, &device.name) {
            power_inputs(root, board, device, &devices, found, rails);
        }
    }
    iio(root, found, rails);
}

fn ina3221(root: &Root, device: &Hwmon, found: &mut Discovery, rails: &mut Rails) {
    let number = |attribute: &str| root.read_number(&device.path(attribute)).ok();
    let samples = number("samples").and_then(|value| u32::try_from(value).ok());
    let update_interval = number("update_interval").and_then(|ms| u64::try_from(ms).ok());
    for input in 1..=INA3221_RAILS {
        let unnamed = format!("{}.in{input}", device.bus_address());
        let label = root.read_text(&device.path(&format!("in{input}_label"))).unwrap_or_default();
        if number(&format!("in{input}_enable")) == Some(0) {
            let name = if label.is_empty() { &unnamed } else { &label };
            found.absence(ChannelKind::Power, name, AbsenceCause::InputDisabled);
            continue;
        }
        if label.is_empty() || label == "NC" {
            found.absence(ChannelKind::Power, &unnamed, AbsenceCause::InputUnconnected);
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
            Ok(meter) => rails.push(Rail { settings, ..Rail::new(label, source, meter) }),
            Err(error) => rails.refuse(label, error, found),
        }
    }
}

fn product(root: &Root, volts: &str, amps: &str) -> Result<Meter, ReadError> {
    Ok(Meter::Product { volts: root.open_value(volts)?, amps: root.open_value(amps)? })
}

/// Notes readings that an INA3221 cannot give: another driver's scaling, or a fabricated tree.
pub(crate) fn check_grid(
    label: &str,
    mv: Option<i64>,
    ma: Option<i64>,
    shunt: Option<u32>,
    found: &mut Discovery,
) {
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

/// Monitors that compute power themselves, in microwatts: as it is, or as an average where that is all.
fn power_inputs(
    root: &Root,
    board: &Board,
    device: &Hwmon,
    all: &[Hwmon],
    found: &mut Discovery,
    rails: &mut Rails,
) {
    let now = device.numbers(root, "power", "_input");
    let averages =
        device.numbers(root, "power", "_average").into_iter().filter(|number| !now.contains(number));
    let attributes =
        now.iter().map(|number| (*number, "input")).chain(averages.map(|number| (number, "average")));
    for (number, form) in attributes {
        let attribute = format!("power{number}_{form}");
        let key = format!("{}/{attribute}", device.name);
        let label = board.power.rails.get(&key).cloned().or_else(|| {
            let label = root.read_text(&device.path(&format!("power{number}_label")));
            label.or_else(|_| root.read_text(&device.path("label"))).ok().filter(|text| !text.is_empty())
        });
        let alike = all.iter().filter(|other| other.name == device.name).count();
        let place = if alike > 1 { format!("@{}", device.bus_address()) } else { String::new() };
        let label = label.unwrap_or_else(|| format!("{}.power{number}{place}", device.name));
        let path = device.path(&attribute);
        match root.open_value(&path) {
            Ok(power) => {
                rails.push(direct(root, device, number, label, path, Meter::microwatts(power), found))
            }
            Err(error) => rails.refuse(label, error, found),
        }
    }
}

/// A rail whose monitor computes power. The power register has no sign; the current's says which way it flows.
fn direct(
    root: &Root,
    device: &Hwmon,
    number: u32,
    label: String,
    path: String,
    mut meter: Meter,
    found: &mut Discovery,
) -> Rail {
    let current = device.path(&format!("curr{number}_input"));
    if let Meter::Direct { amps, .. } = &mut meter {
        *amps = root.open_value(&current).ok();
    }
    let power_mw = root.read_number(&path).ok().map(|uw| uw / 1000);
    let ma = root.read_number(&current).ok();
    let volts = device.numbers(root, "in", "_input");
    let volts =
        volts.iter().filter_map(|input| root.read_number(&device.path(&format!("in{input}_input"))).ok());
    found.notes.extend(contradiction(&label, power_mw, ma, &volts.collect::<Vec<i64>>()));
    let meaning = ma.is_some_and(|ma| ma < 0).then(|| {
        "negative values: the current flows the other way, as into a battery that charges".to_owned()
    });
    Rail { volts: root.open_value(&device.path("in1_input")).ok(), meaning, ..Rail::new(label, path, meter) }
}

/// A remark where the power register cannot be right, or voltage and current cannot: no voltage of the device
/// times its current comes near. With several voltages only a wrong unit is told apart from the wrong pair.
pub(crate) fn contradiction(
    label: &str,
    power_mw: Option<i64>,
    ma: Option<i64>,
    volts_mv: &[i64],
) -> Option<String> {
    let (power, ma) = (power_mw?.abs(), ma?.abs());
    let products = volts_mv.iter().map(|mv| (mv.abs() * ma + 500) / 1000);
    let products: Vec<i64> = products.filter(|product| power.max(*product) >= LEAST_COMPARED_MW).collect();
    let ratio = |product: i64| product.max(1) as f64 / power.max(1) as f64;
    let agrees = |product: &i64| (1.0 / CONTRADICTION..=CONTRADICTION).contains(&ratio(*product));
    if products.is_empty() || products.iter().any(agrees) {
        return None;
    }
    let by_thousands = |product: &i64| {
        let thousands = ratio(*product).log10() / 3.0;
        thousands.round() != 0.0 && (thousands - thousands.round()).abs() < 0.03
    };
    let product = products.iter().copied().find(by_thousands);
    let product = product.or_else(|| (volts_mv.len() == 1).then(|| products[0]))?;
    let factor = ratio(product).max(1.0 / ratio(product));
    Some(format!(
        "rail {label} reads {power} mW, but its voltage times its current is {product} mW: they contradict each other by a factor of {factor:.0}; its driver may give power in another unit"
    ))
}

/// The INA3221 driver of JetPack 4, which computes power in milliwatts.
fn iio(root: &Root, found: &mut Discovery, rails: &mut Rails) {
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

fn iio_rail(root: &Root, dir: &str, input: u32, found: &mut Discovery, rails: &mut Rails) {
    let Ok(label) = root.read_text(&format!("{dir}/rail_name_{input}")) else { return };
    if label.is_empty() || label == "NC" {
        return;
    }
    let source = format!("{dir}/in_power{input}_input");
    match root.open_value(&source) {
        Ok(power) => {
            let volts = root.open_value(&format!("{dir}/in_voltage{input}_input")).ok();
            let meter = Meter::Direct { power, divide: 1, amps: None };
            rails.push(Rail { volts, ..Rail::new(label, source, meter) });
        }
        Err(error) => rails.refuse(label, error, found),
    }
}
