//! Racing against the exhaustive sweep, on planted surfaces and on the built-in model.

use crate::binary::Clipmarkd;
use crate::row::Row;
use crate::{Context, Found};
use anyhow::Context as _;
use clipmark_profile::truth::sweep::{RacingScore, racing};
use std::path::Path;
use std::time::Instant;

pub(crate) const HOW: &str = "The same plan swept by racing and exhaustively (100 + 1000 iterations of every point): on random planted surfaces \
     of 27 points on a virtual clock, whose optimum is known, and on the built-in model temporal with tract.";

pub(crate) fn measure(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    planted(&racing(context.runs(60) as usize, 1), found);
    built_in(context, found)
}

fn planted(score: &RacingScore, found: Found<'_>) {
    let surfaces = score.surfaces;
    found(Row::at_most(
        format!("time of racing / exhaustive, {surfaces} planted surfaces"),
        score.time_ratio,
        "",
        0.3,
    ));
    found(Row::at_least(
        "operating points that are the exhaustive sweep's",
        score.same_points * 100.0,
        "%",
        95.0,
    ));
    found(
        Row::at_most(
            "regret against the planted optimum, 95th percentile",
            score.regret_p95 * 100.0,
            "%",
            1.2,
        )
        .note(format!("the exhaustive sweep's own: {:.2} %", score.exhaustive_regret_p95 * 100.0)),
    );
    found(Row::at_most(
        "streaming points that miss their deadline",
        score.deadline_violations as f64,
        "",
        0.0,
    ));
    found(Row::at_most("operating points that racing fails to name", score.unnamed as f64, "", 0.0));
}

/// Two clip lengths by two batch sizes, so that the exhaustive sweep ends within a minute.
fn built_in(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    let claim = "time of racing / exhaustive, built-in model temporal";
    if context.quick {
        found(Row::absent(claim, "left out of a quick proof"));
        return Ok(());
    }
    let clipmarkd = Clipmarkd::of(context)?;
    let folder = tempfile::tempdir()?;
    let racing = taken(&clipmarkd, folder.path(), "racing", &[])?;
    let exhaustive = taken(&clipmarkd, folder.path(), "exhaustive", &["--exhaustive"])?;
    found(Row::at_most(claim, racing / exhaustive, "", 0.4).note(format!(
        "{racing:.1} s against {exhaustive:.1} s, 6 points, engines built and everything included"
    )));
    Ok(())
}

/// Seconds that a run takes.
fn taken(clipmarkd: &Clipmarkd, folder: &Path, out: &str, more: &[&str]) -> anyhow::Result<f64> {
    let plan =
        ["run", "temporal", "--no-sampler", "--clip-lengths", "4,8,16", "--batch-sizes", "1,2", "--out", out];
    let began = Instant::now();
    clipmarkd.run(folder, &[&plan[..], more].concat()).with_context(|| format!("the {out} sweep"))?;
    Ok(began.elapsed().as_secs_f64())
}
