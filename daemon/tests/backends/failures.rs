//! Whatever befalls one engine is the result of its point, with stage and cause; the others are measured.

use super::{Machine, point};

/// A run over T8 and T32, in which TensorRT meets with `settings` at one of the two.
fn check(settings: &str, flags: &str, failing: u32, expected: [&str; 2], words: &str) {
    let machine = Machine::with_tensorrt(10, &format!("{settings}\nat = {failing}\ncompute_us = 50"));
    let arguments =
        format!("copy.onnx --backend tensorrt --batch-sizes 1 --clip-lengths 8,32 --iterations 20 {flags}");
    let (_, profile) = machine.run(&arguments, 0);
    let failed = point(&profile, failing);
    assert_eq!(failed["status"], "failed", "{settings}: {failed:#}");
    let failure = &failed["failure"];
    assert_eq!([&failure["stage"], &failure["cause"]], expected, "{settings}: {failure:#}");
    assert!(
        failure["message"].as_str().is_some_and(|message| message.contains(words)),
        "{settings}: {failure:#}"
    );
    let other = point(&profile, 40 - failing);
    assert_eq!(other["status"], "measured", "{settings}: {other:#}");
    assert_eq!(other["latency"]["iterations"], 20, "{settings}");
}

#[test]
fn a_refused_build_is_the_points_result() {
    check("fail = build", "", 8, ["prepare", "backend"], "no implementation");
}

#[test]
fn memory_that_runs_out_is_the_points_result() {
    check("oom = build", "", 32, ["prepare", "out_of_memory"], "OutOfMemory");
    check("oom = context", "", 32, ["prepare", "out_of_memory"], "OutOfMemory");
    check("oom = enqueue\nfail_after = 5", "", 32, ["measure", "out_of_memory"], "OutOfMemory");
}

#[test]
fn an_inference_that_fails_is_the_points_result() {
    check("fail = enqueue", "", 8, ["warm_up", "backend"], "unspecified launch failure");
    check("fail = enqueue\nfail_after = 5", "", 8, ["measure", "backend"], "unspecified launch failure");
}

#[test]
fn a_crash_inside_tensorrt_is_the_points_result() {
    check("crash = build", "", 8, ["prepare", "crashed"], "SIGSEGV");
    check("crash = enqueue\nfail_after = 5", "", 8, ["measure", "crashed"], "SIGSEGV");
}

#[test]
fn a_build_that_hangs_is_ended_at_its_limit() {
    let limits = "--prepare-limit 1s --inference-limit 500ms";
    check("hang = build", limits, 32, ["prepare", "timed_out"], "--prepare-limit");
}

#[test]
fn an_inference_that_hangs_is_ended_at_its_limit() {
    let limits = "--inference-limit 500ms --budget 2s";
    check("hang = enqueue\nfail_after = 5", limits, 32, ["measure", "timed_out"], "--inference-limit");
}

#[test]
fn an_operator_that_the_parser_rejects_is_named_and_nothing_is_measured() {
    let machine = Machine::with_tensorrt(8, "reject = Identity");
    let arguments = "copy.onnx --backend tensorrt --batch-sizes 1 --clip-lengths 8,32 --iterations 5";
    let (_, profile) = machine.run(arguments, 7);
    let points = profile["points"].as_array().expect("points");
    let failed: Vec<_> = points.iter().filter(|point| point["status"] == "failed").collect();
    let [failed] = failed.as_slice() else { panic!("{profile:#}") };
    assert_eq!(failed["failure"]["cause"], "unsupported_operator");
    assert!(failed["failure"]["message"].to_string().contains("node 0 `copy` (Identity)"), "{failed:#}");
    assert!(points.iter().any(|point| point["not_run"] == "variant_failed"), "{profile:#}");
}

#[test]
fn one_backend_that_fails_leaves_the_others_figures() {
    let machine = Machine::with_tensorrt(11, "crash = build");
    let arguments = "copy.onnx --backend tensorrt,tract --batch-sizes 1 --clip-lengths 8 --iterations 20";
    let (_, profile) = machine.run(arguments, 0);
    let statuses: Vec<_> =
        profile["points"].as_array().expect("points").iter().map(|p| &p["status"]).collect();
    assert_eq!(statuses, ["failed", "measured"], "{profile:#}");
}
