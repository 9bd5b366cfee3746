//! How a command ends: an exit code of the program's own, and an error that carries one.

use clipmark_profile::text::clean_lines;
use std::error::Error;
use std::fmt;
use std::io::{ErrorKind, Write};

/// The exit codes of a program.
pub trait Code: Copy + 'static {
    /// Every code with its meaning, in the order of their numbers.
    const MEANINGS: &'static [(Self, &'static str)];

    /// The number that the shell sees.
    fn number(self) -> u8;
}

/// The table of exit codes for `--help`.
#[must_use]
pub fn help<C: Code>() -> String {
    let lines = C::MEANINGS.iter().map(|(code, meaning)| format!("  {:>2}  {meaning}", code.number()));
    format!("Exit codes:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// An error that ends a command, with the exit code it ends with.
#[derive(Debug)]
pub struct CommandError<C> {
    /// The exit code.
    pub code: C,
    error: Box<dyn Error + Send + Sync>,
}

impl<C> CommandError<C> {
    /// `error`, ending with `code`. A message may be given as text.
    pub fn new(code: C, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code, error: error.into() }
    }
}

impl<C> fmt::Display for CommandError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<C: fmt::Debug> Error for CommandError<C> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// An error with its causes in one line, for a log. A cause whose text is there already is not repeated.
#[must_use]
pub fn in_one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

/// Writes text to standard output; a reader that has gone, e.g. `head`, has seen enough.
///
/// # Errors
/// When standard output cannot be written, e.g. redirected to a full disk; it ends the command with `code`.
pub fn write_out<C>(text: &str, code: C) -> Result<(), CommandError<C>> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let message =
                format!("cannot write to standard output: {error}; check where it is redirected to");
            Err(CommandError::new(code, message))
        }
        _ => Ok(()),
    }
}

/// The code that a command ends with; an error is printed with its causes, one a line.
pub fn told<C: fmt::Debug>(outcome: Result<C, CommandError<C>>) -> C {
    outcome.unwrap_or_else(|error| {
        // Standard error may be a file on a full disk, which must not hide the code.
        let mut out = std::io::stderr().lock();
        // It may tell what a broker, a board or a model said.
        let _ = writeln!(out, "error: {}", clean_lines(&error.to_string()));
        let mut cause = error.source();
        while let Some(error) = cause {
            let _ = writeln!(out, "  because: {}", clean_lines(&error.to_string()));
            cause = error.source();
        }
        error.code
    })
}

#[cfg(test)]
mod tests {
    use super::{Code, CommandError, help};
    use std::error::Error;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum TestCode {
        Good = 0,
        Bad = 12,
    }

    impl Code for TestCode {
        const MEANINGS: &'static [(Self, &'static str)] = &[(Self::Good, "done"), (Self::Bad, "not done")];

        fn number(self) -> u8 {
            self as u8
        }
    }

    #[test]
    fn codes_stand_right_aligned_beside_their_meanings() {
        assert_eq!(help::<TestCode>(), "Exit codes:\n   0  done\n  12  not done");
    }

    #[test]
    fn an_error_keeps_its_words_and_causes() {
        let inner = CommandError::new(TestCode::Bad, std::io::Error::other(std::fmt::Error));
        assert_eq!(inner.to_string(), std::io::Error::other(std::fmt::Error).to_string());
        let outer = CommandError::new(TestCode::Bad, "in words");
        assert_eq!((outer.to_string().as_str(), outer.code), ("in words", TestCode::Bad));
        assert!(outer.source().is_none());
    }
}
