//! `clipmarkd serve` as a process, with systemd's notification socket played by the test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const DEVICE: &str = "bench";

/// A daemon and its state directory. Dropping it kills it.
pub(crate) struct Daemon {
    dir: TempDir,
    /// Notifications as systemd would get them.
    notifications: Receiver<String>,
    child: Option<Child>,
    /// Lines of the log, in order.
    lines: (Sender<String>, Receiver<String>),
    log: Vec<String>,
    /// More variables for the process.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Daemon {
    /// A daemon that is ready and connects to `port`. `more` is appended to its configuration.
    pub(crate) fn start(port: u16, more: &str) -> Self {
        let mut daemon = Self::prepare(port, more);
        daemon.run();
        daemon
    }

    /// Everything but the process.
    pub(crate) fn prepare(port: u16, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        let (sender, notifications) = channel();
        // Like systemd, read at once: a full socket would hold up the daemon.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                if sender.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_err() {
                    return;
                }
            }
        });
        let daemon = Self {
            dir,
            notifications,
            child: None,
            lines: channel(),
            log: Vec::new(),
            environment: Vec::new(),
        };
        fs::create_dir_all(daemon.path("models")).unwrap();
        daemon.configure(port, more);
        daemon
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the configuration file. Keys of tables that every test sets come first, so that `more` may
    /// begin with further keys of `[mqtt]`.
    pub(crate) fn configure(&self, port: u16, more: &str) {
        let text = format!(
            "[device]\nid = \"{DEVICE}\"\ngroups = [\"lab\"]\nstate_dir = \"{}\"\n[models]\ndir = \"{}\"\n\
             [mqtt]\nhost = \"127.0.0.1\"\nport = {port}\nbackoff_min_ms = 20\nbackoff_max_ms = 200\nwill_delay_s = 0\n\
             {more}\n",
            self.path("state").display(),
            self.path("models").display(),
        );
        fs::write(self.path("clipmarkd.toml"), text).unwrap();
    }

    /// Starts the process and waits until it says READY.
    pub(crate) fn run(&mut self) {
        self.spawn("");
        self.notified("READY=1");
    }

    /// Starts the process below a shell that first does `prelude`.
    pub(crate) fn spawn(&mut self, prelude: &str) {
        assert!(self.child.is_none());
        let command = format!("{prelude} exec \"$0\" serve --config \"$1\"");
        let mut child = Command::new("bash")
            .args(["-c", &command, env!("CARGO_BIN_EXE_clipmarkd")])
            .arg(self.path("clipmarkd.toml"))
            .envs(self.environment.clone())
            .env("NOTIFY_SOCKET", self.path("notify"))
            .env("CLIPMARK_LOG", "debug,rumqttc=error")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let sender = self.lines.0.clone();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        self.child = Some(child);
    }

    /// The next notification that holds `part`.
    pub(crate) fn notified(&self, part: &str) -> String {
        loop {
            let told = self.notifications.recv_timeout(PATIENCE);
            let text = told.unwrap_or_else(|_| panic!("the notification {part} did not come"));
            if text.contains(part) {
                return text;
            }
        }
    }

    /// Waits for a line of the log, past or future, that holds `part`.
    pub(crate) fn logged(&mut self, part: &str) -> String {
        if let Some(line) = self.log.iter().find(|line| line.contains(part)) {
            return line.clone();
        }
        loop {
            let line = self.lines.1.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("not logged: {part}"));
            self.log.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Everything logged so far.
    pub(crate) fn read_log(&mut self) -> String {
        self.log.extend(self.lines.1.try_iter());
        self.log.join("\n")
    }

    /// Lines at level `WARN` or `ERROR` so far that hold `part`.
    pub(crate) fn complaints(&mut self, part: &str) -> usize {
        let is_loud = |line: &&str| line.contains(" WARN ") || line.contains("ERROR ");
        self.read_log().lines().filter(|line| line.contains(part)).filter(is_loud).count()
    }

    /// How often it has tried to connect.
    pub(crate) fn connections(&self) -> u64 {
        let text = fs::read_to_string(self.path("state/connections")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Kills it without warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits for it to end by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.read_log());
        }
        self.kill();
    }
}
