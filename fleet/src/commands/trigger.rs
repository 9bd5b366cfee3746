//! `clipmark-fleet trigger`: asks devices for a run or another operation.

use crate::commands::choices::one_of;
use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::operator::{Ask, AskError, Roster, Target, roster};
use crate::printed::{broker_failed, print_line};
use crate::progress::Board;
use crate::progress::asked;
use clipmark_profile::plan::Request;
use clipmark_profile::topics::{DeviceId, Operation};
use clipmark_service::config::read_plan;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Asks devices for a run, or for one of the other operations.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet trigger --device orin-7 --wait
  clipmark-fleet trigger --group lab --model temporal --wait
  clipmark-fleet trigger --board orin --plan soak.toml
  clipmark-fleet trigger --all --operation check")]
pub struct Trigger {
    #[command(flatten)]
    target: Target,
    /// What to do
    #[arg(long, default_value = "run", value_parser = one_of(Operation::ALL.map(|one| (one.name(), one))))]
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

/// Devices that are named where none is meant.
const NAMED: usize = 8;

/// That no device is meant.
fn nobody(known: &Roster) -> CommandError {
    let names: Vec<&str> = known.keys().take(NAMED).map(DeviceId::as_str).collect();
    let more = known.len() - names.len();
    let what = match known.len() {
        0 => "no board has ever connected to this broker; boards appear when `clipmarkd serve` reaches it"
            .into(),
        count if more == 0 => format!("none of the broker's {count} matches: {}", names.join(", ")),
        count => format!("none of the broker's {count} matches: {} and {more} more", names.join(", ")),
    };
    CommandError::new(ExitCode::NothingFound, what)
}

impl Trigger {
    fn ask(&self) -> Result<Ask, CommandError> {
        let refused = |error: AskError| CommandError::new(ExitCode::Usage, error);
        let deadline = Duration::from_secs(self.deadline);
        if self.operation != Operation::Run {
            if !self.model.is_empty() || self.plan.is_some() {
                return Err(CommandError::new(
                    ExitCode::Usage,
                    "--model and --plan belong to --operation run",
                ));
            }
            return Ask::plain(self.operation, deadline).map_err(refused);
        }
        let mut request = match &self.plan {
            None => Request::default(),
            Some(path) => read_plan(path).map_err(|error| CommandError::new(ExitCode::Usage, error))?,
        };
        if !self.model.is_empty() {
            request.models.clone_from(&self.model);
        }
        Ask::run(&request, deadline).map_err(refused)
    }

    /// Publishes the requests, prints the command's id and the devices, and waits where asked to.
    ///
    /// # Errors
    /// A plan that cannot be used, or a broker that cannot be reached.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let ask = self.ask()?;
        // Named devices need no roster.
        let known = if self.target.device.is_empty() {
            roster(config).map_err(broker_failed(config))?
        } else {
            Roster::new()
        };
        let devices = self.target.resolve(&known);
        if devices.is_empty() {
            return Err(nobody(&known));
        }
        if !self.wait {
            let board = asked(config, &ask, &devices, None)?;
            for device in &devices {
                print_line(&format!("{} {device}", ask.command))?;
            }
            return Ok(ended(&board));
        }
        print_line(&ask.command.to_string())?;
        let until = Instant::now() + ask.deadline;
        Ok(ended(&asked(config, &ask, &devices, Some(&|| Instant::now() > until))?))
    }
}

fn ended(board: &Board) -> ExitCode {
    if board.has_failures() { ExitCode::NotSuccessful } else { ExitCode::Success }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_nobody_is_meant_it_says_who_is_there() {
        let roster = |count: u32| -> Roster {
            let name = |number: u32| format!("orin-{number:02}").parse().expect("a device's name");
            (1..=count).map(|number| (name(number), Default::default())).collect()
        };
        assert!(nobody(&roster(0)).to_string().contains("no board has ever connected to this broker"));
        let told = nobody(&roster(1));
        assert!(told.to_string().contains("1 matches: orin-01"), "{told}");
        assert_eq!(told.code, ExitCode::NothingFound);
        let told = nobody(&roster(12)).to_string();
        assert!(told.contains("12 matches: orin-01, ") && told.ends_with("orin-08 and 4 more"), "{told}");
    }
}
