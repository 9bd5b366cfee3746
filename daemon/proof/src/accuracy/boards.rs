//! Captured board trees, and the kernel's own account of a process.

use crate::row::Row;
use crate::{Found, binary};
use anyhow::Context as _;
use clipmark_daemon::account;
use clipmark_probes::board::Boards;
use clipmark_probes::registry::Sensors;
use clipmark_probes::root::Root;
use clipmark_probes::tree::Tree;
use clipmark_profile::units::Nanos;
use serde::Deserialize;
use std::path::Path;

/// What the total of a captured tree must be: `probes/tests/fixtures/totals.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Totals {
    tree: Vec<Total>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Total {
    fixture: String,
    overlay: Option<String>,
    board: String,
    topology: Option<String>,
    total_mw: Option<i64>,
}

impl Total {
    fn is_read(&self, dir: &Path, boards: &Boards) -> anyhow::Result<bool> {
        let text = |name: String| std::fs::read_to_string(dir.join(&name)).with_context(|| name);
        let mut tree = Tree::parse(&text(format!("{}.txt", self.fixture))?)?;
        if let Some(overlay) = &self.overlay {
            tree.apply(&text(format!("{}.{overlay}.overlay.txt", self.fixture))?)?;
        }
        let mut sensors = Sensors::discover(&Root::stored(tree), boards);
        let readings = sensors.read_settled(Nanos(0));
        let total = sensors.total_power_mw(&readings);
        Ok(sensors.board.id == self.board
            && sensors.power_topology == self.topology
            && total == self.total_mw)
    }
}

pub(super) fn measure(found: Found<'_>) -> anyhow::Result<()> {
    let dir = binary::workspace().join("probes/tests/fixtures");
    let totals: Totals = toml::from_str(&std::fs::read_to_string(dir.join("totals.toml"))?)?;
    let boards = Boards::embedded()?;
    let mut wrong = Vec::new();
    for total in &totals.tree {
        if !total.is_read(&dir, &boards)? {
            wrong.push(total.fixture.as_str());
        }
    }
    let absent = totals.tree.iter().filter(|total| total.total_mw.is_none()).count();
    let note = format!(
        "{} trees, {absent} of them without a readable total, which must be absent {}",
        totals.tree.len(),
        wrong.join(" ")
    );
    found(
        Row::at_most("board trees whose board, rails or total power is wrong", wrong.len() as f64, "", 0.0)
            .note(note.trim_end()),
    );
    page_faults(found)
}

/// Pages that are touched are the faults that are counted.
fn page_faults(found: Found<'_>) -> anyhow::Result<()> {
    rustix::thread::disable_transparent_huge_pages(true)?;
    let page = rustix::param::page_size();
    let pages = (64 << 20) / page;
    let count = || account::counters().minor_faults.context("/proc/self/stat tells no page faults");
    let before = count()?;
    let mut fresh = vec![0_u8; pages * page];
    for touched in fresh.iter_mut().step_by(page) {
        *touched = 1;
    }
    let faults = count()? - before;
    rustix::thread::disable_transparent_huge_pages(false)?;
    let touched = fresh.iter().map(|&byte| usize::from(byte)).sum::<usize>();
    let error = (faults as f64 / touched as f64 - 1.0).abs() * 100.0;
    found(
        Row::at_most("page faults counted for an output of known size: error", error, "%", 0.5)
            .note(format!("{faults} for {touched} pages")),
    );
    Ok(())
}
