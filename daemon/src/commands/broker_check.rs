//! Whether the broker of the configuration ties client ids to users, for `clipmarkd check`.

use crate::config::Config;
use crate::mqtt::{Binding, binding};
use crate::preflight::{Requirement, Standing};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

/// What to do about a broker on which ids are free.
const BIND: &str =
    "set use_username_as_clientid at the broker (clipmark-fleet acl --form mosquitto-conf prints it)";

/// How it stands; `None` where no broker is configured.
pub(super) fn requirement(config: &Path) -> Option<Requirement> {
    if !config.exists() {
        return None;
    }
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => {
            return Some(stands(Standing::Advised, &error.to_string(), Some("correct the configuration")));
        }
    };
    if is_served(&config.device.state_dir) {
        let found = "clipmarkd serve is running, and the question would end its connection";
        return Some(stands(Standing::NotApplicable, found, None));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    Some(match runtime.block_on(binding(&config.mqtt)) {
        Ok(Binding::Bound) => stands(Standing::Satisfied, "the broker derives them from the user", None),
        Ok(Binding::Free) => {
            let found = "any user may take any id: a stolen board can end this one's session and destroy its requests";
            stands(Standing::Advised, found, Some(BIND))
        }
        Ok(Binding::Anonymous) if is_here(&config.mqtt.host) => {
            stands(Standing::NotApplicable, "the broker is on this machine and has no users", None)
        }
        Ok(Binding::Anonymous) => {
            let fix = "give each board a user of its own, and set mqtt.username_file (docs/operating.md)";
            stands(Standing::Advised, "this board has no user: anybody may take its id", Some(fix))
        }
        Ok(Binding::Unknown(reason)) => {
            stands(Standing::NotApplicable, &format!("it cannot be found out: {reason}"), None)
        }
        Err(error) => {
            stands(Standing::Advised, &error.to_string(), Some("see the cause; then run check again"))
        }
    })
}

fn stands(standing: Standing, found: &str, mend: Option<&str>) -> Requirement {
    let name = "client ids at the broker".to_owned();
    Requirement { name, standing, found: found.to_owned(), mend: mend.map(str::to_owned) }
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a daemon holds the state directory.
fn is_served(state_dir: &Path) -> bool {
    let Ok(lock) = File::open(state_dir.join("lock")) else { return false };
    flock(&lock, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}
