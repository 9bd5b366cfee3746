//! Sensor series on disk, written while the sampler runs, so that they survive the end of the process.
//!
//! Layout: the magic line, then frames of `kind (1 byte), length (u32), CRC-32C over kind and payload
//! (u32), payload`, little-endian. A header frame holds the record's template as JSON, segment frames
//! hold readings, an ending frame closes a complete file. A frame without a valid checksum, and
//! everything after it, never existed: that is what a process leaves that was killed while writing.
//! The file is bounded; beyond the bound no segment is written and the record says that it was truncated.

use crate::assemble::{SamplingEnd, Template, finish};
use crate::sampling::Segment;
use clipmark_profile::sensors::{Column, SensorRecord, TierSeries};
use clipmark_profile::units::{Bytes, Nanos};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"clipmark-series 1\n";
const HEADER: u8 = b'H';
const SEGMENT: u8 = b'S';
const ENDING: u8 = b'E';
const FRAME_OVERHEAD: usize = 9;

/// A series file that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// The disk refused.
    #[error("cannot {action} {path}; check the directory, its permissions and the space left")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is another kind of file, or its header did not survive.
    #[error("{path} is not a sensor series of this version: {problem}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Writes one series.
#[derive(Debug)]
pub(crate) struct SeriesWriter {
    file: File,
    path: PathBuf,
    written: usize,
    limit: Bytes,
    buffer: Vec<u8>,
    full: bool,
}

impl SeriesWriter {
    /// Creates the file with its header. An existing file is replaced.
    pub(crate) fn create(path: &Path, limit: Bytes, template: &Template) -> Result<Self, SeriesError> {
        let failed = |source| SeriesError::Io { action: "create", path: path.to_owned(), source };
        let mut file = File::create(path).map_err(failed)?;
        file.write_all(MAGIC).map_err(failed)?;
        let mut writer = Self {
            file,
            path: path.to_owned(),
            written: MAGIC.len(),
            limit,
            buffer: Vec::new(),
            full: false,
        };
        let json = serde_json::to_vec(template).map_err(|error| failed(error.into()))?;
        writer.frame(HEADER, &json)?;
        Ok(writer)
    }

    /// Appends a segment and waits until the disk has it. Beyond the bound it is left out.
    pub(crate) fn append(&mut self, segment: &Segment) -> Result<(), SeriesError> {
        let mut payload = std::mem::take(&mut self.buffer);
        payload.clear();
        encode(segment, &mut payload);
        let needed = self.written + payload.len() + FRAME_OVERHEAD;
        self.full |= needed as u64 > self.limit.get();
        let outcome = if self.full { Ok(()) } else { self.frame(SEGMENT, &payload) };
        self.buffer = payload;
        outcome
    }

    /// Closes the file with what is known at the end.
    pub(crate) fn close(mut self, ending: &SamplingEnd) -> Result<(), SeriesError> {
        if self.full {
            // Left without an ending, the file reads as truncated.
            return Ok(());
        }
        let json = serde_json::to_vec(ending).map_err(|error| SeriesError::Io {
            action: "close",
            path: self.path.clone(),
            source: error.into(),
        })?;
        self.frame(ENDING, &json)
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> Result<(), SeriesError> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut frame = Vec::with_capacity(payload.len() + FRAME_OVERHEAD);
        frame.push(kind);
        frame.extend(length.to_le_bytes());
        frame.extend(checksum(kind, payload).to_le_bytes());
        frame.extend(payload);
        let failed = |source| SeriesError::Io { action: "write to", path: self.path.clone(), source };
        self.file.write_all(&frame).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        self.written += frame.len();
        Ok(())
    }
}

