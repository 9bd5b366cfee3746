//! Exit codes of `clipmarkd`: stable, named, and listed in `clipmarkd --help`.
//!
//! Scripts and service units rely on them; a code is never given another meaning. 8 and 12 are
//! clipmark-fleet's. A panic ends a released binary by SIGABRT and a development build with 101; shells give
//! 128 + n for signals.

use clipmark_service::outcome::{self, Code};

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// What was asked for was done. Points that failed are results, not errors.
    Success = 0,
    /// The command line, a plan file or the configuration is wrong.
    Usage = 2,
    /// A model file cannot be read or used at all.
    BadModel = 3,
    /// The backend asked for cannot be used on this machine.
    BackendUnavailable = 4,
    /// Results could not be written or a record could not be read: disk full, not writable, damaged.
    Storage = 5,
    /// Ended by Ctrl-C or SIGTERM; what was measured is kept.
    Interrupted = 6,
    /// Every point failed or was skipped: there is no figure.
    NothingMeasured = 7,
    /// A check found something missing, or a self-test found a difference.
    CheckFailed = 9,
    /// The board reached the temperature limit, or the limit could not be kept; what was measured is kept.
    TooHot = 10,
    /// A worker process could not be started at all.
    Worker = 11,
}

impl Code for ExitCode {
    const MEANINGS: &'static [(Self, &'static str)] = &[
        (Self::Success, "done; points that failed are results, not errors"),
        (Self::Usage, "the command line, a plan file or the configuration is wrong"),
        (Self::BadModel, "a model file cannot be read or used"),
        (Self::BackendUnavailable, "the backend cannot be used on this machine"),
        (Self::Storage, "results cannot be written or a record cannot be read (disk full, damaged)"),
        (Self::Interrupted, "ended by Ctrl-C or SIGTERM; what was measured is kept"),
        (Self::NothingMeasured, "every point failed or was skipped: there is no figure"),
        (Self::CheckFailed, "a check found something missing, or a self-test a difference"),
        (
            Self::TooHot,
            "the board reached the temperature limit, or it could not be kept; what was measured is kept",
        ),
        (Self::Worker, "a worker process cannot be started"),
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
