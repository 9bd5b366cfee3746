//! `clipmark-fleet acl`: who may do what on the broker.
//!
//! One table of rules, printed in the form that a broker's way of keeping access rules wants, and the settings of the
//! broker without which they do not hold.

use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::ingest::client_id;
use crate::printed::print;
use clipmark_profile::topics::{AggregatorId, DeviceId, GroupId, ROOT, aggregators_filter, up_filter};
use std::collections::BTreeMap;

/// Prints access rules for devices, operators and aggregators.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet acl > /etc/mosquitto/clipmark.acl
  clipmark-fleet acl --form mosquitto-conf > /etc/mosquitto/conf.d/clipmark.conf
  clipmark-fleet acl --aggregator fleet,fleet-2 > /etc/mosquitto/clipmark.acl
  clipmark-fleet acl --form dynamic-security > clipmark-roles.sh
  DEVICE=orin-7 DEVICE_GROUPS='lab rack' PASSWORD=... sh clipmark-roles.sh device -h localhost -u admin -P ...
  PASSWORD=... sh clipmark-roles.sh fleet -h localhost -u admin -P ...

Which boards may read a group's requests is the table [groups] of the configuration.")]
pub struct Acl {
    /// Print the rules in this form
    #[arg(long, value_enum, default_value_t = Form::Mosquitto)]
    form: Form,
    /// Users of the aggregators, one each; else aggregator.id of the configuration
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    aggregator: Vec<AggregatorId>,
}

/// A form of access rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// mosquitto's acl_file; devices log in with their id as user name
    Mosquitto,
    /// mosquitto's settings: a listener that binds client ids to users, with the files of users and rules
    MosquittoConf,
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
    rules.push((Right::Subscribe, aggregators_filter()));
    rules
}

/// What a member of `group` may do besides. A board says itself which groups it is in, so that the operator's list
/// decides which requests it may read.
fn of_member(group: &str) -> Rule {
    (Right::Subscribe, format!("{ROOT}/g/{group}/cmd/+/+/req"))
}

/// The members of each group, as the configuration has them.
type Groups = BTreeMap<GroupId, Vec<DeviceId>>;

/// The groups of each device.
fn memberships(groups: &Groups) -> BTreeMap<&DeviceId, Vec<&GroupId>> {
    let mut of_devices: BTreeMap<&DeviceId, Vec<&GroupId>> = BTreeMap::new();
    for (group, devices) in groups {
        devices.iter().for_each(|device| of_devices.entry(device).or_default().push(group));
    }
    of_devices
}

