//! A new epoch for what is unconfirmed, once the old one has a second writer.
//!
//! The new segment holds everything and appears as a whole, before the old ones go: a crash in between leaves
//! records under both epochs, and [`Spool::open`] leaves out those whose new place is there. Each record names
//! its former places, so that a receiver which has it stores nothing twice.

use super::confirm::MARKER;
use super::segment::{self, FRAME, HEADER, SegmentHeader};
use super::{Entry, Segment, Spool, SpoolError, disk, segment_path};
use clipmark_profile::message::{Envelope, Epoch, Payload, Place, SequenceRange};
use clipmark_service::durable;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Records with their new places, as they are written.
struct Moved {
    epoch: Epoch,
    number: u64,
    entries: VecDeque<Entry>,
    bytes: u64,
}

impl Moved {
    fn next(&self) -> u64 {
        self.entries.len() as u64 + 1
    }

    /// Writes one record at its new place.
    fn write(
        &mut self,
        file: &mut impl Write,
        entry: &Entry,
        body: &[u8],
        path: &Path,
    ) -> Result<(), SpoolError> {
        let mut envelope = Envelope::from_bytes(body, Some("application/cbor"))?;
        let sequence = self.next();
        envelope.relocate(Place { epoch: self.epoch, sequence });
        let framed = segment::framed(&envelope.to_bytes()?);
        file.write_all(&framed).map_err(disk("write", path))?;
        let start = self.bytes + FRAME as u64;
        self.bytes += framed.len() as u64;
        let (epoch, segment) = (self.epoch, self.number);
        self.entries.push_back(Entry { epoch, sequence, segment, body: start..self.bytes, ..entry.clone() });
        Ok(())
    }
}

impl Spool {
    /// Begins the epoch `fresh` and moves everything unconfirmed into it, in its order.
    ///
    /// # Errors
    /// The disk's refusal. Everything is then as it was, and the spool stays behind.
    pub fn renew(&mut self, fresh: Epoch, now_unix_ms: u64) -> Result<(), SpoolError> {
        let moved = loop {
            // Ranges speak of the epoch in which they are declared.
            self.declare_lost(now_unix_ms)?;
            match self.move_to(fresh) {
                Err(SpoolError::Damaged { sequence, path }) => self.leave_out(sequence, path)?,
                moved => break moved?,
            }
        };
        let old = std::mem::take(&mut self.segments);
        let path = segment_path(&self.dir, moved.number);
        self.active = File::options().read(true).write(true).open(&path).map_err(disk("open", &path))?;
        let last = moved.next() - 1;
        self.segments.push(Segment { number: moved.number, last, bytes: moved.bytes });
        (self.epoch, self.next, self.offset) = (fresh, last + 1, moved.number - 1);
        self.entries = moved.entries;
        self.confirmed_ahead.clear();
        (self.gone, self.confirmed_before) = (0, self.next);
        (self.behind, self.poisoned) = (None, false);
        // What stays of the old epoch is recognised when the spool is opened again.
        let _ = self.acks.write(fresh, 0);
        for segment in old {
            let _ = fs::remove_file(segment_path(&self.dir, segment.number));
        }
        let _ = fs::remove_file(self.dir.join(MARKER));
        Ok(())
    }

    /// Takes out a record that can no longer be read.
    fn leave_out(&mut self, sequence: u64, path: PathBuf) -> Result<(), SpoolError> {
        let is_it = |dir: &Path, entry: &Entry| {
            entry.sequence == sequence && segment_path(dir, entry.segment) == path
        };
        let Some(index) = self.entries.iter().position(|entry| is_it(&self.dir, entry)) else {
            return Err(SpoolError::Damaged { sequence, path });
        };
        let is_ours = self.entries.remove(index).is_some_and(|entry| entry.epoch == self.epoch);
        self.undeclared.extend(is_ours.then_some(SequenceRange { first: sequence, last: sequence }));
        Ok(())
    }

    fn move_to(&self, epoch: Epoch) -> Result<Moved, SpoolError> {
        let number = self.segments.last().map_or(1, |segment| segment.number + 1);
        let mut moved = Moved { epoch, number, entries: VecDeque::new(), bytes: HEADER as u64 };
        let path = segment_path(&self.dir, number);
        let contents = self.contents_to_move()?;
        durable::replace_with(&path, |file| {
            let mut writer = BufWriter::new(file);
            let header = SegmentHeader { epoch, first: 1 };
            writer.write_all(&header.to_bytes()).map_err(disk("write", &path))?;
            for entry in contents.iter().flatten() {
                moved.write(&mut writer, entry, &self.read_entry(entry)?, &path)?;
            }
            writer.flush().map_err(disk("write", &path))
        })?;
        Ok(moved)
    }

    /// Every content of which something is unconfirmed, with all of its parts. One that damage has cost a part is
    /// left out: nobody could read it, and the damage was declared.
    fn contents_to_move(&self) -> Result<Vec<Vec<Entry>>, SpoolError> {
        let mut contents: Vec<Vec<Entry>> = Vec::new();
        for entry in &self.entries {
            let follows = |last: &Entry| {
                let is_next = (last.epoch, last.sequence + 1) == (entry.epoch, entry.sequence);
                is_next && entry.part > 0 && last.part + 1 == entry.part
            };
            match contents.last_mut() {
                Some(content) if content.last().is_some_and(follows) => content.push(entry.clone()),
                _ => contents.push([self.parts_before(entry)?, vec![entry.clone()]].concat()),
            }
        }
        let is_confirmed = |entry: &Entry| self.confirmed_ahead.contains(&entry.sequence);
        contents.retain(|content| {
            let is_whole = content
                .first()
                .is_some_and(|first| first.part == 0 && content.len() == usize::from(first.parts));
            is_whole && !content.iter().all(is_confirmed)
        });
        Ok(contents)
    }

    /// The parts before `entry` that are confirmed already. All parts of a content lie in one segment.
    fn parts_before(&self, entry: &Entry) -> Result<Vec<Entry>, SpoolError> {
        if entry.part == 0 {
            return Ok(Vec::new());
        }
        let path = segment_path(&self.dir, entry.segment);
        let bytes = fs::read(&path).map_err(disk("read", &path))?;
        let Some(header) = SegmentHeader::from_bytes(&bytes) else { return Ok(Vec::new()) };
        let first = entry.sequence.saturating_sub(entry.part.into());
        let scan = segment::scan(&bytes, header);
        let before =
            scan.records.into_iter().filter(|record| (first..entry.sequence).contains(&record.sequence));
        Ok(before.map(|record| Entry::of(record, header.epoch, entry.segment)).collect())
    }
}
