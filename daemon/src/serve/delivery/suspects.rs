//! Which message makes a broker end the connection.
//!
//! Some brokers answer a message that they do not take by ending the connection (mosquitto before 2.0.22 with
//! `max_queued_messages 0`, AWS IoT Core), with a reason or without. Sent again at each connection, it would keep the
//! device off the broker for good. So what was under way when a connection ended is suspected: several at once are
//! sent one at a time from then on, and one alone is convicted, at once where the broker gave a reason that blames a
//! message, else when it has happened several times. Subscriptions are suspected like messages. Pure.

use super::link::Token;
use crate::mqtt::{BrokerReason, Closed};

/// Connections that end without a reason upon one and the same message before it is convicted.
const SILENT_ENDS: u32 = 3;

/// A message that the broker does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Culprit {
    pub(super) token: Token,
    /// The size of its packet.
    pub(super) size: usize,
    pub(super) fault: Fault,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is larger than the broker takes.
    TooLarge,
    /// The broker's reason.
    Refused(String),
    /// The broker gave none.
    Unsaid,
}

/// What is suspected.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    is_careful: bool,
    /// The message upon which connections ended without a reason, and how many in a row.
    silent: Option<(Token, u32)>,
}

impl Suspects {
    /// Whether one thing is sent at a time.
    pub(super) const fn is_careful(&self) -> bool {
        self.is_careful
    }

    /// Whether another message may be sent while `under_way` are.
    pub(super) const fn may_send(&self, under_way: usize) -> bool {
        !self.is_careful || under_way == 0
    }

    /// The connection lasts: what was suspected is not at fault.
    pub(super) fn held(&mut self) {
        *self = Self::default();
    }

    /// A connection that the broker had taken ended while these were under way.
    pub(super) fn closed(&mut self, why: &Closed, under_way: Vec<(Token, usize)>) -> Option<Culprit> {
        let reason = match why {
            Closed::Ended { reason, .. } if reason.blames_a_message() => Some(reason),
            Closed::Lost { by_broker: true, .. } => None,
            _ => return None,
        };
        if reason.is_some_and(|reason| reason.code == BrokerReason::TOO_LARGE) {
            // At least one of them is beyond the broker's limit, so the largest is.
            self.is_careful = true;
            let messages =
                under_way.into_iter().filter(|(token, _)| !matches!(token, Token::Subscription(_)));
            let (token, size) = messages.max_by_key(|(_, size)| *size)?;
            return Some(Culprit { token, size, fault: Fault::TooLarge });
        }
        self.is_careful |= under_way.len() > 1;
        match <[_; 1]>::try_from(under_way) {
            Ok([(token, size)]) => self.convict(token, size, reason),
            Err(_) => None,
        }
    }

    fn convict(&mut self, token: Token, size: usize, reason: Option<&BrokerReason>) -> Option<Culprit> {
        let is_same = |(of, _): &(Token, u32)| of.is_for_the_same(&token);
        let ends = 1 + self.silent.take_if(|silent| is_same(silent)).map_or(0, |(_, ends)| ends);
        let fault = match reason {
            Some(reason) => Fault::Refused(reason.to_string()),
            None if ends >= SILENT_ENDS => Fault::Unsaid,
            None => {
                self.silent = Some((token, ends));
                return None;
            }
        };
        Some(Culprit { token, size, fault })
    }
}

/// The longest packet that a broker takes, as far as it is known without an announcement.
#[derive(Debug, Default)]
pub(super) struct PacketLimit {
    /// The broker said of a longer one that it is too large.
    said: Option<usize>,
    /// It closed the connection upon a longer one, without a reason.
    supposed: Option<usize>,
}

impl PacketLimit {
    /// The limit to be kept.
    pub(super) fn get(&self) -> Option<usize> {
        self.said.into_iter().chain(self.supposed).min()
    }

    /// Packets of more than `most` bytes are too large, by the broker's word or as it seems.
    pub(super) fn learn(&mut self, most: usize, is_said: bool) {
        let limit = if is_said { &mut self.said } else { &mut self.supposed };
        *limit = Some(limit.map_or(most, |limit| limit.min(most)));
    }

    /// The size was not why.
    pub(super) const fn forget_supposed(&mut self) {
        self.supposed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::Slot;
    use super::*;
    use clipmark_profile::message::Epoch;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, VecDeque};

    fn ended(code: u8) -> Closed {
        Closed::Ended { broker: "b".into(), reason: BrokerReason { code, text: None } }
    }

    fn lost(by_broker: bool) -> Closed {
        Closed::Lost { broker: "b".into(), problem: String::new(), advice: String::new(), by_broker }
    }

    fn state(version: u64) -> Token {
        Token::Slot(Slot::State, version)
    }

    const NOT_AUTHORIZED: u8 = 0x87;

