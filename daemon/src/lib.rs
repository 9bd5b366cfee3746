//! clipmarkd: runs the benchmark on a board and publishes what it finds.

pub mod backend;
pub mod cli;
pub mod commands;
pub mod config;
pub mod exit_codes;
pub mod model;
pub mod mqtt;
pub mod operation;
pub mod preflight;
pub mod record_store;
pub mod run;
pub mod serve;
pub mod service;
pub mod session;
pub mod spool;
pub mod worker;
