//! The subcommands, one module each: they parse arguments, ask the store or the devices, and print.

pub mod acl;
pub mod cancel;
mod choices;
pub mod compare;
pub mod demo;
pub mod devices;
pub mod export;
pub mod models;
pub mod profiles;
pub mod prune;
pub mod report;
pub mod serve;
pub mod trigger;
pub mod watch;
