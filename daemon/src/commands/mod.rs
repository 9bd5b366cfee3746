//! One file per subcommand: its arguments, and `execute`, which turns them into an exit code.
//!
//! To add one, write `NAME.rs` beside this file and add its line to [`crate::cli::Command`].

pub mod check;
pub mod probe;
pub mod watch;

use crate::exit_codes::{CommandError, ExitCode};
use std::io::{ErrorKind, Write};

/// Writes `text` to standard output. A reader that went away, e.g. `| head`, is no error.
///
/// # Errors
/// When standard output cannot be written, e.g. redirected to a full disk.
pub fn print(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let message =
                format!("cannot write to standard output: {error}; check where it is redirected to");
            Err(CommandError::new(ExitCode::Storage, message))
        }
        _ => Ok(()),
    }
}
