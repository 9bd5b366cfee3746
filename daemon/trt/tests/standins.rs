//! The binding end to end over the stand-ins for TensorRT 8, 10 and 11 and for the CUDA driver.
#![expect(unsafe_code, reason = "reads the stand-ins' own counters, which are C functions")]

use clipmark_trt::{
    BuildRequest, DeviceTimes, Element, Kernels, Search, Session, ShapeRange, TensorRt, TrtError, Wait,
};
use clipmark_trt_fakes::{model, stage};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const MAJORS: [u32; 3] = [8, 10, 11];
/// Device times without jitter.
const STEADY: &str = "compute_us = 300\ncopy_us = 20\n";

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(major: u32, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        stage::tensorrt(folder.path(), major, settings).expect("built stand-ins");
        Self { folder }
    }

    fn search(&self) -> Search {
        Search { folders: vec![self.folder.path().to_owned()], only: true }
    }

    fn open(&self) -> Result<TensorRt, TrtError> {
        TensorRt::open(&self.search(), 0, Wait::Auto)
    }

    fn model(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("model.onnx");
        std::fs::write(&path, bytes).expect("a writable folder");
        path
    }

    fn session(&self, graph: bool) -> Result<Session, TrtError> {
        let tensorrt = self.open()?;
        let plan = tensorrt.parse(&self.model(&model::identity()))?.build(&request(&[2, 3, 4]))?.plan;
        Session::new(tensorrt.load(&plan, None)?, &[("x".to_owned(), vec![2, 3, 4])], graph)
    }
}

fn request(shape: &[i64]) -> BuildRequest {
    let range = ShapeRange { name: "x".into(), min: shape.into(), opt: shape.into(), max: shape.into() };
    BuildRequest { shapes: vec![range], ..BuildRequest::default() }
}

fn floats(count: usize) -> Vec<u8> {
    (0..count).flat_map(|index| (index as f32 + 0.5).to_le_bytes()).collect()
}

#[test]
fn an_onnx_model_is_built_and_run_on_every_major() {
    for major in MAJORS {
        let bench = Bench::new(major, STEADY);
        let mut session = bench.session(false).expect("a session");
        let input = floats(24);
        session.input_mut("x").expect("the input").copy_from_slice(&input);
        let times = session.run().expect("an inference");
        assert_eq!(times, DeviceTimes { h2d: 20_000, compute: 300_000, d2h: 20_000 }, "TensorRT {major}");
        let output = session.outputs().next().expect("the output");
        assert_eq!((output.name, output.element, output.extents), ("y", Element::F32, [2, 3, 4].as_slice()));
        assert_eq!(output.bytes, input);
    }
}

#[test]
fn a_cuda_graph_gives_the_same_output_and_times() {
    for major in MAJORS {
        let bench = Bench::new(major, STEADY);
        let mut session = bench.session(true).expect("a session");
        for start in [0, 1] {
            let input = floats(24 + start)[start * 4..].to_vec();
            session.input_mut("x").expect("the input").copy_from_slice(&input);
            assert_eq!(session.run().expect("an inference").compute, 300_000, "TensorRT {major}");
            assert_eq!(session.outputs().next().expect("the output").bytes, input);
        }
    }
}

#[test]
fn layer_times_are_reported_outside_timed_runs() {
    for major in MAJORS {
        let bench = Bench::new(major, STEADY);
        let mut session = bench.session(false).expect("a session");
        let layers = session.profile(4).expect("a profile");
        assert_eq!(layers.len(), 1);
        assert_eq!((layers[0].name.as_str(), layers[0].count, layers[0].total_ms), ("copy", 4, 1.0));
        assert!(session.run().is_ok(), "the profiler is gone again");
        assert_eq!(session.profile(0).expect("a profile"), []);
    }
}

#[test]
fn the_parsers_own_error_names_the_node_and_its_operator() {
    for major in MAJORS {
        let bench = Bench::new(major, "reject = Identity\n");
        let error = bench.session(false).err().expect("a rejected operator");
        let TrtError::Parse { errors, .. } = &error else { panic!("{error}") };
        assert!(errors[0].is_unsupported());
        assert_eq!(errors[0].node, 0);
        assert!(error.to_string().contains("No importer registered for op: Identity"), "{error}");
        if major > 8 {
            assert!(error.to_string().contains("node 0 `copy` (Identity)"), "{error}");
        }
    }
}

#[test]
fn a_file_that_is_no_model_is_refused_by_the_parser() {
    let bench = Bench::new(10, "");
    let path = bench.model(b"not a model");
    let error = bench.open().expect("TensorRT").parse(&path).err().expect("no model");
    assert!(error.to_string().contains("Failed to parse"), "{error}");
}

