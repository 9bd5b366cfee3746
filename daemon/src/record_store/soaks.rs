//! The record of soaks: every inference, streamed to disk while it runs.
//!
//! ```text
//! soaks/NNNN/evidence.json   the soak without its arrays; replaced when it ends
//!            completed.u64   completion instants, ns since the run's start
//!            latencies.u64   latencies in ns, parallel to completed.u64
//!            segments.jsonl  one line per appended segment: count and the CRC-32C of both arrays' parts
//! ```
//!
//! A segment without an intact line never existed. A soak that was cut off reads as interrupted, with
//! every segment up to the cut.

use super::arrays::{Array, Reader};
use super::atomic::{create_dir, read_json, sync_parent, write_json};
use super::error::StoreError;
use super::layout::entries;
use clipmark_profile::record::{PointOutcome, SoakEvidence};
use clipmark_profile::units::Nanos;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

const EVIDENCE: &str = "evidence.json";
const COMPLETED: &str = "completed.u64";
const LATENCIES: &str = "latencies.u64";
const SEGMENTS: &str = "segments.jsonl";

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Segment {
    count: u64,
    completed_crc32c: u32,
    latencies_crc32c: u32,
}

/// A soak that is being recorded.
#[derive(Debug)]
pub struct SoakWriter {
    directory: PathBuf,
    completed: Array,
    latencies: Array,
    segments: File,
    count: u64,
}

impl SoakWriter {
    /// Begins the record in `directory`, which is created. `begun` is kept as it is until the end.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub(super) fn create(directory: &Path, begun: &SoakEvidence) -> Result<Self, StoreError> {
        create_dir(directory)?;
        let segments = directory.join(SEGMENTS);
        let writer = Self {
            completed: Array::open(directory.join(COMPLETED), 0)?,
            latencies: Array::open(directory.join(LATENCIES), 0)?,
            segments: OpenOptions::new()
                .create(true)
                .append(true)
                .open(&segments)
                .map_err(StoreError::write(&segments))?,
            directory: directory.into(),
            count: 0,
        };
        sync_parent(&segments)?;
        writer.describe(begun)?;
        Ok(writer)
    }

    /// Inferences recorded so far.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Appends a segment and makes it durable.
    ///
    /// # Errors
    /// When the system refuses a write.
    pub fn append(&mut self, completed_ns: &[u64], latencies_ns: &[u64]) -> Result<(), StoreError> {
        if completed_ns.is_empty() {
            return Ok(());
        }
        let segment = Segment {
            count: completed_ns.len() as u64,
            completed_crc32c: self.completed.append(completed_ns)?,
            latencies_crc32c: self.latencies.append(latencies_ns)?,
        };
        self.completed.sync()?;
        self.latencies.sync()?;
        let path = self.directory.join(SEGMENTS);
        let json = serde_json::to_string(&segment).map_err(|error| StoreError::damaged(&path, error))?;
        let written = self.segments.write_all(format!("{json}\n").as_bytes());
        written.and_then(|()| self.segments.sync_data()).map_err(StoreError::write(&path))?;
        self.count += segment.count;
        Ok(())
    }

    /// Replaces what the record says of the soak; the arrays of `evidence` are ignored.
    ///
    /// # Errors
    /// When the system refuses the write.
    pub fn describe(&self, evidence: &SoakEvidence) -> Result<(), StoreError> {
        let bare = SoakEvidence { completed_ns: Vec::new(), latencies_ns: Vec::new(), ..evidence.clone() };
        write_json(&self.directory.join(EVIDENCE), &bare)
    }
}

/// Every soak under `directory`, in order.
pub(super) fn read_all(directory: &Path) -> Result<Vec<SoakEvidence>, StoreError> {
    let soaks = entries(directory)?;
    soaks.iter().filter(|soak| soak.join(EVIDENCE).exists()).map(|soak| read_one(soak)).collect()
}

/// How many soaks were begun under `directory`, and the latest instant they speak of.
pub(super) fn last_instant(directory: &Path) -> Result<(usize, Option<Nanos>), StoreError> {
    let count = entries(directory)?.len();
    let ended =
        read_all(directory)?.iter().map(|soak| soak.idle_after.map_or(soak.span[1], |idle| idle[1])).max();
    Ok((count, ended))
}

fn read_one(directory: &Path) -> Result<SoakEvidence, StoreError> {
    let mut soak: SoakEvidence = read_json(&directory.join(EVIDENCE))?;
    let path = directory.join(SEGMENTS);
    let lines = std::fs::read_to_string(&path).map_err(StoreError::read(&path))?;
    let mut completed = Reader::open(&directory.join(COMPLETED))?;
    let mut latencies = Reader::open(&directory.join(LATENCIES))?;
    for line in lines.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let Ok(segment) = serde_json::from_str::<Segment>(line) else { break };
        let part = completed.next(segment.count, segment.completed_crc32c);
        let part = part.and_then(|done| Ok((done, latencies.next(segment.count, segment.latencies_crc32c)?)));
        let (done, took) = match part {
            Ok(part) => part,
            Err(StoreError::Damaged { .. }) => break,
            Err(error) => return Err(error),
        };
        soak.completed_ns.extend(done);
        soak.latencies_ns.extend(took);
    }
    if soak.outcome == PointOutcome::Interrupted
        && let Some(&last) = soak.completed_ns.last()
    {
        soak.span[1] = soak.span[1].max(Nanos(last));
    }
    Ok(soak)
}
