//! Whole runs through the binary: engines that cheat, inputs that matter, kills.

use crate::binary::{Clipmarkd, Followed, profile};
use crate::row::Row;
use crate::{Context, Found};
use anyhow::Context as _;
use clipmark_daemon::backend::EngineSpec;
use clipmark_daemon::model::axes::ModelShape;
use clipmark_daemon::model::built_in::BuiltIn;
use clipmark_daemon::model::hints::ModelHints;
use clipmark_daemon::model::onnx::OnnxModel;
use clipmark_daemon::run::pool::sensitivity_remark;
use clipmark_daemon::worker::handle::{Trouble, Worker, WorkerConfig};
use clipmark_daemon::worker::protocol::{PrepareOrder, Reply, WorkerCommand};
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::record::Stage;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Without noise an engine that was built again repeats itself exactly.
const STEADY: &str = "[variant]\nseed = 7\n[variant.noise]\nsigma = 0.0\n";
const GRID: [&str; 8] =
    ["--no-sampler", "--clip-lengths", "8,16", "--batch-sizes", "1,2", "--iterations", "60", "--simulate"];
const FIGURES: [&str; 7] = ["iterations", "mean_ns", "p50_ns", "p95_ns", "p99_ns", "min_ns", "max_ns"];
/// Longest wait for a worker.
const LIMIT: Duration = Duration::from_secs(60);
/// More steps than the grid above takes.
const MOST_KILLS: usize = 40;

pub(super) fn measure(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    let clipmarkd = Clipmarkd::of(context)?;
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let model = OnnxModel::parse(&BuiltIn::Temporal.onnx_bytes()).map_err(anyhow::Error::msg)?;
    let shape = ModelShape::find(&model, &ModelHints::default())?;
    let planted = Planted { clipmarkd: &clipmarkd, folder, shape };
    cheats(&planted, found)?;
    contents(&planted, found)?;
    kills(&clipmarkd, folder, found)
}

fn profile_of(clipmarkd: &Clipmarkd, folder: &Path, name: &str, variant: &str) -> anyhow::Result<Value> {
    let file = format!("{name}.toml");
    std::fs::write(folder.join(&file), variant)?;
    let arguments = [&["run"], &GRID[..], &[&file, "--out", name]].concat();
    clipmarkd.run(folder, &arguments)?;
    profile(&folder.join(name))
}

/// A simulated engine with the inputs of the built-in model temporal, in a worker of its own.
struct Planted<'a> {
    clipmarkd: &'a Clipmarkd,
    folder: &'a Path,
    shape: ModelShape,
}

impl Planted<'_> {
    fn worker(&self, variant: &str) -> anyhow::Result<Worker> {
        let model = self.folder.join("planted.toml");
        std::fs::write(&model, variant)?;
        let at = Shape::new(1, 2).context("a point")?;
        let spec = EngineSpec {
            shape: at,
            precision: Precision::Model,
            threads: 1,
            inputs: self.shape.at(at).map_err(|failure| anyhow::anyhow!("{}", failure.message))?,
            options: std::collections::BTreeMap::new(),
            cache_dir: None,
        };
        let mut settings = WorkerConfig::own(None, LIMIT, LIMIT);
        settings.program = self.clipmarkd.path().into();
        let mut worker =
            Worker::spawn(&settings).map_err(|failure| anyhow::anyhow!("{}", failure.message))?;
        let order = PrepareOrder { backend: "simulated".into(), model, spec, seed: 1, instances: 1 };
        worker.prepare(order).map_err(|trouble| anyhow::anyhow!("{trouble:?}"))?;
        Ok(worker)
    }

    fn ask(&self, variant: &str, command: &WorkerCommand) -> anyhow::Result<Result<Reply, Trouble>> {
        Ok(self.worker(variant)?.ask(command, Stage::Measure, LIMIT))
    }

    /// Whether the engine is found to return before it is complete.
    fn accused(&self, variant: &str) -> anyhow::Result<bool> {
        match self.ask(variant, &WorkerCommand::Completion)? {
            Ok(Reply::Completion(doubt)) => Ok(doubt.is_some()),
            Err(Trouble::Failed(failure)) if failure.message.contains("before it is complete") => Ok(true),
            other => anyhow::bail!("an answer that fits no question: {other:?}"),
        }
    }

    /// Whether its latency is found to depend on the inputs' contents.
    fn sensitive(&self, variant: &str) -> anyhow::Result<bool> {
        match self.ask(variant, &WorkerCommand::Sensitivity { iterations: 20 })? {
            Ok(Reply::Sensitivity(times)) => Ok(sensitivity_remark(&times).is_some()),
            other => anyhow::bail!("an answer that fits no question: {other:?}"),
        }
    }
}

