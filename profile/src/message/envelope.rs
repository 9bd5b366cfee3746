//! Spooled records on their way up, and the receipt that lets a device forget them.

use crate::topics::{AggregatorId, CommandId, UpKind};
use serde::{Deserialize, Serialize};
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

/// One spooled record, or one part of it. (device, epoch, sequence) is unique for all time: a receiver
/// stores each once and ignores repeats.
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
}

impl Envelope {
    /// The layout that this version writes.
    pub const VERSION: u16 = 1;
    /// Most bytes of content in one envelope.
    pub const MAX_PART: usize = MAX_PART;
    /// Most parts of one content, which bounds it to 64 MiB.
    pub const MAX_PARTS: u16 = 1024;

    /// The sequence of the content's first part.
    #[must_use]
    pub const fn first_sequence(&self) -> u64 {
        self.sequence.saturating_sub(self.part as u64)
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
