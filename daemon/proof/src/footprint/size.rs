//! Binary and dependencies.

use super::Budget;
use crate::Found;
use crate::binary::{cargo, last_words, shipped};
use crate::row::Row;
use std::collections::BTreeSet;

pub(super) fn measure(budget: &Budget, found: Found<'_>) -> anyhow::Result<()> {
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
