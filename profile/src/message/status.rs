//! Commands: what a requester learns of them.

use super::device::ModelInfo;
use super::envelope::{Epoch, SequenceRange};
use crate::topics::{CommandId, OperationName};
use serde::{Deserialize, Serialize};

/// The request of an operation that takes no arguments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// How far a command came. `Init` and `Executing` are followed by exactly one of the others, which is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// Accepted and waiting for its turn.
    Init,
    /// Being carried out.
    Executing,
    /// Done; results, if any, are safely spooled.
    Successful,
    /// Tried and not done.
    Failed,
    /// Given up on request.
    Canceled,
    /// Never tried: the request cannot be carried out as it is.
    Rejected,
    /// Its time ran out before or while it was carried out.
    TimedOut,
}

impl CommandState {
    /// Whether no other state can follow.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Init | Self::Executing)
    }
}

/// Why, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// The operation's name is not known to this version.
    UnknownOperation,
    /// The payload cannot be read: encoding, unknown field, wrong type, length.
    BadRequest,
    /// A number is beyond a limit of the configuration.
    LimitExceeded,
    /// No such model in the model directory.
    UnknownModel,
    /// The model's digest is not the one that the request states.
    DigestMismatch,
    /// As many commands wait as the configuration permits.
    QueueFull,
    /// The spool has no room for another result.
    SpoolFull,
    /// The request was published with the retain flag.
    Retained,
    /// The command's own expiry passed.
    Expired,
    /// It ran longer than the configuration permits.
    TooLong,
    /// The device stopped in the midst of it, and it could not be resumed.
    Interrupted,
    /// The device could not write to its disk.
    Storage,
    /// The benchmark reported a failure.
    RunFailed,
    /// A cancel arrived.
    CancelRequested,
    /// New runs are paused by the operator.
    Paused,
}

/// Why, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The kind.
    pub code: ReasonCode,
    /// What happened, to what, the likely cause and what to do next.
    pub message: String,
}

/// The retained status of one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandStatus {
    /// Which command.
    pub command: CommandId,
    /// What was to be done.
    pub operation: OperationName,
    /// How far it came.
    pub state: CommandState,
    /// Wall-clock time of this state, milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// Why, for every final state but `Successful`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// How often it was started; above 1 after an interruption.
    #[serde(default)]
    pub attempt: u32,
    /// Commands before this one, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_behind: Option<u32>,
    /// The spool that holds the results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The spooled results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<SequenceRange>,
    /// Results that are small enough to be part of the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<OperationResult>,
}

/// Results of `probe`, `models` and `check`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OperationResult {
    /// One reading per channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
    /// The models in the model directory and the built-in ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelInfo>,
    /// Requirements, each met or missed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// What else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What one channel says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The channel's id, `kind.name`.
    pub channel: String,
    /// The value in `unit`; absent when it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    /// The unit of the channel's kind.
    pub unit: String,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is required.
    pub name: String,
    /// Whether it is met.
    pub met: bool,
    /// What was found, and how to mend it when it is missed.
    pub detail: String,
}
