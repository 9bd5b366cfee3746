//! The record of a run on disk: written while it is measured, readable at any moment, resumable.
//!
//! ```text
//! DIR/record/header.json                 plan, environment, models, backends, sweep rules
//!            journal.jsonl               every step in order, one line each with its CRC-32C
//!            points/NNNN/evidence.json   what became of point NNNN of the plan (grid order, from 0000)
//!                        latencies.u64   every latency in ns, little-endian u64: array('Q') in Python
//!                        compute.u64     device time per inference where the backend tells it
//!                        h2d.u64 d2h.u64 transfer times to and from the device, likewise
//!            sensors/NNNN.series         sensor series, one file per part of the run
//!            loads/NNNN/...              see [`loads`]
//!            soaks/NNNN/...              see [`soaks`]
//!            end.json                    written last: whether the plan was carried out to its end
//! ```
//!
//! Terms: a *step* is committed when its journal line is on disk; it is written after the step's arrays
//! and evidence, so that a cut leaves at most one step's data too many, which resuming removes. JSON files
//! are replaced whole (temporary file, fsync, rename); arrays and the journal are appended and synced.
//! This module knows how evidence lies on disk; it does not know how it is measured or what it means.

mod arrays;
mod atomic;
mod error;
mod journal;
mod layout;
mod loads;
mod read;
mod sensors;
pub mod soaks;
#[cfg(test)]
mod tests;
mod write;

pub use atomic::write_atomic;
pub use error::StoreError;
pub use journal::committed;
pub use layout::{Head, RunEnd};
pub use read::{Resumed, read};
pub use write::{PointNews, RecordStore};
