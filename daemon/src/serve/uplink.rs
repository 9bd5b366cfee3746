//! Which spooled record to send next.
//!
//! Records go in order, at most `window` ahead of the oldest unconfirmed one. What a receipt misses goes
//! first. When no receipt comes although the broker took everything, it is all sent again, ever more rarely: a
//! broker may have lost it, or the receiver may be away. Pure: the time is an argument, the spool is asked
//! for what is unconfirmed.

use crate::spool::Spool;
use clipmark_profile::message::SequenceRange;
use clipmark_profile::units::Nanos;
use std::collections::BTreeSet;

/// Longest pause between two repetitions.
const RAREST: Nanos = Nanos::from_secs(3600);

/// Pause after the broker refused a record or nobody listened; doubles up to [`RAREST`].
const PAUSE: Nanos = Nanos::from_secs(60);

/// How far sending has come on this connection.
#[derive(Debug)]
pub(super) struct Uplink {
    window: u64,
    resend_after: Nanos,
    /// The next record to be sent in order.
    cursor: u64,
    /// Handed to the connection and not acknowledged by the broker.
    under_way: BTreeSet<u64>,
    /// To be sent again before anything else.
    again: BTreeSet<u64>,
    /// When everything unconfirmed is sent again.
    repeat_at: Option<Nanos>,
    repetitions: u32,
    paused_until: Nanos,
    refusals: u32,
}

impl Uplink {
    pub(super) const fn new(window: u32, resend_s: u32) -> Self {
        Self {
            window: window as u64,
            resend_after: Nanos::from_secs(resend_s as u64),
            cursor: 0,
            under_way: BTreeSet::new(),
            again: BTreeSet::new(),
            repeat_at: None,
            repetitions: 0,
            paused_until: Nanos(0),
            refusals: 0,
        }
    }

    /// Takes new settings.
    pub(super) fn set(&mut self, window: u32, resend_s: u32) {
        self.window = window.into();
        self.resend_after = Nanos::from_secs(resend_s.into());
    }

    /// A connection came or went: everything unconfirmed is sent from the beginning. A pause goes on, because some
    /// brokers end the connection upon what they refuse.
    pub(super) fn restart(&mut self) {
        self.cursor = 0;
        self.under_way.clear();
        self.again.clear();
        self.repeat_at = None;
    }

    /// Another broker, or the same with other settings: what was refused is tried again.
    pub(super) fn forgive(&mut self) {
        self.refusals = 0;
        self.paused_until = Nanos(0);
    }

    /// A receiver has come, and what the broker took before may have reached nobody.
    pub(super) fn receiver_came(&mut self) {
        self.cursor = 0;
        self.repetitions = 0;
        self.repeat_at = None;
        self.forgive();
    }

    /// The next record to send, if any.
    pub(super) fn next(&mut self, spool: &Spool, now: Nanos) -> Option<u64> {
        if now < self.paused_until {
            return None;
        }
        let oldest = spool.oldest()?;
        if self.repeat_at.is_some_and(|at| at <= now) {
            self.repetitions += 1;
            self.cursor = oldest;
            self.repeat_at = None;
        }
        while let Some(sequence) = self.again.pop_first() {
            if !self.under_way.contains(&sequence)
                && spool.first_from(sequence).is_some_and(|(s, _)| s == sequence)
            {
                return Some(sequence);
            }
        }
        loop {
            let (sequence, _) = spool.first_from(self.cursor.max(oldest))?;
            if sequence >= oldest + self.window {
                return None;
            }
            self.cursor = sequence + 1;
            if !self.under_way.contains(&sequence) {
                return Some(sequence);
            }
        }
    }

    /// The record was handed to the connection.
    pub(super) fn sent(&mut self, sequence: u64) {
        self.under_way.insert(sequence);
    }

    /// The record could not be handed over after all, or the broker wants it shorter: it is sent before anything else.
    pub(super) fn not_taken(&mut self, sequence: u64) {
        self.under_way.remove(&sequence);
        self.again.insert(sequence);
    }

