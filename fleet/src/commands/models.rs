//! `clipmark-fleet models`: what has been measured, or what the devices can measure.

use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::operator::roster;
use crate::printed::{ago, broker_failed, columns, counted, failed, note, nothing, opened, or_dash, print};
use crate::store::ModelRow;
use clipmark_service::clock::unix_ms;
use std::collections::BTreeMap;

/// Lists models: those that were measured, or with --remote those that devices can be asked to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet models
  clipmark-fleet models --remote")]
pub struct Models {
    /// Ask the broker which models the devices have
    #[arg(long)]
    remote: bool,
}

fn row(cells: [String; 5]) -> Vec<String> {
    cells.to_vec()
}

fn digest(of: Option<&String>) -> String {
    or_dash(of.map(|digest| digest.chars().take(16).collect::<String>()).as_deref())
}

fn measured_row(model: ModelRow, now: u64) -> Vec<String> {
    let (devices, profiles) = (model.devices.to_string(), model.profiles.to_string());
    let sha256 = digest(model.model_sha256.as_ref());
    row([model.model, sha256, devices, profiles, ago(model.last_received_unix_ms, now)])
}

/// What is in the store.
fn measured(config: &Config) -> Result<ExitCode, CommandError> {
    let mut store = opened(config)?;
    let now = unix_ms();
    let headings = ["model", "sha256", "devices", "profiles", "last"].map(str::to_owned);
    let models = store.models().map_err(failed(ExitCode::Storage))?;
    let is_empty = models.is_empty();
    let of = models.into_iter().map(|model| measured_row(model, now));
    print(&columns(&std::iter::once(row(headings)).chain(of).collect::<Vec<_>>()))?;
    if is_empty { nothing("no model has been measured", &mut store) } else { Ok(ExitCode::Success) }
}

/// What the devices say that they have.
fn offered(config: &Config) -> Result<ExitCode, CommandError> {
    let known = roster(config).map_err(broker_failed(config))?;
    let boards = known.len() as u64;
    let mut devices: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
    for model in known.into_values().filter_map(|entry| entry.info).flat_map(|info| info.models) {
        *devices.entry((model.name, model.sha256)).or_default() += 1;
    }
    let is_empty = devices.is_empty();
    let headings = ["model", "sha256", "devices", "", ""].map(str::to_owned);
    let of = devices.into_iter().map(|((name, sha256), count)| {
        row([name, digest(sha256.as_ref()), count.to_string(), String::new(), String::new()])
    });
    print(&columns(&std::iter::once(row(headings)).chain(of).collect::<Vec<_>>()))?;
    if is_empty {
        let boards = counted(boards, "device");
        note(&format!(
            "no device lists a model; the broker knows {boards}; they come when `clipmarkd serve` reaches it"
        ));
        return Ok(ExitCode::NothingFound);
    }
    Ok(ExitCode::Success)
}

impl Models {
    /// Prints one line a model and digest.
    ///
    /// # Errors
    /// When the store cannot be read or the broker cannot be reached.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        if self.remote { offered(config) } else { measured(config) }
    }
}
