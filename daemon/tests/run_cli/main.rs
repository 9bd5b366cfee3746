//! `clipmarkd run`, `replay` and `show` through the real binary.

mod boards;
mod errors;
mod figures;
mod resume;
mod soak;
mod streams;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A variant whose engines are simulated: no time passes while they run.
const VARIANT: &str =
    "[variant]\nseed = 7\n[variant.noise]\nsigma = 0.05\n[variant.latency]\nfixed_us = 900.0\n";

/// The binary, in `folder`.
fn clipmarkd(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clipmarkd"));
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs the binary in `folder` and waits for its end.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    clipmarkd(folder).args(arguments).output().expect("the binary starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder with the simulated variant in `variant.toml`.
fn folder_with(variant: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a temporary folder");
    std::fs::write(folder.path().join("variant.toml"), variant).expect("a writable folder");
    let path = folder.path().to_owned();
    (folder, path)
}

/// Arguments of a quick run of the simulated variant into `out`.
fn quick(out: &str) -> Vec<&str> {
    let arguments = "run --simulate variant.toml --no-sampler --clip-lengths 8,16 --batch-sizes 1,2 \
                     --iterations 60 --out";
    arguments.split_whitespace().chain([out]).collect()
}

fn json(path: &Path) -> serde_json::Value {
    let bytes = std::fs::read(path).expect("the file is there");
    serde_json::from_slice(&bytes).expect("it is JSON")
}
