//! What happens to a session, and what it wants done.

use super::command::{ReplyTo, Task};
use super::past::PastBounds;
use clipmark_profile::message::{Epoch, OperationResult, Reason, SequenceRange};
use clipmark_profile::topics::{CommandId, OperationName};
use clipmark_profile::units::Nanos;

/// What bounds a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Commands that may wait behind the running one.
    pub queue: usize,
    /// Unclean starts after which a command is given up.
    pub attempts: u32,
    /// Longest time from the start of a command to its end.
    pub longest: Nanos,
    /// Final commands that are remembered whole: so many that were refused, and so many that were carried out.
    pub remembered: usize,
    /// What is remembered of commands that were carried out before those.
    pub past: PastBounds,
}

/// The time of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: for expiry and limits.
    pub monotonic: Nanos,
    /// Wall clock: a label in statuses.
    pub unix_ms: u64,
}

/// A request as it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// Which command.
    pub command: CommandId,
    /// The operation as the topic names it.
    pub operation: OperationName,
    /// What to do, or why it cannot be done.
    pub task: Result<Task, Reason>,
    /// Where else to answer.
    pub reply: Option<ReplyTo>,
    /// How long it may wait.
    pub expires_in_ms: Option<u64>,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandOutcome {
    /// Done. Records, if any, are synced in the spool.
    Successful {
        /// The spooled results.
        records: Option<(Epoch, SequenceRange)>,
        /// Results that are part of the status.
        result: Option<OperationResult>,
    },
    /// Tried and not done.
    Failed(Reason),
    /// Not tried: it turned out that the request cannot be carried out as it is.
    Rejected(Reason),
    /// Stopped because it was asked to; what was measured until then may be spooled.
    Stopped {
        /// The spooled partial results.
        records: Option<(Epoch, SequenceRange)>,
    },
    /// Stopped in good order because the daemon stops; it can be resumed.
    Checkpointed,
}

/// What happens to a session.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// A request arrived, for the first time or again.
    Requested(Box<Incoming>),
    /// A cancel arrived, for a command known or not.
    CancelRequested {
        /// Which command.
        command: CommandId,
        /// The operation as the topic names it.
        operation: OperationName,
    },
    /// The execution of the running command ended.
    Finished {
        /// Which command.
        command: CommandId,
        /// How.
        outcome: CommandOutcome,
    },
    /// The broker acknowledged a command's final status.
    Delivered(CommandId),
    /// The results of a command are at another place in the spool.
    Moved {
        /// Which command.
        command: CommandId,
        /// The new epoch.
        epoch: Epoch,
        /// The new sequences.
        records: SequenceRange,
    },
    /// A command could not be stored.
    StoreFailed {
        /// Which command.
        command: CommandId,
        /// The disk's words.
        message: String,
    },
    /// Whether the spool has room for another result: `Some` says why not.
    Room(Option<String>),
    /// Whether new runs are refused by the operator.
    Paused(bool),
    /// The bounds changed.
    Rules(Rules),
    /// Time passed.
    Tick,
    /// The daemon stops: nothing is started any more and the running command is checkpointed.
    Stopping,
}

/// Why a running execution is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It was cancelled or took too long: end with what there is.
    GiveUp,
    /// The daemon stops: leave it so that it can be resumed.
    Checkpoint,
}

/// What a driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the command durable as it is now.
    Store(CommandId),
    /// Remove it from the disk.
    Forget(CommandId),
    /// Keep what is left of it among the past ones.
    Archive(CommandId),
    /// Publish its status as it is now.
    Publish(CommandId),
    /// Begin, or resume where `attempt` is above 1.
    Start {
        /// Which command.
        command: CommandId,
        /// Counts from 1.
        attempt: u32,
    },
    /// End the execution.
    Stop {
        /// Which command.
        command: CommandId,
        /// How.
        how: Stop,
    },
    /// What is running or waiting has changed.
    PublishState,
}

impl Action {
    /// The command that it is about, if about one.
    #[must_use]
    pub const fn command(&self) -> Option<&CommandId> {
        match self {
            Self::Store(command)
            | Self::Forget(command)
            | Self::Archive(command)
            | Self::Publish(command) => Some(command),
            Self::Start { command, .. } | Self::Stop { command, .. } => Some(command),
            Self::PublishState => None,
        }
    }
}
