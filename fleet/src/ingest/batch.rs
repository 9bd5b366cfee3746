//! Messages that wait to be stored, with what acknowledges them.

use crate::store::Message;
use clipmark_service::mqtt::AckHandle;

/// Bytes of records beyond which a batch is full, whatever their number.
const MOST_BYTES: usize = 16 << 20;

/// The acknowledgement of a message, valid on the connection that it came by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acknowledgement {
    /// Counts connections.
    pub(super) connection: u64,
    pub(super) handle: AckHandle,
}

/// Messages in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<Message>,
    pub(super) acknowledgements: Vec<Acknowledgement>,
}

impl Batch {
    pub(super) fn push(&mut self, message: Message, acknowledgement: Acknowledgement) {
        self.messages.push(message);
        self.acknowledgements.push(acknowledgement);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Takes the oldest messages: at most `most`, and of records not many more bytes than [`MOST_BYTES`].
    pub(super) fn take(&mut self, most: usize) -> Self {
        let mut bytes = 0;
        let fits = |message: &&Message| {
            let is_within = bytes < MOST_BYTES;
            bytes += size(message);
            is_within
        };
        let count = self.messages.iter().take(most).take_while(fits).count();
        let messages = self.messages.drain(..count).collect();
        let acknowledgements = self.acknowledgements.drain(..count).collect();
        Self { messages, acknowledgements }
    }
}

const fn size(message: &Message) -> usize {
    match message {
        Message::Record(record) => record.bytes.len(),
        Message::Poison(poison) => poison.payload.len(),
        _ => 0,
    }
}
