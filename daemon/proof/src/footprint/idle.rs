//! What an idle `clipmarkd serve` costs a board: start-up to READY, resident memory, wake-ups.

use super::Budget;
use crate::binary::Clipmarkd;
use crate::row::Row;
use crate::{Context, Found};
use anyhow::Context as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Starts of which the median counts.
const STARTS: u32 = 9;
/// Given to the child that describes the board, and to whatever else belongs to a start.
const SETTLE: Duration = Duration::from_secs(10);
/// Over how long wake-ups are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that does not outlive the benchmark.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn broker(dir: &Path, port: u16) -> anyhow::Result<Running> {
    let config = dir.join("mosquitto.conf");
    fs::write(&config, format!("user root\nlistener {port} 127.0.0.1\nallow_anonymous true\n"))?;
    let child = Command::new("mosquitto")
        .arg("-c")
        .arg(config)
        .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start mosquitto; install the package mosquitto")?;
    let broker = Running(child);
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if began.elapsed() > PATIENCE {
            anyhow::bail!("mosquitto does not come up");
        }
        sleep(Duration::from_millis(10));
    }
    Ok(broker)
}

fn configure(dir: &Path, port: u16) -> anyhow::Result<PathBuf> {
    let (state, models, config) = (dir.join("state"), dir.join("models"), dir.join("clipmarkd.toml"));
    fs::create_dir_all(&models)?;
    let text = format!(
        "[device]\nid = \"idle\"\nstate_dir = \"{}\"\n[models]\ndir = \"{}\"\n[mqtt]\nhost = \"127.0.0.1\"\nport = {port}\n",
        state.display(),
        models.display()
    );
    fs::write(&config, text)?;
    Ok(config)
}

/// Starts the daemon and takes the time until it says READY, as systemd would.
fn start(binary: &Path, config: &Path, dir: &Path) -> anyhow::Result<(Running, Duration)> {
    let path = dir.join("notify");
    // Of the start before.
    let _ = fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let began = Instant::now();
    let child = Command::new(binary)
        .args(["serve", "--config"])
        .arg(config)
        .env("NOTIFY_SOCKET", &path)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let daemon = Running(child);
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer)?;
        if String::from_utf8_lossy(&buffer[..length]).contains("READY=1") {
            return Ok((daemon, began.elapsed()));
        }
    }
}

/// A number of `/proc/PID/status`, or of a task's below it; sizes are in KiB.
pub(super) fn status(pid: u32, task: &str, key: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/{task}status");
    let text = fs::read_to_string(&path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("{path} has no {key}"))
}

/// How often all threads together were put to sleep or pushed aside: each is a wake-up to come.
fn switches(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = format!("task/{}/", entry?.file_name().to_string_lossy());
        sum += status(pid, &task, "voluntary_ctxt_switches")?;
        sum += status(pid, &task, "nonvoluntary_ctxt_switches")?;
    }
    Ok(sum)
}

fn starts(binary: &Path, config: &Path, dir: &Path, count: u32) -> anyhow::Result<Vec<f64>> {
    let mut starts = Vec::new();
    for _ in 0..count {
        let (_daemon, took) = start(binary, config, dir)?;
        starts.push(took.as_secs_f64() * 1e3);
    }
    starts.sort_by(f64::total_cmp);
    Ok(starts)
}

pub(super) fn measure(context: &Context, budget: &Budget, found: Found<'_>) -> anyhow::Result<()> {
    let clipmarkd = Clipmarkd::of(context)?;
    let dir = tempfile::tempdir()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let _broker = broker(dir.path(), port)?;
    let config = configure(dir.path(), port)?;
    let starts = starts(clipmarkd.path(), &config, dir.path(), context.runs(STARTS))?;
    let slowest = starts.last().context("a start")?;
    found(
        Row::at_most("start-up to READY, median", starts[starts.len() / 2], "ms", budget.start_up_ms)
            .note(format!("slowest of {} starts: {slowest:.1} ms", starts.len())),
    );
    let (daemon, _) = start(clipmarkd.path(), &config, dir.path())?;
    let pid = daemon.0.id();
    sleep(SETTLE);
    let before = switches(pid)?;
    let window = if context.quick { WINDOW / 4 } else { WINDOW };
    sleep(window);
    let wake_ups = (switches(pid)? - before) as f64 / window.as_secs_f64();
    memory(&clipmarkd, pid, budget, found)?;
    found(
        Row::at_most("wake-ups, idle", wake_ups, "/s", budget.wake_ups_per_s)
            .note(format!("over {} s", window.as_secs())),
    );
    Ok(())
}

fn memory(clipmarkd: &Clipmarkd, pid: u32, budget: &Budget, found: Found<'_>) -> anyhow::Result<()> {
    let mib = |key: &str| status(pid, "", key).map(|kib| kib as f64 / 1024.0);
    let (resident, own, threads) = (mib("VmRSS")?, mib("RssAnon")?, status(pid, "", "Threads")?);
    let claim = "resident memory, idle";
    if clipmarkd.is_development_build() {
        let note = format!(
            "{resident:.1} MiB in a development build, whose code is larger: --release measures what is shipped"
        );
        found(Row::absent(claim, note));
    } else {
        found(
            Row::at_most(claim, resident, "MiB", budget.idle_resident_mib)
                .note(format!("threads: {threads}")),
        );
    }
    found(
        Row::at_most("of it the daemon's own, without pages of files", own, "MiB", budget.idle_own_mib)
            .note("the kernel can drop pages of the binary and of the C library"),
    );
    Ok(())
}
