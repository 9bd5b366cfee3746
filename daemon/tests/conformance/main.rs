//! The conformance suite over the whole registry of backends, each behaviour of each backend a test of its own.
//!
//! onnxruntime is ignored where its library is missing; `CLIPMARK_REQUIRE_PYTHON=1` (set by `onnx_reference.sh`) makes
//! that a failure. TensorRT 8, 10 and 11 are stand-ins (daemon/trt/fakes). `worker` holds the same backends through a
//! worker process.

#![expect(clippy::unwrap_used, reason = "a helper that fails is its test failing")]

#[path = "../../../profile/tests/common/component.rs"]
mod component;
mod subject;
mod suite;
mod tiny;
mod worker;

use clipmark_daemon::backend::completion::{CompletionError, check_completion};
use clipmark_daemon::backend::tensorrt::TensorRtBackend;
use clipmark_daemon::backend::{Backend, Simulated, registry};
use clipmark_daemon::model::built_in::BuiltIn;
use clipmark_trt::Search;
use clipmark_trt_fakes::stage;
use component::{Component, trials};
use libtest_mimic::Arguments;
use std::process::ExitCode;
use std::sync::Arc;
use subject::{Inapplicable, Subject};
use suite::Case;

/// What the stand-ins for TensorRT know of the suite's models: its unknown operator and its longest clip.
const STAND_IN: &str = "reject = Transmogrify\nlongest = 256\ncompute_us = 100\n";
const MAJORS: [u32; 3] = [8, 10, 11];

fn main() -> ExitCode {
    // TensorRT is held over its stand-ins. The stand-in for trtexec computes nothing: tests/trtexec.rs holds it.
    let names = registry().into_iter().map(|backend| backend.name());
    let real = names.filter(|name| !["tensorrt", "trtexec"].contains(name)).map(real);
    let subjects: Vec<Subject<Case>> = real.chain(MAJORS.map(over_stand_ins)).collect();
    let mut trials = trials![&[]; an_engine_that_returns_early_is_caught];
    trials.extend(subjects.iter().flat_map(|subject| subject.trials(&suite::BEHAVIOURS)));
    trials.extend(worker::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn over_stand_ins(major: u32) -> Subject<Case> {
    let make = move || {
        let folder = tempfile::tempdir().unwrap();
        stage::tensorrt(folder.path(), major, STAND_IN).unwrap();
        let search = Search { folders: vec![folder.path().to_owned()], only: true };
        Case::over(folder, Box::new(TensorRtBackend::searching(search)))
    };
    Subject { label: format!("tensorrt_{major}"), needs: Vec::new(), inapplicable: &[], make: Arc::new(make) }
}

fn named(name: &str) -> Box<dyn Backend> {
    registry().into_iter().find(|backend| backend.name() == name).unwrap()
}

/// A backend of the registry over what this machine has.
fn real(name: &'static str) -> Subject<Case> {
    let needs =
        if name == "onnxruntime" { vec![onnxruntime(named(name).check().is_ok())] } else { Vec::new() };
    Subject {
        label: name.into(),
        needs,
        inapplicable: inapplicable(name),
        make: Arc::new(move || Case::new(named(name))),
    }
}

/// ONNX Runtime's library.
fn onnxruntime(is_here: bool) -> Component {
    Component { is_here, required_by: "CLIPMARK_REQUIRE_PYTHON", had_by: "daemon/tests/onnx_reference.sh" }
}

/// What some backends cannot be held to.
fn inapplicable(backend: &str) -> Inapplicable {
    match backend {
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
        _ => &[],
    }
}

/// The other side of `an_inference_returns_only_when_it_is_complete`: the check does catch such an engine.
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
