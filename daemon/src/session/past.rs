//! Commands that were carried out long ago: no more of each than what keeps its id from being carried out again.
//!
//! Bounded by time and by bytes. Pure.

use super::command::QueuedCommand;
use super::event::Now;
use clipmark_profile::message::{CommandState, Epoch, Reason, ReasonCode, SequenceRange};
use clipmark_profile::topics::{CommandId, OperationName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Before 2020 no board had a clipmarkd: its clock was not set.
const FIRST_UNIX_MS: u64 = 1_577_836_800_000;

/// What is kept of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastCommand {
    /// Which command.
    pub command: CommandId,
    /// What was done.
    pub operation: OperationName,
    /// How it ended.
    pub state: CommandState,
    /// When, by the device's clock.
    pub at_unix_ms: u64,
    /// Why, for every state but `Successful`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ReasonCode>,
    /// The spool that held its results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// Its results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<SequenceRange>,
}

impl PastCommand {
    pub(super) fn of(command: &QueuedCommand) -> Self {
        let status = &command.status;
        Self {
            command: status.command.clone(),
            operation: status.operation.clone(),
            state: status.state,
            at_unix_ms: status.at_unix_ms,
            code: status.reason.as_ref().map(|reason| reason.code),
            epoch: status.epoch,
            records: status.records,
        }
    }

    /// The command, as far as it is known, for a requester that sends it again.
    pub(super) fn recalled(self, accepted: u64) -> QueuedCommand {
        let mut command = QueuedCommand::new(self.command, self.operation, accepted, self.at_unix_ms);
        let message = "the device no longer keeps the details of this command";
        let reason = self.code.map(|code| Reason { code, message: message.into() });
        command.enter(self.state, reason, self.at_unix_ms);
        command.status.attempt = 1;
        command.status.epoch = self.epoch;
        command.status.records = self.records;
        command.delivered = true;
        command
    }

    /// About what it takes on disk.
    fn bytes(&self) -> usize {
        // Names of fields and numbers, rounded up.
        self.command.as_str().len() + self.operation.as_str().len() + 160
    }

    fn is_older(&self, than_ms: u64, now: Now) -> bool {
        let is_known = self.at_unix_ms >= FIRST_UNIX_MS && now.unix_ms >= FIRST_UNIX_MS;
        is_known && now.unix_ms.saturating_sub(self.at_unix_ms) > than_ms
    }
}

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastBounds {
    /// For how long.
    pub longest_ms: u64,
    /// In how many bytes.
    pub bytes: usize,
}

/// Commands of long ago, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Past {
    commands: BTreeMap<CommandId, PastCommand>,
    order: VecDeque<CommandId>,
    bytes: usize,
}

impl Past {
    pub(super) fn insert(&mut self, command: PastCommand) {
        self.take(&command.command);
        self.bytes += command.bytes();
        self.order.push_back(command.command.clone());
        self.commands.insert(command.command.clone(), command);
    }

    pub(super) fn take(&mut self, id: &CommandId) -> Option<PastCommand> {
        let command = self.commands.remove(id)?;
        self.bytes -= command.bytes();
        self.order.retain(|of| of != id);
        Some(command)
    }

    pub(super) fn get(&self, id: &CommandId) -> Option<&PastCommand> {
        self.commands.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PastCommand> {
        self.order.iter().filter_map(|id| self.commands.get(id))
    }

    /// Forgets the oldest ones.
    pub(super) fn bound(&mut self, bounds: PastBounds, now: Now) {
        while let Some(oldest) = self.order.front().and_then(|id| self.commands.get(id)) {
            if self.bytes <= bounds.bytes && !oldest.is_older(bounds.longest_ms, now) {
                return;
            }
            self.bytes -= oldest.bytes();
            if let Some(id) = self.order.pop_front() {
                self.commands.remove(&id);
            }
        }
    }
}
