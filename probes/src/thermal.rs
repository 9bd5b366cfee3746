//! Temperatures: thermal zones by type, and hwmon sensors that no zone shows.
//!
//! Zones that the board file calls constants are dropped. Trip points that slow nothing down (by the
//! board file, or because only harmless cooling devices are bound to them) are left out, so that a
//! temperature above a listed trip means something. The *chip's zones* are those that the start gate, the
//! temperature limit and the thermal cause look at: the first of the board file's alternatives of which a
//! zone can be read, else every temperature that could be the chip's.

use crate::absence::AbsenceCause;
use crate::board::{Board, any_match};
use crate::hwmon::Hwmon;
use crate::probe::{ChipZones, Discovery, Tier, plausible};
use crate::root::Root;
use crate::values::{Decode, Values};
use clipmark_profile::channel::{ChannelKind, Role};

const ZONES: &str = "/sys/class/thermal";
/// Of a device with many sensors, those that stand for all: one read instead of one per core.
const SUMMARIES: [&str; 5] = ["Package id", "Physical id", "Tctl", "Tdie", "Composite"];
/// Limits below the first and above the second are a driver's way to say that there is none.
const TRIPS_MILLICELSIUS: (i64, i64) = (1, 200_000);

/// A sensor before its role is decided.
#[derive(Debug)]
struct Found {
    name: String,
    path: String,
    trips: Vec<(String, i32)>,
}

/// Finds every temperature.
pub(crate) fn discover(root: &Root, board: &Board, found: &mut Discovery) {
    let mut sensors = zones(root, board, found);
    for device in Hwmon::all(root).iter().filter(|device| !device.mirrors_a_zone()) {
        sensors.extend(hwmon_sensors(root, board, device));
    }
    let (kind, chip) = chip_zones(root, board, &sensors);
    found.chip_zones = kind;
    let mut values = Values::new(Tier::Medium);
    let mut names = Vec::new();
    for (at, sensor) in sensors.iter().enumerate() {
        let role = if chip.contains(&at) { Role::Junction } else { Role::Context };
        let channel = found.channel(ChannelKind::Temperature, &sensor.name, role);
        if role == Role::Junction {
            names.push(channel.id.clone());
        }
        let trips = sensor.trips.iter().map(|(kind, at)| (channel.id.clone(), kind.clone(), *at));
        found.trips.extend(trips);
        values.add(root, found, channel, &sensor.path, Decode::Integer(1, 1));
    }
    if kind == ChipZones::Hottest {
        found.notes.push(format!(
            "no temperature is known to be the chip's: the start gate, the temperature limit and the thermal cause look at the hottest of {}",
            names.join(", ")
        ));
    }
    if sensors.is_empty() {
        let cause = "no thermal zone and no hwmon temperature here";
        found.absence(ChannelKind::Temperature, "any", AbsenceCause::NoSource(cause));
    }
    values.finish(found);
}

/// Indices of the sensors that stand for the chip, and how that is known.
fn chip_zones(root: &Root, board: &Board, sensors: &[Found]) -> (ChipZones, Vec<usize>) {
    let readable: Vec<bool> = sensors.iter().map(|sensor| sensor.is_readable(root)).collect();
    let that = |fits: &dyn Fn(&str) -> bool| {
        let fitting = sensors.iter().enumerate().filter(|(_, sensor)| fits(&sensor.name));
        fitting.map(|(at, _)| at).collect::<Vec<usize>>()
    };
    let named = board.thermal.junction.iter().map(|patterns| that(&|name| any_match(patterns, name)));
    let named: Vec<Vec<usize>> = named.filter(|zones| !zones.is_empty()).collect();
    if let Some(zones) = named.iter().find(|zones| zones.iter().any(|at| readable[*at])) {
        return (ChipZones::Known, zones.clone());
    }
    let mut others = that(&|name| !any_match(&board.thermal.elsewhere, name));
    // A card in a slot is not the chip that runs this program.
    others.retain(|at| readable[*at] && !sensors[*at].path.contains("/pci"));
    match (others.is_empty(), named.into_iter().next()) {
        (false, _) => (ChipZones::Hottest, others),
        // None of them can be read now; a unit that is off may wake up.
        (true, Some(zones)) => (ChipZones::Known, zones),
        (true, None) => (ChipZones::None, Vec::new()),
    }
}

impl Found {
    fn is_readable(&self, root: &Root) -> bool {
        let value = root.read_number(&self.path).ok().and_then(|value| i32::try_from(value).ok());
        value.is_some_and(|value| plausible(ChannelKind::Temperature, value).is_ok())
    }
}

fn zones(root: &Root, board: &Board, found: &mut Discovery) -> Vec<Found> {
    let mut sensors = Vec::new();
    for zone in root.list(ZONES).unwrap_or_default() {
        if !zone.starts_with("thermal_zone") {
            continue;
        }
        let dir = format!("{ZONES}/{zone}");
        let Ok(name) = root.read_text(&format!("{dir}/type")) else { continue };
        if any_match(&board.thermal.drop, &name) {
            let cause = AbsenceCause::Constant { board: board.id.clone() };
            found.absence(ChannelKind::Temperature, &name, cause);
            continue;
        }
        let trips = trips(root, board, &dir, &name);
        sensors.push(Found { name, path: format!("{dir}/temp"), trips });
    }
    sensors
}

