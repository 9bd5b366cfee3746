//! Throttling that the hardware or the firmware does by itself, beside the thermal framework.
//!
//! Over-current counters of Jetson boards are cumulative since boot and arrive in bursts of about two
//! seconds: a rate means something, a single value does not. What each counter stands for is the board
//! file's knowledge. Alarm files are left alone: reading them clears them.

use crate::absence::AbsenceCause;
use crate::board::Board;
use crate::hwmon::Hwmon;
use crate::probe::{Discovery, Tier};
use crate::root::{Handle, Root};
use crate::values::{Decode, Values};
use clipmark_profile::channel::{ChannelKind, Role};

const BPMP: &str = "/sys/kernel/debug/bpmp/debug/soctherm";
const FIRMWARE_FLAGS: &str = "/sys/devices/platform/soc/soc:firmware/get_throttled";
const CPUS: &str = "/sys/devices/system/cpu";

/// Finds every throttle counter and flag.
pub(crate) fn discover(root: &Root, board: &Board, found: &mut Discovery) {
    let mut slow = Values::new(Tier::Slow);
    let has_counters = over_current(root, board, &mut slow, found);
    for unit in ["cpu", "gpu"] {
        let path = format!("{BPMP}/{unit}_throt_status");
        if has_counters || root.exists(&path) {
            let channel = found.channel(ChannelKind::ThrottleFlags, unit, Role::Throttles);
            slow.add(root, found, channel, &path, Decode::Integer(1, 1));
        }
    }
    throttle_counts(root, &mut slow, found);
    slow.finish(found);

    if root.exists(FIRMWARE_FLAGS) {
        let mut medium = Values::new(Tier::Medium);
        let channel = found.channel(ChannelKind::ThrottleFlags, "firmware", Role::Context);
        let id = channel.id.clone();
        medium.add(root, found, channel, FIRMWARE_FLAGS, Decode::Hexadecimal);
        medium.explain(
            &id,
            "bit 0 under-voltage, 1 clock capped, 2 throttled, 3 soft temperature limit; bits 16 to 19 the same since boot",
        );
        medium.finish(found);
    }
}

/// Adds the counters of soctherm; whether there are any.
fn over_current(root: &Root, board: &Board, slow: &mut Values, found: &mut Discovery) -> bool {
    let mut any = false;
    for device in Hwmon::all(root).iter().filter(|device| device.name == "soctherm_oc") {
        for number in device.numbers(root, "oc", "_event_cnt") {
            any = true;
            let name = format!("oc{number}");
            let channel = found.channel(ChannelKind::OverCurrent, &name, Role::Context);
            let id = channel.id.clone();
            let path = device.path(&format!("oc{number}_event_cnt"));
            slow.add(root, found, channel, &path, Decode::Integer(1, 1));
            let meaning =
                board.over_current.get(&name).map_or("over-current of unknown kind", String::as_str);
            let enabled = root.read_number(&device.path(&format!("oc{number}_throt_en")));
            match enabled {
                Ok(0) => slow.explain(&id, &format!("{meaning}; counted without throttling (throt_en is 0)")),
                _ => slow.explain(&id, meaning),
            }
        }
    }
    if !any {
        let note = board.notes.get("overcurrent").cloned().map(AbsenceCause::Board);
        let cause = note.unwrap_or(AbsenceCause::NotKnown);
        found.absence(ChannelKind::OverCurrent, "any", cause);
    }
    any
}

/// Throttle events of x86 CPUs: per package from its first CPU, and the sum over cores.
fn throttle_counts(root: &Root, slow: &mut Values, found: &mut Discovery) {
    let mut packages = std::collections::BTreeMap::new();
    let mut cores: Vec<Handle> = Vec::new();
    for cpu in root.list(CPUS).unwrap_or_default() {
        let dir = format!("{CPUS}/{cpu}");
        if let Ok(handle) = root.open_value(&format!("{dir}/thermal_throttle/core_throttle_count")) {
            cores.push(handle);
            let package = root.read_number(&format!("{dir}/topology/physical_package_id")).unwrap_or(0);
            packages.entry(package).or_insert(format!("{dir}/thermal_throttle/package_throttle_count"));
        }
    }
    for (package, path) in packages {
        let channel = found.channel(ChannelKind::ThrottleCount, &format!("package-{package}"), Role::Context);
        slow.add(root, found, channel, &path, Decode::Integer(1, 1));
    }
    if !cores.is_empty() {
        let channel = found.channel(ChannelKind::ThrottleCount, "cores", Role::Context);
        let source = format!("{CPUS}/cpu*/thermal_throttle/core_throttle_count");
        slow.push(channel, source, cores, Decode::Integer(1, 1));
    }
}
