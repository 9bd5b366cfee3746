//! Why a message cannot be read or written.

use crate::codec::CodecError;
use crate::stats::histogram::HistogramError;

/// Why a message cannot be read or written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WireError {
    /// Not acceptable as CBOR, too long, or not this message.
    #[error("the message cannot be read or written")]
    Codec(#[from] CodecError),
    /// Written by a program with another version of the message.
    #[error(
        "the message has version {found} and this program reads version {}; \
         update the older of the two programs",
        super::VERSION
    )]
    Version {
        /// The version in field 0.
        found: u16,
    },
    /// A column that is not as long as the message says.
    #[error("column {column} holds {found} values where {expected} belong; the message is corrupt")]
    Length {
        /// The column.
        column: &'static str,
        /// Values found.
        found: usize,
        /// Values expected.
        expected: usize,
    },
    /// A number outside the range of its quantity.
    #[error("{what} is outside its range; the message is corrupt or was not written by clipmark")]
    OutOfRange {
        /// The quantity.
        what: &'static str,
    },
    /// An index of something that is not in the message.
    #[error("{what} refers to number {index}, of which there are only {count}; the message is corrupt")]
    Dangling {
        /// What refers.
        what: &'static str,
        /// Where to.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A histogram that cannot be read.
    #[error("the histogram of point {point} cannot be read")]
    Histogram {
        /// Index of the point.
        point: usize,
        /// Why.
        #[source]
        source: HistogramError,
    },
    /// A compressed column that cannot be read or written.
    #[error("column {column} cannot be compressed or decompressed: {problem}; the message is corrupt")]
    Compressed {
        /// The column: a channel's id or the name of a latency column.
        column: String,
        /// The compressor's words.
        problem: String,
    },
}
