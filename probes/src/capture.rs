//! A board's tree as one file: everything that probes look at, and what new ones might.
//!
//! Only attributes on a list are taken, so that serial numbers, MAC addresses, host and user names are
//! never read; what could carry one anyway (`/proc/cpuinfo`, labels) is filtered. Alarm files are left
//! alone because reading them clears them. Values that cannot be read are kept with their error.

use crate::board::{Pattern, any_match};
use crate::content::Content;
use crate::root::{Root, RootError};
use crate::tree::Tree;
use std::path::{Path, PathBuf};

/// Directories whose entries are devices, the attributes taken of each, and links into further ones.
const DEVICES: [(&str, &[&str]); 6] = [
    (
        "/sys/class/hwmon",
        &[
            "name",
            "label",
            "*_label",
            "in*_input",
            "in*_enable",
            "curr*_input",
            "curr*_crit",
            "curr*_max",
            "power*_input",
            "power*_average",
            "temp*_input",
            "temp*_max",
            "temp*_crit",
            "fan*_input",
            "pwm?",
            "pwm??",
            "rpm",
            "shunt*_resistor",
            "samples",
            "update_interval",
            "oc*_event_cnt",
            "oc*_throt_en",
        ],
    ),
    (
        "/sys/class/thermal",
        &[
            "type",
            "temp",
            "mode",
            "policy",
            "trip_point_*_temp",
            "trip_point_*_type",
            "trip_point_*_hyst",
            "cdev*_trip_point",
            "cdev*/type",
            "cur_state",
            "max_state",
        ],
    ),
    (
        "/sys/class/devfreq",
        &[
            "cur_freq",
            "min_freq",
            "max_freq",
            "governor",
            "load",
            "available_frequencies",
            "device/load",
            "device/of_node/name",
            "device/power/runtime_status",
        ],
    ),
    (
        "/sys/class/powercap",
        &[
            "name",
            "energy_uj",
            "max_energy_range_uj",
            "enabled",
            "constraint_*_name",
            "constraint_*_power_limit_uw",
        ],
    ),
    (
        "/sys/devices/system/cpu",
        &[
            "online",
            "cpufreq/affected_cpus",
            "cpufreq/related_cpus",
            "cpufreq/scaling_*_freq",
            "cpufreq/scaling_governor",
            "cpufreq/scaling_driver",
            "cpufreq/scaling_available_frequencies",
            "cpufreq/scaling_available_governors",
            "cpufreq/cpuinfo_*_freq",
            "thermal_throttle/*_throttle_count",
            "topology/physical_package_id",
        ],
    ),
    (
        "/sys/devices/system/cpu/cpufreq",
        &[
            "affected_cpus",
            "related_cpus",
            "scaling_*_freq",
            "scaling_governor",
            "scaling_driver",
            "scaling_available_frequencies",
            "scaling_available_governors",
            "cpuinfo_*_freq",
        ],
    ),
];

/// Power monitors by driver: the attributes of each device below them.
const MONITORS: [(&str, &[&str]); 3] = [
    (
        "/sys/bus/i2c/drivers/ina3221x",
        &[
            "iio:device*/name",
            "iio:device*/rail_name_*",
            "iio:device*/in_*_input",
            "iio:device*/*_current_limit_*",
        ],
    ),
    ("/sys/bus/i2c/drivers/ina3221", &["hwmon/*/name"]),
    ("/sys/bus/i2c/drivers/ina238", &["hwmon/*/name"]),
];

