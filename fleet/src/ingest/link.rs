//! The connection to the broker over time: waiting, asking whether client ids are bound, open.

use super::receiver::Token;
use clipmark_service::mqtt::{Binding, BindingError, Connection, Mqtt, MqttEvent, binding};
use std::net::IpAddr;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// The connection, or what comes before it.
pub(super) enum Link {
    Waiting(Instant),
    /// The broker is asked before the first connection: the question would end it.
    Asking(JoinHandle<Result<Binding, BindingError>>),
    Open(Box<Connection<Token>>),
}

/// What happens next.
pub(super) enum LinkEvent {
    /// It is time to connect.
    Due,
    /// Who may use which client id; absent when the broker could not be asked.
    Answered(Option<Binding>),
    Mqtt(MqttEvent<Token>),
}

impl Link {
    /// Begins to ask.
    pub(super) fn ask(mqtt: &Mqtt) -> Self {
        let mqtt = mqtt.clone();
        Self::Asking(tokio::spawn(async move { binding(&mqtt).await }))
    }

    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> LinkEvent {
        match self {
            Self::Waiting(until) => {
                sleep_until(*until).await;
                LinkEvent::Due
            }
            Self::Asking(task) => LinkEvent::Answered(match task.await {
                Ok(Ok(binding)) => Some(binding),
                // The connection itself meets the same trouble, and says so.
                Ok(Err(_)) | Err(_) => None,
            }),
            Self::Open(connection) => LinkEvent::Mqtt(connection.next().await),
        }
    }
}

/// Warns of a broker on which any user can take another's session.
pub(super) fn warn_of(binding: &Binding, host: &str) {
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match binding {
        Binding::Free => tracing::warn!(
            "the broker lets any user take any client id, so one stolen board can end every other session and destroy \
             what is queued in it; hint: set use_username_as_clientid (clipmark-fleet acl --form mosquitto-conf)"
        ),
        Binding::Anonymous if !is_local => tracing::warn!(
            "this aggregator has no user at the broker, so anybody can take its session; hint: give each client a user \
             (docs/operating.md) and set mqtt.username_file"
        ),
        Binding::Unknown(reason) => {
            tracing::info!(reason, "whether the broker binds client ids to users cannot be found out");
        }
        Binding::Bound | Binding::Anonymous => {}
    }
}
