//! The one real device of the demonstration: a clipmarkd on this machine, as a child process.

use crate::config::Config;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Its name on the broker.
pub(super) const DEVICE: &str = "this-machine";

/// How long it may take to end before it is killed: its own grace and a little.
const GRACE: Duration = Duration::from_secs(12);

/// Lines of its log that an error shows.
const TOLD: usize = 5;

/// Why there is no real device.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// There is no program.
    #[error(
        "there is no clipmarkd at {}; build it with `cargo build --release --bin clipmarkd` (the same profile as this \
         program's), or name one with --clipmarkd", path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Its files cannot be written.
    #[error("cannot write {} for clipmarkd; check who may write there", path.display())]
    Files {
        /// The file or directory.
        path: PathBuf,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// It cannot be started.
    #[error("{} cannot be started; check that it is a program for this machine", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// It ended by itself.
    #[error("clipmarkd ended by itself ({status}); its last words:\n{told}")]
    Ended {
        /// How.
        status: String,
        /// The end of its log.
        told: String,
    },
}

/// The clipmarkd that was built beside this program.
pub(crate) fn beside_this_program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name(format!("clipmarkd{}", std::env::consts::EXE_SUFFIX))
}

/// Whether there is a program to start.
///
/// # Errors
/// What to do when there is none.
pub(crate) fn check(program: &Path) -> Result<(), DaemonError> {
    if program.is_file() { Ok(()) } else { Err(DaemonError::Missing { path: program.to_owned() }) }
}

/// A running clipmarkd.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `program` in `folder`, connected to the broker of `config`.
    pub(super) fn start(program: &Path, folder: &Path, config: &Config) -> Result<Self, DaemonError> {
        check(program)?;
        let files = |path: &Path| {
            let path = path.to_owned();
            move |source| DaemonError::Files { path, source }
        };
        let [state, models] = ["device", "models"].map(|name| folder.join(name));
        for path in [&state, &models] {
            fs::create_dir_all(path).map_err(files(path))?;
        }
        let (settings, log) = (folder.join("clipmarkd.toml"), folder.join("clipmarkd.log"));
        let text = format!(
            "[device]\nid = \"{DEVICE}\"\ngroups = [\"{}\"]\nstate_dir = {state:?}\n\n[models]\ndir = {models:?}\n\n\
             [mqtt]\nhost = \"{}\"\nport = {}\nwill_delay_s = 0\n\n[run]\nprogress_s = 1\nstop_grace_s = 8\n",
            super::GROUP,
            config.mqtt.host,
            config.mqtt.port
        );
        fs::write(&settings, text).map_err(files(&settings))?;
        let output = fs::File::create(&log).map_err(files(&log))?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(&settings);
        // Ctrl-C reaches the whole group of a terminal's job: this child is ended in its turn.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        command.env("CLIPMARK_LOG", "warn,rumqttc=error");
        let child =
            command.spawn().map_err(|source| DaemonError::Start { path: program.to_owned(), source })?;
        Ok(Self { child, log })
    }

    /// Ready only when it ends by itself, which it is not meant to. Cancel-safe.
    pub(super) async fn ended(&mut self) -> DaemonError {
        let status = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let told = lines[lines.len().saturating_sub(TOLD)..].join("\n");
        DaemonError::Ended { status, told }
    }

    /// Asks it to end, waits, and kills it when it takes too long.
    pub(super) async fn stop(mut self) -> io::Result<ExitStatus> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM)?;
        }
        match timeout(GRACE, self.child.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.child.kill().await?;
                self.child.wait().await
            }
        }
    }
}
