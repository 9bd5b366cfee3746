//! `clipmark-fleet profiles`: what is stored, and a profile as it came.

use crate::commands::printed::{ago, columns, failed, or_dash, print};
use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::ingest::now_unix_ms;
use crate::store::{ProfileId, ProfileQuery, ProfileRow, Store};
use clipmark_profile::topics::DeviceId;
use std::fs;
use std::path::PathBuf;

/// Lists profiles, newest first, or writes one to a file.
#[derive(Debug, clap::Args)]
pub struct Profiles {
    /// Only of this device
    #[arg(long)]
    device: Option<DeviceId>,
    /// Only with this model
    #[arg(long)]
    model: Option<String>,
    /// Only those whose soak throttled
    #[arg(long)]
    throttled: bool,
    /// Most lines
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Write the profile with this number, as it came, to --output; `clipmarkd show` reads it
    #[arg(long, value_name = "NUMBER", requires = "output")]
    get: Option<i64>,
    /// Where to
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn cells(row: &ProfileRow, now: u64) -> Vec<String> {
    let mut marks = Vec::new();
    for (is_set, mark) in
        [(row.throttled, "throttled"), (row.partial, "partial"), (row.simulated, "simulated")]
    {
        if is_set {
            marks.push(mark);
        }
    }
    vec![
        row.id.0.to_string(),
        row.device.to_string(),
        ago(row.received_unix_ms, now),
        row.mode.clone(),
        format!("{}/{}", row.measured, row.points),
        or_dash(row.board.as_deref()),
        or_dash(row.l4t.as_deref()),
        or_dash(row.power_mode.as_deref()),
        marks.join(","),
    ]
}

impl Profiles {
    fn write(&self, store: &mut Store, id: i64, output: &PathBuf) -> Result<ExitCode, CommandError> {
        let bytes = store.profile_bytes(ProfileId(id)).map_err(failed(ExitCode::Storage))?;
        let Some(bytes) = bytes else {
            let what = format!("there is no profile {id}, or retention has dropped its bytes");
            return Err(CommandError::new(ExitCode::NothingFound, what));
        };
        fs::write(output, bytes).map_err(|error| {
            let what = format!("cannot write {}: {error}", output.display());
            CommandError::new(ExitCode::Storage, what)
        })?;
        Ok(ExitCode::Success)
    }

    /// Prints one line a profile.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let mut store = Store::open(&config.store).map_err(failed(ExitCode::Storage))?;
        if let (Some(id), Some(output)) = (self.get, &self.output) {
            return self.write(&mut store, id, output);
        }
        let query = ProfileQuery {
            device: self.device.clone(),
            model: self.model.clone(),
            throttled: self.throttled.then_some(true),
            limit: self.limit,
            ..ProfileQuery::default()
        };
        let profiles = store.profiles(&query).map_err(failed(ExitCode::Storage))?;
        let now = now_unix_ms();
        let headings =
            ["profile", "device", "received", "mode", "points", "board", "l4t", "power mode", "marks"];
        let mut rows = vec![headings.map(str::to_owned).to_vec()];
        rows.extend(profiles.iter().map(|row| cells(row, now)));
        print(&columns(&rows))?;
        Ok(if profiles.is_empty() { ExitCode::NothingFound } else { ExitCode::Success })
    }
}
