//! Messages that wait to be stored, with what acknowledges them.

use crate::store::Message;
use clipmark_service::mqtt::AckHandle;
use std::collections::VecDeque;

/// Bytes of records beyond which a batch is full, whatever their number.
const MOST_BYTES: usize = 16 << 20;

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
pub(super) struct Queue(VecDeque<(Option<Message>, Acknowledgement)>);

/// The oldest messages, taken out of the queue.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<Message>,
    /// Of the messages and of what came between them.
    pub(super) acknowledgements: Vec<Acknowledgement>,
}

impl Queue {
    /// Adds what came; `message` is what is to be stored of it.
    pub(super) fn push(&mut self, message: Option<Message>, acknowledgement: Acknowledgement) {
        self.0.push_back((message, acknowledgement));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes the oldest messages: at most `most`, and of records not many more bytes than [`MOST_BYTES`].
    pub(super) fn take(&mut self, most: usize) -> Batch {
        let (mut bytes, mut batch) = (0, Batch::default());
        while bytes < MOST_BYTES && batch.messages.len() < most {
            let Some((message, acknowledgement)) = self.0.pop_front() else { break };
            bytes += message.as_ref().map_or(0, size);
            batch.messages.extend(message);
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

    fn acknowledgement(connection: u64) -> Acknowledgement {
        Acknowledgement { connection, handle: AckHandle::none() }
    }

    #[test]
    fn acknowledgements_keep_the_order_in_which_messages_came() {
        let mut queue = Queue::default();
        let poison = |name: &str| Message::Poison(Poison::new(name.into(), String::new(), None, Vec::new()));
        for (number, message) in
            [Some(poison("a")), None, Some(poison("b")), None, None].into_iter().enumerate()
        {
            queue.push(message, acknowledgement(number as u64));
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
