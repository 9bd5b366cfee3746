//! Every MQTT topic, formatted and parsed by one type.
//!
//! Terms: a *device* is a board that runs clipmarkd, a *group* a name that several devices listen to, an
//! *aggregator* a receiver of results. A request and its status are separate topics, so that each topic has
//! one writer and an ACL can tell them apart. Whoever builds a topic string anywhere else makes a mistake.
//!
//! ```
//! use clipmark_profile::topics::Topic;
//! let topic: Topic = "clipmark/v1/d/orin-7/cmd/run/c42/req".parse().unwrap();
//! assert_eq!(topic.to_string(), "clipmark/v1/d/orin-7/cmd/run/c42/req");
//! ```

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The first levels of every topic; the number is the version of this layout.
pub const ROOT: &str = "clipmark/v1";

/// Longest identifier in bytes.
pub const MAX_IDENTIFIER: usize = 64;

/// Why a text is not an identifier or a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// An identifier is empty, too long, or holds a character that topics or file names give a meaning.
    #[error(
        "{what} `{given}` is not usable; take 1 to {MAX_IDENTIFIER} of A-Z a-z 0-9 - _ . and do not begin with a dot"
    )]
    Identifier {
        /// What the text was to identify.
        what: &'static str,
        /// The text, shortened.
        given: String,
    },
    /// The topic is none of clipmark's.
    #[error("`{topic}` is not a clipmark topic; the layout is in docs/wire.md")]
    Unknown {
        /// The topic, shortened.
        topic: String,
    },
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

fn usable(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_IDENTIFIER).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(allowed)
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text, usable as one topic level and as a file name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = TopicError;

            fn from_str(text: &str) -> Result<Self, TopicError> {
                if usable(text) {
                    return Ok(Self(text.to_owned()));
                }
                Err(TopicError::Identifier { what: $what, given: shortened(text) })
            }
        }

        impl TryFrom<String> for $name {
            type Error = TopicError;

            fn try_from(text: String) -> Result<Self, TopicError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identifier!(/// One device, unique on the broker.
    DeviceId, "device id");
identifier!(/// A group of devices.
    GroupId, "group");
identifier!(/// One command. Chosen by the requester; a device never runs the same one twice.
    CommandId, "command id");
identifier!(/// The name of an operation as a topic spells it, known to this version or not.
    OperationName, "operation");
identifier!(/// One aggregator.
    AggregatorId, "aggregator id");

/// What a device can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Measure: sweep, soak or both.
    Run,
    /// One reading of every sensor.
    Probe,
    /// A copy of the board's sensor tree, as test data for a new board.
    Capture,
    /// The models with their digests.
    Models,
    /// Which backends and requirements are met.
    Check,
}

impl Operation {
    /// Every operation, in the order in which help texts list them.
    pub const ALL: [Self; 5] = [Self::Run, Self::Probe, Self::Capture, Self::Models, Self::Check];

    /// The topic level.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Probe => "probe",
            Self::Capture => "capture",
            Self::Models => "models",
            Self::Check => "check",
        }
    }

    /// The operation of this name, or `None` when this version does not know it.
    #[must_use]
    pub fn from_name(name: &OperationName) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name.as_str())
    }
}

impl From<Operation> for OperationName {
    fn from(operation: Operation) -> Self {
        Self(operation.name().to_owned())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kinds of spooled record, one topic each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpKind {
    /// The findings of one run.
    Profile,
    /// Sensor and latency series of one run.
    Series,
    /// Anything else worth keeping: captures, gaps in the spool.
    Event,
}

impl UpKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Profile, Self::Series, Self::Event];

    /// The topic level.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Series => "series",
            Self::Event => "event",
        }
    }
}

impl fmt::Display for UpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The three topics of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommandLeaf {
    /// Down: what is asked.
    Request,
    /// Down: give it up.
    Cancel,
    /// Up, retained: how far it came.
    Status,
}

impl CommandLeaf {
    const ALL: [Self; 3] = [Self::Request, Self::Cancel, Self::Status];

    const fn name(self) -> &'static str {
        match self {
            Self::Request => "req",
            Self::Cancel => "cancel",
            Self::Status => "status",
        }
    }
}

/// What a device's topic is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceTopic {
    /// Up, retained, also the last will: online, busy or offline.
    State,
    /// Up, retained: what the device is and can do.
    Info,
    /// One command.
    Command {
        /// What is to be done.
        operation: OperationName,
        /// Which command.
        command: CommandId,
        /// Which of its topics.
        leaf: CommandLeaf,
    },
    /// Up: how far the running command is.
    Progress,
    /// Up: spooled records.
    Up(UpKind),
    /// Down, retained: what the aggregator has stored.
    Receipt,
    /// Down, retained: the configuration that the device is to take.
    ConfigDesired,
    /// Up, retained: the configuration that the device took, or why it did not.
    ConfigReported,
}

