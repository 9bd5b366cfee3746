//! How many cameras a board serves: what is offered, who serves it, and when it is too much.
//!
//! Terms: a *stream* delivers a clip of T frames every *hop* of H frames, at F frames a second: its *period* is H / F.
//! A clip *arrives* with its last frame, and its latency counts from there. The *deadline* is the period unless given.
//! An *instance* is one of k engines of batch size B that work in parallel. A *load* is N streams with their phases and
//! arrivals. A load is *sustained* when it meets what [`verdict`] asks; the *capacity* is the greatest N that is.
//!
//! Pure: [`arrivals`] makes a load, [`dispatch`] serves it on a virtual clock, [`verdict`] judges what came of it and
//! [`search`] says which load to try next. The worker serves the same arrivals on real engines.

pub mod arrivals;
pub mod dispatch;
pub mod search;
pub mod verdict;

use crate::units::Nanos;
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// When the first clips of the streams arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phases {
    /// At seeded random times within the first period.
    #[default]
    Random,
    /// All at once: the worst case.
    Aligned,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// How the clips of one stream follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArrivalProcess {
    /// One every period, as cameras deliver them.
    #[default]
    Periodic,
    /// Independently of each other, one a period on average.
    Poisson,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// How many streams a run offers: `"auto"` or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamCount {
    /// The capacity is searched.
    Auto,
    /// This many, and no other number.
    Exactly(u32),
}

/// The word for [`StreamCount::Auto`].
const AUTO: &str = "auto";

impl Serialize for StreamCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str(AUTO),
            Self::Exactly(count) => serializer.serialize_u32(*count),
        }
    }
}

impl<'de> Deserialize<'de> for StreamCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrCount;
        impl Visitor<'_> for WordOrCount {
            type Value = StreamCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\" or a number of streams")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<StreamCount, E> {
                if word == AUTO {
                    Ok(StreamCount::Auto)
                } else {
                    Err(E::invalid_value(Unexpected::Str(word), &self))
                }
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<StreamCount, E> {
                let in_range = u32::try_from(count).map(StreamCount::Exactly);
                in_range.map_err(|_| E::invalid_value(Unexpected::Unsigned(count), &self))
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<StreamCount, E> {
                let in_range = u32::try_from(count).map(StreamCount::Exactly);
                in_range.map_err(|_| E::invalid_value(Unexpected::Signed(count), &self))
            }
        }
        deserializer.deserialize_any(WordOrCount)
    }
}

/// What is offered to the engines: N streams.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Streams, at least 1.
    pub streams: u32,
    /// Between two clips of a stream, on average; at least 1 ns.
    pub period: Nanos,
    /// Within which a clip must be complete.
    pub deadline: Nanos,
    /// When the first clips arrive.
    pub phases: Phases,
    /// How clips follow each other.
    pub arrivals: ArrivalProcess,
    /// Seed of phases and arrivals. A stream arrives at the same times whatever the number of streams beside it.
    pub seed: u64,
}

/// Who serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Servers {
    /// Engines in parallel, at least 1.
    pub instances: u32,
    /// Clips that an engine takes at most, at least 1.
    pub batch: u32,
}

/// One inference of a load: clips that arrived one after another, served together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inference {
    /// Clips in it. An engine of a fixed shape runs at its full batch size however few they are.
    pub clips: u32,
    /// When an instance took them, from the beginning of the load.
    pub started: Nanos,
    /// When they were complete.
    pub completed: Nanos,
}

/// A load and what came of it. Inferences are in the order of their clips: the first one serves the first clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// What was offered.
    pub load: Load,
    /// Who served it.
    pub servers: Servers,
    /// Every clip, in the order of arrival.
    pub clips: Vec<arrivals::Clip>,
    /// Every inference. Clips behind the last one were given up: see [`give_up_at`].
    pub inferences: Vec<Inference>,
}

/// When nobody waits any longer: no clip can meet its deadline any more. `clips` in the order of arrival.
#[must_use]
pub fn give_up_at(clips: &[arrivals::Clip], deadline: Nanos) -> Nanos {
    Nanos(clips.last().map_or(0, |clip| clip.arrival.0).saturating_add(deadline.0))
}
