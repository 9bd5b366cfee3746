//! What was delivered: receipts, acknowledgements, and the segments that may then go.

use super::outcome::{Confirmation, SpoolError};
use super::{Spool, disk, segment_path};
use clipmark_profile::message::{Receipt, SequenceRange};
use std::fs;

/// The gaps of a receipt, or none when they are not ascending and apart: such a list confirms nothing.
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
    /// Takes a receipt: forgets what is stored and tells what is to be sent again.
    ///
    /// # Errors
    /// The disk's refusal to remove segments; the confirmation holds all the same.
    pub fn confirm(&mut self, receipt: &Receipt) -> Result<Confirmation, SpoolError> {
        if receipt.epoch != self.epoch {
            return Ok(Confirmation::OtherEpoch);
        }
        let newest = self.next - 1;
        let gaps = in_order(receipt);
        // A gap is one only when something after it is stored.
        let confirmed = gaps.last().map_or(receipt.contiguous, |gap| gap.last.saturating_add(1));
        if confirmed > newest {
            return Ok(Confirmation::AheadOfUs { confirmed, newest });
        }
        self.declare_gone(gaps);
        let mut from = receipt.contiguous + 1;
        while self.entries.front().is_some_and(|entry| entry.sequence < from) {
            self.entries.pop_front();
        }
        // What lies between two gaps is stored, though it is not contiguous.
        for gap in gaps {
            self.confirm_range(from, gap.first);
            from = gap.last + 1;
        }
        if !gaps.is_empty() {
            self.confirm_range(from, from + 1);
        }
        self.settle()?;
        Ok(Confirmation::Accepted { resend: gaps.to_vec() })
    }

    /// A gap below what is still here: the receiver lost what it had confirmed, or was set back to a backup.
    /// Declared with the next record, or the receiver would wait for it for good.
    fn declare_gone(&mut self, gaps: &[SequenceRange]) {
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
            let path = segment_path(&self.dir, self.segments[0].first);
            fs::remove_file(&path).map_err(disk("remove", &path))?;
            self.segments.remove(0);
        }
        Ok(())
    }
}
