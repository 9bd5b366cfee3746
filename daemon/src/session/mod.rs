//! The life of commands: from request to exactly one final status.
//!
//! Terms: a command *waits* (`init`), is *running* (`executing`) or is *final*. One runs at a time, the
//! others wait in a bounded queue. A final command that never started was *refused*, the others were carried out;
//! of those the latest are kept whole and the older ones are *past*, down to what keeps them from being carried
//! out again. A start is *unclean* until the run ends or is checkpointed in good order:
//! a command whose starts keep ending uncleanly is given up as interrupted.
//!
//! Pure: [`Session::step`] takes an event and the time and returns what is to be done, in order. It reads no
//! clock, no disk and no network, and it does not know MQTT. The driver's part of the contract: actions are
//! carried out in order and speak of the state after the step; [`Action::Store`] is durable before the next
//! one; if it fails, the remaining actions of that command are dropped and [`SessionEvent::StoreFailed`] is fed back.

mod command;
mod event;
mod past;
#[cfg(test)]
mod tests;

pub use command::{QueuedCommand, ReplyTo, Task};
pub use event::{Action, CommandOutcome, Incoming, Now, Rules, SessionEvent, Stop};
pub use past::{PastBounds, PastCommand};

use clipmark_profile::message::{CommandState, Epoch, Reason, ReasonCode, SequenceRange};
use clipmark_profile::topics::{CommandId, OperationName};
use clipmark_profile::units::Nanos;
use past::Past;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long after a failed store the next one is tried.
const STORE_AGAIN: Nanos = Nanos::from_secs(10);

/// The running command.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Running {
    command: CommandId,
    deadline: Nanos,
    /// The final state that a stop leads to, once one was ordered.
    stopping: Option<(CommandState, Reason)>,
}

/// All commands that are known.
#[derive(Debug)]
pub struct Session {
    rules: Rules,
    commands: BTreeMap<CommandId, QueuedCommand>,
    /// Waiting commands with the instant at which they expire.
    queue: VecDeque<(CommandId, Option<Nanos>)>,
    /// Final commands in the order in which they became final.
    finals: VecDeque<CommandId>,
    /// How many of the finals were never carried out.
    refused: usize,
    /// Commands that were carried out before those.
    past: Past,
    running: Option<Running>,
    /// Final commands that the disk does not know as such.
    unstored: BTreeSet<CommandId>,
    store_again: Option<Nanos>,
    accepted: u64,
    no_room: Option<String>,
    paused: bool,
    is_stopping: bool,
}

fn reason(code: ReasonCode, message: impl Into<String>) -> Reason {
    Reason { code, message: message.into() }
}

fn expiry(now: Now, expires_in_ms: Option<u64>) -> Option<Nanos> {
    expires_in_ms.map(|ms| Nanos(now.monotonic.get().saturating_add(ms.saturating_mul(1_000_000))))
}

/// All actions speak of the state after the step, so the first of several equal ones does it.
fn without_repeats(actions: Vec<Action>) -> Vec<Action> {
    let mut kept: Vec<Action> = Vec::with_capacity(actions.len());
    for action in actions {
        if !kept.contains(&action) {
            kept.push(action);
        }
    }
    kept
}

impl Session {
    /// The session after a start of the daemon, with what was stored before, and what is to be done about it:
    /// interrupted commands are resumed or given up, finals that may not have reached the broker are
    /// published again. `spooled` tells the results that a command already has in the spool: it was done, and
    /// only the note of it is missing.
    #[must_use]
    pub fn restore(
        rules: Rules,
        stored: Vec<QueuedCommand>,
        mut spooled: impl FnMut(&CommandId) -> Option<(Epoch, SequenceRange)>,
        now: Now,
    ) -> (Self, Vec<Action>) {
        let mut stored = stored;
        stored.sort_by_key(|command| command.accepted);
        let mut session = Self {
            rules,
            accepted: stored.last().map_or(0, |command| command.accepted),
            commands: BTreeMap::new(),
            queue: VecDeque::new(),
            finals: VecDeque::new(),
            refused: 0,
            past: Past::default(),
            running: None,
            unstored: BTreeSet::new(),
            store_again: None,
            no_room: None,
            paused: false,
            is_stopping: false,
        };
        let mut actions = Vec::new();
        for command in stored {
            let records = match command.status.state {
                CommandState::Executing => spooled(&command.status.command),
                _ => None,
            };
            session.restore_one(command, records, now, &mut actions);
        }
        session.start_next(now, &mut actions);
        session.bound_memory(now, &mut actions);
        (session, without_repeats(actions))
    }

