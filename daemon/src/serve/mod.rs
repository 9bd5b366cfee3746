//! `clipmarkd serve`: the loop that ties session, spool, broker and child processes together.
//!
//! One thread, one `select!` over a closed set of events; each is handled to its end before the next, and
//! after each whatever can be sent is sent. Decisions are made elsewhere: about commands in
//! [`crate::session`], about sending in `outbox` and `uplink`, about meaning in `inbound`. What must not be
//! lost is on disk before anybody is told of it.

mod broker;
mod clock;
mod description;
mod execution;
mod inbound;
mod link;
mod messages;
mod outbox;
mod runs;
mod server;
mod startup;
mod store;
mod uplink;

pub(crate) use clock::unix_ms;
pub use startup::StartError;
pub use store::StoreError;
pub(crate) use store::write_durably;

use crate::config::Config;
use crate::service::{self, Supervisor};
use server::Server;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// A task is stuck when it shows no sign of life for so long. The main loop beats at least every 10 s.
const STUCK: Duration = Duration::from_secs(40);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps the daemon from starting. Afterwards nothing ends it but a signal.
pub async fn serve(path: &Path, config: Config) -> Result<(), StartError> {
    let mut supervisor = Supervisor::default();
    let main = supervisor.watch("main loop", STUCK);
    let connection = supervisor.watch("connection", STUCK);
    let mut server = Server::start(path, config, main, connection)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let mut reload = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
    service::ready(&server.status_line());
    let watchdog = tokio::spawn(supervisor.feed_watchdog());
    loop {
        let stop = tokio::select! {
            _ = terminate.recv() => Some("SIGTERM"),
            _ = interrupt.recv() => Some("SIGINT"),
            _ = reload.recv() => {
                server.reload();
                None
            }
            () = server.turn() => None,
        };
        if let Some(signal) = stop {
            service::stopping();
            server.stop(signal).await;
            break;
        }
    }
    watchdog.abort();
    Ok(())
}
