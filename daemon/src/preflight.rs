//! What a good measurement needs: satisfied or missed, and how each gap is mended.
//!
//! A *required* gap means that nothing can be measured; an *advised* one that figures are poorer or a
//! signal is missing. Judging is pure: what was found is an argument.

use crate::backend::MissingPart;
use crate::worker::examine::BackendCheck;
use crate::worker::protocol::Unusable;
use clipmark_probes::absence::{Absence, AbsenceCause, NoTotal};
use clipmark_probes::board::Fingerprint;
use clipmark_probes::environment::{self, ClockControl};
use clipmark_probes::power_mode::PowerMode;
use clipmark_probes::probe::ChipZones;
use clipmark_probes::registry::{SHOW_DEVICE_TREE, Sensors};
use clipmark_probes::root::Root;
use clipmark_profile::channel::{ChannelKind, Role};
use clipmark_profile::environment::Environment;
use clipmark_profile::record::BackendRecord;
use serde::Serialize;
use std::path::Path;

/// How one requirement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is met.
    Satisfied,
    /// It is not met, and figures are poorer for it.
    Advised,
    /// It is not met, and nothing can be measured.
    Missed,
    /// This machine has nothing that it could concern.
    NotApplicable,
}

impl Standing {
    /// Whether something is to be mended.
    #[must_use]
    pub const fn is_gap(self) -> bool {
        matches!(self, Self::Advised | Self::Missed)
    }
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
    /// What was found.
    pub found: String,
    /// The command or step that mends it.
    pub mend: Option<String>,
}

impl Requirement {
    fn satisfied(name: &str, found: impl Into<String>) -> Self {
        Self { name: name.to_owned(), standing: Standing::Satisfied, found: found.into(), mend: None }
    }

    fn advised(name: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            standing: Standing::Advised,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }

    fn missed(name: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { standing: Standing::Missed, ..Self::advised(name, found, mend) }
    }

    fn not_applicable(name: &str, found: impl Into<String>) -> Self {
        Self { standing: Standing::NotApplicable, ..Self::satisfied(name, found) }
    }
}

/// Holds the board, the software and the model directory against what a measurement needs.
#[must_use]
pub fn requirements(
    root: &Root,
    sensors: &Sensors,
    found: &Environment,
    backends: &[BackendCheck],
    models: &Path,
) -> Vec<Requirement> {
    let mut list = vec![board(root, sensors), power(sensors), temperature(sensors), debugfs(sensors)];
    list.extend(power_mode(root));
    list.push(clocks(root, found));
    list.extend(memory(found));
    list.push(load(found));
    let nvidia = nvidia(root);
    list.extend(backends.iter().map(|(name, outcome)| backend(name, outcome, nvidia)));
    if !backends.iter().any(|(_, outcome)| outcome.as_ref().is_ok_and(|record| !record.simulated)) {
        list.push(Requirement::missed(
            "a real backend",
            "none can be used, so that nothing real can be measured",
            "see the backends above for what each of them lacks",
        ));
    }
    list.push(model_directory(models));
    list
}

/// What lets clipmark read what only root may. Not a capability of the program, which would be everybody's.
const GRANT_READ: &str = "sudo clipmarkd check --drop-in --install   (for the daemon; at the command line: sudo clipmarkd run ...)";

/// What is left where a board does not measure its power.
const METER: &str = "none on this board; an external meter can tell";

fn board(root: &Root, sensors: &Sensors) -> Requirement {
    let name = "board file";
    let is_hidden = Fingerprint::read(root).tree_is_hidden(root);
    match sensors.board.id.as_str() {
        "generic" | "tegra" if is_hidden => Requirement::advised(
            name,
            format!(
                "{}: the device tree, which would name it, is hidden from this process",
                sensors.board.name
            ),
            SHOW_DEVICE_TREE,
        ),
        "generic" | "tegra" => Requirement::advised(
            name,
            format!("{}: rails are shown, and added up only where that is safe", sensors.board.name),
            "clipmarkd probe capture board.txt   (then write config/boards/NAME.toml, or send the file to the project)",
        ),
        id => Requirement::satisfied(name, format!("{id} ({})", sensors.board.name)),
    }
}

fn power(sensors: &Sensors) -> Requirement {
    let name = "power rails";
    if let Some(topology) = &sensors.power_topology {
        return Requirement::satisfied(name, format!("total power is {topology}"));
    }
    let total = sensors.absent.iter().find_map(|absence| match &absence.cause {
        AbsenceCause::NoTotal(cause) => Some((cause, absence.cause.needs_privilege())),
        _ => None,
    });
    let Some((cause, needs_privilege)) = total else {
        return Requirement::advised(name, "no energy figures: no rail forms a total", METER);
    };
    let mend = match cause {
        NoTotal::Refused { .. } if needs_privilege => GRANT_READ,
        NoTotal::Ambiguous { .. } => {
            "name the module's rails by their source, as power.module in a board file"
        }
        NoTotal::Unknown { .. } => {
            "if one of them is the board's input, name it as power.total in a board file; else an external meter can tell"
        }
        _ => METER,
    };
    Requirement::advised(name, format!("no energy figures: {cause}"), mend)
}

