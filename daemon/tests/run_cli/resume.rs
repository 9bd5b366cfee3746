//! A run that is cut off, anywhere and however, goes on from its last finished step.

use super::{clipmarkd, code, errors, folder_with, json, quick, run};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Without noise an engine that was built again repeats itself exactly.
const STEADY: &str = "[variant]\nseed = 7\n[variant.noise]\nsigma = 0.0\n";

/// What must not depend on where a run was cut: everything but times of day, lengths and memory.
fn essence(profile: &Value) -> Value {
    let mut essence = profile.clone();
    for point in essence["points"].as_array_mut().expect("points") {
        for name in [
            "prepare_ns",
            "peak_memory_bytes",
            "minor_faults",
            "major_faults",
            "psi_some_us",
            "swap_in_pages",
        ] {
            point[name] = Value::Null;
        }
        // A lead-in after a resumption is run and not used.
        point["latency"]["warmup_iterations"] = Value::Null;
    }
    for name in ["environment", "warnings", "memory_pressure"] {
        essence[name] = Value::Null;
    }
    for name in ["duration_ms", "partial", "id", "started_unix_ms", "origin"] {
        essence["run"][name] = Value::Null;
    }
    essence
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(copied.success());
}

/// The state on disk after the first `steps` commits, made from the finished run in `from`.
fn cut_after(from: &Path, to: &Path, steps: usize) {
    copy(from, to);
    let journal = to.join("record/journal.jsonl");
    let whole = std::fs::read_to_string(&journal).expect("a journal");
    let kept: String = whole.split_inclusive('\n').take(steps).collect();
    std::fs::write(&journal, kept).expect("writable");
    for name in ["record/end.json", "profile.json", "profile.cbor", "report.html"] {
        let _ = std::fs::remove_file(to.join(name));
    }
}

fn steps(out: &Path) -> usize {
    std::fs::read_to_string(out.join("record/journal.jsonl")).expect("a journal").lines().count()
}

/// Cuts the run `arguments` after every one of its steps and goes on: the profile is the same.
fn check_every_cut(variant: &str, arguments: &[&str], same: impl Fn(&Value, &Value)) {
    let (_keep, folder) = folder_with(variant);
    let whole = run(&folder, arguments);
    assert_eq!(code(&whole), 0, "{}", errors(&whole));
    let expected = json(&folder.join("whole/profile.json"));
    let steps = steps(&folder.join("whole"));
    assert!(steps >= 4, "{steps} steps");
    for cut in 0..steps {
        let name = format!("cut-{cut}");
        cut_after(&folder.join("whole"), &folder.join(&name), cut);
        let mut arguments: Vec<&str> = vec!["run", "--no-sampler", "--simulate", "variant.toml"];
        arguments.extend(["--resume", &name]);
        let resumed = run(&folder, &arguments);
        assert_eq!(code(&resumed), 0, "cut after {cut} steps: {}", errors(&resumed));
        same(&expected, &json(&folder.join(&name).join("profile.json")));
    }
}

#[test]
fn a_fixed_run_cut_after_any_step_ends_in_the_same_profile() {
    check_every_cut(STEADY, &quick("whole"), |expected, resumed| {
        assert_eq!(essence(resumed), essence(expected));
        assert_eq!(resumed["run"]["partial"], false);
    });
}

#[test]
fn an_adaptive_run_cut_after_any_step_names_the_same_operating_points() {
    let arguments =
        "run --simulate variant.toml --no-sampler --clip-lengths 8,16 --batch-sizes 1,2 --out whole";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    check_every_cut(STEADY, &arguments, |expected, resumed| {
        let chosen = |profile: &Value| -> Vec<(Value, Value)> {
            let points = profile["operating_points"].as_array().expect("operating points");
            points.iter().map(|point| (point["objective"].clone(), point["chosen"].clone())).collect()
        };
        assert!(!chosen(expected).is_empty());
        assert_eq!(chosen(resumed), chosen(expected));
    });
}

#[test]
fn evidence_of_finished_steps_survives_to_the_byte() {
    let (_keep, folder) = folder_with(super::VARIANT);
    assert_eq!(code(&run(&folder, &quick("whole"))), 0);
    let total = steps(&folder.join("whole"));
    cut_after(&folder.join("whole"), &folder.join("cut"), total - 1);
    let resumed = run(&folder, &["run", "--no-sampler", "--simulate", "variant.toml", "--resume", "cut"]);
    assert_eq!(code(&resumed), 0, "{}", errors(&resumed));
    let last: Value = {
        let journal = std::fs::read_to_string(folder.join("whole/record/journal.jsonl")).expect("a journal");
        let line =
            journal.lines().last().expect("a line").rsplit_once('\t').expect("a checksum").0.to_owned();
        serde_json::from_str(&line).expect("JSON")
    };
    let header = json(&folder.join("whole/record/header.json"));
    let points = header["run"]["header"]["plan"]["points"].as_array().expect("points");
    let mut compared = 0;
    for (index, point) in points.iter().enumerate() {
        if *point != last["step"]["point"] {
            let file = format!("record/points/{index:04}/latencies.u64");
            let read = |out: &str| std::fs::read(folder.join(out).join(&file)).expect("latencies");
            assert_eq!(read("cut"), read("whole"), "{file}");
            compared += 1;
        }
    }
    assert_eq!(compared, 3);
}

