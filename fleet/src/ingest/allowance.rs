//! What may wait in memory to be stored, and who is named in the log how often. Pure.
//!
//! The broker sends any number of messages that it awaits no acknowledgement for, and of the others as many as
//! `receive_maximum`, each as long as a packet may be. A device whose messages wait beyond its share is refused
//! more: a record that was refused is sent again, because no receipt covers it. When all wait beyond theirs,
//! nothing more is taken from the connection until something is stored.

use crate::store::Excess;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of one device that may wait.
const DEVICE_BYTES: usize = 16 << 20;

/// Messages of one device that may wait without the broker waiting for them: no board sends any such but its progress,
/// which does not wait.
const DEVICE_UNAWAITED: usize = 4;

/// Bytes and messages of a device that are taken in each second while the store refuses what it sends.
const EXCESSIVE: (usize, usize) = (256 << 10, 16);

const SECOND: Duration = Duration::from_secs(1);

/// For how long a device counts as excessive after the store has refused something of it.
const EXCESSIVE_FOR: Duration = Duration::from_secs(60);

/// Bytes that may wait in all.
const BYTES: usize = 64 << 20;

/// Bytes that a message takes beside its payload, roughly.
const OVERHEAD: usize = 512;

/// How often the log names one device for one reason.
const AGAIN: Duration = Duration::from_secs(60);

/// Devices and reasons that are remembered as named.
const REMEMBERED: usize = 1000;

/// What a message takes while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) bytes: usize,
    /// Whether the broker waits for its acknowledgement.
    pub(super) is_awaited: bool,
}

#[derive(Debug, Default)]
struct OfDevice {
    bytes: usize,
    messages: usize,
    unawaited: usize,
    excessive: Option<Excessive>,
}

/// A device of which the store has refused something.
#[derive(Debug)]
struct Excessive {
    until: Instant,
    second: Instant,
    /// Taken since `second`.
    bytes: usize,
    messages: usize,
}

impl Excessive {
    /// Whether another message is within what is taken in a second.
    fn admits(&mut self, share: Share, now: Instant) -> bool {
        if now.duration_since(self.second) >= SECOND {
            (self.second, self.bytes, self.messages) = (now, 0, 0);
        }
        let is_within = self.bytes + share.bytes <= EXCESSIVE.0 && self.messages < EXCESSIVE.1;
        if is_within {
            self.bytes += share.bytes;
            self.messages += 1;
        }
        is_within
    }
}

impl OfDevice {
    /// Whether another message is within what may wait.
    fn admits(&mut self, share: Share, now: Instant) -> bool {
        if self.excessive.as_ref().is_some_and(|excessive| now >= excessive.until) {
            self.excessive = None;
        }
        self.bytes + share.bytes <= DEVICE_BYTES
            && (share.is_awaited || self.unawaited < DEVICE_UNAWAITED)
            && self.excessive.as_mut().is_none_or(|excessive| excessive.admits(share, now))
    }
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    of: BTreeMap<String, OfDevice>,
    bytes: usize,
}

impl Allowance {
    /// Whether another message may wait; it then counts. Nothing is known of the message yet but who sent it.
    pub(super) fn admit(&mut self, device: &str, share: Share, now: Instant) -> bool {
        let Some(of) = self.of.get_mut(device) else {
            let is_within = OfDevice::default().admits(share, now);
            if is_within {
                self.of.insert(device.to_owned(), OfDevice::default());
                self.count(device, share);
            }
            return is_within;
        };
        let is_within = of.admits(share, now);
        if is_within {
            self.count(device, share);
        }
        is_within
    }

    fn count(&mut self, device: &str, share: Share) {
        if let Some(of) = self.of.get_mut(device) {
            of.bytes += share.bytes;
            of.messages += 1;
            of.unawaited += usize::from(!share.is_awaited);
            self.bytes += share.bytes + OVERHEAD;
        }
    }

    /// The store has refused what the device sent: less of it may wait for a while, so that its neighbours need not.
    pub(super) fn restrict(&mut self, device: &str, now: Instant) {
        self.of.retain(|_, of| of.messages > 0 || of.excessive.as_ref().is_some_and(|of| now < of.until));
        let of = self.of.entry(device.to_owned()).or_default();
        let until = now + EXCESSIVE_FOR;
        match &mut of.excessive {
            Some(excessive) => excessive.until = until,
            None => of.excessive = Some(Excessive { until, second: now, bytes: 0, messages: 0 }),
        }
    }

