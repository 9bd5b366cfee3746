//! Disks and networks of a board's own, by user namespaces, which some build machines forbid.

use crate::broker::Broker;
use crate::client::Client;
use crate::component::{Component, trials};
use crate::daemon::{DEVICE, Daemon};
use clipmark_profile::message::{CommandState, ReasonCode};
use libtest_mimic::Trial;
use std::process::Command;

const ALL: &str = "clipmark/v1/d/bench/#";

pub(crate) fn trials() -> Vec<Trial> {
    let namespaces = Component {
        is_here: Command::new("unshare")
            .args(["-Urmn", "true"])
            .status()
            .is_ok_and(|status| status.success()),
        required_by: "CLIPMARK_REQUIRE_NAMESPACES",
        had_by: "sysctl kernel.unprivileged_userns_clone=1",
    };
    trials![&[namespaces];
        a_disk_that_is_full_at_the_start_and_freed_later_is_waited_for,
        a_read_only_state_directory_is_named_as_such_and_waited_for,
        a_nearly_full_disk_refuses_new_runs_and_a_full_one_fails_what_does_not_fit,
        an_interface_that_is_down_at_the_start_is_named,
    ]
}

/// A daemon in a mount namespace in which `mounts` was done before it started.
fn mounted(port: u16, mounts: &str) -> Daemon {
    let mut daemon = Daemon::prepare(port, "");
    let state = daemon.path("state");
    std::fs::create_dir_all(&state).unwrap();
    let mounts = mounts.replace("{state}", &state.display().to_string());
    daemon.spawn(&format!(
        "exec unshare -Urm bash -c '{mounts}; exec \"$0\" serve --config \"$1\"' \"$0\" \"$1\";"
    ));
    daemon
}

/// Does something in the daemon's namespace.
fn inside(daemon: &Daemon, command: &str) {
    let command = command.replace("{state}", &daemon.path("state").display().to_string());
    let pid = daemon.pid().to_string();
    let done = Command::new("nsenter")
        .args(["-t", &pid, "-U", "-m", "--preserve-credentials", "bash", "-c", &command])
        .output()
        .unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
}

/// It says what is wrong, systemd is not kept waiting, and once it is over it serves, without a restart.
fn comes_back(mut daemon: Daemon, broker: &Broker, says: [&str; 2], over: &str) {
    let line = daemon.logged("cannot start yet");
    assert!(says.iter().all(|part| line.contains(part)), "{line}");
    assert!(daemon.notified("READY=1").contains("STATUS=waiting"), "systemd is told");
    daemon.logged("still cannot start");
    assert_eq!(daemon.complaints("cannot start"), 1, "once");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    inside(&daemon, over);
    client.online();
    client.request(DEVICE, "probe", "p", "");
    assert_eq!(client.final_status("p").state, CommandState::Successful);
}

fn a_disk_that_is_full_at_the_start_and_freed_later_is_waited_for() {
    let broker = Broker::start();
    let full = "mount -t tmpfs -o size=200k,nr_inodes=10k none {state}; head -c 1M /dev/zero > {state}/ballast 2>/dev/null";
    let daemon = mounted(broker.port, full);
    comes_back(daemon, &broker, ["No space left on device", "free some space"], "rm {state}/ballast");
}

fn a_read_only_state_directory_is_named_as_such_and_waited_for() {
    let broker = Broker::start();
    let daemon = mounted(broker.port, "mount --bind {state} {state}; mount -o remount,bind,ro {state}");
    let says = ["Read-only file system", "mounted read-only"];
    comes_back(daemon, &broker, says, "mount -o remount,bind,rw {state}");
}

fn a_nearly_full_disk_refuses_new_runs_and_a_full_one_fails_what_does_not_fit() {
    let broker = Broker::start();
    let mut daemon = Daemon::prepare(broker.port, "[spool]\nreserve_bytes = 262144");
    let state = daemon.path("state");
    std::fs::create_dir_all(&state).unwrap();
    let mount = format!("mount -t tmpfs -o size=400k none {}", state.display());
    daemon.spawn(&format!("exec unshare -Urm bash -c '{mount}; head -c 250000 /dev/zero > {}/ballast; exec \"$0\" serve --config \"$1\"' \"$0\" \"$1\";", state.display()));
    daemon.notified("READY=1");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    client.request(DEVICE, "run", "refused", "{}");
    let reason = client.final_status("refused").reason.unwrap();
    assert_eq!(reason.code, ReasonCode::SpoolFull, "{}", reason.message);
    assert!(reason.message.contains("bytes free"), "{}", reason.message);
    // Results go on until nothing fits any more; then a command fails, and the daemon lives on.
    let failed = (0..100).find_map(|index| {
        let id = format!("c{index}");
        client.request(DEVICE, "capture", &id, "");
        client.final_status(&id).reason
    });
    assert_eq!(failed.unwrap().code, ReasonCode::Storage);
    client.request(DEVICE, "probe", "alive", "");
    assert!(client.final_status("alive").state.is_final());
}

/// Without any network there is not even a route; the interface comes up while the daemon waits.
fn an_interface_that_is_down_at_the_start_is_named() {
    let mut daemon = Daemon::prepare(1883, "");
    daemon.spawn("exec unshare -Urn \"$0\" serve --config \"$1\";");
    let line = daemon.logged("no connection to the broker");
    assert!(line.contains("Network is unreachable") && line.contains("no network or no route"), "{line}");
}
