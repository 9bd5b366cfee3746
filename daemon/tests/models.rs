//! The built-in models: the same bytes every time, usable at every point, and what they declare.

#![expect(clippy::unwrap_used, reason = "a helper that fails is its test failing")]

use clipmark_daemon::backend::{Backend, Dtype, EngineSpec, InputSpec, Tract};
use clipmark_daemon::model::built_in::{BuiltIn, MAX_FRAMES, VOCABULARY};
use clipmark_daemon::model::onnx::OnnxModel;
use clipmark_profile::point::{GridPoint, Precision};
use clipmark_profile::record::Cause;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn written(model: BuiltIn) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("{}.onnx", model.name()));
    model.write(&path, false).unwrap();
    (dir, path)
}

fn spec(batch: u32, frames: u32) -> EngineSpec {
    let (b, t) = (batch as usize, frames as usize);
    let input =
        |name: &str, dtype, shape, high| InputSpec { name: name.into(), dtype, shape, low: 0.0, high };
    let video = input("video", Dtype::F32, vec![b, t, 3, 64, 64], 1.0);
    let text = input("text", Dtype::I64, vec![b, 16], f64::from(VOCABULARY));
    EngineSpec {
        at: GridPoint::new(batch, frames).unwrap(),
        precision: Precision::Model,
        threads: 1,
        inputs: vec![video, text],
        options: BTreeMap::new(),
        cache_dir: None,
    }
}

#[test]
fn regeneration_gives_the_published_bytes() {
    let digests = BuiltIn::ALL.map(|model| OnnxModel::parse(&model.onnx_bytes()).unwrap().sha256);
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
