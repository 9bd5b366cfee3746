//! A false clock, by Debian's libfaketime.

use crate::certificates::{ALWAYS, certificates, encrypted, trusting};
use crate::client::Client;
use crate::component::{Component, trials};
use crate::daemon::{DEVICE, Daemon};
use clipmark_profile::message::CommandState;
use libtest_mimic::Trial;
use std::path::PathBuf;

fn library() -> PathBuf {
    format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH).into()
}

pub(crate) fn trials() -> Vec<Trial> {
    let faketime = Component {
        is_here: library().exists(),
        required_by: "CLIPMARK_REQUIRE_FAKETIME",
        had_by: "apt-get install faketime",
    };
    trials![&[faketime]; a_clock_that_starts_in_1970_is_named_and_the_connection_comes_once_it_is_set]
}

/// A board without a battery: its clock starts in 1970 and is set once the network is there.
fn a_clock_that_starts_in_1970_is_named_and_the_connection_comes_once_it_is_set() {
    let mut broker = encrypted("");
    certificates(broker.dir(), "IP:127.0.0.1", ALWAYS);
    broker.run();
    let mut daemon = Daemon::prepare(broker.tls_port, "");
    daemon.configure(broker.tls_port, &trusting(broker.dir()));
    let clock = daemon.path("clock");
    std::fs::write(&clock, "@1970-01-01 00:00:10").unwrap();
    for (name, value) in [
        ("LD_PRELOAD", library().display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ] {
        daemon.environment.push((name, value));
    }
    daemon.run();
    let line = daemon.logged("no connection to the broker");
    assert!(line.contains("not valid yet") && line.contains("compare this machine's clock"), "{line}");
    assert_eq!(daemon.complaints("no connection to the broker"), 1);
    let mut client = Client::connect(broker.port, "operator", &["clipmark/v1/#"]);
    std::fs::write(&clock, "+0").unwrap();
    client.online();
    client.request(DEVICE, "capture", "c", "");
    let status = client.final_status("c");
    assert_eq!(status.state, CommandState::Successful);
    assert!(status.at_unix_ms > 1_000_000_000_000, "{status:?}");
}
