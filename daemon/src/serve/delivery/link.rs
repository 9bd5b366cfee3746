//! The connection to the broker over time: open, lost, waiting, open again.

use super::outbox::Slot;
use super::suspects::{Culprit, PacketLimit, Suspects};
use crate::mqtt::{Backoff, Closed, Connection, ConnectionOptions, MqttEvent};
use crate::service::Heartbeat;
use clipmark_profile::message::Epoch;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A connection that lasts so long counts as held: the next pause is a short one.
const HELD: Duration = Duration::from_secs(30);

/// A connection that lasts so long shows that nobody else uses the session.
const UNDISPUTED: Duration = Duration::from_secs(600);

/// So many ends in a row that the broker does not explain, of a session that it still has and that the first attempt
/// gets back, are no accident. Another client with our id would have this effect, and coming back at once would only
/// make the two take turns.
const SUSPICIOUS: u32 = 3;

/// The pause after secrets or certificates could not be read: files do not mend themselves quickly.
const UNREADABLE: Duration = Duration::from_secs(10);

/// A subscription upon which the broker ended the connection is left out of the connections that begin within so long.
const LEFT_OUT: Duration = Duration::from_secs(600);

/// Which of our messages an acknowledgement, or the end of a connection, is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) enum Token {
    /// A slot of the outbox, with the version sent.
    Slot(Slot, u64),
    /// A spooled record, by epoch and sequence.
    Record(Epoch, u64),
    /// A message about progress, which is not acknowledged.
    Progress,
    /// The subscription to a filter.
    Subscription(String),
    /// The last message before a goodbye.
    Farewell,
}

impl Token {
    /// Whether both are for the same purpose, in whatever version.
    pub(super) fn is_for_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Slot(slot, _), Self::Slot(other, _)) => slot == other,
            _ => self == other,
        }
    }
}

/// What the end of a connection leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LinkEnd {
    /// How long it is until the next one.
    pub(super) pause: Duration,
    /// Unexplained ends in a row, once they are suspicious.
    pub(super) unexplained: Option<u32>,
    /// The message at which the broker ended it.
    pub(super) culprit: Option<Culprit>,
}

/// What happens to the link.
#[derive(Debug)]
pub(in crate::serve) enum LinkEvent {
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
    suspects: Suspects,
    /// What a broker takes that has announced no limit.
    limit: PacketLimit,
    /// Filters whose subscription is left out, and until when.
    left_out: BTreeMap<String, Instant>,
    /// The broker has refused a message on this connection, which some end thereupon.
    has_refused: bool,
}

/// Whether another client may use our id: the two then take the session from each other in turns.
#[derive(Debug, Default)]
struct Rivalry {
    ends: u32,
    /// The last connection ended so, and no attempt has failed since.
    just_ended: bool,
}

impl Rivalry {
    fn connected(&mut self, session_present: bool) {
        if !session_present {
            self.ends = 0;
        } else if self.just_ended {
            self.ends += 1;
        }
        self.just_ended = false;
    }

    /// A connection ended after `held`, or was never taken, `by_broker` without an explanation or with the word that
    /// another client took it over. Returns how many such ends there were in a row, once they are too many.
    fn closed(&mut self, held: Option<Duration>, by_broker: bool, is_taken_over: bool) -> Option<u32> {
        self.just_ended = held.is_some() && by_broker;
        if held.is_some_and(|held| held >= UNDISPUTED) {
            self.ends = 0;
        }
        if is_taken_over {
            self.ends = self.ends.max(SUSPICIOUS);
        }
        (self.just_ended && self.ends >= SUSPICIOUS).then_some(self.ends + 1)
    }
}

impl Link {
    /// A link that is due at once.
    pub(super) fn new(backoff: Backoff, heartbeat: Heartbeat) -> Self {
        Self {
            state: State::Waiting(Instant::now()),
            backoff,
            heartbeat,
            rivalry: Rivalry::default(),
            suspects: Suspects::default(),
            limit: PacketLimit::default(),
            left_out: BTreeMap::new(),
            has_refused: false,
        }
    }

