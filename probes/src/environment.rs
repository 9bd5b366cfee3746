//! The machine and its software at the start of a run, with what weakens the figures.
//!
//! Every warning says what is the case, what it does to the figures, and which command changes it.

use crate::board::Board;
use crate::identity;
use crate::power_mode::PowerMode;
use crate::root::Root;
use clipmark_profile::environment::Environment;
use clipmark_profile::units::Bytes;

const CPUS: &str = "/sys/devices/system/cpu";
/// Load average, in hundredths, above which something else is running.
const BUSY_CENTI: u32 = 50;
/// Products of DMI that are virtual machines.
const VIRTUAL_PRODUCTS: [&str; 7] =
    ["KVM", "QEMU", "VMware", "VirtualBox", "Virtual Machine", "HVM domU", "Google Compute Engine"];

/// Reads everything about the machine under `root`. `clipmark` is the program's own version.
#[must_use]
pub fn read(root: &Root, board: &Board, clipmark: &str) -> Environment {
    let mut found = Environment {
        clipmark: clipmark.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        os: identity::os(root),
        kernel: root.read_text("/proc/sys/kernel/osrelease").ok(),
        board: identity::model(root),
        board_id: Some(board.id.clone()),
        l4t: identity::l4t(root),
        cpu: identity::cpu(root),
        cpus_online: root.read_text(&format!("{CPUS}/online")).ok().and_then(|list| count_cpus(&list)),
        governor: governors(root),
        virtualization: virtualization(root),
        ..Environment::default()
    };
    let meminfo = root.read_text("/proc/meminfo").unwrap_or_default();
    found.memory_total = memory_field(&meminfo, "MemTotal:");
    found.memory_available = memory_field(&meminfo, "MemAvailable:");
    found.swap_total = memory_field(&meminfo, "SwapTotal:");
    let load = root.read_text("/proc/loadavg").ok();
    let load = load.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    found.load_centi = load.map(|load| (load * 100.0).round() as u32);
    match PowerMode::read(root) {
        Ok(mode) => {
            found.power_mode = mode.as_ref().map(PowerMode::label);
            found.warnings.extend(mode.iter().filter_map(mode_warning));
        }
        Err(cause) => found.absent.push(("power_mode".to_owned(), cause)),
    }
    note_absences(&mut found);
    let warnings = warnings(root, &found);
    found.warnings.extend(warnings);
    found
}

fn mode_warning(mode: &PowerMode) -> Option<String> {
    let first = mode.contradictions.first()?;
    Some(format!(
        "the power mode {} is not in force: {first}; set it again with `sudo nvpmodel -m {}`, and reboot if it asks to",
        mode.label(),
        mode.id
    ))
}

fn note_absences(found: &mut Environment) {
    let missing = [
        ("os", found.os.is_none(), "no PRETTY_NAME in /etc/os-release"),
        ("kernel", found.kernel.is_none(), "/proc/sys/kernel/osrelease cannot be read"),
        ("board", found.board.is_none(), "neither a device tree nor DMI names the board"),
        ("cpu", found.cpu.is_none(), "/proc/cpuinfo does not name the CPU"),
        ("cpus_online", found.cpus_online.is_none(), "/sys/devices/system/cpu/online cannot be read"),
        ("governor", found.governor.is_none(), "no cpufreq policy: the kernel does not control the clock"),
        ("memory_total", found.memory_total.is_none(), "no MemTotal in /proc/meminfo"),
        ("memory_available", found.memory_available.is_none(), "no MemAvailable in /proc/meminfo"),
        ("swap_total", found.swap_total.is_none(), "no SwapTotal in /proc/meminfo"),
        ("load", found.load_centi.is_none(), "/proc/loadavg cannot be read"),
    ];
    for (name, _, cause) in missing.iter().filter(|(_, missing, _)| *missing) {
        found.absent.push(((*name).to_owned(), (*cause).to_owned()));
    }
}

fn warnings(root: &Root, found: &Environment) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(governor) = found.governor.as_deref().filter(|_| !clocks_are_held(root)) {
        let mend = lock_clocks_command(root);
        warnings.push(format!(
            "the CPU governor is {governor}, so that clocks follow the load and short runs read slow; hold them with `{mend}`"
        ));
    }
    if let Some(load) = found.load_centi.filter(|load| *load > BUSY_CENTI) {
        let load = f64::from(load) / 100.0;
        warnings.push(format!(
            "something else is running: the load average is {load:.2}; stop it (see `top`) or expect slower and noisier figures"
        ));
    }
    if found.swap_total.is_some_and(|swap| swap.get() > 0) {
        warnings.push(
            "swap is on, so that running out of memory shows as slowness instead of a failure; turn it off with `sudo swapoff -a`".to_owned(),
        );
    }
    if let Some(kind) = &found.virtualization {
        warnings.push(format!(
            "this runs in {kind}: other guests share the hardware, and clocks and sensors may be hidden; prefer the machine itself"
        ));
    }
    if root.read_text(&format!("{CPUS}/intel_pstate/no_turbo")).is_ok_and(|text| text == "0") {
        warnings.push(
            "turbo is on, so that clocks depend on temperature and on other cores; for steady figures `echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo`".to_owned(),
        );
    }
    warnings
}