    /// A message no longer waits.
    pub(super) fn release(&mut self, device: &str, share: Share) {
        self.bytes = self.bytes.saturating_sub(share.bytes + OVERHEAD);
        let Some(of) = self.of.get_mut(device) else { return };
        of.bytes = of.bytes.saturating_sub(share.bytes);
        of.messages = of.messages.saturating_sub(1);
        of.unawaited = of.unawaited.saturating_sub(usize::from(!share.is_awaited));
        if of.messages == 0 && of.excessive.is_none() {
            self.of.remove(device);
        }
    }

    /// How many messages of a device wait.
    pub(super) fn waiting(&self, device: &str) -> usize {
        self.of.get(device).map_or(0, |of| of.messages)
    }

    /// Whether more may be taken from the connection.
    pub(super) const fn has_room(&self) -> bool {
        self.bytes < BYTES
    }
}

/// Who was named in the log, and what came since.
#[derive(Debug, Default)]
pub(super) struct Complaints(BTreeMap<(String, Excess), (Instant, u64)>);

impl Complaints {
    /// Counts `more`; says how many came since the device was last named, when it is time to name it again.
    pub(super) fn count(&mut self, device: &str, excess: Excess, more: u64, now: Instant) -> Option<u64> {
        let key = (device.to_owned(), excess);
        if let Some((named, since)) = self.0.get_mut(&key) {
            *since += more;
            let is_due = now.duration_since(*named) >= AGAIN;
            return is_due.then(|| {
                *named = now;
                std::mem::take(since)
            });
        }
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, (named, _)| now.duration_since(*named) < AGAIN);
        }
        if self.0.len() >= REMEMBERED {
            return None;
        }
        self.0.insert(key, (now, 0));
        Some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MEBIBYTE: Share = Share { bytes: 1 << 20, is_awaited: true };

    #[test]
    fn one_device_cannot_use_up_what_others_need() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        let admitted = (0..1000).filter(|_| allowance.admit("bad", MEBIBYTE, now)).count();
        assert_eq!(admitted, 16);
        assert!(allowance.has_room() && allowance.admit("good", MEBIBYTE, now));
        let unawaited = Share { bytes: 10, is_awaited: false };
        assert_eq!((0..1000).filter(|_| allowance.admit("small", unawaited, now)).count(), 4);
        for device in ["b", "c", "d"] {
            (0..16).for_each(|_| assert!(allowance.admit(device, MEBIBYTE, now)));
        }
        assert!(!allowance.has_room(), "all together wait for the store");
    }

    #[test]
    fn less_waits_of_a_device_that_the_store_refuses() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        allowance.restrict("bad", now);
        let small = Share { bytes: 10, is_awaited: true };
        let admitted = |allowance: &mut Allowance, device: &str, now| {
            (0..1000).filter(|_| allowance.admit(device, small, now)).count()
        };
        assert_eq!((admitted(&mut allowance, "bad", now), admitted(&mut allowance, "good", now)), (16, 1000));
        // What was taken has been stored or refused meanwhile, and the second is not over.
        (0..16).for_each(|_| allowance.release("bad", small));
        allowance.restrict("bad", now);
        assert_eq!(admitted(&mut allowance, "bad", now), 0);
        assert_eq!(admitted(&mut allowance, "bad", now + SECOND), 16);
        assert_eq!(admitted(&mut allowance, "bad", now + SECOND + EXCESSIVE_FOR), 1000);
    }

    #[test]
    fn a_device_is_named_once_a_minute_with_what_came_since() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(complaints.count("bad", Excess::Gaps, 3, at(0)), Some(3));
        assert_eq!(complaints.count("bad", Excess::Gaps, 5, at(59)), None);
        assert_eq!(complaints.count("bad", Excess::Parts, 1, at(59)), Some(1));
        assert_eq!(complaints.count("bad", Excess::Gaps, 1, at(60)), Some(6));
        let named = (0..5000).filter(|n| complaints.count(&n.to_string(), Excess::Gaps, 1, at(61)).is_some());
        assert!(named.count() <= REMEMBERED);
    }

    proptest! {
        #[test]
        fn what_is_released_can_be_admitted_again(
            steps in prop::collection::vec((0..3_u8, 0..(1_usize << 22), any::<bool>()), 0..200),
        ) {
            let (mut allowance, now) = (Allowance::default(), Instant::now());
            let mut waiting = Vec::new();
            for (device, bytes, is_awaited) in steps {
                let share = Share { bytes, is_awaited };
                if allowance.admit(&device.to_string(), share, now) {
                    waiting.push((device, share));
                } else if !waiting.is_empty() {
                    let (device, share) = waiting.remove(0);
                    allowance.release(&device.to_string(), share);
                }
            }
            for (device, share) in waiting {
                allowance.release(&device.to_string(), share);
            }
            prop_assert!(allowance.of.is_empty() && allowance.bytes == 0);
        }
    }
}