    fn restore_one(
        &mut self,
        command: QueuedCommand,
        records: Option<(Epoch, SequenceRange)>,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let id = command.status.command.clone();
        let state = command.status.state;
        let starts = command.unclean_starts;
        let expires = expiry(now, command.expires_in_ms);
        let is_delivered = command.delivered;
        self.commands.insert(id.clone(), command);
        match state {
            CommandState::Init => self.queue.push_back((id, expires)),
            CommandState::Executing if records.is_some() => {
                self.finish(&id, CommandOutcome::Successful { records, result: None }, now, actions);
            }
            CommandState::Executing if starts >= self.rules.attempts => {
                let message = format!(
                    "the device stopped {starts} times in the midst of this command, so it is given up; look \
                     for the cause (power, memory, a crash) in the device's log, then send it with a new id"
                );
                let outcome = CommandOutcome::Failed(reason(ReasonCode::Interrupted, message));
                self.finish(&id, outcome, now, actions);
            }
            // Resumed before anything that waits. At most one was running; more would mean a damaged store.
            CommandState::Executing => self.queue.push_front((id, None)),
            _ => {
                self.push_final(id.clone());
                if !is_delivered {
                    actions.push(Action::Publish(id));
                }
            }
        }
    }

    /// Takes up what was archived before the start, the oldest first.
    pub fn remember(&mut self, past: Vec<PastCommand>, now: Now) {
        for command in past {
            if !self.commands.contains_key(&command.command) {
                self.past.insert(command);
            }
        }
        self.past.bound(self.rules.past, now);
    }

    /// What is archived, the oldest first.
    pub fn past(&self) -> impl Iterator<Item = &PastCommand> {
        self.past.iter()
    }

    /// One command of those.
    #[must_use]
    pub fn past_command(&self, id: &CommandId) -> Option<&PastCommand> {
        self.past.get(id)
    }

    /// A command of long ago is asked for again: it becomes a recent one.
    fn recall(&mut self, id: &CommandId) {
        let Some(past) = self.past.take(id) else { return };
        self.accepted += 1;
        self.commands.insert(id.clone(), past.recalled(self.accepted));
        self.push_final(id.clone());
    }

    /// One command.
    #[must_use]
    pub fn command(&self, id: &CommandId) -> Option<&QueuedCommand> {
        self.commands.get(id)
    }

    /// The running command.
    #[must_use]
    pub fn running(&self) -> Option<&CommandId> {
        self.running.as_ref().map(|running| &running.command)
    }

    /// Commands that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Commands whose status names results in another epoch than `epoch`.
    pub fn with_records_outside(&self, epoch: Epoch) -> impl Iterator<Item = &CommandId> {
        let elsewhere = move |command: &&QueuedCommand| command.status.epoch.is_some_and(|of| of != epoch);
        self.commands.values().filter(elsewhere).map(|command| &command.status.command)
    }

    /// The most recent commands, newest first, for a broker that has lost its retained messages.
    pub fn recent(&self, most: usize) -> impl Iterator<Item = &CommandId> {
        let finals = self.finals.iter().rev().take(most);
        self.running().into_iter().chain(self.queue.iter().map(|(id, _)| id)).chain(finals)
    }

