//! Exit codes of `clipmark-fleet`: stable, named, and listed in `clipmark-fleet --help`.
//!
//! A number means the same as in `clipmarkd`, and is never given another meaning.

use clipmark_service::outcome::{self, Code};

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// What was asked for was done.
    Success = 0,
    /// The command line, a plan file or the configuration is wrong.
    Usage = 2,
    /// The store cannot be opened, read or written.
    Storage = 5,
    /// A run that was followed was cut off; what was stored is kept.
    Interrupted = 6,
    /// Nothing in the store or among the devices matches, or two profiles cannot be compared.
    NothingFound = 7,
    /// The broker could not be reached, or refused the connection.
    Broker = 8,
    /// A comparison found a regression.
    CheckFailed = 9,
    /// A command that was waited for did not succeed on every device.
    NotSuccessful = 12,
}

impl Code for ExitCode {
    const MEANINGS: &'static [(Self, &'static str)] = &[
        (Self::Success, "done"),
        (Self::Usage, "the command line, a plan file or the configuration is wrong"),
        (Self::Storage, "the store cannot be opened, read or written"),
        (Self::Interrupted, "a run that was followed was cut off; what was stored is kept"),
        (
            Self::NothingFound,
            "nothing in the store or among the devices matches, or two profiles cannot be compared",
        ),
        (Self::Broker, "the broker cannot be reached or refuses the connection"),
        (Self::CheckFailed, "a comparison found a regression"),
        (Self::NotSuccessful, "a command that was waited for did not succeed on every device"),
    ];

    fn number(self) -> u8 {
        self as u8
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

/// An error that ends a command, with the exit code it ends with.
pub type CommandError = outcome::CommandError<ExitCode>;

#[cfg(test)]
mod tests {
    use super::{Code, ExitCode};

    #[test]
    fn codes_are_distinct_and_listed_in_order() {
        let numbers: Vec<u8> = ExitCode::MEANINGS.iter().map(|(code, _)| code.number()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    }
}
