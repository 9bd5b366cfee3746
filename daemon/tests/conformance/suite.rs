//! What every backend is held to.

use crate::subject::{Behaviour, behaviours};
use crate::tiny;
use clipmark_daemon::backend::completion::check_completion;
use clipmark_daemon::backend::{Backend, BackendError, Engine, EngineSpec};
use clipmark_daemon::model::axes::ModelShape;
use clipmark_daemon::model::built_in::{BuiltIn, MAX_FRAMES};
use clipmark_daemon::model::hints::ModelHints;
use clipmark_daemon::model::inputs::{Fill, fill_all};
use clipmark_daemon::model::onnx::OnnxModel;
use clipmark_daemon::tensor::TensorData;
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::record::Cause;
use prost::Message;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tract_onnx::pb::ModelProto;

/// A backend under test, with a folder for its models.
pub(crate) struct Case {
    backend: Box<dyn Backend>,
    folder: tempfile::TempDir,
}

pub(crate) const BEHAVIOURS: [Behaviour<Case>; 12] = behaviours![
    outputs_have_the_models_shapes,
    outputs_are_the_same_for_the_same_inputs_and_follow_them,
    an_inference_returns_only_when_it_is_complete,
    an_inference_leaves_nothing_behind_for_the_next,
    every_dtype_is_taken,
    there_are_no_outputs_before_the_first_inference,
    operators_are_named_with_their_share,
    inputs_of_another_shape_dtype_or_name_are_refused,
    an_unknown_operator_is_reported_with_its_name,
    an_impossible_shape_is_reported_as_such,
    a_damaged_a_foreign_and_a_missing_file_are_bad_models,
    an_unknown_option_is_refused,
];

impl Case {
    pub(crate) fn new(backend: Box<dyn Backend>) -> Self {
        Self::over(tempfile::tempdir().unwrap(), backend)
    }

    /// A backend over what lies in `folder`.
    pub(crate) fn over(folder: tempfile::TempDir, backend: Box<dyn Backend>) -> Self {
        Self { backend, folder }
    }

    fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// An engine for another model than the built-in one.
    fn prepared_for(&self, model: &[u8], batch: u32, frames: u32) -> (EngineSpec, Box<dyn Engine>) {
        let spec = spec(model, batch, frames);
        let engine = self.backend.prepare(&self.file("other.onnx", model), &spec);
        (spec, engine.unwrap())
    }

    fn prepare_temporal(
        &self,
        batch: u32,
        frames: u32,
    ) -> Result<(EngineSpec, Box<dyn Engine>), BackendError> {
        let bytes = BuiltIn::Temporal.onnx_bytes();
        let spec = spec(&bytes, batch, frames);
        let engine = self.backend.prepare(&self.file("temporal.onnx", &bytes), &spec)?;
        Ok((spec, engine))
    }

    fn prepared(&self, batch: u32, frames: u32) -> (EngineSpec, Box<dyn Engine>) {
        self.prepare_temporal(batch, frames).unwrap()
    }

    /// The error of preparing `contents` as a model at B1 T2.
    fn refusal(&self, contents: &[u8]) -> BackendError {
        let spec = spec(&BuiltIn::Temporal.onnx_bytes(), 1, 2);
        let path = self.file("refused.onnx", contents);
        self.backend.prepare(&path, &spec).err().expect("this model cannot be prepared")
    }
}

pub(crate) fn spec(model: &[u8], batch: u32, frames: u32) -> EngineSpec {
    let at = Shape::new(batch, frames).unwrap();
    let shape = ModelShape::find(&OnnxModel::parse(model).unwrap(), &ModelHints::default()).unwrap();
    EngineSpec {
        shape: at,
        precision: Precision::Model,
        threads: 1,
        inputs: shape.at(at).unwrap(),
        options: BTreeMap::new(),
        cache_dir: None,
    }
}

pub(crate) fn random(spec: &EngineSpec, seed: u64) -> Vec<TensorData> {
    fill_all(&spec.inputs, Fill::Random, seed)
}

fn outputs_of(engine: &mut dyn Engine, inputs: &[TensorData]) -> Vec<TensorData> {
    engine.set_inputs(inputs).unwrap();
    engine.run().unwrap();
    engine.outputs().unwrap()
}

fn outputs_have_the_models_shapes(case: &Case) {
    for (batch, frames) in [(1, 4), (3, 2)] {
        let (spec, mut engine) = case.prepared(batch, frames);
        let outputs = outputs_of(engine.as_mut(), &random(&spec, 1));
        let shown: Vec<_> =
            outputs.iter().map(|o| (o.name.as_str(), o.shape.clone(), o.bytes.len())).collect();
        let b = batch as usize;
        let expected = [
            ("similarity", vec![b], b * 4),
            ("logits", vec![b, 32], b * 32 * 4),
            ("embeddings", vec![b, 64], b * 64 * 4),
        ];
        assert_eq!(shown, expected, "B{batch} T{frames}");
    }
}

fn outputs_are_the_same_for_the_same_inputs_and_follow_them(case: &Case) {
    let (spec, mut engine) = case.prepared(2, 3);
    let (first, second) = (random(&spec, 1), random(&spec, 2));
    let outputs = outputs_of(engine.as_mut(), &first);
    assert_eq!(outputs_of(engine.as_mut(), &first), outputs);
    let others = outputs_of(engine.as_mut(), &second);
    assert!(outputs.iter().zip(&others).all(|(a, b)| a.bytes != b.bytes));
    let (_, mut fresh) = case.prepared(2, 3);
    assert_eq!(outputs_of(fresh.as_mut(), &second), others, "a fresh engine agrees");
}

