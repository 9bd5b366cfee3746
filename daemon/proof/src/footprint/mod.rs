//! What clipmarkd takes: binary, memory, wake-ups, start-up, dependencies, held against `daemon/proof/budget.toml`.

mod idle;
mod size;
mod soak;

use crate::{Context, Found};
use serde::Deserialize;

pub(crate) const HOW: &str = "Each figure is held against daemon/proof/budget.toml. The daemon idles at a mosquitto of its own; READY is what \
     systemd would be told; a wake-up is a context switch of any of its threads. The soak's memory is that of the \
     process that watches, without the worker that holds the model.";

/// Most that each may be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    binary_mb: f64,
    dependencies: f64,
    start_up_ms: f64,
    idle_resident_mib: f64,
    idle_own_mib: f64,
    wake_ups_per_s: f64,
    soak_resident_mib: f64,
}

pub(crate) fn measure(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    let path = crate::binary::workspace().join("daemon/proof/budget.toml");
    let budget: Budget = toml::from_str(&std::fs::read_to_string(path)?)?;
    size::measure(&budget, found)?;
    idle::measure(context, &budget, found)?;
    soak::measure(context, &budget, found)
}