    /// When [`SessionEvent::Tick`] is next needed, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let running = self.running.iter().filter(|running| running.stopping.is_none());
        let waiting = self.queue.iter().filter_map(|(_, expires)| *expires);
        running.map(|running| running.deadline).chain(waiting).chain(self.store_again).min()
    }

    /// Takes one event and returns what is to be done, in order.
    pub fn step(&mut self, now: Now, event: SessionEvent) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            SessionEvent::Requested(incoming) => self.requested(*incoming, now, &mut actions),
            SessionEvent::CancelRequested { command, operation } => {
                self.cancel_requested(command, operation, now, &mut actions);
            }
            SessionEvent::Finished { command, outcome } => {
                if self.running().is_some_and(|running| *running == command) {
                    self.finish(&command, outcome, now, &mut actions);
                }
            }
            SessionEvent::Delivered(command) => self.delivered(&command, &mut actions),
            SessionEvent::StoreFailed { command, message } => {
                self.store_failed(&command, &message, now, &mut actions)
            }
            SessionEvent::Moved { command, epoch, records } => {
                self.moved(&command, epoch, records, &mut actions);
            }
            SessionEvent::Room(no_room) => self.no_room = no_room,
            SessionEvent::Paused(paused) => self.paused = paused,
            SessionEvent::Rules(rules) => self.rules = rules,
            SessionEvent::Tick => self.tick(now, &mut actions),
            SessionEvent::Stopping => self.stop(&mut actions),
        }
        self.start_next(now, &mut actions);
        self.bound_memory(now, &mut actions);
        without_repeats(actions)
    }

    fn requested(&mut self, incoming: Incoming, now: Now, actions: &mut Vec<Action>) {
        let id = incoming.command;
        self.recall(&id);
        if self.commands.contains_key(&id) {
            actions.push(Action::Publish(id));
            return;
        }
        self.accepted += 1;
        let mut command = QueuedCommand::new(id.clone(), incoming.operation, self.accepted, now.unix_ms);
        command.reply = incoming.reply;
        command.expires_in_ms = incoming.expires_in_ms;
        let refused = match incoming.task {
            Ok(task) => {
                let refused = self.refusal(&task);
                command.task = Some(task);
                refused
            }
            Err(reason) => Some(reason),
        };
        match refused {
            Some(reason) => {
                command.task = None;
                self.commands.insert(id.clone(), command);
                self.conclude(&id, CommandState::Rejected, Some(reason), now, actions);
            }
            None => {
                let behind = self.queue.len() + usize::from(self.running.is_some());
                command.status.queued_behind = Some(behind as u32);
                let expires = expiry(now, command.expires_in_ms);
                self.commands.insert(id.clone(), command);
                self.queue.push_back((id.clone(), expires));
                actions.extend([Action::Store(id.clone()), Action::Publish(id), Action::PublishState]);
            }
        }
    }

    /// Why a request that can be carried out is not taken now.
    fn refusal(&self, task: &Task) -> Option<Reason> {
        let is_idle = self.running.is_none() && self.queue.is_empty();
        if !is_idle && self.queue.len() >= self.rules.queue {
            let message = format!(
                "{} commands wait already, which is all that queue = {} permits; send it again, with a new id, \
                 when one is done",
                self.queue.len(),
                self.rules.queue
            );
            return Some(reason(ReasonCode::QueueFull, message));
        }
        task.run.as_ref()?;
        if let Some(no_room) = &self.no_room {
            return Some(reason(ReasonCode::SpoolFull, no_room.clone()));
        }
        self.paused.then(|| {
            let message =
                "new runs are paused by cfg/desired; send it again, with a new id, once they are not";
            reason(ReasonCode::Paused, message)
        })
    }

    fn cancel_requested(
        &mut self,
        id: CommandId,
        operation: OperationName,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        self.recall(&id);
        let Some(command) = self.commands.get(&id) else {
            // The cancel overtook its request, which must find it when it comes.
            self.accepted += 1;
            let command = QueuedCommand::new(id.clone(), operation, self.accepted, now.unix_ms);
            self.commands.insert(id.clone(), command);
            let why = reason(ReasonCode::CancelRequested, "cancelled before its request arrived");
            return self.conclude(&id, CommandState::Canceled, Some(why), now, actions);
        };
        if command.status.state.is_final() {
            return actions.push(Action::Publish(id));
        }
        let why = reason(ReasonCode::CancelRequested, "cancelled on request");
        if self.running().is_some_and(|running| *running == id) {
            return self.order_stop(CommandState::Canceled, why, actions);
        }
        self.queue.retain(|(waiting, _)| *waiting != id);
        self.conclude(&id, CommandState::Canceled, Some(why), now, actions);
    }

    /// Has the running execution end; the first order decides the final state.
    fn order_stop(&mut self, state: CommandState, why: Reason, actions: &mut Vec<Action>) {
        let Some(running) = &mut self.running else { return };
        if running.stopping.is_none() {
            running.stopping = Some((state, why));
            actions.push(Action::Stop { command: running.command.clone(), how: Stop::GiveUp });
        }
    }

    fn finish(&mut self, id: &CommandId, outcome: CommandOutcome, now: Now, actions: &mut Vec<Action>) {
        let running = self.running.take_if(|running| running.command == *id);
        let ordered = running.and_then(|running| running.stopping);
        let Some(command) = self.commands.get_mut(id) else { return };
        // What was ordered counts for more than what came of it meanwhile.
        let ordered_or = |otherwise: (CommandState, Reason)| {
            let (state, why) = ordered.clone().unwrap_or(otherwise);
            (state, Some(why))
        };
        let (state, why) = match outcome {
            CommandOutcome::Successful { records, result } => {
                command.status.epoch = records.map(|(epoch, _)| epoch);
                command.status.records = records.map(|(_, range)| range);
                command.status.result = result;
                (CommandState::Successful, None)
            }
            CommandOutcome::Stopped { records } => {
                command.status.epoch = records.map(|(epoch, _)| epoch);
                command.status.records = records.map(|(_, range)| range);
                let why = reason(ReasonCode::RunFailed, "the run was stopped by a signal from outside");
                ordered_or((CommandState::Failed, why))
            }
            CommandOutcome::Failed(why) => ordered_or((CommandState::Failed, why)),
            CommandOutcome::Rejected(why) => ordered_or((CommandState::Rejected, why)),
            CommandOutcome::Checkpointed => match ordered {
                // Cancelled and then overtaken by the stop of the daemon: nothing is left to resume for.
                Some((state, why)) => (state, Some(why)),
                None => {
                    command.unclean_starts = command.unclean_starts.saturating_sub(1);
                    actions.extend([Action::Store(id.clone()), Action::PublishState]);
                    return;
                }
            },
        };
        self.conclude(id, state, why, now, actions);
    }

    fn conclude(
        &mut self,
        id: &CommandId,
        state: CommandState,
        why: Option<Reason>,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let Some(command) = self.commands.get_mut(id) else { return };
        command.enter(state, why, now.unix_ms);
        self.push_final(id.clone());
        actions.extend([Action::Store(id.clone()), Action::Publish(id.clone()), Action::PublishState]);
    }

    fn delivered(&mut self, id: &CommandId, actions: &mut Vec<Action>) {
        let Some(command) = self.commands.get_mut(id) else { return };
        if command.status.state.is_final() && !command.delivered {
            command.delivered = true;
            actions.push(Action::Store(id.clone()));
        }
    }

    /// Not a new state: the same results, under the names that they have now.
    fn moved(&mut self, id: &CommandId, epoch: Epoch, records: SequenceRange, actions: &mut Vec<Action>) {
        let Some(command) = self.commands.get_mut(id) else { return };
        command.status.epoch = Some(epoch);
        command.status.records = Some(records);
        command.delivered = false;
        actions.extend([Action::Store(id.clone()), Action::Publish(id.clone())]);
    }

    fn store_failed(&mut self, id: &CommandId, message: &str, now: Now, actions: &mut Vec<Action>) {
        let Some(command) = self.commands.get_mut(id) else { return };
        if !command.status.state.is_final() {
            let why = format!("the device could not store this command: {message}");
            self.queue.retain(|(waiting, _)| waiting != id);
            self.running.take_if(|running| running.command == *id);
            command.enter(CommandState::Failed, Some(reason(ReasonCode::Storage, why)), now.unix_ms);
            self.push_final(id.clone());
        }
        // Until the disk takes it, a restart may find an earlier state.
        self.unstored.insert(id.clone());
        self.store_again = Some(Nanos(now.monotonic.get().saturating_add(STORE_AGAIN.get())));
        actions.extend([Action::Publish(id.clone()), Action::PublishState]);
    }

    fn tick(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.store_again.take_if(|at| *at <= now.monotonic).is_some() {
            actions.extend(std::mem::take(&mut self.unstored).into_iter().map(Action::Store));
        }
        let expired = |expires: &Option<Nanos>| expires.is_some_and(|expires| expires <= now.monotonic);
        let (gone, kept): (VecDeque<_>, VecDeque<_>) =
            self.queue.drain(..).partition(|(_, expires)| expired(expires));
        self.queue = kept;
        for (id, _) in gone {
            let message =
                "its expiry passed while it waited; send it again, with a new id and a longer expiry";
            let why = reason(ReasonCode::Expired, message);
            self.conclude(&id, CommandState::TimedOut, Some(why), now, actions);
        }
        if self.running.as_ref().is_some_and(|running| running.deadline <= now.monotonic) {
            let message = format!(
                "it ran longer than the {:.0} s that run.longest_s permits; ask for fewer points or a smaller \
                 budget_s",
                self.rules.longest.as_secs_f64()
            );
            self.order_stop(CommandState::TimedOut, reason(ReasonCode::TooLong, message), actions);
        }
    }

    fn stop(&mut self, actions: &mut Vec<Action>) {
        self.is_stopping = true;
        if let Some(Running { command, stopping: None, .. }) = &self.running {
            actions.push(Action::Stop { command: command.clone(), how: Stop::Checkpoint });
        }
    }

    fn start_next(&mut self, now: Now, actions: &mut Vec<Action>) {
        while !self.is_stopping && self.running.is_none() {
            let Some((id, _)) = self.queue.pop_front() else { return };
            let Some(command) = self.commands.get_mut(&id) else { continue };
            let is_run = command.task.as_ref().is_some_and(|task| task.run.is_some());
            if let (true, 0, Some(no_room)) = (is_run, command.status.attempt, &self.no_room) {
                let why = reason(ReasonCode::SpoolFull, no_room.clone());
                self.conclude(&id, CommandState::Rejected, Some(why), now, actions);
                continue;
            }
            command.enter(CommandState::Executing, None, now.unix_ms);
            command.status.attempt += 1;
            command.unclean_starts += 1;
            let attempt = command.status.attempt;
            let deadline = Nanos(now.monotonic.get().saturating_add(self.rules.longest.get()));
            self.running = Some(Running { command: id.clone(), deadline, stopping: None });
            actions.extend([
                Action::Store(id.clone()),
                Action::Publish(id.clone()),
                Action::PublishState,
                Action::Start { command: id, attempt },
            ]);
        }
    }

    fn is_refused(&self, id: &CommandId) -> bool {
        self.commands.get(id).is_none_or(|command| command.status.attempt == 0)
    }

    fn push_final(&mut self, id: CommandId) {
        self.refused += usize::from(self.is_refused(&id));
        self.finals.push_back(id);
    }

    /// Forgets refused commands, and archives those that were carried out: neither kind displaces the other.
    fn bound_memory(&mut self, now: Now, actions: &mut Vec<Action>) {
        let most = self.rules.remembered;
        while self.refused > most || self.finals.len() - self.refused > most {
            let forgets = self.refused > most;
            let Some(index) = self.finals.iter().position(|id| self.is_refused(id) == forgets) else { break };
            let Some(oldest) = self.finals.remove(index) else { break };
            self.refused -= usize::from(forgets);
            let Some(command) = self.commands.remove(&oldest) else { continue };
            if forgets {
                actions.push(Action::Forget(oldest));
            } else {
                self.past.insert(PastCommand::of(&command));
                actions.push(Action::Archive(oldest));
            }
        }
        self.past.bound(self.rules.past, now);
    }
}
