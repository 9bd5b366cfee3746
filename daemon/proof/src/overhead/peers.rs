//! tract's own command line, a loop around ONNX Runtime in Python, and the binary that is shipped, on the same model
//! files as clipmark.

use crate::binary::{self, Clipmarkd, profile};
use crate::median;
use crate::row::Row;
use crate::{Context, Found};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the `tract` program where it is not in PATH.
const TRACT: &str = "CLIPMARK_TRACT";
/// Names a Python that has onnxruntime, as `daemon/tests/onnx_reference.sh` sets it.
const PYTHON: &str = "CLIPMARK_PYTHON";
const BUILT_IN: [&str; 3] = ["joint", "temporal", "conv3d"];
/// Times that each side is measured, in turn.
const ROUNDS: u32 = 5;
/// The model that peers run.
const MODEL: &str = "temporal.onnx";
const CLIP_LENGTH: &str = "8";

pub(super) fn measure(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    let clipmarkd = Clipmarkd::of(context)?;
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    clipmarkd.run(folder, &["model", "write", "temporal", MODEL])?;
    let rounds = context.runs(ROUNDS);
    shipped(&clipmarkd, folder, rounds, found)?;
    tract(&clipmarkd, folder, rounds, found)?;
    onnxruntime(&clipmarkd, folder, rounds, found)
}

/// Mean latency that clipmark reports of the model at batch size 1, ns.
fn ours(clipmarkd: &Clipmarkd, folder: &Path, model: &str, backend: &str) -> anyhow::Result<f64> {
    let out = format!("ours-{backend}");
    let arguments = [
        "run",
        model,
        "--backend",
        backend,
        "--no-sampler",
        "--clip-lengths",
        CLIP_LENGTH,
        "--batch-sizes",
        "1",
        "--iterations",
        "300",
        "--out",
        &out,
    ];
    clipmarkd.run(folder, &arguments)?;
    let path = folder.join(&out);
    let profile = profile(&path)?;
    std::fs::remove_dir_all(path)?;
    profile["points"][0]["latency"]["mean_ns"].as_f64().context("the profile has no mean")
}

/// Both sides in turn: the median ratio ours / theirs, and their median, ns.
fn compare(
    rounds: u32,
    mut ours: impl FnMut() -> anyhow::Result<f64>,
    mut theirs: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<(f64, f64)> {
    let (mut ratios, mut their) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let their_ns = theirs()?;
        ratios.push(ours()? / their_ns);
        their.push(their_ns);
    }
    Ok((median(&ratios)?, median(&their)?))
}

/// The binary that is shipped is built for size too (docs/decisions/0005-what-is-shipped.md): its backend must be
/// as fast as this build's.
fn shipped(clipmarkd: &Clipmarkd, folder: &Path, rounds: u32, found: Found<'_>) -> anyhow::Result<()> {
    let claim = "latency of the shipped binary / of this build, tract, built-in models";
    let path = binary::shipped(std::env::consts::ARCH);
    if !path.exists() || clipmarkd.is_development_build() {
        let help = format!("needs a release build, and cross/build.sh {}", std::env::consts::ARCH);
        found(Row::absent(claim, help));
        return Ok(());
    }
    let shipped = Clipmarkd::at(path);
    let (mut logarithms, mut told) = (0.0, Vec::new());
    for model in BUILT_IN {
        let side = |of: &Clipmarkd| ours(of, folder, model, "tract");
        let (ratio, _) = compare(rounds, || side(&shipped), || side(clipmarkd))?;
        logarithms += ratio.ln();
        told.push(format!("{model} {ratio:.2}"));
    }
    let mean = (logarithms / BUILT_IN.len() as f64).exp();
    found(Row::at_most(claim, mean, "", 1.05).note(format!("geometric mean; {}", told.join(", "))));
    Ok(())
}

