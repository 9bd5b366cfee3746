//! Messages of which only the latest counts: state, info, statuses.
//!
//! A *slot* holds the latest message for one purpose until the broker has acknowledged exactly that one. An
//! older message that is still under way when a newer one is put in does not empty the slot. What the broker refuses
//! is tried again ever more rarely, also across connections, because some brokers end the connection with the
//! refusal. A reply is dropped instead: its topic is the requester's choice, and the status topic says the same.
//! Pure: the time is an argument.

use crate::mqtt::Message;
use clipmark_profile::topics::CommandId;
use clipmark_profile::units::Nanos;
use std::collections::BTreeMap;
use std::fmt;

/// The shortest and the longest pause after a refusal.
const REFUSED: [Nanos; 2] = [Nanos::from_secs(60), Nanos::from_secs(3600)];

/// Connections that may end while a reply is under way before it is dropped.
const REPLY_TRIES: u32 = 3;

/// Connections that may end upon a refused reply before replies are left out for as long as the longest pause: each
/// costs a reconnection, and anybody who may send a request can cause it.
const REPLY_ENDS: u32 = 3;

/// Statuses that the broker refuses and that are kept; the oldest go first. Statuses are on disk, too.
const KEPT_REFUSED: usize = 64;

/// What a message is for. The order is the order of sending.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::serve) enum Slot {
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

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State => f.write_str("the device's state"),
            Self::Info => f.write_str("the birth message"),
            Self::Status(command) => write!(f, "the status of command {command}"),
            Self::Reply(command) => write!(f, "the reply to command {command}"),
            Self::Config => f.write_str("the reported configuration"),
        }
    }
}

/// Makes a message that says less, for a broker that accepts packets of so many bytes.
pub(in crate::serve) struct Shorter(Box<dyn Fn(usize) -> Option<Message> + Send>);

impl Shorter {
    pub(in crate::serve) fn new(make: impl Fn(usize) -> Option<Message> + Send + 'static) -> Self {
        Self(Box::new(make))
    }
}

impl fmt::Debug for Shorter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shorter")
    }
}

#[derive(Debug)]
struct Held {
    message: Message,
    shorter: Option<Shorter>,
    version: u64,
    /// The version that is under way.
    under_way: Option<u64>,
    refusals: u32,
    /// Refused by the broker: not tried before.
    refused_until: Option<Nanos>,
    /// Connections that ended while it was under way.
    broken: u32,
}

/// All slots with something to send.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    held: BTreeMap<Slot, Held>,
    versions: u64,
    /// The last thing that the broker said on this connection was that it refuses a reply.
    refused_reply: bool,
    reply_ends: u32,
    no_replies_before: Nanos,
}

impl Outbox {
    /// Replaces what the slot holds.
    pub(super) fn put(&mut self, slot: Slot, message: Message, shorter: Option<Shorter>) {
        self.versions += 1;
        let version = self.versions;
        match self.held.get_mut(&slot) {
            Some(held) => {
                (held.message, held.shorter, held.version) = (message, shorter, version);
            }
            None => {
                let held = Held {
                    message,
                    shorter,
                    version,
                    under_way: None,
                    refusals: 0,
                    refused_until: None,
                    broken: 0,
                };
                self.held.insert(slot, held);
            }
        }
    }

    /// The next message that is not under way, with its version.
    pub(super) fn next(&mut self, now: Nanos) -> Option<(Slot, u64, Message)> {
        if now < self.no_replies_before {
            self.held.retain(|slot, _| !matches!(slot, Slot::Reply(_)));
        }
        let waits = |held: &&Held| {
            held.under_way != Some(held.version) && held.refused_until.is_none_or(|until| until <= now)
        };
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
        self.refused_reply = false;
        let is_latest = self.held.get(slot).is_some_and(|held| held.version == version);
        if is_latest {
            self.held.remove(slot);
        }
        is_latest
    }

    /// The broker wants the slot's message shorter: it is sent again.
    pub(super) fn not_taken(&mut self, slot: &Slot) {
        if let Some(held) = self.held.get_mut(slot) {
            held.under_way = None;
        }
    }

    /// The broker does not take the slot's message.
    pub(super) fn refused(&mut self, slot: &Slot, now: Nanos) {
        if matches!(slot, Slot::Reply(_)) {
            self.refused_reply = true;
            self.held.remove(slot);
        }
        if let Some(held) = self.held.get_mut(slot) {
            let [shortest, longest] = REFUSED.map(Nanos::get);
            let pause = shortest.saturating_mul(1 << held.refusals.min(12)).min(longest);
            held.refusals += 1;
            held.under_way = None;
            held.refused_until = Some(Nanos(now.get().saturating_add(pause)));
        }
        let is_refused_status =
            |(slot, held): &(&Slot, &Held)| matches!(slot, Slot::Status(_)) && held.refused_until.is_some();
        let refused = || self.held.iter().filter(is_refused_status);
        if refused().count() > KEPT_REFUSED
            && let Some(oldest) = refused().min_by_key(|(_, held)| held.version).map(|(slot, _)| slot.clone())
        {
            self.held.remove(&oldest);
        }
    }

    /// The connection is gone: what was under way may not have arrived.
    pub(super) fn disconnected(&mut self, now: Nanos) {
        if std::mem::take(&mut self.refused_reply) {
            self.ended_by_reply(now);
        }
        self.held.retain(|slot, held| {
            held.broken += u32::from(held.under_way.take().is_some());
            !matches!(slot, Slot::Reply(_)) || held.broken < REPLY_TRIES
        });
    }

    /// The broker ended a connection upon a reply.
    pub(super) fn ended_by_reply(&mut self, now: Nanos) {
        self.refused_reply = false;
        self.reply_ends += 1;
        if self.reply_ends >= REPLY_ENDS {
            let [_, longest] = REFUSED.map(Nanos::get);
            self.no_replies_before = Nanos(now.get().saturating_add(longest));
            self.reply_ends = 0;
        }
    }

    /// Whether the slot holds something that was not refused before and of which less can be said.
    pub(super) fn can_be_shortened(&self, slot: &Slot) -> bool {
        let is_fresh = self.held.get(slot).is_some_and(|held| held.refusals == 0);
        is_fresh && matches!(slot, Slot::Status(_) | Slot::Info)
    }

    /// Whether something waits because the broker refuses it.
    pub(super) fn has_refused(&self) -> bool {
        self.held.values().any(|held| held.refused_until.is_some())
    }

    /// Has a slot hold less, where that can be said, because a packet exceeds `limit`; with a status the reply that says
    /// the same. Returns whether it holds less now.
    pub(super) fn shorten(&mut self, slot: &Slot, limit: usize) -> bool {
        if let Slot::Status(command) = slot {
            self.shorten_one(&Slot::Reply(command.clone()), limit);
        }
        self.shorten_one(slot, limit).is_some()
    }

    fn shorten_one(&mut self, slot: &Slot, limit: usize) -> Option<()> {
        let held = self.held.get_mut(slot)?;
        let message = (held.shorter.take()?.0)(limit)?;
        (message.payload.len() < held.message.payload.len()).then(|| {
            self.versions += 1;
            (held.message, held.version) = (message, self.versions);
        })
    }

    /// When [`Outbox::next`] should be asked again although nothing happened.
    pub(super) fn next_deadline(&self) -> Option<Nanos> {
        self.held.values().filter_map(|held| held.refused_until).min()
    }

    /// Messages that wait for an acknowledgement.
    pub(super) fn len(&self) -> usize {
        self.held.values().filter(|held| held.refused_until.is_none()).count()
    }
}

#[cfg(test)]
mod tests;
