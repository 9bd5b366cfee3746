//! The one place that knows the MQTT client library: connections, messages and acknowledgements in
//! clipmark's own terms, so that the library can be exchanged.
//!
//! A [`Connection`] lives from one connect to one disconnect. Of the library only the codec is used: its event loop
//! drops unsent messages, gets stuck on acknowledgements out of order, and cannot read the packets in which mosquitto
//! says why it ends a connection. What must not be lost is kept by the caller until it is acknowledged. This module
//! does not know clipmark's topics or payloads and never retries.

mod backoff;
mod binding;
mod closed;
mod connection;
mod driver;
mod reason;
mod settings;
mod terms;
mod tls;

pub use backoff::Backoff;
pub use binding::{Binding, BindingError, binding};
pub use closed::Closed;
pub use connection::{AckHandle, Connection, ConnectionOptions};
pub use reason::BrokerReason;
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
    /// Refused because it is larger than the broker takes.
    TooLarge {
        /// The size of its packet.
        size: usize,
    },
    /// Refused, with the reason, e.g. "not authorized" by an ACL.
    Refused(String),
}

/// What happens on a connection. `T` identifies the caller's messages.
#[derive(Debug)]
pub enum MqttEvent<T> {
    /// The broker took the connection.
    Connected {
        /// Whether it still has the session of before; if not, retained messages may be gone too.
        session_present: bool,
        /// What was asked for and is granted only in part, one sentence each.
        caps: Vec<String>,
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
    /// The last subscription was answered, where each waits for the one before.
    Subscribed,
    /// The connection is over. No event follows.
    Closed(Closed),
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
    /// As many messages as may be are under way, or the connection is just ending: try again later.
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
