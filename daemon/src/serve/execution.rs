//! The running command: one child process, attended by one task.

use crate::operation::{ChildMessage, Done, ORDER, OperationStep, Order, Unable};
use crate::session::Stop;
use clipmark_profile::message::{Reason, ReasonCode};
use clipmark_profile::topics::CommandId;
use clipmark_service::durable;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// What the child says on standard error goes here.
const LOG: &str = "log.txt";

/// How much of it is quoted when the child dies.
const QUOTED: usize = 400;

/// Time for the last lines of a child that has exited.
const DRAIN: Duration = Duration::from_secs(2);

/// Steps that wait to be looked at; more are dropped, they are only progress.
const QUEUE: usize = 16;

/// What happens to a running command.
#[derive(Debug)]
pub(super) enum ChildEvent {
    /// It came further.
    Step(OperationStep),
    /// It ended.
    Ended(Box<ChildExit>),
}

/// How a child ended.
#[derive(Debug)]
pub(super) struct ChildExit {
    /// Its last line.
    pub(super) answer: Option<Result<Done, Unable>>,
    pub(super) ordered: Option<Stop>,
    /// Why there is neither a result nor a reason of its own.
    pub(super) otherwise: Reason,
}

/// The running command.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) command: CommandId,
    pub(super) dir: PathBuf,
    pub(super) started: Instant,
    events: mpsc::Receiver<ChildEvent>,
    orders: mpsc::Sender<Stop>,
}

fn storage(action: &str, path: &Path, error: &dyn std::fmt::Display) -> Reason {
    let message = format!("cannot {action} {}: {error}; check free space and ownership", path.display());
    Reason { code: ReasonCode::Storage, message }
}

/// Puts the order into the command's directory, which may hold the evidence of an earlier attempt.
fn prepare(dir: &Path, order: &Order) -> Result<File, Reason> {
    fs::create_dir_all(dir).map_err(|error| storage("create", dir, &error))?;
    let path = dir.join(ORDER);
    let bytes = serde_json::to_vec_pretty(order).map_err(|error| storage("encode", &path, &error))?;
    durable::replace(&path, &bytes).map_err(|error| storage("write", &path, &error))?;
    let log = dir.join(LOG);
    File::options().create(true).append(true).open(&log).map_err(|error| storage("open", &log, &error))
}

impl Execution {
    /// Starts the child. `grace` is what it gets to end in good order before it is killed.
    ///
    /// # Errors
    /// A reason for the requester.
    pub(super) fn start(
        command: CommandId,
        dir: PathBuf,
        order: &Order,
        grace: Duration,
    ) -> Result<Self, Reason> {
        let log = prepare(&dir, order)?;
        // Its own process group: a Ctrl-C at a terminal stops the daemon, which then stops the child.
        let child = Command::new("/proc/self/exe")
            .arg("operate")
            .arg(&dir)
            .args(["--parent", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let child = child.map_err(|error| {
            let message =
                format!("cannot start a child process: {error}; check the limit of processes and memory");
            Reason { code: ReasonCode::RunFailed, message }
        })?;
        let (sender, events) = mpsc::channel(QUEUE);
        let (orders, received) = mpsc::channel(2);
        tokio::spawn(attend(child, received, sender, grace, dir.join(LOG)));
        Ok(Self { command, dir, started: Instant::now(), events, orders })
    }

    /// What happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> ChildEvent {
        let gone = || {
            let message = "the task that attends the child is gone; this is a defect of clipmarkd".into();
            let otherwise = Reason { code: ReasonCode::RunFailed, message };
            ChildEvent::Ended(Box::new(ChildExit { answer: None, ordered: None, otherwise }))
        };
        self.events.recv().await.unwrap_or_else(gone)
    }

    /// Has the child end.
    pub(super) fn stop(&self, how: Stop) {
        // Full or closed: it is ending already.
        let _ = self.orders.try_send(how);
    }
}

/// Passes a step on; keeps a line that is the answer.
fn take_line(line: &str, answer: &mut Option<Result<Done, Unable>>, events: &mpsc::Sender<ChildEvent>) {
    *answer = Some(match serde_json::from_str(line) {
        // When the daemon is busy, a step is not worth waiting for.
        Ok(ChildMessage::Step(step)) => return drop(events.try_send(ChildEvent::Step(step))),
        Ok(ChildMessage::Done(done)) => Ok(done),
        Ok(ChildMessage::Failed(reason)) => Err(Unable::Failed(reason)),
        Ok(ChildMessage::Refused(reason)) => Err(Unable::Refused(reason)),
        Err(error) => return tracing::warn!(%error, line, "a child said something that is not understood"),
    });
}

fn signal(child: &Child, how: Stop) {
    let signal = match how {
        Stop::GiveUp => Signal::INT,
        Stop::Checkpoint => Signal::TERM,
    };
    // No id: it has exited and was waited for, so the id cannot be another process's by now.
    let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
    if let Err(error) = kill_process(pid, signal) {
        tracing::warn!(%error, ?signal, "the child could not be signalled");
    }
}

async fn attend(
    mut child: Child,
    mut orders: mpsc::Receiver<Stop>,
    events: mpsc::Sender<ChildEvent>,
    grace: Duration,
    log: PathBuf,
) {
    let mut lines: Option<Lines<BufReader<ChildStdout>>> =
        child.stdout.take().map(|out| BufReader::new(out).lines());
    let mut answer = None;
    let mut ordered = None;
    let mut kill_at: Option<Instant> = None;
    let status = loop {
        let next_line = async {
            match &mut lines {
                Some(lines) => lines.next_line().await,
                None => std::future::pending().await,
            }
        };
        let out_of_patience = async {
            match kill_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            line = next_line => match line {
                Ok(Some(line)) => take_line(&line, &mut answer, &events),
                Ok(None) | Err(_) => lines = None,
            },
            status = child.wait() => break status,
            Some(how) = orders.recv() => {
                signal(&child, how);
                ordered = Some(how);
                kill_at.get_or_insert(Instant::now() + grace);
            }
            () = out_of_patience => {
                tracing::warn!("the child did not end in time and is killed");
                // It may have exited just now.
                let _ = child.start_kill();
                kill_at = None;
            }
        }
    };
    let drain = async {
        while let Some(Ok(Some(line))) = match &mut lines {
            Some(lines) => Some(lines.next_line().await),
            None => None,
        } {
            take_line(&line, &mut answer, &events);
        }
    };
    // A grandchild that survives its parent could hold the pipe open.
    let _ = timeout(DRAIN, drain).await;
    let otherwise = unexplained(status, &log);
    let ending = ChildExit { answer, ordered, otherwise };
    // Nobody listens when the daemon itself is ending.
    let _ = events.send(ChildEvent::Ended(Box::new(ending))).await;
}

fn unexplained(status: std::io::Result<ExitStatus>, log: &Path) -> Reason {
    let ended = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    let said = fs::read(log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said[said.len().saturating_sub(4 * QUOTED)..]).trim().to_owned();
    let skipped = said.chars().count().saturating_sub(QUOTED);
    let said: String = said.chars().skip(skipped).collect();
    let said = if said.is_empty() { String::new() } else { format!("; it said: {said}") };
    let message =
        format!("the process of the command ended without a result ({ended}){said}; see {}", log.display());
    Reason { code: ReasonCode::RunFailed, message }
}
