//! `clipmarkd check --selftest`: TensorRT on this board against tract and trtexec, on a built-in model.
//!
//! The test runs in a process of its own, because it loads NVIDIA's libraries: whatever happens to that process is a
//! finding, not this command's end.

use super::print;
use crate::backend::EngineSpec;
use crate::backend::selftest::on_this_machine;
use crate::exit_codes::{CommandError, ExitCode};
use crate::model::axes::ModelShape;
use crate::model::built_in::BuiltIn;
use crate::model::hints::ModelHints;
use crate::model::onnx::OnnxModel;
use clipmark_profile::point::{GridPoint, Precision};
use clipmark_profile::record::Cause;
use std::process::Command;

/// The operating point: small enough for every board.
const BATCH_SIZE: u32 = 1;
const CLIP_LENGTH: u32 = 8;

/// Runs the self-test in a child process, whose output goes where this process's goes.
///
/// # Errors
/// The child cannot be started, or a signal ended it.
pub fn in_a_child() -> Result<ExitCode, CommandError> {
    let failed = |message: String| CommandError::new(ExitCode::Worker, message);
    let status =
        Command::new("/proc/self/exe").args(["check", "--selftest-here"]).status().map_err(|error| {
            failed(format!("the self-test cannot be started as a process of its own: {error}"))
        })?;
    match status.code() {
        Some(0) => Ok(ExitCode::Success),
        Some(code) if code == ExitCode::BackendUnavailable as i32 => Ok(ExitCode::BackendUnavailable),
        Some(_) => Ok(ExitCode::CheckFailed),
        None => Err(failed(format!(
            "the self-test died ({status}): TensorRT or the driver crashed; look at dmesg, and try --backend trtexec"
        ))),
    }
}

/// Runs the self-test in this process and prints its report.
///
/// # Errors
/// The model cannot be written, or TensorRT or tract cannot run it.
pub fn here() -> Result<ExitCode, CommandError> {
    let storage = |error: std::io::Error| CommandError::new(ExitCode::Storage, error);
    let folder = tempfile::tempdir().map_err(storage)?;
    let path = folder.path().join("joint.onnx");
    let bad = |error: crate::model::ModelError| CommandError::new(ExitCode::BadModel, error);
    BuiltIn::Joint.write(&path, true).map_err(bad)?;
    let shape =
        ModelShape::find(&OnnxModel::read(&path).map_err(bad)?, &ModelHints::default()).map_err(bad)?;
    let at = GridPoint::new(BATCH_SIZE, CLIP_LENGTH)
        .ok_or_else(|| CommandError::new(ExitCode::Usage, "the self-test's operating point is zero"))?;
    let spec = EngineSpec {
        at,
        precision: Precision::Fp32,
        threads: 1,
        inputs: shape.at(at),
        options: Default::default(),
        cache_dir: None,
    };
    let report = on_this_machine(&path, &spec, 0).map_err(|error| {
        let unavailable = error.cause == Cause::BackendUnavailable;
        CommandError::new(
            if unavailable { ExitCode::BackendUnavailable } else { ExitCode::CheckFailed },
            error,
        )
    })?;
    print(&format!("self-test: TensorRT on joint at {at} in fp32\n{report}"))?;
    Ok(if report.passed() { ExitCode::Success } else { ExitCode::CheckFailed })
}