    /// The broker took the record. Without a receipt it is sent again later.
    pub(super) fn acknowledged(&mut self, sequence: u64, now: Nanos) {
        self.under_way.remove(&sequence);
        self.refusals = 0;
        self.repeat_at.get_or_insert(self.repetition(now));
    }

    /// When to send again what is not confirmed by then.
    fn repetition(&self, now: Nanos) -> Nanos {
        let pause = self.resend_after.get().saturating_mul(1 << self.repetitions.min(12));
        let rarest = RAREST.get().max(self.resend_after.get());
        Nanos(now.get().saturating_add(pause.min(rarest)))
    }

    /// The broker refused the record, or took it and nobody listens: it is tried again after a pause.
    pub(super) fn refused(&mut self, sequence: u64, now: Nanos) {
        self.under_way.remove(&sequence);
        self.again.insert(sequence);
        let pause = PAUSE.get().saturating_mul(1 << self.refusals.min(12)).min(RAREST.get());
        self.refusals += 1;
        self.paused_until = Nanos(now.get().saturating_add(pause));
    }

    /// Sends nothing for a while.
    pub(super) fn pause(&mut self, now: Nanos) {
        self.paused_until = Nanos(now.get().saturating_add(PAUSE.get()));
    }

    /// Something was confirmed; `missing` is to be sent again, and so is later whatever of the rest stays
    /// unconfirmed.
    pub(super) fn confirmed(&mut self, missing: &[SequenceRange], has_unconfirmed: bool, now: Nanos) {
        self.repetitions = 0;
        self.repeat_at = has_unconfirmed.then(|| self.repetition(now));
        for range in missing {
            let most = range.first.saturating_add(self.window);
            self.again.extend(range.first..=range.last.min(most));
        }
    }

    /// When [`Uplink::next`] should be asked again although nothing happened.
    pub(super) fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        let paused = Some(self.paused_until).filter(|until| *until > now);
        paused.or(self.repeat_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{Bounds, Spool};
    use clipmark_profile::message::{Epoch, Receipt};
    use clipmark_profile::topics::UpKind;
    use tempfile::TempDir;

    const BOUNDS: Bounds = Bounds { segment_bytes: 1 << 20, max_bytes: 1 << 22, reserve_bytes: 4096 };

    fn spool(records: usize) -> (TempDir, Spool) {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(dir.path(), BOUNDS, Epoch(3), 0).unwrap();
        for _ in 0..records {
            spool.append(UpKind::Profile, None, b"x", 0).unwrap();
        }
        (dir, spool)
    }

    fn send_all(uplink: &mut Uplink, spool: &Spool, now: u64) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some(sequence) = uplink.next(spool, Nanos::from_secs(now)) {
            uplink.sent(sequence);
            sent.push(sequence);
        }
        sent
    }

    fn confirm(spool: &mut Spool, contiguous: u64) {
        let receipt = Receipt::new(Epoch(3), contiguous, Vec::new());
        spool.confirm(&receipt).unwrap();
    }

    #[test]
    fn records_go_in_order_and_at_most_a_window_ahead_of_the_confirmed() {
        let (_dir, mut spool) = spool(9);
        let mut uplink = Uplink::new(4, 60);
        assert_eq!(send_all(&mut uplink, &spool, 0), [1, 2, 3, 4]);
        for sequence in 1..=4 {
            uplink.acknowledged(sequence, Nanos(0));
        }
        assert!(send_all(&mut uplink, &spool, 1).is_empty());
        confirm(&mut spool, 2);
        uplink.confirmed(&[], true, Nanos(0));
        assert_eq!(send_all(&mut uplink, &spool, 1), [5, 6]);
    }

    #[test]
    fn without_a_receipt_everything_is_sent_again_ever_more_rarely() {
        let (_dir, spool) = spool(2);
        let mut uplink = Uplink::new(4, 60);
        let mut now = 0;
        for pause in [60, 120, 240] {
            assert_eq!(send_all(&mut uplink, &spool, now), [1, 2]);
            uplink.acknowledged(1, Nanos::from_secs(now));
            uplink.acknowledged(2, Nanos::from_secs(now + 1));
            assert_eq!(uplink.next_deadline(Nanos::from_secs(now)), Some(Nanos::from_secs(now + pause)));
            assert!(send_all(&mut uplink, &spool, now + pause - 1).is_empty());
            now += pause;
        }
    }