fn an_inference_returns_only_when_it_is_complete(case: &Case) {
    let (spec, mut engine) = case.prepared(1, 4);
    check_completion(engine.as_mut(), &random(&spec, 1), &random(&spec, 2)).unwrap();
}

fn an_inference_leaves_nothing_behind_for_the_next(case: &Case) {
    let (spec, mut engine) = case.prepared_for(&tiny::recurrent(), 2, 3);
    let first = outputs_of(engine.as_mut(), &random(&spec, 1));
    assert_eq!(first[0].shape, [3, 1, 2, 2]);
    assert_eq!(outputs_of(engine.as_mut(), &random(&spec, 1)), first, "a recurrent layer starts afresh");
}

fn every_dtype_is_taken(case: &Case) {
    let (spec, mut engine) = case.prepared_for(&tiny::every_dtype(), 2, 1);
    let constant = fill_all(&spec.inputs, Fill::Constant, 0);
    let outputs = outputs_of(engine.as_mut(), &constant);
    let floats = |output: &TensorData| -> Vec<f32> {
        output.bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    };
    // Floats at the middle of -1..1, integers of unknown range at 1, bytes at 128, booleans true.
    assert_eq!(floats(&outputs[0]), [131.0; 8]);
    let random = random(&spec, 1);
    let outputs = outputs_of(engine.as_mut(), &random);
    assert_eq!(outputs[1].bytes, random[0].bytes, "an input that is passed through");
    assert_ne!(floats(&outputs[0]), [131.0; 8]);
}

fn there_are_no_outputs_before_the_first_inference(case: &Case) {
    let (spec, mut engine) = case.prepared(1, 1);
    engine.set_inputs(&random(&spec, 1)).unwrap();
    assert!(engine.outputs().is_err());
}

fn operators_are_named_with_their_share(case: &Case) {
    let (_, mut engine) = case.prepared(1, 4);
    let costs = engine.operators(3).unwrap();
    assert!(costs.len() > 5, "{costs:?}");
    assert!(costs.iter().all(|cost| !cost.name.is_empty() && !cost.kind.is_empty()));
    assert!(costs.windows(2).all(|pair| pair[0].time >= pair[1].time), "most expensive first");
    let total: f64 = costs.iter().map(|cost| cost.share).sum();
    assert!((total - 1.0).abs() < 1e-6, "shares add up to {total}");
}

fn inputs_of_another_shape_dtype_or_name_are_refused(case: &Case) {
    let (spec, mut engine) = case.prepared(1, 2);
    let good = random(&spec, 1);
    let other = spec_at(&spec, 1, 3);
    let mut renamed = good.clone();
    renamed[0].name = "movie".into();
    let mut short = good.clone();
    short[1].bytes.pop();
    for (inputs, why) in
        [(random(&other, 1), "shape"), (renamed, "name"), (short, "bytes"), (good[..1].to_vec(), "number")]
    {
        let error = engine.set_inputs(&inputs).expect_err(why);
        assert!(error.message.contains("engine takes"), "{why}: {error}");
    }
    engine.set_inputs(&good).unwrap();
    engine.run().unwrap();
}

fn spec_at(spec: &EngineSpec, batch: u32, frames: u32) -> EngineSpec {
    let other = self::spec(&BuiltIn::Temporal.onnx_bytes(), batch, frames);
    EngineSpec { inputs: other.inputs, shape: other.shape, ..spec.clone() }
}

fn an_unknown_operator_is_reported_with_its_name(case: &Case) {
    let mut model = ModelProto::decode(BuiltIn::Temporal.onnx_bytes().as_slice()).unwrap();
    let erf = model.graph.as_mut().unwrap().node.iter_mut().find(|node| node.op_type == "Erf").unwrap();
    erf.op_type = "Transmogrify".into();
    let error = case.refusal(&model.encode_to_vec());
    assert_eq!(error.cause, Cause::UnsupportedOperator, "{error}");
    assert!(error.message.contains("Transmogrify"), "{error}");
}

fn an_impossible_shape_is_reported_as_such(case: &Case) {
    let error = case.prepare_temporal(1, MAX_FRAMES + 1).err().expect("the model has no position for it");
    assert_eq!(error.cause, Cause::ImpossibleShape, "{error}");
}

fn a_damaged_a_foreign_and_a_missing_file_are_bad_models(case: &Case) {
    let whole = BuiltIn::Temporal.onnx_bytes();
    for (contents, what) in [
        (&whole[..whole.len() / 2], "damaged"),
        (b"these are words, not a model\n".as_slice(), "foreign"),
        (b"", "empty"),
    ] {
        let error = case.refusal(contents);
        assert_eq!(error.cause, Cause::BadModel, "{what}: {error}");
        assert!(error.message.contains("refused.onnx"), "{what}: {error}");
    }
    let spec = spec(&whole, 1, 2);
    let missing = case.folder.path().join("missing.onnx");
    let error = case.backend.prepare(&missing, &spec).err().expect("there is no file");
    assert_eq!(error.cause, Cause::BadModel, "{error}");
    assert!(error.message.contains("missing.onnx"), "{error}");
}

fn an_unknown_option_is_refused(case: &Case) {
    let bytes = BuiltIn::Temporal.onnx_bytes();
    let mut spec = spec(&bytes, 1, 1);
    spec.options.insert("warp_drive".into(), "on".into());
    let error =
        case.backend.prepare(&case.file("temporal.onnx", &bytes), &spec).err().expect("unknown option");
    assert!(error.message.contains("warp_drive"), "{error}");
}
