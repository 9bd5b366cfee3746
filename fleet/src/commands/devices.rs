//! `clipmark-fleet devices`: every device at a glance.

use crate::commands::choices::board_filter;
use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::printed::{ago, columns, failed, nothing, opened, or_dash, print};
use crate::store::{DeviceQuery, DeviceRow};
use clipmark_profile::message::Availability;
use clipmark_profile::topics::GroupId;
use clipmark_service::clock::unix_ms;

/// Lists devices: state, board, L4T, last profile, throttling.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet devices
  clipmark-fleet devices --group lab
  clipmark-fleet devices --board orin")]
pub struct Devices {
    /// Only members of this group
    #[arg(long)]
    group: Option<GroupId>,
    /// Only devices whose board model contains this text
    #[arg(long, value_parser = board_filter)]
    board: Option<String>,
}

fn cells(row: &DeviceRow, now: u64) -> Vec<String> {
    let state = row.state.as_ref().map(|state| match state.state {
        Availability::Online => "online",
        Availability::Busy => "busy",
        Availability::Offline => "offline",
    });
    let last = row.last_profile.as_ref();
    let reasons = row.state.as_ref().map(|state| state.reasons.join("; ")).unwrap_or_default();
    vec![
        row.device.to_string(),
        or_dash(state),
        or_dash(row.board.as_deref()),
        or_dash(row.l4t.as_deref()),
        or_dash(row.power_mode.as_deref()),
        last.map_or_else(|| "-".to_owned(), |last| ago(last.received_unix_ms, now)),
        or_dash(last.and_then(|last| last.throttled).map(|throttled| if throttled { "yes" } else { "no" })),
        last.map_or("", |last| if last.simulated { "simulated" } else { "" }).to_owned(),
        reasons,
    ]
}

impl Devices {
    /// Prints one line a device.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let mut store = opened(config)?;
        let query = DeviceQuery {
            group: self.group.clone(),
            board: self.board.clone(),
            limit: u32::MAX,
            ..DeviceQuery::default()
        };
        let devices = store.devices(&query).map_err(failed(ExitCode::Storage))?;
        let headings =
            ["device", "state", "board", "l4t", "power mode", "last profile", "throttled", "", "concerns"];
        let mut rows = vec![headings.map(str::to_owned).to_vec()];
        let now = unix_ms();
        rows.extend(devices.iter().map(|row| cells(row, now)));
        print(&columns(&rows))?;
        if devices.is_empty() {
            return nothing("no device matches", &mut store);
        }
        Ok(ExitCode::Success)
    }
}
