//! What a backend's library can do to the machine that it is loaded on: a run over MQTT whose TensorRT parser is
//! hostile (daemon/trt/fakes/hostile), with a real broker, as the user that runs the test and, where that is root, as
//! an ordinary one too.
//!
//! A harness of its own: a test of something that this machine's kernel lacks is listed as ignored, which the standard
//! harness cannot decide while it runs.
//!
//! `CLIPMARK_TEST_PROGRAM` names another clipmarkd to be attacked; `cargo test --test boundary -- --nocapture` prints
//! what the attacker got.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers fail a test, and the report is for the reader"
)]

#[path = "../serve/broker.rs"]
#[expect(dead_code, reason = "shared with the tests of `serve`, which use all of it")]
mod broker;
#[path = "../serve/client.rs"]
#[expect(dead_code, reason = "shared with the tests of `serve`, which use all of it")]
mod client;
mod kernel;
mod scenario;

use kernel::Kernel;
use libtest_mimic::{Arguments, Failed, Trial};
use scenario::{Account, Attacked, attack, attack_as_program};
use std::process::ExitCode;

/// Attempts that Landlock stops.
const FILES: [&str; 13] = [
    "read secrets",
    "read /etc/shadow",
    "read the state",
    "write into the state",
    "write into the spool",
    "write outside of scratch",
    "write into /tmp",
    "leave through another's root",
    "read the daemon's environment",
    "read the parent's environment",
    "open the daemon's memory",
    "enter a group",
    "raise the group's memory limit",
];

/// Attempts that seccomp stops.
const CALLS: [&str; 14] = [
    "connect to the broker",
    "listen on a port",
    "connect to a Unix socket",
    "set up io_uring",
    "change the mode of the state",
    "truncate the model",
    "read the daemon's memory",
    "trace the daemon",
    "signal the daemon",
    "signal the parent",
    "set the daemon's limits",
    "start processes",
    "run a program",
    "make a user namespace",
];

/// Attempts on the daemon itself that it stops without the kernel's help.
const OF_THE_DAEMON: [&str; 7] = [
    "find CREDENTIALS_DIRECTORY",
    "leave through another's root",
    "read the daemon's environment",
    "read the parent's environment",
    "open the daemon's memory",
    "read the daemon's memory",
    "trace the daemon",
];

/// Attempts that need nothing of the kernel to be stopped.
const ALWAYS: [&str; 6] = [
    "find CREDENTIALS_DIRECTORY",
    "find NOTIFY_SOCKET",
    "keep a capability",
    "gain privileges by a program",
    "take twice the machine's memory",
    "outlive others when memory runs out",
];

const MODEL: &str = "NEEDS the model";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let kernel = Kernel::look();
    let mut trials = Vec::new();
    for account in Account::all() {
        let name = account.name;
        let group = |layer: &str| format!("a_hostile_library_gets_no_{layer}::{name}");
        let closed = |attempts: &'static [&'static str], account: Account| {
            move || check_closed(&attack(&account, ""), attempts)
        };
        trials.push(Trial::test(group("files"), closed(&FILES, account)).with_ignored_flag(!kernel.landlock));
        trials.push(Trial::test(group("calls"), closed(&CALLS, account)).with_ignored_flag(!kernel.seccomp));
        trials.push(Trial::test(group("privileges"), closed(&ALWAYS, account)));
        trials.push(
            Trial::test(format!("a_hostile_trtexec_gets_no_more::{name}"), move || {
                check_program(&attack_as_program(&account))
            })
            .with_ignored_flag(!kernel.landlock || !kernel.seccomp),
        );
    }
    // Root may read every process; there the walls are all that there is.
    if let Some(user) = Account::all().into_iter().find(|account| account.name == "user") {
        trials.push(Trial::test("the_daemon_keeps_to_itself_without_walls::user", move || {
            check_closed(&attack(&user, "[worker]\nconfinement = \"off\"\n"), &OF_THE_DAEMON)
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Every one of `attempts` was made and stopped in every process, and every process got what a runtime needs.
fn check_closed(attacked: &Attacked, attempts: &[&str]) -> Result<(), Failed> {
    println!("{attacked}");
    let mut wrong = Vec::new();
    for process in &attacked.processes {
        for attempt in attempts {
            match process.get(*attempt) {
                Some(outcome) if outcome.open => wrong.push(format!("{attempt}: {}", outcome.detail)),
                Some(_) => {}
                // Without a unified hierarchy there is no group to be entered.
                None if attempt.contains("group") => {}
                None => wrong.push(format!("{attempt}: not tried")),
            }
        }
        let needed = process.iter().filter(|(name, _)| name.starts_with("NEEDS ") && *name != MODEL);
        let denied = needed.filter(|(_, outcome)| !outcome.open);
        wrong.extend(denied.map(|(name, outcome)| format!("{name}: {}", outcome.detail)));
    }
    // A worker that only says whether a backend can be used gets no model.
    if !attacked
        .processes
        .last()
        .is_some_and(|process| process.get(MODEL).is_some_and(|outcome| outcome.open))
    {
        wrong.push(format!("{MODEL}: closed to the worker that runs it"));
    }
    if attacked.processes.len() < 2 {
        wrong.push(format!("{} processes reported; the check and the run should", attacked.processes.len()));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failed::from(wrong.join("\n"))) }
}

/// trtexec starts programs, and gets nothing else beyond what a library gets.
fn check_program(attacked: &Attacked) -> Result<(), Failed> {
    println!("{attacked}");
    let open: Vec<String> = attacked
        .processes
        .iter()
        .flatten()
        .filter(|(name, outcome)| outcome.open != name.starts_with("NEEDS "))
        .map(|(name, outcome)| format!("{name}: {}", outcome.detail))
        .collect();
    if attacked.processes.is_empty() {
        return Err(Failed::from("no trtexec reported"));
    }
    if open.is_empty() { Ok(()) } else { Err(Failed::from(open.join("\n"))) }
}
