//! Backends against ONNX Runtime's own Python package: the built-in models, and models that this project
//! did not generate, found in PyPI packages.

use crate::INSTALLER;
use crate::component::{Component, trials};
use clipmark_daemon::backend::{Backend, EngineSpec, Tract};
use clipmark_daemon::model::axes::ModelShape;
use clipmark_daemon::model::built_in::BuiltIn;
use clipmark_daemon::model::hints::ModelHints;
use clipmark_daemon::model::inputs::{Fill, fill_all};
use clipmark_daemon::model::onnx::OnnxModel;
use clipmark_daemon::tensor::TensorData;
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::record::Cause;
use libtest_mimic::Trial;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx_reference/reference.py");

#[derive(serde::Serialize)]
struct Given<'a> {
    name: &'a str,
    dtype: &'a str,
    shape: &'a [usize],
    file: String,
}

#[derive(serde::Deserialize)]
struct Expected {
    name: String,
    shape: Vec<usize>,
    file: String,
}

pub(crate) fn trials() -> Vec<Trial> {
    let packages = Component {
        is_here: std::env::var_os("CLIPMARK_PYTHON").is_some(),
        required_by: "CLIPMARK_REQUIRE_PYTHON",
        had_by: INSTALLER,
    };
    trials![&[packages];
        built_in_models_pass_the_onnx_checker_and_agree_with_the_reference,
        an_audio_model_with_a_symbolic_sequence_axis_agrees_with_the_reference,
        an_image_model_with_fixed_axes_is_measured_at_its_one_point,
        a_token_model_with_a_symbolic_batch_axis_agrees_with_the_reference,
        a_model_that_tract_cannot_run_fails_with_tracts_own_words,
        what_tract_lacks_is_rewritten_and_said_and_agrees_with_the_reference,
        an_output_that_the_file_declares_wrongly_is_what_the_model_makes_of_it,
    ]
}

/// The interpreter with the reference packages, of which there is a component.
fn python() -> PathBuf {
    std::env::var_os("CLIPMARK_PYTHON").expect("CLIPMARK_PYTHON is set").into()
}

