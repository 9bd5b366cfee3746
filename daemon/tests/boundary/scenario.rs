//! One attack: a broker, a daemon of some user, a request, and what the hostile library or program reported.

use crate::broker::Broker;
use crate::client::Client;
use clipmark_trt_fakes::{model, stage};
use rustix::fs::{CWD, Mode, mkfifoat};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// An ordinary user that every Linux has.
const NOBODY: u32 = 65534;
const DEVICE: &str = "bench";

/// A user who runs the daemon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    pub(crate) name: &'static str,
    /// The user to change to, where the test may.
    id: Option<u32>,
}

impl Account {
    /// The user of the test and, where that is root, an ordinary one.
    pub(crate) fn all() -> Vec<Self> {
        match rustix::process::getuid().is_root() {
            true => vec![Self { name: "root", id: None }, Self { name: "user", id: Some(NOBODY) }],
            false => vec![Self { name: "user", id: None }],
        }
    }
}

/// What became of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) open: bool,
    pub(crate) detail: String,
}

/// What every process that loaded the library reported, in order.
#[derive(Debug)]
pub(crate) struct Attacked {
    account: &'static str,
    pub(crate) processes: Vec<BTreeMap<String, Outcome>>,
}

impl fmt::Display for Attacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, process) in self.processes.iter().enumerate() {
            writeln!(f, "--- as {}, process {}", self.account, index + 1)?;
            for (name, outcome) in process {
                let mark = if outcome.open { "OPEN  " } else { "closed" };
                writeln!(f, "{mark}  {name:<38} {}", outcome.detail)?;
            }
        }
        Ok(())
    }
}

/// Runs `copy` on TensorRT's stand-ins with the hostile parser among them. `more` is appended to the configuration.
pub(crate) fn attack(account: &Account, more: &str) -> Attacked {
    let board = Board::new(account);
    stage::tensorrt(&board.path("trt"), 10, "").expect("built stand-ins");
    fs::rename(board.path("trt/libnvonnxparser.so.10"), board.path("trt/libreal_parser.so")).unwrap();
    stage::hostile(&board.path("trt/libnvonnxparser.so.10")).expect("a built stand-in");
    board.run("tensorrt", more)
}

/// Runs `copy` on a trtexec that attacks before it does its work.
pub(crate) fn attack_as_program(account: &Account) -> Attacked {
    let board = Board::new(account);
    let real = concat!(env!("CARGO_MANIFEST_DIR"), "/trt/fakes/trtexec");
    fs::copy(real, board.path("trt/real_trtexec")).expect("copied with its mode");
    let hostile = include_str!("hostile_trtexec.sh");
    fs::write(board.path("trt/trtexec"), hostile).unwrap();
    fs::set_permissions(board.path("trt/trtexec"), fs::Permissions::from_mode(0o755)).unwrap();
    board.run("trtexec", "")
}

/// A daemon of some user with its broker, its secrets and a model.
struct Board {
    account: Account,
    folder: TempDir,
    broker: Broker,
    // Held so that there is something to be reached.
    _socket: UnixListener,
    _notify: UnixDatagram,
}

