//! Racing against the exhaustive sweep, on planted surfaces and on the built-in model.

use crate::binary::{Clipmarkd, profile};
use crate::row::Row;
use crate::{Context, Found, median};
use anyhow::Context as _;
use clipmark_profile::point::Shape;
use clipmark_profile::truth::sweep::{RacingScore, racing};
use serde_json::Value;
use std::path::Path;
use std::time::Instant;

/// Times that two points are held against each other.
const ROUNDS: usize = 7;

pub(crate) const HOW: &str = "The same plan swept by racing and exhaustively (100 + 1000 iterations of every point): on random planted surfaces \
     of 27 points on a virtual clock, whose optimum is known, and on the built-in model temporal with tract.";

pub(crate) fn measure(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    planted(&racing(context.runs(60) as usize, 1), found);
    built_in(context, found)
}

fn planted(score: &RacingScore, found: Found<'_>) {
    let surfaces = score.surfaces;
    // A sample of a few surfaces scatters around what all of them give.
    let most_time = if surfaces >= 60 { 0.25 } else { 0.3 };
    found(Row::at_most(
        format!("time of racing / exhaustive, {surfaces} planted surfaces"),
        score.time_ratio,
        "",
        most_time,
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

/// Four clip lengths by three batch sizes, so that the exhaustive sweep ends in about a minute.
fn built_in(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    let claim = "time of racing / exhaustive, built-in model temporal";
    if context.quick {
        found(Row::absent(claim, "left out of a quick proof"));
        return Ok(());
    }
    let clipmarkd = Clipmarkd::of(context)?;
    let folder = tempfile::tempdir()?;
    let racing = Sweep::run(&clipmarkd, folder.path(), "racing", &[])?;
    let exhaustive = Sweep::run(&clipmarkd, folder.path(), "exhaustive", &["--exhaustive"])?;
    found(Row::at_most(claim, racing.seconds / exhaustive.seconds, "", 0.3).note(format!(
        "{:.1} s against {:.1} s, 12 points, engines built and everything included",
        racing.seconds, exhaustive.seconds
    )));
    let quick = racing.offline().context("racing named no point for offline work")?;
    let slow = exhaustive.offline().context("the exhaustive sweep named no point for offline work")?;
    let ratio = again(&clipmarkd, folder.path(), quick, slow)?;
    let claim = "throughput of racing's point / the exhaustive sweep's";
    found(Row::at_least(claim, ratio, "", 0.95).note(format!(
        "{} and {}, measured again in turn, {ROUNDS} times each; the medians count",
        words(quick),
        words(slow)
    )));
    Ok(())
}

/// The ratio of two points' throughput, measured apart from the sweeps that named them.
fn again(clipmarkd: &Clipmarkd, folder: &Path, quick: &Value, slow: &Value) -> anyhow::Result<f64> {
    if quick == slow {
        return Ok(1.0);
    }
    let (mut of_quick, mut of_slow) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_quick.push(throughput(clipmarkd, folder, quick)?);
        of_slow.push(throughput(clipmarkd, folder, slow)?);
    }
    Ok(median(&of_quick)? / median(&of_slow)?)
}

/// Frames a second at a point.
fn throughput(clipmarkd: &Clipmarkd, folder: &Path, id: &Value) -> anyhow::Result<f64> {
    let [batch, clip] = ["batch_size", "clip_length"].map(|name| id["shape"][name].to_string());
    let out = folder.join("again");
    let only = ["--no-sampler", "--batch-sizes", &batch, "--clip-lengths", &clip, "--iterations", "300"];
    clipmarkd.run(folder, &[&["run", "temporal", "--out", "again"], &only[..]].concat())?;
    let found = profile(&out)?["points"][0]["frames_per_s"].as_f64();
    std::fs::remove_dir_all(out)?;
    found.with_context(|| format!("no throughput at {}", words(id)))
}

/// A whole run of the built-in model.
struct Sweep {
    seconds: f64,
    profile: Value,
}

impl Sweep {
    fn run(clipmarkd: &Clipmarkd, folder: &Path, out: &str, more: &[&str]) -> anyhow::Result<Self> {
        let plan =
            ["run", "temporal", "--no-sampler", "--clip-lengths", "4,8,16,32", "--batch-sizes", "1,2,4"];
        let began = Instant::now();
        let arguments = [&plan[..], &["--out", out], more].concat();
        clipmarkd.run(folder, &arguments).with_context(|| format!("the {out} sweep"))?;
        let seconds = began.elapsed().as_secs_f64();
        Ok(Self { seconds, profile: profile(&folder.join(out))? })
    }

    /// The point that is named for offline work.
    fn offline(&self) -> Option<&Value> {
        let points = self.profile["operating_points"].as_array()?;
        points.iter().find(|point| point["objective"] == "offline")?["chosen"].get(0)
    }
}

/// The point's shape, in words.
fn words(id: &Value) -> String {
    serde_json::from_value::<Shape>(id["shape"].clone())
        .map_or_else(|_| id.to_string(), |shape| shape.to_string())
}
