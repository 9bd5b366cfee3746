//! Memory of the process that watches a soak.

use super::Budget;
use super::idle::status;
use crate::binary::Clipmarkd;
use crate::row::Row;
use crate::{Context, Found};
use anyhow::Context as _;
use std::process::Stdio;

pub(super) fn measure(context: &Context, budget: &Budget, found: Found<'_>) -> anyhow::Result<()> {
    let clipmarkd = Clipmarkd::of(context)?;
    let folder = tempfile::tempdir()?;
    let length = if context.quick { "15s" } else { "60s" };
    let soak = ["run", "temporal", "--soak", length, "--soak-only", "--point", "1,8", "--out", "o"];
    let mut child =
        clipmarkd.command(folder.path()).args(soak).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut peak = None;
    let ended = loop {
        // It may be over by now.
        peak = status(child.id(), "", "VmHWM").ok().max(peak);
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    anyhow::ensure!(ended.success(), "the soak failed: {ended}");
    let peak = peak.context("the soak was over before its memory could be read")?;
    found(Row::at_most(
        format!("resident memory, peak over a soak of {length}"),
        peak as f64 / 1024.0,
        "MiB",
        budget.soak_resident_mib,
    ));
    Ok(())
}
