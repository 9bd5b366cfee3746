//! Writing a record while it is measured.

use super::arrays::Array;
use super::atomic::{create_dir, sync_parent, write_json};
use super::error::StoreError;
use super::journal::Journal;
use super::layout::{
    ARRAYS, ChunkOnDisk, EVIDENCE, EntryOnDisk, FORMAT, Head, HeadOnDisk, Paths, PointOnDisk, RunEnd, entries,
};
use super::loads;
use super::read::{Resumed, read_end, read_evidence, read_head, read_journal};
use super::soaks::{SoakWriter, last_instant};
use clipmark_profile::point::PointId;
use clipmark_profile::record::{
    Chunk, EngineBuild, LoadEvidence, MemoryEvidence, OperatorCost, PointOutcome, SoakEvidence,
};
use clipmark_profile::sweep::JournalEntry;
use clipmark_service::disk;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What a step taught about its point, beside the step's result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PointNews {
    /// The kernel's account during this step: peaks replace smaller ones, counts are added.
    pub memory: Option<MemoryEvidence>,
    /// What was built; the first that is known stays, like the time of its preparation.
    pub engine: Option<EngineBuild>,
    /// Most expensive operators, replacing those known.
    pub operators: Vec<OperatorCost>,
    /// Remarks; one that is known already is not repeated.
    pub remarks: Vec<String>,
}

/// A record that is open for writing; no other process can open it meanwhile.
#[derive(Debug)]
pub struct RecordStore {
    out: PathBuf,
    paths: Paths,
    journal: Journal,
    points: BTreeMap<PointId, OpenPoint>,
    loads: usize,
    soaks: usize,
    /// Held for its lock.
    _lock: File,
}

/// A point's evidence and its files, which appear with its first news.
#[derive(Debug)]
struct OpenPoint {
    directory: PathBuf,
    evidence: PointOnDisk,
    arrays: Option<[Array; 4]>,
    /// Whether the file on disk says what `evidence` does.
    written: bool,
}

impl RecordStore {
    /// A new record in `out`, which is created.
    ///
    /// # Errors
    /// When `out` holds a record already or cannot be written.
    pub fn create(out: &Path, head: &Head) -> Result<Self, StoreError> {
        let paths = Paths::of(out);
        if paths.header().exists() {
            return Err(StoreError::Exists { path: out.into() });
        }
        create_dir(paths.record())?;
        let lock = lock(out, &paths)?;
        let journal = Journal::open(paths.journal(), 0)?;
        let points = head.header.plan.points.iter().enumerate();
        let points = points.map(|(index, &id)| (id, OpenPoint::new(paths.point(index), id))).collect();
        // The header last: with it, the record exists.
        write_json(&paths.header(), &HeadOnDisk { format: FORMAT, head: head.clone() })?;
        Ok(Self { out: out.into(), paths, journal, points, loads: 0, soaks: 0, _lock: lock })
    }

    /// Opens the record in `out` to go on with it. What was not committed is removed.
    ///
    /// # Errors
    /// When there is no record, another process writes it, or it is damaged.
    pub fn resume(out: &Path) -> Result<(Self, Resumed), StoreError> {
        let paths = Paths::of(out);
        let head = read_head(out, &paths)?;
        let lock = lock(out, &paths)?;
        let end = read_end(&paths)?;
        let ids = &head.header.plan.points;
        let committed = read_journal(&paths, ids)?;
        let journal = committed.journal;
        let mut points = BTreeMap::new();
        for (index, &id) in ids.iter().enumerate() {
            let count = committed.chunks.get(&id).copied().unwrap_or(0);
            points.insert(id, OpenPoint::resume(paths.point(index), id, count)?);
        }
        let (loads, loads_ended) = loads::last_instant(&paths.loads())?;
        let (soaks, soaks_ended) = last_instant(&paths.soaks())?;
        let steps = journal.iter().filter_map(|entry| entry.result.chunk.as_ref()).map(|chunk| chunk.ended);
        let asked = journal.iter().map(|entry| entry.asked);
        let ended = steps.chain(asked).chain(loads_ended).chain(soaks_ended).max().unwrap_or_default();
        let store = Self {
            out: out.into(),
            journal: Journal::open(paths.journal(), committed.length)?,
            paths,
            points,
            loads,
            soaks,
            _lock: lock,
        };
        Ok((store, Resumed { head, journal, ended, end }))
    }

