//! A real mosquitto on a port of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A broker that hangs the test rather than failing it is given up after so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker. Dropping it kills it.
pub(crate) struct Broker {
    dir: TempDir,
    pub(crate) port: u16,
    /// For a listener of the test's own; `{tls}` in its settings.
    pub(crate) tls_port: u16,
    has_tls: bool,
    child: Option<Child>,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Broker {
    /// A broker that lets everybody do everything.
    pub(crate) fn start() -> Self {
        Self::with_settings("allow_anonymous true\n")
    }

    /// A broker with more lines in its configuration; `{dir}` stands for its directory.
    pub(crate) fn with_settings(settings: &str) -> Self {
        let mut broker = Self::prepared(settings);
        broker.run();
        broker
    }

    /// Everything but the process, for tests that add files.
    pub(crate) fn prepared(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Self {
            dir,
            port: free_port(),
            tls_port: free_port(),
            has_tls: settings.contains("{tls}"),
            child: None,
        };
        broker.configure(settings);
        broker
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file for the broker and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn configure(&self, settings: &str) {
        let dir = self.dir.path().display().to_string();
        let settings = settings.replace("{dir}", &dir).replace("{tls}", &self.tls_port.to_string());
        // Each message that passes is two lines, unless the settings say otherwise.
        let log = if settings.contains("log_type") { "" } else { "log_type all\n" };
        // Started as root it would change to a user who cannot read this folder; otherwise the line is void.
        let text = format!(
            "user root\nlistener {} 127.0.0.1\npersistence false\nset_tcp_nodelay true\nlog_dest stderr\n{log}{settings}",
            self.port
        );
        self.file("mosquitto.conf", &text);
    }

    /// Starts it, or starts it again on the same port, and waits until it takes connections.
    pub(crate) fn run(&mut self) {
        assert!(self.child.is_none());
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(self.dir.path().join("mosquitto.conf"))
            .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mosquitto is needed for this test: apt-get install mosquitto mosquitto-clients");
        self.child = Some(child);
        let start = Instant::now();
        let ports = if self.has_tls { vec![self.port, self.tls_port] } else { vec![self.port] };
        while ports.iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            let exited = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(
                exited.is_none() && start.elapsed() < PATIENCE,
                "mosquitto does not come up: {}",
                self.log()
            );
            sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Kills it without warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the broker's log:\n{}", self.log());
        }
        self.kill();
    }
}
