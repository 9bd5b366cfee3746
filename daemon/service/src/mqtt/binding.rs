//! Whether a broker ties client ids to users.
//!
//! MQTT lets whoever logs in choose any client id, and a second connection with an id ends the first one and takes
//! its session. So a user with a password of its own can still end everybody else's sessions and destroy what is
//! queued in them, unless the broker derives the id from the user (mosquitto: `use_username_as_clientid`).
//!
//! A broker that is asked for no id tells which one it assigned. One that derives ids assigns the same one each
//! time, the user's; any other draws a new one. The question costs the session nothing, but it ends a
//! connection of the same user: it is asked before the service's own connection is made.

use super::{Closed, Connection, ConnectionOptions, Mqtt, MqttEvent, SetupError};
use crate::systemd::Supervisor;
use std::time::Duration;

/// A connection has a limit of its own; nobody watches over this one besides.
const STUCK: Duration = Duration::from_secs(60);

/// Who may use which client id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// The broker derives the id from the user: nobody can take another's session.
    Bound,
    /// Every user may take every id.
    Free,
    /// The broker lets clients in without a user.
    Anonymous,
    /// It cannot be found out, with the reason.
    Unknown(String),
}

/// Why a broker could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// The connection ended or never came about.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// Secrets or certificates.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// Asks the broker.
///
/// # Errors
/// When it cannot be reached, or does not let this user in.
pub async fn binding(mqtt: &Mqtt) -> Result<Binding, BindingError> {
    let username = mqtt.username_file.as_ref().map(|file| file.read_line()).transpose();
    let username = username.map_err(SetupError::from)?;
    if username.is_none() && mqtt.tls.client_certificate.is_none() {
        return Ok(Binding::Anonymous);
    }
    let first = match assigned(mqtt).await? {
        Ok(id) if Some(&id) == username.as_ref() => return Ok(Binding::Bound),
        Ok(id) => id,
        Err(reason) => return Ok(Binding::Unknown(reason)),
    };
    // A certificate's user is known to the broker alone.
    match assigned(mqtt).await? {
        Ok(second) if second == first => Ok(Binding::Bound),
        Ok(second) => {
            for id in [first, second] {
                forget(mqtt, &id).await?;
            }
            Ok(Binding::Free)
        }
        Err(reason) => Ok(Binding::Unknown(reason)),
    }
}

/// Connects without an id and returns the one that the broker assigned; the inner error says why there is none.
/// The session, which may be the user's own, is neither cleared nor shortened.
async fn assigned(mqtt: &Mqtt) -> Result<Result<String, String>, BindingError> {
    match connected(mqtt, "").await {
        Ok(Some(id)) => Ok(Ok(id)),
        Ok(None) => Ok(Err("the broker does not tell which id it assigned".into())),
        // Either it wants an id, or the user may have one only, or the password is wrong: the connection itself tells.
        Err(BindingError::Closed(Closed::Refused { reason, .. })) => {
            Ok(Err(format!("the broker refuses this user without an id: {reason}")))
        }
        Err(error) => Err(error),
    }
}

/// Ends a session that the broker made for a question.
async fn forget(mqtt: &Mqtt, id: &str) -> Result<(), BindingError> {
    let mqtt = Mqtt { session_expiry_s: 0, ..mqtt.clone() };
    connected(&mqtt, id).await.map(drop)
}

/// Connects as `client` and returns the id that was assigned, if any. The connection ends with this.
async fn connected(mqtt: &Mqtt, client: &str) -> Result<Option<String>, BindingError> {
    let of = ConnectionOptions { mqtt, client, will: None, filters: Vec::new(), receive_maximum: 1 };
    let heartbeat = Supervisor::default().watch("question", STUCK);
    let mut connection = Connection::<()>::open(of, heartbeat)?;
    loop {
        match connection.next().await {
            MqttEvent::Connected { .. } => return Ok(connection.assigned().map(str::to_owned)),
            MqttEvent::Closed(why) => return Err(why.into()),
            _ => {}
        }
    }
}
