//! An aggregator as a process.

use clipmark_fleet::config;
use clipmark_fleet::store::Store;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// An aggregator that hangs the test rather than failing it is given up after so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// An aggregator and its directory. Dropping it kills it.
pub(crate) struct Aggregator {
    dir: TempDir,
    store: config::Store,
    child: Option<Child>,
    lines: Option<Receiver<String>>,
    log: Vec<String>,
}

impl Aggregator {
    /// Over a SQLite file of its own, connected to the broker at `port`.
    pub(crate) fn start(port: u16) -> Self {
        let mut aggregator = Self::prepare(port, "fleet", None);
        aggregator.run();
        aggregator
    }

    /// Everything but the process. `store` is a PostgreSQL database.
    pub(crate) fn prepare(port: u16, id: &str, store: Option<&config::Store>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = config::Store { path: dir.path().join("fleet.db"), ..config::Store::default() };
        let store = store.cloned().unwrap_or(own);
        let place = match &store.postgres {
            Some(address) => format!("postgres = \"{address}\""),
            None => format!("path = \"{}\"", store.path.display()),
        };
        let text = format!(
            "[mqtt]\nhost = \"127.0.0.1\"\nport = {port}\nbackoff_min_ms = 20\nbackoff_max_ms = 200\nwill_delay_s = 0\n\
             [aggregator]\nid = \"{id}\"\nreceive_maximum = 50\nbatch = 20\n[store]\n{place}\n"
        );
        fs::write(dir.path().join("fleet.toml"), text).unwrap();
        Self { dir, store, child: None, lines: None, log: Vec::new() }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("fleet.toml")
    }

    /// Starts it and waits until the broker has taken it.
    pub(crate) fn run(&mut self) {
        self.run_as(Command::new(env!("CARGO_BIN_EXE_clipmark-fleet")), &[]);
        self.logged("connected to the broker");
    }

    /// Starts it by another command, with more arguments.
    pub(crate) fn run_as(&mut self, mut command: Command, arguments: &[&str]) {
        // Any free port: several tests run at once.
        let dashboard = ["--dashboard", "127.0.0.1:0"];
        command.arg("--config").arg(self.config()).arg("serve").args(dashboard).args(arguments);
        let mut child = command
            .env("CLIPMARK_LOG", "info,rumqttc=error")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        self.child = Some(child);
        self.lines = Some(lines);
        self.log.clear();
    }

    /// The first line of its log since its start that contains `text`.
    pub(crate) fn logged(&mut self, text: &str) -> String {
        if let Some(line) = self.log.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        let from = Instant::now();
        while let Ok(line) =
            self.lines.as_ref().unwrap().recv_timeout(PATIENCE.saturating_sub(from.elapsed()))
        {
            self.log.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("the log never said `{text}`:\n{}", self.log.join("\n"));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Kills it without warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks it to end and waits for it.
    pub(crate) fn stop(&mut self) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        let ended = self.child.take().unwrap().wait().unwrap();
        assert!(ended.success(), "{ended}: {}", self.log.join("\n"));
    }

    pub(crate) fn store(&self) -> Store {
        Store::create(&self.store).unwrap()
    }

    /// How many profiles there are, once everything that is stored has been read too.
    pub(crate) fn profiles(&self) -> u64 {
        let (from, mut store) = (Instant::now(), self.store());
        loop {
            let counts = store.counts().unwrap();
            if counts.unread == 0 {
                return counts.profiles;
            }
            assert!(from.elapsed() < PATIENCE, "{} stored records are never read", counts.unread);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn database(&self) -> &Path {
        &self.store.path
    }

    /// Runs another command with the same configuration; its standard output.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clipmark-fleet"));
        let output = command.arg("--config").arg(self.config()).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Aggregator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log.extend(self.lines.iter().flat_map(Receiver::try_iter));
            eprintln!("the aggregator's log:\n{}", self.log.join("\n"));
        }
        self.kill();
    }
}
