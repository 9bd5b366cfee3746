//! An operator's command as a process.

use crate::aggregator::Aggregator;
use std::process::{Child, Command, Output, Stdio};

pub(crate) fn spawn(aggregator: &Aggregator, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clipmark-fleet"));
    command.arg("--config").arg(aggregator.config()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn ended(child: Child) -> (Output, String) {
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, told)
}