/// Reads a series file back, up to the last frame that is whole.
///
/// # Errors
/// When the file cannot be read or holds no valid header.
pub fn read(path: &Path) -> Result<SensorRecord, SeriesError> {
    let failed = |source| SeriesError::Io { action: "read", path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    let format = |problem| SeriesError::Format { path: path.to_owned(), problem };
    let mut rest = bytes.strip_prefix(MAGIC).ok_or_else(|| format("it begins otherwise"))?;
    let header = next_frame(&mut rest).filter(|(kind, _)| *kind == HEADER);
    let (_, header) = header.ok_or_else(|| format("its header is damaged"))?;
    let template: Template =
        serde_json::from_slice(header).map_err(|_| format("its header has another layout"))?;
    let (mut series, mut cpu, mut ending) = (Vec::new(), Nanos(0), None);
    while let Some((kind, payload)) = next_frame(&mut rest) {
        match kind {
            SEGMENT => {
                let Some(segment) = decode(payload) else { break };
                cpu = segment.cpu;
                join(&mut series, &segment.lanes);
            }
            ENDING => ending = serde_json::from_slice(payload).ok(),
            _ => break,
        }
    }
    Ok(finish(template, series, cpu, ending))
}

/// Adds a segment's lanes to the series so far.
pub(crate) fn join(series: &mut Vec<TierSeries>, lanes: &[TierSeries]) {
    if series.is_empty() {
        series.extend(lanes.iter().cloned());
        return;
    }
    for (whole, part) in series.iter_mut().zip(lanes) {
        whole.append(part);
    }
}

fn checksum(kind: u8, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind]), payload)
}

/// The next whole frame of `rest`, or `None` at the end or where it is damaged.
fn next_frame<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let mut reader = *rest;
    let kind = take(&mut reader, 1)?[0];
    let length = u32::from_le_bytes(take(&mut reader, 4)?.try_into().ok()?);
    let crc = u32::from_le_bytes(take(&mut reader, 4)?.try_into().ok()?);
    let payload = take(&mut reader, usize::try_from(length).ok()?)?;
    if checksum(kind, payload) != crc {
        return None;
    }
    *rest = reader;
    Some((kind, payload))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn encode(segment: &Segment, out: &mut Vec<u8>) {
    out.extend(segment.cpu.get().to_le_bytes());
    out.extend((segment.lanes.len() as u32).to_le_bytes());
    for lane in &segment.lanes {
        out.extend(lane.period.get().to_le_bytes());
        out.extend(lane.missed.to_le_bytes());
        out.extend((lane.stamps_ns.len() as u32).to_le_bytes());
        out.extend((lane.columns.len() as u32).to_le_bytes());
        out.extend(lane.stamps_ns.iter().flat_map(|stamp| stamp.to_le_bytes()));
        out.extend(lane.read_ns.iter().flat_map(|span| span.to_le_bytes()));
        for column in &lane.columns {
            out.extend(column.channel.to_le_bytes());
            out.extend(column.values.iter().flat_map(|value| value.to_le_bytes()));
            out.extend(column.valid.iter().flat_map(|word| word.to_le_bytes()));
        }
    }
}

fn decode(mut payload: &[u8]) -> Option<Segment> {
    let rest = &mut payload;
    let cpu = Nanos(number(rest)?);
    let lanes = usize::try_from(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?)).ok()?;
    let mut segment = Segment { lanes: Vec::new(), cpu };
    for _ in 0..lanes {
        segment.lanes.push(decode_lane(rest)?);
    }
    Some(segment)
}

fn decode_lane(rest: &mut &[u8]) -> Option<TierSeries> {
    let mut lane =
        TierSeries { period: Nanos(number(rest)?), missed: number(rest)?, ..TierSeries::default() };
    let rows = usize::try_from(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?)).ok()?;
    let columns = usize::try_from(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?)).ok()?;
    let words = |bytes: &[u8]| -> Vec<u64> {
        bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
    };
    lane.stamps_ns = words(take(rest, rows.checked_mul(8)?)?);
    let spans = take(rest, rows.checked_mul(4)?)?.as_chunks::<4>().0;
    lane.read_ns = spans.iter().map(|span| u32::from_le_bytes(*span)).collect();
    for _ in 0..columns {
        let channel = u16::from_le_bytes(take(rest, 2)?.try_into().ok()?);
        let values = take(rest, rows.checked_mul(4)?)?.as_chunks::<4>().0;
        let values = values.iter().map(|value| i32::from_le_bytes(*value)).collect();
        let valid = words(take(rest, rows.div_ceil(64) * 8)?);
        lane.columns.push(Column { channel, values, valid });
    }
    Some(lane)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
