//! Records on their way: sent, cut to what the broker accepts, and confirmed.

use super::{Delivery, Token};
use crate::config;
use crate::mqtt::{NotSent, Verdict};
use crate::serve::concerns::Concern;
use crate::serve::messages;
use crate::spool::{Recut, SpoolError};
use clipmark_profile::message::Envelope;
use clipmark_service::outcome::in_one_line;

impl Delivery {
    /// Sends one record. Returns whether there may be another.
    pub(super) fn pump_record(&mut self) -> bool {
        let now = self.clock.now();
        let Some(sequence) = self.uplink.next(&self.spool, now.monotonic) else { return false };
        if let Some(behind) = self.spool.behind() {
            self.begin_epoch(behind);
            // Statuses name the records where they are now before those are sent.
            return false;
        }
        let Some((_, kind)) = self.spool.first_from(sequence) else { return true };
        let envelope = match self.spool.read(sequence) {
            Ok(Some(envelope)) => envelope,
            Ok(None) => return true,
            Err(error @ SpoolError::Damaged { .. }) => {
                tracing::error!("{error}");
                self.spool.give_up(sequence, now.unix_ms);
                return true;
            }
            Err(error) => {
                self.concern(Concern::Spool, error.to_string());
                self.uplink.not_taken(sequence);
                self.uplink.pause(now.monotonic);
                return false;
            }
        };
        let message = messages::record(&self.device, kind, envelope);
        let Some(connection) = self.link.sender() else { return false };
        match connection.publish(message, Token::Record(self.spool.epoch(), sequence)) {
            Ok(()) => {
                self.uplink.sent(sequence, kind);
                true
            }
            Err(NotSent::Busy) => {
                self.uplink.not_taken(sequence);
                false
            }
            Err(NotSent::TooLong { length, limit }) => {
                self.cut(sequence, length, limit);
                true
            }
        }
    }

    pub(super) fn record_acknowledged(&mut self, sequence: u64, verdict: &Verdict) {
        let now = self.clock.now().monotonic;
        match (self.confirmation, verdict) {
            (config::Delivery::Puback, Verdict::NobodyListens) => {
                if let Some((_, kind)) = self.spool.first_from(sequence) {
                    self.uplink.refused(sequence, kind, now);
                }
                let what = "nobody subscribes to this device's results, so the broker drops them and they stay on the \
                            device; subscribe to clipmark/v1/d/+/up/#";
                self.concern(Concern::Publishing, what.into());
            }
            (config::Delivery::Puback, _) => {
                self.uplink.acknowledged(sequence, now);
                self.published();
                if let Err(error) = self.spool.confirm_one(sequence) {
                    self.concern(Concern::Spool, error.to_string());
                }
                self.confirmed();
            }
            (config::Delivery::Receipt, _) => {
                self.uplink.acknowledged(sequence, now);
                self.published();
            }
        }
    }

    /// Makes results that are spooled from now on fit into the packets that the broker accepts.
    pub(super) fn fit_parts(&mut self) {
        let limit = self.link.connection().and_then(|connection| connection.max_packet());
        let part = limit.map_or(usize::MAX, |limit| limit.saturating_sub(messages::AROUND_A_PART));
        if self.spool.limit_parts(part) && part < Envelope::MAX_PART {
            tracing::info!(limit, "results are cut into parts that the broker accepts");
        }
    }

    /// Cuts a record whose packet of `length` bytes exceeds the `limit` of the broker into smaller ones, or sets it
    /// aside; what is behind it goes on either way.
    fn cut(&mut self, sequence: u64, length: usize, limit: usize) {
        let now = self.clock.now();
        match self.spool.recut(sequence, length.saturating_sub(limit), now.unix_ms) {
            Ok(Some(Recut::Cut(records))) => {
                tracing::info!(sequence, limit, ?records, "a result was cut into smaller parts");
            }
            Ok(Some(Recut::Aside(path))) => {
                let what = format!(
                    "a result is larger than the {limit} bytes of a packet that the broker accepts and cannot be cut \
                     small enough; it stays on the device as {}: raise the broker's limit of packet or message size",
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