fn script(python: &Path, arguments: &[&std::ffi::OsStr]) -> String {
    let output = Command::new(python).arg(SCRIPT).args(arguments).output().expect("the interpreter starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The model that `graphs/NAME.txt` is in ONNX's own notation, in `folder`.
fn written(python: &Path, name: &str, folder: &Path) -> PathBuf {
    let graph = format!("{}/tests/onnx_reference/graphs/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let model = folder.join(format!("{name}.onnx"));
    script(python, &["--write".as_ref(), graph.as_ref(), model.as_os_str()]);
    model
}

/// A model file inside an installed package.
fn packaged(python: &Path, package: &str, path: &str) -> PathBuf {
    let found = PathBuf::from(script(python, &["--find".as_ref(), package.as_ref(), path.as_ref()]));
    assert!(found.is_file(), "{} has no {path}; run daemon/tests/onnx_reference.sh again", package);
    found
}

fn shape_of(model: &Path, hints: &str) -> ModelShape {
    ModelShape::find(&OnnxModel::read(model).unwrap(), &toml::from_str::<ModelHints>(hints).unwrap()).unwrap()
}

fn spec(shape: &ModelShape, batch: u32, frames: u32) -> EngineSpec {
    let at = Shape::new(batch, frames).unwrap();
    let (precision, options) = (Precision::Model, BTreeMap::new());
    EngineSpec { shape: at, precision, threads: 1, inputs: shape.at(at).unwrap(), options, cache_dir: None }
}

/// The reference's outputs as f32, in the model's order.
fn reference(python: &Path, model: &Path, inputs: &[TensorData]) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut given = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let file = format!("input{index}.bin");
        std::fs::write(folder.path().join(&file), &input.bytes).unwrap();
        given.push(Given { name: &input.name, dtype: input.dtype.name(), shape: &input.shape, file });
    }
    std::fs::write(folder.path().join("inputs.json"), serde_json::to_vec(&given).unwrap()).unwrap();
    script(python, &[model.as_os_str(), folder.path().as_os_str()]);
    let expected: Vec<Expected> =
        serde_json::from_slice(&std::fs::read(folder.path().join("outputs.json")).unwrap()).unwrap();
    expected
        .into_iter()
        .map(|output| {
            (output.name, output.shape, floats(&std::fs::read(folder.path().join(output.file)).unwrap()))
        })
        .collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// How far values in 32-bit floats may be apart.
const NEAR: f32 = 1e-4;

/// As [`NEAR`], of a few products and sums in 16-bit floats.
const NEAR_IN_F16: f32 = 4e-3;

fn compare(python: &Path, backend: &dyn Backend, model: &Path, shape: &ModelShape, batch: u32, frames: u32) {
    compare_within(NEAR, python, backend, model, shape, (batch, frames));
}

/// Holds `backend` to the reference at one point: names, shapes, and values within `near`.
fn compare_within(
    near: f32,
    python: &Path,
    backend: &dyn Backend,
    model: &Path,
    shape: &ModelShape,
    (batch, frames): (u32, u32),
) {
    let spec = spec(shape, batch, frames);
    let inputs = fill_all(&spec.inputs, Fill::Random, 42);
    let expected = reference(python, model, &inputs);
    let mut engine = backend.prepare(model, &spec).unwrap();
    engine.set_inputs(&inputs).unwrap();
    engine.run().unwrap();
    let first = engine.outputs().unwrap();
    engine.run().unwrap();
    let outputs = engine.outputs().unwrap();
    assert_eq!(first, outputs, "an inference leaves nothing behind for the next one");
    assert_eq!(outputs.len(), expected.len());
    let what = format!("{} on {} at B{batch} T{frames}", model.display(), backend.name());
    for (output, (name, shape, values)) in outputs.iter().zip(&expected) {
        assert_eq!((&output.name, &output.shape), (name, shape), "{what}");
        let ours = floats(&output.bytes);
        let worst = ours.iter().zip(values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        eprintln!("{what}: {name} differs by at most {worst:e}");
        assert!(ours.len() == values.len() && worst <= near, "{what}: {name} differs by {worst:e}");
    }
}

fn backends() -> Vec<Box<dyn Backend>> {
    vec![
        Box::new(Tract),
        #[cfg(feature = "onnxruntime")]
        Box::new(clipmark_daemon::backend::OnnxRuntime),
    ]
}

fn built_in_models_pass_the_onnx_checker_and_agree_with_the_reference() {
    let python = python();
    let folder = tempfile::tempdir().unwrap();
    for model in BuiltIn::ALL {
        let path = folder.path().join(format!("{}.onnx", model.name()));
        model.write(&path, false).unwrap();
        let shape = shape_of(&path, "");
        for backend in backends() {
            for (batch, frames) in [(1, 1), (1, 8), (3, 5)] {
                compare(&python, backend.as_ref(), &path, &shape, batch, frames);
            }
        }
    }
}

fn an_audio_model_with_a_symbolic_sequence_axis_agrees_with_the_reference() {
    let python = python();
    let model = packaged(&python, "silero_vad", "data/silero_vad_16k_sequence.onnx");
    let shape = shape_of(&model, "");
    assert_eq!((shape.fixed_batch_size, shape.fixed_clip_length), (Some(1), None), "{:?}", shape.findings);
    for backend in backends() {
        for frames in [1, 7, 32] {
            compare(&python, backend.as_ref(), &model, &shape, 1, frames);
        }
    }
}

fn an_image_model_with_fixed_axes_is_measured_at_its_one_point() {
    let python = python();
    let model = packaged(&python, "onnx", "backend/test/data/light/light_squeezenet.onnx");
    let shape = shape_of(&model, "");
    assert_eq!((shape.fixed_batch_size, shape.fixed_clip_length), (Some(1), Some(1)), "{:?}", shape.findings);
    for backend in backends() {
        compare(&python, backend.as_ref(), &model, &shape, 1, 1);
    }
}

fn a_token_model_with_a_symbolic_batch_axis_agrees_with_the_reference() {
    let python = python();
    let model = packaged(&python, "magika", "models/standard_v3_3/model.onnx");
    let shape = shape_of(&model, "[inputs.bytes]\nvocabulary = 257");
    assert_eq!((shape.fixed_batch_size, shape.fixed_clip_length), (None, Some(1)), "{:?}", shape.findings);
    for backend in backends() {
        for batch in [1, 3] {
            compare(&python, backend.as_ref(), &model, &shape, batch, 1);
        }
    }
}

fn a_model_that_tract_cannot_run_fails_with_tracts_own_words() {
    let python = python();
    let model = packaged(&python, "silero_vad", "data/silero_vad.onnx");
    let hints = "[inputs.input]\naxes = \"batch, 576\"\n[inputs.state]\naxes = \"2, batch, 128\"\n[inputs.sr]\nrange = [16000.0, 16001.0]";
    let error =
        Tract.prepare(&model, &spec(&shape_of(&model, hints), 1, 1)).err().expect("tract lacks a part of it");
    eprintln!("{error}");
    assert!(
        matches!(error.cause, Cause::UnsupportedOperator | Cause::Backend | Cause::ImpossibleShape),
        "{error:?}"
    );
    assert!(!error.message.is_empty());
}

fn what_tract_lacks_is_rewritten_and_said_and_agrees_with_the_reference() {
    let python = python();
    let folder = tempfile::tempdir().unwrap();
    for (name, remark, points) in [
        ("constant_of_shape", "ConstantOfShape given its value of 0 (1)", &[(1, 8), (3, 7)][..]),
        ("equal_of_booleans", "Equal of booleans as Not of Xor (1)", &[(1, 8), (3, 7)]),
        ("cum_sum_of_sizes", "CumSum of sizes in 64-bit integers (1)", &[(1, 8), (3, 7)]),
        ("gemm_in_f16", "Gemm in f16 as MatMul and Add (1)", &[(1, 8), (3, 4)]),
        ("if_of_sizes", "If replaced by the branch taken (1)", &[(3, 7)]),
        ("if_of_sizes", "If replaced by the branch taken (2)", &[(1, 8), (2, 8)]),
        ("softmax_off_the_last_axis", "Softmax moved to the last axis (1)", &[(1, 8), (3, 7)]),
        (
            "convolution_over_three_axes",
            "Conv of several clips as one for each clip, with its own copy of the weights (1)",
            &[(2, 8), (3, 4)],
        ),
    ] {
        let model = written(&python, name, folder.path());
        let shape = shape_of(&model, "");
        for &(batch, frames) in points {
            let engine = Tract.prepare(&model, &spec(&shape, batch, frames)).unwrap();
            let told = format!("graph rewritten for tract: {remark}");
            assert!(engine.remarks().contains(&told), "{name}: {:?}", engine.remarks());
            let near = if name == "gemm_in_f16" { NEAR_IN_F16 } else { NEAR };
            compare_within(near, &python, &Tract, &model, &shape, (batch, frames));
        }
    }
}

fn an_output_that_the_file_declares_wrongly_is_what_the_model_makes_of_it() {
    let python = python();
    let folder = tempfile::tempdir().unwrap();
    let model = written(&python, "output_declared_wrongly", folder.path());
    let shape = shape_of(&model, "");
    for backend in backends() {
        for (batch, frames) in [(1, 8), (2, 8), (3, 8)] {
            compare(&python, backend.as_ref(), &model, &shape, batch, frames);
        }
    }
}