    /// The output directory.
    #[must_use]
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Commits a step: arrays, evidence, journal, in this order.
    ///
    /// # Errors
    /// When the system refuses a write: the disk is full, or not writable.
    ///
    /// # Panics
    /// Never for a step of the record's own plan.
    pub fn commit(&mut self, entry: &JournalEntry, news: PointNews) -> Result<(), StoreError> {
        let result = &entry.result;
        if let Some(point) = self.points.get_mut(&entry.step.point) {
            point.learn(news);
            point.evidence.prepare_ns = point.evidence.prepare_ns.or(result.prepare);
            if let Some(chunk) = &result.chunk {
                point.append(chunk)?;
            }
            point.write()?;
        }
        self.journal.append(&EntryOnDisk {
            restarted: entry.restarted,
            asked_ns: entry.asked,
            step: entry.step.clone(),
            chunk: result.chunk.is_some(),
            prepare_ns: result.prepare,
            peak_memory_bytes: result.peak_memory,
            energy_uj: result.energy,
            failure: result.failure.clone(),
        })
    }

    /// Writes the outcomes that have changed.
    ///
    /// # Errors
    /// When the system refuses a write.
    pub fn settle(&mut self, outcomes: &[(PointId, PointOutcome)]) -> Result<(), StoreError> {
        for (id, outcome) in outcomes {
            let Some(point) = self.points.get_mut(id) else { continue };
            if point.evidence.outcome != *outcome {
                point.evidence.outcome = outcome.clone();
                point.written = false;
            }
            point.write()?;
        }
        Ok(())
    }

    /// Where the sensor series of the next part of the run goes.
    ///
    /// # Errors
    /// When the directory cannot be created or read.
    pub fn next_series(&self) -> Result<PathBuf, StoreError> {
        let directory = self.paths.sensors();
        create_dir(&directory)?;
        let taken = entries(&directory)?.len();
        Ok(directory.join(format!("{taken:04}.series")))
    }

    /// Keeps a load of streams.
    ///
    /// # Errors
    /// When the system refuses a write.
    pub fn append_load(&mut self, load: &LoadEvidence) -> Result<(), StoreError> {
        loads::write(&self.paths.loads().join(format!("{:04}", self.loads)), load)?;
        self.loads += 1;
        Ok(())
    }

    /// Begins the record of a soak.
    ///
    /// # Errors
    /// When its directory cannot be written.
    pub fn begin_soak(&mut self, begun: &SoakEvidence) -> Result<SoakWriter, StoreError> {
        let writer = SoakWriter::create(&self.paths.soaks().join(format!("{:04}", self.soaks)), begun)?;
        self.soaks += 1;
        Ok(writer)
    }

    /// Marks the end of the run.
    ///
    /// # Errors
    /// When the system refuses the write.
    pub fn finish(&self, end: &RunEnd) -> Result<(), StoreError> {
        write_json(&self.paths.end(), end)
    }

