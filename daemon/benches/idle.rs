//! What an idle `clipmarkd serve` costs a board: start-up to READY, resident memory, wake-ups.
//!
//! `cargo bench -p clipmarkd --bench idle` builds the release binary, runs it against a mosquitto of its own and prints
//! each figure beside its target; it ends with 1 when one is missed. `CLIPMARKD=PATH` measures another binary.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Longest start-up to READY.
const MOST_START_UP_MS: f64 = 200.0;
/// Most resident memory, pages of the binary's file included.
const MOST_RESIDENT_MIB: f64 = 15.0;
/// Most wake-ups.
const MOST_WAKE_UPS_PER_S: f64 = 2.0;
/// Starts of which the median counts.
const STARTS: usize = 9;
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

fn broker(dir: &Path, port: u16) -> Outcome<Running> {
    let config = dir.join("mosquitto.conf");
    fs::write(&config, format!("user root\nlistener {port} 127.0.0.1\nallow_anonymous true\n"))?;
    let child = Command::new("mosquitto")
        .arg("-c")
        .arg(config)
        .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start mosquitto: {error}; install the package mosquitto"))?;
    let broker = Running(child);
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if began.elapsed() > PATIENCE {
            return Err("mosquitto does not come up".into());
        }
        sleep(Duration::from_millis(10));
    }
    Ok(broker)
}

fn configure(dir: &Path, port: u16) -> Outcome<PathBuf> {
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
fn start(binary: &Path, config: &Path, dir: &Path) -> Outcome<(Running, Duration)> {
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

/// A number of `/proc/PID/status`.
fn status(pid: u32, task: &str, key: &str) -> Outcome<u64> {
    let path = format!("/proc/{pid}/{task}status");
    let text = fs::read_to_string(&path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| format!("{path} has no {key}").into())
}

/// How often all threads together were put to sleep or pushed aside: each is a wake-up to come.
fn switches(pid: u32) -> Outcome<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = format!("task/{}/", entry?.file_name().to_string_lossy());
        sum += status(pid, &task, "voluntary_ctxt_switches")?;
        sum += status(pid, &task, "nonvoluntary_ctxt_switches")?;
    }
    Ok(sum)
}

struct Report {
    missed: bool,
}

impl Report {
    fn line(&mut self, what: &str, found: f64, most: f64, unit: &str) -> Outcome<()> {
        let verdict = if found <= most { "ok" } else { "MISSED" };
        self.missed |= found > most;
        writeln!(std::io::stdout(), "{what:<22} {found:8.2} {unit:<4} target <= {most} {verdict}")?;
        Ok(())
    }
}

fn measure() -> Outcome<bool> {
    let named = std::env::var_os("CLIPMARKD").map(PathBuf::from);
    let binary = named.unwrap_or_else(|| env!("CARGO_BIN_EXE_clipmarkd").into()).canonicalize()?;
    let dir = tempfile::tempdir()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let _broker = broker(dir.path(), port)?;
    let config = configure(dir.path(), port)?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let (_daemon, took) = start(&binary, &config, dir.path())?;
        starts.push(took.as_secs_f64() * 1e3);
    }
    starts.sort_by(f64::total_cmp);
    let (daemon, _) = start(&binary, &config, dir.path())?;
    let pid = daemon.0.id();
    sleep(SETTLE);
    let before = switches(pid)?;
    sleep(WINDOW);
    let wake_ups = (switches(pid)? - before) as f64 / WINDOW.as_secs_f64();
    let mib = |key: &str| status(pid, "", key).map(|kib| kib as f64 / 1024.0);
    let mut report = Report { missed: false };
    report.line("start-up to READY", starts[STARTS / 2], MOST_START_UP_MS, "ms")?;
    report.line("resident memory", mib("VmRSS")?, MOST_RESIDENT_MIB, "MiB")?;
    report.line("wake-ups", wake_ups, MOST_WAKE_UPS_PER_S, "/s")?;
    let (own, shared, threads) = (mib("RssAnon")?, mib("RssFile")?, status(pid, "", "Threads")?);
    writeln!(
        std::io::stdout(),
        "of the memory, {own:.2} MiB is its own and {shared:.2} MiB are pages of files"
    )?;
    writeln!(std::io::stdout(), "slowest of {STARTS} starts {:.2} ms; {threads} thread", starts[STARTS - 1])?;
    Ok(report.missed)
}

fn main() -> Outcome<ExitCode> {
    Ok(if measure()? { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
