//! Which spooled record to send next.
//!
//! Records go in order, at most `window` ahead of the oldest unconfirmed one. What a receipt misses goes
//! first. When no receipt comes although the broker took everything, it is all sent again, ever more rarely: a
//! broker may have lost it, or the receiver may be away.
//!
//! A record that the broker refuses waits, ever longer. Whether the record is at fault or its kind, which is its topic,
//! shows the next record of the kind: until one is taken they go one at a time, and the second that is refused makes
//! the kind wait. Records of other kinds go on. Pure: the time is an argument, the spool is asked for what is
//! unconfirmed.

use crate::spool::Spool;
use clipmark_profile::message::SequenceRange;
use clipmark_profile::topics::UpKind;
use clipmark_profile::units::Nanos;
use std::collections::{BTreeMap, BTreeSet};

/// Longest pause between two repetitions.
const RAREST: Nanos = Nanos::from_secs(3600);

/// Pause after the broker refused a record or nobody listened; doubles up to [`RAREST`].
const PAUSE: Nanos = Nanos::from_secs(60);

/// Refusals of one record, while others of its kind are taken, before it is given up.
const REFUSALS: u32 = 3;

/// How often something was refused, and until when it waits.
#[derive(Debug, Clone, Copy, Default)]
struct Refusal {
    until: Nanos,
    times: u32,
}

/// A record that was refused.
#[derive(Debug)]
struct RefusedRecord {
    kind: UpKind,
    refusal: Refusal,
    /// Another one of its kind has been taken since.
    is_alone: bool,
}

impl Refusal {
    fn again(&mut self, now: Nanos) {
        let pause = PAUSE.get().saturating_mul(1 << self.times.min(12)).min(RAREST.get());
        self.times += 1;
        self.until = Nanos(now.get().saturating_add(pause));
    }
}

fn is_there(spool: &Spool, sequence: u64) -> bool {
    spool.first_from(sequence).is_some_and(|(first, _)| first == sequence)
}

/// How far sending has come on this connection.
#[derive(Debug)]
pub(super) struct Uplink {
    window: u64,
    resend_after: Nanos,
    /// The next record to be sent in order.
    cursor: u64,
    /// Handed to the connection and not acknowledged by the broker.
    under_way: BTreeMap<u64, UpKind>,
    /// To be sent before anything else, as soon as they may be.
    again: BTreeSet<u64>,
    /// When everything unconfirmed is sent again.
    repeat_at: Option<Nanos>,
    repetitions: u32,
    paused_until: Nanos,
    refused_records: BTreeMap<u64, RefusedRecord>,
    /// Kinds of which a record was refused, and none taken since.
    refused_kinds: BTreeMap<UpKind, Refusal>,
}

