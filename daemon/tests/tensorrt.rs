//! The backend `tensorrt` end to end over the stand-ins for TensorRT 8, 10 and 11 and the CUDA driver.

use clipmark_daemon::backend::tensorrt::{TensorRtBackend, shared_profile};
use clipmark_daemon::backend::{Backend, BackendError, Engine, EngineSpec};
use clipmark_daemon::tensor::{Dtype, InputSpec, TensorData};
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::record::{Cause, Stage};
use clipmark_profile::units::{Bytes, Nanos};
use clipmark_trt::Search;
use clipmark_trt_fakes::{model, stage};
use std::path::PathBuf;
use tempfile::TempDir;

const MAJORS: [u32; 3] = [8, 10, 11];
const STEADY: &str = "compute_us = 300\ncopy_us = 20\n";

/// A folder with stand-ins, a model, an engine cache and the builder's notes.
struct Board {
    folder: TempDir,
    backend: TensorRtBackend,
}

impl Board {
    fn new(major: u32, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("builds");
        let settings = format!("{settings}log = {}\n", log.display());
        stage::tensorrt(folder.path(), major, &settings).expect("built stand-ins");
        std::fs::write(folder.path().join("model.onnx"), model::identity()).expect("writable");
        let search = Search { folders: vec![folder.path().to_owned()], only: true };
        Self { folder, backend: TensorRtBackend::searching(search) }
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("model.onnx")
    }

    fn prepare(&self, spec: &EngineSpec) -> Result<Box<dyn Engine>, BackendError> {
        let cache_dir = Some(self.folder.path().join("cache"));
        self.backend.prepare(&self.model(), &EngineSpec { cache_dir, ..spec.clone() })
    }

    fn refusal(&self, spec: &EngineSpec) -> BackendError {
        self.prepare(spec).err().expect("a refusal")
    }

    /// What the builder was asked for, one line a build.
    fn builds(&self) -> Vec<String> {
        let notes = std::fs::read_to_string(self.folder.path().join("builds")).unwrap_or_default();
        notes.lines().map(str::to_owned).collect()
    }

    fn cached(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join("cache/tensorrt");
        let files = std::fs::read_dir(folder).expect("a cache").map(|entry| entry.expect("an entry").path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "engine")).collect()
    }
}

fn spec(batch: usize, frames: usize) -> EngineSpec {
    let input = InputSpec {
        name: "x".into(),
        dtype: Dtype::F32,
        shape: vec![batch, frames, 4],
        low: 0.0,
        high: 1.0,
        clips: None,
        frames: None,
    };
    EngineSpec {
        shape: Shape::new(batch as u32, frames as u32).expect("not zero"),
        precision: Precision::Model,
        threads: 1,
        inputs: vec![input],
        options: Default::default(),
        cache_dir: None,
    }
}

fn with(options: &[(&str, &str)], spec: EngineSpec) -> EngineSpec {
    let options = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    EngineSpec { options, ..spec }
}

fn tensor(spec: &EngineSpec, offset: f32) -> TensorData {
    let input = &spec.inputs[0];
    let count = input.shape.iter().product::<usize>();
    let bytes = (0..count).flat_map(|index| (index as f32 + offset).to_le_bytes()).collect();
    TensorData { name: input.name.clone(), dtype: input.dtype, shape: input.shape.clone(), bytes }
}

#[test]
fn inferences_are_correct_and_timed_on_every_major() {
    for major in MAJORS {
        for graph in ["false", "true"] {
            let board = Board::new(major, STEADY);
            let spec = with(&[("cuda_graph", graph)], spec(2, 3));
            let mut engine = board.prepare(&spec).expect("an engine");
            for offset in [0.5, 7.25] {
                let input = tensor(&spec, offset);
                engine.set_inputs(std::slice::from_ref(&input)).expect("inputs");
                let timing = engine.run().expect("an inference");
                assert_eq!(timing.compute, Some(Nanos(300_000)), "TensorRT {major}, graph {graph}");
                assert_eq!((timing.h2d, timing.d2h), (Some(Nanos(20_000)), Some(Nanos(20_000))));
                assert_eq!((timing.virtual_wall, timing.recorded_wall), (None, None));
                let outputs = engine.outputs().expect("outputs");
                assert_eq!(outputs, [TensorData { name: "y".into(), ..input }]);
            }
            assert_eq!(engine.device_memory(), Some(Bytes(2 * 2 * 24 * 4)));
        }
    }
}