fn of_operator() -> Vec<Rule> {
    let every = |tail: &&str| format!("{ROOT}/d/+/{tail}");
    let mut rules: Vec<Rule> = HEARD.iter().map(|tail| (Right::Subscribe, every(tail))).collect();
    rules.push((Right::Subscribe, aggregators_filter()));
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

fn mosquitto(groups: &Groups, aggregators: &[AggregatorId]) -> String {
    let lines = |word: &str, rules: &[Rule]| -> String {
        let right = |right| if right == Right::Publish { "write" } else { "read" };
        rules.iter().map(|(of, topic)| format!("{word} {} {topic}\n", right(*of))).collect()
    };
    let user = |name: &str, rules: &[Rule]| format!("\nuser {name}\n{}", lines("topic", rules));
    let mut text = format!(
        "# mosquitto acl_file. Devices log in with their device id as user name; the user name `operator` is an\n\
         # example. A user whom no line admits may do nothing. Rules hold only where client ids are bound to users:\n\
         # use_username_as_clientid true (clipmark-fleet acl --form mosquitto-conf).\n\n{}",
        lines("pattern", &of_device("%u"))
    );
    for (device, groups) in memberships(groups) {
        let rules: Vec<Rule> = groups.iter().map(|group| of_member(group.as_str())).collect();
        text.push_str(&user(device.as_str(), &rules));
    }
    text.push_str(&user("operator", &of_operator()));
    aggregators.iter().for_each(|name| text.push_str(&user(name.as_str(), &of_aggregator())));
    text
}

/// Settings of a mosquitto whose rules hold.
const MOSQUITTO_CONF: &str = "\
# mosquitto's settings for clipmark, e.g. /etc/mosquitto/conf.d/clipmark.conf.

# Boards and aggregators.
listener 8883
cafile   /etc/mosquitto/ca.crt
certfile /etc/mosquitto/server.crt
keyfile  /etc/mosquitto/server.key
# A client's id is its user's name: nobody can take another's session with a password of their own. So each user has one
# connection at a time, and every aggregator needs a user of its own.
use_username_as_clientid true

# Operators, whose commands may run side by side: no id is bound here, so keep this listener from the boards.
listener 1883 127.0.0.1

allow_anonymous false
password_file /etc/mosquitto/passwd
acl_file /etc/mosquitto/clipmark.acl

# Requests and records wait here for whoever is away. The default of 1000 messages drops the rest. Not 0: before 2.0.22
# that ends the connection of a client whenever a message of it is refused.
max_queued_messages 1000000
max_queued_bytes 1073741824
persistence true
persistent_client_expiration 14d
";

/// A role with its rules, as lines of the script.
fn role(name: &str, rules: &[Rule]) -> String {
    let mut text = format!("    ctrl createRole \"{name}\"\n");
    for (right, topic) in rules {
        let kind = if *right == Right::Publish { "publishClientSend" } else { "subscribePattern" };
        text.push_str(&format!("    ctrl addRoleACL \"{name}\" {kind} \"{topic}\" allow 5\n"));
    }
    text
}

/// A client, with the one id that it may log in with where `id` names one.
fn client(name: &str, id: Option<&str>, role: &str) -> String {
    let bound = id.map(|id| format!(" -c \"{id}\"")).unwrap_or_default();
    format!(
        "    ctrl createClient \"{name}\"{bound} -p \"$PASSWORD\"\n    ctrl addClientRole \"{name}\" \"{role}\"\n"
    )
}

/// The loop over the groups of a device.
fn group_role() -> String {
    let (_, topic) = of_member("$group");
    format!(
        "    for group in ${{DEVICE_GROUPS:-}}; do\n        ctrl addRoleACL \"clipmark-device-$DEVICE\" subscribePattern \
         \"{topic}\" allow 5\n    done\n"
    )
}

fn dynamic_security(share: Option<&str>, aggregators: &[AggregatorId]) -> String {
    let mut aggregator = of_aggregator();
    // The plugin knows a shared subscription by its full name.
    aggregator.push((Right::Subscribe, up_filter(share).replace('$', "\\$")));
    let of_aggregators: String = aggregators
        .iter()
        .map(|name| client(name.as_str(), Some(&client_id(name)), "clipmark-aggregator"))
        .collect();
    format!(
        "#!/bin/sh\n\
         # Roles and clients for mosquitto's dynamic security plugin. Boards and aggregators may log in with one client\n\
         # id only, so that nobody takes another's session; do not set use_username_as_clientid beside it.\n\
         #   DEVICE=orin-7 DEVICE_GROUPS='lab' PASSWORD=... sh clipmark-roles.sh device [options of mosquitto_ctrl]   once a device\n\
         #   PASSWORD=... sh clipmark-roles.sh fleet [options of mosquitto_ctrl]                                     once\n\
         # The plugin has no pattern for a client's own name, so that every device gets a role of its own.\n\
         set -eu\n\
         what=$1; shift\n\
         options=$*\n\
         # shellcheck disable=SC2086 # the options are several words\n\
         ctrl() {{ mosquitto_ctrl $options dynsec \"$@\"; }}\n\
         case $what in\n\
         device)\n{}{}{}    ;;\n\
         fleet)\n{}{}{}{}    ;;\n\
         *) echo \"say device or fleet\" >&2; exit 2 ;;\n\
         esac\n",
        role("clipmark-device-$DEVICE", &of_device("$DEVICE")),
        group_role(),
        client("$DEVICE", Some("$DEVICE"), "clipmark-device-$DEVICE"),
        role("clipmark-operator", &of_operator()),
        // Each of an operator's commands connects with an id of its own.
        client("operator", None, "clipmark-operator"),
        role("clipmark-aggregator", &aggregator),
        of_aggregators,
    )
}

impl Acl {
    /// Prints the rules.
    ///
    /// # Errors
    /// When nobody reads them.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let share = Some(config.aggregator.share.as_str()).filter(|share| !share.is_empty());
        let own = [config.aggregator.id.clone()];
        let aggregators = if self.aggregator.is_empty() { own.as_slice() } else { &self.aggregator };
        print(&match self.form {
            Form::Mosquitto => mosquitto(&config.groups, aggregators),
            Form::MosquittoConf => MOSQUITTO_CONF.to_owned(),
            Form::DynamicSecurity => dynamic_security(share, aggregators),
        })?;
        Ok(ExitCode::Success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::topics::{device_filters, every_device_filter};

    fn groups() -> Groups {
        BTreeMap::from([("lab".parse().unwrap(), vec!["orin".parse().unwrap()])])
    }

    fn rules() -> String {
        mosquitto(&groups(), &["fleet".parse().unwrap(), "fleet-2".parse().unwrap()])
    }

    #[test]
    fn a_device_may_listen_to_everything_that_it_subscribes_to() {
        let rules = rules();
        for filter in device_filters(&"orin".parse().unwrap(), &["lab".parse().unwrap()]) {
            let rule = match filter.contains("/g/") {
                true => format!("topic read {filter}"),
                false => format!("pattern read {}", filter.replace("orin", "%u")),
            };
            assert!(rules.lines().any(|line| line == rule), "{rule}: {rules}");
        }
    }

    #[test]
    fn a_group_is_read_by_its_members_alone() {
        let rules = rules();
        let of_groups: Vec<&str> =
            rules.lines().filter(|line| line.contains("read clipmark/v1/g/")).collect();
        assert_eq!(of_groups, ["topic read clipmark/v1/g/lab/cmd/+/+/req"]);
        let (_, orin) = rules.split_once("\nuser orin\n").unwrap();
        assert!(orin.starts_with(of_groups[0]), "{rules}");
    }

    #[test]
    fn every_aggregator_has_a_user_and_may_listen_to_everything_that_it_subscribes_to() {
        let rules = rules();
        for user in ["fleet", "fleet-2"] {
            let (_, fleet) = rules.split_once(&format!("\nuser {user}\n")).unwrap();
            let fleet = fleet.split("\nuser ").next().unwrap();
            for tail in ["state", "info", "cmd/+/+/status", "progress", "up/+"] {
                assert!(fleet.contains(&format!("topic read {}\n", every_device_filter(tail))), "{tail}");
            }
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
