//! What the world is told: state, birth, statuses, and what an operator should look at.

use super::Server;
use crate::serve::messages;
use crate::serve::outbox::Slot;
use crate::service;
use crate::session::{QueuedCommand, SessionEvent};
use crate::spool::Recut;
use clipmark_profile::codec::CodecError;
use clipmark_profile::message::{Availability, DeviceState, Envelope, OperationResult};
use clipmark_profile::topics::CommandId;
use clipmark_service::outcome::in_one_line;
use std::time::Duration;
use tokio::time::Instant;

/// What an operator should look at, by variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::serve) enum Concern {
    Configuration,
    Connection,
    Publishing,
    SetBack,
    Spool,
    Subscription,
}

impl Server {
    /// Tells the session when the spool's room for new results has come or gone.
    pub(in crate::serve) fn look_for_room(&mut self) {
        let no_room = self.spool.room().err().map(|full| full.to_string());
        if no_room != self.no_room {
            match &no_room {
                Some(why) => self.concern(Concern::Spool, why.clone()),
                None => self.relieved(Concern::Spool),
            }
            self.no_room.clone_from(&no_room);
            self.dispatch(SessionEvent::Room(no_room));
        }
    }

    /// Trouble with the connection that time may end by itself. It is logged ever more rarely.
    pub(in crate::serve) fn repeated(&mut self, what: &str, pause: Duration) {
        match self.log.due(what, Instant::now()) {
            Some(left_out) => tracing::warn!(?pause, left_out, "{what}"),
            None => tracing::debug!(?pause, "{what}"),
        }
    }

    /// Something that an operator should know: it is logged and becomes part of the device's state.
    pub(in crate::serve) fn concern(&mut self, about: Concern, what: String) {
        if self.concerns.get(&about) != Some(&what) {
            // One that changes its numbers is the same trouble.
            let kind =
                format!("{about:?} {}", what.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default());
            match self.log.due(&kind, Instant::now()) {
                Some(_) => tracing::error!(?about, "{what}"),
                None => tracing::debug!(?about, "{what}"),
            }
            self.concerns.insert(about, what);
            self.publish_state();
        }
    }

    /// It is no longer so.
    pub(in crate::serve) fn relieved(&mut self, about: Concern) {
        if self.concerns.remove(&about).is_some() {
            tracing::info!(?about, "no longer so");
            self.log.clear();
            self.publish_state();
        }
    }

    /// The state as it is now, with what the connection count says of its age.
    pub(in crate::serve) fn device_state(
        &self,
        state: Option<Availability>,
        reasons: Vec<String>,
    ) -> DeviceState {
        let busy = if self.session.running().is_some() { Availability::Busy } else { Availability::Online };
        DeviceState {
            state: state.unwrap_or(busy),
            connection: self.connections,
            since_unix_ms: self.clock.now().unix_ms,
            command: self.session.running().cloned(),
            queued: self.session.waiting() as u32,
            unconfirmed: self.spool.unconfirmed() as u64,
            reasons,
        }
    }

    pub(in crate::serve) fn publish_state(&mut self) {
        let state = self.device_state(None, self.concerns.values().cloned().collect());
        self.put(Slot::State, messages::state(&self.device, &state));
        let line = self.status_line();
        if line != self.told_systemd {
            service::status(&line);
            self.told_systemd = line;
        }
    }

    /// The broker took a message.
    pub(in crate::serve) fn published(&mut self) {
        if !self.uplink.has_refused() && !self.outbox.has_refused() {
            self.relieved(Concern::Publishing);
        }
    }

    /// The spool has less to send than before: an operator waits for the moment when nothing is left.
    pub(in crate::serve) fn confirmed(&mut self) {
        if self.spool.unconfirmed() == 0 {
            self.publish_state();
        }
        self.look_for_room();
    }

    pub(in crate::serve) fn publish_info(&mut self) {
        let Some(described) = self.description.clone() else { return };
        let info =
            messages::device_info(&self.device, &self.config, &self.remote, self.spool.epoch(), described);
        self.put(Slot::Info, messages::info(&self.device, &info));
    }

