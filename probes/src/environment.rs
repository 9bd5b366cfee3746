//! The machine and its software at the start of a run, with what weakens the figures.
//!
//! Every warning says what is the case, what it does to the figures, and which command changes it.

use crate::board::Board;
use crate::identity;
use crate::power_mode::PowerMode;
use crate::root::Root;
use clipmark_profile::environment::Environment;
use clipmark_profile::units::Bytes;
use std::fmt;

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
        cpus_online: count_cpus(root),
        governor: governors(root),
        virtualization: isolation(root).map(|isolation| isolation.to_string()),
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
        Err(error) => found.absent.push(("power_mode".to_owned(), error.to_string())),
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
        ("board", found.board.is_none(), "neither a device tree, the SoC's driver nor DMI names the board"),
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
    if let (Some(governor), ClockControl::Free { command }) = (&found.governor, clock_control(root)) {
        warnings.push(format!(
            "the CPU governor is {governor}, so that clocks follow the load and short runs read slow; hold them with `{command}`"
        ));
    }
    if let Some(load) = busy_load(found) {
        warnings.push(format!(
            "something else is running: the load average is {load:.2}; stop it (see `top`) or expect slower and noisier figures"
        ));
    }
    if found.swap_total.is_some_and(|swap| swap.get() > 0) {
        warnings.push(
            "swap is on, so that running out of memory shows as slowness instead of a failure; turn it off with `sudo swapoff -a`".to_owned(),
        );
    }
    warnings.extend(isolation(root).map(|isolation| match isolation {
        Isolation::Container(_) => format!(
            "this runs in {isolation}: files that tell of the board may be hidden, and other work on the host takes part of it; prefer the host itself"
        ),
        Isolation::VirtualMachine(_) => format!(
            "this runs in {isolation}: other guests share the hardware, and clocks and sensors may be hidden; prefer the machine itself"
        ),
    }));
    if root.read_text(&format!("{CPUS}/intel_pstate/no_turbo")).is_ok_and(|text| text == "0") {
        warnings.push(
            "turbo is on, so that clocks depend on temperature and on other cores; for steady figures `echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo`".to_owned(),
        );
    }
    warnings
}

/// The load average, where it says that something else is running.
#[must_use]
pub fn busy_load(found: &Environment) -> Option<f64> {
    found.load_centi.filter(|load| *load > BUSY_CENTI).map(|load| f64::from(load) / 100.0)
}

/// How the clocks of the CPUs that are online stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClockControl {
    /// The kernel does not control them.
    None,
    /// Each is held: governor `performance`, or a floor at its cap.
    Held,
    /// At least one follows the load.
    Free {
        /// The command that holds them.
        command: &'static str,
    },
}

/// Whether clocks are held, and what holds them where they are not. CPUs that are offline do not count.
#[must_use]
pub fn clock_control(root: &Root) -> ClockControl {
    let limits = |dir: &String| {
        let number = |name: &str| root.read_number(&format!("{dir}/{name}")).ok();
        number("scaling_min_freq").zip(number("scaling_max_freq"))
    };
    let mut policies = online_policies(root);
    // Of a policy that answers nothing, nothing is known.
    policies.retain(|dir| governor(root, dir).is_some() || limits(dir).is_some());
    let held = |dir: &String| {
        let is_pinned = limits(dir).is_some_and(|(floor, cap)| floor == cap);
        governor(root, dir).as_deref() == Some("performance") || is_pinned
    };
    match policies.iter().find(|dir| !held(dir)) {
        None if policies.is_empty() => ClockControl::None,
        None => ClockControl::Held,
        Some(free) => ClockControl::Free { command: lock_clocks_command(root, free) },
    }
}

/// The command that holds this board's clocks.
fn lock_clocks_command(root: &Root, policy: &str) -> &'static str {
    let governors = root.read_text(&format!("{policy}/scaling_available_governors"));
    let has_performance =
        governors.map_or(true, |governors| governors.split_whitespace().any(|name| name == "performance"));
    if root.exists("/etc/nv_tegra_release") {
        "sudo jetson_clocks"
    } else if has_performance {
        "echo performance | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
    } else {
        "for p in /sys/devices/system/cpu/cpufreq/policy*; do sudo cp $p/scaling_max_freq $p/scaling_min_freq; done"
    }
}

/// Directories of the policies of CPUs that are online.
fn online_policies(root: &Root) -> Vec<String> {
    let policies = crate::clock::policies(root).into_iter();
    policies.filter(|policy| policy.is_online).map(|policy| policy.dir).collect()
}

fn governor(root: &Root, dir: &str) -> Option<String> {
    root.read_text(&format!("{dir}/scaling_governor")).ok().filter(|name| !name.starts_with('<'))
}

/// The governors in use, each once.
fn governors(root: &Root) -> Option<String> {
    let policies = online_policies(root);
    let mut governors: Vec<String> = policies.iter().filter_map(|dir| governor(root, dir)).collect();
    governors.sort();
    governors.dedup();
    (!governors.is_empty()).then(|| governors.join(", "))
}

fn count_cpus(root: &Root) -> Option<u32> {
    let online = crate::clock::cpu_list(&root.read_text(&format!("{CPUS}/online")).ok()?)?;
    u32::try_from(online.len()).ok()
}

fn memory_field(meminfo: &str, key: &str) -> Option<Bytes> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(Bytes(kib * 1024))
}

/// What stands between this process and the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Isolation {
    /// A container of this kind: the same kernel, with files hidden.
    Container(String),
    /// A virtual machine, of this kind where it says so.
    VirtualMachine(Option<String>),
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(kind) => write!(f, "a container ({kind})"),
            Self::VirtualMachine(Some(kind)) => write!(f, "a virtual machine ({kind})"),
            Self::VirtualMachine(None) => f.write_str("a virtual machine"),
        }
    }
}

/// The container or virtual machine that this runs in, where one gives itself away.
fn isolation(root: &Root) -> Option<Isolation> {
    identity::container(root).map(Isolation::Container).or_else(|| virtual_machine(root))
}

fn virtual_machine(root: &Root) -> Option<Isolation> {
    let product = identity::dmi(root).unwrap_or_default();
    let kind = VIRTUAL_PRODUCTS.iter().find(|kind| product.contains(*kind)).map(|kind| (*kind).to_owned());
    let kind = kind.or_else(|| root.read_text("/sys/hypervisor/type").ok());
    let cpuinfo = root.read_text("/proc/cpuinfo").unwrap_or_default();
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let hypervisor = flags.split_whitespace().any(|flag| flag == "hypervisor");
    let by_tree = root.exists("/proc/device-tree/hypervisor");
    (kind.is_some() || hypervisor || by_tree).then_some(Isolation::VirtualMachine(kind))
}

/// Whether this is a virtual machine, whose host has the clocks.
#[must_use]
pub fn is_virtual_machine(root: &Root) -> bool {
    virtual_machine(root).is_some()
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
