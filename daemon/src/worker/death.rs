//! What a worker's end means: exit status, last words and the kernel's counters become a [`Failure`].
//!
//! Pure: everything is an argument.

use clipmark_profile::record::{Cause, Failure, Stage};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Longest quotation of standard error in a failure.
const QUOTED: usize = 300;

/// How a worker ended, as its parent saw it.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// The parent killed it after this many seconds without an answer.
    Hung {
        /// The limit.
        seconds: f64,
    },
    /// It died by itself.
    Exited(ExitStatus),
    /// It answered, but not in the protocol's terms.
    ProtocolViolation,
}

/// What the parent knows beside the end itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExitContext<'a> {
    /// What it was doing.
    pub(super) stage: Stage,
    /// The last it wrote to standard error.
    pub(super) last_words: &'a str,
    /// Whether the kernel's count of processes killed for memory rose in its cgroup.
    pub(super) killed_for_memory: bool,
    /// The limit it ran under, in bytes.
    pub(super) memory_limit: Option<u64>,
    /// The limit of its control group, in bytes.
    pub(super) group_limit: Option<u64>,
}

/// The failure that `end` amounts to.
pub(super) fn judge(end: End, scene: ExitContext<'_>) -> Failure {
    let (cause, mut message) = match end {
        End::Hung { seconds } => {
            let limit = if scene.stage == Stage::Prepare { "--prepare-limit" } else { "--inference-limit" };
            let message = format!("no answer within {seconds:.1} s, so the worker was killed; raise {limit}");
            (Cause::TimedOut, message)
        }
        End::ProtocolViolation => (Cause::Crashed, "the worker's answer is not of the protocol".into()),
        End::Exited(status) => exited(status, scene),
    };
    let words = quotation(scene.last_words);
    if !words.is_empty() {
        message = format!("{message}; it said: {words}");
    }
    let message = message.chars().take(500).collect();
    Failure { stage: scene.stage, cause, message }
}

fn exited(status: ExitStatus, scene: ExitContext<'_>) -> (Cause, String) {
    let under = |bytes: Option<u64>| bytes.map(|bytes| format!(" under a limit of {} MiB", bytes >> 20));
    let limit = under(scene.memory_limit).unwrap_or_default();
    if refused_memory(scene.last_words) {
        return (Cause::OutOfMemory, format!("the worker could not allocate memory{limit}"));
    }
    match (status.signal(), status.code()) {
        (Some(9), _) if scene.killed_for_memory => {
            // Only a group's limit makes the kernel kill.
            let limit = under(scene.group_limit).unwrap_or(limit);
            (Cause::OutOfMemory, format!("the kernel killed the worker for memory{limit}"))
        }
        // Nobody else sends SIGKILL to a worker: the parent knows when it did so itself.
        (Some(9), _) => {
            let message =
                "the worker was killed by SIGKILL, most likely by the kernel for memory; see `dmesg`";
            (Cause::OutOfMemory, message.into())
        }
        (Some(signal), _) => {
            (Cause::Crashed, format!("the worker died by signal {signal} ({})", signal_name(signal)))
        }
        (None, code) => {
            let code = code.map_or_else(|| "an unknown code".into(), |code| code.to_string());
            (Cause::Crashed, format!("the worker ended by itself with exit code {code}"))
        }
    }
}

/// The words of Rust's and C++'s allocators, and of tract's, when memory is refused.
fn refused_memory(words: &str) -> bool {
    const REFUSALS: [&str; 4] =
        ["memory allocation of", "std::bad_alloc", "Cannot allocate memory", "Failed to allocate"];
    REFUSALS.iter().any(|refusal| words.contains(refusal))
}

const fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => "SIGILL: an instruction that this CPU lacks",
        6 => "SIGABRT: it gave up by itself",
        7 => "SIGBUS: a mapped file was cut short or memory failed",
        8 => "SIGFPE: an arithmetic error",
        11 => "SIGSEGV: an invalid memory access",
        15 => "SIGTERM",
        _ => "see signal(7)",
    }
}

/// The end of the last words, on one line.
fn quotation(words: &str) -> String {
    let flat = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let skipped = flat.chars().count().saturating_sub(QUOTED);
    if skipped == 0 { flat } else { format!("...{}", flat.chars().skip(skipped).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::{End, ExitContext, judge};
    use clipmark_profile::record::{Cause, Stage};
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn scene(last_words: &str) -> ExitContext<'_> {
        ExitContext {
            stage: Stage::Measure,
            last_words,
            killed_for_memory: false,
            memory_limit: None,
            group_limit: None,
        }
    }

    fn signalled(signal: i32) -> End {
        End::Exited(ExitStatus::from_raw(signal))
    }

    #[test]
    fn signals_and_words_are_told_apart() {
        let cases = [
            (signalled(11), "", Cause::Crashed, "SIGSEGV"),
            (signalled(9), "", Cause::OutOfMemory, "SIGKILL"),
            (
                signalled(6),
                "memory allocation of 4096 bytes failed",
                Cause::OutOfMemory,
                "could not allocate",
            ),
            (signalled(6), "terminate called", Cause::Crashed, "terminate called"),
            (End::Exited(ExitStatus::from_raw(101 << 8)), "panicked", Cause::Crashed, "exit code 101"),
            (End::Hung { seconds: 2.0 }, "", Cause::TimedOut, "--inference-limit"),
            (End::ProtocolViolation, "", Cause::Crashed, "protocol"),
        ];
        for (end, words, cause, part) in cases {
            let failure = judge(end, scene(words));
            assert_eq!(failure.cause, cause, "{end:?}");
            assert!(failure.message.contains(part), "{end:?}: {}", failure.message);
        }
    }

    #[test]
    fn a_counted_kill_names_the_limit() {
        let scene = ExitContext { killed_for_memory: true, memory_limit: Some(64 << 20), ..scene("") };
        assert!(judge(signalled(9), scene).message.contains("limit of 64 MiB"));
        let scene = ExitContext { group_limit: Some(32 << 20), ..scene };
        assert!(judge(signalled(9), scene).message.contains("limit of 32 MiB"));
    }

    #[test]
    fn long_words_are_cut_to_their_end_and_the_message_to_its_bound() {
        let words = format!("{}the end", "x ".repeat(2000));
        let failure = judge(signalled(11), scene(&words));
        assert!(failure.message.ends_with("the end"), "{}", failure.message);
        assert!(failure.message.chars().count() <= 500);
    }
}
