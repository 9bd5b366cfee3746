//! A machine of a test's own: what of a GPU it has, and how the binary runs on it.

use clipmark_daemon::backend::trtexec::PROGRAM_VARIABLE;
use clipmark_trt::FOLDER_VARIABLE;
use clipmark_trt_fakes::{model, stage};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The stand-in for trtexec.
pub(crate) const TRTEXEC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/trt/fakes/trtexec");

/// The folder of built engines.
const CACHE: &str = "engines";

/// The binary under test.
pub(crate) fn program() -> PathBuf {
    let named = std::env::var_os("CLIPMARK_TEST_PROGRAM");
    named.unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_clipmarkd"))).into()
}

/// A machine: a folder with TensorRT, the CUDA driver and trtexec as far as it has them, and a model.
pub(crate) struct Machine {
    pub(crate) folder: TempDir,
}

impl Machine {
    /// A machine without a GPU.
    pub(crate) fn bare() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("copy.onnx"), model::identity()).expect("a writable folder");
        std::fs::create_dir(folder.path().join(CACHE)).expect("a writable folder");
        Self { folder }
    }

    /// A machine with TensorRT `major`; `settings` say how it behaves.
    pub(crate) fn with_tensorrt(major: u32, settings: &str) -> Self {
        let machine = Self::bare();
        let settings = format!("{settings}\nlog = {}\n", machine.builds_file().display());
        stage::tensorrt(machine.folder.path(), major, &settings).expect("built stand-ins");
        machine
    }

    /// The same, with trtexec.
    pub(crate) fn with_trtexec(self) -> Self {
        std::fs::copy(TRTEXEC, self.path("trtexec")).expect("copied with its mode");
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the stand-in for the builder notes what it is asked for: a worker writes nowhere else.
    fn builds_file(&self) -> PathBuf {
        self.path(CACHE).join("builds")
    }

    /// `clipmarkd arguments` on this machine.
    pub(crate) fn clipmarkd(&self, arguments: &str) -> Output {
        Command::new(program())
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env(FOLDER_VARIABLE, self.folder.path())
            .env(PROGRAM_VARIABLE, self.path("trtexec"))
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts")
    }

    /// A run of `arguments` that must end with `code`; what it said, and its profile.
    pub(crate) fn run(&self, arguments: &str, code: i32) -> (String, serde_json::Value) {
        let output =
            self.clipmarkd(&format!("run {arguments} --no-sampler --engine-cache {CACHE} --out out"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        (said, self.profile())
    }

    fn profile(&self) -> serde_json::Value {
        let bytes = std::fs::read(self.path("out/profile.json")).expect("a profile");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// What the builder was asked for, one line an engine.
    pub(crate) fn builds(&self) -> Vec<String> {
        let notes = std::fs::read_to_string(self.builds_file()).unwrap_or_default();
        notes.lines().filter(|line| line.starts_with("build ")).map(str::to_owned).collect()
    }
}
