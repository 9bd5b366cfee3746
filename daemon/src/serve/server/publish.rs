//! What the world is told: state, birth and statuses.

use super::Server;
use crate::mqtt::Message;
use crate::serve::delivery::{Shorter, Slot};
use crate::serve::messages;
use crate::service;
use crate::session::QueuedCommand;
use clipmark_profile::codec::CodecError;
use clipmark_profile::message::{Availability, DeviceInfo, DeviceState, OperationResult};
use clipmark_profile::topics::CommandId;
use std::time::Duration;

impl Server {
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
            unconfirmed: self.delivery.spool.unconfirmed() as u64,
            reasons,
        }
    }

    pub(in crate::serve) fn publish_state(&mut self) {
        let state = self.device_state(None, self.delivery.concerns());
        self.put(Slot::State, messages::state(&self.device, &state), None);
        let line = self.status_line();
        if line != self.told_systemd {
            service::status(&line);
            self.told_systemd = line;
        }
    }

    pub(super) fn publish_info(&mut self) {
        let Some(described) = self.description.clone() else { return };
        let epoch = self.delivery.spool.epoch();
        let info = messages::device_info(&self.device, &self.config, &self.remote, epoch, described);
        let message = messages::info(&self.device, &info);
        let device = self.device.clone();
        let shorter = (!info.models.is_empty()).then(|| {
            Shorter::new(move |limit| {
                let absent =
                    vec![format!("models and what else is absent: left out, they are {}", too_long(limit))];
                messages::info(&device, &DeviceInfo { models: Vec::new(), absent, ..info.clone() }).ok()
            })
        });
        self.put(Slot::Info, message, shorter);
    }

    pub(super) fn publish_status(&mut self, id: &CommandId) {
        let Some(command) = self.session.command(id).cloned() else { return };
        let expiry = Duration::from_secs(self.config.run.status_expiry_s.into());
        let [status, reply] = [Slot::Status(id.clone()), Slot::Reply(id.clone())];
        match messages::status(&self.device, &command, expiry) {
            Ok((message, answer)) => {
                self.delivery.put(
                    status,
                    message,
                    self.shorter_status(&command, expiry, |(status, _)| Some(status)),
                );
                if let Some(answer) = answer {
                    self.delivery.put(
                        reply,
                        answer,
                        self.shorter_status(&command, expiry, |(_, reply)| reply),
                    );
                }
            }
            Err(error) => tracing::error!(%error, command = %id, "a status cannot be encoded"),
        }
    }

    /// A status without its result, as far as it has one.
    fn shorter_status(
        &self,
        command: &QueuedCommand,
        expiry: Duration,
        which: fn((Message, Option<Message>)) -> Option<Message>,
    ) -> Option<Shorter> {
        command.status.result.as_ref()?;
        let (device, mut command) = (self.device.clone(), command.clone());
        command.status.result = None;
        Some(Shorter::new(move |limit| {
            let mut command = command.clone();
            let notes = vec![format!("the result is left out: it is {}", too_long(limit))];
            command.status.result = Some(OperationResult { notes, ..OperationResult::default() });
            messages::status(&device, &command, expiry).ok().and_then(which)
        }))
    }

    pub(super) fn put(&mut self, slot: Slot, message: Result<Message, CodecError>, shorter: Option<Shorter>) {
        match message {
            Ok(message) => self.delivery.put(slot, message, shorter),
            Err(error) => tracing::error!(%error, ?slot, "a message cannot be encoded"),
        }
    }

    /// One line for `systemctl status`.
    pub(in crate::serve) fn status_line(&self) -> String {
        let doing = self.session.running().map_or("idle".into(), |command| format!("running {command}"));
        let unconfirmed = self.delivery.spool.unconfirmed();
        format!("{doing}, {} waiting, {unconfirmed} unconfirmed", self.session.waiting())
    }
}

fn too_long(limit: usize) -> String {
    format!(
        "longer than the {limit} bytes of a packet that the broker accepts; raise its limit of packet or message size"
    )
}
