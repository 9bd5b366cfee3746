//! The Python that the documentation's and the schemas' tests run.

use std::process::Command;

/// An interpreter that has `modules`, or none; with `CLIPMARK_REQUIRE_PYTHON=1` none is a failure.
pub(crate) fn with(modules: &str) -> Option<String> {
    let has_them = |python: &String| {
        let import = format!("import {modules}");
        Command::new(python).args(["-c", &import]).output().is_ok_and(|output| output.status.success())
    };
    let candidates = [std::env::var("CLIPMARK_PYTHON").ok(), Some("python3".to_owned())];
    let found = candidates.into_iter().flatten().find(has_them);
    let required = std::env::var_os("CLIPMARK_REQUIRE_PYTHON").is_some_and(|value| value == "1");
    assert!(
        found.is_some() || !required,
        "no Python with {modules}: pip install -r .ci/requirements.txt, or set CLIPMARK_PYTHON"
    );
    if found.is_none() {
        eprintln!("NOT RUN, because no Python has {modules}");
    }
    found
}

/// What `python` prints when it runs `script` with `arguments`.
pub(crate) fn run(python: &str, script: &str, arguments: &[&std::path::Path]) -> String {
    let output = Command::new(python).args(["-c", script]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
