//! The systemd units as they are written: what systemd thinks of their exposure, that they agree with the program, and
//! that nothing in this repository advises what would undo them.
//!
//! A harness of its own, so that what this machine cannot test is listed as ignored.

#![expect(clippy::unwrap_used, reason = "helpers fail a test")]

use clipmark_daemon::confine::GPU_DEVICES;
use libtest_mimic::{Arguments, Failed, Trial};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Exposure in tenths on systemd 252: unit, its drop-ins, figure.
const EXPOSURE: [(&str, &[&str], u32); 4] = [
    ("clipmarkd.service", &[], 16),
    ("clipmarkd.service", &["debugfs.conf"], 20),
    ("clipmarkd.service", &["broker-address.conf"], 15),
    ("clipmark-fleet.service", &[], 11),
];
/// The systemd that these figures are of; another one weighs other things.
const RATED_BY: u32 = 252;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let systemd = systemd_version();
    let mut trials: Vec<Trial> = EXPOSURE
        .iter()
        .map(|(unit, drop_ins, figure)| {
            let name = format!("exposure::{}", [&[*unit], *drop_ins].concat().join("+"));
            let rated = systemd == Some(RATED_BY);
            Trial::test(name, move || exposure(unit, drop_ins, *figure)).with_ignored_flag(!rated)
        })
        .collect();
    trials.push(Trial::test("the_documents_state_these_figures", documents));
    trials.push(Trial::test("the_unit_opens_the_devices_that_workers_open", devices));
    trials.push(Trial::test("nothing_advises_a_capability_on_the_program", advice));
    let may_mount = rustix::process::getuid().is_root() && can_hide_proc();
    trials.push(
        Trial::test("the_sampler_needs_more_of_proc_than_processes", proc_subset)
            .with_ignored_flag(!may_mount),
    );
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn systemd_version() -> Option<u32> {
    let printed = Command::new("systemd-analyze").arg("--version").output().ok()?;
    clipmark_daemon::drop_ins::systemd_version(&String::from_utf8_lossy(&printed.stdout))
}

/// Copies a unit with drop-ins into a folder of units, and asks systemd.
fn exposure(unit: &str, drop_ins: &[&str], figure: u32) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let units = Path::new(ROOT).join("systemd");
    fs::copy(units.join(unit), folder.path().join(unit))?;
    let below = folder.path().join(format!("{unit}.d"));
    fs::create_dir(&below)?;
    for name in drop_ins {
        let text = match *name {
            "broker-address.conf" => broker_address(),
            other => fs::read_to_string(units.join("drop-ins").join(other))?,
        };
        fs::write(below.join(name), text)?;
    }
    let done = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", unit])
        .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()))
        .output()?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let found = said.rsplit("exposure level for ").next().and_then(|rest| rest.split_whitespace().nth(1));
    let wanted = format!("{}.{}", figure / 10, figure % 10);
    if found == Some(&wanted) {
        Ok(())
    } else {
        Err(format!("{wanted} is expected; systemd says:\n{said}").into())
    }
}

fn broker_address() -> String {
    let facts = clipmark_daemon::drop_ins::Facts { broker: Some("192.0.2.7".into()), ..Default::default() };
    let chosen = clipmark_daemon::drop_ins::choose(&facts);
    chosen.into_iter().find(|drop_in| drop_in.name == "broker-address.conf").unwrap().content
}

fn documents() -> Result<(), Failed> {
    let [unit, debugfs, broker, _] = EXPOSURE.map(|(.., figure)| format!("{}.{}", figure / 10, figure % 10));
    for (file, figures) in
        [("docs/security.md", vec![&unit, &debugfs, &broker]), ("docs/deploying.md", vec![&unit, &debugfs])]
    {
        let text = fs::read_to_string(Path::new(ROOT).join(file))?;
        let sentence = text.split("`systemd-analyze security").nth(1).unwrap_or_default();
        let sentence: String = sentence.chars().take(300).collect();
        if let Some(missing) = figures.into_iter().find(|figure| !sentence.contains(figure.as_str())) {
            return Err(format!("{file} does not state {missing} after `systemd-analyze security").into());
        }
    }
    Ok(())
}

/// Each device that the unit opens begins as a worker's list says, and each entry of that list is in the unit.
fn devices() -> Result<(), Failed> {
    let unit = fs::read_to_string(Path::new(ROOT).join("systemd/clipmarkd.service"))?;
    let opened: Vec<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("DeviceAllow=")?.split_whitespace().next())
        .map(|device| device.trim_start_matches("/dev/").trim_start_matches("char-"))
        // The driver's name and the folder's.
        .map(|device| if device == "drm" { "dri" } else { device })
        .collect();
    let known = |device: &&str| GPU_DEVICES.iter().any(|prefix| device.starts_with(prefix));
    if let Some(strange) = opened.iter().find(|device| !known(device)) {
        return Err(format!("the unit opens {strange}, which workers do not").into());
    }
    let has = |prefix: &&&str| opened.iter().any(|device| device.starts_with(**prefix));
    match GPU_DEVICES.iter().find(|prefix| !has(prefix)) {
        Some(missing) => Err(format!("workers open {missing}, which the unit does not").into()),
        None => Ok(()),
    }
}

/// A capability on the program is everybody's who may run it.
fn advice() -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for folder in ["daemon/src", "docs", "systemd", "config", "cross"] {
        for path in files(&Path::new(ROOT).join(folder)) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let advised = text.contains("setcap cap_") || text.contains("+ep") || text.contains("chmod u+s");
            if advised {
                wrong.push(path.display().to_string());
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ").into()) }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Mounts /proc anew with processes alone, as `ProcSubset=pid` does, and runs `command` there.
fn hidden(command: &str) -> Command {
    let mut shell = Command::new("unshare");
    shell.args(["-m", "sh", "-c", &format!("mount -t proc -o subset=pid proc /proc && {command}")]);
    shell
}

fn can_hide_proc() -> bool {
    hidden("! test -e /proc/stat").status().is_ok_and(|status| status.success())
}

/// With `ProcSubset=pid`, signals would be lost: that is why the unit does without.
fn proc_subset() -> Result<(), Failed> {
    let unit = fs::read_to_string(Path::new(ROOT).join("systemd/clipmarkd.service"))?;
    if unit.lines().any(|line| line.starts_with("ProcSubset=pid")) {
        return Err("the unit hides /proc from the sampler".into());
    }
    let read = format!("{} probe read", env!("CARGO_BIN_EXE_clipmarkd"));
    let open = Command::new("sh").args(["-c", &read]).output()?;
    let hidden = hidden(&read).output()?;
    let [open, hidden] = [open, hidden].map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let lost = |text: &str| text.matches("cannot read /proc/").count();
    if lost(&hidden) > lost(&open) {
        return Ok(());
    }
    Err(format!("nothing is lost without /proc; let the unit hide it\n{open}\n{hidden}").into())
}
