//! A real PostgreSQL server of the test's own, from Debian's package `postgresql`.

use clipmark_fleet::config;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A server that listens on a socket in its own directory. Dropping it stops it.
pub(crate) struct Server {
    dir: TempDir,
    bin: PathBuf,
}

fn newest_bin() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max()
}

/// The server refuses to run as root, so that its owner runs it then.
fn command(program: &Path) -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        return command;
    }
    Command::new(program)
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {told}");
}

/// A folder that the server's owner may use.
fn folder() -> TempDir {
    let dir = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
    if rustix::process::geteuid().is_root() {
        run(Command::new("chown").arg("postgres").arg(dir.path()));
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// The files of a new server. Making them costs more than most tests, so that they are made once and copied.
fn template(bin: &Path) -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(tmp).unwrap();
    let version = bin.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
    let (place, partial) =
        (tmp.join(format!("postgresql-{version}")), tmp.join(format!("postgresql-{version}.partial")));
    let lock = fs::File::create(tmp.join(format!("postgresql-{version}.lock"))).unwrap();
    lock.lock().unwrap();
    if !place.exists() {
        let dir = folder();
        let mut initdb = command(&bin.join("initdb"));
        run(initdb
            .arg("-D")
            .arg(dir.path().join("data"))
            .args(["-A", "trust", "-U", "postgres", "-N", "-E", "UTF8"]));
        let _ = fs::remove_dir_all(&partial);
        run(Command::new("cp").arg("-a").arg(dir.path().join("data")).arg(&partial));
        fs::rename(&partial, &place).unwrap();
    }
    place
}

impl Server {
    /// Whether tests that need a server are to be ignored: none is installed, and CLIPMARK_REQUIRE_POSTGRESQL is
    /// not set.
    pub(crate) fn is_missing() -> bool {
        newest_bin().is_none() && std::env::var_os("CLIPMARK_REQUIRE_POSTGRESQL").is_none()
    }

    /// A new, empty server.
    pub(crate) fn start() -> Self {
        let bin = newest_bin().expect("PostgreSQL is needed for this test: apt-get install postgresql");
        let server = Self { dir: folder(), bin };
        run(Command::new("cp").arg("-a").arg(template(&server.bin)).arg(server.data()));
        let socket = server.dir.path().display();
        let options = format!("-k {socket} -c listen_addresses='' -c fsync=off");
        let mut start = command(&server.bin.join("pg_ctl"));
        // Its children keep the output open, which would be waited for.
        let started = start
            .arg("-D")
            .arg(server.data())
            .args(["-w", "-s", "-o", &options, "-l"])
            .arg(server.data().join("log"))
            .arg("start")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let log = fs::read_to_string(server.data().join("log")).unwrap_or_default();
        assert!(started.unwrap().success(), "PostgreSQL does not start: {log}");
        server
    }
    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The settings for a new database of this server.
    pub(crate) fn database(&self, name: &str) -> config::Store {
        let host = self.dir.path().display();
        let address = |database: &str| format!("host={host} user=postgres dbname={database}");
        let mut client = postgres::Client::connect(&address("postgres"), postgres::NoTls).unwrap();
        client.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        config::Store { postgres: Some(address(name)), ..config::Store::default() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = command(&self.bin.join("pg_ctl"));
        let stopped = stop.arg("-D").arg(self.data()).args(["-m", "immediate", "-s", "stop"]).status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("the test's PostgreSQL in {} could not be stopped", self.data().display());
        }
    }
}
