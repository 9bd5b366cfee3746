//! `clipmark-fleet serve` as a process, with a real mosquitto and a real SQLite.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers fail a test and say what is skipped")]

mod access;
mod aggregator;
mod backlog;
#[expect(dead_code, reason = "shared with the daemon's tests, which use all of it")]
#[path = "../../../daemon/tests/serve/broker.rs"]
mod broker;
#[expect(dead_code, reason = "shared with the daemon's tests, which use all of it")]
#[path = "../../../daemon/tests/serve/client.rs"]
mod client;
mod command;
mod delivery;
mod device;
mod faults;
mod hostile;
mod operator;
mod raw;
#[expect(dead_code, reason = "shared with the store's suite, which uses all of it")]
#[path = "../common/records.rs"]
mod records;
