//! The command line: parsing, dispatch, and how errors are told.

use crate::commands::serve::{Describe, Operate, Serve};
use crate::exit_codes::{CommandError, ExitCode};
use clap::{CommandFactory, Parser};
use clipmark_service::outcome;

/// Measures video models on this machine, across clip lengths and batch sizes, and names the operating
/// points for streaming, offline work and energy.
#[derive(Debug, Parser)]
#[command(name = "clipmarkd", version, after_help = outcome::help::<ExitCode>(), max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The subcommands, one line each.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Measures models across clip lengths and batch sizes, and names the operating points
    Run(Box<crate::commands::run::RunArgs>),
    /// Computes the results of a run again from its record
    Replay(crate::commands::replay::ReplayArgs),
    /// Prints a profile
    Show(crate::commands::show::ShowArgs),
    /// Reads what the board says of itself: power, temperatures, clocks, throttling
    Probe(crate::commands::probe::ProbeArgs),
    /// Checks what a good measurement needs here, and says how to mend what is missing
    Check(crate::commands::check::CheckArgs),
    /// Holds one engine and obeys the parent's commands over the pipes
    #[command(hide = true)]
    Worker(crate::commands::worker::WorkerArgs),
    /// Writes a built-in model, or looks at any model from outside
    Model(crate::commands::model::ModelArgs),
    /// Takes requests from an MQTT broker and publishes what they lead to
    Serve(Serve),
    /// Writes manual pages and shell completions, for packages
    #[command(hide = true)]
    Manual(crate::commands::manual::ManualArgs),
    /// Carry out one command of the daemon.
    #[command(hide = true)]
    Operate(Operate),
    /// Describe this device to the daemon.
    #[command(hide = true)]
    Describe(Describe),
}

impl Command {
    fn execute(&self) -> Result<ExitCode, CommandError> {
        match self {
            Self::Run(args) => args.execute(),
            Self::Replay(args) => args.execute(),
            Self::Show(args) => args.execute(),
            Self::Probe(args) => args.execute(),
            Self::Check(args) => args.execute(),
            Self::Worker(args) => args.execute(),
            Self::Model(args) => args.execute(),
            Self::Serve(command) => command.execute(),
            Self::Manual(args) => args.execute(&Cli::command()),
            Self::Operate(command) => command.execute(),
            Self::Describe(command) => command.execute(),
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
    outcome::told(cli.command.execute())
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