impl Board {
    fn new(account: &Account) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["trt", "cache/engines", "state", "models", "credentials", "outside", "home"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("models/copy.onnx"), model::identity()).unwrap();
        fs::write(at("password"), "secret\n").unwrap();
        fs::write(at("credentials/mqtt-password"), "secret\n").unwrap();
        // The build's folder may be closed to the user.
        let program = std::env::var_os("CLIPMARK_TEST_PROGRAM").map(PathBuf::from);
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_clipmarkd").into());
        fs::copy(program, at("clipmarkd")).expect("a built clipmarkd");
        let socket = UnixListener::bind(at("socket")).unwrap();
        let notify = UnixDatagram::bind(at("notify")).unwrap();
        Self { account: *account, broker: Broker::start(), folder, _socket: socket, _notify: notify }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, backend: &str, more: &str) -> Attacked {
        let config = format!(
            "[device]\nid = \"{DEVICE}\"\nstate_dir = \"{state}\"\n[models]\ndir = \"{models}\"\n[mqtt]\n\
             host = \"127.0.0.1\"\nport = {port}\nusername_file = \"{password}\"\n\
             password_file = \"credential:mqtt-password\"\n{more}",
            state = self.path("state").display(),
            models = self.path("models").display(),
            password = self.path("password").display(),
            port = self.broker.port,
        );
        fs::write(self.path("clipmarkd.toml"), config).unwrap();
        fs::set_permissions(self.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if let Some(id) = self.account.id {
            hand_over(self.folder.path(), id);
        }
        self.forget_what_proc_holds();
        let daemon = Daemon(self.daemon().spawn().expect("the daemon starts"));
        self.aim(daemon.0.id());
        let mut client = Client::connect(self.broker.port, "operator", &["clipmark/v1/#"]);
        client.online();
        let request = format!(
            r#"{{"models":["copy"],"backends":["{backend}"],"clip_lengths":[8],"batch_sizes":[1],"iterations":20}}"#
        );
        client.request(DEVICE, "run", "attacked", &request);
        let status = client.final_status("attacked");
        println!("the run ended {:?}, {:?}", status.state, status.reason);
        drop(daemon);
        self.read()
    }

    /// Has the kernel forget what it knows of /proc in the middle of every attack, where this user may: rules for folders
    /// that nobody holds are lost with it.
    fn forget_what_proc_holds(&self) {
        let pause = self.path("trt/pause");
        mkfifoat(CWD, &pause, Mode::from_raw_mode(0o644)).unwrap();
        std::thread::spawn(move || {
            // Opens when an attacker reads, and ends with the board's folder.
            while let Ok(_open) = fs::File::options().write(true).open(&pause) {
                let _ = fs::write("/proc/sys/vm/drop_caches", "2");
            }
        });
    }

    fn daemon(&self) -> Command {
        let mut command = Command::new(self.path("clipmarkd"));
        command
            .args(["serve", "--config"])
            .arg(self.path("clipmarkd.toml"))
            .env("CREDENTIALS_DIRECTORY", self.path("credentials"))
            .env("CACHE_DIRECTORY", self.path("cache"))
            .env("NOTIFY_SOCKET", self.path("notify"))
            .env("HOME", self.path("home"))
            .env("CLIPMARK_TENSORRT_DIR", self.path("trt"))
            .env("CLIPMARK_TRTEXEC", self.path("trt/trtexec"))
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        if let Some(id) = self.account.id {
            command.uid(id).gid(id);
        }
        command
    }

    /// Tells the attacker its targets.
    fn aim(&self, daemon: u32) {
        let secrets = [self.path("password"), self.path("credentials/mqtt-password")];
        let secrets = secrets.map(|path| path.display().to_string()).join(":");
        let targets = [
            ("report", self.report().display().to_string()),
            ("secrets", secrets),
            ("broker", self.broker.port.to_string()),
            ("socket", self.path("socket").display().to_string()),
            ("state", self.path("state").display().to_string()),
            ("daemon", daemon.to_string()),
            ("outside", self.path("outside").display().to_string()),
            ("pause", self.path("trt/pause").display().to_string()),
            ("model", self.path("models/copy.onnx").display().to_string()),
        ];
        let lines: String = targets.map(|(key, value)| format!("{key} = {value}\n")).concat();
        fs::write(self.path("trt/fake.conf"), lines).unwrap();
    }

    /// In the engine cache, which a worker writes.
    fn report(&self) -> PathBuf {
        self.path("cache/engines/report")
    }

    fn read(&self) -> Attacked {
        let text = fs::read_to_string(self.report()).unwrap_or_default();
        let mut processes: Vec<BTreeMap<String, Outcome>> = Vec::new();
        for line in text.lines() {
            let mut columns = line.splitn(3, '\t');
            let mut next = || columns.next().unwrap_or_default().to_owned();
            let (name, state, detail) = (next(), next(), next());
            match (name.as_str(), processes.last_mut()) {
                ("process", _) => processes.push(BTreeMap::new()),
                (_, Some(process)) => {
                    process.insert(name, Outcome { open: state == "open", detail });
                }
                _ => {}
            }
        }
        Attacked { account: self.account.name, processes }
    }
}

/// A running daemon. Dropping it kills it.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Makes `path` and everything below the user's.
fn hand_over(path: &Path, id: u32) {
    chown(path, Some(id), Some(id)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            hand_over(&entry.unwrap().path(), id);
        }
    }
}
