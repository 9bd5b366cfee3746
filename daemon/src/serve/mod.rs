//! `clipmarkd serve`: the loop that ties session, spool, broker and child processes together.
//!
//! One thread, one `select!` over a closed set of events; each is handled to its end before the next, and
//! after each whatever can be sent is sent. Decisions are made by components that own what they decide on: about
//! commands by [`crate::session`], about sending by `delivery`, about meaning by `inbound`; `server` tells each what the
//! others found. What must not be
//! lost is on disk before anybody is told of it.

mod clock;
mod concerns;
mod delivery;
mod description;
mod execution;
mod inbound;
mod messages;
mod runs;
mod server;
mod startup;
mod store;

pub use startup::StartError;

use crate::config::Config;
use crate::service::{self, Heartbeat, Supervisor};
use clipmark_service::logging::Repeated;
use clipmark_service::outcome::in_one_line;
use server::Server;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

/// A task is stuck when it shows no sign of life for so long. The main loop beats at least every 10 s.
const STUCK: Duration = Duration::from_secs(40);

/// The first and the longest pause before a start that a disk refused is tried again. Shorter than [`STUCK`].
const START_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// The signals that a daemon answers to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

/// What a signal asks for.
enum Asked {
    Stop(&'static str),
    Reload,
}

impl Signals {
    fn new() -> Result<Self, StartError> {
        let of = |kind| signal(kind).map_err(StartError::Signals);
        Ok(Self {
            terminate: of(SignalKind::terminate())?,
            interrupt: of(SignalKind::interrupt())?,
            reload: of(SignalKind::hangup())?,
        })
    }

    /// The next one. Cancel-safe.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.reload.recv() => Asked::Reload,
        }
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps the daemon from starting and does not pass by itself. Afterwards nothing ends it but a signal.
pub async fn serve(path: &Path, config: Config) -> Result<(), StartError> {
    let mut supervisor = Supervisor::default();
    let beats = [supervisor.watch("main loop", STUCK), supervisor.watch("connection", STUCK)];
    let mut signals = Signals::new()?;
    let watchdog = tokio::spawn(supervisor.feed_watchdog());
    let started = start(path, config, &beats, &mut signals).await?;
    if let Some(mut server) = started {
        service::ready(&server.status_line());
        let signal = loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Stop(signal) => break signal,
                    Asked::Reload => server.reload(),
                },
                () = server.turn() => {}
            }
        };
        service::stopping();
        server.stop(signal).await;
    }
    watchdog.abort();
    Ok(())
}

/// Starts, however long the disk refuses: a service that ended would be given up after some tries, and a board whose
/// disk was full for an hour would stay away until somebody came. `None`: a signal ended the wait.
async fn start(
    path: &Path,
    mut config: Config,
    beats: &[Heartbeat; 2],
    signals: &mut Signals,
) -> Result<Option<Server>, StartError> {
    let [mut pause, longest] = START_AGAIN;
    let mut log = Repeated::default();
    loop {
        let [main, connection] = beats.clone();
        main.beat();
        connection.beat();
        let what = match Server::start(path, config.clone(), main, connection) {
            Ok(server) => return Ok(Some(server)),
            Err(error) if error.may_pass() => in_one_line(&error),
            Err(error) => return Err(error),
        };
        match log.due(&what, Instant::now()) {
            Some(_) => tracing::error!("cannot start yet, and tries again until it can: {what}"),
            None => tracing::debug!("still cannot start: {what}"),
        }
        service::ready(&format!("waiting: {what}"));
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop(_) => return Ok(None),
                Asked::Reload => match Config::load(path) {
                    Ok(changed) => config = changed,
                    Err(error) => tracing::error!("the old configuration stays in force: {}", in_one_line(&error)),
                },
            },
            () = sleep(pause) => pause = (pause * 2).min(longest),
        }
    }
}
