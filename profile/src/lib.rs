//! The shared vocabulary of clipmark and its pure analysis.
//!
//! Evidence goes in as a [`record::Record`], findings come out as a [`summary::Profile`]. Nothing here
//! touches a file, a socket, a clock or a log: time stamps are arguments, results are values. Both ends
//! of the wire share this crate, and it builds without any inference backend.

pub mod analysis;
pub mod axis;
pub mod channel;
pub mod codec;
pub mod cohort;
pub mod compare;
pub mod environment;
#[cfg(feature = "test-support")]
pub mod example;
pub mod figures;
pub mod identity;
pub mod message;
pub mod pacing;
pub mod plan;
pub mod plausible;
pub mod point;
pub mod precision;
pub mod record;
pub mod select;
pub mod sensors;
pub mod series;
pub mod simulated;
pub mod stats;
pub mod streams;
pub mod summary;
pub mod sweep;
pub mod text;
pub mod topics;
pub mod truth;
pub mod units;
pub mod wire;
