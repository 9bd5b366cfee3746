//! `clipmark-fleet devices`: every device at a glance.

use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::store::{DeviceQuery, Store};
use clipmark_profile::topics::GroupId;

/// Lists devices.
#[derive(Debug, clap::Args)]
pub struct Devices {
    /// Only members of this group
    #[arg(long)]
    group: Option<GroupId>,
    /// Only this board model
    #[arg(long)]
    board: Option<String>,
}

impl Devices {
    /// Prints one line a device.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let storage = |error| CommandError::new(ExitCode::Storage, error);
        let mut store = Store::open(&config.store).map_err(storage)?;
        let query = DeviceQuery {
            group: self.group.clone(),
            board: self.board.clone(),
            limit: u32::MAX,
            ..DeviceQuery::default()
        };
        let devices = store.devices(&query).map_err(storage)?;
        #[expect(clippy::print_stdout, reason = "the command's output")]
        for device in &devices {
            println!("{}", device.device);
        }
        Ok(if devices.is_empty() { ExitCode::NothingFound } else { ExitCode::Success })
    }
}
