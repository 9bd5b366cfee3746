//! Opening a spool: what a crash or a failing disk left behind is sorted out here, once.
//!
//! A tail without a valid CRC in the last segment is a torn append and cut off; anything else that cannot
//! be read is moved to `quarantine/` and the segment rewritten without it. Either way the sequences concerned
//! stay used and are declared lost. When the files are of several epochs, or of several states of one, a new
//! epoch begins at once and everything unconfirmed moves into it.

use super::confirm::MARKER;
use super::segment::{self, HEADER, Located, Scan, SegmentHeader};
use super::{
    Acks, Behind, Bounds, Damage, Entry, Segment, Spool, SpoolError, disk, segment_path, sync_dir,
    write_atomically,
};
use clipmark_profile::message::{Envelope, Epoch, EventReport, Payload, Place, RecordDigest, SequenceRange};
use clipmark_profile::topics::UpKind;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Fewest bytes that a record takes: a frame and an envelope without content.
const SMALLEST_RECORD: u64 = 24;

/// A segment as found, after repair.
struct Opened {
    number: u64,
    header: SegmentHeader,
    scan: Scan,
    bytes: u64,
}

/// A file whose header cannot be read.
struct Unreadable {
    number: u64,
    /// The number of the file after it.
    next: Option<u64>,
    path: PathBuf,
}

