//! Ground truth: how well the analysis does on data whose answer is known.
//!
//! Each function plants a truth, runs the real analysis many times and returns the score, so that tests hold
//! it to a target and documents can quote it. Everything is seeded: the same arguments give the same score.
//!
//! This module judges; it holds no method of its own and nothing measured on a machine.

pub mod board;
pub mod drift;
pub mod energy;
pub mod latency;
pub mod pacing;
pub mod settling;
pub mod source;
pub mod stopping;
pub mod streams;
pub mod sweep;
pub mod throttle;
