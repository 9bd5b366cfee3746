//! A store, and the commands that read it.

use clipmark_fleet::config;
use clipmark_fleet::store::{Message, Store};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A folder with a configuration that names a store and a broker that nobody runs.
pub(crate) struct Place(pub(crate) tempfile::TempDir);

/// How a command ended: exit code, standard output, standard error.
pub(crate) type Ended = (i32, String, String);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        // Port 9 (discard) of the loopback address: nothing listens there.
        let text = format!(
            "[mqtt]\nhost = \"127.0.0.1\"\nport = 9\n[store]\npath = \"{}\"\n",
            place.database().display()
        );
        fs::write(place.config(), text).unwrap();
        place
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.path().join("fleet.toml")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.path().join("data").join("fleet.db")
    }

    pub(crate) fn fill(&self, batch: &[Message]) {
        let settings = config::Store { path: self.database(), ..config::Store::default() };
        Store::create(&settings).unwrap().commit(batch, 1_800_000_000_000).unwrap();
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clipmark-fleet"));
        let output = command.arg("--config").arg(self.config()).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}