impl Uplink {
    pub(super) const fn new(window: u32, resend_s: u32) -> Self {
        Self {
            window: window as u64,
            resend_after: Nanos::from_secs(resend_s as u64),
            cursor: 0,
            under_way: BTreeMap::new(),
            again: BTreeSet::new(),
            repeat_at: None,
            repetitions: 0,
            paused_until: Nanos(0),
            refused_records: BTreeMap::new(),
            refused_kinds: BTreeMap::new(),
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
        self.refused_records.clear();
        self.refused_kinds.clear();
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
        if self.repeat_at.is_some_and(|at| at <= now) {
            self.repetitions += 1;
            self.cursor = 0;
            self.repeat_at = None;
        }
        self.refused_records.retain(|sequence, _| is_there(spool, *sequence));
        if let Some(sequence) = self.next_again(spool, now) {
            return Some(sequence);
        }
        let (oldest, _) =
            spool.records_from(0).find(|(sequence, kind)| self.may_go(*sequence, *kind, now))?;
        for (sequence, kind) in spool.records_from(self.cursor) {
            if sequence >= oldest + self.window {
                break;
            }
            self.cursor = sequence + 1;
            if self.under_way.contains_key(&sequence) {
                continue;
            }
            if self.may_go(sequence, kind, now) {
                return Some(sequence);
            }
            self.again.insert(sequence);
        }
        None
    }

    /// The first of what goes before anything else.
    fn next_again(&mut self, spool: &Spool, now: Nanos) -> Option<u64> {
        let mut held_back = Vec::new();
        let mut found = None;
        while let Some(sequence) = self.again.pop_first() {
            let kind =
                spool.first_from(sequence).filter(|(first, _)| *first == sequence).map(|(_, kind)| kind);
            match kind.filter(|_| !self.under_way.contains_key(&sequence)) {
                Some(kind) if self.may_go(sequence, kind, now) => {
                    found = Some(sequence);
                    break;
                }
                Some(_) => held_back.push(sequence),
                None => {}
            }
        }
        self.again.extend(held_back);
        found
    }

    /// Whether neither the record nor its kind waits. Of a kind that may be refused one record is under way at most.
    fn may_go(&self, sequence: u64, kind: UpKind, now: Nanos) -> bool {
        let waits = |refusal: &Refusal| now < refusal.until;
        let is_tried = || self.under_way.values().any(|of| *of == kind);
        !self.refused_records.get(&sequence).is_some_and(|record| waits(&record.refusal))
            && !self.refused_kinds.get(&kind).is_some_and(|refusal| waits(refusal) || is_tried())
    }

    /// The record was handed to the connection.
    pub(super) fn sent(&mut self, sequence: u64, kind: UpKind) {
        self.under_way.insert(sequence, kind);
    }

    /// The record could not be handed over after all, or the broker wants it shorter: it is sent before anything else.
    pub(super) fn not_taken(&mut self, sequence: u64) {
        self.under_way.remove(&sequence);
        self.again.insert(sequence);
    }

    /// The broker took the record. Without a receipt it is sent again later.
    pub(super) fn acknowledged(&mut self, sequence: u64, now: Nanos) {
        self.refused_records.remove(&sequence);
        if let Some(kind) = self.under_way.remove(&sequence)
            && self.refused_kinds.remove(&kind).is_some()
        {
            // Those refused before it were so for what they are.
            let of_kind = self.refused_records.values_mut().filter(|record| record.kind == kind);
            of_kind.for_each(|record| record.is_alone = true);
        }
        self.repeat_at.get_or_insert(self.repetition(now));
    }

    /// When to send again what is not confirmed by then.
    fn repetition(&self, now: Nanos) -> Nanos {
        let pause = self.resend_after.get().saturating_mul(1 << self.repetitions.min(12));
        let rarest = RAREST.get().max(self.resend_after.get());
        Nanos(now.get().saturating_add(pause.min(rarest)))
    }

    /// The broker refused the record, or took it and nobody listens: it is tried again after a pause. Returns whether
    /// it has been refused so often, while others of its kind were taken, that it is to be given up.
    pub(super) fn refused(&mut self, sequence: u64, kind: UpKind, now: Nanos) -> bool {
        self.not_taken(sequence);
        match self.refused_kinds.get_mut(&kind) {
            // What was under way beside the one that made it wait says nothing new.
            Some(refusal) if now < refusal.until => {}
            Some(refusal) => refusal.again(now),
            None => drop(self.refused_kinds.insert(kind, Refusal::default())),
        }
        let fresh = || RefusedRecord { kind, refusal: Refusal::default(), is_alone: false };
        let record = self.refused_records.entry(sequence).or_insert_with(fresh);
        record.refusal.again(now);
        let is_given_up = record.is_alone && record.refusal.times >= REFUSALS;
        if is_given_up {
            self.refused_records.remove(&sequence);
        }
        is_given_up
    }

    /// Whether the broker has refused a record of this kind and taken none since.
    pub(super) fn is_refused(&self, kind: UpKind) -> bool {
        self.refused_kinds.contains_key(&kind)
    }

    /// Whether something waits because the broker refuses it.
    pub(super) fn has_refused(&self) -> bool {
        !self.refused_kinds.is_empty() || !self.refused_records.is_empty()
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
        if now < self.paused_until {
            return Some(self.paused_until);
        }
        let records = self.refused_records.values().map(|record| &record.refusal);
        let refusals = records.chain(self.refused_kinds.values());
        let waits = refusals.map(|refusal| refusal.until).filter(|until| *until > now);
        self.repeat_at.into_iter().chain(waits).min()
    }
}

#[cfg(test)]
mod tests;
