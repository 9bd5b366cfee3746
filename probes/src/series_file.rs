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
mod tests {
    use super::*;
    use clipmark_profile::channel::{Channel, ChannelKind, Role};
    use proptest::prelude::*;

    fn template() -> Template {
        let channel = |name| Channel::new(ChannelKind::Temperature, name, Role::Context);
        let record = SensorRecord {
            channels: vec![channel("a"), channel("gated"), channel("b")],
            trips: vec![(1, "critical".into(), 1), (2, "critical".into(), 99_000)],
            ..SensorRecord::default()
        };
        Template { record, faults: vec![None, Some("EAGAIN".into()), None] }
    }

    fn segment(start: u64, values: &[Option<i32>]) -> Segment {
        let mut columns: Vec<Column> = (0..3).map(|channel| Column::with_capacity(channel, 8)).collect();
        for value in values {
            columns[0].push(*value);
            columns[1].push(None);
            columns[2].push(Some(7));
        }
        let stamps_ns = (start..).take(values.len()).collect();
        let read_ns = vec![5; values.len()];
        let lane = TierSeries { period: Nanos(10), stamps_ns, read_ns, missed: 1, columns };
        Segment { lanes: vec![lane], cpu: Nanos(start) }
    }

    fn written(
        segments: &[Segment],
        ending: Option<&SamplingEnd>,
        limit: u64,
    ) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sensors");
        let mut writer = SeriesWriter::create(&path, Bytes(limit), &template()).unwrap();
        for segment in segments {
            writer.append(segment).unwrap();
        }
        if let Some(ending) = ending {
            writer.close(ending).unwrap();
        }
        (dir, path)
    }

    #[test]
    fn a_closed_file_gives_the_whole_record_without_channels_that_never_answered() {
        let ending = SamplingEnd {
            cpu: Nanos(99),
            faults: vec![None, Some("EAGAIN".into()), None],
            ..SamplingEnd::default()
        };
        let segments = [segment(0, &[Some(1), None]), segment(10, &[Some(-3)])];
        let (_dir, path) = written(&segments, Some(&ending), 1 << 20);
        let record = read(&path).unwrap();
        assert!(!record.truncated);
        assert_eq!(record.sampler_cpu, Nanos(99));
        let ids: Vec<&str> = record.channels.iter().map(|channel| channel.id.as_str()).collect();
        assert_eq!(ids, ["temp.a", "temp.b"]);
        assert_eq!(record.absent, [("temp.gated".to_owned(), "EAGAIN".to_owned())]);
        assert_eq!(record.trips, [(1, "critical".to_owned(), 99_000)]);
        assert_eq!((record.tiers[0].missed, record.tiers[0].stamps_ns.clone()), (2, vec![0, 1, 10]));
        let column = &record.tiers[0].columns[0];
        assert_eq!([column.get(0), column.get(1), column.get(2)], [Some(1), None, Some(-3)]);
        assert_eq!(record.tiers[0].columns[1].channel, 1);
    }

    #[test]
    fn a_file_cut_at_any_byte_gives_the_segments_before_the_cut() {
        let segments = [segment(0, &[Some(1), None]), segment(10, &[Some(2)]), segment(20, &[Some(3)])];
        let (_dir, path) = written(&segments, None, 1 << 20);
        let bytes = std::fs::read(&path).unwrap();
        let header = MAGIC.len() + FRAME_OVERHEAD + serde_json::to_vec(&template()).unwrap().len();
        for cut in header..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let record = read(&path).unwrap();
            assert!(record.truncated);
            let rows = record.tiers.first().map_or(0, |tier| tier.stamps_ns.len());
            assert!([0, 2, 3, 4].contains(&rows), "{rows} rows at {cut}");
            assert_eq!(rows == 4, cut == bytes.len());
        }
        std::fs::write(&path, &bytes[..header - 1]).unwrap();
        assert!(matches!(read(&path), Err(SeriesError::Format { .. })));
    }

    #[test]
    fn a_file_at_its_bound_stops_and_says_so() {
        let segments: Vec<Segment> = (0..50).map(|at| segment(at * 10, &[Some(1); 8])).collect();
        let (_dir, path) = written(&segments, Some(&SamplingEnd::default()), 2000);
        assert!(std::fs::metadata(&path).unwrap().len() <= 2000);
        let record = read(&path).unwrap();
        assert!(record.truncated);
        assert!(!record.tiers[0].stamps_ns.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_segment_survives_its_encoding(values in proptest::collection::vec(any::<Option<i32>>(), 0..200)) {
            let segment = segment(3, &values);
            let mut bytes = Vec::new();
            encode(&segment, &mut bytes);
            prop_assert_eq!(decode(&bytes), Some(segment));
        }

        #[test]
        fn no_damage_makes_reading_fail_or_invent(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let (_dir, path) = written(&[segment(0, &[Some(1)]), segment(10, &[Some(2)])], None, 1 << 20);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(record) = read(&path) {
                let rows = record.tiers.first().map_or(0, |tier| tier.stamps_ns.len());
                prop_assert!(rows < 2);
            }
        }
    }
}
