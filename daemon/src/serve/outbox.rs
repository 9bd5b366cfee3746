//! Messages of which only the latest counts: state, info, statuses.
//!
//! A *slot* holds the latest message for one purpose until the broker has acknowledged exactly that one. An
//! older message that is still under way when a newer one is put in does not empty the slot. Pure.

use crate::mqtt::Message;
use clipmark_profile::topics::CommandId;
use std::collections::BTreeMap;

/// What a message is for. The order is the order of sending.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// The device's state.
    State,
    /// The birth message.
    Info,
    /// A command's status.
    Status(CommandId),
    /// The same, to the response topic of the request.
    Reply(CommandId),
    /// The configuration in force.
    Config,
}

#[derive(Debug)]
struct Held {
    message: Message,
    version: u64,
    /// The version that is under way.
    under_way: Option<u64>,
    /// Refused by the broker: not tried again on this connection.
    refused: bool,
}

/// All slots with something to send.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    held: BTreeMap<Slot, Held>,
    versions: u64,
}

impl Outbox {
    /// Replaces what the slot holds.
    pub(super) fn put(&mut self, slot: Slot, message: Message) {
        self.versions += 1;
        let version = self.versions;
        match self.held.get_mut(&slot) {
            Some(held) => {
                held.message = message;
                held.version = version;
            }
            None => {
                self.held.insert(slot, Held { message, version, under_way: None, refused: false });
            }
        }
    }

    /// The next message that is not under way, with its version.
    pub(super) fn next(&self) -> Option<(Slot, u64, Message)> {
        let waits = |held: &&Held| held.under_way != Some(held.version) && !held.refused;
        let (slot, held) = self.held.iter().find(|(_, held)| waits(held))?;
        Some((slot.clone(), held.version, held.message.clone()))
    }

    /// A version was handed to the connection.
    pub(super) fn sent(&mut self, slot: &Slot, version: u64) {
        if let Some(held) = self.held.get_mut(slot) {
            held.under_way = Some(version);
        }
    }

    /// The broker took a version. Returns whether it was the latest.
    pub(super) fn acknowledged(&mut self, slot: &Slot, version: u64) -> bool {
        let is_latest = self.held.get(slot).is_some_and(|held| held.version == version);
        if is_latest {
            self.held.remove(slot);
        }
        is_latest
    }

    /// The broker will not take the slot's messages on this connection.
    pub(super) fn refused(&mut self, slot: &Slot) {
        if let Some(held) = self.held.get_mut(slot) {
            held.refused = true;
        }
    }

    /// The connection is gone: what was under way may not have arrived.
    pub(super) fn disconnected(&mut self) {
        for held in self.held.values_mut() {
            held.under_way = None;
            held.refused = false;
        }
    }

    /// Messages that wait for an acknowledgement.
    pub(super) fn len(&self) -> usize {
        self.held.values().filter(|held| !held.refused).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &str) -> Message {
        Message {
            topic: "t".into(),
            payload: payload.into(),
            retain: true,
            content_type: "application/json",
            expiry: None,
            correlation: None,
        }
    }

    fn next(outbox: &mut Outbox) -> Option<(Slot, u64, String)> {
        let (slot, version, message) = outbox.next()?;
        outbox.sent(&slot, version);
        Some((slot, version, String::from_utf8(message.payload).unwrap()))
    }

    #[test]
    fn only_the_latest_is_sent_and_only_its_acknowledgement_counts() {
        let mut outbox = Outbox::default();
        outbox.put(Slot::State, message("busy"));
        let (slot, first, _) = next(&mut outbox).unwrap();
        assert_eq!(next(&mut outbox), None);
        outbox.put(Slot::State, message("online"));
        outbox.put(Slot::State, message("offline"));
        let (_, second, payload) = next(&mut outbox).unwrap();
        assert_eq!(payload, "offline");
        assert!(!outbox.acknowledged(&slot, first));
        assert_eq!(outbox.len(), 1);
        assert!(outbox.acknowledged(&slot, second));
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn what_was_under_way_when_the_connection_broke_is_sent_again() {
        let mut outbox = Outbox::default();
        outbox.put(Slot::Info, message("i"));
        outbox.put(Slot::State, message("s"));
        assert_eq!(next(&mut outbox).unwrap().0, Slot::State);
        assert_eq!(next(&mut outbox).unwrap().0, Slot::Info);
        outbox.disconnected();
        assert_eq!(next(&mut outbox).unwrap().0, Slot::State);
    }

    #[test]
    fn what_the_broker_refuses_is_tried_again_on_the_next_connection_only() {
        let mut outbox = Outbox::default();
        outbox.put(Slot::Info, message("i"));
        let (slot, ..) = next(&mut outbox).unwrap();
        outbox.refused(&slot);
        outbox.put(Slot::Info, message("j"));
        assert_eq!((next(&mut outbox), outbox.len()), (None, 0));
        outbox.disconnected();
        assert_eq!(next(&mut outbox).unwrap().2, "j");
    }
}