    #[test]
    fn a_receiver_that_comes_is_sent_at_once_what_nobody_took_before() {
        let (_dir, spool) = spool(6);
        let mut uplink = Uplink::new(4, 60);
        for now in [0, 60, 180] {
            assert_eq!(send_all(&mut uplink, &spool, now), [1, 2, 3, 4]);
            (1..=4).for_each(|sequence| uplink.acknowledged(sequence, Nanos::from_secs(now)));
        }
        assert!(send_all(&mut uplink, &spool, 181).is_empty());
        uplink.receiver_came();
        assert_eq!(send_all(&mut uplink, &spool, 181), [1, 2, 3, 4]);
    }

    #[test]
    fn what_a_receipt_leaves_open_is_sent_again_too() {
        let (_dir, mut spool) = spool(3);
        let mut uplink = Uplink::new(4, 60);
        send_all(&mut uplink, &spool, 0);
        for sequence in 1..=3 {
            uplink.acknowledged(sequence, Nanos(0));
        }
        confirm(&mut spool, 1);
        uplink.confirmed(&[], true, Nanos::from_secs(5));
        assert!(send_all(&mut uplink, &spool, 64).is_empty());
        assert_eq!(send_all(&mut uplink, &spool, 65), [2, 3]);
    }

    #[test]
    fn a_gap_in_a_receipt_is_sent_first() {
        let (_dir, mut spool) = spool(8);
        let mut uplink = Uplink::new(5, 60);
        send_all(&mut uplink, &spool, 0);
        for sequence in 1..=5 {
            uplink.acknowledged(sequence, Nanos(0));
        }
        let gap = SequenceRange { first: 3, last: 3 };
        let receipt = Receipt::new(Epoch(3), 2, vec![gap]);
        spool.confirm(&receipt).unwrap();
        uplink.confirmed(&[gap], true, Nanos(0));
        assert_eq!(send_all(&mut uplink, &spool, 1), [3, 6, 7]);
    }

    #[test]
    fn a_new_connection_begins_with_the_oldest_unconfirmed() {
        let (_dir, mut spool) = spool(3);
        let mut uplink = Uplink::new(4, 60);
        send_all(&mut uplink, &spool, 0);
        confirm(&mut spool, 1);
        uplink.restart();
        assert_eq!(send_all(&mut uplink, &spool, 0), [2, 3]);
    }

    #[test]
    fn a_refusal_pauses_and_the_record_is_tried_again() {
        let (_dir, spool) = spool(2);
        let mut uplink = Uplink::new(4, 60);
        assert_eq!(uplink.next(&spool, Nanos(0)), Some(1));
        uplink.sent(1);
        uplink.refused(1, Nanos(0));
        assert_eq!(uplink.next(&spool, Nanos::from_secs(59)), None);
        assert_eq!(uplink.next_deadline(Nanos::from_secs(59)), Some(Nanos::from_secs(60)));
        assert_eq!(send_all(&mut uplink, &spool, 60), [1, 2]);
    }

    #[test]
    fn a_record_that_is_to_come_shorter_is_sent_again_before_the_rest() {
        let (_dir, spool) = spool(3);
        let mut uplink = Uplink::new(2, 60);
        assert_eq!(send_all(&mut uplink, &spool, 0), [1, 2]);
        uplink.not_taken(1);
        assert_eq!(send_all(&mut uplink, &spool, 0), [1]);
    }

    #[test]
    fn refusals_pause_ever_longer_also_when_they_end_the_connection() {
        let (_dir, spool) = spool(1);
        let mut uplink = Uplink::new(4, 60);
        let mut now = 0;
        for pause in [60, 120, 240] {
            assert_eq!(send_all(&mut uplink, &spool, now), [1]);
            uplink.refused(1, Nanos::from_secs(now));
            uplink.restart();
            assert!(send_all(&mut uplink, &spool, now + pause - 1).is_empty());
            now += pause;
        }
        uplink.forgive();
        assert_eq!(send_all(&mut uplink, &spool, now), [1]);
    }
}
