//! `clipmarkd check --selftest`: TensorRT on this board against tract and trtexec, on a built-in model or the user's.
//!
//! The test runs in a process of its own, because it loads NVIDIA's libraries: whatever happens to that process is a
//! finding, not this command's end.

use super::print;
use crate::backend::EngineSpec;
use crate::backend::selftest::on_this_machine;
use crate::confine::{Bounds, confine, environment, memory_bound};
use crate::exit_codes::{CommandError, ExitCode};
use crate::model::hints::HintArgs;
use crate::run::variants::{RunModel, models};
use clipmark_profile::plan::Request;
use clipmark_profile::point::Precision;
use clipmark_profile::record::Cause;
use std::process::Command;

/// Frames of the one inference, where the model leaves them free: few enough for every board.
const FRAMES: u32 = 8;

/// Runs the self-test of `model` in a child process, whose output goes where this process's goes.
///
/// # Errors
/// The child cannot be started, or a signal ended it.
pub fn in_a_child(model: &str) -> Result<ExitCode, CommandError> {
    let failed = |message: String| CommandError::new(ExitCode::Worker, message);
    let unable = |error| failed(format!("the self-test cannot be started as a process of its own: {error}"));
    let scratch = tempfile::tempdir().map_err(unable)?;
    let status = Command::new("/proc/self/exe")
        .args(["check", "--selftest-here", model])
        .env_clear()
        .envs(environment::kept(std::env::vars_os()))
        .env("TMPDIR", scratch.path())
        .status()
        .map_err(unable)?;
    match status.code() {
        Some(0) => Ok(ExitCode::Success),
        Some(code) if code == ExitCode::BackendUnavailable as i32 => Ok(ExitCode::BackendUnavailable),
        Some(code) if code == ExitCode::BadModel as i32 => Ok(ExitCode::BadModel),
        Some(_) => Ok(ExitCode::CheckFailed),
        None => Err(failed(format!(
            "the self-test died ({status}): TensorRT or the driver crashed; look at dmesg, and try \
             `clipmarkd run --backend trtexec`"
        ))),
    }
}

/// Runs the self-test of `model`, a built-in model's name or a file, in this process and prints its report.
///
/// # Errors
/// The model cannot be read or written, or TensorRT or tract cannot run it.
pub fn here(model: &str) -> Result<ExitCode, CommandError> {
    let storage = |error: std::io::Error| CommandError::new(ExitCode::Storage, error);
    let folder = tempfile::tempdir().map_err(storage)?;
    let request = Request { models: vec![model.to_owned()], ..Request::default() };
    let models = models(&request, &HintArgs::default(), folder.path())?;
    let [RunModel { path, weights, shape, record }] = models.as_slice() else {
        return Err(CommandError::new(ExitCode::BadModel, "the self-test takes one model"));
    };
    let at = shape
        .nearest(FRAMES)
        .ok_or_else(|| CommandError::new(ExitCode::Usage, "the self-test's operating point is zero"))?;
    let spec = EngineSpec {
        shape: at,
        precision: Precision::Fp32,
        threads: 1,
        inputs: shape.at(at).map_err(|failure| CommandError::new(ExitCode::BadModel, failure.message))?,
        options: Default::default(),
        cache_dir: None,
    };
    let bounds = Bounds {
        read: weights.iter().chain([path]).cloned().collect(),
        write: vec![std::env::temp_dir()],
        programs: true,
        memory: memory_bound(),
    };
    // As a worker, before NVIDIA's libraries are loaded.
    let confinement = confine(&bounds);
    if !confinement.absent.is_empty() {
        print(&format!("not confined: {confinement}\n"))?;
    }
    let report = on_this_machine(path, &spec, 0).map_err(|error| {
        let unavailable = error.cause == Cause::BackendUnavailable;
        CommandError::new(
            if unavailable { ExitCode::BackendUnavailable } else { ExitCode::CheckFailed },
            error,
        )
    })?;
    print(&format!("self-test: TensorRT on {} at {at} in fp32\n{report}", record.name))?;
    Ok(if report.passed() { ExitCode::Success } else { ExitCode::CheckFailed })
}
