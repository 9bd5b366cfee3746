//! What a broker does not take in one packet: cut anew into smaller records, or set aside.
//!
//! The new records are in the spool before the old ones are given up, by an event that names them: it is written in the
//! same append. A spool that is opened again leaves out what such an event gave up, so nothing comes twice.

use super::{Spool, SpoolError, disk, write_atomically};
use clipmark_profile::message::{Envelope, EventKind, EventReport, Payload, SequenceRange};
use clipmark_profile::topics::UpKind;
use std::fs;
use std::path::{Path, PathBuf};

/// Fewest bytes of content for which a record is worth its envelope.
const SMALLEST_PART: usize = 128;

/// Bytes by which an envelope may grow when its numbers do.
const GROWTH: usize = 32;

/// Contents that are kept aside; the oldest go first.
const KEPT_ASIDE: usize = 16;

/// What became of a record that is too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recut {
    /// Its content is in these smaller records.
    Cut(SequenceRange),
    /// Its content cannot be cut small enough and lies here.
    Aside(PathBuf),
}

impl Spool {
    /// Makes contents that are appended from now on come in parts of at most `bytes`, where that many parts may be.
    /// Returns whether that is news.
    pub fn limit_parts(&mut self, bytes: usize) -> bool {
        let bytes = bytes.clamp(SMALLEST_PART, Envelope::MAX_PART);
        std::mem::replace(&mut self.most_in_part, bytes) != bytes
    }

    /// Most bytes in a part of `content`.
    pub(super) fn most_in_part(&self, content: &[u8]) -> usize {
        self.most_in_part.max(content.len().div_ceil(Envelope::MAX_PARTS.into())).min(Envelope::MAX_PART)
    }

