//! The built-in models: the same bytes every time, usable at every point, and what they declare.

#![expect(clippy::unwrap_used, reason = "a helper that fails is its test failing")]

use clipmark_daemon::backend::{Backend, EngineSpec, TRACT_VERSION, Tract};
use clipmark_daemon::model::built_in::{BuiltIn, MAX_FRAMES, VOCABULARY};
use clipmark_daemon::model::inputs::{Fill, fill_all};
use clipmark_daemon::model::onnx::OnnxModel;
use clipmark_daemon::tensor::{Dtype, InputSpec, TensorData};
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::record::Cause;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tract_onnx::prelude::f16;

fn written(model: BuiltIn) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("{}.onnx", model.name()));
    model.write(&path, false).unwrap();
    (dir, path)
}

/// Outputs as f32 of one inference with seeded inputs, and the engine's remarks.
fn measured(model: BuiltIn, spec: &EngineSpec) -> (Vec<f32>, Vec<String>) {
    let (_dir, path) = written(model);
    let mut engine = Tract.prepare(&path, spec).unwrap();
    engine.set_inputs(&fill_all(&spec.inputs, Fill::Random, 5)).unwrap();
    engine.run().unwrap();
    let floats = |output: &TensorData| -> Vec<f32> {
        match output.dtype {
            Dtype::F16 => output
                .bytes
                .chunks_exact(2)
                .map(|b| f16::from_le_bytes(b.try_into().unwrap()).to_f32())
                .collect(),
            _ => output.bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        }
    };
    (engine.outputs().unwrap().iter().flat_map(floats).collect(), engine.remarks())
}

fn assert_close(a: &[f32], b: &[f32], tolerance: f32) {
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(a.len() == b.len() && worst <= tolerance, "differs by {worst}");
}

fn spec(batch: u32, frames: u32) -> EngineSpec {
    let (b, t) = (batch as usize, frames as usize);
    let input = |name: &str, dtype, shape, high| InputSpec {
        name: name.into(),
        dtype,
        shape,
        low: 0.0,
        high,
        clips: None,
        frames: None,
    };
    let video = input("video", Dtype::F32, vec![b, t, 3, 64, 64], 1.0);
    let text = input("text", Dtype::I64, vec![b, 16], f64::from(VOCABULARY));
    EngineSpec {
        shape: Shape::new(batch, frames).unwrap(),
        precision: Precision::Model,
        threads: 1,
        inputs: vec![video, text],
        options: BTreeMap::new(),
        cache_dir: None,
    }
}

#[test]
fn regeneration_gives_the_published_bytes() {
    let digests = BuiltIn::ALL.map(|model| OnnxModel::parse(&model.onnx_bytes()).unwrap().own.sha256);
    let published = [
        "7e353022a0bbe71313b4008cbc065cd1c7099194ba82114570986d8d8a8f24d2",
        "cc045cd762457d43f8b4408897324fcbe220f7dc9b84ebd1743b3a145f68ad6e",
        "ead52b7059ee6d625436fc3103e8020815b37f4a305898ac2b442256aa1b23e6",
    ];
    assert_eq!(digests, published);
}

#[test]
fn the_built_in_models_declare_symbolic_batch_and_frames_and_their_outputs() {
    for model in BuiltIn::ALL {
        let onnx = OnnxModel::parse(&model.onnx_bytes()).unwrap();
        let inputs: Vec<String> = onnx.inputs.iter().map(ToString::to_string).collect();
        assert_eq!(inputs, ["video: f32[batch,frames,3,64,64]", "text: i64[batch,16]"]);
        let outputs: Vec<String> = onnx.outputs.iter().map(ToString::to_string).collect();
        assert_eq!(outputs, ["similarity: f32[batch]", "logits: f32[batch,32]", "embeddings: f32[batch,64]"]);
        assert_eq!(onnx.opset, 17);
        assert!((100_000..400_000).contains(&onnx.parameters), "{} has {}", model.name(), onnx.parameters);
    }
}

