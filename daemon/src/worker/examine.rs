//! Which backends this machine can use.

use crate::backend;
use crate::worker::handle::{Trouble, Worker, WorkerConfig};
use crate::worker::protocol::Unusable;
use clipmark_profile::record::{BackendRecord, Cause, Failure, Stage};
use std::time::Duration;

/// A backend's name and the outcome of its check.
pub type BackendCheck = (String, Result<BackendRecord, Unusable>);

/// Longest time for one backend to say whether it can be used.
const BACKEND_LIMIT: Duration = Duration::from_secs(60);

/// Asks every backend, each in a child process: loading a broken runtime library can kill its process.
#[must_use]
pub fn examine_backends() -> Vec<BackendCheck> {
    let names = backend::registry().into_iter().map(|backend| backend.name());
    let ask = |name: &str| {
        let settings = WorkerConfig::own(None, BACKEND_LIMIT, BACKEND_LIMIT);
        let died = |failure: Failure| Unusable { failure, missing: None };
        let mut worker = Worker::spawn(&settings).map_err(died)?;
        worker.examine(name).unwrap_or_else(|trouble| match trouble {
            Trouble::Failed(failure) => Err(died(failure)),
            // Nobody stops this worker.
            Trouble::Stopped => Err(died(Failure {
                stage: Stage::Load,
                cause: Cause::BackendUnavailable,
                message: "the check was stopped".to_owned(),
            })),
        })
    };
    names.map(|name| (name.to_owned(), ask(name))).collect()
}
