//! `clipmark-fleet trigger`: asks devices for a run or another operation.

use crate::commands::printed::{failed, print, print_line};
use crate::commands::progress::Board;
use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::operator::{Operator, Roster, Target, command_id, roster};
use clipmark_profile::codec::Encoding;
use clipmark_profile::message::{NoArguments, Payload};
use clipmark_profile::plan::{Limits, Request};
use clipmark_profile::topics::{CommandId, CommandLeaf, DeviceId, Operation, Topic, every_device_filter};
use clipmark_service::mqtt::{Message, Verdict};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Asks devices for a run, or for one of the other operations.
#[derive(Debug, clap::Args)]
pub struct Trigger {
    #[command(flatten)]
    target: Target,
    /// What to do: run, probe, capture, models or check
    #[arg(long, default_value = "run", value_parser = operation)]
    operation: Operation,
    /// Models, by the names that the devices list (see `models --remote`), separated by commas
    #[arg(long, value_delimiter = ',')]
    model: Vec<String>,
    /// A plan file: the request as TOML, as for `clipmarkd run --plan`
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// A device that comes back only after so many seconds does not start
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    deadline: u64,
    /// Wait until every device is done, showing how far each is
    #[arg(long)]
    wait: bool,
}

fn operation(text: &str) -> Result<Operation, String> {
    let found = Operation::ALL.into_iter().find(|operation| operation.name() == text);
    found.ok_or_else(|| "choose one of run, probe, capture, models, check".to_owned())
}

/// A request to one device, and where the device answers.
fn request_to(device: &DeviceId, of: &Asked) -> Message {
    Message {
        topic: Topic::command(device, of.operation, &of.command, CommandLeaf::Request).to_string(),
        payload: of.payload.clone(),
        retain: false,
        content_type: Encoding::Json.content_type(),
        expiry: Some(of.deadline),
        correlation: None,
    }
}

struct Asked {
    operation: Operation,
    command: CommandId,
    payload: Vec<u8>,
    deadline: Duration,
}

impl Trigger {
    fn payload(&self) -> Result<Vec<u8>, CommandError> {
        if self.operation != Operation::Run {
            if !self.model.is_empty() || self.plan.is_some() {
                return Err(CommandError::new(
                    ExitCode::Usage,
                    "--model and --plan belong to --operation run",
                ));
            }
            return NoArguments {}.to_bytes().map_err(failed(ExitCode::Usage));
        }
        let mut request = match &self.plan {
            None => Request::default(),
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    let place = path.display();
                    CommandError::new(ExitCode::Usage, format!("cannot read the plan {place}: {error}"))
                })?;
                toml::from_str(&text).map_err(|error| {
                    let place = path.display();
                    CommandError::new(ExitCode::Usage, format!("the plan {place} is not usable: {error}"))
                })?
            }
        };
        if !self.model.is_empty() {
            request.models.clone_from(&self.model);
        }
        // The devices' own limits may be lower; what no device takes is told here.
        request.validate(&Limits::default()).map_err(failed(ExitCode::Usage))?;
        request.to_bytes().map_err(failed(ExitCode::Usage))
    }

    /// Publishes the requests, prints the command's id and the devices, and waits where asked to.
    ///
    /// # Errors
    /// A plan that cannot be used, or a broker that cannot be reached.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let asked = Asked {
            operation: self.operation,
            command: command_id(),
            payload: self.payload()?,
            deadline: Duration::from_secs(self.deadline),
        };
        // Named devices need no roster.
        let known = if self.target.device.is_empty() {
            roster(config).map_err(failed(ExitCode::Broker))?
        } else {
            Roster::new()
        };
        let devices = self.target.resolve(&known);
        if devices.is_empty() {
            let found = format!("none of the {} devices that the broker knows matches", known.len());
            return Err(CommandError::new(ExitCode::NothingFound, found));
        }
        let status = format!("cmd/{}/{}/status", asked.operation, asked.command);
        let filters = vec![every_device_filter(&status), every_device_filter("progress")];
        let filters = if self.wait { filters } else { Vec::new() };
        let mut operator = Operator::connect(config, filters).map_err(failed(ExitCode::Broker))?;
        let mut board = Board::new(asked.command.clone(), self.wait);
        for device in &devices {
            let verdict = operator.publish(request_to(device, &asked)).map_err(failed(ExitCode::Broker))?;
            match verdict {
                Verdict::Accepted => board.add(device),
                Verdict::NobodyListens => board.lost(
                    device,
                    "the broker keeps no session for it: it has never connected, or too long ago",
                ),
                Verdict::Refused(reason) => {
                    board.lost(device, &format!("the broker refuses the request: {reason}"))
                }
            }
            if !self.wait {
                print_line(&format!("{} {device}", asked.command))?;
            }
        }
        if self.wait {
            print(&format!("{}\n", asked.command))?;
            self.follow(&mut operator, &mut board)?;
        }
        Ok(if board.has_failures() { ExitCode::NotSuccessful } else { ExitCode::Success })
    }

    /// Shows how far the devices are until all are done, or the deadline has passed for those that never began.
    fn follow(&self, operator: &mut Operator, board: &mut Board) -> Result<(), CommandError> {
        let until = Instant::now() + Duration::from_secs(self.deadline);
        while !board.is_done() {
            let received = operator.receive(Duration::from_secs(1)).map_err(failed(ExitCode::Broker))?;
            if let Some(received) = received {
                board.take(&received);
            }
            if Instant::now() > until {
                board.give_up("it has not begun before the deadline");
            }
        }
        board.finish();
        Ok(())
    }
}
