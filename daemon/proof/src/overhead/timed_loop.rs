//! The worker's timed loop around an engine that does nothing, and relative to a bare loop around a real one.

use crate::median;
use crate::row::Row;
use crate::{Context, Found};
use anyhow::Context as _;
use clipmark_daemon::backend::{Backend, Engine, EngineSpec, Noop, Tract};
use clipmark_daemon::model::axes::ModelShape;
use clipmark_daemon::model::built_in::BuiltIn;
use clipmark_daemon::model::hints::ModelHints;
use clipmark_daemon::model::onnx::OnnxModel;
use clipmark_daemon::worker::clock::monotonic;
use clipmark_daemon::worker::protocol::MeasureOrder;
use clipmark_daemon::worker::timed::{Samples, measure as timed_loop};
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::stats::quantile::{self, Quantile};
use clipmark_profile::units::Nanos;
use std::hint::black_box;
use std::path::Path;

/// Inferences of a block with the no-op engine.
const NOOP_BLOCK: u32 = 100_000;
/// Length of a block with the model, ns.
const MODEL_BLOCK_NS: f64 = 1e8;
/// Blocks on each side.
const BLOCKS: u32 = 40;

pub(super) fn measure(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    let blocks = context.runs(BLOCKS);
    let mut samples = Samples::default();
    let mut engine = noop()?;
    let empty = compare(engine.as_mut(), NOOP_BLOCK, blocks, &mut samples)?;
    let mut latencies = samples.latencies().to_vec();
    latencies.sort_unstable();
    let median = quantile::median(&latencies).context("latencies of nothing")?;
    let tail = quantile::reference(&latencies, Quantile::P99).context("latencies of nothing")?;
    found(
        Row::at_most(
            "the timed loop adds to an inference of the no-op engine",
            empty.timed_ns - empty.bare_ns,
            "ns",
            1000.0,
        )
        .note(format!("for nothing it reports P50 {median:.0} ns, P99 {tail:.0} ns")),
    );
    let folder = tempfile::tempdir()?;
    let mut engine = temporal(folder.path())?;
    let each = bare(engine.as_mut(), 20)?;
    let iterations = ((MODEL_BLOCK_NS / each) as u32).max(5);
    let model = compare(engine.as_mut(), iterations, blocks, &mut samples)?;
    found(
        Row::at_most("timed loop / bare tract loop, model temporal B1 T8", model.ratio, "", 1.01)
            .note(format!("{:.1} us bare, {:.1} us measured", model.bare_ns / 1e3, model.timed_ns / 1e3)),
    );
    Ok(())
}

fn order(iterations: u32) -> MeasureOrder {
    MeasureOrder {
        iterations,
        stop_after: Nanos(u64::MAX),
        inference_limit: Nanos(u64::MAX),
        paced_fps: None,
        continues: false,
    }
}

/// Time per inference of a loop with nothing in it but the engine, ns.
fn bare(engine: &mut dyn Engine, iterations: u32) -> anyhow::Result<f64> {
    let started = monotonic();
    for _ in 0..iterations {
        black_box(engine.run()?);
    }
    Ok(monotonic().since(started).0 as f64 / f64::from(iterations))
}

/// Time per inference of the timed loop, everything that it does for an inference included, ns.
fn timed(engine: &mut dyn Engine, iterations: u32, samples: &mut Samples) -> anyhow::Result<f64> {
    let span = timed_loop(engine, &order(iterations), None, samples);
    if let Some(failure) = span.failure {
        anyhow::bail!("{}", failure.message);
    }
    Ok(span.ended.since(span.started).0 as f64 / f64::from(iterations))
}

struct Comparison {
    bare_ns: f64,
    timed_ns: f64,
    /// Median over pairs of neighbouring blocks.
    ratio: f64,
}

fn compare(
    engine: &mut dyn Engine,
    iterations: u32,
    blocks: u32,
    samples: &mut Samples,
) -> anyhow::Result<Comparison> {
    let (mut bares, mut timeds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for block in 0..blocks {
        let (bare_ns, timed_ns) = if block % 2 == 0 {
            let bare_ns = bare(engine, iterations)?;
            (bare_ns, timed(engine, iterations, samples)?)
        } else {
            let timed_ns = timed(engine, iterations, samples)?;
            (bare(engine, iterations)?, timed_ns)
        };
        bares.push(bare_ns);
        timeds.push(timed_ns);
        ratios.push(timed_ns / bare_ns);
    }
    Ok(Comparison { bare_ns: median(&bares)?, timed_ns: median(&timeds)?, ratio: median(&ratios)? })
}

fn spec(at: Shape, inputs: Vec<clipmark_daemon::tensor::InputSpec>) -> EngineSpec {
    EngineSpec {
        shape: at,
        precision: Precision::Model,
        threads: 1,
        inputs,
        options: std::collections::BTreeMap::new(),
        cache_dir: None,
    }
}

fn noop() -> anyhow::Result<Box<dyn Engine>> {
    let at = Shape::new(1, 1).context("a point")?;
    Ok(Noop.prepare("none".as_ref(), &spec(at, Vec::new()))?)
}

fn temporal(folder: &Path) -> anyhow::Result<Box<dyn Engine>> {
    let path = folder.join("temporal.onnx");
    BuiltIn::Temporal.write(&path, true)?;
    let shape = ModelShape::find(&OnnxModel::read(&path)?, &ModelHints::default())?;
    let at = Shape::new(1, 8).context("a point")?;
    let inputs = shape.at(at).map_err(|failure| anyhow::anyhow!("{}", failure.message))?;
    Ok(Tract.prepare(&path, &spec(at, inputs))?)
}