    /// Replaces the content to which the record `sequence` belongs, because that record is `excess` bytes too long for
    /// the broker.
    ///
    /// # Errors
    /// The disk's refusal. Everything is then as it was.
    pub fn recut(
        &mut self,
        sequence: u64,
        excess: usize,
        now_unix_ms: u64,
    ) -> Result<Option<Recut>, SpoolError> {
        let parts = self.content_of(sequence)?;
        let Some(refused) = parts.iter().find(|part| part.sequence == sequence) else { return Ok(None) };
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Ok(None) };
        let old = SequenceRange { first: first.sequence, last: last.sequence };
        let most = refused.content.len().saturating_sub(excess + GROWTH);
        let content: Vec<u8> = parts.iter().flat_map(|part| part.content.iter().copied()).collect();
        let is_whole = first.part == 0 && parts.len() == usize::from(first.parts);
        if !is_whole
            || most < SMALLEST_PART
            || content.len().div_ceil(most) > usize::from(Envelope::MAX_PARTS)
        {
            let why = "are larger than the broker takes and cannot be cut small enough";
            return self
                .set_aside(first, &content, old, why, now_unix_ms)
                .map(|path| Some(Recut::Aside(path)));
        }
        let chunks: Vec<&[u8]> = content.chunks(most).collect();
        let new = SequenceRange { first: self.next, last: self.next + chunks.len() as u64 - 1 };
        let mut bodies = Vec::with_capacity(chunks.len() + 1);
        for (part, chunk) in (0..).zip(&chunks) {
            let envelope = Envelope {
                epoch: self.epoch,
                sequence: new.first + u64::from(part),
                part,
                parts: chunks.len() as u16,
                content: chunk.to_vec(),
                // Cut otherwise, it is not what may be stored there.
                former: Vec::new(),
                ..first.clone()
            };
            bodies.push(envelope.to_bytes()?);
        }
        let message = format!(
            "records {} to {} are larger than the broker takes; their content comes in smaller parts as records {} to {}",
            old.first, old.last, new.first, new.last
        );
        bodies.push(self.gap(old, message, new.last + 1, now_unix_ms)?);
        self.replace(old, first, &bodies)?;
        Ok(Some(Recut::Cut(new)))
    }

    /// Sets the content aside to which the record `sequence` belongs: the broker refuses it for `reason`, and takes
    /// others of its kind. Returns where it lies.
    ///
    /// # Errors
    /// The disk's refusal. Everything is then as it was.
    pub fn put_aside(
        &mut self,
        sequence: u64,
        reason: &str,
        now_unix_ms: u64,
    ) -> Result<Option<PathBuf>, SpoolError> {
        let parts = self.content_of(sequence)?;
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Ok(None) };
        let old = SequenceRange { first: first.sequence, last: last.sequence };
        let content: Vec<u8> = parts.iter().flat_map(|part| part.content.iter().copied()).collect();
        let why = format!("are refused by the broker, which takes others of the kind ({reason})");
        self.set_aside(first, &content, old, &why, now_unix_ms).map(Some)
    }

    /// The parts, as far as they are here, of the content to which a record belongs.
    fn content_of(&self, sequence: u64) -> Result<Vec<Envelope>, SpoolError> {
        let Some(entry) = self.entries.iter().find(|entry| entry.sequence == sequence) else {
            return Ok(Vec::new());
        };
        let first = sequence.saturating_sub(entry.part.into());
        let mut parts: Vec<Envelope> = Vec::new();
        for entry in self.entries.iter().skip_while(|entry| entry.sequence < first) {
            if entry.sequence - u64::from(entry.part) != first {
                break;
            }
            if let Some(bytes) = self.read(entry.sequence)? {
                parts.push(Envelope::from_bytes(&bytes, Some("application/cbor"))?);
            }
        }
        Ok(parts)
    }

    /// An event that gives records up, as the body of the record `sequence`.
    fn gap(
        &self,
        given_up: SequenceRange,
        message: String,
        sequence: u64,
        now_unix_ms: u64,
    ) -> Result<Vec<u8>, SpoolError> {
        let event = EventReport {
            version: EventReport::VERSION,
            kind: EventKind::SpoolGap,
            at_unix_ms: now_unix_ms,
            message,
            range: Some(given_up),
            attachment: Vec::new(),
        };
        let envelope = Envelope {
            version: Envelope::VERSION,
            epoch: self.epoch,
            sequence,
            kind: UpKind::Event,
            part: 0,
            parts: 1,
            command: None,
            spooled_unix_ms: now_unix_ms,
            content: event.to_bytes()?,
            former: Vec::new(),
        };
        Ok(envelope.to_bytes()?)
    }

    /// Appends `bodies`, the last of which gives up the records `old`, and forgets those.
    fn replace(&mut self, old: SequenceRange, like: &Envelope, bodies: &[Vec<u8>]) -> Result<(), SpoolError> {
        self.write(bodies)?;
        if let Some((gap, parts)) = bodies.split_last() {
            self.account(like.kind, like.command.as_ref(), parts);
            self.account(UpKind::Event, None, std::slice::from_ref(gap));
        }
        self.forget(old);
        Ok(())
    }

    fn forget(&mut self, old: SequenceRange) {
        let is_old = |sequence: u64| (old.first..=old.last).contains(&sequence);
        let epoch = self.epoch;
        self.entries.retain(|entry| entry.epoch != epoch || !is_old(entry.sequence));
        self.confirmed_ahead.retain(|sequence| !is_old(*sequence));
        if self.oldest().is_none_or(|oldest| oldest > old.last) {
            // A receipt that misses them says nothing new.
            self.gone = self.gone.max(old.last);
        }
    }

    /// Keeps a content in a file of its own, gives its records up and says so by an event.
    fn set_aside(
        &mut self,
        first: &Envelope,
        content: &[u8],
        old: SequenceRange,
        why: &str,
        now_unix_ms: u64,
    ) -> Result<PathBuf, SpoolError> {
        let dir = self.dir.join("aside");
        fs::create_dir_all(&dir).map_err(disk("create", &dir))?;
        let of = first.command.as_ref().map_or("", |command| command.as_str());
        let path = dir.join(format!("{}-{:020}-{}-{of}.cbor", self.epoch, old.first, first.kind));
        write_atomically(&path, content)?;
        // An event that is itself too large would give rise to the next one.
        if first.kind == UpKind::Event && first.command.is_none() {
            self.forget(old);
            return Ok(path);
        }
        let message = format!(
            "records {} to {} ({} of {} bytes) {why}; the content stays on the device as {}",
            old.first,
            old.last,
            first.kind,
            content.len(),
            path.display()
        );
        let gap = self.gap(old, message, self.next, now_unix_ms)?;
        self.replace(old, first, &[gap])?;
        prune(&dir);
        Ok(path)
    }

    /// Leaves out what events in the spool give up: a crash came between the append and the confirmation.
    pub(super) fn forget_given_up(&mut self) {
        let is_ours = |entry: &&super::Entry| entry.kind == UpKind::Event && entry.command.is_none();
        let events: Vec<u64> = self.entries.iter().filter(is_ours).map(|entry| entry.sequence).collect();
        for sequence in events {
            let Ok(Some(bytes)) = self.read(sequence) else { continue };
            let envelope = Envelope::from_bytes(&bytes, Some("application/cbor")).ok();
            // One that moved here speaks of its former epoch.
            let is_about_us = |of: &Envelope| of.epoch == self.epoch && of.parts == 1 && of.former.is_empty();
            let envelope = envelope.filter(is_about_us);
            let event =
                envelope.and_then(|of| EventReport::from_bytes(&of.content, Some("application/cbor")).ok());
            if let Some(given_up) =
                event.filter(|event| event.kind == EventKind::SpoolGap).and_then(|of| of.range)
            {
                self.forget(given_up);
            }
        }
    }
}

