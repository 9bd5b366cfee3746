//! The parent's hold on one worker: start it, ask it, kill it when it hangs, and say how it died.

use super::death::{End, ExitContext, judge};
use super::frame::{self, FrameError};
use super::protocol::{
    Account, LoadOrder, MeasureOrder, Measured, PrepareOrder, Prepared, Reply, ServedLoad, Unusable,
    WorkerCommand,
};
use crate::account::cgroup_memory_kills;
use crate::backend::registry;
use crate::confine::{Bounds, Confinement, Policy, environment, memory_bound};
use crate::placement::{Group, Placement, memory_kills};
use clipmark_profile::record::{BackendRecord, Cause, Failure, Stage};
use std::ffi::OsString;
use std::io::{BufReader, BufWriter, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Standard error that is kept: its beginning is let go first.
const LAST_WORDS: usize = 4096;
/// How often a waiting parent looks whether it is asked to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Allowance on top of every time limit, for the pipe and a loaded machine.
const GRACE: Duration = Duration::from_secs(2);
/// How long a chunk under way may take to end when the run is to stop; its inferences are kept.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// How long a worker may take to start and to build its walls: milliseconds, and longer on a loaded board.
const CONFINE_LIMIT: Duration = Duration::from_secs(60);
/// How long a dying worker may take to be gone.
const LAST_GASP: Duration = Duration::from_secs(5);

/// glibc's settings. Its thresholds adapt to what a process has freed so far: of two workers with the same engine one
/// may keep the memory of an inference for the next and the other return it to the kernel each time, which makes
/// it 2 to 3 times as slow. These are the values at which adapting ends, as in a process that has run for long
/// (mallopt(3): DEFAULT_MMAP_THRESHOLD_MAX on 64 bits, and twice that).
const TUNABLES: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=67108864");

/// [`TUNABLES`] before those that the user has set, of which the last counts.
fn tunables() -> (OsString, OsString) {
    let (variable, mut values) = (TUNABLES.0, OsString::from(TUNABLES.1));
    if let Some(asked) = std::env::var_os(variable).filter(|asked| !asked.is_empty()) {
        values.push(":");
        values.push(asked);
    }
    (variable.into(), values)
}

/// How workers are started.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The program: this binary, unless a test says otherwise.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Environment variables set for it.
    pub environment: Vec<(OsString, OsString)>,
    /// Most private writable memory of one worker, bytes.
    pub memory_limit: Option<u64>,
    /// The control group that workers enter by their arguments.
    pub group: Option<Group>,
    /// What to do about walls that this kernel lacks.
    pub confinement: Policy,
    /// Files and folders that workers read beside their model and the system's libraries.
    pub readable: Vec<PathBuf>,
    /// Folders that workers write beside their scratch folder.
    pub writable: Vec<PathBuf>,
    /// Longest preparation.
    pub prepare_limit: Duration,
    /// Longest single inference.
    pub inference_limit: Duration,
    /// Set when the run is to stop: waiting ends soon afterwards.
    pub stop: Arc<AtomicBool>,
}

impl WorkerConfig {
    /// Workers of this very binary.
    #[must_use]
    pub fn own(memory_limit: Option<u64>, prepare_limit: Duration, inference_limit: Duration) -> Self {
        let mut arguments = vec!["worker".into(), "--parent".into(), std::process::id().to_string().into()];
        if let Some(bytes) = memory_limit {
            arguments.extend(["--memory-limit".into(), bytes.to_string().into()]);
        }
        Self {
            program: "/proc/self/exe".into(),
            arguments,
            environment: vec![tunables()],
            memory_limit,
            group: None,
            confinement: Policy::default(),
            readable: Vec::new(),
            writable: Vec::new(),
            prepare_limit,
            inference_limit,
            stop: Arc::default(),
        }
    }

    /// Workers that run where `placement` says.
    #[must_use]
    pub fn placed(mut self, placement: &Placement) -> Self {
        if let Some(cpus) = &placement.cpus {
            self.arguments.extend(["--cpus".into(), cpus.to_string().into()]);
        }
        if let Some(group) = &placement.group {
            self.arguments.extend(["--group".into(), group.path.clone().into()]);
        }
        self.group.clone_from(&placement.group);
        self.confinement = placement.confinement;
        self.readable.clone_from(&placement.readable);
        self
    }

