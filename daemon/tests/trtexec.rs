//! The backend `trtexec` over a stand-in for the program, in the dialects of TensorRT 8.2 to 11.

use clipmark_daemon::backend::trtexec::Trtexec;
use clipmark_daemon::backend::{Backend, BackendError, Engine, EngineSpec};
use clipmark_daemon::tensor::{Dtype, InputSpec, TensorData};
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::record::{Cause, Stage};
use clipmark_profile::units::Nanos;
use clipmark_trt_fakes::model;
use tempfile::TempDir;

const RELEASES: [(&str, &str); 4] =
    [("8201", "8.2.1"), ("8502", "8.5.2"), ("100300", "10.3.0"), ("110100", "11.1.0")];
const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/trt/fakes/trtexec");

struct Board {
    folder: TempDir,
    backend: Trtexec,
}

impl Board {
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = folder.path().join("trtexec");
        std::fs::copy(STAND_IN, &program).expect("the stand-in is copied with its mode");
        std::fs::write(folder.path().join("fake.conf"), settings).expect("writable");
        std::fs::write(folder.path().join("model.onnx"), model::identity()).expect("writable");
        Self { backend: Trtexec::running(program), folder }
    }

    fn prepare(&self, spec: &EngineSpec) -> Result<Box<dyn Engine>, BackendError> {
        self.backend.prepare(&self.folder.path().join("model.onnx"), spec)
    }
}

fn spec() -> EngineSpec {
    let input = InputSpec {
        name: "x".into(),
        dtype: Dtype::F32,
        shape: vec![1, 8, 4],
        low: 0.0,
        high: 1.0,
        clips: None,
        frames: None,
    };
    EngineSpec {
        shape: Shape::new(1, 8).expect("not zero"),
        precision: Precision::Model,
        threads: 1,
        inputs: vec![input],
        options: Default::default(),
        cache_dir: None,
    }
}

fn input() -> TensorData {
    TensorData { name: "x".into(), dtype: Dtype::F32, shape: vec![1, 8, 4], bytes: vec![0; 128] }
}

#[test]
fn every_release_yields_one_recorded_latency_per_call() {
    for (word, version) in RELEASES {
        let board = Board::new(&format!("version = {word}\n"));
        assert_eq!(board.backend.check().expect("usable").version, version);
        let mut engine = board.prepare(&spec()).expect("an engine");
        engine.set_inputs(&[input()]).expect("inputs");
        // Two batches of fifty: the stand-in's compute grows by a microsecond per inference of a batch.
        for index in (0..50_u64).chain(0..50) {
            let timing = engine.run().expect("a recorded inference");
            assert_eq!(timing.compute, Some(Nanos(1_500_000 + index * 1000)), "trtexec {version}");
            assert_eq!((timing.h2d, timing.d2h), (Some(Nanos(250_000)), Some(Nanos(125_000))));
            assert_eq!(timing.recorded_wall, Some(Nanos(1_875_000 + index * 1000)));
            assert_eq!(timing.virtual_wall, None);
        }
        let remarks = engine.remarks();
        assert!(remarks[0].contains("--saveEngine") && remarks[1].contains("--exposeDMA"), "{remarks:?}");
    }
}

#[test]
fn layers_and_outputs_are_read_from_their_own_runs() {
    for (word, version) in RELEASES {
        let board = Board::new(&format!("version = {word}\n"));
        let mut engine = board.prepare(&spec()).expect("an engine");
        engine.set_inputs(&[input()]).expect("inputs");
        let layers = engine.operators(4).expect("layers");
        let named: Vec<_> =
            layers.iter().map(|layer| (layer.name.as_str(), layer.time, layer.share)).collect();
        let expected = [("mm \"q\" + bias", Nanos(750_000), 0.75), ("copy", Nanos(250_000), 0.25)];
        assert_eq!(named, expected, "trtexec {version}");
        let output = engine.outputs().expect("outputs").remove(0);
        assert_eq!((output.name.as_str(), output.shape), ("y", vec![1, 2]));
        // The stand-in's second value is the length of --loadInputs: inputs were passed on.
        assert!(f32::from_le_bytes(*output.bytes.last_chunk().expect("two floats")) > 10.0);
    }
}

#[test]
fn without_the_program_the_error_says_where_it_was_looked_for() {
    let error = Trtexec::running("/nonexistent/trtexec".into()).check().expect_err("no program");
    assert_eq!(error.cause, Cause::BackendUnavailable);
    assert!(error.message.contains("/nonexistent/trtexec") && error.message.contains("libnvinfer-bin"));
    let other = Trtexec::running("/bin/true".into()).check().expect_err("another program");
    assert!(other.message.contains("no trtexec"), "{other}");
}

#[test]
fn failures_carry_the_programs_own_words() {
    for (settings, stage, cause, words) in [
        ("fail = build\n", Stage::Prepare, Cause::UnsupportedOperator, "No importer registered for op: Loop"),
        ("fail = oom\n", Stage::Prepare, Cause::OutOfMemory, "OutOfMemory"),
        ("fail = crash\n", Stage::Prepare, Cause::Crashed, "signal: 11"),
        ("fail = run\n", Stage::Measure, Cause::Backend, "unspecified launch failure"),
    ] {
        let board = Board::new(settings);
        let error = board.prepare(&spec()).and_then(|mut engine| engine.run()).expect_err("a failure");
        assert_eq!((error.stage, error.cause), (stage, cause), "{error}");
        assert!(error.message.contains(words), "{error}");
    }
}

#[test]
fn precisions_that_the_release_has_no_flag_for_are_refused() {
    let board = Board::new("version = 110100\n");
    let error = board.prepare(&EngineSpec { precision: Precision::Fp16, ..spec() }).err().expect("refused");
    assert!(error.message.contains("trtexec 11.1.0 has no --fp16"), "{error}");
    let board = Board::new("version = 8502\n");
    assert!(board.prepare(&EngineSpec { precision: Precision::Fp16, ..spec() }).is_ok());
}
