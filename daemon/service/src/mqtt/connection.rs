//! One connection, from connect to disconnect.
//!
//! The library's event loop is not cancel-safe and its writes have no time limit, so it is polled by a task
//! of its own, which also notices a broker that has fallen silent and tells the supervisor that it lives.

use super::window::Window;
use super::{Closed, Message, Mqtt, MqttEvent, NotSent, Received, SetupError, Verdict, tls};
use crate::systemd::Heartbeat;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, DisconnectReasonCode, LastWill, LastWillProperties, Packet, PubAckReason,
    Publish, PublishProperties, SubAck, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event as Raw, EventLoop, MqttOptions, StateError};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, timeout};

/// Messages of ours that may be under way.
const IN_FLIGHT: u16 = 16;

/// Requests that the library may hold beside acknowledgements: our window, subscriptions and progress.
const QUEUE: usize = 48;

/// Longest time to connect and be answered, in seconds.
const CONNECT_LIMIT_S: u64 = 15;

/// Bytes of a publish packet beside topic, payload and correlation data, rounded up.
const OVERHEAD: usize = 128;

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
    packet: u16,
    qos: QoS,
}

impl AckHandle {
    /// Of a message that needs no acknowledgement.
    #[must_use]
    pub const fn none() -> Self {
        Self { packet: 0, qos: QoS::AtMostOnce }
    }
}

/// A connection. Dropping it drops the socket, which makes the broker publish the will.
#[derive(Debug)]
pub struct Connection<T> {
    client: AsyncClient,
    raw: mpsc::Receiver<Result<Raw, Closed>>,
    task: JoinHandle<()>,
    window: Window<T>,
    filters: Vec<String>,
    pending: VecDeque<MqttEvent<T>>,
    max_packet: usize,
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

fn options(options: &ConnectionOptions<'_>) -> Result<MqttOptions, SetupError> {
    let mqtt = options.mqtt;
    let mut of = MqttOptions::new(options.client, &mqtt.host, mqtt.port);
    of.set_keep_alive(Duration::from_secs(mqtt.keepalive_s.into()))
        .set_clean_start(false)
        .set_session_expiry_interval(Some(mqtt.session_expiry_s))
        .set_receive_maximum(Some(options.receive_maximum))
        .set_max_packet_size(Some(mqtt.max_packet_bytes))
        // The library resolves an alias only after it has told of the message.
        .set_topic_alias_max(Some(0))
        .set_connection_timeout(CONNECT_LIMIT_S)
        .set_manual_acks(true);
    if let Some(message) = &options.will {
        of.set_last_will(will(message.clone(), mqtt.will_delay_s));
    }
    of.set_outgoing_inflight_upper_limit(IN_FLIGHT);
    // Small packets that wait for each other's acknowledgement: without this each costs 40 ms.
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    of.set_network_options(network);
    if let Some(username) = &mqtt.username_file {
        let password = mqtt.password_file.as_ref().map_or(Ok(String::new()), |secret| secret.read_line())?;
        of.set_credentials(username.read_line()?, password);
    }
    if mqtt.tls.enabled {
        let client = tls::client(&mqtt.tls)?;
        of.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(client)));
    }
    Ok(of)
}

fn closed(error: ConnectionError, broker: String, client: &str) -> Closed {
    match error {
        ConnectionError::ConnectionRefused(code) => {
            let reason = match code {
                ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion => {
                    "it does not speak MQTT 5, which is required".into()
                }
                code => format!("{code:?}"),
            };
            Closed::Refused { broker, reason }
        }
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            ..
        }) => Closed::TakenOver { client: client.into() },
        error => {
            // The library's own words often hide the cause behind them.
            let mut problem = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                let words = error.to_string();
                if !problem.contains(&words) {
                    problem = format!("{problem}: {words}");
                }
                cause = error.source();
            }
            Closed::Lost { broker, problem }
        }
    }
}