/// Starts a run that tells every step, and hands over the lines of standard error.
fn followed(folder: &Path, arguments: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = clipmarkd(folder);
    let mut child = command
        .args(arguments)
        .arg("--json-progress")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    (child, lines.map_while(Result::ok))
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).expect("it is still there");
}

/// Whether a line of progress tells of what comes before the plan.
fn is_preparation(line: &str) -> bool {
    serde_json::from_str::<Value>(line)
        .is_ok_and(|line| ["note", "preparing"].map(Value::from).contains(&line["phase"]))
}

/// Real kills, at whatever moment they arrive.
#[test]
fn a_run_killed_again_and_again_still_ends_in_the_same_profile() {
    let (_keep, folder) = folder_with(STEADY);
    assert_eq!(code(&run(&folder, &quick("whole"))), 0);
    let mut arguments = quick("killed");
    for kill_after in 2.. {
        let (mut child, mut lines) = followed(&folder, &arguments);
        // Before the plan stands there is nothing to resume; that much is told as preparation.
        let told = lines.by_ref().filter(|line| !is_preparation(line)).take(kill_after).count();
        // The run may be over before the signal: then there is nothing to kill any more.
        let _ = kill_process(Pid::from_child(&child), Signal::KILL);
        let status = child.wait().expect("it ends");
        arguments = vec!["run", "--no-sampler", "--simulate", "variant.toml", "--resume", "killed"];
        if told < kill_after || status.success() {
            break;
        }
    }
    if folder.join("killed/profile.json").exists() {
        let (expected, resumed) =
            (json(&folder.join("whole/profile.json")), json(&folder.join("killed/profile.json")));
        assert_eq!(essence(&resumed), essence(&expected));
    } else {
        let resumed = run(&folder, &arguments);
        assert_eq!(code(&resumed), 0, "{}", errors(&resumed));
        let (expected, resumed) =
            (json(&folder.join("whole/profile.json")), json(&folder.join("killed/profile.json")));
        assert_eq!(essence(&resumed), essence(&expected));
    }
}

/// The largest point never gets ready, so the signal surely finds the run at work.
#[test]
fn an_interrupt_keeps_what_is_measured_and_the_run_can_go_on() {
    let variant =
        "[variant]\n[[fault]]\nkind = \"hang\"\nstage = \"prepare\"\nbatch_size = 2\nclip_length = 16\n";
    let (_keep, folder) = folder_with(variant);
    let mut arguments = quick("o");
    arguments.extend(["--prepare-limit", "2s", "--inference-limit", "1s"]);
    let (mut child, mut lines) = followed(&folder, &arguments);
    let found = lines.by_ref().find(|line| line.contains("B2 T16"));
    assert!(found.is_some(), "the largest point was never tried");
    send(&child, Signal::INT);
    assert_eq!(child.wait().expect("it ends").code(), Some(6));
    let partial = json(&folder.join("o/profile.json"));
    assert_eq!(partial["run"]["partial"], true);

    let resumed = run(&folder, &["run", "--no-sampler", "--simulate", "variant.toml", "--resume", "o"]);
    assert_eq!(code(&resumed), 0, "{}", errors(&resumed));
    let profile = json(&folder.join("o/profile.json"));
    let status: Vec<&Value> =
        profile["points"].as_array().expect("points").iter().map(|point| &point["status"]).collect();
    assert_eq!(status, ["measured", "measured", "measured", "failed"]);
    assert_eq!(profile["run"]["partial"], false);
}

#[test]
fn a_second_interrupt_ends_the_run_at_once() {
    let variant =
        "[variant]\n[[fault]]\nkind = \"hang\"\nstage = \"measure\"\nbatch_size = 2\nclip_length = 16\n";
    let (_keep, folder) = folder_with(variant);
    let (mut child, mut lines) = followed(&folder, &quick("o"));
    assert!(lines.by_ref().any(|line| line.contains("B2 T16")));
    send(&child, Signal::INT);
    send(&child, Signal::TERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(6));
}

#[test]
fn a_finished_run_is_not_gone_on_with() {
    let (_keep, folder) = folder_with(super::VARIANT);
    assert_eq!(code(&run(&folder, &quick("o"))), 0);
    let again = run(&folder, &["run", "--no-sampler", "--simulate", "variant.toml", "--resume", "o"]);
    assert_eq!(code(&again), 2);
    assert!(errors(&again).contains("complete"), "{}", errors(&again));
}

#[test]
fn a_model_that_changed_since_is_refused() {
    let (_keep, folder) = folder_with(super::VARIANT);
    assert_eq!(code(&run(&folder, &quick("whole"))), 0);
    cut_after(&folder.join("whole"), &folder.join("cut"), 1);
    std::fs::write(folder.join("variant.toml"), "[variant]\nseed = 8\n").expect("writable");
    let resumed = run(&folder, &["run", "--no-sampler", "--simulate", "variant.toml", "--resume", "cut"]);
    assert_eq!(code(&resumed), 3, "{}", errors(&resumed));
    assert!(errors(&resumed).contains("SHA-256"), "{}", errors(&resumed));
}
