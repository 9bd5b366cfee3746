//! A Python with the modules that a test needs.

use crate::component::Component;
use std::path::Path;
use std::process::Command;

/// Whether such an interpreter is here.
pub(crate) fn component(modules: &str) -> Component {
    Component {
        is_here: find(modules).is_some(),
        required_by: "CLIPMARK_REQUIRE_PYTHON",
        had_by: "pip install -r .ci/requirements.txt, or set CLIPMARK_PYTHON",
    }
}

fn find(modules: &str) -> Option<String> {
    let has_them = |python: &String| {
        let import = format!("import {modules}");
        Command::new(python).args(["-c", &import]).output().is_ok_and(|output| output.status.success())
    };
    let candidates = [std::env::var("CLIPMARK_PYTHON").ok(), Some("python3".to_owned())];
    candidates.into_iter().flatten().find(has_them)
}

/// An interpreter that has `modules`, of which there is a [`component`].
pub(crate) fn with(modules: &str) -> String {
    find(modules).unwrap_or_else(|| panic!("no Python has {modules}"))
}

/// What `python` prints when it runs `script` with `arguments`.
pub(crate) fn run(python: &str, script: &str, arguments: &[&Path]) -> String {
    let output = Command::new(python).args(["-c", script]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