#[test]
fn the_check_names_version_device_and_what_the_times_mean() {
    for (major, version) in [(8, "8.5.2"), (10, "10.3.0"), (11, "11.4.0")] {
        let record = Board::new(major, "").backend.check().expect("usable");
        assert_eq!((record.name.as_str(), record.version.as_str()), ("tensorrt", version));
        assert_eq!(record.device, "Stand-in GPU, compute capability 8.7");
        assert!(record.notes[0].contains("wall time") && record.notes[0].contains("CUDA events"));
    }
    let unseen = Board::new(10, "version = 109900\n").backend.check().expect("usable");
    assert!(unseen.notes.iter().any(|note| note.contains("outside the releases")), "{:?}", unseen.notes);
}

#[test]
fn without_a_gpu_there_is_one_clear_error() {
    let empty = tempfile::tempdir().expect("a temporary folder");
    let search = Search { folders: vec![empty.path().to_owned()], only: true };
    let nothing = TensorRtBackend::searching(search);
    let boards =
        ["devices = 0\n", "cuinit = 803\n", "version = 9200\n"].map(|settings| Board::new(8, settings));
    let [no_device, mismatch, version_9] = boards.each_ref().map(|board| &board.backend);
    let cases = [
        (&nothing, "libcuda.so.1"),
        (no_device, "no CUDA-capable device"),
        (mismatch, "reboot"),
        (version_9, "8, 10 and 11 only"),
    ];
    for (backend, words) in cases {
        let error = backend.check().expect_err("unusable");
        assert_eq!((error.stage, error.cause), (Stage::Load, Cause::BackendUnavailable));
        assert!(error.message.contains(words), "{error}");
    }
}

#[test]
fn engines_are_built_once_and_taken_from_the_cache_afterwards() {
    for major in MAJORS {
        let board = Board::new(major, STEADY);
        let [built, cached] = [(); 2].map(|()| board.prepare(&spec(1, 8)).expect("an engine").build());
        let (built, cached) = (built.expect("a build"), cached.expect("a build"));
        assert!(!built.cached && cached.cached);
        assert!(built.size.get() > 0);
        assert_eq!((cached.size, cached.took), (built.size, built.took), "the cache keeps how it was built");
        assert_eq!(board.builds().len(), 1);
        board.prepare(&spec(1, 16)).expect("an engine");
        board.prepare(&with(&[("workspace_mib", "64")], spec(1, 8))).expect("an engine");
        assert_eq!(board.builds().len(), 3, "another shape and another setting are other engines");
    }
}

#[test]
fn another_model_or_tensorrt_is_another_engine() {
    let board = Board::new(10, "");
    board.prepare(&spec(1, 8)).expect("an engine");
    let shape = ["B", "T", "4"];
    let other = model::encode(
        &[("x", model::F32, &shape)],
        &[("y", model::F32, &shape)],
        &[("first", "Identity", &["x"], &["z"]), ("second", "Identity", &["z"], &["y"])],
    );
    std::fs::write(board.model(), other).expect("writable");
    board.prepare(&spec(1, 8)).expect("an engine");
    assert_eq!(board.builds().len(), 2);
}

#[test]
fn damaged_and_refused_cache_entries_are_built_again() {
    let board = Board::new(10, "");
    board.prepare(&spec(1, 8)).expect("an engine");
    let entry = board.cached().remove(0);
    let whole = std::fs::read(&entry).expect("an entry");
    std::fs::write(&entry, &whole[..whole.len() / 2]).expect("writable");
    let remarks = board.prepare(&spec(1, 8)).expect("an engine").remarks();
    assert!(remarks.iter().any(|remark| remark.contains("damaged")), "{remarks:?}");
    assert_eq!(board.builds().len(), 2);
    board.prepare(&spec(1, 8)).expect("an engine");
    assert_eq!(board.builds().len(), 2, "the entry is whole again");
}

#[test]
fn the_cache_stays_within_its_bound() {
    let board = Board::new(10, "");
    // A megabyte of operator names makes each engine a megabyte.
    let long = "n".repeat(700 << 10);
    let shape = ["B", "T", "4"];
    let large = model::encode(
        &[("x", model::F32, &shape)],
        &[("y", model::F32, &shape)],
        &[(&long, "Identity", &["x"], &["y"])],
    );
    std::fs::write(board.model(), large).expect("writable");
    for frames in [8, 16] {
        let spec = with(&[("engine_cache_mib", "1")], spec(1, frames));
        let remarks = board.prepare(&spec).expect("an engine").remarks();
        let evicted = remarks.iter().any(|remark| remark.contains("left the full cache"));
        assert_eq!(evicted, frames == 16, "{remarks:?}");
        assert_eq!(board.cached().len(), 1);
    }
}

