//! `clipmarkd check --drop-in`: the drop-ins of the systemd unit that this machine needs, printed or installed.

use super::print;
use crate::config::Config;
use crate::drop_ins::{self, DropIn, Facts};
use crate::exit_codes::{CommandError, ExitCode};
use crate::worker::examine::examine_backends;
use clipmark_probes::registry::Sensors;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Prints the needed drop-ins, or writes them where systemd finds them.
///
/// # Errors
/// A configuration that exists and cannot be used; a drop-in that cannot be written.
pub(super) fn execute(
    sensors: &Sensors,
    root: &Path,
    config: &Path,
    install: bool,
) -> Result<ExitCode, CommandError> {
    let facts = facts(sensors, root, config)?;
    let chosen = drop_ins::choose(&facts);
    if install {
        let folder = Path::new(drop_ins::FOLDER);
        for drop_in in &chosen {
            write(folder, drop_in)?;
        }
        if chosen.iter().all(|drop_in| drop_in.name != drop_ins::BROKER_ADDRESS) {
            remove(&folder.join(drop_ins::BROKER_ADDRESS))?;
        }
    }
    print(&to_text(&facts, &chosen, install))?;
    Ok(ExitCode::Success)
}

fn facts(sensors: &Sensors, root: &Path, config: &Path) -> Result<Facts, CommandError> {
    let config = match config.try_exists() {
        Ok(false) => None,
        _ => Some(Config::load(config).map_err(|error| CommandError::new(ExitCode::Usage, error))?),
    };
    let printed = Command::new("systemctl").arg("--version").output();
    let printed = printed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let tensorrt = examine_backends().into_iter().find(|(name, _)| name == "tensorrt");
    Ok(Facts {
        systemd: printed.ok().and_then(|text| drop_ins::systemd_version(&text)),
        guarded: guarded(sensors, root),
        tensorrt: tensorrt.and_then(|(_, outcome)| outcome.ok()).map(|record| record.version),
        credentials: config.as_ref().map(Config::credentials).unwrap_or_default(),
        broker: config.map(|config| config.mqtt.host),
    })
}

/// Signals that only root can read: those that this user was refused, and those whose files are closed to
/// others, which shows where the check itself runs as root.
fn guarded(sensors: &Sensors, root: &Path) -> Vec<String> {
    let refused = sensors.absent.iter().filter(|absence| absence.cause.needs_privilege());
    let refused = refused.map(|absence| format!("{} ({})", absence.id, absence.cause));
    let closed = sensors.channels().filter_map(|sensed| {
        let mut paths = sensed.source.split_whitespace().filter(|word| word.starts_with('/'));
        let path = paths.find(|path| is_closed(root, path))?;
        Some(format!("{} ({path})", sensed.channel.id))
    });
    refused.chain(closed).collect()
}

/// Whether a file cannot be read by others: by its own mode, or because debugfs as a whole is closed.
fn is_closed(root: &Path, path: &str) -> bool {
    const OTHERS_READ: u32 = 0o004;
    if path.starts_with("/sys/kernel/debug/") {
        return true;
    }
    let metadata = fs::metadata(root.join(path.trim_start_matches('/')));
    metadata.is_ok_and(|metadata| metadata.permissions().mode() & OTHERS_READ == 0)
}

fn write(folder: &Path, drop_in: &DropIn) -> Result<(), CommandError> {
    let path = folder.join(drop_in.name);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, &drop_in.content));
    written.map_err(|error| {
        let message = format!("cannot write {}: {error}; run the command with sudo", path.display());
        CommandError::new(ExitCode::Storage, message)
    })
}

/// Removes a drop-in that an earlier configuration needed.
fn remove(path: &Path) -> Result<(), CommandError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let message = format!("cannot remove {}: {error}; run the command with sudo", path.display());
            Err(CommandError::new(ExitCode::Storage, message))
        }
        _ => Ok(()),
    }
}

fn to_text(facts: &Facts, chosen: &[DropIn], installed: bool) -> String {
    let mut text = match facts.systemd {
        Some(version) => format!("systemd {version}\n"),
        None => {
            "no systemd was found here; the drop-ins are for the machine that runs clipmarkd\n".to_owned()
        }
    };
    if chosen.is_empty() {
        text.push_str("no drop-in is needed: the unit fits this machine as it is\n");
        return text;
    }
    for drop_in in chosen {
        let folder = drop_ins::FOLDER;
        let _ = writeln!(text, "\n{folder}/{}\n  because: {}\n", drop_in.name, drop_in.because);
        drop_in.content.lines().for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    text.push_str(match installed {
        true => "\ninstalled; now: sudo systemctl daemon-reload && sudo systemctl restart clipmarkd\n",
        false => "\nto install them: sudo clipmarkd check --drop-in --install\n",
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_probes::board::Boards;
    use clipmark_probes::root::Root;

    fn machine(mode: u32) -> (tempfile::TempDir, Sensors) {
        let root = tempfile::tempdir().unwrap();
        let zone = root.path().join("sys/class/thermal/thermal_zone0");
        fs::create_dir_all(&zone).unwrap();
        fs::write(zone.join("type"), "cpu-thermal\n").unwrap();
        fs::write(zone.join("temp"), "41500\n").unwrap();
        fs::set_permissions(zone.join("temp"), fs::Permissions::from_mode(mode)).unwrap();
        let sensors = Sensors::discover(&Root::open(root.path()).unwrap(), &Boards::embedded().unwrap());
        (root, sensors)
    }

    #[test]
    fn a_file_closed_to_others_is_guarded_whoever_looks() {
        let (root, sensors) = machine(0o400);
        let guarded = guarded(&sensors, root.path());
        assert_eq!(guarded.len(), 1, "{guarded:?}");
        assert!(guarded[0].contains("thermal_zone0/temp"), "{guarded:?}");
        let (root, sensors) = machine(0o444);
        assert_eq!(super::guarded(&sensors, root.path()), Vec::<String>::new());
    }

    #[test]
    fn an_installed_drop_in_is_the_file_that_was_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("clipmarkd.service.d");
        let facts = Facts { systemd: Some(237), ..Facts::default() };
        let chosen = drop_ins::choose(&facts);
        write(&folder, &chosen[0]).unwrap();
        assert_eq!(fs::read_to_string(folder.join("old-systemd.conf")).unwrap(), chosen[0].content);
        let text = to_text(&facts, &chosen, false);
        assert!(text.contains("because: systemd 237") && text.contains("--install"), "{text}");
    }
}
