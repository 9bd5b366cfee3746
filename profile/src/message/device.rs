//! What a device says of itself, and what it is told.

use super::envelope::Epoch;
use crate::plan::Limits;
use crate::topics::{CommandId, DeviceId, GroupId, Operation};
use crate::units::{Bytes, MilliCelsius};
use serde::{Deserialize, Serialize};

/// Whether a device can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// Connected and idle.
    Online,
    /// Connected and carrying out a command.
    Busy,
    /// Not connected: it said goodbye, or the broker published its last will.
    Offline,
}

/// The retained state of a device, and its last will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceState {
    /// Whether it can be asked.
    pub state: Availability,
    /// Counts connections over the device's life; a state with a lower count is out of date.
    pub connection: u64,
    /// Wall-clock time at which it came to be so, milliseconds since the Unix epoch. In a last will: when
    /// the connection was made.
    pub since_unix_ms: u64,
    /// The command being carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandId>,
    /// Commands waiting.
    #[serde(default)]
    pub queued: u32,
    /// Records that no receipt has confirmed.
    #[serde(default)]
    pub unconfirmed: u64,
    /// Why it is offline, or what an operator should look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// The birth message: what a device is and can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// [`crate::summary::SCHEMA_VERSION`] of its profiles.
    pub schema: u16,
    /// clipmark's version.
    pub clipmark: String,
    /// The device.
    pub device: DeviceId,
    /// Its groups.
    pub groups: Vec<GroupId>,
    /// Operations that it knows.
    pub operations: Vec<Operation>,
    /// Board model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
    /// Jetson Linux release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l4t: Option<String>,
    /// Kernel release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// CPU architecture.
    pub arch: String,
    /// Power mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_mode: Option<String>,
    /// Backends in this build; whether they work here is what `check` tells.
    pub backends: Vec<String>,
    /// Models that a request can name.
    pub models: Vec<ModelInfo>,
    /// The spool that its records come from.
    pub epoch: Epoch,
    /// Caps on the numbers of a request.
    pub limits: Limits,
    /// What could not be found out, with the cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
}

/// A model that a request can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The name.
    pub name: String,
    /// Size of the file, of its weight files too once they are digested; absent for a built-in model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// SHA-256, lower-case hexadecimal; absent while it is being computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// How far the running command is. Not retained, not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which command.
    pub command: CommandId,
    /// What is being done, e.g. `prepare`, `measure`, `soak`.
    pub phase: String,
    /// The point being worked on, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<u32>,
    /// Points in the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<u32>,
    /// Which point that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Time since the command was started.
    pub elapsed_ms: u64,
    /// Temperatures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub temperatures: Vec<Temperature>,
}

/// A thermal zone's reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Temperature {
    /// The channel.
    pub channel: String,
    /// The reading.
    pub millicelsius: MilliCelsius,
}

/// The settings that can be changed from afar. They can only tighten what the device's own file permits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteSettings {
    /// Caps on the numbers of a request; the lower of these and the file's hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Commands that may wait; the lower of this and the file's holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Whether new runs are refused, e.g. while a fleet is being updated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// The settings that a device is to take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigDesired {
    /// Chosen by the operator, reported back.
    pub version: u64,
    /// The settings.
    pub settings: RemoteSettings,
}

/// The settings that a device took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigReported {
    /// The version last asked for, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The settings in force.
    pub settings: RemoteSettings,
    /// Why the last version was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
