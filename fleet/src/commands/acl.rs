//! `clipmark-fleet acl`: who may do what on the broker.
//!
//! One table of rules, printed in the form that a broker's way of keeping access rules wants.

use crate::commands::printed::print;
use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use clipmark_profile::topics::{ROOT, up_filter};

/// Prints access rules for devices, operators and aggregators.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet acl > /etc/mosquitto/clipmark.acl
  clipmark-fleet acl --form dynamic-security > clipmark-roles.sh
  DEVICE=orin-7 PASSWORD=... sh clipmark-roles.sh device -h localhost -u admin -P ...
  PASSWORD=... sh clipmark-roles.sh fleet -h localhost -u admin -P ...")]
pub struct Acl {
    /// Print the rules in this form
    #[arg(long, value_enum, default_value_t = Form::Mosquitto)]
    form: Form,
}

/// A form of access rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// mosquitto's acl_file; devices log in with their id as user name
    Mosquitto,
    /// A shell script of commands for mosquitto's dynamic security plugin
    DynamicSecurity,
}

/// What may be done with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Publish,
    Subscribe,
}

/// A device's publications, below its own level.
const UP: [&str; 6] = ["state", "info", "progress", "up/+", "cmd/+/+/status", "cfg/reported"];

/// What a device listens to, below its own level.
const DOWN: [&str; 4] = ["cmd/+/+/req", "cmd/+/+/cancel", "receipt", "cfg/desired"];

/// What operators and aggregators listen to, of every device.
const HEARD: [&str; 6] = ["state", "info", "progress", "up/+", "cmd/+/+/status", "cfg/reported"];

/// What operators, and the dashboard of an aggregator, publish to every device.
const ASKED: [&str; 3] = ["cmd/+/+/req", "cmd/+/+/cancel", "cfg/desired"];

type Rule = (Right, String);

/// The rules of one device, whose name is `device`.
fn of_device(device: &str) -> Vec<Rule> {
    let own = |tail: &&str| format!("{ROOT}/d/{device}/{tail}");
    let mut rules: Vec<Rule> = UP.iter().map(|tail| (Right::Publish, own(tail))).collect();
    rules.extend(DOWN.iter().map(|tail| (Right::Subscribe, own(tail))));
    // Which groups a device listens to is its own configuration.
    rules.push((Right::Subscribe, format!("{ROOT}/g/+/cmd/+/+/req")));
    rules
}

fn of_operator() -> Vec<Rule> {
    let every = |tail: &&str| format!("{ROOT}/d/+/{tail}");
    let mut rules: Vec<Rule> = HEARD.iter().map(|tail| (Right::Subscribe, every(tail))).collect();
    rules.push((Right::Subscribe, format!("{ROOT}/agg/+/state")));
    rules.extend(ASKED.iter().map(|tail| (Right::Publish, every(tail))));
    rules.push((Right::Publish, format!("{ROOT}/g/+/cmd/+/+/req")));
    rules
}

/// What an aggregator may do besides what an operator may.
fn of_aggregator() -> Vec<Rule> {
    let mut rules = of_operator();
    rules.push((Right::Publish, format!("{ROOT}/d/+/receipt")));
    rules.push((Right::Publish, format!("{ROOT}/agg/+/state")));
    rules
}

fn mosquitto() -> String {
    let lines = |word: &str, rules: Vec<Rule>| -> String {
        let right = |right| if right == Right::Publish { "write" } else { "read" };
        rules.iter().map(|(of, topic)| format!("{word} {} {topic}\n", right(*of))).collect()
    };
    format!(
        "# mosquitto acl_file. Devices log in with their device id as user name; the user names `operator` and\n\
         # `fleet` are examples. A user whom no line admits may do nothing.\n\n{}\nuser operator\n{}\nuser fleet\n{}",
        lines("pattern", of_device("%u")),
        lines("topic", of_operator()),
        lines("topic", of_aggregator())
    )
}

/// A role with its rules, as lines of the script.
fn role(name: &str, rules: &[Rule]) -> String {
    let mut text = format!("    ctrl createRole \"{name}\"\n");
    for (right, topic) in rules {
        let kind = if *right == Right::Publish { "publishClientSend" } else { "subscribePattern" };
        text.push_str(&format!("    ctrl addRoleACL \"{name}\" {kind} \"{topic}\" allow 5\n"));
    }
    text
}

fn client(name: &str, role: &str) -> String {
    format!(
        "    ctrl createClient \"{name}\" -p \"$PASSWORD\"\n    ctrl addClientRole \"{name}\" \"{role}\"\n"
    )
}

fn dynamic_security(share: Option<&str>) -> String {
    let mut aggregator = of_aggregator();
    // The plugin knows a shared subscription by its full name.
    aggregator.push((Right::Subscribe, up_filter(share).replace('$', "\\$")));
    format!(
        "#!/bin/sh\n\
         # Roles and clients for mosquitto's dynamic security plugin.\n\
         #   DEVICE=orin-7 PASSWORD=... sh clipmark-roles.sh device [options of mosquitto_ctrl]   once a device\n\
         #   PASSWORD=... sh clipmark-roles.sh fleet [options of mosquitto_ctrl]                  once\n\
         # The plugin has no pattern for a client's own name, so that every device gets a role of its own.\n\
         set -eu\n\
         what=$1; shift\n\
         options=$*\n\
         # shellcheck disable=SC2086 # the options are several words\n\
         ctrl() {{ mosquitto_ctrl $options dynsec \"$@\"; }}\n\
         case $what in\n\
         device)\n{}{}    ;;\n\
         fleet)\n{}{}{}{}    ;;\n\
         *) echo \"say device or fleet\" >&2; exit 2 ;;\n\
         esac\n",
        role("clipmark-device-$DEVICE", &of_device("$DEVICE")),
        client("$DEVICE", "clipmark-device-$DEVICE"),
        role("clipmark-operator", &of_operator()),
        client("operator", "clipmark-operator"),
        role("clipmark-aggregator", &aggregator),
        client("fleet", "clipmark-aggregator"),
    )
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
    }

    #[test]
    fn nobody_but_the_aggregator_may_write_receipts() {
        let writes = |rules: Vec<Rule>| {
            rules.iter().any(|(right, topic)| *right == Right::Publish && topic.ends_with("/receipt"))
        };
        assert_eq!([of_device("a"), of_operator(), of_aggregator()].map(writes), [false, false, true]);
    }
}