/// What opening has to remember between segments.
struct Opening<'a> {
    dir: &'a Path,
    damage: Vec<Damage>,
    /// What damage has cost, by epoch.
    lost: Vec<(Epoch, SequenceRange)>,
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
    fn report(&mut self, path: &Path, epoch: Epoch, what: String, lost: Vec<SequenceRange>) {
        self.lost.extend(lost.iter().map(|range| (epoch, *range)));
        self.damage.push(Damage { path: path.to_owned(), what, lost });
    }

    fn quarantine(&self, name: &str, bytes: &[u8]) -> Result<(), SpoolError> {
        let dir = self.dir.join("quarantine");
        fs::create_dir_all(&dir).map_err(disk("create", &dir))?;
        write_atomically(&dir.join(name), bytes).map(drop)
    }

    /// Puts a file whose header cannot be read into quarantine. Its name says where it began, its size how much it
    /// can have held; `offset` is what numbers exceed sequences by in the epoch that goes on.
    fn set_aside(&mut self, file: &Unreadable, epoch: Epoch, offset: u64) -> Result<(), SpoolError> {
        let Unreadable { number, next, path } = file;
        let bytes = fs::read(path).map_err(disk("read", path))?;
        self.quarantine(&format!("{number:020}.seg"), &bytes)?;
        fs::remove_file(path).map_err(disk("remove", path))?;
        sync_dir(self.dir)?;
        let most = number.saturating_add(bytes.len() as u64 / SMALLEST_RECORD);
        let last = next.map_or(most, |next| next.saturating_sub(1));
        let mut lost = Vec::new();
        // A file of an earlier epoch says nothing of this one.
        if last >= *number && *number > offset {
            let range = SequenceRange { first: number - offset, last: last - offset };
            self.burnt = self.burnt.max(range.last);
            lost.push(range);
        }
        self.report(path, epoch, "its header is damaged; the file is in quarantine".into(), lost);
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
        self.report(
            path,
            opened.header.epoch,
            format!("{stretches} damaged stretches went into quarantine"),
            lost,
        );
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
        self.report(
            path,
            opened.header.epoch,
            format!("a torn tail of {torn} bytes was cut off"),
            vec![lost],
        );
        Ok(())
    }

    fn open_segment(
        &mut self,
        number: u64,
        path: &Path,
        is_last: bool,
    ) -> Result<Option<Opened>, SpoolError> {
        let bytes = fs::read(path).map_err(disk("read", path))?;
        let Some(header) = SegmentHeader::from_bytes(&bytes) else { return Ok(None) };
        let mut scan = segment::scan(&bytes, header);
        if !is_last && scan.end < bytes.len() {
            scan.damaged.push(scan.end..bytes.len());
        }
        let mut opened = Opened { number, header, scan, bytes: 0 };
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

fn read_segments(opening: &mut Opening<'_>) -> Result<(Vec<Opened>, Vec<Unreadable>), SpoolError> {
    let files = segment_files(opening.dir)?;
    let mut segments: Vec<Opened> = Vec::new();
    let mut unreadable = Vec::new();
    for (index, (number, path)) in files.iter().enumerate() {
        let next = files.get(index + 1).map(|(number, _)| *number);
        match opening.open_segment(*number, path, next.is_none())? {
            Some(opened) => segments.push(opened),
            None => unreadable.push(Unreadable { number: *number, next, path: path.clone() }),
        }
    }
    Ok((segments, unreadable))
}

impl Entry {
    pub(super) fn of(record: Located, epoch: Epoch, segment: u64) -> Self {
        let Located { sequence, kind, part, parts, command, body, .. } = record;
        let body = body.start as u64..body.end as u64;
        Self { epoch, sequence, kind, part, parts, command, segment, body }
    }
}

/// Whether a record of the segment declares `range` lost.
fn declares(dir: &Path, segment: &Opened, range: SequenceRange) -> Result<bool, SpoolError> {
    let path = segment_path(dir, segment.number);
    let bytes = fs::read(&path).map_err(disk("read", &path))?;
    let events =
        segment.scan.records.iter().filter(|record| record.kind == UpKind::Event && record.parts == 1);
    let mut declared = events.filter_map(|record| {
        let envelope =
            Envelope::from_bytes(bytes.get(record.body.clone())?, Some("application/cbor")).ok()?;
        EventReport::from_bytes(&envelope.content, Some("application/cbor")).ok()?.range
    });
    Ok(declared.any(|declared| declared.first <= range.first && range.last <= declared.last))
}

/// What lies between two segments of one epoch and is in neither: a file was cut short or replaced by an older one.
/// A file that was set aside is accounted for, and so is a torn record at the end of the first one.
fn missing_between(
    dir: &Path,
    opened: &[Opened],
    unreadable: &[Unreadable],
    epoch: Epoch,
) -> Result<Vec<(u64, SequenceRange)>, SpoolError> {
    let own: Vec<&Opened> = opened.iter().filter(|segment| segment.header.epoch == epoch).collect();
    let pairs = own.iter().zip(own.iter().skip(1));
    let mut missing = Vec::new();
    for (one, other) in pairs {
        let end = one.scan.records.last().map_or(one.header.first, |record| record.sequence + 1);
        let is_set_aside = unreadable.iter().any(|file| (one.number..other.number).contains(&file.number));
        let range = SequenceRange { first: end, last: other.header.first.saturating_sub(1) };
        if range.first <= range.last && !is_set_aside && !declares(dir, other, range)? {
            missing.push((one.number, range));
        }
    }
    Ok(missing)
}

/// The first record that does not follow the one before it in the same epoch.
fn out_of_place(entries: &VecDeque<Entry>, epoch: Epoch) -> Option<u64> {
    let foreign = entries.iter().find(|entry| entry.epoch != epoch);
    let pairs = entries.iter().zip(entries.iter().skip(1));
    let mut back = pairs.filter(|(one, other)| one.epoch == other.epoch && one.sequence >= other.sequence);
    foreign.or_else(|| back.next().map(|(_, other)| other)).map(|entry| entry.sequence)
}

/// The places from which records moved, with what tells those records from others.
fn moved(opened: &[Opened]) -> BTreeMap<Place, BTreeSet<RecordDigest>> {
    let mut moved = BTreeMap::<Place, BTreeSet<RecordDigest>>::new();
    let records = opened.iter().flat_map(|segment| &segment.scan.records);
    for (places, digest) in records.filter_map(|record| record.former.as_ref()) {
        for place in places {
            moved.entry(*place).or_default().insert(*digest);
        }
    }
    moved
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
        let mut opening = Opening { dir, damage: Vec::new(), lost: Vec::new(), burnt: 0 };
        let (opened, unreadable) = read_segments(&mut opening)?;
        // The newest segment's epoch goes on.
        let newest = opened.last().map(|segment| (segment.header, segment.number));
        let epoch = newest.map_or(fresh, |(header, _)| header.epoch);
        let offset = newest.map_or(0, |(header, number)| number.saturating_sub(header.first));
        for file in &unreadable {
            opening.set_aside(file, epoch, offset)?;
        }
        for (number, range) in missing_between(dir, &opened, &unreadable, epoch)? {
            let path = segment_path(dir, number);
            opening.report(&path, epoch, "what followed in it is gone".into(), vec![range]);
        }
        let own = opened.iter().filter(|segment| segment.header.epoch == epoch);
        let written = own.flat_map(|segment| &segment.scan.records).map(|record| record.sequence).max();
        let begun = newest.map_or(1, |(header, _)| header.first);
        // In a new epoch nothing was used before and nothing is missing.
        let is_continued = newest.is_some();
        let burnt = if is_continued { opening.burnt } else { 0 };
        let next = begun.max(written.unwrap_or(0) + 1).max(burnt + 1);
        let Opening { mut damage, lost, .. } = opening;
        let mut spool = Self::assemble(dir, bounds, (epoch, next, offset), opened)?;
        spool.forget_given_up();
        if is_continued {
            // A range says nothing outside its own epoch.
            spool.undeclared =
                lost.into_iter().filter(|(of, _)| *of == epoch).map(|(_, range)| range).collect();
            // What the disk refuses is tried again with the next record.
            let _ = spool.declare_lost(now_unix_ms);
        }
        if let Some(behind) = spool.behind {
            let then = match spool.renew(fresh, now_unix_ms) {
                Ok(()) => "a new epoch was begun".to_owned(),
                // It stays behind; the owner tries again.
                Err(error) => format!("a new epoch cannot begin yet: {error}"),
            };
            damage.push(Damage { path: dir.to_owned(), what: format!("{behind}; {then}"), lost: Vec::new() });
        }
        Ok((spool, damage))
    }

    fn assemble(
        dir: &Path,
        bounds: Bounds,
        (epoch, next, offset): (Epoch, u64, u64),
        opened: Vec<Opened>,
    ) -> Result<Self, SpoolError> {
        let acks_path = dir.join("acks");
        let (acks, confirmed) = Acks::open(&acks_path, epoch).map_err(disk("open", &acks_path))?;
        let moved = moved(&opened);
        let mut segments = Vec::new();
        let mut entries = VecDeque::new();
        for Opened { number, header, scan, bytes } in opened {
            let last = scan.records.last().map_or(header.first.saturating_sub(1), |record| record.sequence);
            segments.push(Segment { number, last, bytes });
            let path = segment_path(dir, number);
            let is_moved = |record: &Located| {
                let place = Place { epoch: header.epoch, sequence: record.sequence };
                moved.get(&place).is_some_and(|digests| {
                    // In another state of the directory another record was at that place.
                    segment::digest_at(&path, &record.body).is_some_and(|own| digests.contains(&own))
                })
            };
            let is_needed = |record: &Located| {
                let is_confirmed = header.epoch == epoch && record.sequence <= confirmed;
                !is_confirmed && !is_moved(record)
            };
            let needed = scan.records.into_iter().filter(is_needed);
            entries.extend(needed.map(|record| Entry::of(record, header.epoch, number)));
        }
        let marker = fs::read_to_string(dir.join(MARKER)).is_ok_and(|of| of == epoch.to_string());
        let mixed = out_of_place(&entries, epoch).map(|sequence| Behind::Mixed { sequence });
        let newest = next - 1;
        let ahead = (confirmed > newest).then_some(Behind::Ahead { confirmed, newest });
        let active = Self::open_active(dir, epoch, next, &mut segments)?;
        Ok(Self {
            dir: dir.to_owned(),
            bounds,
            most_in_part: Envelope::MAX_PART,
            epoch,
            next,
            offset,
            segments,
            active,
            poisoned: false,
            entries,
            confirmed_ahead: BTreeSet::new(),
            undeclared: Vec::new(),
            gone: 0,
            confirmed_before: next,
            behind: mixed.or(ahead).or(marker.then_some(Behind::Before)),
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
            let path = segment_path(dir, last.number);
            return File::options().read(true).write(true).open(&path).map_err(disk("open", &path));
        }
        let header = SegmentHeader { epoch, first: next };
        segments.push(Segment { number: next, last: next - 1, bytes: HEADER as u64 });
        write_atomically(&segment_path(dir, next), &header.to_bytes())
    }
}
