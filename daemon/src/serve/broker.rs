//! What the daemon does with the broker: connect, send, and take its word for what arrived.

use super::link::{LinkEnd, Token};
use super::messages;
use super::outbox::Slot;
use super::receipts;
use super::refusals::{self, Refused};
use super::server::{Concern, Server};
use crate::config::Delivery;
use crate::mqtt::{self, Closed, ConnectionOptions, NotSent, Verdict};
use crate::session;
use crate::spool::SpoolError;
use clipmark_profile::message::Availability;
use clipmark_profile::topics::device_filters;

/// Statuses that are told again to a broker that has lost its session, and with it perhaps what it retained.
const RECENT: usize = 64;

/// Requests that the broker may send before the first of them is acknowledged.
const RECEIVE_MAXIMUM: u16 = 16;

/// Begins to connect.
pub(super) fn open(server: &mut Server) {
    let lost = vec!["the connection broke".to_owned()];
    let will = server.device_state(Some(Availability::Offline), lost);
    let will = match messages::state(&server.device, &will) {
        Ok(will) => will,
        Err(error) => return tracing::error!(%error, "the last will cannot be encoded"),
    };
    let client = client_id(server);
    let mut filters = device_filters(&server.device, &server.config.device.groups);
    let left_out: Vec<&String> = server.link.left_out().collect();
    filters.retain(|filter| !left_out.contains(&filter));
    let options = ConnectionOptions {
        mqtt: &server.config.mqtt,
        client: &client,
        will: Some(will),
        filters,
        receive_maximum: RECEIVE_MAXIMUM,
    };
    if let Err(problem) = server.link.open(options) {
        server.concern(Concern::Connection, problem);
    }
}

/// Takes one event of the connection.
pub(super) fn event(server: &mut Server, event: mqtt::MqttEvent<Token>) {
    match event {
        mqtt::MqttEvent::Connected { session_present, caps } => connected(server, session_present, caps),
        mqtt::MqttEvent::Received(message) => {
            server.received(&message);
            // Only now: what the message led to is on disk.
            if let Some(connection) = server.link.connection() {
                connection.acknowledge(message.ack);
            }
        }
        mqtt::MqttEvent::Acknowledged { token, verdict } => acknowledged(server, token, verdict),
        mqtt::MqttEvent::SubscriptionRefused { filter, reason } => {
            refusals::subscription(server, &filter, &reason);
        }
        // There is room now for what is pumped next.
        mqtt::MqttEvent::Subscribed => {}
        mqtt::MqttEvent::Closed(why) => closed(server, &why),
    }
}

fn connected(server: &mut Server, session_present: bool, caps: Vec<String>) {
    tracing::info!(session_present, connection = server.connections, "connected to the broker");
    if caps != server.caps {
        caps.iter().for_each(|cap| tracing::warn!("{cap}"));
        server.caps = caps;
    }
    server.link.connected(session_present);
    server.fit_parts();
    server.relieved(Concern::Connection);
    if server.link.left_out().next().is_none() {
        server.relieved(Concern::Subscription);
    }
    server.publish_state();
    server.publish_info();
    if !session_present {
        let recent: Vec<_> = server.session.recent(RECENT).cloned().collect();
        for command in recent {
            server.publish_status(&command);
        }
    }
}

fn closed(server: &mut Server, why: &Closed) {
    let LinkEnd { pause, unexplained, culprit } = server.link.closed(why);
    server.disconnected();
    if let Some(culprit) = culprit {
        return refusals::convicted(server, culprit);
    }
    match (unexplained, why) {
        (Some(ends), _) => {
            let what = format!(
                "{why}. It has done so {ends} times in a row, each time soon after it had given the session back. Two \
                 clients that share the id {} would have this effect: see whether another device has the same device.id",
                client_id(server)
            );
            server.concern(Concern::Connection, what);
        }
        (None, Closed::Lost { .. } | Closed::Ended { .. } | Closed::Silent { .. }) => {
            server.repeated(&why.to_string(), pause);
        }
        (None, Closed::TakenOver { client }) => {
            let what = format!(
                "another client uses the id {client}: the broker says that it took over the session; set device.id on \
                 one of them"
            );
            server.concern(Concern::Connection, what);
        }
        (None, why) => server.concern(Concern::Connection, why.to_string()),
    }
}

