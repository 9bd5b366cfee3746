//! The daemon's configuration: one TOML file, read once into checked values.
//!
//! Unknown keys are errors, every key has the default that `config/clipmarkd.toml` shows, and secrets are
//! named by path, never written here. This module reads files and checks values; it does not decide what a
//! change means for a running daemon, beyond saying which keys need a restart.

mod identity;
mod secret;
#[cfg(test)]
mod tests;

pub use identity::{IdentityError, device_id_from};
pub use secret::{SecretError, SecretPath};

use crate::spool::Bounds;
use clipmark_profile::plan::Limits;
use clipmark_profile::topics::{DeviceId, GroupId};
use serde::Deserialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}; check that it exists and that the daemon's user may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML, or holds an unknown key or a value of the wrong type.
    #[error("the configuration {} is not usable; mend the line shown", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and key.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value is outside its range.
    #[error("{key} = {value} in {} is outside {bound}; choose a value inside it", path.display())]
    Range {
        /// The file.
        path: PathBuf,
        /// The key, with its table.
        key: &'static str,
        /// The value given.
        value: String,
        /// What is permitted.
        bound: String,
    },
    /// Two keys contradict each other.
    #[error("{} sets {first} without {second}; set both or neither", path.display())]
    Together {
        /// The file.
        path: PathBuf,
        /// The key that is there.
        first: &'static str,
        /// The key that is missing.
        second: &'static str,
    },
}

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

/// The broker, and the terms of the session with it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mqtt {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User name, by file.
    pub username_file: Option<SecretPath>,
    /// Password, by file.
    pub password_file: Option<SecretPath>,
    /// Seconds without traffic after which the connection is probed.
    pub keepalive_s: u16,
    /// Seconds for which the broker keeps the session of an absent device.
    pub session_expiry_s: u32,
    /// Seconds for which the broker waits before it declares an absent device offline.
    pub will_delay_s: u32,
    /// Seconds for which a command's status stays retained.
    pub status_expiry_s: u32,
    /// Longest packet that is received.
    pub max_packet_bytes: u32,
    /// Shortest pause before connecting again, in milliseconds.
    pub backoff_min_ms: u32,
    /// Longest pause before connecting again, in milliseconds.
    pub backoff_max_ms: u32,
    /// Encryption.
    pub tls: Tls,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 1883,
            username_file: None,
            password_file: None,
            keepalive_s: 30,
            session_expiry_s: 7 * 86_400,
            will_delay_s: 15,
            status_expiry_s: 7 * 86_400,
            max_packet_bytes: 1 << 20,
            backoff_min_ms: 100,
            backoff_max_ms: 60_000,
            tls: Tls::default(),
        }
    }
}

/// Encryption of the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Whether the connection is encrypted.
    pub enabled: bool,
    /// Certificates that vouch for the broker, PEM; absent: the system's.
    pub ca: Option<SecretPath>,
    /// The device's own certificate chain, PEM.
    pub client_certificate: Option<SecretPath>,
    /// The device's own key, PEM.
    pub client_key: Option<SecretPath>,
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
        Self { dir: "/var/lib/clipmark/models".into() }
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
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
    /// Finished runs whose evidence is kept on disk.
    pub keep: u32,
}

impl Default for Run {
    fn default() -> Self {
        Self { queue: 4, attempts: 3, longest_s: 7 * 86_400, stop_grace_s: 30, progress_s: 5, keep: 3 }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads and checks a text; `path` is named in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        config.check(path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let (mqtt, spool, run) = (&self.mqtt, &self.spool, &self.run);
        let ranges: [(&'static str, u64, u64, u64); 15] = [
            ("mqtt.port", mqtt.port.into(), 1, 65_535),
            // The client library refuses less than 5 s.
            ("mqtt.keepalive_s", mqtt.keepalive_s.into(), 5, 3600),
            ("mqtt.session_expiry_s", mqtt.session_expiry_s.into(), 0, u64::from(u32::MAX)),
            ("mqtt.will_delay_s", mqtt.will_delay_s.into(), 0, 3600),
            ("mqtt.max_packet_bytes", mqtt.max_packet_bytes.into(), 128 << 10, 64 << 20),
            ("mqtt.backoff_min_ms", mqtt.backoff_min_ms.into(), 10, mqtt.backoff_max_ms.into()),
            ("mqtt.backoff_max_ms", mqtt.backoff_max_ms.into(), 10, 3_600_000),
            ("spool.segment_bytes", spool.segment_bytes, 64 << 10, 1 << 30),
            ("spool.reserve_bytes", spool.reserve_bytes, 64 << 10, spool.max_bytes / 2),
            ("spool.window", spool.window.into(), 1, 4096),
            ("spool.resend_s", spool.resend_s.into(), 1, 3600),
            ("run.queue", run.queue.into(), 0, 1000),
            ("run.attempts", run.attempts.into(), 1, 100),
            ("run.longest_s", run.longest_s.into(), 1, 30 * 86_400),
            ("run.progress_s", run.progress_s.into(), 1, 3600),
        ];
        for (key, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                let bound = format!("{low} to {high}");
                return Err(ConfigError::Range {
                    path: path.to_owned(),
                    key,
                    value: value.to_string(),
                    bound,
                });
            }
        }
        let together = [
            (
                "mqtt.password_file",
                mqtt.password_file.is_some(),
                "mqtt.username_file",
                mqtt.username_file.is_some(),
            ),
            (
                "mqtt.tls.client_key",
                mqtt.tls.client_key.is_some(),
                "mqtt.tls.client_certificate",
                mqtt.tls.client_certificate.is_some(),
            ),
            (
                "mqtt.tls.client_certificate",
                mqtt.tls.client_certificate.is_some(),
                "mqtt.tls.client_key",
                mqtt.tls.client_key.is_some(),
            ),
            ("mqtt.tls.ca", mqtt.tls.ca.is_some(), "mqtt.tls.enabled", mqtt.tls.enabled),
        ];
        for (first, has_first, second, has_second) in together {
            if has_first && !has_second {
                return Err(ConfigError::Together { path: path.to_owned(), first, second });
            }
        }
        Ok(())
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
