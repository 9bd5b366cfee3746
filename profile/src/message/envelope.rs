//! Spooled records on their way up, and the receipt that lets a device forget them.

use crate::topics::{AggregatorId, CommandId, UpKind};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;

/// Most bytes of content in one envelope; longer content travels in several parts.
pub(super) const MAX_PART: usize = 64 * 1024;

/// Identifies one spool: drawn at random when the spool is created, so that sequences of a reflashed device
/// cannot be mistaken for earlier ones. Below 2^53, which every JSON reader holds exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch made of 64 random bits.
    #[must_use]
    pub const fn from_random(bits: u64) -> Self {
        Self(bits >> 11)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014x}", self.0)
    }
}

/// Tells two contents under one sequence apart: the first 8 bytes of the SHA-256 of what a record says, its place
/// in the spool left out. Sixteen hexadecimal digits in JSON, which cannot hold every 64-bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordDigest(pub u64);

impl fmt::Display for RecordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for RecordDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_digest = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_digest.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        number.map(Self).ok_or_else(|| D::Error::custom("a digest has 16 hexadecimal digits"))
    }
}

/// A place in a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The spool.
    pub epoch: Epoch,
    /// The sequence in it.
    pub sequence: u64,
}

/// One spooled record, or one part of it. (device, epoch, sequence) names one content: a receiver stores each
/// once, ignores repeats, and confirms no other content under the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// [`Envelope::VERSION`] of the writer. The first field of every version.
    pub version: u16,
    /// The spool.
    pub epoch: Epoch,
    /// Counts up from 1 without holes within an epoch.
    pub sequence: u64,
    /// What the content is; also the last level of the topic.
    pub kind: UpKind,
    /// Which part of the content this is, from 0. Part p has sequence s + p.
    pub part: u16,
    /// How many parts the content has; 1 for most.
    pub parts: u16,
    /// The command that produced it.
    pub command: Option<CommandId>,
    /// Wall-clock time of spooling, milliseconds since the Unix epoch.
    pub spooled_unix_ms: u64,
    /// The content, at most [`Envelope::MAX_PART`] bytes.
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
    /// Where the record was before its device began a new epoch, the oldest place first: the receiver may have
    /// stored it there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Place>,
}

impl Envelope {
    /// The layout that this version writes.
    pub const VERSION: u16 = 1;
    /// Most bytes of content in one envelope.
    pub const MAX_PART: usize = MAX_PART;
    /// Most former places that are named; the oldest and the newest ones are kept.
    pub const MAX_FORMER: usize = 8;
    /// Most parts of one content, which bounds it to 64 MiB.
    pub const MAX_PARTS: u16 = 1024;

    /// The sequence of the content's first part.
    #[must_use]
    pub const fn first_sequence(&self) -> u64 {
        self.sequence.saturating_sub(self.part as u64)
    }

    /// What the record says, wherever it stands. SHA-256 over the kind's number (1 byte), part and parts (2 bytes
    /// each), the time of spooling (8), the command's length (1; 0 without one) and text, and the content. Numbers
    /// are big-endian.
    #[must_use]
    pub fn digest(&self) -> RecordDigest {
        let command = self.command.as_ref().map_or("", CommandId::as_str);
        let mut hash = Sha256::new();
        hash.update([self.kind as u8]);
        hash.update(self.part.to_be_bytes());
        hash.update(self.parts.to_be_bytes());
        hash.update(self.spooled_unix_ms.to_be_bytes());
        // An identifier has at most 64 characters.
        hash.update([command.len() as u8]);
        hash.update(command);
        hash.update(&self.content);
        let digest = hash.finalize();
        RecordDigest(digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Gives the record a place in another epoch and notes the one that it had.
    pub fn relocate(&mut self, to: Place) {
        if self.former.len() >= Self::MAX_FORMER {
            self.former.remove(1);
        }
        self.former.push(Place { epoch: self.epoch, sequence: self.sequence });
        self.epoch = to.epoch;
        self.sequence = to.sequence;
    }
}

/// Sequences from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SequenceRange {
    /// The lowest.
    pub first: u64,
    /// The highest.
    pub last: u64,
}

/// A record that is stored, by which a device sees that it is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRecord {
    /// Its sequence.
    pub sequence: u64,
    /// What it says.
    pub digest: RecordDigest,
}

/// What an aggregator has stored durably. A device prunes its spool on a receipt of its own epoch and on
/// nothing else, because a broker's acknowledgement does not survive the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The spool that is spoken of.
    pub epoch: Epoch,
    /// Every sequence up to and including this one is stored.
    pub contiguous: u64,
    /// Sequences above `contiguous` that are missing although later ones are stored; the device sends them
    /// again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<SequenceRange>,
    /// Who speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregator: Option<AggregatorId>,
    /// The newest record that is stored at or below `contiguous`; what lies between was declared lost. A device
    /// of which another content is stored there shares its epoch with a second writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredRecord>,
    /// The lowest sequence under which two contents came. `contiguous` stays below it for good, and the device
    /// sends what it still has under a new epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<u64>,
}

impl Receipt {
    /// A receipt that says no more than this.
    #[must_use]
    pub const fn new(epoch: Epoch, contiguous: u64, gaps: Vec<SequenceRange>) -> Self {
        Self { epoch, contiguous, gaps, aggregator: None, stored: None, conflict: None }
    }
}

/// A record of kind `event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventReport {
    /// [`EventReport::VERSION`] of the writer. The first field of every version.
    pub version: u16,
    /// What happened.
    pub kind: EventKind,
    /// Wall-clock time, milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// One sentence for a reader.
    pub message: String,
    /// Sequences that are spoken of, for a gap.
    pub range: Option<SequenceRange>,
    /// A file, for a capture; else empty.
    #[serde(with = "serde_bytes")]
    pub attachment: Vec<u8>,
}

impl EventReport {
    /// The layout that this version writes.
    pub const VERSION: u16 = 1;
}

/// What an [`EventReport`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Records are damaged or no longer on the device's disk and will never come.
    SpoolGap,
    /// A copy of the board's sensor tree is attached.
    Capture,
}