/// Polls the library until the connection is over.
async fn poll(
    mut library: EventLoop,
    events: mpsc::Sender<Result<Raw, Closed>>,
    heartbeat: Heartbeat,
    client: String,
) {
    let (host, port) = library.options.broker_address();
    let broker = format!("{host}:{port}");
    let mut keepalive = library.options.keep_alive();
    let mut ticks = interval((keepalive / 4).min(Duration::from_secs(10)));
    let mut heard = Instant::now();
    let mut is_connected = false;
    let last_words = 'connection: loop {
        let polled = {
            let poll = library.poll();
            tokio::pin!(poll);
            loop {
                tokio::select! {
                    polled = &mut poll => break polled,
                    _ = ticks.tick() => {
                        heartbeat.beat();
                        let silence = heard.elapsed();
                        // Also ends a write that a stopped broker does not take. Connecting has a limit of its own.
                        if is_connected && silence > keepalive * 3 / 2 {
                            break 'connection Closed::Silent { broker, silence };
                        }
                    }
                }
            }
        };
        heartbeat.beat();
        match polled {
            Ok(event) => {
                if let Raw::Incoming(packet) = &event {
                    heard = Instant::now();
                    if let Packet::ConnAck(ConnAck { properties, .. }) = packet {
                        is_connected = true;
                        let of_broker =
                            properties.as_ref().and_then(|properties| properties.server_keep_alive);
                        keepalive = of_broker.map_or(keepalive, |s| Duration::from_secs(s.into()));
                    }
                }
                if events.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            Err(error) => break closed(error, broker, &client),
        }
    };
    // The receiver may be gone, then nobody wants to know.
    let _ = events.send(Err(last_words)).await;
}

impl<T> Connection<T> {
    /// Begins to connect; [`MqttEvent::Connected`] or [`MqttEvent::Closed`] follows.
    ///
    /// # Errors
    /// When secrets or certificates cannot be read.
    pub fn open(of: ConnectionOptions<'_>, heartbeat: Heartbeat) -> Result<Self, SetupError> {
        let queue = QUEUE + usize::from(of.receive_maximum);
        let (client, library) = AsyncClient::new(options(&of)?, queue);
        let (sender, raw) = mpsc::channel(queue);
        let task = tokio::spawn(poll(library, sender, heartbeat, of.client.to_owned()));
        Ok(Self {
            client,
            raw,
            task,
            window: Window::new(IN_FLIGHT),
            filters: of.filters,
            pending: VecDeque::new(),
            max_packet: usize::MAX,
            is_connected: false,
        })
    }

