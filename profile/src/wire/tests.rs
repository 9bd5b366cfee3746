//! What both messages promise: round trips, sizes, refusals, and bytes that do not depend on the CBOR crate.

mod hostile;
mod profile;
mod series;
mod swap;