#[test]
fn a_timing_cache_is_kept_between_builds() {
    let board = Board::new(10, "");
    let timings = board.folder.path().join("cache/tensorrt/timings-10.3.0-sm87");
    board.prepare(&spec(1, 8)).expect("an engine");
    let first = std::fs::read(&timings).expect("a timing cache").len();
    board.prepare(&spec(1, 16)).expect("an engine");
    assert!(std::fs::read(&timings).expect("a timing cache").len() > first);
    std::fs::write(&timings, b"of another GPU").expect("writable");
    let remarks = board.prepare(&spec(1, 32)).expect("an engine").remarks();
    assert!(remarks.iter().any(|remark| remark.contains("timing cache") && remark.contains("afresh")));
}

#[test]
fn one_shared_engine_serves_every_point_and_says_what_that_costs() {
    for major in MAJORS {
        let board = Board::new(major, STEADY);
        let points = [spec(1, 8), spec(4, 2), spec(2, 32)];
        let options = shared_profile(&points).expect("points of one model");
        for point in &points {
            let point = EngineSpec { options: options.clone(), ..point.clone() };
            let mut engine = board.prepare(&point).expect("an engine");
            let remarks = engine.remarks();
            assert!(remarks.iter().any(|remark| remark.contains("may run slower")), "{remarks:?}");
            engine.set_inputs(&[tensor(&point, 0.5)]).expect("inputs");
            engine.run().expect("an inference");
            assert_eq!(engine.outputs().expect("outputs")[0].shape, point.inputs[0].shape);
        }
        assert_eq!(board.builds().len(), 1, "TensorRT {major}");
        let outside = board.refusal(&EngineSpec { options, ..spec(8, 8) });
        assert_eq!(outside.cause, Cause::ImpossibleShape, "{outside}");
    }
}

#[test]
fn precisions_reach_the_builder_or_are_refused_with_the_reason() {
    for (major, precision, expected) in [
        (8, Precision::Fp32, Ok("flag7=0")),
        (8, Precision::Fp16, Ok("flag0=1")),
        (10, Precision::Tf32, Ok("flag6=1")),
        (10, Precision::Bf16, Ok("flag17=1")),
        (11, Precision::Fp32, Ok("flag6=0")),
        (8, Precision::Bf16, Err("came with 10")),
        (10, Precision::Int8, Err("QuantizeLinear")),
        (11, Precision::Fp16, Err("from the model")),
    ] {
        let board = Board::new(major, "");
        let spec = EngineSpec { precision, ..spec(1, 8) };
        match expected {
            Ok(flag) => {
                board.prepare(&spec).expect("an engine");
                assert!(board.builds()[0].contains(flag), "{:?}", board.builds());
            }
            Err(reason) => {
                let error = board.refusal(&spec);
                assert!(error.message.contains(reason), "TensorRT {major}, {precision}: {error}");
            }
        }
    }
}

#[test]
fn a_dla_core_is_used_with_the_gpu_behind_it_or_refused_where_there_is_none() {
    let fp16 = EngineSpec { precision: Precision::Fp16, ..spec(1, 8) };
    let dla = with(&[("dla_core", "1")], fp16);
    let board = Board::new(8, "dla_cores = 2\n");
    let remarks = board.prepare(&dla).expect("an engine").remarks();
    assert!(remarks.iter().any(|remark| remark.contains("DLA core 1")), "{remarks:?}");
    assert!(board.builds()[0].contains("device=1 dla_core=1 flag0=1 flag3=1"), "{:?}", board.builds());
    assert!(board.builds().contains(&"runtime dla_core=1".to_owned()));
    let none = Board::new(8, "").refusal(&dla);
    assert!(none.message.contains("no DLA core"), "{none}");
    let few = Board::new(10, "dla_cores = 1\n").refusal(&dla);
    assert!(few.message.contains("this board has 1"), "{few}");
}

#[test]
fn failures_are_told_in_the_terms_of_a_points_result() {
    for (settings, stage, cause, words) in [
        ("reject = Identity\n", Stage::Load, Cause::UnsupportedOperator, "node 0 `copy` (Identity)"),
        ("fail = build\n", Stage::Prepare, Cause::Backend, "no implementation"),
        ("oom = build\n", Stage::Prepare, Cause::OutOfMemory, "OutOfMemory"),
        ("oom = context\n", Stage::Prepare, Cause::OutOfMemory, "OutOfMemory"),
        ("memory_mib = 0\n", Stage::Prepare, Cause::OutOfMemory, "smaller batch size"),
    ] {
        for major in MAJORS {
            let error = Board::new(major, settings).refusal(&spec(1, 8));
            assert_eq!((error.stage, error.cause), (stage, cause), "TensorRT {major}: {error}");
            assert!(error.message.contains(words), "TensorRT {major}: {error}");
        }
    }
}

