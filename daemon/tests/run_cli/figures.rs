//! The figures of a run are those that anyone computes from its record.

use super::{VARIANT, code, errors, folder_with, json, quick, run, text};
use std::process::Command;

/// Python's own statistics over the raw latencies, as a reader of the record would compute them.
const REFERENCE: &str = r#"
import array, json, statistics, sys
folder = sys.argv[1]
evidence = json.load(open(folder + "/evidence.json"))
values = array.array("Q")
values.frombytes(open(folder + "/latencies.u64", "rb").read())
if sys.byteorder == "big":
    values.byteswap()
counted, at = [], 0
for chunk in evidence["chunks"]:
    whole = values[at:at + chunk["latencies"]]
    at += chunk["latencies"]
    if chunk["phase"] == "fixed":
        counted.extend(whole[chunk["lead_in"]:])
print(json.dumps({
    "iterations": len(counted),
    "mean_ns": float(statistics.mean(counted)),
    "p50_ns": float(statistics.median(counted)),
    "p95_ns": statistics.quantiles(counted, n=20)[18],
    "p99_ns": statistics.quantiles(counted, n=100)[98],
    "min_ns": min(counted),
    "max_ns": max(counted),
}))
"#;

fn python(folder: &std::path::Path) -> serde_json::Value {
    let output = Command::new("python3").args(["-c", REFERENCE]).arg(folder).output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn reference_figures_of_a_thousand_iterations_are_pythons_to_the_bit() {
    let (_keep, folder) = folder_with("");
    let arguments = "run temporal --backend tract --clip-lengths 8 --batch-sizes 1 --iterations 1000 \
                     --no-sampler --out o";
    let output = run(&folder, &arguments.split_whitespace().collect::<Vec<_>>());
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let profile = json(&folder.join("o/profile.json"));
    let latency = &profile["points"][0]["latency"];
    let reference = python(&folder.join("o/record/points/0000"));
    assert_eq!(reference["iterations"], 1000);
    for name in ["iterations", "mean_ns", "p50_ns", "p95_ns", "p99_ns", "min_ns", "max_ns"] {
        let (ours, theirs) = (&latency[name], &reference[name]);
        assert!(ours.is_number(), "{name}: {latency}");
        assert_eq!(
            ours.as_f64().map(f64::to_bits),
            theirs.as_f64().map(f64::to_bits),
            "{name}: {ours} {theirs}"
        );
    }
}

#[test]
fn a_replay_gives_the_same_profile_and_every_form_shows_alike() {
    let (_keep, folder) = folder_with(super::VARIANT);
    let first = run(&folder, &quick("o"));
    assert_eq!(code(&first), 0, "{}", errors(&first));
    let written = json(&folder.join("o/profile.json"));
    assert_eq!(written["run"]["simulated"], true);
    std::fs::remove_file(folder.join("o/profile.json")).expect("it was written");
    std::fs::remove_file(folder.join("o/profile.cbor")).expect("it was written");

    let replayed = run(&folder, &["replay", "o"]);
    assert_eq!(code(&replayed), 0, "{}", errors(&replayed));
    assert_eq!(json(&folder.join("o/profile.json")), written);
    for path in ["o", "o/profile.json"] {
        let shown = run(&folder, &["show", path]);
        assert_eq!(code(&shown), 0, "{path}: {}", errors(&shown));
        assert_eq!(text(&shown), text(&replayed), "{path}");
    }
    // On the wire the ends of intervals are rounded outward; the figures themselves are not.
    let shown = run(&folder, &["show", "o/profile.cbor"]);
    assert_eq!(code(&shown), 0, "{}", errors(&shown));
    let figures = |text: String| text.split("Scaling").next().map(str::to_owned);
    assert_eq!(figures(text(&shown)), figures(text(&replayed)));
    assert!(text(&replayed).contains("Scaling"));
}

#[test]
fn standard_output_is_the_profile_alone() {
    let (_keep, folder) = folder_with(super::VARIANT);
    let mut arguments = quick("o");
    arguments.push("--json");
    let output = run(&folder, &arguments);
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert_eq!(printed, json(&folder.join("o/profile.json")));
}

#[test]
fn every_planned_point_has_an_outcome_whatever_fails() {
    let variant = "[variant]\n[[fault]]\nkind = \"crash\"\nstage = \"measure\"\nbatch_size = 2\nclip_length = 16\n\
                   after_iterations = 10\n";
    let (_keep, folder) = folder_with(variant);
    let output = run(&folder, &quick("o"));
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let profile = json(&folder.join("o/profile.json"));
    let points = profile["points"].as_array().expect("points");
    assert_eq!(points.len(), 4);
    let failed: Vec<_> = points.iter().filter(|point| point["status"] == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["failure"]["cause"], "crashed");
    assert_eq!(points.iter().filter(|point| point["status"] == "measured").count(), 3);
}

#[test]
fn points_beyond_the_memory_limit_are_marked_and_not_dropped() {
    let variant =
        "touch_memory = true\n[variant.memory]\nbase_bytes = 1000000\nper_frame_bytes = 8000000.0\n";
    let (_keep, folder) = folder_with(variant);
    let mut arguments = quick("o");
    arguments.extend(["--memory-limit", "112M"]);
    let output = run(&folder, &arguments);
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let profile = json(&folder.join("o/profile.json"));
    let points = profile["points"].as_array().expect("points");
    let status = |at: usize| (points[at]["status"].clone(), points[at]["not_run"].clone());
    assert_eq!(points.len(), 4);
    assert_eq!(status(0).0, "measured");
    let over: Vec<_> = (0..4).filter(|&at| points[at]["failure"]["cause"] == "out_of_memory").collect();
    assert!(!over.is_empty(), "{points:?}");
    assert_eq!(status(3).1, "would_exceed_memory", "{points:?}");
}

#[test]
fn the_cpus_of_the_workers_are_in_the_profile() {
    let (_keep, folder) = folder_with(VARIANT);
    let mut arguments = quick("out");
    arguments.extend(["--worker-cpus", "0"]);
    let output = run(&folder, &arguments);
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let environment = json(&folder.join("out/profile.json"))["environment"].clone();
    assert_eq!(environment["worker_cpus"], "0", "{environment:#}");
}
