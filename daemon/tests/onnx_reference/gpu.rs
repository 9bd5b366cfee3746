//! `tests/gpu.py`, the check of a real GPU, over the stand-ins: it passes what behaves and finds what does not.

use crate::component::{Component, trials};
use crate::machine::{Machine, program};
use clipmark_trt::FOLDER_VARIABLE;
use libtest_mimic::Trial;
use std::ffi::OsString;
use std::process::{Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gpu.py");
const STEADY: &str = "compute_us = 300\ncopy_us = 20";

pub(crate) fn trials() -> Vec<Trial> {
    let python = Component {
        is_here: Command::new(interpreter()).arg("--version").output().is_ok(),
        required_by: "CLIPMARK_REQUIRE_PYTHON",
        had_by: "apt-get install python3",
    };
    trials![&[python];
        what_behaves_as_a_gpu_passes,
        outputs_that_are_not_the_models_and_a_missing_driver_are_found,
    ]
}

/// The interpreter: any will do.
fn interpreter() -> OsString {
    std::env::var_os("CLIPMARK_PYTHON").unwrap_or_else(|| "python3".into())
}

/// Exit code and output of the script.
fn checked(machine: &Machine, checks: &str) -> (i32, String) {
    let mut command = Command::new(interpreter());
    command.arg(SCRIPT).arg(program()).args(["--jobs", "2", "--only"]).args(checks.split(' '));
    let output = command.env(FOLDER_VARIABLE, machine.folder.path()).stdin(Stdio::null()).output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    (output.status.code().expect("no signal"), String::from_utf8_lossy(&words).into_owned())
}

fn what_behaves_as_a_gpu_passes() {
    for (major, checks) in [
        (8, "found cached device_times shared precisions"),
        (10, "precisions tactic_sources workspace builder_level dla"),
        (11, "found precisions dla"),
    ] {
        let machine = Machine::with_tensorrt(major, STEADY);
        let (code, words) = checked(&machine, checks);
        assert_eq!(code, 0, "TensorRT {major}: {words}");
        assert_eq!(words.matches("ok      ").count(), checks.split(' ').count(), "{words}");
    }
}

fn outputs_that_are_not_the_models_and_a_missing_driver_are_found() {
    let machine = Machine::with_tensorrt(8, STEADY);
    let (code, words) = checked(&machine, "selftest");
    assert!(code == 1 && words.contains("FAILED  selftest") && words.contains("DIFFER"), "{words}");
    let (code, words) = checked(&Machine::with_tensorrt(8, "devices = 0"), "found cached");
    assert!(code == 1 && words.contains("no CUDA-capable device"), "{words}");
    assert!(words.contains("2 checks, 2 failed"), "{words}");
}
