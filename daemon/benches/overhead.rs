//! What clipmark's own loop costs: with an engine that does nothing, and relative to a bare loop around the
//! built-in model `temporal` at batch size 1 and clip length 8.
//!
//! `cargo bench -p clipmarkd --bench overhead` prints both and ends with 1 when a target is missed. Both
//! sides of each comparison run in the same process, in alternating blocks, so that drift of the machine
//! cancels; of the blocks the median counts.

use clipmark_daemon::backend::{Backend, BackendError, Engine, EngineSpec, Noop, Tract};
use clipmark_daemon::model::axes::ModelShape;
use clipmark_daemon::model::built_in::BuiltIn;
use clipmark_daemon::model::hints::ModelHints;
use clipmark_daemon::model::onnx::OnnxModel;
use clipmark_daemon::worker::clock::monotonic;
use clipmark_daemon::worker::protocol::MeasureOrder;
use clipmark_daemon::worker::timed::{Samples, measure};
use clipmark_profile::point::{GridPoint, Precision};
use clipmark_profile::stats::quantile::{self, Quantile};
use clipmark_profile::stats::robust;
use clipmark_profile::units::Nanos;
use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;

/// Most overhead per inference, nanoseconds.
const MOST_OVERHEAD_NS: f64 = 1000.0;
/// Most time per inference relative to a bare loop.
const MOST_RATIO: f64 = 1.01;
/// Inferences of a block with the no-op engine.
const NOOP_BLOCK: u32 = 100_000;
/// Length of a block with the model.
const MODEL_BLOCK: Nanos = Nanos(100_000_000);
/// Blocks on each side.
const BLOCKS: usize = 40;

fn order(iterations: u32) -> MeasureOrder {
    MeasureOrder {
        iterations,
        stop_after: Nanos(u64::MAX),
        inference_limit: Nanos(u64::MAX),
        paced_fps: None,
        continues: false,
    }
}

/// Time per inference of a loop with nothing in it but the engine.
fn bare(engine: &mut dyn Engine, iterations: u32) -> Result<f64, BackendError> {
    let started = monotonic();
    for _ in 0..iterations {
        black_box(engine.run()?);
    }
    Ok(monotonic().since(started).0 as f64 / f64::from(iterations))
}

/// Time per inference of the timed loop, everything that it does for an inference included.
fn timed(engine: &mut dyn Engine, iterations: u32, samples: &mut Samples) -> Result<f64, Box<dyn Error>> {
    let span = measure(engine, &order(iterations), None, samples);
    match span.failure {
        Some(failure) => Err(failure.message.into()),
        None => Ok(span.ended.since(span.started).0 as f64 / f64::from(iterations)),
    }
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
    samples: &mut Samples,
) -> Result<Comparison, Box<dyn Error>> {
    let (mut bares, mut timeds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for block in 0..BLOCKS {
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
    let median = |values: &[f64]| robust::median(values).ok_or("no block was measured");
    Ok(Comparison { bare_ns: median(&bares)?, timed_ns: median(&timeds)?, ratio: median(&ratios)? })
}

fn noop() -> Result<Box<dyn Engine>, Box<dyn Error>> {
    let spec = EngineSpec {
        at: GridPoint::new(1, 1).ok_or("no such point")?,
        precision: Precision::Model,
        threads: 1,
        inputs: Vec::new(),
        options: std::collections::BTreeMap::new(),
        cache_dir: None,
    };
    Ok(Noop.prepare("none".as_ref(), &spec)?)
}

fn temporal(folder: &std::path::Path) -> Result<Box<dyn Engine>, Box<dyn Error>> {
    let path = folder.join("temporal.onnx");
    BuiltIn::Temporal.write(&path, true)?;
    let shape = ModelShape::find(&OnnxModel::read(&path)?, &ModelHints::default())?;
    let at = GridPoint::new(1, 8).ok_or("no such point")?;
    let spec = EngineSpec {
        at,
        precision: Precision::Model,
        threads: 1,
        inputs: shape.at(at),
        options: std::collections::BTreeMap::new(),
        cache_dir: None,
    };
    Ok(Tract.prepare(&path, &spec)?)
}

fn run(out: &mut impl Write) -> Result<bool, Box<dyn Error>> {
    let mut samples = Samples::default();
    let mut engine = noop()?;
    let empty = compare(engine.as_mut(), NOOP_BLOCK, &mut samples)?;
    let overhead = empty.timed_ns - empty.bare_ns;
    let mut latencies = samples.latencies().to_vec();
    latencies.sort_unstable();
    let tail = quantile::reference(&latencies, Quantile::P99).ok_or("too few inferences")?;
    writeln!(
        out,
        "no-op engine: the loop adds {overhead:.0} ns to an inference (target {MOST_OVERHEAD_NS:.0}); \
         it reports P50 {:.0} ns, P99 {tail:.0} ns for nothing",
        quantile::median(&latencies).ok_or("too few inferences")?
    )?;

    let folder = tempfile::tempdir()?;
    let mut engine = temporal(folder.path())?;
    let each = bare(engine.as_mut(), 20)?;
    let iterations = ((MODEL_BLOCK.0 as f64 / each) as u32).max(5);
    let model = compare(engine.as_mut(), iterations, &mut samples)?;
    writeln!(
        out,
        "built-in model temporal, B1 T8, tract: {:.1} us bare, {:.1} us measured, ratio {:.4} (target {MOST_RATIO})",
        model.bare_ns / 1e3,
        model.timed_ns / 1e3,
        model.ratio
    )?;
    Ok(overhead <= MOST_OVERHEAD_NS && model.ratio <= MOST_RATIO)
}

fn main() -> ExitCode {
    // `cargo test --benches` only asks whether it can be started.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let mut out = std::io::stdout().lock();
    match run(&mut out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            // The figures are above; a closed pipe hides them anyway.
            let _ = writeln!(out, "a target is missed");
            ExitCode::FAILURE
        }
        Err(error) => {
            let _ = writeln!(out, "the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}