/// The command that holds this board's clocks.
#[must_use]
pub fn lock_clocks_command(root: &Root) -> &'static str {
    if root.exists("/etc/nv_tegra_release") {
        "sudo jetson_clocks"
    } else {
        "echo performance | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
    }
}

/// Whether every CPU clock is held: governor `performance`, or a floor at its cap.
#[must_use]
pub fn clocks_are_held(root: &Root) -> bool {
    let policies = policies(root);
    let held = |dir: &String| {
        let number = |name: &str| root.read_number(&format!("{dir}/{name}")).ok();
        let governor = root.read_text(&format!("{dir}/scaling_governor")).unwrap_or_default();
        let (floor, cap) = (number("scaling_min_freq"), number("scaling_max_freq"));
        governor == "performance" || (floor.is_some() && floor == cap)
    };
    !policies.is_empty() && policies.iter().all(held)
}

fn policies(root: &Root) -> Vec<String> {
    crate::clock::policies(root).into_iter().map(|(dir, _)| dir).collect()
}

/// The governors in use, each once.
fn governors(root: &Root) -> Option<String> {
    let policies = policies(root);
    let governors = policies.iter().filter_map(|dir| root.read_text(&format!("{dir}/scaling_governor")).ok());
    let mut governors: Vec<String> = governors.collect();
    governors.sort();
    governors.dedup();
    (!governors.is_empty()).then(|| governors.join(", "))
}

fn memory_field(meminfo: &str, key: &str) -> Option<Bytes> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(Bytes(kib * 1024))
}

/// CPUs in a list such as `0-3,6`.
fn count_cpus(list: &str) -> Option<u32> {
    list.split(',').try_fold(0, |count, part| {
        let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        Some(count + last.checked_sub(first)? + 1)
    })
}

/// The container or virtual machine that this runs in, where one gives itself away.
fn virtualization(root: &Root) -> Option<String> {
    if let Ok(kind) = root.read_text("/run/systemd/container") {
        return Some(format!("a container ({kind})"));
    }
    for (path, kind) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if root.exists(path) {
            return Some(format!("a container ({kind})"));
        }
    }
    let product = identity::dmi(root).unwrap_or_default();
    if let Some(kind) = VIRTUAL_PRODUCTS.iter().find(|kind| product.contains(*kind)) {
        return Some(format!("a virtual machine ({kind})"));
    }
    if let Ok(kind) = root.read_text("/sys/hypervisor/type") {
        return Some(format!("a virtual machine ({kind})"));
    }
    let cpuinfo = root.read_text("/proc/cpuinfo").unwrap_or_default();
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let hypervisor = flags.split_whitespace().any(|flag| flag == "hypervisor");
    let by_tree = root.exists("/proc/device-tree/hypervisor");
    (hypervisor || by_tree).then(|| "a virtual machine".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Boards, Fingerprint};
    use crate::tree::Tree;

    fn environment(text: &str) -> Environment {
        let root = Root::stored(Tree::parse(text).unwrap());
        let board = Boards::embedded().unwrap().find(&Fingerprint::read(&root));
        read(&root, &board, "1.2.3")
    }

    fn warned(environment: &Environment, word: &str) -> bool {
        environment.warnings.iter().any(|warning| warning.contains(word))
    }

    #[test]
    fn a_loaded_virtual_machine_with_swap_is_warned_about() {
        let found = environment(
            "/proc/loadavg\t1.25 1 1 1/1 1\n\
             /proc/meminfo\tMemTotal: 1000 kB\\nMemAvailable: 500 kB\\nSwapTotal: 7 kB\\n\n\
             /proc/cpuinfo\tvendor_id : GenuineIntel\\nmodel name : x\\nflags\\t\\t: fpu hypervisor\\n\n\
             /sys/devices/system/cpu/online\t0-3,6\n",
        );
        assert_eq!(found.load_centi, Some(125));
        assert_eq!(found.memory_available, Some(Bytes(512_000)));
        assert_eq!(found.cpus_online, Some(5));
        assert_eq!(found.board_id.as_deref(), Some("x86"));
        for word in ["load average", "swap", "virtual machine"] {
            assert!(warned(&found, word), "{word}: {:?}", found.warnings);
        }
        assert!(found.absent.iter().any(|(name, _)| name == "governor"));
    }

    #[test]
    fn clocks_that_are_held_need_no_other_governor() {
        let policy = |floor: u32| {
            environment(&format!(
                "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor\tschedutil\n\
                 /sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq\t{floor}\n\
                 /sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq\t1728000\n",
            ))
        };
        assert!(!warned(&policy(1_728_000), "governor"));
        assert!(warned(&policy(729_600), "governor is schedutil"));
    }
}
