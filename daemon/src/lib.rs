//! clipmarkd: runs the benchmark on a board and publishes what it finds.

pub mod account;
pub mod backend;
mod boundary;
pub mod cli;
pub mod commands;
pub mod config;
pub mod confine;
mod digest;
pub mod drop_ins;
pub mod exit_codes;
pub mod journal;
pub mod model;
pub mod operation;
pub mod placement;
pub mod preflight;
pub mod record_store;
pub mod run;
pub mod serve;
pub mod session;
pub mod spool;
pub mod tensor;
pub mod worker;

pub use clipmark_service::mqtt;
pub use clipmark_service::systemd as service;
