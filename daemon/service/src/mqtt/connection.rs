//! One connection, from connect to disconnect, as its user sees it.
//!
//! The socket belongs to a task of its own (`driver`), so that neither a slow broker nor a busy caller holds up the
//! other. Here is what the protocol asks a client to remember: which messages are under way, and how many may be.

use super::closed::Closed;
use super::driver::{Driver, Incoming, tls_client};
use super::reason::BrokerReason;
use super::terms::{Asked, Terms};
use super::{Message, Mqtt, MqttEvent, NotSent, Received, SetupError, Verdict};
use crate::systemd::Heartbeat;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectProperties, Disconnect, DisconnectReasonCode, Filter, LastWill,
    LastWillProperties, Login, Packet, PubAck, Publish, PublishProperties, Subscribe,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Messages of ours that may be under way.
const IN_FLIGHT: u16 = 16;

/// Packets that were read and wait for the caller.
const QUEUE: usize = 64;

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(3);

/// Who connects, and where to.
#[derive(Debug)]
pub struct ConnectionOptions<'a> {
    /// The broker and the terms of the session.
    pub mqtt: &'a Mqtt,
    /// The client id.
    pub client: &'a str,
    /// Published by the broker when the connection breaks.
    pub will: Option<Message>,
    /// What to listen to.
    pub filters: Vec<String>,
    /// Messages that the broker may send before the first of them is acknowledged, MQTT's receive maximum.
    pub receive_maximum: u16,
}

/// Acknowledges one received message.
#[derive(Debug, Clone, Copy)]
pub struct AckHandle {
    /// 0 at QoS 0.
    packet: u16,
}

impl AckHandle {
    /// Of a message that needs no acknowledgement.
    #[must_use]
    pub const fn none() -> Self {
        Self { packet: 0 }
    }

    /// Of a message that the broker waits for; `packet` is not 0.
    #[must_use]
    pub const fn awaited(packet: u16) -> Self {
        Self { packet }
    }

    /// Whether the broker waits for the acknowledgement. It sends any number of messages for which it does not.
    #[must_use]
    pub const fn is_awaited(self) -> bool {
        self.packet != 0
    }
}

/// A connection. Dropping it drops the socket, which makes the broker publish the will.
#[derive(Debug)]
pub struct Connection<T> {
    outgoing: mpsc::UnboundedSender<Packet>,
    incoming: mpsc::Receiver<Result<Incoming, Closed>>,
    task: JoinHandle<()>,
    broker: String,
    session_expiry_s: u32,
    keepalive_s: u16,
    /// Filters that are to be subscribed to.
    filters: VecDeque<String>,
    /// Whether each subscription waits for the answer to the one before.
    subscribes_singly: bool,
    /// Filters whose subscription is not yet answered.
    subscribing: BTreeMap<u16, String>,
    /// Messages that are not yet acknowledged, with the sizes of their packets.
    under_way: BTreeMap<u16, (T, usize)>,
    /// The last message at QoS 0, with the size of its packet, until the broker answers what was sent behind it.
    unanswered: Option<(T, usize)>,
    /// Packets that were sent before `unanswered` and whose answers say nothing of it.
    sent_before: BTreeSet<u16>,
    last_packet: u16,
    pending: VecDeque<MqttEvent<T>>,
    terms: Terms,
    assigned: Option<String>,
    is_connected: bool,
}

impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn will(message: Message, delay_s: u32) -> LastWill {
    let properties = LastWillProperties {
        delay_interval: Some(delay_s),
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: Some(message.content_type.into()),
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    LastWill::new(message.topic, message.payload, QoS::AtLeastOnce, message.retain, Some(properties))
}

fn connect(of: &ConnectionOptions<'_>) -> Result<Packet, SetupError> {
    let mqtt = of.mqtt;
    let properties = ConnectProperties {
        session_expiry_interval: Some(mqtt.session_expiry_s),
        receive_maximum: Some(of.receive_maximum),
        max_packet_size: Some(mqtt.max_packet_bytes),
        ..ConnectProperties::new()
    };
    let connect = Connect {
        keep_alive: mqtt.keepalive_s,
        client_id: of.client.into(),
        clean_start: false,
        properties: Some(properties),
    };
    let login = match &mqtt.username_file {
        Some(username) => {
            let password =
                mqtt.password_file.as_ref().map_or(Ok(String::new()), |secret| secret.read_line())?;
            Some(Login::new(username.read_line()?, password))
        }
        None => None,
    };
    Ok(Packet::Connect(connect, of.will.clone().map(|message| will(message, mqtt.will_delay_s)), login))
}

fn publish(message: Message, qos: QoS) -> Publish {
    let properties = PublishProperties {
        content_type: Some(message.content_type.into()),
        message_expiry_interval: message.expiry.map(|expiry| expiry.as_secs() as u32),
        correlation_data: message.correlation.map(Into::into),
        ..PublishProperties::default()
    };
    let mut publish = Publish::new(message.topic, qos, message.payload, Some(properties));
    publish.retain = message.retain;
    publish
}

impl<T> Connection<T> {
    /// Begins to connect; [`MqttEvent::Connected`] or [`MqttEvent::Closed`] follows.
    ///
    /// # Errors
    /// When secrets or certificates cannot be read.
    pub fn open(of: ConnectionOptions<'_>, heartbeat: Heartbeat) -> Result<Self, SetupError> {
        let mqtt = of.mqtt;
        let driver = Driver {
            host: mqtt.host.clone(),
            port: mqtt.port,
            tls: tls_client(&mqtt.tls)?,
            connect: connect(&of)?,
            client: of.client.to_owned(),
            keepalive: Duration::from_secs(mqtt.keepalive_s.into()),
            max_packet: mqtt.max_packet_bytes as usize,
            heartbeat,
        };
        let (outgoing, taken) = mpsc::unbounded_channel();
        let (sender, incoming) = mpsc::channel(QUEUE);
        Ok(Self {
            outgoing,
            incoming,
            task: tokio::spawn(driver.run(taken, sender)),
            broker: format!("{}:{}", mqtt.host, mqtt.port),
            session_expiry_s: mqtt.session_expiry_s,
            keepalive_s: mqtt.keepalive_s,
            filters: of.filters.into(),
            subscribes_singly: false,
            subscribing: BTreeMap::new(),
            under_way: BTreeMap::new(),
            unanswered: None,
            sent_before: BTreeSet::new(),
            last_packet: 0,
            pending: VecDeque::new(),
            terms: Terms::default(),
            assigned: None,
            is_connected: false,
        })
    }

    /// Whether the broker has taken the connection.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// The client id that the broker assigned to a client that asked for none.
    #[must_use]
    pub fn assigned(&self) -> Option<&str> {
        self.assigned.as_deref()
    }

    /// Whether [`Connection::publish`] would be taken now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.is_connected && self.under_way.len() < usize::from(self.terms.in_flight)
    }

    /// Messages that were handed over and are not acknowledged, with the sizes of their packets; also after the end of
    /// the connection.
    pub fn under_way(&self) -> impl Iterator<Item = (&T, usize)> {
        self.under_way.values().map(|(token, size)| (token, *size))
    }

    /// The last message at QoS 0 that the broker may not yet have dealt with, with the size of its packet; also after
    /// the end of the connection.
    pub fn unanswered(&self) -> Option<(&T, usize)> {
        self.unanswered.as_ref().map(|(token, size)| (token, *size))
    }

    /// Filters whose subscription is not answered; also after the end of the connection.
    pub fn subscribing(&self) -> impl Iterator<Item = &str> {
        self.subscribing.values().map(String::as_str)
    }

    /// Has each subscription wait for the answer to the one before, so that one upon which the broker ends the
    /// connection can be told from the others. Has an effect before the broker has taken the connection.
    pub const fn subscribe_singly(&mut self) {
        self.subscribes_singly = true;
    }

    /// Longest packet that the broker said it takes.
    #[must_use]
    pub const fn max_packet(&self) -> Option<usize> {
        self.terms.max_packet
    }

    /// Takes no packets longer than this, though the broker has not announced it.
    pub fn limit_packets(&mut self, most: Option<usize>) {
        self.terms.max_packet = self.terms.max_packet.into_iter().chain(most).min();
    }

    /// The next event. Cancel-safe.
    pub async fn next(&mut self) -> MqttEvent<T> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return event;
            }
            match self.incoming.recv().await {
                Some(Ok(incoming)) => self.take(incoming),
                Some(Err(closed)) => return self.ended(closed),
                // After the end, and after a panic in the task.
                None => {
                    let (broker, problem) = (self.broker.clone(), "the client stopped".to_owned());
                    let advice = "this is a defect of clipmark; it is tried again by itself".to_owned();
                    return self.ended(Closed::Lost { broker, problem, advice, by_broker: false });
                }
            }
        }
    }

    fn ended(&mut self, closed: Closed) -> MqttEvent<T> {
        self.is_connected = false;
        MqttEvent::Closed(closed)
    }

    fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::ConnAck(connack) => self.connected(&connack),
            Incoming::PubAck { packet, reason } => {
                let Some((token, size)) = self.under_way.remove(&packet) else { return };
                if !self.sent_before.remove(&packet) {
                    self.unanswered = None;
                }
                self.pending.push_back(MqttEvent::Acknowledged { token, verdict: verdict(&reason, size) });
            }
            Incoming::SubAck { packet, refused } => {
                let filter = self.subscribing.remove(&packet);
                self.subscribe();
                if let (Some(filter), Some(reason)) = (filter, refused) {
                    self.pending.push_back(MqttEvent::SubscriptionRefused { filter, reason });
                }
                if self.subscribes_singly && self.subscribing.is_empty() {
                    self.pending.push_back(MqttEvent::Subscribed);
                }
            }
            Incoming::Publish(publish) => self.received(*publish),
        }
    }

    fn connected(&mut self, connack: &ConnAck) {
        let asked = Asked {
            session_expiry_s: self.session_expiry_s,
            keepalive_s: self.keepalive_s,
            in_flight: IN_FLIGHT,
            filters: self.filters.make_contiguous(),
        };
        self.terms = Terms::read(connack.properties.as_ref(), asked);
        if let Some(lacks) = self.terms.lacks {
            self.task.abort();
            return self
                .pending
                .push_back(MqttEvent::Closed(Closed::Unfit { broker: self.broker.clone(), lacks }));
        }
        self.assigned = connack.properties.as_ref().and_then(|of| of.assigned_client_identifier.clone());
        self.is_connected = true;
        self.subscribe();
        let (session_present, caps) = (connack.session_present, std::mem::take(&mut self.terms.caps));
        self.pending.push_back(MqttEvent::Connected { session_present, caps });
    }

    /// Subscribes to what is left: to all of it, or to the next filter where one answer is waited for.
    fn subscribe(&mut self) {
        while !self.subscribes_singly || self.subscribing.is_empty() {
            // One filter a packet, so that a refusal can be told from the others.
            let Some(filter) = self.filters.pop_front() else { return };
            let subscribe = Subscribe::new(Filter::new(filter.clone(), QoS::AtLeastOnce), None);
            let pkid = self.free_packet();
            self.subscribing.insert(pkid, filter);
            self.send(Packet::Subscribe(Subscribe { pkid, ..subscribe }));
        }
    }

    /// A packet identifier that nothing under way has.
    fn free_packet(&mut self) -> u16 {
        loop {
            self.last_packet = self.last_packet.checked_add(1).unwrap_or(1);
            let packet = self.last_packet;
            if !self.under_way.contains_key(&packet) && !self.subscribing.contains_key(&packet) {
                return packet;
            }
        }
    }

    fn received(&mut self, publish: Publish) {
        let ack = AckHandle { packet: if publish.qos == QoS::AtMostOnce { 0 } else { publish.pkid } };
        let Ok(topic) = String::from_utf8(publish.topic.to_vec()) else { return self.acknowledge(ack) };
        let properties = publish.properties.unwrap_or_default();
        self.pending.push_back(MqttEvent::Received(Received {
            topic,
            payload: publish.payload.to_vec(),
            retained: publish.retain,
            content_type: properties.content_type,
            response_topic: properties.response_topic,
            correlation: properties.correlation_data.map(|data| data.to_vec()),
            expiry: properties.message_expiry_interval.map(|s| Duration::from_secs(s.into())),
            ack,
        }));
    }

    fn send(&self, packet: Packet) {
        // The task is gone when the connection is over: what was not sent is sent again on the next one.
        let _ = self.outgoing.send(packet);
    }

    /// Tells the broker that a message is dealt with. It may have no more of them under way than it was told, so those
    /// that wait here to be sent are bounded by that.
    pub fn acknowledge(&self, ack: AckHandle) {
        if ack.packet != 0 {
            self.send(Packet::PubAck(PubAck::new(ack.packet, None)));
        }
    }

    /// Publishes at QoS 1; the broker's verdict follows as an event with `token`.
    ///
    /// # Errors
    /// When as many messages as may be are under way, or the broker would refuse the packet's size.
    pub fn publish(&mut self, message: Message, token: T) -> Result<(), NotSent> {
        if !self.has_room() {
            return Err(NotSent::Busy);
        }
        let mut publish = publish(message, QoS::AtLeastOnce);
        publish.pkid = self.free_packet();
        let length = self.within_limit(&publish)?;
        self.under_way.insert(publish.pkid, (token, length));
        self.send(Packet::Publish(publish));
        Ok(())
    }

    /// Publishes at QoS 0; no event with `token` follows.
    ///
    /// # Errors
    /// As [`Connection::publish`].
    pub fn publish_unacknowledged(&mut self, message: Message, token: T) -> Result<(), NotSent> {
        if !self.is_connected {
            return Err(NotSent::Busy);
        }
        let publish = publish(message, QoS::AtMostOnce);
        let length = self.within_limit(&publish)?;
        self.unanswered = Some((token, length));
        self.sent_before = self.under_way.keys().copied().collect();
        self.send(Packet::Publish(publish));
        Ok(())
    }

    fn within_limit(&self, publish: &Publish) -> Result<usize, NotSent> {
        let length = publish.size();
        match self.terms.max_packet {
            Some(limit) if length > limit => Err(NotSent::TooLong { length, limit }),
            _ => Ok(length),
        }
    }

    /// Says goodbye in good order, so that no will is published: `farewell` is the last message.
    pub async fn close(mut self, farewell: Message, token: T)
    where
        T: PartialEq + Clone,
    {
        let goodbye = async {
            while !self.has_room() {
                if let MqttEvent::Closed(_) = self.next().await {
                    return;
                }
            }
            if self.publish(farewell, token.clone()).is_err() {
                return;
            }
            loop {
                match self.next().await {
                    MqttEvent::Acknowledged { token: of, .. } if of == token => break,
                    MqttEvent::Closed(_) => return,
                    _ => {}
                }
            }
            self.send(Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)));
            while !matches!(self.next().await, MqttEvent::Closed(_)) {}
        };
        if timeout(GOODBYE, goodbye).await.is_err() {
            tracing::warn!("the broker did not take the goodbye in time; it will publish the last will");
        }
    }
}

fn verdict(reason: &BrokerReason, size: usize) -> Verdict {
    match reason.code {
        0 => Verdict::Accepted,
        0x10 => Verdict::NobodyListens,
        BrokerReason::TOO_LARGE => Verdict::TooLarge { size },
        _ => Verdict::Refused(reason.to_string()),
    }
}