fn temperature(sensors: &Sensors) -> Requirement {
    let name = "temperature";
    let zones = sensors.channels().filter(|sensed| sensed.channel.role == Role::Junction);
    let zones: Vec<&str> = zones.map(|sensed| sensed.channel.id.as_str()).collect();
    let refused = sensors
        .absent
        .iter()
        .find(|absence| absence.kind == ChannelKind::Temperature && absence.cause.needs_privilege());
    let is_any = sensors.channels().any(|sensed| sensed.channel.kind == ChannelKind::Temperature);
    let nothing = "no start gate, no temperature limit, no thermal cause";
    match (sensors.chip_zones, refused) {
        (ChipZones::Known, _) => Requirement::satisfied(name, zones.join(", ")),
        (ChipZones::Hottest, _) => Requirement::satisfied(
            name,
            format!("the hottest of {}; none is known to be the chip's", zones.join(", ")),
        ),
        (ChipZones::None, Some(refused)) => {
            Requirement::advised(name, format!("{nothing}: {}: {}", refused.id, refused.cause), GRANT_READ)
        }
        (ChipZones::None, None) if is_any => Requirement::advised(
            name,
            format!("no zone stands for the chip: {nothing}"),
            "name the zone as thermal.junction in a board file (see `clipmarkd probe read`)",
        ),
        (ChipZones::None, None) => Requirement::advised(
            name,
            format!("no temperature can be read on this machine: {nothing}"),
            "none on this machine",
        ),
    }
}

/// Signals that come from debugfs on this board.
fn debugfs(sensors: &Sensors) -> Requirement {
    let name = "debugfs";
    let files = &sensors.board.memory;
    let wanted = files.rate.iter().chain(&files.activity).any(|path| path.starts_with("/sys/kernel/debug"));
    let missing: Vec<&Absence> = sensors.absent.iter().filter(|absence| absence.cause.is_debugfs()).collect();
    let found = missing.iter().map(|absence| absence.id.as_str()).collect::<Vec<_>>().join(", ");
    let is_unmounted = missing.iter().any(|absence| absence.cause == AbsenceCause::DebugfsNotMounted);
    let is_closed = missing.iter().any(|absence| absence.cause.needs_privilege());
    match (missing.is_empty(), wanted) {
        (true, true) => Requirement::satisfied(name, "every signal that this board keeps there can be read"),
        (true, false) => Requirement::not_applicable(name, "no signal of this board is known to be there"),
        (false, _) if is_unmounted => Requirement::advised(
            name,
            format!("not mounted; missing: {found}"),
            "sudo mount -t debugfs none /sys/kernel/debug",
        ),
        (false, _) if is_closed => {
            Requirement::advised(name, format!("closed to this user; missing: {found}"), GRANT_READ)
        }
        (false, _) => {
            Requirement::advised(name, format!("missing: {found}"), "none: this kernel does not export them")
        }
    }
}

fn power_mode(root: &Root) -> Option<Requirement> {
    let name = "power mode";
    Some(match PowerMode::read(root) {
        Err(error) => Requirement::advised(
            name,
            error.to_string(),
            "sudo nvpmodel -q   (and `sudo nvpmodel -m ID` to set one)",
        ),
        Ok(mode) => {
            let mode = mode?;
            match mode.contradictions.first() {
                Some(contradiction) => Requirement::advised(
                    name,
                    format!("the power mode {} is not in force: {contradiction}", mode.label()),
                    format!("sudo nvpmodel -m {}", mode.id),
                ),
                None => Requirement::satisfied(name, mode.label()),
            }
        }
    })
}

fn clocks(root: &Root, found: &Environment) -> Requirement {
    let name = "clocks held";
    let governor = found.governor.as_deref().unwrap_or("unknown");
    match environment::clock_control(root) {
        ClockControl::None if environment::is_virtual_machine(root) => Requirement::advised(
            name,
            "the kernel does not control the CPU's clock here, as in most virtual machines",
            "run on the machine itself",
        ),
        ClockControl::None => Requirement::not_applicable(name, "this kernel does not scale the CPU's clock"),
        ClockControl::Held => {
            Requirement::satisfied(name, format!("governor {governor}, floor at its cap or performance"))
        }
        ClockControl::Free { command } => {
            Requirement::advised(name, format!("governor {governor}: clocks follow the load"), command)
        }
    }
}