    /// Whether the broker has taken the connection.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether [`Connection::publish`] would be taken now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.is_connected && self.window.has_room()
    }

    /// The next event. Cancel-safe.
    pub async fn next(&mut self) -> MqttEvent<T> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return event;
            }
            match self.raw.recv().await {
                Some(Ok(raw)) => self.take(raw),
                Some(Err(closed)) => {
                    self.is_connected = false;
                    return MqttEvent::Closed(closed);
                }
                // After the last words, and after a panic in the library.
                None => {
                    self.is_connected = false;
                    let problem = "the client stopped".to_owned();
                    return MqttEvent::Closed(Closed::Lost { broker: "?".into(), problem });
                }
            }
        }
    }

    fn take(&mut self, raw: Raw) {
        match raw {
            Raw::Outgoing(Outgoing::Publish(packet)) if packet != 0 => self.window.sent(packet),
            Raw::Incoming(Packet::ConnAck(connack)) => self.connected(&connack),
            Raw::Incoming(Packet::PubAck(ack)) => {
                let Some(token) = self.window.acknowledged(ack.pkid) else { return };
                let verdict = match ack.reason {
                    PubAckReason::Success => Verdict::Accepted,
                    PubAckReason::NoMatchingSubscribers => Verdict::NobodyListens,
                    reason => Verdict::Refused(format!("{reason:?}")),
                };
                self.pending.push_back(MqttEvent::Acknowledged { token, verdict });
            }
            Raw::Incoming(Packet::SubAck(ack)) => self.subscribed(&ack),
            Raw::Incoming(Packet::Publish(publish)) => self.received(publish),
            _ => {}
        }
    }

    fn connected(&mut self, connack: &ConnAck) {
        let properties = connack.properties.as_ref();
        if let Some(most) = properties.and_then(|properties| properties.receive_max) {
            self.window = Window::new(most.min(IN_FLIGHT));
        }
        let limit = properties.and_then(|properties| properties.max_packet_size);
        self.max_packet = limit.map_or(usize::MAX, |limit| limit as usize);
        self.is_connected = true;
        for filter in &self.filters {
            // One filter a packet, so that a refusal can be told from the others. The queue is empty here.
            let subscribed = self.client.try_subscribe(filter, QoS::AtLeastOnce);
            debug_assert!(subscribed.is_ok(), "the queue holds all subscriptions");
        }
        let session_present = connack.session_present;
        self.pending.push_back(MqttEvent::Connected { session_present });
    }

    /// Subscriptions are acknowledged in the order in which they were sent.
    fn subscribed(&mut self, ack: &SubAck) {
        if self.filters.is_empty() {
            return;
        }
        let filter = self.filters.remove(0);
        let refused = ack.return_codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_)));
        if let Some(reason) = refused {
            let reason = format!("{reason:?}");
            self.pending.push_back(MqttEvent::SubscriptionRefused { filter, reason });
        }
    }

    fn received(&mut self, publish: Publish) {
        let ack = AckHandle { packet: publish.pkid, qos: publish.qos };
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

    /// Tells the broker that a message is dealt with. Lost acknowledgements only bring it again.
    pub fn acknowledge(&self, ack: AckHandle) {
        let publish = Publish { pkid: ack.packet, qos: ack.qos, ..Publish::default() };
        if self.client.try_ack(&publish).is_err() {
            tracing::debug!("an acknowledgement was not sent; the message will come again");
        }
    }

    /// Publishes at QoS 1; the broker's verdict follows as an event with `token`.
    ///
    /// # Errors
    /// When the window is used up, or the broker would refuse the packet's size.
    pub fn publish(&mut self, message: Message, token: T) -> Result<(), NotSent> {
        if !self.has_room() {
            return Err(NotSent::Busy);
        }
        self.hand_over(message, QoS::AtLeastOnce)?;
        self.window.push(token);
        Ok(())
    }

    /// Publishes at QoS 0.
    ///
    /// # Errors
    /// As [`Connection::publish`].
    pub fn publish_unacknowledged(&self, message: Message) -> Result<(), NotSent> {
        if !self.is_connected {
            return Err(NotSent::Busy);
        }
        self.hand_over(message, QoS::AtMostOnce)
    }

    fn hand_over(&self, message: Message, qos: QoS) -> Result<(), NotSent> {
        let correlation = message.correlation.as_ref().map_or(0, Vec::len);
        let length = OVERHEAD + message.topic.len() + message.payload.len() + correlation;
        if length > self.max_packet {
            return Err(NotSent::TooLong { length, limit: self.max_packet });
        }
        let properties = PublishProperties {
            content_type: Some(message.content_type.into()),
            message_expiry_interval: message.expiry.map(|expiry| expiry.as_secs() as u32),
            correlation_data: message.correlation.map(Into::into),
            ..PublishProperties::default()
        };
        let Message { topic, payload, retain, .. } = message;
        let sent = self.client.try_publish_with_properties(topic, qos, retain, payload, properties);
        sent.map_err(|_| NotSent::Busy)
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
            if self.client.try_disconnect().is_ok() {
                while !matches!(self.next().await, MqttEvent::Closed(_)) {}
            }
        };
        if timeout(GOODBYE, goodbye).await.is_err() {
            tracing::warn!("the broker did not take the goodbye in time; it will publish the last will");
        }
    }
}