#[test]
fn every_built_in_model_runs_on_tract_with_unit_embeddings_and_outputs_per_clip() {
    for model in BuiltIn::ALL {
        let (_dir, path) = written(model);
        for (batch, frames) in [(1, 1), (2, 3)] {
            let mut engine = Tract.prepare(&path, &spec(batch, frames)).unwrap();
            engine.run().unwrap();
            let outputs = engine.outputs().unwrap();
            let shapes: Vec<&[usize]> = outputs.iter().map(|o| o.shape.as_slice()).collect();
            let b = batch as usize;
            assert_eq!(shapes, [&[b][..], &[b, 32], &[b, 64]], "{} B{batch} T{frames}", model.name());
            let floats = outputs[2].bytes.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap()));
            let embeddings: Vec<f32> = floats.collect();
            for clip in embeddings.chunks_exact(64) {
                let norm = clip.iter().map(|x| x * x).sum::<f32>().sqrt();
                assert!((norm - 1.0).abs() < 1e-5, "{} has an embedding of length {norm}", model.name());
            }
        }
    }
}

#[test]
fn a_clip_longer_than_the_position_table_is_an_impossible_shape() {
    let (_dir, path) = written(BuiltIn::Temporal);
    let error = Tract.prepare(&path, &spec(1, MAX_FRAMES + 1)).err().expect("the table ends before");
    assert_eq!(error.cause, Cause::ImpossibleShape, "{error}");
}

#[test]
fn writing_over_a_file_needs_force() {
    let (_dir, path) = written(BuiltIn::Joint);
    let error = BuiltIn::Temporal.write(&path, false).unwrap_err();
    assert!(error.to_string().contains("--force"), "{error}");
    BuiltIn::Temporal.write(&path, true).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), BuiltIn::Temporal.onnx_bytes());
}

#[test]
fn threads_change_no_output() {
    let alone = measured(BuiltIn::Joint, &spec(1, 8)).0;
    let together = measured(BuiltIn::Joint, &EngineSpec { threads: 2, ..spec(1, 8) }).0;
    assert_close(&alone, &together, 1e-5);
}

#[test]
fn the_convolution_layout_is_tried_forced_or_left_and_changes_no_output() {
    let with = |value: &str| {
        let mut spec = spec(1, 4);
        spec.options.insert("conv_nhwc".into(), value.into());
        measured(BuiltIn::Conv3d, &spec)
    };
    let (plain, no_remarks) = with("off");
    assert!(no_remarks.is_empty(), "{no_remarks:?}");
    let (forced, remarks) = with("on");
    assert_eq!(remarks, ["conv_nhwc was asked for and applied"]);
    assert_close(&plain, &forced, 1e-5);
    let (tried, remarks) = with("try");
    assert!(remarks[0].starts_with("conv_nhwc was tried and "), "{remarks:?}");
    assert_close(&plain, &tried, 1e-5);
}

#[test]
fn half_precision_is_taken_with_a_warning_where_it_is_emulated() {
    let full = measured(BuiltIn::Temporal, &spec(1, 2)).0;
    let (half, remarks) =
        measured(BuiltIn::Temporal, &EngineSpec { precision: Precision::Fp16, ..spec(1, 2) });
    assert_close(&full, &half, 2e-2);
    assert_ne!(full, half);
    assert_eq!(remarks.iter().any(|remark| remark.contains("emulates")), cfg!(target_arch = "x86_64"));
}

#[test]
fn a_precision_that_tract_lacks_is_refused_with_those_it_has() {
    let (_dir, path) = written(BuiltIn::Temporal);
    let error = Tract.prepare(&path, &EngineSpec { precision: Precision::Int8, ..spec(1, 1) }).err().unwrap();
    assert_eq!(error.message, "tract cannot change a model to int8; choose model, fp32 or fp16");
}

#[test]
fn the_reported_version_of_tract_is_the_locked_one() {
    let lock = include_str!("../../Cargo.lock");
    let locked = format!("name = \"tract-onnx\"\nversion = \"{TRACT_VERSION}\"");
    assert!(lock.contains(&locked), "TRACT_VERSION = {TRACT_VERSION} is not what Cargo.lock holds");
}
