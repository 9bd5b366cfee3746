//! Runs and checks over other backends than tract, through the real binary: TensorRT and trtexec over their
//! stand-ins, ONNX Runtime where its library is.
//!
//! `CLIPMARK_TEST_PROGRAM` names another clipmarkd to be held to this, `CLIPMARK_FAKES_DIR` its stand-ins.

mod failures;
mod gpu;
mod onnxruntime;
mod runs;
mod selftest;
mod trtexec;

use clipmark_daemon::backend::trtexec::PROGRAM_VARIABLE;
use clipmark_trt::FOLDER_VARIABLE;
use clipmark_trt_fakes::{model, stage};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The stand-in for trtexec.
const TRTEXEC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/trt/fakes/trtexec");

/// The folder of built engines.
const CACHE: &str = "engines";

/// The binary under test.
fn program() -> PathBuf {
    let named = std::env::var_os("CLIPMARK_TEST_PROGRAM");
    named.unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_clipmarkd"))).into()
}

/// A machine: a folder with TensorRT, the CUDA driver and trtexec as far as it has them, and a model.
struct Machine {
    folder: TempDir,
}

impl Machine {
    /// A machine without a GPU.
    fn bare() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("copy.onnx"), model::identity()).expect("a writable folder");
        std::fs::create_dir(folder.path().join(CACHE)).expect("a writable folder");
        Self { folder }
    }

    /// A machine with TensorRT `major`; `settings` say how it behaves.
    fn with_tensorrt(major: u32, settings: &str) -> Self {
        let machine = Self::bare();
        let settings = format!("{settings}\nlog = {}\n", machine.builds_file().display());
        stage::tensorrt(machine.folder.path(), major, &settings).expect("built stand-ins");
        machine
    }

    /// The same, with trtexec.
    fn with_trtexec(self) -> Self {
        std::fs::copy(TRTEXEC, self.path("trtexec")).expect("copied with its mode");
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the stand-in for the builder notes what it is asked for: a worker writes nowhere else.
    fn builds_file(&self) -> PathBuf {
        self.path(CACHE).join("builds")
    }

    /// `clipmarkd arguments` on this machine.
    fn clipmarkd(&self, arguments: &str) -> Output {
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
    fn run(&self, arguments: &str, code: i32) -> (String, serde_json::Value) {
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
    fn builds(&self) -> Vec<String> {
        let notes = std::fs::read_to_string(self.builds_file()).unwrap_or_default();
        notes.lines().filter(|line| line.starts_with("build ")).map(str::to_owned).collect()
    }
}

/// The point of `profile` at this clip length, of its first variant.
fn point(profile: &serde_json::Value, clip_length: u32) -> &serde_json::Value {
    let points = profile["points"].as_array().expect("points");
    let at = |point: &&serde_json::Value| {
        point["id"]["variant"] == 0 && point["id"]["shape"]["clip_length"] == clip_length
    };
    points.iter().find(at).unwrap_or_else(|| panic!("no point at T{clip_length}: {profile:#}"))
}

/// Whether a point has a remark with these words.
fn remarks(point: &serde_json::Value, words: &str) -> bool {
    let list = point["remarks"].as_array().expect("remarks");
    list.iter().any(|remark| remark.as_str().is_some_and(|remark| remark.contains(words)))
}