/// Single files, and files by pattern in one directory.
const FILES: [&str; 46] = [
    "/proc/device-tree/model",
    "/proc/device-tree/compatible",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/pressure/memory",
    "/proc/sys/kernel/osrelease",
    "/etc/os-release",
    "/etc/nv_tegra_release",
    "/etc/nvpmodel.conf",
    "/var/lib/nvpmodel/status",
    "/sys/class/dmi/id/sys_vendor",
    "/sys/class/dmi/id/product_name",
    "/sys/class/dmi/id/board_vendor",
    "/sys/class/dmi/id/board_name",
    "/sys/hypervisor/type",
    "/sys/devices/soc0/machine",
    "/sys/devices/soc0/family",
    "/sys/devices/soc0/soc_id",
    "/sys/devices/soc0/revision",
    "/run/systemd/container",
    "/.dockerenv",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/offline",
    "/sys/devices/system/cpu/present",
    "/sys/devices/system/cpu/intel_pstate/no_turbo",
    "/sys/devices/platform/soc/soc:firmware/get_throttled",
    "/sys/devices/pwm-fan/target_pwm",
    "/sys/devices/pwm-fan/cur_pwm",
    "/sys/devices/pwm-fan/rpm_measured",
    "/sys/devices/gpu.0/load",
    "/sys/module/tegra_fuse/parameters/tegra_chip_id",
    "/sys/kernel/nvpmodel_clk_cap/*",
    "/sys/kernel/nvpmodel_emc_cap/*",
    "/sys/kernel/actmon_avg_activity/mc_all",
    "/sys/kernel/debug/cactmon/mc_all",
    "/sys/kernel/debug/bpmp/debug/actmon/mc_all_avg_activity",
    "/sys/kernel/debug/bpmp/debug/clk/emc/rate",
    "/sys/kernel/debug/bpmp/debug/clk/emc/min_rate",
    "/sys/kernel/debug/bpmp/debug/clk/emc/max_rate",
    "/sys/kernel/debug/bpmp/debug/soctherm/*_throt_status",
    "/sys/kernel/debug/clk/override.emc/clk_rate",
    "/sys/kernel/debug/tegra_bwmgr/emc_max_rate",
    "/sys/kernel/debug/tegra_bwmgr/emc_min_rate",
    "/sys/kernel/debug/rknpu/load",
];

/// Files whose whole text can be long: only the start up to an empty line is taken.
const FIRST_PARAGRAPH: &str = "/proc/cpuinfo";
/// Keys of `/proc/cpuinfo` that name one device.
const IDENTIFYING: [&str; 2] = ["Serial", "serial"];

/// [`Root::open`], with capture files laid over it in order. Over a live system or a directory, what probes
/// look at is captured first.
///
/// # Errors
/// When `path` or an overlay cannot be opened or is in another format.
pub fn open(path: &Path, overlays: &[PathBuf]) -> Result<Root, RootError> {
    let root = Root::open(path)?;
    if overlays.is_empty() {
        return Ok(root);
    }
    let mut tree = root.into_tree().unwrap_or_else(|root| capture(&root));
    for overlay in overlays {
        let text = std::fs::read_to_string(overlay)
            .map_err(|source| RootError::Open { path: overlay.clone(), source })?;
        tree.apply(&text).map_err(|source| RootError::Format { path: overlay.clone(), source })?;
    }
    Ok(Root::stored(tree))
}

/// Everything that probes look at under `root`.
#[must_use]
pub fn capture(root: &Root) -> Tree {
    let mut tree = Tree::default();
    for (base, attributes) in DEVICES.iter().chain(&MONITORS) {
        for device in root.list(base).unwrap_or_default() {
            for attribute in *attributes {
                include(root, &mut tree, &format!("{base}/{device}"), attribute);
            }
        }
    }
    for file in FILES {
        include(root, &mut tree, "", file.trim_start_matches('/'));
    }
    tree
}

/// Takes every file below `dir` that the pattern names, one component after the other.
fn include(root: &Root, tree: &mut Tree, dir: &str, pattern: &str) {
    let (first, rest) = match pattern.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (pattern, None),
    };
    let names = if first.contains(['*', '?']) {
        let listed = root.list(dir).unwrap_or_default();
        listed.into_iter().filter(|name| fits(first, name)).collect()
    } else {
        vec![first.to_owned()]
    };
    for name in names {
        let path = format!("{dir}/{name}");
        match rest {
            Some(rest) => include(root, tree, &path, rest),
            None => include_file(root, tree, &path),
        }
    }
}

/// `*` for any text and `?` for one digit; alarm files never fit.
fn fits(pattern: &str, name: &str) -> bool {
    if name.contains("alarm") {
        return false;
    }
    if pattern.contains('?') {
        let digits = pattern.matches('?').count();
        let stem = name.strip_prefix(pattern.trim_end_matches('?'));
        return stem
            .is_some_and(|stem| stem.len() == digits && stem.bytes().all(|byte| byte.is_ascii_digit()));
    }
    any_match(&[Pattern::new(pattern)], name)
}