    /// Processes killed for memory where workers are.
    fn memory_kills(&self) -> Option<u64> {
        self.group.as_ref().map_or_else(cgroup_memory_kills, |group| memory_kills(&group.path))
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The point failed; the worker may live or not, see [`Worker::alive`].
    Failed(Failure),
    /// The run is to stop and the answer was not waited for.
    Stopped,
}

/// One worker process.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    input: BufWriter<ChildStdin>,
    replies: Receiver<Result<Reply, FrameError>>,
    last_words: Arc<Mutex<Vec<u8>>>,
    stderr: Option<JoinHandle<()>>,
    memory_kills: Option<u64>,
    settings: WorkerConfig,
    /// The worker's folder for temporary files; it goes with the worker.
    scratch: TempDir,
    /// What became of its walls, once they were asked for.
    confinement: Option<Confinement>,
    /// The memory limit that came with them, bytes.
    memory_bound: Option<u64>,
    /// Frames in a clip of the prepared engine: a paced inference may have to wait for as many.
    clip_length: u32,
    alive: bool,
}

impl Worker {
    /// Starts a worker.
    ///
    /// # Errors
    /// When the process cannot be started, with the program's path.
    pub fn spawn(settings: &WorkerConfig) -> Result<Self, Failure> {
        let unable = |error: &dyn std::fmt::Display| Failure {
            stage: Stage::Load,
            cause: Cause::Crashed,
            message: format!("cannot start a worker ({}): {error}", settings.program.display()),
        };
        let scratch = tempfile::Builder::new().prefix("clipmark-worker-").tempdir();
        let scratch = scratch.map_err(|error| unable(&format!("no folder for its files: {error}")))?;
        // A group of its own: Ctrl-C at the terminal reaches the parent alone, which then decides.
        let mut child = std::process::Command::new(&settings.program)
            .args(&settings.arguments)
            .env_clear()
            .envs(environment::kept(std::env::vars_os()))
            .env("TMPDIR", scratch.path())
            .envs(settings.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| unable(&error))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(unable(&"its pipes are missing"));
        };
        let last_words = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&last_words);
        let (sender, replies) = sync_channel(1);
        let listen = std::thread::Builder::new().name("worker-replies".into()).spawn(move || {
            let mut output = BufReader::new(output);
            while let Some(reply) = frame::read::<Reply>(&mut output).transpose() {
                let ended = reply.is_err();
                if sender.send(reply).is_err() || ended {
                    break;
                }
            }
        });
        let keep = std::thread::Builder::new()
            .name("worker-stderr".into())
            .spawn(move || keep_last_words(errors, &kept));
        listen.map_err(|error| unable(&error))?;
        let stderr = Some(keep.map_err(|error| unable(&error))?);
        Ok(Self {
            child,
            input: BufWriter::new(input),
            replies,
            last_words,
            stderr,
            memory_kills: settings.memory_kills(),
            settings: settings.clone(),
            scratch,
            confinement: None,
            memory_bound: None,
            clip_length: 1,
            alive: true,
        })
    }

    /// Whether the process can be asked again.
    #[must_use]
    pub const fn alive(&self) -> bool {
        self.alive
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has the worker confine itself, where it has not yet, and says what became of its walls.
    ///
    /// # Errors
    /// The worker's death, or a wall that is required and cannot be built.
    pub fn confinement(&mut self) -> Result<Confinement, Trouble> {
        self.confine("", None)?;
        Ok(self.confinement.clone().unwrap_or_default())
    }

    /// Has the worker confine itself to what `backend` and `order` need. Once: what it gave up does not come back, so a
    /// worker that was asked for one model cannot be asked for another.
    fn confine(&mut self, backend: &str, order: Option<&PrepareOrder>) -> Result<(), Trouble> {
        if self.confinement.is_some() {
            return Ok(());
        }
        if self.settings.confinement == Policy::Off {
            self.confinement = Some(Confinement::off());
            return Ok(());
        }
        let bounds = self.bounds(backend, order);
        self.memory_bound = bounds.memory;
        let made = match self.ask(&WorkerCommand::Confine(bounds), Stage::Load, CONFINE_LIMIT)? {
            Reply::Confined(made) => made,
            other => return Err(self.unexpected(&other, Stage::Load)),
        };
        if self.settings.confinement == Policy::Required && !made.absent.is_empty() {
            self.kill();
            let message = format!(
                "the worker cannot be confined, as worker.confinement = \"required\" asks: {made}; choose \"available\" \
                 to measure without"
            );
            let message = message.chars().take(500).collect();
            let failure = Failure { stage: Stage::Load, cause: Cause::BackendUnavailable, message };
            return Err(Trouble::Failed(failure));
        }
        self.confinement = Some(made);
        Ok(())
    }

    fn bounds(&self, backend: &str, order: Option<&PrepareOrder>) -> Bounds {
        let known = registry().into_iter().find(|known| known.name() == backend);
        let mut read = self.settings.readable.clone();
        read.extend(order.map(|order| order.model.clone()));
        let mut write = self.settings.writable.clone();
        write.extend(order.and_then(|order| order.spec.cache_dir.clone()));
        write.push(self.scratch.path().to_path_buf());
        let runs_models = known.as_ref().is_none_or(|known| known.runs_models());
        let limited = self.settings.memory_limit.is_some();
        let memory = if runs_models && !limited { memory_bound() } else { None };
        Bounds { read, write, programs: known.is_some_and(|known| known.starts_programs()), memory }
    }

    /// Asks whether `backend` is usable.
    ///
    /// # Errors
    /// The backend's reason, or the worker's death.
    pub fn check(&mut self, backend: &str) -> Result<BackendRecord, Trouble> {
        self.examine(backend)?.map_err(|unusable| Trouble::Failed(unusable.failure))
    }

    /// As [`Self::check`], with what is missing where the backend cannot be used.
    ///
    /// # Errors
    /// The worker's death.
    pub fn examine(&mut self, backend: &str) -> Result<Result<BackendRecord, Unusable>, Trouble> {
        self.confine(backend, None)?;
        let command = WorkerCommand::Check { backend: backend.into() };
        match self.ask(&command, Stage::Load, self.settings.prepare_limit)? {
            Reply::Checked(found) => Ok(found),
            other => Err(self.unexpected(&other, Stage::Load)),
        }
    }

    /// Prepares an engine and runs it once.
    ///
    /// # Errors
    /// The backend's reason, the worker's death or the time limit.
    pub fn prepare(&mut self, order: PrepareOrder) -> Result<Prepared, Trouble> {
        self.prepare_within(order, self.settings.prepare_limit + self.settings.inference_limit)
    }

    /// As [`Self::prepare`], within a limit of its own.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_within(&mut self, order: PrepareOrder, limit: Duration) -> Result<Prepared, Trouble> {
        self.confine(&order.backend, Some(&order))?;
        self.clip_length = order.spec.shape.clip();
        let limit = limit * order.instances.max(1);
        let command = WorkerCommand::Prepare(Box::new(order));
        match self.ask(&command, Stage::Prepare, limit)? {
            Reply::Prepared(prepared) => Ok(prepared),
            other => Err(self.unexpected(&other, Stage::Prepare)),
        }
    }

    /// Runs a timed chunk.
    ///
    /// # Errors
    /// The worker's death or the time limit. A failing inference is told in the answer.
    pub fn measure(&mut self, order: &MeasureOrder) -> Result<Measured, Trouble> {
        self.begin_measure(order);
        self.end_measure(order)
    }

    /// Orders a timed chunk without waiting for it: the parent may do something else meanwhile.
    pub fn begin_measure(&mut self, order: &MeasureOrder) {
        self.post(&WorkerCommand::Measure(*order));
    }

    /// Waits for the chunk that was ordered.
    ///
    /// # Errors
    /// As [`Worker::measure`].
    pub fn end_measure(&mut self, order: &MeasureOrder) -> Result<Measured, Trouble> {
        let period = order.paced_fps.map_or(0.0, |fps| f64::from(self.clip_length) / fps);
        let period = Duration::try_from_secs_f64(period).unwrap_or_default();
        let limit =
            Duration::from_nanos(order.stop_after.0) + Duration::from_nanos(order.inference_limit.0) + period;
        match self.wait(Stage::Measure, limit)? {
            Reply::Measured(measured) => Ok(measured),
            other => Err(self.unexpected(&other, Stage::Measure)),
        }
    }

    /// Serves streams.
    ///
    /// # Errors
    /// The worker's death or the time limit. A failing inference is told in the answer.
    pub fn serve(&mut self, order: &LoadOrder) -> Result<ServedLoad, Trouble> {
        let limit =
            order.length.0.saturating_add(order.load.deadline.0).saturating_add(order.inference_limit.0);
        match self.ask(&WorkerCommand::Serve(*order), Stage::Measure, Duration::from_nanos(limit))? {
            Reply::Served(served) => Ok(served),
            other => Err(self.unexpected(&other, Stage::Measure)),
        }
    }

    /// The kernel's account of the worker.
    ///
    /// # Errors
    /// The worker's death.
    pub fn account(&mut self) -> Result<Account, Trouble> {
        match self.ask(&WorkerCommand::Account, Stage::Measure, GRACE)? {
            Reply::Account(account) => Ok(account),
            other => Err(self.unexpected(&other, Stage::Measure)),
        }
    }

    /// Asks any question. `limit` bounds the wait; a worker that exceeds it is killed.
    ///
    /// # Errors
    /// A failure that the worker reports, its death, the time limit, or a stop.
    pub fn ask(&mut self, command: &WorkerCommand, stage: Stage, limit: Duration) -> Result<Reply, Trouble> {
        self.post(command);
        self.wait(stage, limit)
    }

    fn post(&mut self, command: &WorkerCommand) {
        if self.alive {
            // A dead worker shows here as a broken pipe: its end is told by the closed reply pipe.
            let _ = frame::write(&mut self.input, command);
        }
    }

    fn wait(&mut self, stage: Stage, limit: Duration) -> Result<Reply, Trouble> {
        if !self.alive {
            let message = "the worker is gone".into();
            return Err(Trouble::Failed(Failure { stage, cause: Cause::Crashed, message }));
        }
        let deadline = Instant::now() + limit + GRACE;
        let mut stopped = None;
        loop {
            match self.replies.recv_timeout(LOOK) {
                Ok(Ok(Reply::Failed(failure))) => return Err(Trouble::Failed(failure)),
                Ok(Ok(Reply::Panicked(words))) => return Err(Trouble::Failed(self.panicked(&words, stage))),
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(FrameError::Io(_))) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(Trouble::Failed(self.reap(stage)));
                }
                Ok(Err(_)) => {
                    self.kill();
                    return Err(Trouble::Failed(self.judge(End::ProtocolViolation, stage)));
                }
                Err(RecvTimeoutError::Timeout) if self.settings.stop.load(Ordering::Relaxed) => {
                    let grace = if stage == Stage::Measure { STOP_GRACE } else { Duration::ZERO };
                    if stopped.get_or_insert_with(Instant::now).elapsed() >= grace {
                        self.kill();
                        return Err(Trouble::Stopped);
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    self.kill();
                    let end = End::Hung { seconds: limit.as_secs_f64() };
                    return Err(Trouble::Failed(self.judge(end, stage)));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// The process is ending of a panic: waits for its end. The words are the backend's, and the failure is the point's.
    fn panicked(&mut self, words: &str, stage: Stage) -> Failure {
        self.reap(stage);
        let message = format!("the backend panicked: {words}").chars().take(500).collect();
        Failure { stage, cause: Cause::Backend, message }
    }

    /// The process closed its pipe: waits for its end and says what it means.
    fn reap(&mut self, stage: Stage) -> Failure {
        let deadline = Instant::now() + LAST_GASP;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.alive = false;
                    self.hear_out(deadline);
                    return self.judge(End::Exited(status), stage);
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Err(_) => break,
            }
        }
        self.kill();
        self.judge(End::ProtocolViolation, stage)
    }

    /// Waits for the rest of standard error, unless a child of the worker's keeps it open.
    fn hear_out(&mut self, deadline: Instant) {
        while self.stderr.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn judge(&self, end: End, stage: Stage) -> Failure {
        let kills = self.settings.memory_kills();
        let rose = kills.zip(self.memory_kills).is_some_and(|(now, then)| now > then);
        let words = self.last_words.lock().map(|kept| String::from_utf8_lossy(&kept).into_owned());
        let words = words.unwrap_or_default();
        let scene = ExitContext {
            stage,
            last_words: &words,
            killed_for_memory: rose,
            memory_limit: self.settings.memory_limit.or(self.memory_bound),
            group_limit: self.settings.group.as_ref().map(|group| group.memory_max.0),
        };
        judge(end, scene)
    }

    fn unexpected(&mut self, reply: &Reply, stage: Stage) -> Trouble {
        self.kill();
        let message = format!("the worker gave another answer than was asked for: {reply:?}");
        let message = message.chars().take(500).collect();
        Trouble::Failed(Failure { stage, cause: Cause::Crashed, message })
    }

    fn kill(&mut self) {
        self.alive = false;
        // Both fail only for a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn keep_last_words(mut errors: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0_u8; 1024];
    while let Ok(count @ 1..) = errors.read(&mut buffer) {
        let Ok(mut kept) = kept.lock() else { return };
        kept.extend_from_slice(&buffer[..count]);
        let surplus = kept.len().saturating_sub(LAST_WORDS);
        kept.drain(..surplus);
    }
}
