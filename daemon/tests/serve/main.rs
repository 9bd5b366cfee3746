//! `clipmarkd serve` against a real mosquitto: what an operator and an aggregator see of it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers fail a test and show the logs when they do"
)]

mod backlog;
mod broker;
mod brokers;
mod certificates;
mod chaos;
mod client;
mod daemon;
mod delivery;
mod deployment;
mod faults;
mod parts;
mod proxy;
mod requests;
mod runs;
mod security;
mod tls;
mod whole;
