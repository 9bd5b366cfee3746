//! Streams through the real binary, on a virtual clock.

use super::{clipmarkd, code, errors, folder_with, json, run, text};
use serde_json::Value;
use std::path::Path;

/// 24 ms for every inference, whatever its shape.
const STEADY: &str =
    "[variant]\n[variant.noise]\nsigma = 0.0\n[variant.latency]\nfixed_us = 24000.0\nlinear_us = 0.0\n";

fn arguments(more: &str) -> Vec<&str> {
    let fixed = "run --simulate variant.toml --no-sampler --out o --clip-lengths 8 --iterations 50";
    fixed.split_whitespace().chain(more.split_whitespace()).collect()
}

fn capacities(folder: &Path) -> Vec<Value> {
    json(&folder.join("o/profile.json"))["capacities"].as_array().expect("capacities").clone()
}

/// The numbers of streams that were certified to be sustained and not to be.
fn certified(capacity: &Value) -> (Option<u64>, Option<u64>) {
    (capacity["last_holding"]["streams"].as_u64(), capacity["first_failing"]["streams"].as_u64())
}

fn check(more: &str, expected: &[(Option<u64>, Option<u64>)]) -> Vec<Value> {
    let (_keep, folder) = folder_with(STEADY);
    let output = run(&folder, &arguments(more));
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let found = capacities(&folder);
    assert_eq!(found.iter().map(certified).collect::<Vec<_>>(), expected, "{found:#?}");
    assert!(text(&output).contains("Streams that the board sustains"), "{}", text(&output));
    found
}

#[test]
fn the_capacity_of_aligned_streams_is_exact_for_every_number_of_instances() {
    // A clip of 8 frames at 20 frames a second is due every 400 ms: 16 rounds of 24 ms.
    let more = "--batch-sizes 1,2 --streams auto --fps 20 --phases aligned --trial 600s --instances 1,3";
    let found = check(more, &[(Some(32), Some(33)), (Some(96), Some(97))]);
    assert_eq!(found[0]["id"]["shape"], serde_json::json!({"batch_size": 2, "clip_length": 8, "hop": 8}));
    assert_eq!(found[0]["last_holding"]["part_filled"], 0);
    assert_eq!(found[0]["last_holding"]["p99_ns"], 384e6);
}

#[test]
fn hop_and_deadline_bound_the_capacity() {
    // Due every 200 ms, complete within 100 ms of arrival: 4 rounds.
    let more = "--batch-sizes 1 --streams auto --fps 20 --hop 4 --deadline 100 --phases aligned --trial 600s";
    let found = check(more, &[(Some(4), Some(5))]);
    assert_eq!(
        (&found[0]["period_ns"], &found[0]["deadline_ns"]),
        (&200_000_000.into(), &100_000_000.into())
    );
}

#[test]
fn a_given_number_of_streams_is_certified_and_no_other() {
    let more = "--batch-sizes 1 --streams 17 --fps 20 --phases aligned --trial 600s";
    let found = check(more, &[(None, Some(17))]);
    assert_eq!(found[0]["loads"], 1);
}

#[test]
fn loads_too_short_for_a_verdict_certify_nothing_and_say_so() {
    let found = check("--batch-sizes 1 --streams auto --fps 20 --trial 2s", &[(None, None)]);
    let reason = found[0]["undecided"]["reason"].as_str().expect("a reason");
    assert!(reason.contains("too few for an upper bound of P99"), "{reason}");
}

#[test]
fn a_search_that_is_cut_after_any_load_ends_in_the_same_capacity() {
    let (_keep, folder) = folder_with(STEADY);
    let output = run(&folder, &arguments("--batch-sizes 1 --streams auto --fps 20 --trial 600s"));
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let whole = capacities(&folder);
    let loads = whole[0]["loads"].as_u64().expect("a count") as usize;
    for kept in (0..loads).rev() {
        std::fs::remove_dir_all(folder.join(format!("o/record/loads/{kept:04}"))).expect("a load");
        std::fs::remove_file(folder.join("o/record/end.json")).expect("an end");
        let resumed = ["run", "--no-sampler", "--simulate", "variant.toml", "--resume", "o"];
        let output = clipmarkd(&folder).args(resumed).output().expect("the binary starts");
        assert_eq!(code(&output), 0, "{}", errors(&output));
        assert_eq!(capacities(&folder), whole, "after {kept} loads");
        for later in kept..loads {
            std::fs::remove_dir_all(folder.join(format!("o/record/loads/{later:04}"))).expect("a load");
        }
    }
}

#[test]
fn what_needs_streams_or_excludes_them_is_refused() {
    let (_keep, folder) = folder_with(STEADY);
    for (more, words) in [
        ("--instances 2", "give --streams"),
        ("--streams auto", "give --fps"),
        ("--streams auto --fps 30 --load paced", "exclude each other"),
        ("--streams many --fps 30", "write auto or a number of streams"),
        ("--streams 5000 --fps 30", "--streams = 5000 is outside 1 to 4096"),
        ("--hop 4 --fps 30", "--streams"),
        ("--fps 30 --deadline 5", "exclude each other"),
    ] {
        let output = run(&folder, &arguments(more));
        assert_eq!(code(&output), 2, "{more}: {}", errors(&output));
        assert!(errors(&output).contains(words), "{more}: {}", errors(&output));
    }
}
