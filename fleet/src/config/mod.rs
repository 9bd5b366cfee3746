//! The configuration of clipmark-fleet: one TOML file, read once into checked values.
//!
//! Unknown keys are errors, every key has the default that `config/fleet.toml` shows, and secrets are named
//! by path, never written here. A file that does not exist at the default place means the defaults.

use serde::Deserialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the configuration lies unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/clipmark/fleet.toml";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}; check that it exists and may be read", path.display())]
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
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where profiles are kept.
    pub store: Store,
}

/// Where profiles are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The SQLite file.
    pub path: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Self { path: "/var/lib/clipmark-fleet/fleet.db".into() }
    }
}

impl Config {
    /// Reads and checks a file. One that is missing at [`DEFAULT_PATH`] means the defaults.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound && path == Path::new(DEFAULT_PATH) => {
                Ok(Self::default())
            }
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    /// Reads and checks a text; `path` is named in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }
}
