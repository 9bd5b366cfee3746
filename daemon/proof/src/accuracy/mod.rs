//! The ground-truth tests of docs/method.md: what is found is held against what was planted.

mod boards;
mod process;
mod statistics;
mod throttling;

use crate::{Context, Found};

pub(crate) const HOW: &str = "Latencies, throttling and power are planted with known truth (clipmark_profile::truth), boards are captured \
     trees, and whole runs go through the binary with a simulated engine on a virtual clock. The figure is what was \
     found of the truth.";

pub(crate) fn measure(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    statistics::measure(context, found)?;
    throttling::measure(context, found);
    boards::measure(found)?;
    process::measure(context, found)
}

/// The smallest of `values`; not a number when there are none, which keeps no target.
fn least(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().reduce(f64::min).unwrap_or(f64::NAN)
}

/// The largest of `values`; not a number when there are none, which keeps no target.
fn most(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().reduce(f64::max).unwrap_or(f64::NAN)
}