    pub(in crate::serve) fn publish_status(&mut self, id: &CommandId) {
        let Some(command) = self.session.command(id).cloned() else { return };
        self.put_status(&command);
    }

    fn put_status(&mut self, command: &QueuedCommand) {
        let expiry = Duration::from_secs(self.config.run.status_expiry_s.into());
        let id = &command.status.command;
        match messages::status(&self.device, command, expiry) {
            Ok((message, reply)) => {
                self.outbox.put(Slot::Status(id.clone()), message);
                if let Some(reply) = reply {
                    self.outbox.put(Slot::Reply(id.clone()), reply);
                }
            }
            Err(error) => tracing::error!(%error, command = %id, "a status cannot be encoded"),
        }
    }

    /// Puts a shorter message into a slot whose message exceeds the `limit` of a packet, and says in it what is left
    /// out. Returns whether there is a shorter one.
    pub(in crate::serve) fn shorten(&mut self, slot: &Slot, limit: usize) -> bool {
        let why = format!(
            "longer than the {limit} bytes of a packet that the broker accepts; raise its limit of packet or message size"
        );
        match slot {
            Slot::Status(id) | Slot::Reply(id) => {
                let Some(mut command) = self.session.command(id).cloned() else { return false };
                let notes = vec![format!("the result is left out: it is {why}")];
                command.status.result =
                    command.status.result.map(|_| OperationResult { notes, ..OperationResult::default() });
                let before = self.outbox.length(slot);
                self.put_status(&command);
                self.outbox.length(slot) < before
            }
            Slot::Info => {
                let Some(description) = &mut self.description else { return false };
                if description.models.is_empty() {
                    return false;
                }
                description.models.clear();
                description.absent =
                    vec![format!("models and what else is absent: left out, they are {why}")];
                self.publish_info();
                true
            }
            Slot::State | Slot::Config => false,
        }
    }

    /// Makes results that are spooled from now on fit into the packets that the broker accepts.
    pub(in crate::serve) fn fit_parts(&mut self) {
        let limit = self.link.connection().and_then(|connection| connection.max_packet());
        let part = limit.map_or(usize::MAX, |limit| limit.saturating_sub(messages::AROUND_A_PART));
        if self.spool.limit_parts(part) && part < Envelope::MAX_PART {
            tracing::info!(limit, "results are cut into parts that the broker accepts");
        }
    }

    /// Cuts a record whose packet of `length` bytes exceeds the `limit` of the broker into smaller ones, or sets it
    /// aside; what is behind it goes on either way.
    pub(in crate::serve) fn cut(&mut self, sequence: u64, length: usize, limit: usize) {
        let now = self.clock.now();
        match self.spool.recut(sequence, length.saturating_sub(limit), now.unix_ms) {
            Ok(Some(Recut::Cut(records))) => {
                tracing::info!(sequence, limit, ?records, "a result was cut into smaller parts");
            }
            Ok(Some(Recut::Aside(path))) => {
                let what = format!(
                    "a result is larger than the {limit} bytes of a packet that the broker accepts and cannot be cut \
                     small enough; it stays on the device as {}: raise the broker's limit of packet or message size",
                    path.display()
                );
                self.concern(Concern::Publishing, what);
            }
            Ok(None) => {}
            Err(error) => {
                self.uplink.not_taken(sequence);
                self.uplink.pause(now.monotonic);
                self.concern(Concern::Spool, in_one_line(&error));
            }
        }
    }

    pub(super) fn put(&mut self, slot: Slot, message: Result<crate::mqtt::Message, CodecError>) {
        match message {
            Ok(message) => self.outbox.put(slot, message),
            Err(error) => tracing::error!(%error, ?slot, "a message cannot be encoded"),
        }
    }

    /// One line for `systemctl status`.
    pub(in crate::serve) fn status_line(&self) -> String {
        let doing = self.session.running().map_or("idle".into(), |command| format!("running {command}"));
        format!("{doing}, {} waiting, {} unconfirmed", self.session.waiting(), self.spool.unconfirmed())
    }
}
