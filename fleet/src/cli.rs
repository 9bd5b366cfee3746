//! The command line: parsing, dispatch, and how errors are told.

use crate::commands;
use crate::config::{Config, DEFAULT_PATH};
use crate::exit_codes::{CommandError, ExitCode};
use clap::Parser;
use clipmark_service::outcome;
use std::path::PathBuf;

/// Collects, keeps and compares the profiles of a fleet of boards that run clipmarkd.
#[derive(Debug, Parser)]
#[command(name = "clipmark-fleet", version, after_help = outcome::help::<ExitCode>(), max_term_width = 100)]
pub struct Cli {
    /// The configuration; every key has a default
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, global = true)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

/// The subcommands, one line each.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Stores what the devices publish and answers with receipts
    Serve(commands::serve::Serve),
    /// Shows everything on this machine: broker, dashboard, one real device, simulated boards, a run
    Demo(commands::demo::Demo),
    /// Lists devices: state, board, L4T, last profile, throttling
    Devices(commands::devices::Devices),
    /// Asks devices for a run or another operation
    Trigger(Box<commands::trigger::Trigger>),
    /// Shows what happens in the fleet, as it happens
    Watch(commands::watch::Watch),
    /// Gives a command up
    Cancel(commands::cancel::Cancel),
    /// Lists models that were measured or can be
    Models(commands::models::Models),
    /// Lists stored profiles, or writes one to a file
    Profiles(commands::profiles::Profiles),
    /// Reports on one board, a cohort or two runs, on the terminal and as one HTML file
    Report(commands::report::Report),
    /// Compares two profiles, with an exit code for CI
    Compare(commands::compare::Compare),
    /// Writes stored points as CSV, JSON or Parquet
    Export(commands::export::Export),
    /// Forgets what is too old
    Prune(commands::prune::Prune),
    /// Prints access rules for the broker
    Acl(commands::acl::Acl),
}

impl Command {
    fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        match self {
            Self::Serve(command) => command.execute(config),
            Self::Demo(command) => command.execute(),
            Self::Devices(command) => command.execute(config),
            Self::Trigger(command) => command.execute(config),
            Self::Watch(command) => command.execute(config),
            Self::Cancel(command) => command.execute(config),
            Self::Models(command) => command.execute(config),
            Self::Profiles(command) => command.execute(config),
            Self::Report(command) => command.execute(config),
            Self::Compare(command) => command.execute(config),
            Self::Export(command) => command.execute(config),
            Self::Prune(command) => command.execute(config),
            Self::Acl(command) => command.execute(config),
        }
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Success };
            // Nothing is left to do when even this cannot be printed.
            let _ = error.print();
            return code;
        }
    };
    let config = Config::load(&cli.config).map_err(|error| CommandError::new(ExitCode::Usage, error));
    outcome::told(config.and_then(|config| cli.command.execute(&config)))
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
