//! One file per subcommand: its arguments, and `execute`, which turns them into an exit code.
//!
//! To add one, write `NAME.rs` beside this file and add its line to [`crate::cli::Command`].

mod axis_flags;
mod broker_check;
pub mod check;
mod drop_in;
mod heartbeat;
pub mod manual;
pub mod model;
pub mod probe;
pub mod progress;
pub mod replay;
pub mod request;
pub mod run;
pub mod selftest;
pub mod serve;
pub mod show;
pub mod values;
pub mod watch;
pub mod worker;

use crate::exit_codes::{CommandError, ExitCode};
use clipmark_profile::series::Series;
use clipmark_profile::summary::Profile;
use clipmark_profile::text::clean_lines;
use clipmark_service::outcome::write_out;
use std::io::IsTerminal;

/// Writes `text` to standard output, without what a terminal would obey: names in a model's file are its maker's. A
/// reader that went away, e.g. `| head`, is no error.
///
/// # Errors
/// When standard output cannot be written, e.g. redirected to a full disk.
pub fn print(text: &str) -> Result<(), CommandError> {
    write_out(&clean_lines(text), ExitCode::Storage)
}

/// Prints `profile` with its soaks over time, coloured and as wide as standard output calls for.
///
/// # Errors
/// As [`print`].
pub fn print_profile(profile: &Profile, series: &[Series]) -> Result<(), CommandError> {
    // The report cleans what it is made of, and colours the rest.
    write_out(&on_terminal(profile, series), ExitCode::Storage)
}

/// The variables that say where inference runtimes lie, for `--help`.
const RUNTIMES: &str = "Environment:
  CLIPMARK_TENSORRT_DIR  a folder where TensorRT and the CUDA driver are looked for first
  CLIPMARK_TRTEXEC       the trtexec to use, where it is not in the usual places
  CLIPMARK_ONNXRUNTIME   ONNX Runtime's shared library, where it is not in the usual places";

/// Columns assumed where standard output is no terminal.
const DEFAULT_WIDTH: usize = 100;

fn on_terminal(profile: &Profile, series: &[Series]) -> String {
    let plain = !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some();
    let color = if plain { clipmark_report::Color::Plain } else { clipmark_report::Color::Ansi256 };
    let width = terminal_size::terminal_size().map_or(DEFAULT_WIDTH, |(width, _)| usize::from(width.0));
    clipmark_report::terminal(profile, series, clipmark_report::TerminalOptions { width, color })
}