/// Any topic of clipmark's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Of one device.
    Device {
        /// The device.
        device: DeviceId,
        /// What it is about.
        about: DeviceTopic,
    },
    /// A request to all devices of a group. Each answers on its own status topic.
    GroupRequest {
        /// The group.
        group: GroupId,
        /// What is to be done.
        operation: OperationName,
        /// Which command.
        command: CommandId,
    },
    /// Up, retained: whether an aggregator is there.
    AggregatorState(AggregatorId),
}

impl Topic {
    /// A topic of `device`.
    #[must_use]
    pub fn device(device: &DeviceId, about: DeviceTopic) -> Self {
        Self::Device { device: device.clone(), about }
    }

    /// One of the topics of a command to `device`.
    #[must_use]
    pub fn command(
        device: &DeviceId,
        operation: impl Into<OperationName>,
        command: &CommandId,
        leaf: CommandLeaf,
    ) -> Self {
        let about = DeviceTopic::Command { operation: operation.into(), command: command.clone(), leaf };
        Self::device(device, about)
    }
}

impl fmt::Display for DeviceTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State => f.write_str("state"),
            Self::Info => f.write_str("info"),
            Self::Command { operation, command, leaf } => {
                write!(f, "cmd/{operation}/{command}/{}", leaf.name())
            }
            Self::Progress => f.write_str("progress"),
            Self::Up(kind) => write!(f, "up/{kind}"),
            Self::Receipt => f.write_str("receipt"),
            Self::ConfigDesired => f.write_str("cfg/desired"),
            Self::ConfigReported => f.write_str("cfg/reported"),
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { device, about } => write!(f, "{ROOT}/d/{device}/{about}"),
            Self::GroupRequest { group, operation, command } => {
                let leaf = CommandLeaf::Request.name();
                write!(f, "{ROOT}/g/{group}/cmd/{operation}/{command}/{leaf}")
            }
            Self::AggregatorState(id) => write!(f, "{ROOT}/agg/{id}/state"),
        }
    }
}

fn device_topic(levels: &[&str]) -> Result<Option<DeviceTopic>, TopicError> {
    Ok(Some(match levels {
        ["state"] => DeviceTopic::State,
        ["info"] => DeviceTopic::Info,
        ["cmd", operation, command, leaf] => {
            let Some(leaf) = CommandLeaf::ALL.into_iter().find(|known| known.name() == *leaf) else {
                return Ok(None);
            };
            DeviceTopic::Command { operation: operation.parse()?, command: command.parse()?, leaf }
        }
        ["progress"] => DeviceTopic::Progress,
        ["up", kind] => match UpKind::ALL.into_iter().find(|known| known.name() == *kind) {
            Some(kind) => DeviceTopic::Up(kind),
            None => return Ok(None),
        },
        ["receipt"] => DeviceTopic::Receipt,
        ["cfg", "desired"] => DeviceTopic::ConfigDesired,
        ["cfg", "reported"] => DeviceTopic::ConfigReported,
        _ => return Ok(None),
    }))
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let unknown = || TopicError::Unknown { topic: shortened(text) };
        let tail = text.strip_prefix(ROOT).and_then(|tail| tail.strip_prefix('/')).ok_or_else(unknown)?;
        let levels: Vec<&str> = tail.split('/').collect();
        match levels.as_slice() {
            ["d", device, about @ ..] => {
                let about = device_topic(about)?.ok_or_else(unknown)?;
                Ok(Self::Device { device: device.parse()?, about })
            }
            ["g", group, "cmd", operation, command, leaf] if *leaf == CommandLeaf::Request.name() => {
                Ok(Self::GroupRequest {
                    group: group.parse()?,
                    operation: operation.parse()?,
                    command: command.parse()?,
                })
            }
            ["agg", id, "state"] => Ok(Self::AggregatorState(id.parse()?)),
            _ => Err(unknown()),
        }
    }
}

/// The filter for whether aggregators are there.
#[must_use]
pub fn aggregators_filter() -> String {
    format!("{ROOT}/agg/+/state")
}

/// What a device subscribes to: requests and cancels to itself and its groups, receipts, configuration, and whether
/// an aggregator has come.
#[must_use]
pub fn device_filters(device: &DeviceId, groups: &[GroupId]) -> Vec<String> {
    let mut filters: Vec<String> = ["cmd/+/+/req", "cmd/+/+/cancel", "receipt", "cfg/desired"]
        .into_iter()
        .map(|tail| format!("{ROOT}/d/{device}/{tail}"))
        .collect();
    filters.extend(groups.iter().map(|group| format!("{ROOT}/g/{group}/cmd/+/+/req")));
    filters.push(aggregators_filter());
    filters
}

/// The filter for every device's spooled records; with `share`, an MQTT 5 shared subscription in which each
/// record reaches one of the members.
#[must_use]
pub fn up_filter(share: Option<&str>) -> String {
    let filter = format!("{ROOT}/d/+/up/+");
    share.map_or(filter.clone(), |share| format!("$share/{share}/{filter}"))
}