fn cheats(planted: &Planted<'_>, found: Found<'_>) -> anyhow::Result<()> {
    let mut wrong = u32::from(planted.accused(STEADY)?);
    for after in [0, 1, 2] {
        let fault =
            "[[fault]]\nkind = \"early_return\"\nstage = \"measure\"\nbatch_size = 1\nclip_length = 1\n";
        wrong += u32::from(!planted.accused(&format!("{fault}after_iterations = {after}\n"))?);
    }
    found(
        Row::at_most("engines that return before completion, judged wrongly", f64::from(wrong), "", 0.0)
            .note("early from the first, second or third inference on; an honest one must not be accused"),
    );
    Ok(())
}

fn contents(planted: &Planted<'_>, found: Found<'_>) -> anyhow::Result<()> {
    let mut wrong = 0;
    for (factor, differs) in [(0.5, true), (3.0, true), (1.0, false)] {
        wrong +=
            u32::from(planted.sensitive(&format!("zero_inputs_factor = {factor:?}\n{STEADY}"))? != differs);
    }
    found(
        Row::at_most("models with latency that depends on inputs, judged wrongly", f64::from(wrong), "", 0.0)
            .note("zero inputs at half, at three times, and at the latency of random ones"),
    );
    Ok(())
}

/// Figures of every point, and which points were chosen.
fn essence(profile: &Value) -> Option<Vec<Value>> {
    let points = profile["points"].as_array()?.iter();
    let figures = points.map(|point| FIGURES.iter().map(|name| point["latency"][name].clone()).collect());
    let chosen = profile["operating_points"].as_array()?.iter().map(|point| point["chosen"].clone());
    Some(figures.chain(chosen).collect())
}

/// Kills the run after each of its steps and goes on with it.
fn kills(clipmarkd: &Clipmarkd, folder: &Path, found: Found<'_>) -> anyhow::Result<()> {
    let whole = essence(&profile_of(clipmarkd, folder, "whole", STEADY)?).context("the run has points")?;
    let (mut killed, mut different) = (0, 0);
    for after in 1..MOST_KILLS {
        let out = format!("killed-{after}");
        let fresh = [&["run"], &GRID[..], &["whole.toml", "--json-progress", "--out", &out]].concat();
        let Followed::Killed = clipmarkd.run_and_kill(folder, &fresh, after)? else { break };
        // A kill before the first step leaves nothing to go on from.
        if !folder.join(&out).join("record/header.json").exists() {
            continue;
        }
        if !folder.join(&out).join("profile.json").exists() {
            let resumed = ["run", "--no-sampler", "--simulate", "whole.toml", "--resume", &out];
            clipmarkd.run(folder, &resumed)?;
        }
        killed += 1;
        different += u32::from(essence(&profile(&folder.join(&out))?).as_ref() != Some(&whole));
    }
    anyhow::ensure!(killed > 3, "only {killed} kills hit the run");
    found(Row::at_most(
        format!("killed and resumed runs whose profile differs, of {killed}"),
        f64::from(different),
        "",
        0.0,
    ));
    Ok(())
}