    /// Takes the mark of an end away, as the run goes on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn reopen(&self) -> Result<(), StoreError> {
        let path = self.paths.end();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::write(&path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// The lock goes with the process, however it ends.
fn lock(out: &Path, paths: &Paths) -> Result<File, StoreError> {
    let path = paths.lock();
    let file = File::create(&path).map_err(StoreError::write(&path))?;
    if disk::lock(&file).map_err(StoreError::write(&path))? {
        Ok(file)
    } else {
        Err(StoreError::Busy { path: out.into() })
    }
}

impl OpenPoint {
    const fn new(directory: PathBuf, id: PointId) -> Self {
        Self { directory, evidence: PointOnDisk::new(id), arrays: None, written: false }
    }

    /// The point with its first `committed` chunks.
    fn resume(directory: PathBuf, id: PointId, committed: usize) -> Result<Self, StoreError> {
        let Some(mut evidence) = read_evidence(&directory)? else { return Ok(Self::new(directory, id)) };
        let written = evidence.chunks.len() <= committed;
        evidence.chunks.truncate(committed);
        let mut point = Self { directory, evidence, arrays: None, written };
        if !point.written {
            point.open_arrays()?;
            point.write()?;
        }
        Ok(point)
    }

    fn open_arrays(&mut self) -> Result<&mut [Array; 4], StoreError> {
        if self.arrays.is_none() {
            create_dir(&self.directory)?;
            let open = |at: usize| {
                let length = self.evidence.chunks.iter().map(|chunk| chunk.lengths()[at].0).sum();
                Array::open(self.directory.join(ARRAYS[at]), length)
            };
            self.arrays = Some([open(0)?, open(1)?, open(2)?, open(3)?]);
            sync_parent(&self.directory.join(ARRAYS[0]))?;
        }
        Ok(self.arrays.as_mut().expect("opened just above"))
    }

    fn learn(&mut self, news: PointNews) {
        self.written = false;
        if let Some(memory) = news.memory {
            let known = self.evidence.memory.get_or_insert_default();
            merge(known, &memory);
        }
        self.evidence.engine = self.evidence.engine.or(news.engine);
        if !news.operators.is_empty() {
            self.evidence.operators = news.operators;
        }
        for remark in news.remarks {
            if !self.evidence.remarks.contains(&remark) {
                self.evidence.remarks.push(remark);
            }
        }
    }

    fn append(&mut self, chunk: &Chunk) -> Result<(), StoreError> {
        let values = [&chunk.latencies_ns, &chunk.compute_ns, &chunk.h2d_ns, &chunk.d2h_ns];
        let mut crcs = [0; 4];
        for ((array, values), crc) in self.open_arrays()?.iter_mut().zip(values).zip(&mut crcs) {
            *crc = array.append(values)?;
            if !values.is_empty() {
                array.sync()?;
            }
        }
        let [latencies_crc32c, computes_crc32c, h2ds_crc32c, d2hs_crc32c] = crcs;
        self.written = false;
        self.evidence.chunks.push(ChunkOnDisk {
            started_ns: chunk.started,
            ended_ns: chunk.ended,
            latencies: chunk.latencies_ns.len() as u64,
            latencies_crc32c,
            computes: chunk.compute_ns.len() as u64,
            computes_crc32c,
            h2ds: chunk.h2d_ns.len() as u64,
            h2ds_crc32c,
            d2hs: chunk.d2h_ns.len() as u64,
            d2hs_crc32c,
            lead_in: chunk.lead_in,
            engine: chunk.engine,
            phase: chunk.phase,
            block: chunk.block,
            context_switches: chunk.context_switches,
        });
        Ok(())
    }

    fn write(&mut self) -> Result<(), StoreError> {
        if !self.written {
            create_dir(&self.directory)?;
            write_json(&self.directory.join(EVIDENCE), &self.evidence)?;
            self.written = true;
        }
        Ok(())
    }
}

/// Peaks and bases by their extreme, counts by their sum; what neither knows stays absent.
fn merge(known: &mut MemoryEvidence, news: &MemoryEvidence) {
    known.peak_resident = known.peak_resident.max(news.peak_resident);
    known.base_resident = known.base_resident.or(news.base_resident);
    known.device = known.device.max(news.device);
    let add = |known: Option<u64>, news: Option<u64>| match (known, news) {
        (Some(known), Some(news)) => Some(known + news),
        (known, news) => known.or(news),
    };
    known.minor_faults = add(known.minor_faults, news.minor_faults);
    known.major_faults = add(known.major_faults, news.major_faults);
    known.psi_some_us = add(known.psi_some_us, news.psi_some_us);
    known.swap_in_pages = add(known.swap_in_pages, news.swap_in_pages);
}
