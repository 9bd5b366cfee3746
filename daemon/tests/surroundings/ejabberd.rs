//! A second broker, ejabberd, that shares no code with mosquitto.

use crate::client::Client;
use crate::component::{Component, trials};
use crate::daemon::{DEVICE, Daemon};
use crate::whole::everything_comes_up;
use clipmark_profile::message::CommandState;
use libtest_mimic::Trial;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A broker that does not come up is given up after so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Records of both kinds and everything else of this device.
const ALL: &str = "clipmark/v1/d/bench/#";

/// Without a user name ejabberd lets nobody in; with one and any password everybody.
const OPERATOR: Option<(&str, &str)> = Some(("operator@localhost", "any"));

/// A broker. Dropping it kills it.
struct Ejabberd {
    dir: TempDir,
    port: u16,
    child: Child,
}

/// Debian's folder of programs for Erlang.
fn libraries() -> PathBuf {
    format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH).into()
}

pub(crate) fn trials() -> Vec<Trial> {
    let mut entries = fs::read_dir(libraries()).into_iter().flatten().flatten();
    let ejabberd = Component {
        is_here: entries.any(|entry| entry.file_name().to_string_lossy().starts_with("ejabberd-")),
        required_by: "CLIPMARK_REQUIRE_EJABBERD",
        had_by: "apt-get install ejabberd",
    };
    trials![&[ejabberd];
        everything_comes_up_through_ejabberd_and_what_it_caps_is_said,
        ejabberd_gets_what_is_too_large_in_smaller_parts,
    ]
}

impl Ejabberd {
    /// A broker with more options of its MQTT listener.
    fn start(listener: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let settings = format!(
            "hosts: [localhost]\nauth_method: [anonymous]\nanonymous_protocol: login_anon\nlisten:\n  -\n    \
             port: {port}\n    ip: \"127.0.0.1\"\n    module: mod_mqtt\n{listener}modules:\n  mod_mqtt: {{}}\n"
        );
        fs::write(dir.path().join("ejabberd.yml"), settings).unwrap();
        let child = spawn(dir.path());
        let mut broker = Self { dir, port, child };
        broker.wait();
        broker
    }

    fn wait(&mut self) {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "ejabberd does not come up: {}",
                self.log()
            );
            sleep(Duration::from_millis(10));
        }
    }

    fn log(&self) -> String {
        ["out", "ejabberd.log"]
            .map(|name| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default())
            .join("\n")
    }

    /// A device on this broker.
    fn device(&self) -> Daemon {
        let mut daemon = Daemon::prepare(self.port, "");
        let (user, password) = (daemon.path("user"), daemon.path("password"));
        fs::write(&user, "device@localhost\n").unwrap();
        fs::write(&password, "any\n").unwrap();
        let more =
            format!("username_file = \"{}\"\npassword_file = \"{}\"", user.display(), password.display());
        daemon.configure(self.port, &more);
        daemon.run();
        daemon
    }
}

/// Without a node name no name server of Erlang is started that would stay behind.
fn spawn(dir: &Path) -> Child {
    let (settings, log, database) =
        (dir.join("ejabberd.yml"), dir.join("ejabberd.log"), dir.join("database"));
    let out = fs::File::create(dir.join("out")).unwrap();
    let quoted = |path: &Path| format!("\"{}\"", path.display());
    Command::new("erl")
        .args(["-noinput", "-mnesia", "dir", &quoted(&database), "-ejabberd", "config", &quoted(&settings)])
        .args(["log_path", &quoted(&log), "-s", "ejabberd"])
        .envs([("HOME", dir), ("ERL_LIBS", &*libraries()), ("ERL_CRASH_DUMP", Path::new("/dev/null"))])
        .env("EJABBERD_CONFIG_PATH", &settings)
        .env("EJABBERD_LOG_PATH", &log)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap()
}

impl Drop for Ejabberd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the broker's log:\n{}", self.log());
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn everything_comes_up_through_ejabberd_and_what_it_caps_is_said() {
    let broker = Ejabberd::start("");
    let mut daemon = broker.device();
    let mut client = Client::connect_as(broker.port, "operator", &[ALL], OPERATOR);
    assert_eq!(everything_comes_up(&mut client).state, CommandState::Successful);
    daemon.logged("the broker keeps the session of an absent client for 300 s");
    assert_eq!(daemon.connections(), 1);
    // The last will, and the session that waits for the next connection.
    daemon.kill();
    client.state("the last will", |state| state.reasons.iter().any(|why| why == "the connection broke"));
    client.request(DEVICE, "probe", "waits", "");
    daemon.run();
    assert_eq!(client.final_status("waits").state, CommandState::Successful);
}

fn ejabberd_gets_what_is_too_large_in_smaller_parts() {
    let broker = Ejabberd::start("    max_payload_size: 3000\n");
    let mut daemon = broker.device();
    let mut client = Client::connect_as(broker.port, "operator", &[ALL], OPERATOR);
    assert_eq!(everything_comes_up(&mut client).state, CommandState::Successful);
    assert_eq!(
        daemon.complaints("another client") + daemon.complaints("clients"),
        0,
        "no client is at fault"
    );
    assert!(daemon.connections() < 40, "{} connections", daemon.connections());
}
