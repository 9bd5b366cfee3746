//! The subcommands, one module each: they parse arguments, ask the store or the devices, and print.

pub mod devices;
pub mod serve;
