//! The connection to the broker over time: open, lost, waiting, open again.

use super::outbox::Slot;
use crate::mqtt::{Backoff, Closed, Connection, Event, Options};
use crate::service::Heartbeat;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A connection that lasts so long counts as held: the next pause is a short one.
const HELD: Duration = Duration::from_secs(30);

/// The pause after secrets or certificates could not be read: files do not mend themselves quickly.
const UNREADABLE: Duration = Duration::from_secs(10);

/// Which of our messages an acknowledgement is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A slot of the outbox, with the version sent.
    Slot(Slot, u64),
    /// A spooled record.
    Record(u64),
    /// The last message before a goodbye.
    Farewell,
}

/// What happens to the link.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// It is time to connect.
    Due,
    /// Something on the connection.
    Mqtt(Event<Token>),
}

#[derive(Debug)]
enum State {
    Waiting(Instant),
    Open { connection: Box<Connection<Token>>, since: Option<Instant> },
}

/// The connection, or the wait for the next one.
#[derive(Debug)]
pub(super) struct Link {
    state: State,
    backoff: Backoff,
    heartbeat: Heartbeat,
}

impl Link {
    /// A link that is due at once.
    pub(super) fn new(backoff: Backoff, heartbeat: Heartbeat) -> Self {
        Self { state: State::Waiting(Instant::now()), backoff, heartbeat }
    }

    /// What happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> LinkEvent {
        match &mut self.state {
            State::Waiting(until) => {
                sleep_until(*until).await;
                LinkEvent::Due
            }
            State::Open { connection, .. } => LinkEvent::Mqtt(connection.next().await),
        }
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// A text for the log, when secrets or certificates cannot be read; the next try is scheduled.
    pub(super) fn open(&mut self, options: Options<'_>) -> Result<(), String> {
        match Connection::open(options, self.heartbeat.clone()) {
            Ok(connection) => {
                self.state = State::Open { connection: Box::new(connection), since: None };
                Ok(())
            }
            Err(error) => {
                self.wait(UNREADABLE);
                Err(error.to_string())
            }
        }
    }

    fn wait(&mut self, pause: Duration) {
        self.state = State::Waiting(Instant::now() + pause);
    }

    /// The broker took the connection.
    pub(super) fn connected(&mut self) {
        if let State::Open { since, .. } = &mut self.state {
            *since = Some(Instant::now());
        }
    }

    /// The connection is over: schedules the next one and returns the pause before it.
    pub(super) fn closed(&mut self, why: &Closed) -> Duration {
        if let State::Open { since: Some(since), .. } = &self.state
            && since.elapsed() >= HELD
        {
            self.backoff.held();
        }
        let pause = match why {
            Closed::TakenOver { .. } => self.backoff.after_takeover(),
            _ => self.backoff.after_failure(),
        };
        self.wait(pause);
        pause
    }

    /// Takes new pauses and connects anew at once. The broker keeps session and will delay, so nobody notices.
    pub(super) fn reopen(&mut self, backoff: Backoff) {
        self.backoff = backoff;
        self.state = State::Waiting(Instant::now());
    }

    /// The connection, when the broker has taken it.
    pub(super) fn connection(&mut self) -> Option<&mut Connection<Token>> {
        match &mut self.state {
            State::Open { connection, .. } if connection.is_connected() => Some(connection),
            _ => None,
        }
    }

    /// The connection for good.
    pub(super) fn into_connection(self) -> Option<Connection<Token>> {
        match self.state {
            State::Open { connection, .. } if connection.is_connected() => Some(*connection),
            _ => None,
        }
    }
}
