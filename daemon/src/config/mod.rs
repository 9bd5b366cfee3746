//! The daemon's configuration: one TOML file, read once into checked values.
//!
//! Unknown keys are errors, every key has the default that `config/clipmarkd.toml` shows, and secrets are
//! named by path, never written here. This module reads files and checks values; it does not decide what a
//! change means for a running daemon, beyond saying which keys need a restart.

mod identity;
#[cfg(test)]
mod tests;

pub use clipmark_service::config::ConfigError;
pub use clipmark_service::mqtt::{Mqtt, Tls};
pub use clipmark_service::secret::{SecretError, SecretPath};
pub use identity::{IdentityError, device_id_from};

use crate::placement::Asked;
use crate::spool::Bounds;
use clipmark_profile::plan::Limits;
use clipmark_profile::topics::{DeviceId, GroupId};
use clipmark_service::config;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the configuration lies unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/clipmark/clipmarkd.toml";

/// Where models lie unless the configuration says otherwise.
pub const DEFAULT_MODELS: &str = "/var/lib/clipmark/models";

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The device itself.
    pub device: Device,
    /// The broker.
    pub mqtt: Mqtt,
    /// Models that requests can name.
    pub models: Models,
    /// Results on their way out.
    pub spool: Spool,
    /// How runs are carried out.
    pub run: Run,
    /// Where measured processes run.
    pub worker: Asked,
    /// Caps on the numbers of a request.
    pub limits: Limits,
}

/// The device itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// Its name on the broker; absent: made from the machine id.
    pub id: Option<DeviceId>,
    /// Groups whose requests it takes.
    pub groups: Vec<GroupId>,
    /// Where commands, runs and the spool are kept.
    pub state_dir: PathBuf,
}

impl Default for Device {
    fn default() -> Self {
        Self { id: None, groups: Vec::new(), state_dir: "/var/lib/clipmark".into() }
    }
}

/// Models that requests can name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// The directory that holds them.
    pub dir: PathBuf,
}

impl Default for Models {
    fn default() -> Self {
        Self { dir: DEFAULT_MODELS.into() }
    }
}

/// What counts as delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// An aggregator's receipt: it is stored.
    #[default]
    Receipt,
    /// The broker's acknowledgement, which does not survive the broker.
    Puback,
}

/// Whether sensor and latency series are sent beside the profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeriesPolicy {
    /// When a soak throttled.
    #[default]
    Throttled,
    /// After every run that has one.
    Always,
    /// Never.
    Never,
}

/// Results on their way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// What counts as delivered.
    pub delivery: Delivery,
    /// Whether series are sent beside the profile.
    pub series: SeriesPolicy,
    /// Most bytes on disk.
    pub max_bytes: u64,
    /// Bytes that must be free for a new run to be accepted.
    pub reserve_bytes: u64,
    /// Size at which a new segment file is begun.
    pub segment_bytes: u64,
    /// Records that may be under way without a receipt.
    pub window: u32,
    /// Seconds without a receipt after which records are sent again; doubles up to an hour.
    pub resend_s: u32,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            delivery: Delivery::default(),
            series: SeriesPolicy::default(),
            max_bytes: 64 << 20,
            reserve_bytes: 4 << 20,
            segment_bytes: 4 << 20,
            window: 64,
            resend_s: 60,
        }
    }
}

impl Spool {
    /// The bounds in the spool's own terms.
    #[must_use]
    pub const fn bounds(&self) -> Bounds {
        Bounds {
            segment_bytes: self.segment_bytes,
            max_bytes: self.max_bytes,
            reserve_bytes: self.reserve_bytes,
        }
    }
}

/// How runs are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// Commands that may wait behind the running one.
    pub queue: u32,
    /// Interruptions (power loss, a killed daemon) after which a run is given up.
    pub attempts: u32,
    /// Longest run in seconds.
    pub longest_s: u32,
    /// Seconds for which a stopping daemon waits for a run to be checkpointed.
    pub stop_grace_s: u32,
    /// Seconds between two progress messages.
    pub progress_s: u32,
    /// Seconds for which a command's status stays retained.
    pub status_expiry_s: u32,
    /// Finished runs whose evidence is kept on disk.
    pub keep: u32,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            queue: 4,
            attempts: 3,
            longest_s: 7 * 86_400,
            stop_grace_s: 30,
            progress_s: 5,
            status_expiry_s: 7 * 86_400,
            keep: 3,
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = config::read(path)?;
        Self::parse(&text, path)
    }

    /// Reads and checks a text; `path` is named in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = config::parse(text, path)?;
        config.check(path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let (spool, run) = (&self.spool, &self.run);
        let ranges = [
            ("spool.segment_bytes", spool.segment_bytes, 64 << 10, 1 << 30),
            ("spool.reserve_bytes", spool.reserve_bytes, 64 << 10, spool.max_bytes / 2),
            ("spool.window", spool.window.into(), 1, 4096),
            ("spool.resend_s", spool.resend_s.into(), 1, 3600),
            ("run.queue", run.queue.into(), 0, 1000),
            ("run.attempts", run.attempts.into(), 1, 100),
            ("run.longest_s", run.longest_s.into(), 1, 30 * 86_400),
            ("run.progress_s", run.progress_s.into(), 1, 3600),
            ("worker.memory_max_bytes", self.worker.memory_max_bytes.unwrap_or(1 << 30), 16 << 20, 1 << 40),
        ];
        config::check(path, &self.mqtt.ranges(), &self.mqtt.pairs())?;
        config::check(path, &ranges, &[])
    }

    /// Names of the credentials that systemd must hand over.
    #[must_use]
    pub fn credentials(&self) -> BTreeSet<String> {
        let (mqtt, tls) = (&self.mqtt, &self.mqtt.tls);
        let secrets =
            [&mqtt.username_file, &mqtt.password_file, &tls.ca, &tls.client_certificate, &tls.client_key];
        let names = secrets.into_iter().flatten().filter_map(SecretPath::credential);
        names.map(str::to_owned).collect()
    }

    /// Keys that differ from `running` and take effect only after a restart.
    #[must_use]
    pub fn needs_restart(&self, running: &Self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        if self.device.id != running.device.id {
            keys.push("device.id");
        }
        if self.device.state_dir != running.device.state_dir {
            keys.push("device.state_dir");
        }
        keys
    }
}
