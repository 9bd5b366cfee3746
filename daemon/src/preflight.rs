//! What a good measurement needs: satisfied or missed, and how each gap is mended.
//!
//! A *required* gap means that nothing can be measured; an *advised* one that figures are poorer or a
//! signal is missing. Judging is pure: what was found is an argument.

use clipmark_probes::environment;
use clipmark_probes::registry::Sensors;
use clipmark_probes::root::Root;
use clipmark_profile::channel::Role;
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

/// A backend's name and the outcome of its check.
pub type BackendCheck = (String, Result<BackendRecord, String>);

/// Holds the board, the software and the model directory against what a measurement needs.
#[must_use]
pub fn requirements(
    root: &Root,
    sensors: &Sensors,
    found: &Environment,
    backends: &[BackendCheck],
    models: &Path,
) -> Vec<Requirement> {
    let mut list = vec![board(sensors), power(sensors), temperature(sensors), debugfs(root, sensors)];
    list.extend(power_mode(found));
    list.push(clocks(root, found));
    list.extend(memory(found));
    list.push(load(found));
    let has_nvidia = has_nvidia(root);
    list.extend(backends.iter().map(|(name, outcome)| backend(name, outcome, has_nvidia)));
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

/// The command that lets the program read what only root may, without being root.
const GRANT_READ: &str = "sudo setcap cap_dac_read_search+ep \"$(command -v clipmarkd)\"   (for the daemon: sudo clipmarkd check --drop-in --install)";

fn board(sensors: &Sensors) -> Requirement {
    let name = "board file";
    match sensors.board.id.as_str() {
        "generic" => Requirement::advised(
            name,
            "this board is unknown: rails are shown, and added up only where that is safe",
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
    let refused = sensors
        .absent
        .iter()
        .find(|absence| absence.id.starts_with("power.") && absence.cause.contains("EACCES"));
    if let Some(refused) = refused {
        return Requirement::advised(name, refused.cause.clone(), GRANT_READ);
    }
    let total = sensors.absent.iter().find(|absence| absence.id == "power.total");
    let cause = total.map_or("no rail forms a total", |absence| absence.cause.as_str());
    Requirement::advised(
        name,
        format!("no energy figures: {cause}"),
        "none on this board; an external meter can tell",
    )
}

fn temperature(sensors: &Sensors) -> Requirement {
    let name = "temperature";
    let zones = sensors.channels().filter(|sensed| sensed.channel.role == Role::Junction);
    let zones: Vec<&str> = zones.map(|sensed| sensed.channel.id.as_str()).collect();
    if zones.is_empty() {
        let found = "no zone stands for the chip: no start gate, no abort temperature, no thermal cause";
        let mend = "name the zone as thermal.junction in a board file (see `clipmarkd probe read`)";
        return Requirement::advised(name, found, mend);
    }
    Requirement::satisfied(name, zones.join(", "))
}

/// Signals that come from debugfs on this board.
fn debugfs(root: &Root, sensors: &Sensors) -> Requirement {
    let name = "debugfs";
    let files = &sensors.board.memory;
    let wanted = files.rate.iter().chain(&files.activity).any(|path| path.starts_with("/sys/kernel/debug"));
    let missing = sensors.absent.iter().filter(|absence| absence.cause.contains("debug"));
    let missing: Vec<&str> = missing.map(|absence| absence.id.as_str()).collect();
    if !wanted || missing.is_empty() {
        return Requirement::satisfied(name, "every signal that this board keeps there can be read");
    }
    let found = format!("missing: {}", missing.join(", "));
    match root.list("/sys/kernel/debug") {
        Ok(names) if names.is_empty() => Requirement::advised(
            name,
            format!("not mounted; {found}"),
            "sudo mount -t debugfs none /sys/kernel/debug",
        ),
        Ok(_) => Requirement::advised(name, found, "none: this kernel does not export them"),
        Err(_) => Requirement::advised(name, format!("closed to this user; {found}"), GRANT_READ),
    }
}

fn power_mode(found: &Environment) -> Option<Requirement> {
    let name = "power mode";
    if let Some((_, cause)) = found.absent.iter().find(|(name, _)| name == "power_mode") {
        return Some(Requirement::advised(
            name,
            cause.clone(),
            "sudo nvpmodel -q   (and `sudo nvpmodel -m ID` to set one)",
        ));
    }
    let mode = found.power_mode.as_ref()?;
    let contradicted = found.warnings.iter().find(|warning| warning.starts_with("the power mode"));
    Some(match contradicted {
        Some(warning) => {
            let id = mode.split_whitespace().next().unwrap_or("ID");
            Requirement::advised(name, warning.clone(), format!("sudo nvpmodel -m {id}"))
        }
        None => Requirement::satisfied(name, mode.clone()),
    })
}

fn clocks(root: &Root, found: &Environment) -> Requirement {
    let name = "clocks held";
    match &found.governor {
        None => Requirement::advised(
            name,
            "the kernel does not control the CPU's clock here, as in most virtual machines",
            "run on the machine itself",
        ),
        Some(governor) if environment::clocks_are_held(root) => {
            Requirement::satisfied(name, format!("governor {governor}, floor at its cap or performance"))
        }
        Some(governor) => Requirement::advised(
            name,
            format!("governor {governor}: clocks follow the load"),
            environment::lock_clocks_command(root),
        ),
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
    let busy = found.warnings.iter().find(|warning| warning.contains("load average"));
    match busy {
        Some(warning) => {
            Requirement::advised("nothing else running", warning.clone(), "top   (then stop what is busy)")
        }
        None => Requirement::satisfied("nothing else running", "the load average is low"),
    }
}

/// Whether NVIDIA's hardware is here, or the driver for it.
fn has_nvidia(root: &Root) -> bool {
    const DRIVER: [&str; 3] = ["/dev/nvidiactl", "/dev/nvhost-gpu", "/proc/driver/nvidia"];
    const VENDOR: &str = "0x10de";
    let board = root.read_text("/proc/device-tree/compatible").unwrap_or_default();
    let devices = root.list("/sys/bus/pci/devices").unwrap_or_default();
    let is_card = |device: &String| {
        let vendor = root.read_text(&format!("/sys/bus/pci/devices/{device}/vendor"));
        vendor.is_ok_and(|vendor| vendor.trim() == VENDOR)
    };
    board.contains("nvidia,") || DRIVER.iter().any(|path| root.exists(path)) || devices.iter().any(is_card)
}

/// The command or step that makes a backend usable whose check ended with `cause`.
fn mend_of(name: &str, cause: &str) -> &'static str {
    match name {
        "onnxruntime" if cause.contains("not installed") => "pip install onnxruntime",
        "trtexec" if cause.contains("cannot be run") => "sudo apt install libnvinfer-bin",
        "tensorrt" if cause.contains("libcuda") => {
            "nvidia-smi   (install the driver where it fails; start a container with --runtime nvidia)"
        }
        "tensorrt" if cause.contains("libnvonnxparser") => {
            "sudo apt install libnvonnxparsers10   (libnvonnxparsers8 on JetPack 5 and earlier)"
        }
        "tensorrt" if cause.contains("was not found") => "sudo apt install tensorrt",
        "onnxruntime" => "pip install --upgrade onnxruntime",
        "tensorrt" => "sudo apt install --reinstall tensorrt   (where the cause names no other step)",
        "trtexec" => "sudo apt install --reinstall libnvinfer-bin   (where the cause names no other step)",
        _ => "none: it needs nothing but clipmark; report the cause to the project",
    }
}

fn backend(name: &str, outcome: &Result<BackendRecord, String>, has_nvidia: bool) -> Requirement {
    let title = format!("backend {name}");
    match outcome {
        Ok(record) => {
            let kind = if record.simulated { ", simulated" } else { "" };
            Requirement::satisfied(&title, format!("{} on {}{kind}", record.version, record.device))
        }
        Err(_) if matches!(name, "tensorrt" | "trtexec") && !has_nvidia => {
            Requirement::not_applicable(&title, "this machine has no NVIDIA GPU")
        }
        Err(cause) => Requirement::advised(&title, cause.clone(), mend_of(name, cause)),
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
#[path = "preflight_tests.rs"]
mod tests;
