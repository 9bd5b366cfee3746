//! What needs a Python: the documentation's readers, the published schemas, and figures computed by other means.
//!
//! `CLIPMARK_PYTHON` names the interpreter, else python3. Without one that has the packages of a test the test is
//! ignored; with `CLIPMARK_REQUIRE_PYTHON=1` it fails.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "helpers write files and fail a test")]

#[path = "../common/component.rs"]
mod component;
mod documentation;
#[path = "../golden/figures.rs"]
mod figures;
mod live;
#[path = "../common/python.rs"]
mod python;
mod schema;
#[path = "../wire/vectors.rs"]
mod vectors;

use libtest_mimic::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    let trials = [documentation::trials(), live::trials(), schema::trials()].into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
