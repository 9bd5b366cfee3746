//! `clipmark-fleet demo`: everything on this machine, to be tried.

use crate::commands::serve::{asked_to_end, log};
use crate::config::Config;
use crate::demo::{DemoOptions, beside_this_program, check, run};
use crate::embedded;
use crate::exit_codes::{CommandError, ExitCode};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Shows the whole of clipmark on this machine: broker, aggregator, dashboard, one real device, simulated
/// boards, and a run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo build --release && target/release/clipmark-fleet demo
  clipmark-fleet demo --no-open --budget 60
  clipmark-fleet demo --dir /tmp/fleet --keep")]
pub struct Demo {
    /// Put everything there instead of into a temporary directory
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Leave the temporary directory when the demonstration ends
    #[arg(long)]
    keep: bool,
    /// Do not open the dashboard in a browser
    #[arg(long)]
    no_open: bool,
    /// Let a device measure for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    budget: f64,
    /// Start this clipmarkd; else the one beside this program
    #[arg(long, value_name = "FILE")]
    clipmarkd: Option<PathBuf>,
    /// Offer the dashboard at this address; else on port 8780, or on any that is free
    #[arg(long, value_name = "ADDRESS")]
    dashboard: Option<SocketAddr>,
}

/// The folder, and what removes it.
fn folder(given: Option<&Path>) -> Result<(PathBuf, Option<TempDir>), CommandError> {
    let told = |what: String| CommandError::new(ExitCode::Storage, what);
    match given {
        Some(path) => {
            let made = fs::create_dir_all(path).and_then(|()| path.canonicalize());
            let path = made.map_err(|error| {
                told(format!(
                    "cannot make {}: {error}; give --dir a place that you may write to",
                    path.display()
                ))
            })?;
            Ok((path, None))
        }
        None => {
            let made = tempfile::Builder::new().prefix("clipmark-demo-").tempdir();
            let made = made.map_err(|error| {
                told(format!("cannot make a temporary directory: {error}; name another place with --dir"))
            })?;
            Ok((made.path().to_owned(), Some(made)))
        }
    }
}

fn free_dashboard() -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 8780));
    if TcpListener::bind(usual).is_ok() { usual } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
}

/// The configuration, also written to where other commands can read it.
fn configured(folder: &Path, broker: SocketAddr) -> Result<Config, CommandError> {
    let text = format!(
        "# Written by `clipmark-fleet demo`.\n[mqtt]\nhost = \"{}\"\nport = {}\nwill_delay_s = 0\n\n[store]\npath = {:?}\n",
        broker.ip(),
        broker.port(),
        folder.join("fleet.db")
    );
    let path = folder.join("fleet.toml");
    fs::write(&path, &text).map_err(|error| {
        CommandError::new(
            ExitCode::Storage,
            format!("cannot write {}: {error}; check who may write there and for room", path.display()),
        )
    })?;
    Config::load(&path).map_err(|error| CommandError::new(ExitCode::Usage, error))
}

impl Demo {
    /// Runs until Ctrl-C or SIGTERM.
    ///
    /// # Errors
    /// When a part does not come up, or the run fails.
    pub fn execute(&self) -> Result<ExitCode, CommandError> {
        log("warn,rumqttc=error,rumqttd=off");
        let clipmarkd = self.clipmarkd.clone().unwrap_or_else(beside_this_program);
        check(&clipmarkd).map_err(|error| CommandError::new(ExitCode::NothingFound, error))?;
        let (folder, mut temporary) = folder(self.dir.as_deref())?;
        if self.keep
            && let Some(made) = temporary.as_mut()
        {
            made.disable_cleanup(true);
        }
        let broker = embedded::start(0).map_err(|error| CommandError::new(ExitCode::Broker, error))?;
        let config = configured(&folder, broker)?;
        let options = DemoOptions {
            folder,
            clipmarkd,
            dashboard: self.dashboard.unwrap_or_else(free_dashboard),
            budget_s: self.budget,
            open: !self.no_open,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CommandError::new(ExitCode::Storage, error))?;
        let ended = runtime.block_on(run(&options, &config, asked_to_end()));
        // A thread that still follows the run is not waited for.
        runtime.shutdown_background();
        ended.map(|()| ExitCode::Success)
    }
}
