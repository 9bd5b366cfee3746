//! The operator's own connection to the broker: who is there, asking devices, and hearing what becomes of it.
//!
//! Needs no aggregator and no store: devices' states, births and statuses are retained by the broker. Every
//! session is new and is forgotten by the broker when it ends. Blocking from outside.

mod ask;
mod roster;
mod target;

pub use ask::{Ask, AskError, cancellation};
pub use roster::{Roster, roster};
pub use target::{Target, command_id};

use crate::config::Config;
use clipmark_profile::codec::CodecError;
use clipmark_service::mqtt::{
    Closed, Connection, ConnectionOptions, Message, MqttEvent, NotSent, Received, SetupError, Verdict,
};
use clipmark_service::systemd::Supervisor;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout_at};

/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Messages that the broker may send before the first is taken.
const RECEIVE_MAXIMUM: u16 = 100;

/// Why the broker or the devices could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The connection ended or never came about.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// Secrets or certificates.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The broker refuses a subscription.
    #[error(
        "the broker refuses the subscription {filter}: {reason}; check this user's ACL (clipmark-fleet acl)"
    )]
    Subscription {
        /// What was subscribed to.
        filter: String,
        /// The broker's reason.
        reason: String,
    },
    /// A message cannot be published.
    #[error("the message to {topic} cannot be sent")]
    NotSent {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: NotSent,
    },
    /// A message cannot be encoded.
    #[error("the message cannot be encoded")]
    Encode(#[from] CodecError),
    /// The broker does not answer.
    #[error("the broker has not answered for {} s; check that it is healthy", PATIENCE.as_secs())]
    Silent,
    /// No event loop.
    #[error("no event loop can be started; check the limits of this process")]
    Runtime(#[source] std::io::Error),
}

/// A session with the broker.
#[derive(Debug)]
pub struct Operator {
    runtime: Runtime,
    connection: Connection<u64>,
    sent: u64,
    /// Messages that came while an answer of the broker was waited for.
    early: Vec<Received>,
}

/// Something that nobody else draws, for names that must not meet.
pub(crate) fn unique() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", since.as_micros(), std::process::id())
}

impl Operator {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    pub fn connect(config: &Config, filters: Vec<String>) -> Result<Self, OperatorError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(OperatorError::Runtime)?;
        let mut mqtt = config.mqtt.clone();
        mqtt.session_expiry_s = 0;
        let client = format!("clipmark-operator-{}", unique());
        let options = ConnectionOptions {
            mqtt: &mqtt,
            client: &client,
            will: None,
            filters,
            receive_maximum: RECEIVE_MAXIMUM,
        };
        let heartbeat = Supervisor::default().watch("connection", PATIENCE);
        let connection = {
            let _inside = runtime.enter();
            Connection::open(options, heartbeat)?
        };
        let mut operator = Self { runtime, connection, sent: 0, early: Vec::new() };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match operator.next(deadline)? {
                Some(MqttEvent::Connected { .. }) => return Ok(operator),
                Some(_) => {}
                None => return Err(OperatorError::Silent),
            }
        }
    }

    /// The next event before `deadline`.
    fn next(&mut self, deadline: Instant) -> Result<Option<MqttEvent<u64>>, OperatorError> {
        let next = self.connection.next();
        let Ok(event) = self.runtime.block_on(async { timeout_at(deadline, next).await }) else {
            return Ok(None);
        };
        match event {
            MqttEvent::Closed(why) => Err(why.into()),
            MqttEvent::SubscriptionRefused { filter, reason } => {
                Err(OperatorError::Subscription { filter, reason })
            }
            event => Ok(Some(event)),
        }
    }

    /// The next message, or `None` when none comes within `patience`.
    ///
    /// # Errors
    /// When the connection ends or the broker refuses a subscription.
    pub fn receive(&mut self, patience: Duration) -> Result<Option<Received>, OperatorError> {
        if !self.early.is_empty() {
            return Ok(Some(self.early.remove(0)));
        }
        let deadline = Instant::now() + patience;
        while let Some(event) = self.next(deadline)? {
            if let MqttEvent::Received(received) = event {
                self.connection.acknowledge(received.ack);
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    /// Publishes and returns the broker's word on it.
    ///
    /// # Errors
    /// When the connection ends or the broker does not answer.
    pub fn publish(&mut self, message: Message) -> Result<Verdict, OperatorError> {
        self.sent += 1;
        let (token, topic) = (self.sent, message.topic.clone());
        let sent = {
            let _inside = self.runtime.enter();
            self.connection.publish(message, token)
        };
        sent.map_err(|source| OperatorError::NotSent { topic, source })?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline)? {
                Some(MqttEvent::Acknowledged { token: of, verdict }) if of == token => return Ok(verdict),
                Some(MqttEvent::Received(received)) => {
                    self.connection.acknowledge(received.ack);
                    self.early.push(received);
                }
                Some(_) => {}
                None => return Err(OperatorError::Silent),
            }
        }
    }
}
