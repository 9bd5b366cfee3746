//! What a spool answers when it cannot do as asked, and what it found.

use clipmark_profile::codec::CodecError;
use clipmark_profile::message::SequenceRange;
use clipmark_profile::topics::UpKind;
use std::io;
use std::path::PathBuf;

/// Why the spool cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk refused.
    #[error("cannot {action} {}; {}", path.display(), clipmark_service::disk::advice(source))]
    Disk {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// A content that no number of parts can carry.
    #[error(
        "a {kind} of {length} bytes exceeds the {limit} bytes that one result may have; ask for less detail"
    )]
    TooLarge {
        /// What it is.
        kind: UpKind,
        /// Its size.
        length: usize,
        /// The most that is carried.
        limit: usize,
    },
    /// An envelope that cannot be written.
    #[error("cannot encode a record")]
    Encode(#[from] CodecError),
    /// A record that was intact when the spool was opened is so no longer.
    #[error("record {sequence} is damaged in {}; it is given up and reported as a gap", path.display())]
    Damaged {
        /// Which record.
        sequence: u64,
        /// In which segment.
        path: PathBuf,
    },
}

/// Why a new run cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The configured bound is reached.
    #[error(
        "the spool holds {used} of {max} bytes in {unconfirmed} unconfirmed records; connect an aggregator, \
         which confirms them, or raise spool.max_bytes"
    )]
    Bound {
        /// Bytes in segments.
        used: u64,
        /// The bound.
        max: u64,
        /// Records that wait.
        unconfirmed: usize,
    },
    /// The disk is nearly full.
    #[error("the disk below {} has {free} bytes free and {wanted} are kept in reserve; free some space", path.display())]
    Disk {
        /// The spool.
        path: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes wanted.
        wanted: u64,
    },
}

/// What was found damaged when the spool was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it and what was done.
    pub what: String,
    /// Records that will never come.
    pub lost: Vec<SequenceRange>,
}

/// What a receipt led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// Accepted; these are to be sent again.
    Accepted {
        /// Sequences that the receiver misses.
        resend: Vec<SequenceRange>,
    },
    /// It speaks of another epoch, e.g. of before a reflash.
    OtherEpoch,
    /// Records that this spool never held have its epoch. Nothing more is confirmed in it.
    Behind(Behind),
}

/// How a spool learnt that its epoch has a second writer: its disk was set back to an earlier state, or
/// another device works with a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Behind {
    /// More is stored than was ever written here.
    #[error("record {confirmed} is stored and this device has only written {newest}")]
    Ahead {
        /// The highest sequence that is stored.
        confirmed: u64,
        /// The highest sequence ever given out here.
        newest: u64,
    },
    /// Under the sequence of a record that is here another one is stored.
    #[error("record {sequence} is stored with another content than this device wrote")]
    Other {
        /// The sequence.
        sequence: u64,
    },
    /// The files in the directory are of several states or epochs.
    #[error("the spool directory holds files of different times, from record {sequence} on")]
    Mixed {
        /// The first record that does not follow the one before it.
        sequence: u64,
    },
    /// It was known before the last stop, and there was no room to do anything about it.
    #[error("it was noticed before the last stop of clipmarkd")]
    Before,
}
