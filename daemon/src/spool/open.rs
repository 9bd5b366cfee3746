//! Opening a spool: what a crash or a failing disk left behind is sorted out here, once.
//!
//! A tail without a valid CRC in the last segment is a torn append and cut off; anything else that cannot
//! be read is moved to `quarantine/` and the segment rewritten without it. Either way the sequences concerned
//! stay used and are declared lost.

use super::segment::{self, HEADER, Located, Scan, SegmentHeader};
use super::{
    Acks, Bounds, Damage, Entry, Segment, Spool, SpoolError, disk, segment_path, sync_dir, write_atomically,
};
use clipmark_profile::message::{Envelope, Epoch, SequenceRange};
use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Fewest bytes that a record takes: a frame and an envelope without content.
const SMALLEST_RECORD: u64 = 24;

/// A segment as found, after repair.
struct Opened {
    header: SegmentHeader,
    scan: Scan,
    bytes: u64,
}

/// What opening has to remember between segments.
struct Opening<'a> {
    dir: &'a Path,
    damage: Vec<Damage>,
    /// Sequences that must not be given out again.
    burnt: u64,
}

fn segment_files(dir: &Path) -> Result<Vec<(u64, PathBuf)>, SpoolError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(disk("list", dir))? {
        let path = entry.map_err(disk("list", dir))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (Some(first), Some("seg")) = (stem, path.extension().and_then(|ext| ext.to_str())) {
            files.push((first, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Where the content that the last records belong to begins, when not all of its parts are there.
fn incomplete_tail(records: &[Located]) -> Option<usize> {
    let last = records.last()?;
    let is_whole = last.part.saturating_add(1) == last.parts;
    let first = last.sequence.saturating_sub(u64::from(last.part));
    let start = records.partition_point(|record| record.sequence < first);
    let all_there = records.len() - start == usize::from(last.part) + 1;
    (!is_whole || !all_there).then_some(start)
}

impl Opening<'_> {
    fn report(&mut self, path: &Path, what: String, lost: Vec<SequenceRange>) {
        self.damage.push(Damage { path: path.to_owned(), what, lost });
    }

    fn quarantine(&self, name: &str, bytes: &[u8]) -> Result<(), SpoolError> {
        let dir = self.dir.join("quarantine");
        fs::create_dir_all(&dir).map_err(disk("create", &dir))?;
        write_atomically(&dir.join(name), bytes).map(drop)
    }

    /// A file whose header cannot be read: its name says where it began, its size how much it can have held.
    fn set_aside(&mut self, path: &Path, first: u64, next: Option<u64>) -> Result<(), SpoolError> {
        let bytes = fs::read(path).map_err(disk("read", path))?;
        self.quarantine(&format!("{first:020}.seg"), &bytes)?;
        fs::remove_file(path).map_err(disk("remove", path))?;
        sync_dir(self.dir)?;
        let most = first.saturating_add(bytes.len() as u64 / SMALLEST_RECORD);
        let last = next.map_or(most, |next| next.saturating_sub(1));
        let mut lost = Vec::new();
        if last >= first {
            self.burnt = self.burnt.max(last);
            lost.push(SequenceRange { first, last });
        }
        self.report(path, "its header is damaged; the file is in quarantine".into(), lost);
        Ok(())
    }

    /// Rewrites a segment without the damaged stretches.
    fn mend(&mut self, path: &Path, bytes: &[u8], opened: &Opened) -> Result<(), SpoolError> {
        let first = opened.header.first;
        for Range { start, end } in &opened.scan.damaged {
            self.quarantine(&format!("{first:020}-{start}.part"), &bytes[*start..*end])?;
        }
        let mut kept = opened.header.to_bytes().to_vec();
        for record in &opened.scan.records {
            kept.extend(segment::framed(&bytes[record.body.clone()]));
        }
        write_atomically(path, &kept)?;
        let lost = segment::holes(first, opened.scan.records.iter().map(|record| record.sequence));
        let stretches = opened.scan.damaged.len();
        self.report(path, format!("{stretches} damaged stretches went into quarantine"), lost);
        Ok(())
    }

    /// Cuts off what a torn append left at the end of the last segment.
    fn cut_tail(&mut self, path: &Path, bytes: &[u8], opened: &mut Opened) -> Result<(), SpoolError> {
        let records = &mut opened.scan.records;
        let mut lost = None;
        if let Some(start) = incomplete_tail(records) {
            let last = &records[records.len() - 1];
            let last = last.sequence + u64::from(last.parts.saturating_sub(last.part).saturating_sub(1));
            let first = records[start].sequence;
            lost = Some(SequenceRange { first, last });
            opened.scan.end = if start == 0 { HEADER } else { records[start - 1].body.end };
            records.truncate(start);
        }
        if opened.scan.end == bytes.len() {
            return Ok(());
        }
        let torn = bytes.len() - opened.scan.end;
        let file = File::options().write(true).open(path).map_err(disk("open", path))?;
        file.set_len(opened.scan.end as u64).map_err(disk("cut the tail of", path))?;
        file.sync_data().map_err(disk("sync", path))?;
        let next = records.last().map_or(opened.header.first, |record| record.sequence + 1);
        let lost = lost.unwrap_or(SequenceRange { first: next, last: next });
        self.burnt = self.burnt.max(lost.last);
        self.report(path, format!("a torn tail of {torn} bytes was cut off"), vec![lost]);
        Ok(())
    }

    fn open_segment(&mut self, path: &Path, is_last: bool) -> Result<Option<Opened>, SpoolError> {
        let bytes = fs::read(path).map_err(disk("read", path))?;
        let Some(header) = SegmentHeader::from_bytes(&bytes) else { return Ok(None) };
        let mut scan = segment::scan(&bytes, header);
        if !is_last && scan.end < bytes.len() {
            scan.damaged.push(scan.end..bytes.len());
        }
        let mut opened = Opened { header, scan, bytes: 0 };
        if is_last {
            self.cut_tail(path, &bytes, &mut opened)?;
        }
        if !opened.scan.damaged.is_empty() {
            self.mend(path, &bytes, &opened)?;
            // Offsets moved: read the mended file as any other.
            let mended = fs::read(path).map_err(disk("read", path))?;
            opened.scan = segment::scan(&mended, header);
        }
        opened.bytes = opened.scan.end as u64;
        Ok(Some(opened))
    }
}

fn read_segments(opening: &mut Opening<'_>) -> Result<Vec<Opened>, SpoolError> {
    let files = segment_files(opening.dir)?;
    let mut segments: Vec<Opened> = Vec::new();
    for (index, (first, path)) in files.iter().enumerate() {
        let next = files.get(index + 1).map(|(first, _)| *first);
        match opening.open_segment(path, next.is_none())? {
            Some(opened) if opened.header.first == *first => segments.push(opened),
            _ => opening.set_aside(path, *first, next)?,
        }
    }
    Ok(segments)
}

impl Spool {
    /// Opens the spool in `dir`, or creates it with the epoch `fresh`.
    ///
    /// # Errors
    /// A disk that refuses. Damage is no error: it is repaired, declared and returned.
    pub fn open(
        dir: &Path,
        bounds: Bounds,
        fresh: Epoch,
        now_unix_ms: u64,
    ) -> Result<(Self, Vec<Damage>), SpoolError> {
        fs::create_dir_all(dir).map_err(disk("create", dir))?;
        let mut opening = Opening { dir, damage: Vec::new(), burnt: 0 };
        let mut opened = read_segments(&mut opening)?;
        // One spool has one epoch, the newest segment's; a stray file of another is set aside.
        let epoch = opened.last().map_or(fresh, |segment| segment.header.epoch);
        for stray in opened.extract_if(.., |segment| segment.header.epoch != epoch) {
            let first = stray.header.first;
            opening.set_aside(&segment_path(dir, first), first, Some(first))?;
        }
        let newest =
            opened.iter().flat_map(|segment| &segment.scan.records).map(|record| record.sequence).max();
        let begun = opened.last().map_or(1, |segment| segment.header.first);
        // In a new epoch nothing was used before and nothing is missing.
        let is_continued = !opened.is_empty();
        let burnt = if is_continued { opening.burnt } else { 0 };
        let next = begun.max(newest.unwrap_or(0) + 1).max(burnt + 1);
        let damage = opening.damage;
        let mut spool = Self::assemble(dir, bounds, epoch, next, opened)?;
        spool.forget_given_up();
        if is_continued {
            spool.undeclared = damage.iter().flat_map(|damage| damage.lost.iter().copied()).collect();
            spool.declare_lost(now_unix_ms);
        }
        Ok((spool, damage))
    }

    fn assemble(
        dir: &Path,
        bounds: Bounds,
        epoch: Epoch,
        next: u64,
        opened: Vec<Opened>,
    ) -> Result<Self, SpoolError> {
        let acks_path = dir.join("acks");
        let (acks, confirmed) = Acks::open(&acks_path, epoch).map_err(disk("open", &acks_path))?;
        let mut segments = Vec::new();
        let mut entries = VecDeque::new();
        for Opened { header, scan, bytes } in opened {
            let last = scan.records.last().map_or(header.first.saturating_sub(1), |record| record.sequence);
            segments.push(Segment { first: header.first, last, bytes });
            let unconfirmed = scan.records.into_iter().filter(|record| record.sequence > confirmed);
            entries.extend(unconfirmed.map(|record| Entry {
                sequence: record.sequence,
                kind: record.kind,
                part: record.part,
                command: record.command,
                segment: header.first,
                body: record.body.start as u64..record.body.end as u64,
            }));
        }
        let active = Self::open_active(dir, epoch, next, &mut segments)?;
        Ok(Self {
            dir: dir.to_owned(),
            bounds,
            most_in_part: Envelope::MAX_PART,
            epoch,
            next,
            segments,
            active,
            poisoned: false,
            entries,
            confirmed_ahead: BTreeSet::new(),
            undeclared: Vec::new(),
            gone: 0,
            acks,
        })
    }

    fn open_active(
        dir: &Path,
        epoch: Epoch,
        next: u64,
        segments: &mut Vec<Segment>,
    ) -> Result<File, SpoolError> {
        if let Some(last) = segments.last() {
            let path = segment_path(dir, last.first);
            return File::options().read(true).write(true).open(&path).map_err(disk("open", &path));
        }
        let header = SegmentHeader { epoch, first: next };
        segments.push(Segment { first: next, last: next - 1, bytes: HEADER as u64 });
        write_atomically(&segment_path(dir, next), &header.to_bytes())
    }
}
