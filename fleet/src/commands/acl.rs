//! `clipmark-fleet acl`: who may do what on the broker.

use crate::commands::printed::print;
use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use clipmark_profile::topics::{ROOT, up_filter};

/// Prints access rules for devices, operators and aggregators.
#[derive(Debug, clap::Args)]
pub struct Acl {
    /// Which broker's form
    #[arg(long, value_enum, default_value_t = Form::Mosquitto)]
    form: Form,
}

/// A form of access rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// mosquitto's acl_file; devices log in with their id as user name
    Mosquitto,
    /// Commands for mosquitto's dynamic security plugin
    DynamicSecurity,
}

/// What a device publishes, below its own level.
const UP: [&str; 6] = ["state", "info", "progress", "up/+", "cmd/+/+/status", "cfg/reported"];

/// What a device listens to, below its own level.
const DOWN: [&str; 4] = ["cmd/+/+/req", "cmd/+/+/cancel", "receipt", "cfg/desired"];

/// What an aggregator listens to, of every device.
const HEARD: [&str; 5] = ["state", "info", "progress", "up/+", "cmd/+/+/status"];

/// What an operator publishes, to every device.
const ASKED: [&str; 3] = ["cmd/+/+/req", "cmd/+/+/cancel", "cfg/desired"];

fn mosquitto() -> String {
    let mut text = String::from(
        "# mosquitto acl_file. Devices log in with their device id as user name; the user names `operator` and\n\
         # `fleet` are examples. A user whom no line admits may do nothing.\n\n",
    );
    for tail in UP {
        text.push_str(&format!("pattern write {ROOT}/d/%u/{tail}\n"));
    }
    for tail in DOWN {
        text.push_str(&format!("pattern read {ROOT}/d/%u/{tail}\n"));
    }
    text.push_str(&format!(
        "# Which groups a device listens to is its own configuration.\npattern read {ROOT}/g/+/cmd/+/+/req\n"
    ));
    text.push_str("\nuser operator\n");
    for tail in HEARD {
        text.push_str(&format!("topic read {ROOT}/d/+/{tail}\n"));
    }
    text.push_str(&format!("topic read {ROOT}/d/+/cfg/reported\ntopic read {ROOT}/agg/+/state\n"));
    for tail in ASKED {
        text.push_str(&format!("topic write {ROOT}/d/+/{tail}\n"));
    }
    text.push_str(&format!("topic write {ROOT}/g/+/cmd/+/+/req\n\nuser fleet\n"));
    for tail in HEARD {
        text.push_str(&format!("topic read {ROOT}/d/+/{tail}\n"));
    }
    text.push_str(&format!("topic write {ROOT}/d/+/receipt\ntopic write {ROOT}/agg/+/state\n"));
    text.push_str("# Requests from the dashboard.\n");
    for tail in ASKED {
        text.push_str(&format!("topic write {ROOT}/d/+/{tail}\n"));
    }
    text
}

fn dynamic_security(share: Option<&str>) -> String {
    let mut text = String::from(
        "# mosquitto_ctrl dynsec commands. One role serves all devices where each logs in with its device id as\n\
         # user name AND as client id is checked by the broker; %u is not known to this plugin, so each device gets\n\
         # a role of its own: set DEVICE and run the first block once a device.\n\n",
    );
    let mut role = |name: &str, rules: &[(&str, String)]| {
        text.push_str(&format!("mosquitto_ctrl dynsec createRole {name}\n"));
        for (kind, topic) in rules {
            text.push_str(&format!("mosquitto_ctrl dynsec addRoleACL {name} {kind} '{topic}' allow 5\n"));
        }
        text.push('\n');
    };
    let device = "'\"$DEVICE\"'";
    let mut rules: Vec<(&str, String)> =
        UP.iter().map(|tail| ("publishClientSend", format!("{ROOT}/d/{device}/{tail}"))).collect();
    rules.extend(DOWN.iter().map(|tail| ("subscribePattern", format!("{ROOT}/d/{device}/{tail}"))));
    rules.push(("subscribePattern", format!("{ROOT}/g/+/cmd/+/+/req")));
    role("\"clipmark-device-$DEVICE\"", &rules);
    let mut rules: Vec<(&str, String)> =
        HEARD.iter().map(|tail| ("subscribePattern", format!("{ROOT}/d/+/{tail}"))).collect();
    let asked = ASKED.iter().map(|tail| ("publishClientSend", format!("{ROOT}/d/+/{tail}")));
    rules.extend(asked);
    rules.push(("publishClientSend", format!("{ROOT}/g/+/cmd/+/+/req")));
    role("clipmark-operator", &rules);
    rules.push(("subscribePattern", up_filter(share)));
    rules.push(("publishClientSend", format!("{ROOT}/d/+/receipt")));
    rules.push(("publishClientSend", format!("{ROOT}/agg/+/state")));
    role("clipmark-aggregator", &rules);
    text
}

impl Acl {
    /// Prints the rules.
    ///
    /// # Errors
    /// When nobody reads them.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let share = Some(config.aggregator.share.as_str()).filter(|share| !share.is_empty());
        print(&match self.form {
            Form::Mosquitto => mosquitto(),
            Form::DynamicSecurity => dynamic_security(share),
        })?;
        Ok(ExitCode::Success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::topics::{device_filters, every_device_filter};

    #[test]
    fn a_device_may_listen_to_everything_that_it_subscribes_to() {
        let rules = mosquitto();
        for filter in device_filters(&"orin".parse().unwrap(), &["lab".parse().unwrap()]) {
            let rule = format!("pattern read {}", filter.replace("orin", "%u").replace("/g/lab/", "/g/+/"));
            assert!(rules.lines().any(|line| line == rule), "{rule}");
        }
    }

    #[test]
    fn an_aggregator_may_listen_to_everything_that_it_subscribes_to() {
        let rules = mosquitto();
        let (_, fleet) = rules.split_once("user fleet").unwrap();
        for tail in ["state", "info", "cmd/+/+/status", "progress", "up/+"] {
            assert!(fleet.contains(&format!("topic read {}\n", every_device_filter(tail))), "{tail}");
        }
        assert!(dynamic_security(Some("x")).contains("$share/x/clipmark/v1/d/+/up/+"));
    }
}
