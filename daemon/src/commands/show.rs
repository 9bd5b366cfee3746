//! `clipmarkd show`: prints any profile, wherever it came from.

use super::{print, print_profile};
use crate::exit_codes::{CommandError, ExitCode};
use crate::run::outputs;
use clipmark_profile::series::Series;
use clipmark_profile::summary::Profile;
use clipmark_profile::wire;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  clipmarkd show clipmark-out/3            the profile of a run
  clipmarkd show profile.cbor --json       a profile that came over MQTT, as JSON";

/// Arguments of `clipmarkd show`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ShowArgs {
    /// profile.cbor, profile.json, or the folder of a run
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Print it as JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// Why a profile cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The file cannot be read.
    #[error("cannot read {}; check the path, or give profile.cbor, profile.json or the folder of a run", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is JSON, but no profile.
    #[error(
        "{} is JSON but no profile of this version; `clipmarkd replay DIR` computes it anew from its record",
        path.display()
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// The file is neither JSON nor a packed profile.
    #[error("{} is no profile: it is cut short, damaged, or another kind of file", path.display())]
    Packed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: wire::WireError,
    },
}

impl ShowArgs {
    /// Reads the profile and prints it.
    ///
    /// # Errors
    /// See [`ShowError`].
    pub fn execute(&self) -> Result<ExitCode, CommandError> {
        let profile = read(&self.path).map_err(|error| CommandError::new(ExitCode::Storage, error))?;
        if self.json {
            print(&outputs::json(&profile))?;
        } else {
            print_profile(&profile, &series_beside(&self.path, &profile))?;
        }
        Ok(ExitCode::Success)
    }
}

/// The soaks of `profile` over time, where their files lie beside it. One that is missing, damaged or of
/// another run is left out: the profile stands without it.
fn series_beside(path: &Path, profile: &Profile) -> Vec<Series> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let one = |index: usize| {
        let bytes = std::fs::read(folder.join(outputs::series_file(index))).ok()?;
        wire::decode_series(&bytes).ok().filter(|series| series.run_id == profile.run.id)
    };
    (0..profile.soaks.len()).map_while(one).collect()
}

/// The profile at `path`, told apart by its content: JSON begins with a brace.
///
/// # Errors
/// See [`ShowError`].
pub fn read(path: &Path) -> Result<Profile, ShowError> {
    let path = if path.is_dir() { path.join(outputs::PROFILE_JSON) } else { path.to_owned() };
    let bytes = std::fs::read(&path).map_err(|source| ShowError::Read { path: path.clone(), source })?;
    let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if is_json {
        return serde_json::from_slice(&bytes).map_err(|source| ShowError::Json { path, source });
    }
    wire::decode_profile(&bytes).map_err(|source| ShowError::Packed { path, source })
}
