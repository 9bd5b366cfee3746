//! Messages that wait to be stored, with what acknowledges them.

use super::allowance::{Allowance, Share};
use crate::store::{Excess, Message, Refusals, Refused};
use clipmark_service::mqtt::AckHandle;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of records beyond which a batch is full, whatever their number.
const MOST_BYTES: usize = 16 << 20;

/// How often what found no room is counted in the store: it must not be written more often because more is refused.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// The acknowledgement of a message, valid on the connection that it came by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acknowledgement {
    /// Counts connections.
    pub(super) connection: u64,
    pub(super) handle: AckHandle,
}

/// What came, in its order. MQTT demands acknowledgements in the order of the messages (MQTT-4.6.0-2), so a
/// message of which nothing is to be stored waits for those before it too.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<(Option<(Message, Share)>, Acknowledgement)>,
    allowance: Allowance,
    /// What found no room since that was last counted in the store.
    refused: Refusals,
    counted: Option<Instant>,
}

/// The oldest messages, taken out of the queue.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<Message>,
    /// Of the messages and of what came between them.
    pub(super) acknowledgements: Vec<Acknowledgement>,
}

impl Queue {
    /// Whether a message may wait, of which nothing is known yet but its device, its length and what acknowledges it.
    /// One that may not is counted, and its acknowledgement waits for its turn.
    pub(super) fn admit(&mut self, device: &str, share: Share, acknowledgement: Acknowledgement) -> bool {
        let is_admitted = self.allowance.admit(device, share, Instant::now());
        if !is_admitted {
            let refused = self.refused.entry((device.to_owned(), Excess::Waiting)).or_default();
            refused.messages += 1;
            refused.bytes += share.bytes as u64;
            self.skip(acknowledgement);
        }
        is_admitted
    }

    /// Adds what was admitted.
    pub(super) fn push(&mut self, message: Message, share: Share, acknowledgement: Acknowledgement) {
        self.messages.push_back((Some((message, share)), acknowledgement));
    }

    /// Nothing is to be stored of what came; `admitted` is the device and share, where it was admitted.
    pub(super) fn push_nothing(&mut self, device: &str, share: Share, acknowledgement: Acknowledgement) {
        self.allowance.release(device, share);
        self.skip(acknowledgement);
    }

    /// Without an acknowledgement nothing depends on its turn.
    fn skip(&mut self, acknowledgement: Acknowledgement) {
        if acknowledgement.handle.is_awaited() {
            self.messages.push_back((None, acknowledgement));
        }
    }

    /// The store has refused what a device sent.
    pub(super) fn restrict(&mut self, device: &str) {
        self.allowance.restrict(device, Instant::now());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && !self.is_to_be_counted(Instant::now())
    }

    fn is_to_be_counted(&self, now: Instant) -> bool {
        !self.refused.is_empty() && self.counted.is_none_or(|at| now.duration_since(at) >= COUNT_EVERY)
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many messages of a device wait.
    pub(super) fn waiting(&self, device: &str) -> usize {
        self.allowance.waiting(device)
    }

    /// Whether more may be taken from the connection.
    pub(super) const fn has_room(&self) -> bool {
        self.allowance.has_room()
    }

    /// Takes the oldest messages: at most `most`, and of records not many more bytes than [`MOST_BYTES`].
    pub(super) fn take(&mut self, most: usize) -> Batch {
        let (mut bytes, mut batch) = (0, Batch::default());
        let now = Instant::now();
        if self.is_to_be_counted(now) {
            self.counted = Some(now);
            let counted = |((device, excess), refused): ((String, Excess), Refused)| {
                Message::Refused(device, excess, refused)
            };
            batch.messages.extend(std::mem::take(&mut self.refused).into_iter().map(counted));
        }
        while bytes < MOST_BYTES && batch.messages.len() < most {
            let Some((message, acknowledgement)) = self.messages.pop_front() else { break };
            if let Some((message, share)) = message {
                self.allowance.release(message.device(), share);
                bytes += size(&message);
                batch.messages.push(message);
            }
            batch.acknowledgements.push(acknowledgement);
        }
        batch
    }
}

const fn size(message: &Message) -> usize {
    match message {
        Message::Record(record) => record.bytes.len(),
        Message::Poison(poison) => poison.payload.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Poison;

    /// One that the broker waits for.
    fn acknowledgement(connection: u64) -> Acknowledgement {
        Acknowledgement { connection, handle: AckHandle::awaited(1) }
    }

    fn poison(name: &str, bytes: usize) -> Message {
        Message::Poison(Poison::new(&format!("clipmark/v1/d/{name}/state"), "", None, &vec![0; bytes]))
    }

    /// A message as the receiver treats it.
    fn came(queue: &mut Queue, message: Message, acknowledgement: Acknowledgement) {
        let share = Share { bytes: size(&message), is_awaited: acknowledgement.handle.is_awaited() };
        let device = message.device().to_owned();
        if queue.admit(&device, share, acknowledgement) {
            queue.push(message, share, acknowledgement);
        }
    }

    fn came_to_nothing(queue: &mut Queue, acknowledgement: Acknowledgement) {
        let share = Share { bytes: 0, is_awaited: acknowledgement.handle.is_awaited() };
        assert!(queue.admit("other", share, acknowledgement));
        queue.push_nothing("other", share, acknowledgement);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_acknowledged_in_its_turn() {
        let mut queue = Queue::default();
        (0..1000).for_each(|number| came(&mut queue, poison("bad", 64 << 10), acknowledgement(number)));
        came(&mut queue, poison("good", 10), acknowledgement(1000));
        assert!(queue.has_room());
        let (mut messages, mut acknowledged) = (Vec::new(), Vec::new());
        while !queue.is_empty() {
            let batch = queue.take(100);
            messages.extend(batch.messages);
            acknowledged
                .extend(batch.acknowledgements.iter().map(|acknowledgement| acknowledgement.connection));
        }
        assert_eq!(acknowledged, (0..=1000).collect::<Vec<u64>>());
        let of = |device: &str| messages.iter().filter(|message| message.device() == device).count();
        assert_eq!((of("bad"), of("good")), (256 + 1, 1));
        let Message::Refused(_, Excess::Waiting, refused) = &messages[0] else { panic!("{:?}", messages[0]) };
        assert_eq!(refused.messages, 1000 - 256);
    }

    #[test]
    fn what_nobody_waits_for_leaves_nothing_behind() {
        let mut queue = Queue::default();
        let unawaited = Acknowledgement { connection: 1, handle: AckHandle::none() };
        (0..1000).for_each(|_| came_to_nothing(&mut queue, unawaited));
        (0..1000).for_each(|_| came(&mut queue, poison("bad", 10), unawaited));
        assert_eq!(queue.len(), 4);
    }

    #[test]
    fn acknowledgements_keep_the_order_in_which_messages_came() {
        let mut queue = Queue::default();
        for (number, message) in
            [Some(poison("a", 0)), None, Some(poison("b", 0)), None, None].into_iter().enumerate()
        {
            match message {
                Some(message) => came(&mut queue, message, acknowledgement(number as u64)),
                None => came_to_nothing(&mut queue, acknowledgement(number as u64)),
            }
        }
        let numbers = |batch: &Batch| -> Vec<u64> {
            batch.acknowledgements.iter().map(|acknowledgement| acknowledgement.connection).collect()
        };
        let first = queue.take(1);
        assert_eq!((first.messages.len(), numbers(&first)), (1, vec![0]));
        let second = queue.take(5);
        assert_eq!((second.messages.len(), numbers(&second)), (1, vec![1, 2, 3, 4]));
        assert!(queue.is_empty());
    }
}
