//! The connection to the broker over time: open, lost, waiting, open again.

use super::outbox::Slot;
use crate::mqtt::{Backoff, Closed, Connection, ConnectionOptions, MqttEvent};
use crate::service::Heartbeat;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A connection that lasts so long counts as held: the next pause is a short one.
const HELD: Duration = Duration::from_secs(30);

/// A connection that lasts so long shows that nobody else uses the session.
const UNDISPUTED: Duration = Duration::from_secs(600);

/// So many breaks in a row of a session that the broker still has, each mended by the first attempt, are no
/// accident: another client takes the session, which not every broker tells (mosquitto 2.0.11 does not).
const SUSPICIOUS: u32 = 3;

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
    Mqtt(MqttEvent<Token>),
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
    rivalry: Rivalry,
}

/// Whether another client uses our id: the two then take the session from each other in turns.
#[derive(Debug, Default)]
struct Rivalry {
    takeovers: u32,
    /// The last connection broke, and no attempt has failed since.
    just_broke: bool,
}

impl Rivalry {
    fn connected(&mut self, session_present: bool) {
        if !session_present {
            self.takeovers = 0;
        } else if self.just_broke {
            self.takeovers += 1;
        }
        self.just_broke = false;
    }

    /// A connection ended after `held`, or was never taken. Returns whether a rival is to blame.
    fn closed(&mut self, held: Option<Duration>, is_told: bool) -> bool {
        self.just_broke = held.is_some();
        if held.is_some_and(|held| held >= UNDISPUTED) {
            self.takeovers = 0;
        }
        if is_told {
            self.takeovers = self.takeovers.max(SUSPICIOUS);
        }
        self.just_broke && self.takeovers >= SUSPICIOUS
    }
}

impl Link {
    /// A link that is due at once.
    pub(super) fn new(backoff: Backoff, heartbeat: Heartbeat) -> Self {
        Self { state: State::Waiting(Instant::now()), backoff, heartbeat, rivalry: Rivalry::default() }
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
    pub(super) fn open(&mut self, options: ConnectionOptions<'_>) -> Result<(), String> {
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
    pub(super) fn connected(&mut self, session_present: bool) {
        self.rivalry.connected(session_present);
        if let State::Open { since, .. } = &mut self.state {
            *since = Some(Instant::now());
        }
    }

    /// The connection is over: schedules the next one. Returns the pause before it, and whether another
    /// client with our id is to blame.
    pub(super) fn closed(&mut self, why: &Closed) -> (Duration, bool) {
        let held = match &self.state {
            State::Open { since: Some(since), .. } => Some(since.elapsed()),
            _ => None,
        };
        if held.is_some_and(|held| held >= HELD) {
            self.backoff.held();
        }
        let is_rivalry = self.rivalry.closed(held, matches!(why, Closed::TakenOver { .. }));
        let pause = match is_rivalry {
            true => self.backoff.after_takeover(self.rivalry.takeovers.saturating_sub(SUSPICIOUS)),
            false => self.backoff.after_failure(),
        };
        self.wait(pause);
        (pause, is_rivalry)
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

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Option<Duration> = Some(Duration::from_secs(1));

    /// A rival takes the session as soon as we have it.
    fn disputed(rivalry: &mut Rivalry, times: u32) -> bool {
        rivalry.connected(true);
        (0..times).fold(false, |_, _| {
            let is_rivalry = rivalry.closed(SHORT, false);
            rivalry.connected(true);
            is_rivalry
        })
    }

    #[test]
    fn a_session_that_is_taken_again_and_again_has_a_rival() {
        let mut rivalry = Rivalry::default();
        assert!(!disputed(&mut rivalry, 3));
        assert!(disputed(&mut rivalry, 1));
        assert!(Rivalry::default().closed(SHORT, true));
    }

    #[test]
    fn a_broker_that_restarts_is_no_rival() {
        let mut rivalry = Rivalry::default();
        for _ in 0..20 {
            rivalry.connected(true);
            assert!(!rivalry.closed(SHORT, false));
            // The attempts while it is down fail.
            assert!(!rivalry.closed(None, false));
        }
        for _ in 0..20 {
            // Or it is back at once, without the session.
            rivalry.connected(false);
            assert!(!rivalry.closed(SHORT, false));
        }
    }

    #[test]
    fn a_connection_that_lasts_ends_the_suspicion() {
        let mut rivalry = Rivalry::default();
        assert!(disputed(&mut rivalry, 5));
        assert!(!rivalry.closed(Some(UNDISPUTED), false));
        assert!(!disputed(&mut rivalry, 2));
    }
}
