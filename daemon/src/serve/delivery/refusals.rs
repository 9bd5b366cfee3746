//! What the broker does not take, by a word or by ending the connection: it is made shorter, set aside or left out for a
//! while, and everything else goes on.

use super::Delivery;
use super::link::Token;
use super::outbox::Slot;
use super::suspects::{Culprit, Fault};
use crate::serve::concerns::Concern;
use clipmark_profile::topics::aggregators_filter;
use clipmark_service::outcome::in_one_line;
use std::fmt;

/// Bytes of a packet that no broker can mean to be too many when it closes a connection without a reason.
const SHORT: usize = 2048;

/// How a refusal was said.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refused<'a> {
    /// With a reason.
    Because(&'a str),
    /// By ending the connection again and again, without one.
    Unsaid,
}

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Because(reason) => reason,
            Self::Unsaid => "it closes the connection without a reason",
        })
    }
}

impl Delivery {
    /// Whether it is about a record of an epoch that has ended: the record moved, and is sent from where it is now.
    pub(super) fn is_over(&self, token: &Token) -> bool {
        matches!(token, Token::Record(epoch, _) if *epoch != self.spool.epoch())
    }

    /// The broker ended the connection upon a message: it must not be sent again as it is.
    pub(super) fn convicted(&mut self, culprit: Culprit) {
        let Culprit { token, size, fault } = culprit;
        if self.is_over(&token) {
            return;
        }
        match fault {
            Fault::TooLarge => self.too_large(&token, size, true),
            Fault::Unsaid if self.is_tried_shorter(&token, size) => {}
            Fault::Unsaid => {
                self.link.size_is_innocent();
                self.refused(token.clone(), Refused::Unsaid);
            }
            Fault::Refused(reason) => self.refused(token.clone(), Refused::Because(&reason)),
        }
        if matches!(token, Token::Slot(Slot::Reply(_), _)) {
            self.outbox.ended_by_reply(self.clock.now().monotonic);
        }
    }

    /// Sends less, where the broker does not say why it closes the connection and it may be the size. What was refused at
    /// any length before is not refused for its length.
    fn is_tried_shorter(&mut self, token: &Token, size: usize) -> bool {
        let may_be_too_large = size > SHORT;
        match token {
            Token::Record(_, sequence) => {
                let of = self.spool.first_from(*sequence).filter(|(of, _)| of == sequence);
                let is_new = of.is_some_and(|(_, kind)| !self.uplink.is_refused(kind));
                if is_new && may_be_too_large {
                    self.too_large(token, size, false);
                }
                is_new && may_be_too_large
            }
            // A shorter status costs nothing, so that it is tried whatever its length.
            Token::Slot(slot, _) => {
                let is_shorter =
                    self.outbox.can_be_shortened(slot) && self.outbox.shorten(slot, size.saturating_sub(1));
                if is_shorter && may_be_too_large {
                    self.too_large(token, size, false);
                }
                is_shorter
            }
            Token::Progress | Token::Subscription(_) | Token::Farewell => false,
        }
    }

    /// What was refused for its size, as the broker says or as it seems, is made shorter when it is sent again: a record is
    /// cut, anything else says less.
    pub(super) fn too_large(&mut self, token: &Token, size: usize, is_said: bool) {
        self.link.refused();
        if is_said {
            tracing::warn!(
                size,
                "the broker refuses a message because of its size: shorter ones are sent from now on"
            );
        } else {
            tracing::warn!(
                size,
                "the broker closes the connection upon a message without a reason: it is tried shorter"
            );
        }
        match token {
            Token::Record(_, sequence) => {
                self.link.learn(size / 2, is_said);
                self.uplink.not_taken(*sequence);
            }
            Token::Slot(slot, _) => {
                self.link.learn(size.saturating_sub(1), is_said);
                self.outbox.not_taken(slot);
            }
            Token::Progress => self.withhold_progress(),
            Token::Subscription(_) | Token::Farewell => {}
        }
        self.fit_parts();
    }

    /// The broker refuses something for what it is.
    pub(super) fn refused(&mut self, token: Token, how: Refused<'_>) {
        self.link.refused();
        let now = self.clock.now();
        let what = match &token {
            Token::Slot(Slot::Reply(command), _) => {
                self.outbox.refused(&Slot::Reply(command.clone()), now.monotonic);
                return tracing::warn!(
                    %command, reason = %how, "the broker refuses the response topic of a request, so it is answered on its \
                    status topic alone"
                );
            }
            Token::Slot(slot, _) => {
                self.outbox.refused(slot, now.monotonic);
                slot.to_string()
            }
            Token::Record(_, sequence) => {
                let kind =
                    self.spool.first_from(*sequence).filter(|(of, _)| of == sequence).map(|(_, kind)| kind);
                let Some(kind) = kind else { return };
                if self.uplink.refused(*sequence, kind, now.monotonic) {
                    return self.put_aside(*sequence, how);
                }
                format!("a result ({kind})")
            }
            Token::Progress => {
                self.withhold_progress();
                return tracing::warn!(
                    reason = %how, "the broker refuses messages about progress, so none are sent for an hour; allow this \
                    device to write them in the broker's ACL (clipmark-fleet acl)"
                );
            }
            Token::Subscription(filter) => {
                self.link.leave_out(filter);
                return self.subscription_refused(filter, &how.to_string());
            }
            Token::Farewell => return,
        };
        let device = &self.device;
        let what = match how {
            Refused::Because(reason) => format!(
                "the broker refuses {what} ({reason}); allow user or client id to write below clipmark/v1/d/{device}/ in the \
                 broker's ACL"
            ),
            Refused::Unsaid => format!(
                "the broker closes the connection upon {what}, without a reason; look into its log, and see whether its ACL \
                 allows user or client id to write below clipmark/v1/d/{device}/"
            ),
        };
        self.concern(Concern::Publishing, what);
    }

    /// The broker refuses a subscription.
    pub(super) fn subscription_refused(&mut self, filter: &str, reason: &str) {
        if filter == aggregators_filter() {
            tracing::warn!(
                reason,
                "the broker does not say when an aggregator comes, so results may wait up to an hour for one; allow \
                 this device to read {filter} in the broker's ACL (clipmark-fleet acl)"
            );
            return;
        }
        let what = format!(
            "the broker refuses the subscription to {filter} ({reason}); allow user or client id to read it in the broker's \
             ACL"
        );
        self.concern(Concern::Subscription, what);
    }

    /// A result that the broker refuses while it takes others of the kind: what is behind it goes on.
    fn put_aside(&mut self, sequence: u64, how: Refused<'_>) {
        let now = self.clock.now();
        match self.spool.put_aside(sequence, &how.to_string(), now.unix_ms) {
            Ok(Some(path)) => {
                let what = format!(
                    "the broker refuses a result and takes others of its kind ({how}); it stays on the device as {}: look \
                     into the broker's log",
                    path.display()
                );
                self.concern(Concern::Publishing, what);
            }
            Ok(None) => {}
            Err(error) => {
                self.uplink.not_taken(sequence);
                self.uplink.pause(now.monotonic);
                self.concern(Concern::Spool, in_one_line(&error));
            }
        }
    }
}
