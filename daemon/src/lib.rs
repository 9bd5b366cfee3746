//! clipmarkd: runs the benchmark on a board and publishes what it finds.

pub mod backend;
pub mod session;
pub mod spool;