fn tract(clipmarkd: &Clipmarkd, folder: &Path, rounds: u32, found: Found<'_>) -> anyhow::Result<()> {
    let claim = "clipmark / tract's own bench, mean latency, same model";
    let program = std::env::var_os(TRACT).unwrap_or_else(|| "tract".into());
    if Command::new(&program).arg("--version").output().is_err() {
        let help = format!(
            "no program `tract`: cargo install tract-cli --no-default-features --features onnx, or set {TRACT}"
        );
        found(Row::absent(claim, help));
        return Ok(());
    }
    let theirs = || tract_bench(&program, folder);
    match compare(rounds, || ours(clipmarkd, folder, MODEL, "tract"), theirs) {
        Ok((ratio, their_ns)) => {
            found(
                Row::at_most(claim, ratio, "", 1.05).note(format!("tract bench: {:.1} us", their_ns / 1e3)),
            );
        }
        Err(error) => found(Row::absent(claim, format!("{error:#}"))),
    }
    Ok(())
}

/// ns per inference that `tract bench` reports; it excludes what it does before the loop.
fn tract_bench(program: &std::ffi::OsStr, folder: &Path) -> anyhow::Result<f64> {
    let output = Command::new(program)
        .current_dir(folder)
        .args([
            MODEL,
            "--machine-friendly",
            "-O",
            "--set",
            "batch=1",
            "--set",
            &format!("frames={CLIP_LENGTH}"),
        ])
        .args(["bench", "--allow-random-input", "--warmup-time", "500", "--max-time", "2000"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words = || crate::binary::last_words(&output);
    anyhow::ensure!(output.status.success(), "tract bench failed: {}", words());
    let seconds = seconds(&text).with_context(|| format!("tract bench said no time: {text}"))?;
    Ok(seconds * 1e9)
}

/// The time of an inference, of `real: 0.000508691`.
fn seconds(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("real: ")?.trim().parse().ok())
}

/// A plain loop, as ONNX Runtime's documentation has it.
const LOOP: &str = r#"
import sys, time, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
frames = int(sys.argv[2])
rng = numpy.random.default_rng(1)
def feed(i):
    shape = [d if isinstance(d, int) else (frames if "frame" in str(d).lower() or str(d) == "T" else 1) for d in i.shape]
    if "int" in i.type:
        return rng.integers(0, 16, shape).astype(numpy.int64)
    return rng.random(shape, dtype=numpy.float32)
feeds = {i.name: feed(i) for i in session.get_inputs()}
for _ in range(30):
    session.run(None, feeds)
began = time.perf_counter()
for _ in range(300):
    session.run(None, feeds)
print((time.perf_counter() - began) / 300 * 1e9)
"#;

fn onnxruntime(clipmarkd: &Clipmarkd, folder: &Path, rounds: u32, found: Found<'_>) -> anyhow::Result<()> {
    let claim = "clipmark / a loop in Python, ONNX Runtime, same model";
    let python = std::env::var_os(PYTHON).map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let theirs = || python_loop(&python, folder);
    if let Err(error) = theirs() {
        let help = "run the proof by daemon/tests/onnx_reference.sh COMMAND, which installs onnxruntime";
        found(Row::absent(claim, format!("{error:#}; {help}")));
        return Ok(());
    }
    match compare(rounds, || ours(clipmarkd, folder, MODEL, "onnxruntime"), theirs) {
        Ok((ratio, their_ns)) => {
            found(Row::at_most(claim, ratio, "", 1.05).note(format!("Python: {:.1} us", their_ns / 1e3)));
        }
        Err(error) => found(Row::absent(claim, format!("{error:#}"))),
    }
    Ok(())
}

fn python_loop(python: &Path, folder: &Path) -> anyhow::Result<f64> {
    let output = Command::new(python).current_dir(folder).args(["-c", LOOP, MODEL, CLIP_LENGTH]).output()?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        crate::binary::last_words(&output).lines().last().unwrap_or_default()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn tract_s_time_is_read_from_its_line() {
        assert_eq!(super::seconds("[WARN] x 3\nreal: 0.000508691\n"), Some(0.000_508_691));
        assert_eq!(super::seconds("0.5"), None);
    }
}