fn trips(root: &Root, board: &Board, dir: &str, zone: &str) -> Vec<(String, i32)> {
    let mut trips = Vec::new();
    for name in root.list(dir).unwrap_or_default() {
        let number = name.strip_prefix("trip_point_").and_then(|rest| rest.strip_suffix("_temp"));
        let Some(number) = number else { continue };
        let Ok(kind) = root.read_text(&format!("{dir}/trip_point_{number}_type")) else { continue };
        let Ok(at) = root.read_number(&format!("{dir}/{name}")) else { continue };
        let Some(at) = trip_value(at) else { continue };
        let listed = board
            .thermal
            .decoy_trips
            .iter()
            .any(|decoy| decoy.zone.matches(zone) && decoy.kind == kind && decoy.millicelsius == at);
        if !listed && !bound_to_harmless(root, board, dir, number) {
            trips.push((kind, at));
        }
    }
    trips
}

/// A trip point or limit that is set.
fn trip_value(at: i64) -> Option<i32> {
    let (low, high) = TRIPS_MILLICELSIUS;
    i32::try_from(at).ok().filter(|_| (low..high).contains(&at))
}

/// Whether cooling devices are bound to a trip and none of them slows anything down.
fn bound_to_harmless(root: &Root, board: &Board, dir: &str, trip: &str) -> bool {
    let names = root.list(dir).unwrap_or_default();
    let bindings = names.iter().filter_map(|name| name.strip_suffix("_trip_point"));
    let bound = bindings.filter(|device| {
        root.read_text(&format!("{dir}/{device}_trip_point")).is_ok_and(|bound| bound == trip)
    });
    let kinds: Vec<String> =
        bound.filter_map(|device| root.read_text(&format!("{dir}/{device}/type")).ok()).collect();
    !kinds.is_empty() && kinds.iter().all(|kind| any_match(&board.harmless, kind))
}

fn hwmon_sensors(root: &Root, board: &Board, device: &Hwmon) -> Vec<Found> {
    let numbers = device.numbers(root, "temp", "_input");
    let label = |number: u32| root.read_text(&device.path(&format!("temp{number}_label"))).ok();
    let summary = |number: u32| {
        label(number).is_some_and(|label| SUMMARIES.iter().any(|summary| label.starts_with(summary)))
    };
    let summaries: Vec<u32> = numbers.iter().copied().filter(|number| summary(*number)).collect();
    let chosen = if summaries.is_empty() { numbers } else { summaries };
    let several = chosen.len() > 1;
    let sensor = |number: u32| {
        let name = match label(number) {
            Some(label) => format!("{}.{}", device.name, label.replace(' ', "-")),
            None if several => format!("{}.temp{number}", device.name),
            None => device.name.clone(),
        };
        let limit = |attribute: &str, kind: &str| {
            let at = root.read_number(&device.path(&format!("temp{number}_{attribute}"))).ok()?;
            Some((kind.to_owned(), trip_value(at)?))
        };
        let trips = [limit("max", "max"), limit("crit", "critical")].into_iter().flatten().collect();
        Found { name, path: device.path(&format!("temp{number}_input")), trips }
    };
    let sensors = chosen.into_iter().map(sensor);
    sensors.filter(|sensor| !any_match(&board.thermal.drop, &sensor.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Boards, Fingerprint};
    use crate::tree::Tree;

    /// The zones that stand for the chip, of an unknown board with these zones.
    fn chip(zones: &[(&str, &str)]) -> (ChipZones, Vec<String>) {
        let lines = zones.iter().enumerate().map(|(at, (name, temp))| {
            let zone = format!("/sys/class/thermal/thermal_zone{at}");
            format!("{zone}/type\t{name}\n{zone}/temp\t{temp}\n")
        });
        let root = Root::stored(Tree::parse(&lines.collect::<String>()).unwrap());
        let board = Boards::embedded().unwrap().find(&Fingerprint::default());
        let mut found = Discovery::default();
        discover(&root, &board, &mut found);
        let channels = found.probes.iter().flat_map(|probe| probe.channels());
        let chip = channels.filter(|sensed| sensed.channel.role == Role::Junction);
        (found.chip_zones, chip.map(|sensed| sensed.channel.id.clone()).collect())
    }

    #[test]
    fn the_chips_zones_are_known_by_name_else_the_hottest_of_all_that_could_be() {
        let known = chip(&[("cpu0-thermal", "50000"), ("gpuss1-thermal", "49000"), ("ddr", "48000")]);
        assert_eq!(known, (ChipZones::Known, vec!["temp.cpu0-thermal".into(), "temp.gpuss1-thermal".into()]));
        let unnamed = chip(&[("main0-thermal", "50000"), ("acpitz", "25000"), ("BAT0", "30000")]);
        assert_eq!(unnamed, (ChipZones::Hottest, vec!["temp.main0-thermal".into()]));
        let none = chip(&[("acpitz", "25000"), ("INT3400 Thermal", "20000"), ("iwlwifi_1", "40000")]);
        assert_eq!(none, (ChipZones::None, Vec::new()));
    }

    #[test]
    fn a_named_zone_that_cannot_be_read_gives_way_to_one_that_can() {
        let off = chip(&[("tj-thermal", "-256000"), ("cpu-thermal", "50000")]);
        assert_eq!(off, (ChipZones::Known, vec!["temp.cpu-thermal".into()]));
        let closed = chip(&[("cpu-thermal", "!EACCES"), ("vdd-thermal", "50000")]);
        assert_eq!(closed, (ChipZones::Hottest, vec!["temp.vdd-thermal".into()]));
        let asleep = chip(&[("gpu-thermal", "!EAGAIN"), ("acpitz", "25000")]);
        assert_eq!(asleep, (ChipZones::Known, vec!["temp.gpu-thermal".into()]));
    }

    #[test]
    fn trips_that_are_not_set_are_none() {
        for (at, expected) in [(99_000, Some(99_000)), (0, None), (-274_000, None), (2_147_483_647, None)] {
            assert_eq!(trip_value(at), expected, "{at}");
        }
    }
}
