//! `clipmark-fleet watch`: what happens in the fleet, as it happens.

use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::ingest::{Inbound, read};
use crate::operator::Operator;
use crate::printed::{broker_failed, print_line};
use crate::progress::{progress_line, status_line};
use crate::store::{Content, Message as Stored};
use clipmark_profile::message::Availability;
use clipmark_profile::text::clean;
use clipmark_profile::topics::{DeviceId, every_device_filter};
use std::time::Duration;

/// Shows states, progress, statuses and results as they come, until Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet watch
  clipmark-fleet watch --device orin-7,orin-8
  clipmark-fleet watch --device orin-7 --lines 1")]
pub struct Watch {
    /// Only these devices, separated by commas
    #[arg(long, value_delimiter = ',')]
    device: Vec<DeviceId>,
    /// End after so many lines
    #[arg(long, value_name = "LINES")]
    lines: Option<u64>,
}

fn line(inbound: Inbound) -> Option<(DeviceId, String)> {
    Some(match inbound {
        Inbound::Progress(device, progress) => {
            let far = match (progress.point, progress.points) {
                (Some(point), Some(points)) => format!("{point}/{points} "),
                _ => String::new(),
            };
            (device, format!("{far}{}", progress_line(&progress)))
        }
        Inbound::Store(Stored::State(device, state)) => {
            let name = match state.state {
                Availability::Online => "online",
                Availability::Busy => "busy",
                Availability::Offline => "offline",
            };
            let reasons = state.reasons.iter().map(|reason| format!("; {reason}"));
            (device, format!("{name}{}", reasons.collect::<String>()))
        }
        Inbound::Store(Stored::Status(device, status)) => {
            let line = format!("{} {} {}", status.operation, status.command, status_line(&status));
            (device, line)
        }
        Inbound::Store(Stored::Record(record)) => {
            let what = match &record.content {
                Some(Content::Profile(rows)) => format!("profile of run {}", rows.run_id),
                Some(Content::Series { run_id }) => format!("series of run {run_id}"),
                _ => record.kind.to_string(),
            };
            (record.device, format!("{what}, {} bytes", record.bytes.len()))
        }
        _ => return None,
    })
}

/// Longest line that is printed.
const LINE: usize = 2000;

impl Watch {
    /// Prints one line a message.
    ///
    /// # Errors
    /// When the broker cannot be reached or the connection ends.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let broker = broker_failed(config);
        let filters = ["state", "progress", "cmd/+/+/status", "up/+"].map(every_device_filter).to_vec();
        let mut operator = Operator::connect(config, filters).map_err(&broker)?;
        let mut printed = 0;
        while self.lines.is_none_or(|lines| printed < lines) {
            let Some(received) = operator.receive(Duration::from_secs(60)).map_err(&broker)? else {
                continue;
            };
            let inbound = read(&received.topic, &received.payload, received.content_type.as_deref());
            let Some((device, text)) = line(inbound) else { continue };
            if self.device.is_empty() || self.device.contains(&device) {
                print_line(&format!("{device}: {}", clean(&text, LINE)))?;
                printed += 1;
            }
        }
        Ok(ExitCode::Success)
    }
}
