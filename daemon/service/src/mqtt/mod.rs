//! The one place that knows the MQTT client library: connections, messages and acknowledgements in
//! clipmark's own terms, so that the library can be exchanged.
//!
//! A [`Connection`] lives from one connect to one disconnect. The library's own state across reconnects is
//! not used (it can drop unsent messages and get stuck), so what must not be lost is kept by the caller
//! until it is acknowledged. This module does not know clipmark's topics or payloads and never retries.

mod backoff;
mod connection;
mod settings;
mod tls;
mod window;

pub use backoff::Backoff;
pub use connection::{AckHandle, Connection, ConnectionOptions};
pub use settings::{Mqtt, Tls};
pub use tls::{TlsError, client as tls_client};

use crate::secret::SecretError;
use std::time::Duration;

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// Whether the broker keeps it for those who subscribe later.
    pub retain: bool,
    /// MQTT content type.
    pub content_type: &'static str,
    /// After how long the broker forgets it.
    pub expiry: Option<Duration>,
    /// MQTT correlation data, for answers.
    pub correlation: Option<Vec<u8>>,
}

/// A message that arrived. It is to be acknowledged once it is dealt with for good.
#[derive(Debug)]
pub struct Received {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// Whether the broker had kept it.
    pub retained: bool,
    /// MQTT content type.
    pub content_type: Option<String>,
    /// MQTT response topic.
    pub response_topic: Option<String>,
    /// MQTT correlation data.
    pub correlation: Option<Vec<u8>>,
    /// What is left of its time to live.
    pub expiry: Option<Duration>,
    /// For [`Connection::acknowledge`].
    pub ack: AckHandle,
}

/// What a broker did with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Taken.
    Accepted,
    /// Taken and dropped: nobody subscribes to the topic.
    NobodyListens,
    /// Refused, with the reason, e.g. `NotAuthorized` by an ACL.
    Refused(String),
}

/// What happens on a connection. `T` identifies the caller's messages.
#[derive(Debug)]
pub enum MqttEvent<T> {
    /// The broker took the connection.
    Connected {
        /// Whether it still has the session of before; if not, retained messages may be gone too.
        session_present: bool,
    },
    /// A message arrived.
    Received(Received),
    /// The broker's word on a message of ours.
    Acknowledged {
        /// Which one.
        token: T,
        /// What became of it.
        verdict: Verdict,
    },
    /// The broker refused a subscription.
    SubscriptionRefused {
        /// What was subscribed to.
        filter: String,
        /// The broker's reason.
        reason: String,
    },
    /// The connection is over. No event follows.
    Closed(Closed),
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// It never came about, or broke.
    #[error(
        "no connection to the broker at {broker}: {problem}; check that it runs, can be reached, and is named by \
         mqtt.host and mqtt.port"
    )]
    Lost {
        /// Where.
        broker: String,
        /// The library's words.
        problem: String,
    },
    /// The broker refused it.
    #[error(
        "the broker at {broker} refuses this client: {reason}; check user name, password, certificate and client id"
    )]
    Refused {
        /// Where.
        broker: String,
        /// The broker's reason.
        reason: String,
    },
    /// Another client took over the session.
    #[error("another client uses the id {client}; two must not share one: give one of them another id")]
    TakenOver {
        /// The shared id.
        client: String,
    },
    /// The broker says nothing any more.
    #[error(
        "the broker at {broker} has not answered for {} s, so the connection is given up; check that it is healthy",
        silence.as_secs()
    )]
    Silent {
        /// Where.
        broker: String,
        /// For how long.
        silence: Duration,
    },
}

/// Why a connection cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// User name or password.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why a message was not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The window is used up, or the connection is just ending: try again later.
    #[error("the connection takes no more messages at the moment; try again")]
    Busy,
    /// The broker takes no packets of this size.
    #[error(
        "a message of {length} bytes exceeds the {limit} bytes that the broker accepts; raise its max_packet_size"
    )]
    TooLong {
        /// The packet's size.
        length: usize,
        /// The broker's limit.
        limit: usize,
    },
}