fn memory(found: &Environment) -> Option<Requirement> {
    let swap = found.swap_total?;
    Some(if swap.get() == 0 {
        Requirement::satisfied("swap off", "no swap")
    } else {
        let said = format!("{} MiB of swap: running out of memory shows as slowness", swap.get() >> 20);
        Requirement::advised("swap off", said, "sudo swapoff -a")
    })
}

fn load(found: &Environment) -> Requirement {
    let name = "nothing else running";
    match environment::busy_load(found) {
        Some(load) => Requirement::advised(
            name,
            format!("the load average is {load:.2}, so that figures are slower and noisier"),
            "top   (then stop what is busy)",
        ),
        None => Requirement::satisfied(name, "the load average is low"),
    }
}

/// NVIDIA's hardware of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nvidia {
    /// There is none.
    None,
    /// A Jetson, whose driver comes with Jetson Linux.
    Jetson,
    /// A card in a PC or server, or the driver for one.
    Card,
}

/// NVIDIA's hardware here, or the driver for it.
fn nvidia(root: &Root) -> Nvidia {
    const DRIVER: [&str; 3] = ["/dev/nvidiactl", "/dev/nvhost-gpu", "/proc/driver/nvidia"];
    const VENDOR: &str = "0x10de";
    let board = Fingerprint::read(root);
    let is_jetson = board.compatible.iter().any(|entry| entry.starts_with("nvidia,"))
        || board.soc.as_deref() == Some("Tegra");
    let devices = root.list("/sys/bus/pci/devices").unwrap_or_default();
    let is_card = |device: &String| {
        let vendor = root.read_text(&format!("/sys/bus/pci/devices/{device}/vendor"));
        vendor.is_ok_and(|vendor| vendor.trim() == VENDOR)
    };
    if is_jetson {
        return Nvidia::Jetson;
    }
    let is_here = DRIVER.iter().any(|path| root.exists(path)) || devices.iter().any(is_card);
    if is_here { Nvidia::Card } else { Nvidia::None }
}

/// The command or step that makes a backend usable which lacks `missing`.
fn mend_of(name: &str, missing: Option<MissingPart>, nvidia: Nvidia) -> &'static str {
    match (name, missing) {
        ("onnxruntime", Some(_)) => "pip install onnxruntime",
        ("onnxruntime", None) => "pip install --upgrade onnxruntime",
        ("trtexec", Some(_)) => "sudo apt install libnvinfer-bin",
        ("trtexec", None) => {
            "sudo apt install --reinstall libnvinfer-bin   (where the cause names no other step)"
        }
        ("tensorrt", Some(MissingPart::Driver)) if nvidia == Nvidia::Jetson => {
            "sudo apt install --reinstall nvidia-l4t-cuda   (start a container with --runtime nvidia)"
        }
        ("tensorrt", Some(MissingPart::Driver)) => {
            "nvidia-smi   (install the driver where it fails; start a container with --runtime nvidia)"
        }
        ("tensorrt", Some(MissingPart::Parser)) => {
            "sudo apt install libnvonnxparsers10   (libnvonnxparsers8 on JetPack 5 and earlier)"
        }
        ("tensorrt", Some(MissingPart::Runtime)) => "sudo apt install tensorrt",
        ("tensorrt", None) => "sudo apt install --reinstall tensorrt   (where the cause names no other step)",
        _ => "none: it needs nothing but clipmark; report the cause to the project",
    }
}

fn backend(name: &str, outcome: &Result<BackendRecord, Unusable>, nvidia: Nvidia) -> Requirement {
    let title = format!("backend {name}");
    match outcome {
        Ok(record) => {
            let kind = if record.simulated { ", simulated" } else { "" };
            Requirement::satisfied(&title, format!("{} on {}{kind}", record.version, record.device))
        }
        Err(_) if matches!(name, "tensorrt" | "trtexec") && nvidia == Nvidia::None => {
            Requirement::not_applicable(&title, "this machine has no NVIDIA GPU")
        }
        Err(unusable) => {
            let mend = mend_of(name, unusable.missing, nvidia);
            Requirement::advised(&title, unusable.failure.message.clone(), mend)
        }
    }
}

fn model_directory(models: &Path) -> Requirement {
    let name = "model directory";
    let shown = models.display();
    let make = format!("sudo install -d -m 0755 {shown}   (the built-in models need no directory)");
    match std::fs::read_dir(models) {
        Ok(entries) => {
            let onnx = entries
                .filter_map(Result::ok)
                .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "onnx"));
            Requirement::satisfied(name, format!("{shown}, {} ONNX models", onnx.count()))
        }
        Err(error) => Requirement::advised(name, format!("{shown}: {error}"), make),
    }
}

#[cfg(test)]
mod tests;
