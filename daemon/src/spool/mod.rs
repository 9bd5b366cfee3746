//! Results on their way out: an append-only log that outlives crashes, full disks and absent brokers.
//!
//! Terms: a *record* is one encoded envelope; a *segment* is a file of records; the *epoch* identifies one
//! writer's sequence of records; a record is *confirmed* when the receiver has said that it is stored (or, with
//! `delivery = "puback"`, when the broker has acknowledged it). An append returns only after the bytes are
//! synced. Nothing unconfirmed is ever removed; when there is no room, [`Spool::room`] says so and new
//! runs are refused.
//!
//! A sequence is never used twice, not even for a record that was torn, and what damage costs is declared
//! by a record of kind `event`. A directory that was set back to a backup or copied to another board breaks
//! that rule unseen: a spool that learns so from a receipt is *behind*. It confirms and sends nothing more in
//! that epoch, and [`Spool::renew`] gives what is unconfirmed new places in a new one. This module does not
//! speak MQTT and reads no clock.

mod acks;
mod confirm;
mod open;
mod outcome;
mod recut;
mod renew;
mod segment;
#[cfg(test)]
mod tests;

pub use outcome::{Behind, Confirmation, Damage, Full, SpoolError};
pub use recut::Recut;

use acks::Acks;
use clipmark_profile::message::{Envelope, Epoch, EventKind, EventReport, Payload, SequenceRange};
use clipmark_profile::topics::{CommandId, UpKind};
use clipmark_service::durable::{self, DiskError};
use segment::{FRAME, HEADER, SegmentHeader};
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How large a spool may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Segments are begun anew at about this size.
    pub segment_bytes: u64,
    /// All segments together.
    pub max_bytes: u64,
    /// What must be free, below `max_bytes` and on the disk, for a new run to be accepted.
    pub reserve_bytes: u64,
}

/// One unconfirmed record.
#[derive(Debug, Clone)]
struct Entry {
    epoch: Epoch,
    sequence: u64,
    kind: UpKind,
    part: u16,
    parts: u16,
    command: Option<CommandId>,
    /// The number of the segment that holds it.
    segment: u64,
    body: Range<u64>,
}

/// One segment file.
#[derive(Debug, Clone)]
struct Segment {
    /// The number in its name. Segments are in the order of their numbers.
    number: u64,
    /// Highest sequence in it, or the one before it when it is empty.
    last: u64,
    bytes: u64,
}

/// The log.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    bounds: Bounds,
    /// Most bytes of content in a record that is appended.
    most_in_part: usize,
    epoch: Epoch,
    next: u64,
    /// What a segment's number exceeds its first sequence by: 0 until a new epoch begins behind another.
    offset: u64,
    /// In order; the last one is appended to.
    segments: Vec<Segment>,
    active: File,
    /// A failed append may have left bytes behind: the next one begins a new segment.
    poisoned: bool,
    /// Unconfirmed, in order.
    entries: VecDeque<Entry>,
    /// Confirmed ahead of an unconfirmed one.
    confirmed_ahead: BTreeSet<u64>,
    /// Lost, and not yet declared because the disk refused.
    undeclared: Vec<SequenceRange>,
    /// The highest confirmed record that a receiver has lost again and that was declared lost for it.
    gone: u64,
    /// The next sequence when receipts last confirmed anything. A receipt that covers it was made afterwards.
    confirmed_before: u64,
    /// Set once another writer of this epoch is known, until a new epoch begins.
    behind: Option<Behind>,
    acks: Acks,
}

fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Disk { action, path, source }
}

fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.seg"))
}

/// Writes a whole file; returns it, open for reading and writing.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<File, SpoolError> {
    durable::replace_with(path, |file| file.write_all_at(bytes, 0).map_err(disk("write", path)))
}

fn sync_dir(dir: &Path) -> Result<(), SpoolError> {
    Ok(durable::sync_dir(dir)?)
}

impl From<DiskError> for SpoolError {
    fn from(DiskError { action, path, source }: DiskError) -> Self {
        Self::Disk { action, path, source }
    }
}