#[test]
fn addresses_that_are_no_objects_are_refused() {
    for major in MAJORS {
        for create in ["null", "garbage"] {
            let bench = Bench::new(major, &format!("create = {create}\n"));
            let error = bench.session(false).err().expect("no builder");
            assert!(matches!(error, TrtError::NoObject { what: "builder", .. }), "{error}");
        }
    }
}

#[test]
fn without_a_gpu_tensorrt_is_never_touched() {
    // Were TensorRT opened first, its garbage would be met before the driver's answer.
    let bench = Bench::new(10, "devices = 0\ncrash = create\n");
    let error = bench.session(false).err().expect("no device");
    assert!(error.to_string().contains("no CUDA-capable device"), "{error}");
}

#[test]
fn without_a_driver_the_error_says_so() {
    let search = Search { folders: vec![PathBuf::from("/nonexistent")], only: true };
    let error = TensorRt::open(&search, 0, Wait::Auto).err().expect("no driver");
    assert!(error.to_string().contains("libcuda.so.1"), "{error}");
    assert!(error.to_string().contains("without --runtime nvidia"), "{error}");
}

#[test]
fn without_tensorrt_the_error_says_what_to_install() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    stage::driver(folder.path(), "").expect("a built stand-in");
    let search = Search { folders: vec![folder.path().to_owned()], only: true };
    let error = TensorRt::open(&search, 0, Wait::Auto).err().expect("no TensorRT");
    assert!(error.to_string().contains("apt install tensorrt"), "{error}");
}

#[test]
fn a_major_that_is_not_known_is_refused() {
    let bench = Bench::new(8, "version = 9200\n");
    let error = bench.open().err().expect("TensorRT 9");
    assert_eq!(error, TrtError::UnsupportedMajor { word: 9200 });
    assert_eq!(TensorRt::version_only(&bench.search()).err(), Some(error));
}

#[test]
fn functions_that_a_minor_lacks_are_refused_by_name() {
    let bench = Bench::new(8, "version = 8201\n");
    let tensorrt = bench.open().expect("TensorRT 8.2");
    let network = tensorrt.parse(&bench.model(&model::identity())).expect("a network");
    let request = BuildRequest { level: Some(5), ..request(&[1, 1, 4]) };
    let error = network.build(&request).expect_err("no optimisation level before 8.6");
    assert!(error.to_string().contains("setBuilderOptimizationLevel"), "{error}");
}

#[test]
fn every_builder_setting_reaches_tensorrt() {
    for (major, word, expected) in [
        (8, 8001, "device=1 dla_core=1 flag0=1 flag3=1 flag7=0 tactics=5 workspace=1048576"),
        (8, 8602, "device=1 dla_core=1 flag0=1 flag3=1 flag7=0 level=4 pool0=1048576 tactics=5 verbosity=2"),
        (
            10,
            100_300,
            "device=1 dla_core=1 flag0=1 flag3=1 flag6=0 level=4 pool0=1048576 tactics=5 verbosity=2",
        ),
        (11, 110_400, "device=1 dla_core=1 flag3=1 flag6=0 level=4 pool0=1048576 tactics=2 verbosity=2"),
    ] {
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let settings = format!("version = {word}\nlog = {}\n", log.path().display());
        let bench = Bench::new(major, &settings);
        let tensorrt = bench.open().expect("TensorRT");
        let later = word != 8001;
        let asked = BuildRequest {
            kernels: Kernels { tf32: Some(false), fp16: major < 11, ..Kernels::default() },
            dla_core: Some(1),
            gpu_fallback: true,
            workspace: Some(1 << 20),
            level: later.then_some(4),
            tactics: Some(if major == 11 { 0b10000 } else { 0b101 }),
            detailed: later,
            ..request(&[1, 2, 4])
        };
        let network = tensorrt.parse(&bench.model(&model::identity())).expect("a network");
        network.build(&asked).expect("an engine");
        let noted = std::fs::read_to_string(log.path()).expect("the builder's notes");
        let expected = format!("build {expected} x=[[1, 2, 4], [1, 2, 4], [1, 2, 4]]\n");
        assert_eq!(noted, expected);
    }
}

