//! `tests/gpu.py`, the check of a real GPU, over the stand-ins: it passes what behaves and finds what does not.
//!
//! `CLIPMARK_PYTHON` names the interpreter, else python3; with `CLIPMARK_REQUIRE_PYTHON=1` none is a failure.

use super::{Machine, program};
use clipmark_trt::FOLDER_VARIABLE;
use std::ffi::OsString;
use std::process::{Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gpu.py");
const STEADY: &str = "compute_us = 300\ncopy_us = 20";

/// Exit code and output of the script; `None` without Python.
#[expect(clippy::print_stderr, reason = "what is left out, and why, belongs into the test's output")]
fn checked(machine: &Machine, checks: &str) -> Option<(i32, String)> {
    let python = std::env::var_os("CLIPMARK_PYTHON").unwrap_or_else(|| OsString::from("python3"));
    let mut command = Command::new(&python);
    command.arg(SCRIPT).arg(program()).args(["--jobs", "2", "--only"]).args(checks.split(' '));
    let output = command.env(FOLDER_VARIABLE, machine.folder.path()).stdin(Stdio::null()).output();
    let Ok(output) = output else {
        let required = std::env::var_os("CLIPMARK_REQUIRE_PYTHON").is_some_and(|value| value == "1");
        assert!(!required, "there is no {}", python.display());
        eprintln!("nothing checked: there is no {}", python.display());
        return None;
    };
    let words = [output.stdout, output.stderr].concat();
    Some((output.status.code().expect("no signal"), String::from_utf8_lossy(&words).into_owned()))
}

#[test]
fn what_behaves_as_a_gpu_passes() {
    for (major, checks) in [
        (8, "found cached device_times shared precisions"),
        (10, "precisions tactic_sources workspace builder_level dla"),
        (11, "found precisions dla"),
    ] {
        let machine = Machine::with_tensorrt(major, STEADY);
        let Some((code, words)) = checked(&machine, checks) else { return };
        assert_eq!(code, 0, "TensorRT {major}: {words}");
        assert_eq!(words.matches("ok      ").count(), checks.split(' ').count(), "{words}");
    }
}

#[test]
fn outputs_that_are_not_the_models_and_a_missing_driver_are_found() {
    let machine = Machine::with_tensorrt(8, STEADY);
    let Some((code, words)) = checked(&machine, "selftest") else { return };
    assert!(code == 1 && words.contains("FAILED  selftest") && words.contains("DIFFER"), "{words}");
    let Some((code, words)) = checked(&Machine::with_tensorrt(8, "devices = 0"), "found cached") else {
        return;
    };
    assert!(code == 1 && words.contains("no CUDA-capable device"), "{words}");
    assert!(words.contains("2 checks, 2 failed"), "{words}");
}
