//! What clipmarkd takes: binary, memory, wake-ups, start-up, dependencies, held against `daemon/proof/budget.toml`.

mod idle;

use crate::binary::{Clipmarkd, cargo, last_words, shipped};
use crate::row::Row;
use crate::{Context, Found};
use anyhow::Context as _;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::process::Stdio;

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
    binary(&budget, found)?;
    idle::measure(context, &budget, found)?;
    soak(context, &budget, found)
}

/// Binary and dependencies.
fn binary(budget: &Budget, found: Found<'_>) -> anyhow::Result<()> {
    for target in ["aarch64", "x86_64"] {
        let claim = format!("binary, {target}, stripped");
        match std::fs::metadata(shipped(target)) {
            Ok(file) => found(Row::at_most(claim, file.len() as f64 / 1e6, "MB", budget.binary_mb)),
            Err(_) => found(Row::absent(claim, format!("not built here: cross/build.sh {target}"))),
        }
    }
    found(Row::at_most("crates in the binary, its own included", crates()? as f64, "", budget.dependencies));
    Ok(())
}

fn crates() -> anyhow::Result<usize> {
    let tree =
        ["tree", "--locked", "-p", "clipmarkd", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let output = cargo().args(tree).output()?;
    anyhow::ensure!(output.status.success(), "cargo tree failed:\n{}", last_words(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?))
    });
    Ok(names.collect::<BTreeSet<_>>().len())
}

/// Memory of the process that watches a soak.
fn soak(context: &Context, budget: &Budget, found: Found<'_>) -> anyhow::Result<()> {
    let clipmarkd = Clipmarkd::of(context)?;
    let folder = tempfile::tempdir()?;
    let length = if context.quick { "15s" } else { "60s" };
    let order = ["run", "temporal", "--soak", length, "--soak-only", "--point", "1,8", "--out", "o"];
    let mut child =
        clipmarkd.command(folder.path()).args(order).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut peak = None;
    let ended = loop {
        // It may be over by now.
        peak = idle::status(child.id(), "", "VmHWM").ok().max(peak);
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
