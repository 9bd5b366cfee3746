//! Runs and checks over other backends than tract, through the real binary: TensorRT and trtexec over their
//! stand-ins. `onnx_reference` holds ONNX Runtime.
//!
//! `CLIPMARK_TEST_PROGRAM` names another clipmarkd to be held to this, `CLIPMARK_FAKES_DIR` its stand-ins.

mod failures;
mod machine;
mod runs;
mod selftest;
mod trtexec;

use machine::{Machine, TRTEXEC, program};

/// The point of `profile` at this clip length, of its first variant.
fn point(profile: &serde_json::Value, clip_length: u32) -> &serde_json::Value {
    let points = profile["points"].as_array().expect("points");
    let at = |point: &&serde_json::Value| {
        point["id"]["variant"] == 0 && point["id"]["shape"]["clip_length"] == clip_length
    };
    points.iter().find(at).unwrap_or_else(|| panic!("no point at T{clip_length}: {profile:#}"))
}

/// Whether a point has a remark with these words.
fn remarks(point: &serde_json::Value, words: &str) -> bool {
    let list = point["remarks"].as_array().expect("remarks");
    list.iter().any(|remark| remark.as_str().is_some_and(|remark| remark.contains(words)))
}
