//! What was delivered: receipts, acknowledgements, and the segments that may then go.

use super::outcome::{Behind, Confirmation, SpoolError};
use super::{Spool, disk, segment_path};
use clipmark_profile::message::{Envelope, Payload, Receipt, SequenceRange, StoredRecord};
use std::fs;

/// Says in the directory that its epoch has a second writer, should the daemon stop before it can begin a new one.
pub(super) const MARKER: &str = "behind";

/// The gaps of a receipt, or none when they are not ascending and apart: such a list says nothing.
fn in_order(receipt: &Receipt) -> &[SequenceRange] {
    let mut after = receipt.contiguous;
    for gap in &receipt.gaps {
        if gap.first <= after || gap.last < gap.first || gap.last == u64::MAX {
            return &[];
        }
        after = gap.last;
    }
    &receipt.gaps
}

impl Spool {
    /// Takes a receipt: forgets what is stored and tells what is to be sent again. What lies between two gaps is
    /// kept until they are closed.
    ///
    /// # Errors
    /// The disk's refusal to remove segments; the confirmation holds all the same.
    pub fn confirm(&mut self, receipt: &Receipt) -> Result<Confirmation, SpoolError> {
        if receipt.epoch != self.epoch {
            return Ok(Confirmation::OtherEpoch);
        }
        let gaps = in_order(receipt);
        // A gap is one only when something after it is stored.
        let covered = gaps.last().map_or(receipt.contiguous, |gap| gap.last.saturating_add(1));
        if let Some(behind) = self.behind.or_else(|| self.second_writer(receipt, covered)) {
            return Ok(Confirmation::Behind(self.fall_behind(behind)));
        }
        self.declare_gone(gaps, covered);
        self.confirm_range(0, receipt.contiguous.saturating_add(1));
        let before = self.oldest();
        self.settle()?;
        if self.oldest() != before {
            self.confirmed_before = self.next;
        }
        if let Some(sequence) = receipt.conflict {
            return Ok(Confirmation::Behind(self.fall_behind(Behind::Other { sequence })));
        }
        Ok(Confirmation::Accepted { resend: gaps.to_vec() })
    }

    /// Why nothing more can be confirmed in this epoch, if so.
    #[must_use]
    pub const fn behind(&self) -> Option<Behind> {
        self.behind
    }

    /// What of a receipt cannot be about the records here.
    fn second_writer(&self, receipt: &Receipt, covered: u64) -> Option<Behind> {
        let newest = self.next - 1;
        if covered > newest {
            return Some(Behind::Ahead { confirmed: covered, newest });
        }
        let stored = receipt.stored?;
        if self.differs(stored) {
            return Some(Behind::Other { sequence: stored.sequence });
        }
        // What the receiver does not have was declared lost to it, and is here.
        let declared = self.first_from(stored.sequence.saturating_add(1));
        let (sequence, _) = declared.filter(|(sequence, _)| *sequence <= receipt.contiguous)?;
        Some(Behind::Other { sequence })
    }

    /// Whether another record is here under that sequence. What cannot be read cannot be compared.
    fn differs(&self, stored: StoredRecord) -> bool {
        let bytes = self.read(stored.sequence).ok().flatten();
        let envelope = bytes.and_then(|bytes| Envelope::from_bytes(&bytes, Some("application/cbor")).ok());
        envelope.is_some_and(|envelope| envelope.digest() != stored.digest)
    }

    fn fall_behind(&mut self, behind: Behind) -> Behind {
        if self.behind.is_none() {
            self.behind = Some(behind);
            // Only for the case that no new epoch can begin before a stop. A full disk refuses this too, and then the
            // next receipt says it again.
            let _ = fs::write(self.dir.join(MARKER), self.epoch.to_string());
        }
        behind
    }

    /// A gap below what is still here: the receiver lost what it had confirmed, or was set back to a backup.
    /// Declared with the next record, or the receiver would wait for it for good. Receipts may overtake each other,
    /// so one counts only when it covers a record that did not exist when the gap was last confirmed.
    fn declare_gone(&mut self, gaps: &[SequenceRange], covered: u64) {
        if covered < self.confirmed_before {
            return;
        }
        let held = self.oldest().unwrap_or(self.next);
        for gap in gaps {
            let gone = SequenceRange { first: gap.first.max(self.gone + 1), last: gap.last.min(held - 1) };
            if gone.first <= gone.last {
                self.gone = gone.last;
                self.undeclared.push(gone);
            }
        }
    }

    /// Notes that one record is delivered, for `delivery = "puback"`.
    ///
    /// # Errors
    /// As [`Spool::confirm`].
    pub fn confirm_one(&mut self, sequence: u64) -> Result<(), SpoolError> {
        self.confirm_range(sequence, sequence.saturating_add(1));
        self.settle()
    }

    fn confirm_range(&mut self, from: u64, to: u64) {
        let start = self.entries.partition_point(|entry| entry.sequence < from);
        let within = self.entries.iter().skip(start).take_while(|entry| entry.sequence < to);
        self.confirmed_ahead.extend(within.map(|entry| entry.sequence));
    }

    /// Drops confirmed entries from the front, notes how far that went, and removes segments behind it.
    fn settle(&mut self) -> Result<(), SpoolError> {
        while let Some(entry) = self.entries.front() {
            if !self.confirmed_ahead.remove(&entry.sequence) {
                break;
            }
            self.entries.pop_front();
        }
        let confirmed = self.oldest().unwrap_or(self.next) - 1;
        self.confirmed_ahead.retain(|&sequence| sequence > confirmed);
        self.acks.write(self.epoch, confirmed).map_err(disk("note confirmations in", &self.dir))?;
        self.prune(confirmed)
    }

    fn prune(&mut self, confirmed: u64) -> Result<(), SpoolError> {
        let active = self.active_segment();
        // The highest sequence must stay known, so the active segment goes only after its successor exists.
        if active.last <= confirmed && active.bytes > self.bounds.segment_bytes / 4 {
            self.roll()?;
        }
        while self.segments.len() > 1 && self.segments[0].last <= confirmed {
            let path = segment_path(&self.dir, self.segments[0].number);
            fs::remove_file(&path).map_err(disk("remove", &path))?;
            self.segments.remove(0);
        }
        Ok(())
    }
}
