//! `clipmark-fleet profiles`: what is stored, and a profile as it came.

use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::printed::{ago, columns, failed, note_limit, nothing, opened, or_dash, print};
use crate::store::{ProfileId, ProfileQuery, ProfileRow, Store};
use clipmark_profile::topics::DeviceId;
use clipmark_service::clock::unix_ms;
use std::fs;
use std::path::PathBuf;

/// Lists profiles, newest first, or writes one to a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet profiles --device orin-7
  clipmark-fleet profiles --model joint --throttled --limit 10
  clipmark-fleet profiles --get 118 --out profile.cbor && clipmarkd show profile.cbor")]
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
    /// List at most so many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Write the profile with this number, as it came, to --out; `clipmarkd show` reads it
    #[arg(long, value_name = "NUMBER", requires = "out")]
    get: Option<i64>,
    /// Write the profile of --get to this file
    #[arg(long, value_name = "FILE", alias = "output", requires = "get")]
    out: Option<PathBuf>,
}

fn cells(row: &ProfileRow, now: u64) -> Vec<String> {
    let mut marks = Vec::new();
    for (is_set, mark) in
        [(row.throttled == Some(true), "throttled"), (row.partial, "partial"), (row.simulated, "simulated")]
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
    fn write(&self, store: &mut Store, id: i64, out: &PathBuf) -> Result<ExitCode, CommandError> {
        let bytes = store.profile_bytes(ProfileId(id)).map_err(failed(ExitCode::Storage))?;
        let Some(bytes) = bytes else {
            let what = format!(
                "there is no profile {id}, or retention has dropped its bytes; `clipmark-fleet profiles` lists them"
            );
            return Err(CommandError::new(ExitCode::NothingFound, what));
        };
        fs::write(out, bytes).map_err(|error| {
            let what =
                format!("cannot write {}: {error}; check who may write there and for room", out.display());
            CommandError::new(ExitCode::Storage, what)
        })?;
        Ok(ExitCode::Success)
    }

    /// Prints one line a profile.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let mut store = opened(config)?;
        if let (Some(id), Some(out)) = (self.get, &self.out) {
            return self.write(&mut store, id, out);
        }
        let query = ProfileQuery {
            device: self.device.clone(),
            model: self.model.clone(),
            throttled: self.throttled.then_some(true),
            limit: self.limit,
            ..ProfileQuery::default()
        };
        let profiles = store.profiles(&query).map_err(failed(ExitCode::Storage))?;
        let now = unix_ms();
        let headings =
            ["profile", "device", "received", "mode", "points", "board", "l4t", "power mode", "marks"];
        let mut rows = vec![headings.map(str::to_owned).to_vec()];
        rows.extend(profiles.iter().map(|row| cells(row, now)));
        print(&columns(&rows))?;
        if profiles.is_empty() {
            return nothing("no profile matches", &mut store);
        }
        note_limit(profiles.len(), self.limit);
        Ok(ExitCode::Success)
    }
}
