//! Brings what is to be published to the broker, and what is spooled to whoever stores it; takes the broker's word for
//! what arrived. What that leads to elsewhere is told as [`News`].

mod link;
mod outbox;
mod receipts;
mod records;
mod refusals;
mod suspects;
mod uplink;

pub(super) use link::{LinkEvent, Token};
pub(super) use outbox::{Shorter, Slot};

use super::clock::Clock;
use super::concerns::{Concern, Concerns};
use crate::config::{self, Config};
use crate::mqtt::{self, Backoff, Closed, ConnectionOptions, Message, NotSent, Verdict};
use crate::service::Heartbeat;
use crate::session::SessionEvent;
use crate::spool::Spool;
use clipmark_profile::topics::{DeviceId, device_filters};
use clipmark_profile::units::Nanos;
use link::{Link, LinkEnd};
use outbox::Outbox;
use refusals::Refused;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use uplink::Uplink;

/// Requests that the broker may send before the first of them is acknowledged.
const RECEIVE_MAXIMUM: u16 = 16;

/// How long messages about progress are left out after the broker refused one.
const WITHHELD: Duration = Duration::from_secs(3600);

/// What a delivery leads to outside of it.
#[derive(Debug)]
pub(super) enum News {
    /// Something for the session.
    Session(SessionEvent),
    /// A message came; it is to be acknowledged when what it leads to is on disk.
    Received(mqtt::Received),
    /// What the device's state says has changed.
    State,
    /// What the birth message says has changed, or it may have been lost.
    Info,
    /// The broker has lost its session, and with it perhaps what it retained.
    SessionLost,
    /// Records are in another epoch than before.
    EpochBegan,
}

/// What is to be sent, what waits for an answer, and the connection.
pub(super) struct Delivery {
    device: DeviceId,
    clock: Clock,
    /// What confirms a record.
    confirmation: config::Delivery,
    pub(super) spool: Spool,
    link: Link,
    outbox: Outbox,
    uplink: Uplink,
    concerns: Concerns,
    /// What the broker grants only in part, as it was last said.
    caps: Vec<String>,
    no_room: Option<String>,
    /// The broker refused a message about progress.
    no_progress_before: Instant,
    news: VecDeque<News>,
}

impl Delivery {
    pub(super) fn new(
        device: DeviceId,
        config: &Config,
        (clock, spool): (Clock, Spool),
        (backoff, connection): (Backoff, Heartbeat),
    ) -> Self {
        Self {
            device,
            clock,
            confirmation: config.spool.delivery,
            spool,
            link: Link::new(backoff, connection),
            outbox: Outbox::default(),
            uplink: Uplink::new(config.spool.window, config.spool.resend_s),
            concerns: Concerns::default(),
            caps: Vec::new(),
            no_room: None,
            no_progress_before: Instant::now(),
            news: VecDeque::new(),
        }
    }

    /// The oldest news, once.
    pub(super) fn next_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// The next event of the connection. Cancel-safe.
    pub(super) async fn next(&mut self) -> LinkEvent {
        self.link.next().await
    }

