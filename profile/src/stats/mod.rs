//! Statistics: pure functions of slices, each with its source.
//!
//! Terms: a *series* is in order of time, a *sample* is sorted ascending. Latencies are nanoseconds (`u64`);
//! everything else is `f64`. Nothing here reads a clock or draws entropy: random procedures take a seed.
//! A figure that a sample cannot determine is `None`.

pub mod autocorrelation;
pub mod binomial;
pub mod changepoint;
pub mod drift;
pub mod early_stop;
pub mod histogram;
pub mod interval;
mod linear;
pub mod quantile;
pub mod rng;
pub mod robust;
pub mod scaling;
pub mod steady_state;
pub mod theil_sen;
