//! What needs a Python: backends against ONNX Runtime's own package, its library in a run, and the check of a real GPU.
//!
//! `onnx_reference.sh` installs what is needed into a cache folder, names it by `CLIPMARK_PYTHON` and
//! `CLIPMARK_ONNXRUNTIME`, and sets `CLIPMARK_REQUIRE_PYTHON=1`. What is missing without it is ignored.

#![expect(clippy::unwrap_used, reason = "a helper that fails is its test failing")]
#![expect(
    clippy::print_stderr,
    reason = "what is compared, and how far it differs, belongs into the test's output"
)]

#[path = "../../../profile/tests/common/component.rs"]
mod component;
mod gpu;
#[expect(dead_code, reason = "shared with the tests of `backends`, which use all of it")]
#[path = "../backends/machine.rs"]
mod machine;
mod onnxruntime;
mod reference;

use libtest_mimic::Arguments;
use std::process::ExitCode;

/// Installs ONNX Runtime's package and runs tests with it.
const INSTALLER: &str = "daemon/tests/onnx_reference.sh";

fn main() -> ExitCode {
    let trials = [reference::trials(), onnxruntime::trials(), gpu::trials()];
    libtest_mimic::run(&Arguments::from_args(), trials.into_iter().flatten().collect()).exit_code()
}
