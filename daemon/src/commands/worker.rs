//! `clipmarkd worker`: the child process that holds one engine. Started by clipmarkd alone.

use crate::exit_codes::{CommandError, ExitCode};
use crate::placement::CpuList;
use crate::worker::child::{Start, serve};
use clap::Args;
use clipmark_profile::units::Bytes;
use std::path::PathBuf;

/// How a worker is started.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// The parent's process id.
    #[arg(long)]
    parent: u32,
    /// Most private writable memory in bytes.
    #[arg(long)]
    memory_limit: Option<u64>,
    /// CPUs to run on, e.g. 2-5.
    #[arg(long)]
    cpus: Option<CpuList>,
    /// Control group to enter.
    #[arg(long)]
    group: Option<PathBuf>,
}

impl WorkerArgs {
    /// Serves until the parent closes the pipe.
    ///
    /// # Errors
    /// The pipes fail.
    pub fn execute(&self) -> Result<ExitCode, CommandError> {
        let start = Start {
            parent: self.parent,
            memory_limit: self.memory_limit.map(Bytes),
            cpus: self.cpus.clone(),
            group: self.group.clone(),
        };
        serve(&start).map_err(|error| CommandError::new(ExitCode::Worker, error))?;
        Ok(ExitCode::Success)
    }
}