/// Removes the oldest files aside. That one stays too many harms nothing.
fn prune(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    files.sort();
    let extra = files.len().saturating_sub(KEPT_ASIDE);
    for (_, path) in files.into_iter().take(extra) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Bounds;
    use super::*;
    use clipmark_profile::message::Epoch;
    use tempfile::TempDir;

    const BOUNDS: Bounds = Bounds { segment_bytes: 1 << 20, max_bytes: 1 << 22, reserve_bytes: 4096 };

    fn reopened(dir: &TempDir) -> Spool {
        Spool::open(dir.path(), BOUNDS, Epoch(9), 0).unwrap().0
    }

    fn envelopes(spool: &Spool) -> Vec<Envelope> {
        let mut found = Vec::new();
        let mut next = 0;
        while let Some((sequence, _)) = spool.first_from(next) {
            let bytes = spool.read(sequence).unwrap().unwrap();
            found.push(Envelope::from_bytes(&bytes, Some("application/cbor")).unwrap());
            next = sequence + 1;
        }
        found
    }

    fn content(parts: &[Envelope]) -> Vec<u8> {
        parts.iter().flat_map(|part| part.content.clone()).collect()
    }

    #[test]
    fn a_record_that_is_too_large_is_cut_and_its_old_place_given_up_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = reopened(&dir);
        let long: Vec<u8> = (0..3000_u32).map(|n| n as u8).collect();
        spool.append(UpKind::Profile, None, b"before", 0).unwrap();
        let command = "c".parse().unwrap();
        spool.append(UpKind::Profile, Some(&command), &long, 0).unwrap();
        spool.append(UpKind::Profile, None, b"behind", 0).unwrap();
        let recut = spool.recut(2, 2000, 5).unwrap().unwrap();
        assert_eq!(recut, Recut::Cut(SequenceRange { first: 4, last: 7 }));
        for spool in [spool, reopened(&dir)] {
            let found = envelopes(&spool);
            let sequences: Vec<u64> = found.iter().map(|of| of.sequence).collect();
            assert_eq!(sequences, [1, 3, 4, 5, 6, 7, 8]);
            assert_eq!(content(&found[2..6]), long);
            assert!(
                found[2..6].iter().all(|of| of.content.len() <= 1000 && of.command == Some(command.clone()))
            );
            let event = EventReport::from_bytes(&found[6].content, Some("application/cbor")).unwrap();
            assert_eq!(event.range, Some(SequenceRange { first: 2, last: 2 }));
            assert_eq!(spool.records_of(&command), Some(SequenceRange { first: 4, last: 7 }));
        }
    }

    #[test]
    fn a_content_of_several_parts_is_cut_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = reopened(&dir);
        let long = vec![7; 3 * Envelope::MAX_PART];
        spool.append(UpKind::Series, None, &long, 0).unwrap();
        let Some(Recut::Cut(new)) = spool.recut(2, Envelope::MAX_PART / 2, 0).unwrap() else { panic!("cut") };
        let found = envelopes(&spool);
        assert_eq!((found[0].sequence, content(&found[..found.len() - 1])), (new.first, long));
    }

    #[test]
    fn what_cannot_be_cut_small_enough_lies_aside_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = reopened(&dir);
        spool.append(UpKind::Profile, None, &[7; 200], 0).unwrap();
        let Some(Recut::Aside(path)) = spool.recut(1, 150, 0).unwrap() else { panic!("aside") };
        assert_eq!(fs::read(&path).unwrap(), [7; 200]);
        let found = envelopes(&spool);
        let event = EventReport::from_bytes(&found[0].content, Some("application/cbor")).unwrap();
        assert!(found.len() == 1 && event.message.contains(path.to_str().unwrap()), "{event:?}");
        // The event itself is given up without another one.
        assert!(matches!(spool.recut(2, 1000, 0), Ok(Some(Recut::Aside(_)))));
        assert_eq!(envelopes(&spool), []);
    }

    #[test]
    fn what_is_refused_for_what_it_is_lies_aside_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = reopened(&dir);
        let long = vec![7; Envelope::MAX_PART + 1];
        spool.append(UpKind::Series, None, &long, 0).unwrap();
        spool.append(UpKind::Series, None, b"behind", 0).unwrap();
        let path = spool.put_aside(2, "payload format invalid", 0).unwrap().unwrap();
        assert_eq!(fs::read(&path).unwrap(), long);
        for spool in [spool, reopened(&dir)] {
            let found = envelopes(&spool);
            assert_eq!(found.iter().map(|of| of.sequence).collect::<Vec<_>>(), [3, 4]);
            let event = EventReport::from_bytes(&found[1].content, Some("application/cbor")).unwrap();
            assert!(event.message.contains("takes others of the kind (payload format invalid)"), "{event:?}");
            assert_eq!(event.range, Some(SequenceRange { first: 1, last: 2 }));
        }
    }

    #[test]
    fn contents_are_cut_to_the_limit_when_they_are_appended() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = reopened(&dir);
        spool.limit_parts(1000);
        spool.append(UpKind::Profile, None, &[7; 2500], 0).unwrap();
        // More parts than there may be are not made.
        spool.append(UpKind::Series, None, &[7; 3 << 20], 0).unwrap();
        let found = envelopes(&spool);
        assert_eq!(found[..3].iter().map(|of| of.content.len()).collect::<Vec<_>>(), [1000, 1000, 500]);
        assert!(found[3].parts <= Envelope::MAX_PARTS && found[3].content.len() > 1000);
    }
}
