//! Reading a record back: for analysis, and to go on with the run.

use super::arrays::Reader;
use super::atomic::read_json;
use super::error::StoreError;
use super::journal;
use super::layout::{
    ARRAYS, ChunkOnDisk, EVIDENCE, FORMAT, FormatOnly, Head, HeadOnDisk, Paths, PointOnDisk, RunEnd,
};
use super::{loads, sensors, soaks};
use clipmark_profile::point::PointId;
use clipmark_profile::record::{Chunk, PointEvidence, Record};
use clipmark_profile::sweep::JournalEntry;
use clipmark_profile::units::Nanos;
use std::collections::BTreeMap;
use std::path::Path;

/// Everything needed to go on with a run.
#[derive(Debug)]
pub struct Resumed {
    /// What the run began with.
    pub head: Head,
    /// Its committed steps.
    pub journal: Vec<JournalEntry>,
    /// The latest instant that the record speaks of: the run's clock goes on from here.
    pub ended: Nanos,
    /// How it ended, unless it was cut off.
    pub end: Option<RunEnd>,
}

/// The record in `out`, with whatever a run that was cut off left there.
///
/// # Errors
/// When there is no record, or a file of it cannot be read or is damaged.
pub fn read(out: &Path) -> Result<Record, StoreError> {
    let paths = Paths::of(out);
    let head = read_head(out, &paths)?;
    let end = read_end(&paths)?;
    let mut points = Vec::new();
    for (index, _) in head.header.plan.points.iter().enumerate() {
        points.extend(read_point(&paths.point(index))?);
    }
    points.sort_by_key(|point| point.chunks.first().map_or(Nanos(u64::MAX), |chunk| chunk.started));
    Ok(Record {
        header: head.header,
        points,
        loads: loads::read_all(&paths.loads())?,
        soaks: soaks::read_all(&paths.soaks())?,
        sensors: sensors::read_all(&paths.sensors())?,
        partial: end.is_none_or(|end| end.partial),
    })
}

pub(super) fn read_head(out: &Path, paths: &Paths) -> Result<Head, StoreError> {
    let path = paths.header();
    if !path.exists() {
        return Err(StoreError::NoRecord { path: out.into() });
    }
    let FormatOnly { format } = read_json(&path)?;
    if format != FORMAT {
        return Err(StoreError::Version { path, found: format, known: FORMAT });
    }
    Ok(read_json::<HeadOnDisk>(&path)?.head)
}

pub(super) fn read_end(paths: &Paths) -> Result<Option<RunEnd>, StoreError> {
    let path = paths.end();
    if path.exists() { read_json(&path).map(Some) } else { Ok(None) }
}

/// The point in `directory`; `None` when nothing was written of it.
fn read_point(directory: &Path) -> Result<Option<PointEvidence>, StoreError> {
    let Some(point) = read_evidence(directory)? else { return Ok(None) };
    let chunks = read_chunks(directory, &point.chunks)?;
    Ok(Some(point.with_chunks(chunks)))
}

pub(super) fn read_evidence(directory: &Path) -> Result<Option<PointOnDisk>, StoreError> {
    let path = directory.join(EVIDENCE);
    if path.exists() { read_json(&path).map(Some) } else { Ok(None) }
}

fn read_chunks(directory: &Path, chunks: &[ChunkOnDisk]) -> Result<Vec<Chunk>, StoreError> {
    let open = |name: &str| Reader::open(&directory.join(name));
    let [latencies, compute, h2d, d2h] = ARRAYS;
    let mut readers = [open(latencies)?, open(compute)?, open(h2d)?, open(d2h)?];
    let one = |chunk: &ChunkOnDisk| {
        let mut arrays: [Vec<u64>; 4] = Default::default();
        for ((array, reader), (length, crc)) in arrays.iter_mut().zip(&mut readers).zip(chunk.lengths()) {
            *array = reader.next(length, crc)?;
        }
        Ok(chunk.with_arrays(arrays))
    };
    chunks.iter().map(one).collect()
}

/// What the journal proves to have happened.
pub(super) struct Committed {
    /// The steps with their chunks.
    pub(super) journal: Vec<JournalEntry>,
    /// The journal's length in bytes.
    pub(super) length: u64,
    /// How many chunks of each point.
    pub(super) chunks: BTreeMap<PointId, usize>,
}

pub(super) fn read_journal(paths: &Paths, points: &[PointId]) -> Result<Committed, StoreError> {
    let (entries, length) = journal::read(&paths.journal())?;
    let mut stored: BTreeMap<PointId, std::vec::IntoIter<Chunk>> = BTreeMap::new();
    for (index, &id) in points.iter().enumerate() {
        if let Some(point) = read_point(&paths.point(index))? {
            stored.insert(id, point.chunks.into_iter());
        }
    }
    let mut chunks = BTreeMap::new();
    let mut journal = Vec::with_capacity(entries.len());
    for entry in entries {
        let id = entry.step.point;
        let chunk = if entry.chunk { stored.get_mut(&id).and_then(Iterator::next) } else { None };
        if entry.chunk && chunk.is_none() {
            let reason = format!("it speaks of a chunk of {} that the point's files lack", id.shape);
            return Err(StoreError::damaged(&paths.journal(), reason));
        }
        *chunks.entry(id).or_default() += usize::from(entry.chunk);
        journal.push(entry.with_chunk(chunk));
    }
    Ok(Committed { journal, length, chunks })
}
