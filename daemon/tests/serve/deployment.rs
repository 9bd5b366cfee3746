//! What a board meets when it starts: a full or read-only disk, a network that comes up late.

use crate::broker::Broker;
use crate::client::Client;
use crate::daemon::{DEVICE, Daemon};
use clipmark_profile::message::CommandState;
use std::process::Command;

const ALL: &str = "clipmark/v1/d/bench/#";

/// Whether this machine lets a test mount what it likes in a namespace of its own.
fn has_namespaces() -> bool {
    let is_had = Command::new("unshare").args(["-Urm", "true"]).status().is_ok_and(|status| status.success());
    if !is_had {
        eprintln!("skipped: no user namespaces here");
    }
    is_had
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

#[test]
fn a_disk_that_is_full_at_the_start_and_freed_later_is_waited_for() {
    if !has_namespaces() {
        return;
    }
    let broker = Broker::start();
    let full = "mount -t tmpfs -o size=200k,nr_inodes=10k none {state}; head -c 1M /dev/zero > {state}/ballast 2>/dev/null";
    let daemon = mounted(broker.port, full);
    comes_back(daemon, &broker, ["No space left on device", "free some space"], "rm {state}/ballast");
}

#[test]
fn a_read_only_state_directory_is_named_as_such_and_waited_for() {
    if !has_namespaces() {
        return;
    }
    let broker = Broker::start();
    let daemon = mounted(broker.port, "mount --bind {state} {state}; mount -o remount,bind,ro {state}");
    let says = ["Read-only file system", "mounted read-only"];
    comes_back(daemon, &broker, says, "mount -o remount,bind,rw {state}");
}

#[test]
fn a_state_directory_of_another_user_ends_the_start_with_what_to_do() {
    let mut daemon = Daemon::prepare(1, "");
    std::fs::write(daemon.path("state"), "not a directory").unwrap();
    daemon.spawn("");
    daemon.logged("device.state_dir");
    assert_eq!(daemon.ended().code(), Some(5));
}

/// Each attempt in the log would fill it: a line is written when it is new.
#[test]
fn a_network_that_comes_up_late_is_waited_for_with_few_lines() {
    let mut broker = Broker::start();
    broker.kill();
    let mut daemon = Daemon::start(broker.port, "");
    let line = daemon.logged("no connection to the broker");
    assert!(line.contains("nothing listens there"), "{line}");
    while daemon.connections() < 30 {
        std::thread::yield_now();
    }
    assert_eq!(daemon.complaints("no connection"), 1);
    broker.run();
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    client.request(DEVICE, "probe", "p", "");
    assert_eq!(client.final_status("p").state, CommandState::Successful);
}

/// Without any network there is not even a route; the interface comes up while the daemon waits.
#[test]
fn an_interface_that_is_down_at_the_start_is_named() {
    if !has_namespaces() {
        return;
    }
    let mut daemon = Daemon::prepare(1883, "");
    daemon.spawn("exec unshare -Urn \"$0\" serve --config \"$1\";");
    let line = daemon.logged("no connection to the broker");
    assert!(line.contains("Network is unreachable") && line.contains("no network or no route"), "{line}");
}