impl Spool {
    /// The epoch of this spool.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Records that are not confirmed.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.entries.len()
    }

    /// The sequence that the next record will have.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next
    }

    /// The oldest unconfirmed record.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.sequence)
    }

    /// The first unconfirmed record from `sequence` on, with its kind.
    #[must_use]
    pub fn first_from(&self, sequence: u64) -> Option<(u64, UpKind)> {
        let index = self.entries.partition_point(|entry| entry.sequence < sequence);
        self.entries.get(index).map(|entry| (entry.sequence, entry.kind))
    }

    /// The unconfirmed records from `sequence` on, in order, with their kinds.
    pub fn records_from(&self, sequence: u64) -> impl Iterator<Item = (u64, UpKind)> {
        let index = self.entries.partition_point(|entry| entry.sequence < sequence);
        self.entries.range(index..).map(|entry| (entry.sequence, entry.kind))
    }

    /// The unconfirmed records of `command`, when there are any.
    #[must_use]
    pub fn records_of(&self, command: &CommandId) -> Option<SequenceRange> {
        let mut of = self.entries.iter().filter(|entry| entry.command.as_ref() == Some(command));
        let first = of.next()?.sequence;
        let last = of.next_back().map_or(first, |entry| entry.sequence);
        Some(SequenceRange { first, last })
    }

    /// How many contents of `kind` by `command` wait, each counted once however many parts it has.
    #[must_use]
    pub fn contents_of(&self, command: &CommandId, kind: UpKind) -> usize {
        let is_first =
            |entry: &&Entry| entry.part == 0 && entry.kind == kind && entry.command.as_ref() == Some(command);
        self.entries.iter().filter(is_first).count()
    }

    /// Bytes in all segments.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Takes new bounds.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Whether a new run's results will find room.
    ///
    /// # Errors
    /// Which bound is in the way.
    pub fn room(&self) -> Result<(), Full> {
        let used = self.used_bytes();
        if used + self.bounds.reserve_bytes > self.bounds.max_bytes {
            return Err(Full::Bound { used, max: self.bounds.max_bytes, unconfirmed: self.entries.len() });
        }
        // A disk that cannot be asked is tried: the append will tell.
        let Ok(stat) = rustix::fs::statvfs(&self.dir) else { return Ok(()) };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < self.bounds.reserve_bytes {
            return Err(Full::Disk { path: self.dir.clone(), free, wanted: self.bounds.reserve_bytes });
        }
        Ok(())
    }

    /// Appends one content, in parts if it is long, and syncs it. Either all parts are there afterwards or
    /// none is.
    ///
    /// # Errors
    /// The disk's refusal (the spool stays usable and nothing earlier is lost), or a content too large.
    pub fn append(
        &mut self,
        kind: UpKind,
        command: Option<&CommandId>,
        content: &[u8],
        now_unix_ms: u64,
    ) -> Result<SequenceRange, SpoolError> {
        let most = self.most_in_part(content);
        let parts = content.len().div_ceil(most).max(1);
        if parts > usize::from(Envelope::MAX_PARTS) {
            let limit = Envelope::MAX_PART * usize::from(Envelope::MAX_PARTS);
            return Err(SpoolError::TooLarge { kind, length: content.len(), limit });
        }
        let mut bodies = Vec::with_capacity(parts);
        for part in 0..parts {
            let from = part * most;
            let to = content.len().min(from + most);
            let envelope = Envelope {
                version: Envelope::VERSION,
                epoch: self.epoch,
                sequence: self.next + part as u64,
                kind,
                part: part as u16,
                parts: parts as u16,
                command: command.cloned(),
                spooled_unix_ms: now_unix_ms,
                content: content[from..to].to_vec(),
                former: Vec::new(),
            };
            bodies.push(envelope.to_bytes()?);
        }
        self.write(&bodies)?;
        let appended = SequenceRange { first: self.next, last: self.next + parts as u64 - 1 };
        self.account(kind, command, &bodies);
        // What the disk refuses is tried again with the next record.
        let _ = self.declare_lost(now_unix_ms);
        Ok(appended)
    }

    /// Puts frames and bodies at the end of the active segment, or leaves it as it was.
    fn write(&mut self, bodies: &[Vec<u8>]) -> Result<(), SpoolError> {
        let bytes: Vec<u8> = bodies.iter().flat_map(|body| segment::framed(body)).collect();
        let end = self.active_segment().bytes;
        if self.poisoned || (end > HEADER as u64 && end + bytes.len() as u64 > self.bounds.segment_bytes) {
            self.roll()?;
        }
        let Segment { number, bytes: end, .. } = *self.active_segment();
        let path = segment_path(&self.dir, number);
        let written = self.active.write_all_at(&bytes, end).map_err(disk("append to", &path));
        let synced = written.and_then(|()| self.active.sync_data().map_err(disk("sync", &path)));
        if synced.is_err() && self.active.set_len(end).and_then(|()| self.active.sync_data()).is_err() {
            // The bytes may or may not have reached the disk: neither the place nor the sequences can be
            // used again.
            self.poisoned = true;
            let lost = SequenceRange { first: self.next, last: self.next + bodies.len() as u64 - 1 };
            self.next = lost.last + 1;
            self.undeclared.push(lost);
        }
        synced
    }

    fn account(&mut self, kind: UpKind, command: Option<&CommandId>, bodies: &[Vec<u8>]) {
        for (part, body) in (0..).zip(bodies) {
            let (epoch, sequence) = (self.epoch, self.next);
            let segment = self.active_segment_mut();
            let start = segment.bytes + FRAME as u64;
            segment.bytes = start + body.len() as u64;
            segment.last = sequence;
            let entry = Entry {
                epoch,
                sequence,
                kind,
                part,
                parts: bodies.len() as u16,
                command: command.cloned(),
                segment: segment.number,
                body: start..segment.bytes,
            };
            self.entries.push_back(entry);
            self.next += 1;
        }
    }

    fn active_segment(&self) -> &Segment {
        self.segments.last().expect("a spool always has an active segment")
    }

    fn active_segment_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a spool always has an active segment")
    }

    /// Begins a new segment at the next sequence.
    fn roll(&mut self) -> Result<(), SpoolError> {
        let first = self.next;
        let number = first + self.offset;
        let header = SegmentHeader { epoch: self.epoch, first };
        self.active = write_atomically(&segment_path(&self.dir, number), &header.to_bytes())?;
        // An abandoned empty segment of the same name was replaced by the rename.
        self.segments.retain(|segment| segment.number != number);
        self.segments.push(Segment { number, last: first - 1, bytes: HEADER as u64 });
        self.poisoned = false;
        Ok(())
    }

    /// The encoded envelope of an unconfirmed record, as it is published.
    ///
    /// # Errors
    /// The disk's refusal, or [`SpoolError::Damaged`]: give it up with [`Spool::give_up`].
    pub fn read(&self, sequence: u64) -> Result<Option<Vec<u8>>, SpoolError> {
        let Ok(index) = self.entries.binary_search_by_key(&sequence, |entry| entry.sequence) else {
            return Ok(None);
        };
        self.read_entry(&self.entries[index]).map(Some)
    }

    fn read_entry(&self, entry: &Entry) -> Result<Vec<u8>, SpoolError> {
        let path = segment_path(&self.dir, entry.segment);
        let from = entry.body.start - FRAME as u64;
        let mut bytes = vec![0; (entry.body.end - from) as usize];
        let file = File::open(&path).map_err(disk("open", &path))?;
        file.read_exact_at(&mut bytes, from).map_err(disk("read", &path))?;
        match segment::body_at(&bytes, 0) {
            Some(body) => Ok(body.to_vec()),
            None => Err(SpoolError::Damaged { sequence: entry.sequence, path }),
        }
    }

    /// Gives up a record that can no longer be read and declares the gap.
    pub fn give_up(&mut self, sequence: u64, now_unix_ms: u64) {
        self.entries.retain(|entry| entry.sequence != sequence);
        self.undeclared.push(SequenceRange { first: sequence, last: sequence });
        // What the disk refuses is tried again with the next record.
        let _ = self.declare_lost(now_unix_ms);
    }

    /// Declares what was lost. What the disk refuses now is tried again after the next append.
    fn declare_lost(&mut self, now_unix_ms: u64) -> Result<(), SpoolError> {
        let mut refusal = Ok(());
        for lost in std::mem::take(&mut self.undeclared) {
            if let Err(error) = self.declare_gap(lost, now_unix_ms) {
                self.undeclared.push(lost);
                refusal = Err(error);
            }
        }
        refusal
    }

    fn declare_gap(&mut self, lost: SequenceRange, now_unix_ms: u64) -> Result<SequenceRange, SpoolError> {
        let event = EventReport {
            version: EventReport::VERSION,
            kind: EventKind::SpoolGap,
            at_unix_ms: now_unix_ms,
            message: format!(
                "records {} to {} are damaged or no longer on the device's disk and will not come",
                lost.first, lost.last
            ),
            range: Some(lost),
            attachment: Vec::new(),
        };
        self.append(UpKind::Event, None, &event.to_bytes()?, now_unix_ms)
    }
}
