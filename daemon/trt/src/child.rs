//! Programs that must not outlive the process that started them, however that one ends.
//!
//! Here because it needs `unsafe`, which no other crate of clipmark may use.

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the kernel end the program of `command` with SIGKILL when the thread that starts it ends, even by
/// SIGKILL itself.
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    let parent = getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: `bind` makes two system calls
    // and neither allocates nor locks.
    unsafe { command.pre_exec(move || bind(parent)) }
}

fn bind(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that died before the call above sends no signal any more.
    if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}
