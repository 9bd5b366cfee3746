//! `clipmark-fleet cancel`: gives a command up.

use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::ingest::{Inbound, read};
use crate::operator::{Operator, cancellation};
use crate::printed::{broker_failed, print_line};
use crate::store::Message as Stored;
use clipmark_profile::topics::{CommandId, DeviceId, OperationName, every_device_filter};
use std::collections::BTreeMap;
use std::time::Duration;

/// After so long without a message the broker has sent what it retains.
const QUIET: Duration = Duration::from_millis(700);

/// Gives a command up on every device that has not finished it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet cancel c-64d1f0a2b3c4d-1f2e
  clipmark-fleet cancel c-64d1f0a2b3c4d-1f2e --device orin-7")]
pub struct Cancel {
    /// The command's id, as `trigger` prints it
    command: CommandId,
    /// Only on these devices, separated by commas
    #[arg(long, value_delimiter = ',')]
    device: Vec<DeviceId>,
}

impl Cancel {
    /// Publishes the cancels and prints the devices.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let broker = broker_failed(config);
        let filter = every_device_filter(&format!("cmd/+/{}/status", self.command));
        let mut operator = Operator::connect(config, vec![filter]).map_err(&broker)?;
        let mut unfinished: BTreeMap<DeviceId, OperationName> = BTreeMap::new();
        while let Some(received) = operator.receive(QUIET).map_err(&broker)? {
            let read = read(&received.topic, &received.payload, received.content_type.as_deref());
            let Inbound::Store(Stored::Status(device, status)) = read else { continue };
            if status.state.is_final() {
                unfinished.remove(&device);
            } else if self.device.is_empty() || self.device.contains(&device) {
                unfinished.insert(device, status.operation);
            }
        }
        for (device, operation) in &unfinished {
            let message = cancellation(device, operation.clone(), &self.command);
            operator.publish(message).map_err(&broker)?;
            print_line(&format!("{} {device}", self.command))?;
        }
        if unfinished.is_empty() {
            let what = format!(
                "no device says that {} is waiting or running; a board that has been away since the request has no \
                 status yet and can be asked again when it is back",
                self.command
            );
            return Err(CommandError::new(ExitCode::NothingFound, what));
        }
        Ok(ExitCode::Success)
    }
}