    #[test]
    fn one_of_several_is_found_by_sending_one_at_a_time() {
        let mut suspects = Suspects::default();
        assert!(suspects.may_send(15));
        let both = vec![(state(1), 10), (Token::Record(Epoch(1), 7), 20)];
        assert_eq!(suspects.closed(&ended(NOT_AUTHORIZED), both), None);
        assert!(suspects.may_send(0) && !suspects.may_send(1));
        assert_eq!(suspects.closed(&ended(NOT_AUTHORIZED), vec![]), None);
        let culprit =
            suspects.closed(&ended(NOT_AUTHORIZED), vec![(Token::Record(Epoch(1), 7), 20)]).unwrap();
        assert_eq!(
            (culprit.token, culprit.fault),
            (Token::Record(Epoch(1), 7), Fault::Refused("not authorized".into()))
        );
        suspects.held();
        assert!(suspects.may_send(15));
    }

    #[test]
    fn the_largest_is_too_large_when_any_is() {
        let all = vec![(state(1), 10), (Token::Record(Epoch(1), 7), 20), (Token::Record(Epoch(1), 8), 15)];
        let culprit = Suspects::default().closed(&ended(BrokerReason::TOO_LARGE), all).unwrap();
        assert_eq!(
            (culprit.token, culprit.size, culprit.fault),
            (Token::Record(Epoch(1), 7), 20, Fault::TooLarge)
        );
    }

    #[test]
    fn without_a_reason_it_takes_several_ends_upon_the_same_message() {
        let mut suspects = Suspects::default();
        for version in 1..SILENT_ENDS.into() {
            // Each connection publishes the state anew.
            assert_eq!(suspects.closed(&lost(true), vec![(state(version), 10)]), None);
        }
        assert!(suspects.closed(&lost(true), vec![(state(9), 10)]).is_some());
        assert_eq!(suspects.closed(&lost(true), vec![(state(9), 10)]), None);
        assert_eq!(suspects.closed(&lost(true), vec![(Token::Record(Epoch(1), 1), 10)]), None);
    }

    /// How a broker ends a connection.
    fn any_end() -> impl Strategy<Value = Closed> {
        prop_oneof![Just(ended(NOT_AUTHORIZED)), Just(ended(0x99)), Just(lost(true))]
    }

    proptest! {
        /// Twelve messages, of which the broker takes all but those of `refused`. Of a burst in which one of them is,
        /// the acknowledgements before it may get lost with the connection, and the network may break as well.
        #[test]
        fn exactly_what_is_refused_is_convicted_and_all_else_arrives(
            refused in prop::collection::btree_set(0..12_u64, 0..5),
            why in any_end(),
            loses_acks in prop::collection::vec(any::<bool>(), 40),
            breaks in prop::collection::vec(prop::option::weighted(0.2, 0..6_usize), 40),
        ) {
            let mut suspects = Suspects::default();
            let (mut waiting, mut convicted) = ((0..12).collect::<BTreeSet<u64>>(), BTreeSet::new());
            let mut connections = 0;
            for (loses_acks, network) in loses_acks.into_iter().zip(breaks) {
                connections += usize::from(network.is_none());
                let mut unsent: VecDeque<u64> = waiting.difference(&convicted).copied().collect();
                let mut bursts = 0;
                let end = loop {
                    let mut burst = Vec::new();
                    while burst.len() < 4 && suspects.may_send(burst.len()) && let Some(next) = unsent.pop_front() {
                        burst.push(next);
                    }
                    let bad = burst.iter().position(|message| refused.contains(message));
                    let tokens = |of: &[u64]| of.iter().map(|&of| (Token::Record(Epoch(1), of), 10)).collect();
                    if network == Some(bursts) || burst.is_empty() {
                        break (network == Some(bursts)).then(|| (lost(false), tokens(&burst)));
                    }
                    let taken = &burst[..bad.unwrap_or(burst.len())];
                    let is_acknowledged = bad.is_none() || !loses_acks;
                    waiting.retain(|message| !(is_acknowledged && taken.contains(message)));
                    if let Some(bad) = bad {
                        break Some((why.clone(), tokens(&burst[if loses_acks { 0 } else { bad }..])));
                    }
                    bursts += 1;
                };
                let Some((why, under_way)) = end else { break };
                if let Some(Culprit { token: Token::Record(_, message), .. }) = suspects.closed(&why, under_way) {
                    convicted.insert(message);
                }
            }
            prop_assert!(convicted.is_subset(&refused));
            if connections > 1 + 4 * refused.len() {
                prop_assert_eq!(&convicted, &refused);
                prop_assert_eq!(&waiting, &refused);
            }
        }
    }

    #[test]
    fn what_was_supposed_of_the_size_can_be_forgotten_and_what_was_said_cannot() {
        let mut limit = PacketLimit::default();
        assert_eq!(limit.get(), None);
        limit.learn(4000, true);
        limit.learn(2000, false);
        limit.learn(3000, false);
        assert_eq!(limit.get(), Some(2000));
        limit.forget_supposed();
        assert_eq!(limit.get(), Some(4000));
    }

    #[test]
    fn an_end_that_blames_no_message_convicts_none() {
        let mut suspects = Suspects::default();
        let shutting_down = ended(0x8b);
        let taken = Closed::TakenOver { client: "c".into() };
        for why in [lost(false), shutting_down, taken] {
            for _ in 0..10 {
                assert_eq!(suspects.closed(&why, vec![(state(1), 10)]), None);
            }
        }
        assert!(suspects.may_send(1));
    }
}
