//! What an operator should look at, and how often the log says it.

use clipmark_service::logging::Repeated;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Concern {
    Configuration,
    Connection,
    Publishing,
    SetBack,
    Spool,
    Subscription,
}

/// What stands, by what it is about.
#[derive(Default)]
pub(super) struct Concerns {
    standing: BTreeMap<Concern, String>,
    log: Repeated,
}

impl Concerns {
    /// Something that an operator should know: it is logged and stands until it is relieved. Returns whether it is new.
    pub(super) fn raise(&mut self, about: Concern, what: String) -> bool {
        if self.standing.get(&about) == Some(&what) {
            return false;
        }
        // One that changes its numbers is the same trouble.
        let kind =
            format!("{about:?} {}", what.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default());
        match self.log.due(&kind, Instant::now()) {
            Some(_) => tracing::error!(?about, "{what}"),
            None => tracing::debug!(?about, "{what}"),
        }
        self.standing.insert(about, what);
        true
    }

    /// It is no longer so. Returns whether it was.
    pub(super) fn relieve(&mut self, about: Concern) -> bool {
        let stood = self.standing.remove(&about).is_some();
        if stood {
            tracing::info!(?about, "no longer so");
            self.log.clear();
        }
        stood
    }

    /// Trouble with the connection that time may end by itself. It is logged ever more rarely.
    pub(super) fn passing(&mut self, what: &str, pause: Duration) {
        match self.log.due(what, Instant::now()) {
            Some(left_out) => tracing::warn!(?pause, left_out, "{what}"),
            None => tracing::debug!(?pause, "{what}"),
        }
    }

    /// What stands, in words.
    pub(super) fn words(&self) -> Vec<String> {
        self.standing.values().cloned().collect()
    }
}
