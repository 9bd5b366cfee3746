//! The configuration of clipmark-fleet: one TOML file, read once into checked values.
//!
//! Unknown keys are errors, every key has the default that `config/fleet.toml` shows, and secrets are named
//! by path, never written here. A file that does not exist at the default place means the defaults.

use clipmark_profile::topics::{AggregatorId, DeviceId, GroupId};
pub use clipmark_service::config::ConfigError;
use clipmark_service::config::{self, Pair, Range};
use clipmark_service::mqtt::{Mqtt, Tls};
use clipmark_service::secret::SecretPath;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where the configuration lies unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/clipmark/fleet.toml";

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The broker.
    pub mqtt: Mqtt,
    /// The aggregator itself.
    pub aggregator: Aggregator,
    /// The pages that `serve` offers.
    pub dashboard: Dashboard,
    /// Where profiles are kept.
    pub store: Store,
    /// After how long what is forgotten.
    pub retention: RetentionDays,
    /// Which boards may read the requests to a group, for the broker's rules.
    pub groups: BTreeMap<GroupId, Vec<DeviceId>>,
    /// The file that this was read from; absent where the defaults stand in for a missing one.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// The aggregator itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Aggregator {
    /// Its name on the broker. Aggregators that share a store each have their own.
    pub id: AggregatorId,
    /// The name of the shared subscription; empty: a subscription of its own.
    pub share: String,
    /// Messages that the broker may send before the first of them is stored.
    pub receive_maximum: u16,
    /// Most messages in one transaction.
    pub batch: u32,
}

impl Default for Aggregator {
    fn default() -> Self {
        Self {
            id: "fleet".parse().expect("the default is an identifier"),
            share: "clipmark".into(),
            receive_maximum: 1000,
            batch: 500,
        }
    }
}

/// The pages that `serve` offers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dashboard {
    /// Whether they are offered at all.
    pub enabled: bool,
    /// Where they are.
    pub address: SocketAddr,
    /// The token that is asked for, by file; required where other machines reach the address.
    pub token_file: Option<SecretPath>,
    /// Whether `/metrics` has a line per device.
    pub per_device_metrics: bool,
}

impl Default for Dashboard {
    fn default() -> Self {
        let address = (Ipv4Addr::LOCALHOST, 8780).into();
        Self { enabled: true, address, token_file: None, per_device_metrics: false }
    }
}

/// Where profiles are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The SQLite file.
    pub path: PathBuf,
    /// A PostgreSQL database instead, as a libpq connection string or URL without the password.
    pub postgres: Option<String>,
    /// The password for it, by file.
    pub postgres_password_file: Option<SecretPath>,
    /// Encryption of the connection to it.
    pub postgres_tls: Tls,
    /// Mebibytes of contents that one device may store.
    pub device_mib: u32,
    /// Gibibytes of contents that all devices may store together.
    pub total_gib: u32,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            path: "/var/lib/clipmark-fleet/fleet.db".into(),
            postgres: None,
            postgres_password_file: None,
            postgres_tls: Tls::default(),
            device_mib: 1024,
            total_gib: 512,
        }
    }
}

/// After how many days what is forgotten; 0: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionDays {
    /// The bytes of profiles, series and events. Points and soaks stay.
    pub blob_days: u32,
    /// Profiles with their points, and series and events.
    pub profile_days: u32,
    /// Statuses of commands.
    pub command_days: u32,
    /// Messages that could not be understood.
    pub poison_days: u32,
}

impl Default for RetentionDays {
    fn default() -> Self {
        Self { blob_days: 90, profile_days: 0, command_days: 90, poison_days: 30 }
    }
}

impl Config {
    /// Reads and checks a file. One that is missing at [`DEFAULT_PATH`] means the defaults.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        if path == Path::new(DEFAULT_PATH) && !path.exists() {
            return Ok(Self::default());
        }
        let config = Self::parse(&config::read(path)?, path)?;
        Ok(Self { file: Some(path.to_owned()), ..config })
    }

    /// Where its keys are set, in words.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.file {
            Some(file) => file.display().to_string(),
            None => format!("{DEFAULT_PATH} (there is no such file; --config names another)"),
        }
    }

    /// Reads and checks a text; `path` is named in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = config::parse(text, path)?;
        let ranges: [Range; 4] = [
            ("store.device_mib", config.store.device_mib.into(), 1, 1 << 30),
            ("store.total_gib", config.store.total_gib.into(), 1, 1 << 30),
            ("aggregator.receive_maximum", config.aggregator.receive_maximum.into(), 1, 65_535),
            ("aggregator.batch", config.aggregator.batch.into(), 1, 10_000),
        ];
        let (store, tls) = (&config.store, &config.store.postgres_tls);
        let pairs: [Pair; 2] = [
            (
                "store.postgres_password_file",
                store.postgres_password_file.is_some(),
                "store.postgres",
                store.postgres.is_some(),
            ),
            ("store.postgres_tls.ca", tls.ca.is_some(), "store.postgres_tls.enabled", tls.enabled),
        ];
        config::check(path, &config.mqtt.ranges(), &config.mqtt.pairs())?;
        config::check(path, &ranges, &pairs)?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../config/fleet.toml");

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("fleet.toml"))
    }

    #[test]
    fn the_shipped_file_shows_the_defaults() {
        assert_eq!(parse(SHIPPED).unwrap(), Config::default());
        // What is commented out is usable too.
        let shown: String = SHIPPED
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(parse(&shown.replace("enabled = false", "enabled = true")).is_ok());
    }

    #[test]
    fn a_file_that_was_read_is_named_and_one_that_is_missing_is_said_to_be() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(Config::load(file.path()).unwrap().place(), file.path().display().to_string());
        assert!(Config::default().place().contains("/etc/clipmark/fleet.toml (there is no such file"));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let error = parse("[store]\npth = \"x\"").unwrap_err();
        assert!(format!("{error:?}").contains("pth"), "{error:?}");
    }

    #[test]
    fn a_password_without_a_database_is_an_error() {
        let error = parse("[store]\npostgres_password_file = \"/x\"").unwrap_err().to_string();
        assert!(
            error.contains("store.postgres_password_file") && error.contains("store.postgres"),
            "{error}"
        );
    }
}
