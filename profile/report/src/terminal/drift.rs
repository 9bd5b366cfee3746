//! How the board changed during the sweep, block by block.

use super::Page;
use crate::spark::{resample, sparkline};
use clipmark_profile::summary::Profile;

/// Most characters of the line.
const MOST: usize = 48;

/// The board in each block, where it changed.
pub(super) fn write(page: &mut Page, profile: &Profile) {
    let Some(drift) = &profile.drift else { return };
    let Some((fastest, slowest)) = drift.range() else { return };
    page.heading("The board during the sweep: latency over that at its end");
    let levels: Vec<Option<f64>> = drift.blocks.iter().map(|block| Some(block.slowness)).collect();
    let line = sparkline(&resample(&levels, MOST.min(page.width / 2)));
    page.paragraph("  ", &format!("{line}  {fastest:.2} to {slowest:.2} times, in {} blocks", levels.len()));
}
