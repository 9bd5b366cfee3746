//! `clipmarkd serve`: the daemon, and the children that it starts.

use crate::commands::RUNTIMES;
use crate::config::{Config, DEFAULT_PATH};
use crate::exit_codes::{CommandError, ExitCode};
use crate::journal::Journal;
use crate::operation;
use crate::serve;
use clipmark_service::logging;
use rustix::process::{
    DumpableBehavior, Pid, Signal, getppid, set_dumpable_behavior, set_parent_process_death_signal,
};
use std::path::PathBuf;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const EXAMPLES: &str = "Examples:
  clipmarkd serve                                  with /etc/clipmark/clipmarkd.toml
  clipmarkd serve --config my.toml                 e.g. with a device.state_dir that this user may write
  CLIPMARK_LOG=debug clipmarkd serve               with everything that it does";

/// The variable that says what is logged, as [`log`] reads it.
const LOG: &str =
    "  CLIPMARK_LOG           what is logged, e.g. debug or info,rumqttc=debug [default: info,rumqttc=error]";

/// Takes requests from an MQTT broker and publishes what they lead to.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{RUNTIMES}\n{LOG}"))]
pub struct Serve {
    /// The configuration; every key has a default
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

/// Logs to systemd's journal where standard error leads there, else to standard error. `CLIPMARK_LOG` filters.
fn log() {
    let registry = tracing_subscriber::registry().with(logging::filter("info,rumqttc=error"));
    let stream = std::env::var("JOURNAL_STREAM").ok();
    if let Some(journal) = stream.as_deref().and_then(Journal::of_standard_error) {
        return registry.with(journal).init();
    }
    registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false)).init();
}

impl Serve {
    /// Serves until a signal ends it.
    ///
    /// # Errors
    /// A configuration that cannot be used, or a state directory that cannot.
    pub fn execute(&self) -> Result<ExitCode, CommandError> {
        log();
        keep_to_oneself()?;
        let config = Config::load(&self.config).map_err(|error| CommandError::new(ExitCode::Usage, error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CommandError::new(ExitCode::Worker, error))?;
        let served = runtime.block_on(serve::serve(&self.config, config));
        served.map_err(|error| CommandError::new(ExitCode::Storage, error))?;
        Ok(ExitCode::Success)
    }
}

/// Closes this process's memory, environment and descriptors to others of the same user, a worker among them: where the
/// kernel has no Landlock, nothing else does. Costs its core dumps.
fn keep_to_oneself() -> Result<(), CommandError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| CommandError::new(ExitCode::Worker, std::io::Error::from(error)))
}

/// Dies with the process `parent`, which has started this one.
fn die_with(parent: i32) -> Result<(), CommandError> {
    let failed = |error: rustix::io::Errno| CommandError::new(ExitCode::Worker, error);
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    // It may have died before the line above.
    if getppid().map(Pid::as_raw_pid) != Some(parent) {
        return Err(CommandError::new(ExitCode::Worker, "the daemon that started this process is gone"));
    }
    Ok(())
}

/// Carries out one command of the daemon (internal).
#[derive(Debug, clap::Args)]
pub struct Operate {
    /// The command's directory
    dir: PathBuf,
    /// The daemon's process
    #[arg(long)]
    parent: i32,
}

impl Operate {
    /// Carries out the order in the directory.
    ///
    /// # Errors
    /// An order that cannot be read.
    pub fn execute(&self) -> Result<ExitCode, CommandError> {
        log();
        keep_to_oneself()?;
        die_with(self.parent)?;
        operation::carry_out(&self.dir, &mut std::io::stdout().lock())
            .map_err(|error| CommandError::new(ExitCode::Storage, error))?;
        Ok(ExitCode::Success)
    }
}

/// Describes this device to the daemon (internal).
#[derive(Debug, clap::Args)]
pub struct Describe {
    /// The model directory
    #[arg(long)]
    models: PathBuf,
    /// Where digests are kept
    #[arg(long)]
    cache: PathBuf,
    /// The daemon's process
    #[arg(long)]
    parent: i32,
}

impl Describe {
    /// Prints the description, without and with digests.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn execute(&self) -> Result<ExitCode, CommandError> {
        log();
        keep_to_oneself()?;
        die_with(self.parent)?;
        operation::describe_device(&self.models, &self.cache, &mut std::io::stdout().lock())
            .map_err(|error| CommandError::new(ExitCode::Storage, error))?;
        Ok(ExitCode::Success)
    }
}