    /// When there will be something to send although nothing happens. What waits for room on the connection is sent when
    /// there is some, not at a time that has passed.
    pub(super) fn next_deadline(&mut self) -> Option<Nanos> {
        let now = self.clock.now().monotonic;
        let uplink = self.link.connection().is_some().then(|| self.uplink.next_deadline(now)).flatten();
        [uplink, self.outbox.next_deadline()].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Begins to connect; the broker publishes `will` when the connection is lost.
    pub(super) fn open(&mut self, config: &Config, will: Message) {
        let client = self.client_id();
        let mut filters = device_filters(&self.device, &config.device.groups);
        let left_out: Vec<&String> = self.link.left_out().collect();
        filters.retain(|filter| !left_out.contains(&filter));
        let options = ConnectionOptions {
            mqtt: &config.mqtt,
            client: &client,
            will: Some(will),
            filters,
            receive_maximum: RECEIVE_MAXIMUM,
        };
        if let Err(problem) = self.link.open(options) {
            self.concern(Concern::Connection, problem);
        }
    }

    /// What a message led to is on disk.
    pub(super) fn acknowledge(&mut self, message: &mqtt::Received) {
        if let Some(connection) = self.link.connection() {
            connection.acknowledge(message.ack);
        }
    }

    /// Takes changed settings over.
    pub(super) fn set(&mut self, config: &Config) {
        self.confirmation = config.spool.delivery;
        self.uplink.set(config.spool.window, config.spool.resend_s);
        self.spool.set_bounds(config.spool.bounds());
        self.look_for_room();
    }

    /// Connects anew with other settings; what was refused may be taken now.
    pub(super) fn reopen(&mut self, backoff: Backoff) {
        self.disconnected();
        self.uplink.forgive();
        self.no_progress_before = Instant::now();
        self.link.reopen(backoff);
    }

    /// An aggregator is there: it may take what was sent in vain.
    pub(super) fn receiver_came(&mut self) {
        self.uplink.receiver_came();
    }

    /// Replaces what a slot holds. `shorter` says it in less where the broker accepts no more.
    pub(super) fn put(&mut self, slot: Slot, message: Message, shorter: Option<Shorter>) {
        self.outbox.put(slot, message, shorter);
    }

    /// Publishes what is worth nothing later, if it can be published now.
    pub(super) fn publish_progress(&mut self, message: Message) {
        if self.no_progress_before > Instant::now() {
            return;
        }
        if let Some(connection) = self.link.for_progress()
            && let Err(error) = connection.publish_unacknowledged(message, Token::Progress)
        {
            tracing::debug!(%error, "a progress message is dropped");
        }
    }

    /// The broker does not take messages about progress.
    fn withhold_progress(&mut self) {
        self.no_progress_before = Instant::now() + WITHHELD;
    }

    /// Something that an operator should know.
    pub(super) fn concern(&mut self, about: Concern, what: String) {
        if self.concerns.raise(about, what) {
            self.news.push_back(News::State);
        }
    }

    /// It is no longer so.
    pub(super) fn relieved(&mut self, about: Concern) {
        if self.concerns.relieve(about) {
            self.news.push_back(News::State);
        }
    }

    /// What an operator should look at.
    pub(super) fn concerns(&self) -> Vec<String> {
        self.concerns.words()
    }

    /// Whether there is a connection for what is still to be sent.
    pub(super) fn has_last_words(&mut self) -> bool {
        self.link.connection().is_some() && self.outbox.len() > 0
    }

    /// Says goodbye.
    pub(super) async fn close(self, farewell: Message) {
        if let Some(connection) = self.link.into_connection() {
            connection.close(farewell, Token::Farewell).await;
        }
    }

    /// The connection is gone: what was under way may not have arrived.
    fn disconnected(&mut self) {
        self.outbox.disconnected(self.clock.now().monotonic);
        self.uplink.restart();
    }

    /// Tells the session when the spool's room for new results has come or gone.
    pub(in crate::serve) fn look_for_room(&mut self) {
        let no_room = self.spool.room().err().map(|full| full.to_string());
        if no_room != self.no_room {
            match &no_room {
                Some(why) => self.concern(Concern::Spool, why.clone()),
                None => self.relieved(Concern::Spool),
            }
            self.no_room.clone_from(&no_room);
            self.news.push_back(News::Session(SessionEvent::Room(no_room)));
        }
    }

    /// Takes one event of the connection.
    pub(in crate::serve) fn event(&mut self, event: mqtt::MqttEvent<Token>) {
        match event {
            mqtt::MqttEvent::Connected { session_present, caps } => self.connected(session_present, caps),
            mqtt::MqttEvent::Received(message) => self.news.push_back(News::Received(message)),
            mqtt::MqttEvent::Acknowledged { token, verdict } => self.acknowledged(token, verdict),
            mqtt::MqttEvent::SubscriptionRefused { filter, reason } => {
                self.subscription_refused(&filter, &reason);
            }
            // There is room now for what is pumped next.
            mqtt::MqttEvent::Subscribed => {}
            mqtt::MqttEvent::Closed(why) => self.closed(&why),
        }
    }

    fn connected(&mut self, session_present: bool, caps: Vec<String>) {
        tracing::info!(session_present, "connected to the broker");
        if caps != self.caps {
            caps.iter().for_each(|cap| tracing::warn!("{cap}"));
            self.caps = caps;
        }
        self.link.connected(session_present);
        self.fit_parts();
        self.relieved(Concern::Connection);
        if self.link.left_out().next().is_none() {
            self.relieved(Concern::Subscription);
        }
        self.news.extend([News::State, News::Info]);
        if !session_present {
            self.news.push_back(News::SessionLost);
        }
    }

    fn closed(&mut self, why: &Closed) {
        let LinkEnd { pause, unexplained, culprit } = self.link.closed(why);
        self.disconnected();
        if let Some(culprit) = culprit {
            return self.convicted(culprit);
        }
        match (unexplained, why) {
            (Some(ends), _) => {
                let what = format!(
                    "{why}. It has done so {ends} times in a row, each time soon after it had given the session back. Two \
                     clients that share the id {} would have this effect: see whether another device has the same device.id",
                    self.client_id()
                );
                self.concern(Concern::Connection, what);
            }
            (None, Closed::Lost { .. } | Closed::Ended { .. } | Closed::Silent { .. }) => {
                self.concerns.passing(&why.to_string(), pause);
            }
            (None, Closed::TakenOver { client }) => {
                let what = format!(
                    "another client uses the id {client}: the broker says that it took over the session; set device.id on \
                     one of them"
                );
                self.concern(Concern::Connection, what);
            }
            (None, why) => self.concern(Concern::Connection, why.to_string()),
        }
    }

    fn client_id(&self) -> String {
        format!("clipmarkd-{}", self.device)
    }

    /// Hands over what is to be sent until the connection takes no more: what is new first, then the spool.
    pub(in crate::serve) fn pump(&mut self) {
        loop {
            let now = self.clock.now().monotonic;
            let Some(connection) = self.link.sender() else { return };
            if let Some((slot, version, message)) = self.outbox.next(now) {
                match connection.publish(message, Token::Slot(slot.clone(), version)) {
                    Ok(()) => self.outbox.sent(&slot, version),
                    Err(NotSent::Busy) => return,
                    Err(error @ NotSent::TooLong { limit, .. }) => {
                        if !self.outbox.shorten(&slot, limit) {
                            self.outbox.refused(&slot, now);
                            self.concern(Concern::Publishing, error.to_string());
                        }
                    }
                }
            } else if !self.pump_record() {
                return;
            }
        }
    }

    fn acknowledged(&mut self, token: Token, verdict: Verdict) {
        if self.is_over(&token) {
            return;
        }
        match (token, verdict) {
            (token, Verdict::Refused(reason)) => self.refused(token, Refused::Because(&reason)),
            (token, Verdict::TooLarge { size }) => self.too_large(&token, size, true),
            (Token::Slot(slot, version), _) => {
                let is_latest = self.outbox.acknowledged(&slot, version);
                self.published();
                if let (Slot::Status(command), true) = (slot, is_latest) {
                    self.news.push_back(News::Session(SessionEvent::Delivered(command)));
                }
            }
            (Token::Record(_, sequence), verdict) => self.record_acknowledged(sequence, &verdict),
            (Token::Progress | Token::Subscription(_) | Token::Farewell, _) => {}
        }
    }

    /// The broker took a message.
    fn published(&mut self) {
        if !self.uplink.has_refused() && !self.outbox.has_refused() {
            self.relieved(Concern::Publishing);
        }
    }

    /// The spool has less to send than before: an operator waits for the moment when nothing is left.
    fn confirmed(&mut self) {
        if self.spool.unconfirmed() == 0 {
            self.news.push_back(News::State);
        }
        self.look_for_room();
    }
}