#[test]
fn tactic_sources_that_tensorrt_does_not_take_are_refused() {
    let bench = Bench::new(10, "");
    let tensorrt = bench.open().expect("TensorRT");
    let network = tensorrt.parse(&bench.model(&model::identity())).expect("a network");
    let asked = BuildRequest { tactics: Some(1 << 9), ..request(&[1, 1, 4]) };
    let error = network.build(&asked).expect_err("no such source");
    assert!(error.to_string().contains("refused tactic sources 0b1000000000"), "{error}");
    let bench = Bench::new(11, "");
    let tensorrt = bench.open().expect("TensorRT");
    let network = tensorrt.parse(&bench.model(&model::identity())).expect("a network");
    let asked = BuildRequest { tactics: Some(0b100), ..request(&[1, 1, 4]) };
    let error = network.build(&asked).expect_err("cuDNN left in 11");
    assert!(error.to_string().contains("11.4.0 has no tactic source cudnn"), "{error}");
}

#[test]
fn a_timing_cache_is_kept_and_an_unusable_one_replaced() {
    for major in MAJORS {
        let bench = Bench::new(major, "");
        let tensorrt = bench.open().expect("TensorRT");
        let network = tensorrt.parse(&bench.model(&model::identity())).expect("a network");
        let build = |cache: &[u8]| {
            let request = BuildRequest { timing_cache: Some(cache.to_vec()), ..request(&[1, 1, 4]) };
            network.build(&request).expect("an engine")
        };
        let first = build(&[]).timing_cache.expect("a timing cache");
        let second = build(&first);
        assert!(second.remarks.is_empty());
        assert!(second.timing_cache.expect("a timing cache").len() > first.len());
        let replaced = build(b"of another GPU");
        assert!(replaced.remarks[0].contains("started afresh"), "{:?}", replaced.remarks);
        assert_eq!(replaced.timing_cache, Some(first));
    }
}

#[test]
fn failures_carry_tensorrts_own_words() {
    for major in MAJORS {
        for (setting, expected) in [
            ("fail = build", "no implementation"),
            ("fail = deserialize", "Serialization assertion"),
            ("fail = enqueue", "unspecified launch failure"),
            ("oom = build", "OutOfMemory"),
            ("oom = context", "OutOfMemory"),
        ] {
            let bench = Bench::new(major, setting);
            let error = bench.session(false).and_then(|mut session| session.run()).expect_err("a failure");
            assert!(error.to_string().contains(expected), "TensorRT {major}, {setting}: {error}");
            assert_eq!(error.is_out_of_memory(), setting.starts_with("oom"), "{setting}");
        }
    }
}

#[test]
fn running_out_of_device_memory_is_told_apart() {
    let bench = Bench::new(10, "memory_mib = 0\n");
    let error = bench.session(false).err().expect("no memory");
    assert!(error.is_out_of_memory(), "{error}");
    assert!(error.to_string().contains("smaller batch size"), "{error}");
}

#[test]
fn a_graph_that_cannot_be_captured_is_an_error_and_not_a_silent_fallback() {
    let bench = Bench::new(11, "fail = capture\n");
    let error = bench.session(true).err().expect("no capture");
    assert!(error.to_string().contains("cuStreamBeginCapture"), "{error}");
}

#[test]
fn shapes_outside_the_profile_are_refused() {
    for major in MAJORS {
        let bench = Bench::new(major, "");
        let tensorrt = bench.open().expect("TensorRT");
        let network = tensorrt.parse(&bench.model(&model::identity())).expect("a network");
        let plan = network.build(&request(&[1, 8, 4])).expect("an engine").plan;
        let engine = tensorrt.load(&plan, None).expect("an engine");
        let error = Session::new(engine, &[("x".to_owned(), vec![1, 9, 4])], false).err().expect("a shape");
        assert!(error.to_string().contains("[1, 9, 4] for input x"), "{error}");
    }
}

/// A counter that a stand-in exports.
fn count(library: &Path, name: &[u8]) -> i64 {
    // SAFETY: the stand-in is already loaded, and the counter takes nothing and returns an i64.
    unsafe {
        let library = libloading::Library::new(library).expect("a loaded stand-in");
        library.get::<unsafe extern "C" fn() -> i64>(name).expect("the counter")()
    }
}

#[test]
fn every_object_and_buffer_is_given_back() {
    for major in MAJORS {
        let bench = Bench::new(major, STEADY);
        let keep = bench.open().expect("TensorRT stays loaded");
        let mut session = bench.session(true).expect("a session");
        session.run().expect("an inference");
        session.profile(1).expect("a profile");
        drop(session);
        let folder = bench.folder.path();
        let infer = count(&folder.join(format!("libnvinfer.so.{major}")), b"clipmark_fake_live_objects");
        // The builder owns its profile, which the stand-in therefore never sees destroyed.
        assert_eq!(infer, 1, "TensorRT {major}");
        assert_eq!(count(&folder.join("libcuda.so.1"), b"clipmark_fake_live_blocks"), 0);
        drop(keep);
    }
}
