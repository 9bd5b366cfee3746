//! `clipmarkd replay`: the results of a run, computed again from its record.

use super::{print, print_profile};
use crate::exit_codes::{CommandError, ExitCode};
use crate::record_store;
use crate::run::outputs;
use clipmark_profile::analysis::study;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  clipmarkd replay clipmark-out/3              profile and report anew, after an update of clipmark
  clipmarkd replay clipmark-out/3 --dry-run    only look";

/// Arguments of `clipmarkd replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ReplayArgs {
    /// The folder that `run --out` wrote; it must hold record/
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print the profile as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Print only; leave profile.cbor, profile.json and report.html as they are
    #[arg(long)]
    dry_run: bool,
}

impl ReplayArgs {
    /// Reads the record, studies it and writes the results again.
    ///
    /// # Errors
    /// There is no record, it is damaged, or the results cannot be written.
    pub fn execute(&self) -> Result<ExitCode, CommandError> {
        let record =
            record_store::read(&self.folder).map_err(|error| CommandError::new(ExitCode::Storage, error))?;
        let profile = study(&record);
        let series = if self.dry_run {
            outputs::soak_series(&record, &profile)
        } else {
            outputs::write(&self.folder, &record, &profile)?
        };
        if self.json {
            print(&outputs::json(&profile))?;
        } else {
            print_profile(&profile, &series)?;
        }
        Ok(ExitCode::Success)
    }
}
