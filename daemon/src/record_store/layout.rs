//! The types as they lie on disk: evidence without its arrays, and where everything is.

use super::error::StoreError;
use clipmark_profile::point::PointId;
use clipmark_profile::record::{
    Chunk, EngineBuild, Failure, MemoryEvidence, OperatorCost, Phase, PointEvidence, PointOutcome, RunHeader,
};
use clipmark_profile::sweep::{StepResult, SweepRules, SweepStep};
use clipmark_profile::units::{Bytes, Microjoules, Nanos};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Version of the layout.
pub(super) const FORMAT: u32 = 1;

/// What is known before the first inference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The run's header.
    pub header: RunHeader,
    /// The rules its sweep follows.
    pub rules: SweepRules,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Whether it ended before its plan did.
    pub partial: bool,
    /// Why, in words.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct HeadOnDisk {
    pub(super) format: u32,
    #[serde(rename = "run")]
    pub(super) head: Head,
}

/// Only the format, to tell a record of another version from a damaged one.
#[derive(Deserialize)]
pub(super) struct FormatOnly {
    pub(super) format: u32,
}

/// A point's evidence with its arrays replaced by their lengths.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PointOnDisk {
    pub(super) id: PointId,
    pub(super) outcome: PointOutcome,
    pub(super) prepare_ns: Option<Nanos>,
    #[serde(default)]
    pub(super) engine: Option<EngineBuild>,
    pub(super) memory: Option<MemoryEvidence>,
    pub(super) operators: Vec<OperatorCost>,
    pub(super) remarks: Vec<String>,
    pub(super) chunks: Vec<ChunkOnDisk>,
}

/// A chunk: its place in the arrays follows from the lengths of those before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChunkOnDisk {
    pub(super) started_ns: Nanos,
    pub(super) ended_ns: Nanos,
    pub(super) latencies: u64,
    pub(super) latencies_crc32c: u32,
    pub(super) computes: u64,
    pub(super) computes_crc32c: u32,
    #[serde(default)]
    pub(super) h2ds: u64,
    #[serde(default)]
    pub(super) h2ds_crc32c: u32,
    #[serde(default)]
    pub(super) d2hs: u64,
    #[serde(default)]
    pub(super) d2hs_crc32c: u32,
    pub(super) lead_in: u32,
    pub(super) engine: u32,
    pub(super) phase: Phase,
    pub(super) block: u32,
    pub(super) context_switches: u64,
}

/// A journal line: the step, and its result with the chunk left to the point's files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct EntryOnDisk {
    pub(super) restarted: bool,
    pub(super) asked_ns: Nanos,
    pub(super) step: SweepStep,
    /// Whether the point's next chunk belongs to this step.
    pub(super) chunk: bool,
    pub(super) prepare_ns: Option<Nanos>,
    pub(super) peak_memory_bytes: Option<Bytes>,
    pub(super) energy_uj: Option<Microjoules>,
    pub(super) failure: Option<Failure>,
}

impl PointOnDisk {
    pub(super) const fn new(id: PointId) -> Self {
        Self {
            id,
            outcome: PointOutcome::Interrupted,
            prepare_ns: None,
            engine: None,
            memory: None,
            operators: Vec::new(),
            remarks: Vec::new(),
            chunks: Vec::new(),
        }
    }

    pub(super) fn with_chunks(self, chunks: Vec<Chunk>) -> PointEvidence {
        PointEvidence {
            id: self.id,
            outcome: self.outcome,
            prepare: self.prepare_ns,
            engine: self.engine,
            chunks,
            memory: self.memory,
            operators: self.operators,
            remarks: self.remarks,
        }
    }
}

impl ChunkOnDisk {
    /// Length and CRC in each of [`ARRAYS`].
    pub(super) const fn lengths(&self) -> [(u64, u32); 4] {
        [
            (self.latencies, self.latencies_crc32c),
            (self.computes, self.computes_crc32c),
            (self.h2ds, self.h2ds_crc32c),
            (self.d2hs, self.d2hs_crc32c),
        ]
    }

    pub(super) fn with_arrays(&self, arrays: [Vec<u64>; 4]) -> Chunk {
        let [latencies_ns, compute_ns, h2d_ns, d2h_ns] = arrays;
        Chunk {
            started: self.started_ns,
            ended: self.ended_ns,
            latencies_ns,
            compute_ns,
            h2d_ns,
            d2h_ns,
            lead_in: self.lead_in,
            engine: self.engine,
            phase: self.phase,
            block: self.block,
            context_switches: self.context_switches,
        }
    }
}

impl EntryOnDisk {
    pub(super) fn with_chunk(self, chunk: Option<Chunk>) -> clipmark_profile::sweep::JournalEntry {
        clipmark_profile::sweep::JournalEntry {
            restarted: self.restarted,
            asked: self.asked_ns,
            step: self.step,
            result: StepResult {
                chunk,
                prepare: self.prepare_ns,
                peak_memory: self.peak_memory_bytes,
                energy: self.energy_uj,
                failure: self.failure,
            },
        }
    }
}

/// Paths inside an output directory.
#[derive(Debug, Clone)]
pub(super) struct Paths(PathBuf);

impl Paths {
    pub(super) fn of(out: &Path) -> Self {
        Self(out.join("record"))
    }

    pub(super) fn record(&self) -> &Path {
        &self.0
    }

    pub(super) fn header(&self) -> PathBuf {
        self.0.join("header.json")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.0.join("journal.jsonl")
    }

    pub(super) fn end(&self) -> PathBuf {
        self.0.join("end.json")
    }

    pub(super) fn point(&self, index: usize) -> PathBuf {
        self.0.join("points").join(format!("{index:04}"))
    }

    pub(super) fn sensors(&self) -> PathBuf {
        self.0.join("sensors")
    }

    pub(super) fn loads(&self) -> PathBuf {
        self.0.join("loads")
    }

    pub(super) fn soaks(&self) -> PathBuf {
        self.0.join("soaks")
    }
}

/// What lies in `directory`, in the order of the names; nothing when it is missing.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::read(directory)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(StoreError::read(directory))?.path());
    }
    paths.sort();
    Ok(paths)
}

pub(super) const EVIDENCE: &str = "evidence.json";
/// A point's arrays: latency, and the device's own times.
pub(super) const ARRAYS: [&str; 4] = ["latencies.u64", "compute.u64", "h2d.u64", "d2h.u64"];
