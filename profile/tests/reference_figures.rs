//! The reference figures equal Python's, bit for bit: on committed vectors, and on fresh random ones where a
//! Python is at hand.

use clipmark_profile::stats::quantile::{self, Quantile};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Reason, TestRunner};
use serde::Deserialize;
use std::io::Write;
use std::process::{Command, Stdio};

const GOLDEN: &str = include_str!("golden/quantiles.jsonl");

/// Set to 1 where no Python can be installed; the comparison with a live Python is then left out.
const WITHOUT_PYTHON: &str = "CLIPMARK_TEST_WITHOUT_PYTHON";

#[derive(Debug, PartialEq, Deserialize)]
struct Figures {
    mean: String,
    p50: String,
    p95: Option<String>,
    p99: Option<String>,
    p999: Option<String>,
    mlperf_p99: u64,
    trtexec_p99: u64,
    perf_analyzer_p99: u64,
}

#[derive(Deserialize)]
struct Vector {
    values: Vec<u64>,
    #[serde(flatten)]
    figures: Figures,
}

fn figures(values: &[u64]) -> Option<Figures> {
    let mut sample = values.to_vec();
    sample.sort_unstable();
    let bits = |value: f64| format!("{:016x}", value.to_bits());
    let at = |quantile| quantile::reference(&sample, quantile).map(bits);
    Some(Figures {
        mean: bits(quantile::mean(values)?),
        p50: bits(quantile::median(&sample)?),
        p95: at(Quantile::P95),
        p99: at(Quantile::P99),
        p999: at(Quantile::P999),
        mlperf_p99: quantile::mlperf(&sample, Quantile::P99)?,
        trtexec_p99: quantile::trtexec(&sample, Quantile::P99)?,
        perf_analyzer_p99: quantile::perf_analyzer(&sample, Quantile::P99)?,
    })
}

#[test]
fn golden_vectors_are_reproduced_bit_for_bit() {
    let mut vectors = 0;
    for line in GOLDEN.lines() {
        let vector: Vector = serde_json::from_str(line).unwrap();
        assert_eq!(figures(&vector.values), Some(vector.figures), "n = {}", vector.values.len());
        vectors += 1;
    }
    assert!(vectors >= 20, "only {vectors} vectors");
}

/// 300 samples of all sizes and magnitudes, the same in every run.
fn random_samples() -> Result<Vec<Vec<u64>>, Reason> {
    let value = prop_oneof![4 => 1_000_000u64..50_000_000, 1 => any::<u64>(), 1 => 0u64..50];
    let strategy = prop_oneof![
        proptest::collection::vec(value.clone(), 1..8),
        proptest::collection::vec(value, 1..1200),
    ];
    let mut runner = TestRunner::deterministic();
    (0..300).map(|_| Ok(strategy.new_tree(&mut runner)?.current())).collect()
}

#[test]
fn fresh_samples_give_what_a_live_python_computes() {
    if std::env::var_os(WITHOUT_PYTHON).is_some_and(|value| value == "1") {
        println!("left out: {WITHOUT_PYTHON}=1");
        return;
    }
    let samples = random_samples().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/reference.py");
    let mut python = Command::new("python3")
        .args([script, "figures"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "python3 does not start ({error}): install it, or set {WITHOUT_PYTHON}=1 to leave this out"
            )
        });
    let mut input = python.stdin.take().unwrap();
    let lines: Vec<String> = samples.iter().map(|values| serde_json::to_string(values).unwrap()).collect();
    let writer = std::thread::spawn(move || input.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "reference.py failed: {}", output.status);
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), samples.len());
    for (values, answer) in samples.iter().zip(answers.lines()) {
        let expected: Figures = serde_json::from_str(answer).unwrap();
        assert_eq!(figures(values), Some(expected), "{values:?}");
    }
}
