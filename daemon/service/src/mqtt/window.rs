//! Which of our QoS 1 messages are under way, and which acknowledgement belongs to which.
//!
//! The client library hands out packet ids when it sends, and tells of them in the order of sending; the k-th
//! send of a connection is the k-th one that it tells of. It reuses an id only after as many sends as the
//! connection may have in flight, and it gets stuck when that id is still unacknowledged. So this window
//! bounds the SPAN from the oldest unacknowledged send to the newest, not their number.

use std::collections::{BTreeMap, VecDeque};

/// The sends of one connection.
#[derive(Debug)]
pub(super) struct Window<T> {
    span: u64,
    next: u64,
    /// Handed to the client library, packet id not yet known.
    queued: VecDeque<(u64, T)>,
    /// By packet id.
    sent: BTreeMap<u16, (u64, T)>,
}

impl<T> Window<T> {
    /// A window for a connection on which at most `in_flight` sends may be unacknowledged.
    pub(super) fn new(in_flight: u16) -> Self {
        // One less than the library's cycle of packet ids, which subscriptions share.
        let span = u64::from(in_flight.saturating_sub(1).max(1));
        Self { span, next: 0, queued: VecDeque::new(), sent: BTreeMap::new() }
    }

    /// Whether another send stays within the span.
    pub(super) fn has_room(&self) -> bool {
        let queued = self.queued.front().map(|(index, _)| *index);
        let oldest = self.sent.values().map(|(index, _)| *index).chain(queued).min();
        oldest.is_none_or(|oldest| self.next - oldest < self.span)
    }

    /// Notes a send.
    pub(super) fn push(&mut self, token: T) {
        self.queued.push_back((self.next, token));
        self.next += 1;
    }

    /// The library told which packet id the oldest queued send has.
    pub(super) fn sent(&mut self, packet: u16) {
        if let Some(send) = self.queued.pop_front() {
            self.sent.insert(packet, send);
        }
    }

    /// What the broker acknowledged.
    pub(super) fn acknowledged(&mut self, packet: u16) -> Option<T> {
        self.sent.remove(&packet).map(|(_, token)| token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn acknowledgements_find_their_sends_in_any_order() {
        let mut window = Window::new(16);
        for token in ["a", "b", "c"] {
            window.push(token);
        }
        window.sent(4);
        window.sent(5);
        assert_eq!(window.acknowledged(5), Some("b"));
        assert_eq!(window.acknowledged(5), None);
        window.sent(6);
        assert_eq!((window.acknowledged(6), window.acknowledged(4)), (Some("c"), Some("a")));
    }

    proptest! {
        /// The library cycles through ids 1 to `in_flight`; an id in use must never come up again.
        #[test]
        fn no_packet_id_is_reused_while_it_is_unacknowledged(
            in_flight in 2..20_u16,
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let mut window = Window::new(in_flight);
            let mut last = 0;
            let mut unacknowledged: Vec<u16> = Vec::new();
            for (send, pick) in steps {
                if send && window.has_room() {
                    window.push(());
                    last = last % in_flight + 1;
                    prop_assert!(!unacknowledged.contains(&last));
                    window.sent(last);
                    unacknowledged.push(last);
                } else if !unacknowledged.is_empty() {
                    let packet = unacknowledged.swap_remove(pick.index(unacknowledged.len()));
                    prop_assert_eq!(window.acknowledged(packet), Some(()));
                }
            }
            while let Some(packet) = unacknowledged.pop() {
                window.acknowledged(packet);
            }
            prop_assert!(window.has_room());
        }
    }
}
