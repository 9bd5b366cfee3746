//! What has to be in place before the daemon takes requests.

use super::store::CommandStore;
use crate::config::{Config, IdentityError, device_id_from};
use crate::session::{PastCommand, QueuedCommand};
use crate::spool::{Spool, SpoolError};
use clipmark_profile::message::Epoch;
use clipmark_profile::topics::DeviceId;
use clipmark_service::clock::unix_ms;
use clipmark_service::disk;
use clipmark_service::durable::{DiskError, replace};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error("cannot {action} {} (device.state_dir): {error}; {}", path.display(), disk::advice(error))]
    StateDir {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's refusal; part of the message, because the advice depends on it.
        error: io::Error,
    },
    /// Another daemon has it.
    #[error("{} is in use by another clipmarkd; stop that one, or give this one a device.state_dir of its own", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// No name for the device.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No commands.
    #[error("cannot use the stored commands")]
    Commands(#[from] DiskError),
    /// No spool.
    #[error("cannot use the spool")]
    Spool(#[from] SpoolError),
    /// No CPUs.
    #[error("cannot find out on which CPUs this process may run")]
    Cpus(#[source] io::Error),
    /// No signal handlers.
    #[error("cannot handle signals")]
    Signals(#[source] io::Error),
}

impl StartError {
    /// Whether time may end the trouble, so that waiting is better than ending: a full disk is freed, one that is missing
    /// is mounted.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        if let Self::StateDir { error, .. } = self {
            return disk::may_pass(error);
        }
        let mut cause = Error::source(self);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref() {
                return disk::may_pass(error);
            }
            cause = error.source();
        }
        false
    }
}

/// Everything on disk that a daemon works with.
#[derive(Debug)]
pub(super) struct OnDisk {
    /// Held for as long as the daemon lives.
    pub(super) lock: File,
    pub(super) device: DeviceId,
    pub(super) store: CommandStore,
    pub(super) commands: Vec<QueuedCommand>,
    /// What is left of commands before those, the oldest first.
    pub(super) past: Vec<PastCommand>,
    pub(super) spool: Spool,
}

/// 64 random bits from the kernel.
pub(super) fn random_bits() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn lock(dir: &Path) -> Result<File, StartError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |error| StartError::StateDir { action, path, error }
    };
    fs::create_dir_all(dir).map_err(failed("create", dir))?;
    let path = dir.join("lock");
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(failed("open", &path))?;
    if disk::lock(&file).map_err(failed("lock", &path))? { Ok(file) } else { Err(StartError::InUse { path }) }
}

/// Opens the state directory.
pub(super) fn open(config: &Config) -> Result<OnDisk, StartError> {
    let dir = &config.device.state_dir;
    let lock = lock(dir)?;
    let device = match &config.device.id {
        Some(id) => id.clone(),
        None => device_id_from(Path::new("/"))?,
    };
    let (store, commands) = CommandStore::open(&dir.join("commands"))?;
    let past = store.past()?;
    let urandom = Path::new("/dev/urandom");
    let random = random_bits().map_err(|error| StartError::StateDir {
        action: "read",
        path: urandom.to_owned(),
        error,
    })?;
    let (spool, damage) =
        Spool::open(&dir.join("spool"), config.spool.bounds(), Epoch::from_random(random), unix_ms())?;
    for damage in damage {
        tracing::error!(file = %damage.path.display(), lost = ?damage.lost, "the spool was damaged: {}", damage.what);
    }
    Ok(OnDisk { lock, device, store, commands, past, spool })
}

/// Counts connections over the device's life, so that an old last will can be told from a newer state. `before` is
/// what this process counted: a full disk must not set the count back. Losing it only means that it begins anew.
pub(super) fn count_connection(dir: &Path, before: u64) -> u64 {
    let path = dir.join("connections");
    let kept = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let count = kept.unwrap_or(0).max(before) + 1;
    if let Err(error) = replace(&path, count.to_string().as_bytes()) {
        tracing::debug!(%error, "the count of connections cannot be kept");
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_at_a_time_uses_a_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(StartError::InUse { .. })));
        drop(held);
        assert!(lock(dir.path()).is_ok());
    }

    #[test]
    fn connections_are_counted_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!([(); 3].map(|()| count_connection(dir.path(), 0)), [1, 2, 3]);
        fs::write(dir.path().join("connections"), "garbage").unwrap();
        assert_eq!(count_connection(dir.path(), 0), 1);
        // A disk that takes nothing.
        fs::remove_dir_all(dir.path()).unwrap();
        assert_eq!(count_connection(dir.path(), 7), 8);
    }

    #[test]
    fn random_bits_differ() {
        assert_ne!(random_bits().unwrap(), random_bits().unwrap());
    }
}
