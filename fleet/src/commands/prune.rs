//! `clipmark-fleet prune`: forgets what is too old, now.

use crate::config::{Config, RetentionDays};
use crate::exit_codes::{CommandError, ExitCode};
use crate::printed::{failed, opened, print_line};
use crate::store::Retention;
use clipmark_service::clock::unix_ms;

/// Forgets what is older than the configuration's [retention], or than these numbers of days. `serve` does
/// so every hour.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet prune
  clipmark-fleet prune --blob-days 30
  clipmark-fleet prune --profile-days 365")]
pub struct Prune {
    /// Drop the bytes of profiles, series and events; points stay
    #[arg(long, value_name = "DAYS")]
    blob_days: Option<u32>,
    /// Drop profiles with their points, series and events
    #[arg(long, value_name = "DAYS")]
    profile_days: Option<u32>,
}

impl Prune {
    /// Prints what was forgotten.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let mut store = opened(config)?;
        let days = RetentionDays {
            blob_days: self.blob_days.unwrap_or(config.retention.blob_days),
            profile_days: self.profile_days.unwrap_or(config.retention.profile_days),
            ..config.retention
        };
        let pruned = store.prune(&Retention::from(days), unix_ms()).map_err(failed(ExitCode::Storage))?;
        print_line(&format!(
            "dropped the bytes of {} profiles, series and events; forgot {} profiles, {} series and events, {} \
             statuses, {} messages set aside",
            pruned.blobs, pruned.profiles, pruned.attachments, pruned.commands, pruned.poison
        ))?;
        Ok(ExitCode::Success)
    }
}
