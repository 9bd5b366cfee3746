//! The reference figures of fresh random samples equal a live Python's, bit for bit.

use crate::component::trials;
use crate::figures::{Figures, figures};
use crate::python;
use libtest_mimic::Trial;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Reason, TestRunner};
use std::io::Write;
use std::process::{Command, Stdio};

const MODULES: &str = "json, statistics";

pub(crate) fn trials() -> Vec<Trial> {
    trials![&[python::component(MODULES)]; fresh_samples_give_what_a_live_python_computes]
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

/// What Python computes of each sample, a line each.
fn answers(samples: &[Vec<u64>]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/reference.py");
    let mut python = Command::new(python::with(MODULES))
        .args([script, "figures"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    let lines: Vec<String> = samples.iter().map(|values| serde_json::to_string(values).unwrap()).collect();
    let writer = std::thread::spawn(move || input.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "reference.py failed: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn fresh_samples_give_what_a_live_python_computes() {
    let samples = random_samples().unwrap();
    let answers = answers(&samples);
    assert_eq!(answers.lines().count(), samples.len());
    for (values, answer) in samples.iter().zip(answers.lines()) {
        let expected: Figures = serde_json::from_str(answer).unwrap();
        assert_eq!(figures(values), Some(expected), "{values:?}");
    }
}
