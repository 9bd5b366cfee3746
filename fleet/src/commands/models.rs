//! `clipmark-fleet models`: what has been measured, or what the devices can measure.

use crate::commands::printed::{ago, columns, failed, or_dash, print};
use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::ingest::now_unix_ms;
use crate::operator::roster;
use crate::store::Store;
use std::collections::BTreeMap;

/// Lists models: those that were measured, or with --remote those that devices can be asked to measure.
#[derive(Debug, clap::Args)]
pub struct Models {
    /// Ask the broker which models the devices have
    #[arg(long)]
    remote: bool,
}

fn row(cells: [String; 5]) -> Vec<String> {
    cells.to_vec()
}

fn measured(config: &Config) -> Result<Vec<Vec<String>>, CommandError> {
    let mut store = Store::open(&config.store).map_err(failed(ExitCode::Storage))?;
    let now = now_unix_ms();
    let headings = ["model", "sha256", "devices", "profiles", "last"].map(str::to_owned);
    let models = store.models().map_err(failed(ExitCode::Storage))?;
    let of = models.into_iter().map(|model| {
        let digest = model.model_sha256.map(|digest| digest.chars().take(16).collect::<String>());
        let (devices, profiles) = (model.devices.to_string(), model.profiles.to_string());
        row([
            model.model,
            or_dash(digest.as_deref()),
            devices,
            profiles,
            ago(model.last_received_unix_ms, now),
        ])
    });
    Ok(std::iter::once(row(headings)).chain(of).collect())
}

fn offered(config: &Config) -> Result<Vec<Vec<String>>, CommandError> {
    let known = roster(config).map_err(failed(ExitCode::Broker))?;
    let mut devices: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
    for model in known.into_values().filter_map(|entry| entry.info).flat_map(|info| info.models) {
        *devices.entry((model.name, model.sha256)).or_default() += 1;
    }
    let headings = ["model", "sha256", "devices", "", ""].map(str::to_owned);
    let of = devices.into_iter().map(|((name, digest), count)| {
        let digest = digest.map(|digest| digest.chars().take(16).collect::<String>());
        row([name, or_dash(digest.as_deref()), count.to_string(), String::new(), String::new()])
    });
    Ok(std::iter::once(row(headings)).chain(of).collect())
}

impl Models {
    /// Prints one line a model and digest.
    ///
    /// # Errors
    /// When the store cannot be read or the broker cannot be reached.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let rows = if self.remote { offered(config)? } else { measured(config)? };
        print(&columns(&rows))?;
        Ok(if rows.len() > 1 { ExitCode::Success } else { ExitCode::NothingFound })
    }
}