    /// What happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> LinkEvent {
        match &mut self.state {
            State::Waiting(until) => {
                // Nothing can be stuck meanwhile, however long the pause is.
                self.heartbeat.beat();
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
            Ok(mut connection) => {
                if self.suspects.is_careful() {
                    connection.subscribe_singly();
                }
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
        self.has_refused = false;
        if let State::Open { since, connection } = &mut self.state {
            *since = Some(Instant::now());
            connection.limit_packets(self.limit.get());
        }
    }

    /// The connection is over: schedules the next one.
    pub(super) fn closed(&mut self, why: &Closed) -> LinkEnd {
        let (held, under_way) = match &self.state {
            State::Open { since: Some(since), connection } => (Some(since.elapsed()), suspected(connection)),
            _ => (None, Vec::new()),
        };
        if held.is_some_and(|held| held >= HELD) {
            self.backoff.held();
        }
        // A message that was under way may be why; that is found out first.
        let was_idle = under_way.is_empty();
        let culprit = self.suspects.closed(why, under_way);
        let is_taken_over = matches!(why, Closed::TakenOver { .. });
        let is_unexplained =
            was_idle && !self.has_refused && matches!(why, Closed::Lost { by_broker: true, .. });
        let by_broker = is_taken_over || is_unexplained;
        let ends = self.rivalry.closed(held, by_broker, is_taken_over);
        let pause = match ends {
            Some(ends) => self.backoff.after_takeover(ends.saturating_sub(SUSPICIOUS + 1)),
            None => self.backoff.after_failure(),
        };
        self.wait(pause);
        LinkEnd { pause, unexplained: ends.filter(|_| !is_taken_over), culprit }
    }

    /// The broker refused a message.
    pub(super) fn refused(&mut self) {
        self.has_refused = true;
    }

    /// The broker refused a packet for its size, or may have: packets are to be of `most` bytes from now on.
    pub(super) fn learn(&mut self, most: usize, is_said: bool) {
        self.limit.learn(most, is_said);
        if let State::Open { connection, .. } = &mut self.state {
            connection.limit_packets(self.limit.get());
        }
    }

    /// It was not its size for which the broker closed the connection upon a message: from the next connection on, no
    /// limit holds that was only supposed.
    pub(super) fn size_is_innocent(&mut self) {
        self.limit.forget_supposed();
    }

    /// Leaves a subscription out for a while.
    pub(super) fn leave_out(&mut self, filter: &str) {
        self.left_out.insert(filter.to_owned(), Instant::now() + LEFT_OUT);
    }

    /// Filters whose subscription is left out of a connection that begins now.
    pub(super) fn left_out(&mut self) -> impl Iterator<Item = &String> {
        let now = Instant::now();
        self.left_out.retain(|_, until| *until > now);
        self.left_out.keys()
    }

    /// Takes new pauses and connects anew at once, perhaps to another broker. This one keeps session and will delay, so
    /// nobody notices.
    pub(super) fn reopen(&mut self, backoff: Backoff) {
        self.backoff = backoff;
        self.suspects = Suspects::default();
        self.limit = PacketLimit::default();
        self.left_out.clear();
        self.state = State::Waiting(Instant::now());
    }

    /// The connection, when it takes another message now.
    pub(super) fn sender(&mut self) -> Option<&mut Connection<Token>> {
        match &mut self.state {
            State::Open { connection, since: Some(since) } if connection.has_room() => {
                if since.elapsed() >= HELD {
                    self.suspects.held();
                }
                let under_way = connection.under_way().count() + connection.subscribing().count();
                self.suspects.may_send(under_way).then_some(connection)
            }
            _ => None,
        }
    }

    /// The connection, for a message that may be left out: while a message is looked for that ends connections, it
    /// would be one more to suspect.
    pub(super) fn for_progress(&mut self) -> Option<&mut Connection<Token>> {
        if self.suspects.is_careful() { None } else { self.connection() }
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

/// What may be why the broker ended the connection, with the sizes of the packets.
fn suspected(connection: &Connection<Token>) -> Vec<(Token, usize)> {
    let messages = connection.under_way().chain(connection.unanswered());
    let messages = messages.map(|(token, size)| (token.clone(), size));
    let subscriptions = connection.subscribing().map(|filter| (Token::Subscription(filter.to_owned()), 0));
    messages.chain(subscriptions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Option<Duration> = Some(Duration::from_secs(1));

    /// The broker ends the connection as soon as we have it, without a word.
    fn disputed(rivalry: &mut Rivalry, times: u32) -> Option<u32> {
        rivalry.connected(true);
        (0..times).fold(None, |_, _| {
            let ends = rivalry.closed(SHORT, true, false);
            rivalry.connected(true);
            ends
        })
    }

    #[test]
    fn a_session_that_ends_again_and_again_without_a_reason_is_left_alone_for_a_while() {
        let mut rivalry = Rivalry::default();
        assert_eq!(disputed(&mut rivalry, 3), None);
        assert_eq!(disputed(&mut rivalry, 1), Some(4));
        assert!(Rivalry::default().closed(SHORT, true, true).is_some());
    }

    #[test]
    fn neither_a_network_that_breaks_nor_a_broker_that_restarts_or_says_why_is_a_rival() {
        let mut rivalry = Rivalry::default();
        for _ in 0..20 {
            rivalry.connected(true);
            assert_eq!(rivalry.closed(SHORT, false, false), None);
            rivalry.connected(true);
            assert_eq!(rivalry.closed(SHORT, true, false), None);
            // The attempts while it is down fail.
            assert_eq!(rivalry.closed(None, false, false), None);
        }
        for _ in 0..20 {
            // Or it is back at once, without the session.
            rivalry.connected(false);
            assert_eq!(rivalry.closed(SHORT, true, false), None);
        }
    }

    #[test]
    fn a_connection_that_lasts_ends_the_suspicion() {
        let mut rivalry = Rivalry::default();
        assert!(disputed(&mut rivalry, 5).is_some());
        assert_eq!(rivalry.closed(Some(UNDISPUTED), true, false), None);
        assert_eq!(disputed(&mut rivalry, 2), None);
    }
}