#[test]
fn an_inference_that_fails_ends_with_tensorrts_words_and_keeps_those_before_it() {
    for major in MAJORS {
        let board = Board::new(major, "fail = enqueue\nfail_after = 3\n");
        let mut engine = board.prepare(&spec(1, 8)).expect("an engine");
        let outcomes: Vec<_> = (0..4).map(|_| engine.run()).collect();
        assert!(outcomes[..3].iter().all(Result::is_ok));
        let error = outcomes[3].as_ref().expect_err("the fourth");
        assert_eq!((error.stage, error.cause), (Stage::Measure, Cause::Backend));
        assert!(error.message.contains("unspecified launch failure"), "{error}");
    }
}

#[test]
fn shapes_that_the_model_cannot_take_are_refused_before_a_build() {
    let board = Board::new(10, "");
    let fixed = spec(1, 8);
    let mut wrong = fixed.clone();
    wrong.inputs[0].shape[2] = 5;
    let error = board.refusal(&wrong);
    assert_eq!(error.cause, Cause::ImpossibleShape);
    assert!(error.message.contains("[-1, -1, 4]") && error.message.contains("[1, 8, 5]"), "{error}");
    let mut renamed = fixed;
    renamed.inputs[0].name = "video".into();
    assert!(board.refusal(&renamed).message.contains("input x for which no shape was given"));
    assert!(board.builds().is_empty());
}

#[test]
fn token_ids_are_narrowed_for_tensorrt_8_and_passed_on_to_later_ones() {
    let shape = ["B", "6"];
    let bytes = model::encode(
        &[("ids", model::I64, &shape)],
        &[("y", model::I64, &shape)],
        &[("copy", "Identity", &["ids"], &["y"])],
    );
    let input = InputSpec {
        name: "ids".into(),
        dtype: Dtype::I64,
        shape: vec![2, 6],
        low: 0.0,
        high: 9.0,
        clips: None,
        frames: None,
    };
    let spec = EngineSpec { inputs: vec![input], ..spec(2, 1) };
    for (major, dtype) in [(8, Dtype::I32), (10, Dtype::I64), (11, Dtype::I64)] {
        let board = Board::new(major, "");
        std::fs::write(board.model(), &bytes).expect("writable");
        let mut engine = board.prepare(&spec).expect("an engine");
        let ids = |count: i64| (0..count).flat_map(i64::to_le_bytes).collect::<Vec<u8>>();
        let given = TensorData { name: "ids".into(), dtype: Dtype::I64, shape: vec![2, 6], bytes: ids(12) };
        engine.set_inputs(&[given]).expect("inputs");
        engine.run().expect("an inference");
        let output = engine.outputs().expect("outputs").remove(0);
        assert_eq!(output.dtype, dtype, "TensorRT {major}");
        let narrow: Vec<u8> = (0..12_i32).flat_map(i32::to_le_bytes).collect();
        assert_eq!(output.bytes, if major == 8 { narrow } else { ids(12) });
    }
}

#[test]
fn operators_are_profiled_apart_from_timing_and_typed_on_request() {
    for major in MAJORS {
        let board = Board::new(major, STEADY);
        for (details, kind) in [("false", "fused layer"), ("true", "Identity")] {
            let spec = with(&[("layer_details", details)], spec(1, 8));
            let mut engine = board.prepare(&spec).expect("an engine");
            let costs = engine.operators(5).expect("costs");
            assert_eq!(costs.len(), 1);
            assert_eq!((costs[0].name.as_str(), costs[0].kind.as_str()), ("copy", kind), "TensorRT {major}");
            assert_eq!((costs[0].time, costs[0].share), (Nanos(250_000), 1.0));
        }
    }
}

#[test]
fn inputs_of_another_form_are_refused() {
    let board = Board::new(11, "");
    let spec = spec(1, 8);
    let mut engine = board.prepare(&spec).expect("an engine");
    assert!(engine.outputs().expect_err("nothing ran").message.contains("no inference has run"));
    assert!(engine.set_inputs(&[]).expect_err("too few").message.contains("takes 1"));
    let mut other = tensor(&spec, 0.0);
    other.shape = vec![8, 1, 4];
    assert!(engine.set_inputs(&[other]).is_err());
}
