//! What is known of one command, as it is kept on disk.

use clipmark_profile::message::{CommandState, CommandStatus, Reason};
use clipmark_profile::plan::Request;
use clipmark_profile::topics::{CommandId, Operation, OperationName};
use serde::{Deserialize, Serialize};

/// A request that can be carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// What is to be done.
    pub operation: Operation,
    /// What is to be measured; for [`Operation::Run`] alone.
    pub run: Option<Box<Request>>,
}

/// Where a requester wants to hear of the command besides the status topic (MQTT 5 response topic).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyTo {
    /// The topic.
    pub topic: String,
    /// Returned as it came.
    pub correlation: Option<Vec<u8>>,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedCommand {
    /// What requesters are told.
    pub status: CommandStatus,
    /// What to do; absent where the request was refused or only a cancel came.
    pub task: Option<Task>,
    /// Where else to answer.
    pub reply: Option<ReplyTo>,
    /// Counts accepted commands: the order in which they are carried out.
    pub accepted: u64,
    /// How long the command may wait, counted from when it was accepted or, after a restart, from that.
    pub expires_in_ms: Option<u64>,
    /// Starts that were not followed by an orderly end.
    pub unclean_starts: u32,
    /// Whether the broker has acknowledged the final status.
    pub delivered: bool,
}

impl QueuedCommand {
    /// A command as it arrives.
    #[must_use]
    pub fn new(command: CommandId, operation: OperationName, accepted: u64, at_unix_ms: u64) -> Self {
        Self {
            status: CommandStatus {
                command,
                operation,
                state: CommandState::Init,
                at_unix_ms,
                reason: None,
                attempt: 0,
                queued_behind: None,
                epoch: None,
                records: None,
                result: None,
            },
            task: None,
            reply: None,
            accepted,
            expires_in_ms: None,
            unclean_starts: 0,
            delivered: false,
        }
    }

    /// Enters `state`. A final state is never left.
    pub fn enter(&mut self, state: CommandState, reason: Option<Reason>, at_unix_ms: u64) {
        debug_assert!(!self.status.state.is_final(), "a final state is never left");
        self.status.state = state;
        self.status.reason = reason;
        self.status.at_unix_ms = at_unix_ms;
        self.status.queued_behind = None;
    }
}
