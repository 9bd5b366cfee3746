//! What measuring costs the measured: the timed loop, the sampler, and peers' loops around the same model.

mod peers;
mod sampler;
mod timed_loop;

use crate::{Context, Found};

pub(crate) const HOW: &str = "Both sides of each comparison run here and now, in alternating blocks; of the blocks the median counts. The engine \
     that does nothing shows the loop's own cost, which is published and never subtracted. Peers run the same model \
     file with the same library, so that what differs is the harness.";

pub(crate) fn measure(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    timed_loop::measure(context, found)?;
    sampler::measure(context, found)?;
    peers::measure(context, found)
}