fn client_id(server: &Server) -> String {
    format!("clipmarkd-{}", server.device)
}

/// Hands over what is to be sent until the connection takes no more: what is new first, then the spool.
pub(super) fn pump(server: &mut Server) {
    loop {
        let now = server.clock.now().monotonic;
        let Some(connection) = server.link.sender() else { return };
        if let Some((slot, version, message)) = server.outbox.next(now) {
            match connection.publish(message, Token::Slot(slot.clone(), version)) {
                Ok(()) => server.outbox.sent(&slot, version),
                Err(NotSent::Busy) => return,
                Err(error @ NotSent::TooLong { limit, .. }) => {
                    if !server.shorten(&slot, limit) {
                        server.outbox.refused(&slot, now);
                        server.concern(Concern::Publishing, error.to_string());
                    }
                }
            }
        } else if !pump_record(server) {
            return;
        }
    }
}

/// Sends one record. Returns whether there may be another.
fn pump_record(server: &mut Server) -> bool {
    let now = server.clock.now();
    let Some(sequence) = server.uplink.next(&server.spool, now.monotonic) else { return false };
    if let Some(behind) = server.spool.behind() {
        receipts::begin_epoch(server, behind);
        return server.spool.behind().is_none();
    }
    let Some((_, kind)) = server.spool.first_from(sequence) else { return true };
    let envelope = match server.spool.read(sequence) {
        Ok(Some(envelope)) => envelope,
        Ok(None) => return true,
        Err(error @ SpoolError::Damaged { .. }) => {
            tracing::error!("{error}");
            server.spool.give_up(sequence, now.unix_ms);
            return true;
        }
        Err(error) => {
            server.concern(Concern::Spool, error.to_string());
            server.uplink.not_taken(sequence);
            server.uplink.pause(now.monotonic);
            return false;
        }
    };
    let message = messages::record(&server.device, kind, envelope);
    let Some(connection) = server.link.sender() else { return false };
    match connection.publish(message, Token::Record(server.spool.epoch(), sequence)) {
        Ok(()) => {
            server.uplink.sent(sequence, kind);
            true
        }
        Err(NotSent::Busy) => {
            server.uplink.not_taken(sequence);
            false
        }
        Err(NotSent::TooLong { length, limit }) => {
            server.cut(sequence, length, limit);
            true
        }
    }
}

fn acknowledged(server: &mut Server, token: Token, verdict: Verdict) {
    if refusals::is_over(server, &token) {
        return;
    }
    match (token, verdict) {
        (token, Verdict::Refused(reason)) => refusals::refused(server, token, Refused::Because(&reason)),
        (token, Verdict::TooLarge { size }) => refusals::too_large(server, &token, size, true),
        (Token::Slot(slot, version), _) => {
            let is_latest = server.outbox.acknowledged(&slot, version);
            server.published();
            if let (Slot::Status(command), true) = (slot, is_latest) {
                server.dispatch(session::SessionEvent::Delivered(command));
            }
        }
        (Token::Record(_, sequence), verdict) => record_acknowledged(server, sequence, &verdict),
        (Token::Progress | Token::Subscription(_) | Token::Farewell, _) => {}
    }
}

fn record_acknowledged(server: &mut Server, sequence: u64, verdict: &Verdict) {
    let now = server.clock.now().monotonic;
    match (server.config.spool.delivery, verdict) {
        (Delivery::Puback, Verdict::NobodyListens) => {
            if let Some((_, kind)) = server.spool.first_from(sequence) {
                server.uplink.refused(sequence, kind, now);
            }
            let what = "nobody subscribes to this device's results, so the broker drops them and they stay on the \
                        device; subscribe to clipmark/v1/d/+/up/#";
            server.concern(Concern::Publishing, what.into());
        }
        (Delivery::Puback, _) => {
            server.uplink.acknowledged(sequence, now);
            server.published();
            if let Err(error) = server.spool.confirm_one(sequence) {
                server.concern(Concern::Spool, error.to_string());
            }
            server.confirmed();
        }
        (Delivery::Receipt, _) => {
            server.uplink.acknowledged(sequence, now);
            server.published();
        }
    }
}
