//! The conformance suite over the whole registry of backends.
//!
//! A backend that cannot be used on this machine is named with its reason and left out;
//! `CLIPMARK_REQUIRE_PYTHON=1` (set by `onnx_reference.sh`) makes that an error for onnxruntime. TensorRT 8, 10 and
//! 11 are stand-ins (daemon/trt/fakes). `worker` holds the same backends through a worker process.

#![expect(clippy::unwrap_used, reason = "a helper that fails is its test failing")]
#![expect(clippy::print_stderr, reason = "what is left out, and why, belongs into the test's output")]

mod suite;
mod tiny;
mod worker;

use clipmark_daemon::backend::completion::{CompletionError, check_completion};
use clipmark_daemon::backend::tensorrt::TensorRtBackend;
use clipmark_daemon::backend::{Backend, Simulated, registry};
use clipmark_daemon::model::built_in::BuiltIn;
use clipmark_trt::Search;
use clipmark_trt_fakes::stage;
use suite::Case;

/// What the stand-ins for TensorRT know of the suite's models: its unknown operator and its longest clip.
const STAND_IN: &str = "reject = Transmogrify\nlongest = 256\ncompute_us = 100\n";
const MAJORS: [u32; 3] = [8, 10, 11];

fn cases() -> Vec<Case> {
    registry().into_iter().filter_map(case).chain(MAJORS.map(over_stand_ins)).collect()
}

fn over_stand_ins(major: u32) -> Case {
    let folder = tempfile::tempdir().unwrap();
    stage::tensorrt(folder.path(), major, STAND_IN).unwrap();
    let search = Search { folders: vec![folder.path().to_owned()], only: true };
    Case::over(folder, format!("tensorrt {major}"), Box::new(TensorRtBackend::searching(search)))
}

fn case(backend: Box<dyn Backend>) -> Option<Case> {
    let name = backend.name();
    let ignored: &[(&str, &str)] = match name {
        "noop" => &[
            ("outputs_have_the_models_shapes", "it loads no model"),
            ("outputs_are_the_same_for_the_same_inputs_and_follow_them", "it computes nothing"),
            ("an_inference_returns_only_when_it_is_complete", "it computes nothing"),
            ("an_inference_leaves_nothing_behind_for_the_next", "it computes nothing"),
            ("every_dtype_is_taken", "it computes nothing"),
            ("operators_are_named_with_their_share", "it has no operators"),
            ("an_unknown_operator_is_reported_with_its_name", "it loads no model"),
            ("an_impossible_shape_is_reported_as_such", "it loads no model"),
            ("a_damaged_a_foreign_and_a_missing_file_are_bad_models", "it loads no model"),
            ("an_unknown_option_is_refused", "it has no options and reads none"),
            ("there_are_no_outputs_before_the_first_inference", "it has no outputs at any time"),
        ],
        "simulated" => &[
            ("outputs_have_the_models_shapes", "it loads no ONNX model"),
            ("an_inference_leaves_nothing_behind_for_the_next", "it has no recurrent layers"),
            ("every_dtype_is_taken", "it computes a digest of its inputs alone"),
            ("operators_are_named_with_their_share", "it has no operators"),
            ("an_unknown_operator_is_reported_with_its_name", "it loads no ONNX model"),
            ("an_impossible_shape_is_reported_as_such", "it loads no ONNX model"),
            (
                "a_damaged_a_foreign_and_a_missing_file_are_bad_models",
                "it takes any ONNX file for the default variant",
            ),
        ],
        // Over its stand-ins, below. The stand-in for trtexec computes nothing: tests/trtexec.rs holds it.
        "tensorrt" | "trtexec" => return None,
        _ => &[],
    };
    if let Err(error) = backend.check() {
        let required = std::env::var_os("CLIPMARK_REQUIRE_PYTHON").is_some_and(|value| value == "1");
        assert!(!(required && name == "onnxruntime"), "onnxruntime is required here: {error}");
        eprintln!("LEFT OUT: {name} cannot be used here: {error}");
        return None;
    }
    Some(Case::new(backend, ignored))
}

suite::conformance_tests!(cases());

/// The other side of `an_inference_returns_only_when_it_is_complete`: the check does catch such an engine.
#[test]
fn an_engine_that_returns_early_is_caught() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("early.toml");
    let fault = "[[fault]]\nkind = \"early_return\"\nstage = \"measure\"\nbatch_size = 1\nclip_length = 1\n";
    let bytes = BuiltIn::Temporal.onnx_bytes();
    let (spec, inputs) =
        (suite::spec(&bytes, 1, 2), [1, 2].map(|seed| suite::random(&suite::spec(&bytes, 1, 2), seed)));
    for (after, honest) in [(0, false), (1, false), (3, true)] {
        std::fs::write(&model, format!("{fault}after_iterations = {after}")).unwrap();
        let mut engine = Simulated.prepare(&model, &spec).unwrap();
        let verdict = check_completion(engine.as_mut(), &inputs[0], &inputs[1]);
        match verdict {
            Ok(_) => assert!(honest, "early from inference {after} on went unnoticed"),
            Err(error) => assert!(!honest && matches!(error, CompletionError::Unsettled), "{after}: {error}"),
        }
    }
}