/// Puts the file at `path` into `tree`, with every link on the way.
fn include_file(root: &Root, tree: &mut Tree, path: &str) {
    let content = match root.read_bytes(path) {
        Ok(bytes) => Content::from_file_bytes(cleaned(path, bytes)),
        Err(error) => match error.errno() {
            // What is not there, or is a directory, is not part of the tree.
            None | Some(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::ISDIR) => {
                return;
            }
            Some(errno) => Content::Fails(errno),
        },
    };
    let mut pending: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut done = String::new();
    let mut links = 0;
    while let Some(part) = pending.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                done.truncate(done.rfind('/').unwrap_or(0));
                continue;
            }
            _ => {}
        }
        let next = format!("{done}/{part}");
        match root.link_target(&next).filter(|_| links < 40) {
            Some(target) => {
                links += 1;
                tree.insert_link(&next, &target);
                if target.starts_with('/') {
                    done.clear();
                }
                pending.extend(target.split('/').rev().map(str::to_owned));
            }
            None => done = next,
        }
    }
    tree.insert_file(&done, content);
}

/// The bytes without what names one device.
fn cleaned(path: &str, bytes: Vec<u8>) -> Vec<u8> {
    let Ok(text) = String::from_utf8(bytes) else { return Vec::new() };
    let text = if path == FIRST_PARAGRAPH {
        let lines = text.lines().filter(|line| !IDENTIFYING.iter().any(|key| line.starts_with(key)));
        let lines: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
        lines.join("\n") + "\n"
    } else {
        text
    };
    without_mac_addresses(&text).into_bytes()
}

/// Replaces the digits of anything that looks like a MAC address.
fn without_mac_addresses(text: &str) -> String {
    const LENGTH: usize = 17;
    let mut bytes = text.as_bytes().to_vec();
    for start in 0..bytes.len().saturating_sub(LENGTH - 1) {
        let window = &bytes[start..start + LENGTH];
        let looks = window.iter().enumerate().all(|(at, byte)| match at % 3 {
            2 => matches!(byte, b':' | b'-'),
            _ => byte.is_ascii_hexdigit(),
        });
        if looks {
            let digits = bytes[start..start + LENGTH].iter_mut().filter(|byte| byte.is_ascii_hexdigit());
            digits.for_each(|byte| *byte = b'0');
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_one_device_is_left_out() {
        let root = Root::stored(
        Tree::parse(
            "/proc/cpuinfo\tprocessor\\t: 0\\nSerial\\t\\t: 10000000abcdef01\\nmodel name : A\\n\\nprocessor\\t: 1\\n\n\
             /proc/device-tree/serial-number\t1423019041234\n\
             /sys/class/dmi/id/product_serial\tPF1234\n\
             /sys/class/dmi/id/product_uuid\t4c4c4544\n\
             /sys/class/net/eth0/address\t48:b0:2d:12:34:56\n\
             /sys/class/hwmon/hwmon0/name\tphy\n\
             /sys/class/hwmon/hwmon0/temp1_label\t48:b0:2d:12:34:56\n\
             /sys/class/hwmon/hwmon0/in1_crit_alarm\t1\n\
             /sys/class/hwmon/hwmon0/temp1_input\t5000\n",
        )
        .unwrap(),
    );
        let text = capture(&root).to_text();
        for secret in ["abcdef01", "1423019", "PF1234", "4c4c4544", "48:b0", "alarm"] {
            assert!(!text.contains(secret), "{secret} in\n{text}");
        }
        assert!(text.contains("model name : A") && text.contains("temp1_input\t5000"), "{text}");
    }

    #[test]
    fn attributes_are_taken_by_pattern() {
        for (pattern, name, expected) in [
            ("pwm?", "pwm1", true),
            ("pwm?", "pwm1_enable", false),
            ("pwm??", "pwm12", true),
            ("in*_input", "in1_input", true),
            ("curr*_crit", "curr1_crit_alarm", false),
            ("*_label", "in1_label", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
