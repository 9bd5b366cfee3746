//! clipmark-fleet: the operator's side of clipmark.
//!
//! Devices publish what they measured over MQTT; an *aggregator* (`serve`) stores it and answers with
//! receipts; the other commands read the store or talk to the devices. Nothing here measures anything, and
//! nothing here knows the daemon: both sides share clipmark-profile and no more.

pub mod cli;
pub mod cohort;
pub mod commands;
pub mod config;
pub mod dashboard;
pub mod demo;
pub mod embedded;
pub mod exit_codes;
pub mod ingest;
pub mod operator;
mod printed;
mod progress;
mod report;
pub mod store;