/// The filter for one leaf of every device, e.g. `state`, `info`, `progress`, `cmd/+/+/status`.
#[must_use]
pub fn every_device_filter(tail: &str) -> String {
    format!("{ROOT}/d/+/{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IDENTIFIER: &str = "[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}";

    fn about() -> impl Strategy<Value = DeviceTopic> {
        let command = (IDENTIFIER, IDENTIFIER, prop::sample::select(&CommandLeaf::ALL)).prop_map(
            |(operation, command, leaf)| DeviceTopic::Command {
                operation: operation.parse().unwrap(),
                command: command.parse().unwrap(),
                leaf,
            },
        );
        prop_oneof![
            Just(DeviceTopic::State),
            Just(DeviceTopic::Info),
            Just(DeviceTopic::Progress),
            Just(DeviceTopic::Receipt),
            Just(DeviceTopic::ConfigDesired),
            Just(DeviceTopic::ConfigReported),
            prop::sample::select(&UpKind::ALL).prop_map(DeviceTopic::Up),
            command,
        ]
    }

    fn topic() -> impl Strategy<Value = Topic> {
        prop_oneof![
            (IDENTIFIER, about())
                .prop_map(|(device, about)| Topic::Device { device: device.parse().unwrap(), about }),
            (IDENTIFIER, IDENTIFIER, IDENTIFIER).prop_map(|(group, operation, command)| {
                Topic::GroupRequest {
                    group: group.parse().unwrap(),
                    operation: operation.parse().unwrap(),
                    command: command.parse().unwrap(),
                }
            }),
            IDENTIFIER.prop_map(|id| Topic::AggregatorState(id.parse().unwrap())),
        ]
    }

    /// MQTT's matching of a filter with `+` levels only.
    fn matches(filter: &str, topic: &str) -> bool {
        let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
        filter.len() == topic.len()
            && filter.iter().zip(&topic).all(|(want, have)| *want == "+" || want == have)
    }

    proptest! {
        #[test]
        fn every_topic_reads_back_as_itself(topic in topic()) {
            prop_assert_eq!(topic.to_string().parse::<Topic>(), Ok(topic));
        }

        #[test]
        fn any_text_is_refused_or_reads_back_as_itself(text in "(clipmark/v1/)?[a-z/.+#$\u{0}é]{0,40}") {
            if let Ok(topic) = text.parse::<Topic>() {
                prop_assert_eq!(topic.to_string(), text);
            }
        }

        #[test]
        fn no_identifier_can_leave_its_level_or_a_directory(text in "\\PC{0,70}") {
            if let Ok(id) = text.parse::<CommandId>() {
                prop_assert!(!id.as_str().contains(['/', '+', '#', '$', '\0', '\\']));
                prop_assert!(!id.as_str().starts_with('.') && id.as_str().len() <= MAX_IDENTIFIER);
            }
        }
    }

    #[test]
    fn a_device_subscribes_to_what_is_sent_down_and_nothing_that_it_sends_up() {
        let device: DeviceId = "orin".parse().unwrap();
        let filters = device_filters(&device, &["lab".parse().unwrap()]);
        let subscribed = |topic: &str| filters.iter().any(|filter| matches(filter, topic));
        for down in [
            "d/orin/cmd/run/c1/req",
            "d/orin/cmd/run/c1/cancel",
            "d/orin/receipt",
            "g/lab/cmd/run/c/req",
            "agg/a/state",
        ] {
            assert!(subscribed(&format!("{ROOT}/{down}")), "{down}");
        }
        for other in
            ["d/orin/state", "d/orin/cmd/run/c1/status", "d/nano/cmd/run/c1/req", "g/x/cmd/run/c/req"]
        {
            assert!(!subscribed(&format!("{ROOT}/{other}")), "{other}");
        }
        assert!(matches(&up_filter(None), "clipmark/v1/d/orin/up/profile"));
        assert_eq!(up_filter(Some("clipmark")), "$share/clipmark/clipmark/v1/d/+/up/+");
        assert!(matches(&every_device_filter("cmd/+/+/status"), "clipmark/v1/d/a/cmd/run/c/status"));
    }

    #[test]
    fn unusable_identifiers_are_refused_with_the_rule() {
        for text in ["", "a/b", "+", "#", "..", ".hidden", "ä", "a b", &"x".repeat(65)] {
            let error = text.parse::<DeviceId>().unwrap_err();
            assert!(error.to_string().contains("device id") && error.to_string().contains("A-Z"), "{error}");
        }
        assert!(serde_json::from_str::<CommandId>("\"../../etc\"").is_err());
    }

    #[test]
    fn operations_are_found_by_their_names() {
        for operation in Operation::ALL {
            assert_eq!(Operation::from_name(&operation.into()), Some(operation));
        }
        assert_eq!(Operation::from_name(&"reboot".parse().unwrap()), None);
    }
}
