//! The self-test between tract, a stand-in for TensorRT and a stand-in for trtexec.

use clipmark_daemon::backend::selftest::{OUTPUT_TOLERANCE, selftest};
use clipmark_daemon::backend::tensorrt::TensorRtBackend;
use clipmark_daemon::backend::trtexec::Trtexec;
use clipmark_daemon::backend::{Backend, Engine, EngineSpec, Tract};
use clipmark_daemon::tensor::{Dtype, InputSpec, TensorData};
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::units::Nanos;
use clipmark_trt::Search;
use clipmark_trt_fakes::{model, stage};
use tempfile::TempDir;

struct Board {
    folder: TempDir,
    spec: EngineSpec,
}

impl Board {
    /// A model of one Add: the stand-in for TensorRT computes exactly that.
    fn new(compute_us: u32) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        stage::tensorrt(folder.path(), 10, &format!("compute_us = {compute_us}\n")).expect("built stand-ins");
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/trt/fakes/trtexec");
        std::fs::copy(program, folder.path().join("trtexec")).expect("copied");
        let shape = ["B", "T", "4"];
        let bytes = model::encode(
            &[("a", model::F32, &shape), ("b", model::F32, &shape)],
            &[("y", model::F32, &shape)],
            &[("add", "Add", &["a", "b"], &["y"])],
        );
        std::fs::write(folder.path().join("add.onnx"), bytes).expect("writable");
        let input = |name: &str| InputSpec {
            name: name.into(),
            dtype: Dtype::F32,
            shape: vec![1, 8, 4],
            low: 0.0,
            high: 1.0,
            clips: None,
            frames: None,
        };
        let spec = EngineSpec {
            shape: Shape::new(1, 8).expect("not zero"),
            precision: Precision::Model,
            threads: 1,
            inputs: vec![input("a"), input("b")],
            options: Default::default(),
            cache_dir: None,
        };
        Self { folder, spec }
    }

    fn prepare(&self, backend: &dyn Backend) -> Box<dyn Engine> {
        backend.prepare(&self.folder.path().join("add.onnx"), &self.spec).expect("an engine")
    }

    fn tensorrt(&self) -> Box<dyn Engine> {
        let search = Search { folders: vec![self.folder.path().to_owned()], only: true };
        self.prepare(&TensorRtBackend::searching(search))
    }

    fn trtexec(&self) -> Box<dyn Engine> {
        self.prepare(&Trtexec::running(self.folder.path().join("trtexec")))
    }
}

fn inputs(sign: f32) -> Vec<TensorData> {
    let tensor = |name: &str, step: f32| TensorData {
        name: name.into(),
        dtype: Dtype::F32,
        shape: vec![1, 8, 4],
        bytes: (0..32).flat_map(|index| (sign * step * index as f32).to_le_bytes()).collect(),
    };
    vec![tensor("a", 0.5), tensor("b", 0.25)]
}

#[test]
fn equal_outputs_and_agreeing_times_pass() {
    // The stand-in for trtexec says 1.5 ms and some microseconds more.
    let board = Board::new(1500);
    let (mut tensorrt, mut trtexec) = (board.tensorrt(), board.trtexec());
    let mut tract = board.prepare(&Tract);
    let report = selftest(&mut *tensorrt, &mut *tract, Ok(&mut *trtexec), &inputs(1.0)).expect("a report");
    assert!(report.passed(), "{report}");
    assert_eq!((report.outputs[0].elements, report.outputs[0].worst), (32, 0.0));
    let compute = report.compute.as_ref().expect("both tell compute time");
    assert_eq!((compute.variant, compute.other), (Nanos(1_500_000), Nanos(1_525_000)));
    assert!(report.to_string().contains("ok      output y"), "{report}");
}

#[test]
fn a_compute_time_that_disagrees_is_reported() {
    let board = Board::new(3000);
    let (mut tensorrt, mut trtexec) = (board.tensorrt(), board.trtexec());
    let mut tract = board.prepare(&Tract);
    let report = selftest(&mut *tensorrt, &mut *tract, Ok(&mut *trtexec), &inputs(1.0)).expect("a report");
    assert!(!report.passed());
    assert!(report.to_string().contains("DIFFER  compute 3.000 ms"), "{report}");
}

/// An engine whose outputs are off by a share of their own.
struct Skewed(Box<dyn Engine>, f32);

impl Engine for Skewed {
    fn set_inputs(&mut self, inputs: &[TensorData]) -> Result<(), clipmark_daemon::backend::BackendError> {
        self.0.set_inputs(inputs)
    }

    fn run(&mut self) -> Result<clipmark_daemon::backend::RunTiming, clipmark_daemon::backend::BackendError> {
        self.0.run()
    }

    fn outputs(&mut self) -> Result<Vec<TensorData>, clipmark_daemon::backend::BackendError> {
        let mut outputs = self.0.outputs()?;
        for output in &mut outputs {
            for value in output.bytes.as_chunks_mut::<4>().0 {
                *value = (f32::from_le_bytes(*value) * self.1).to_le_bytes();
            }
        }
        Ok(outputs)
    }

    fn operators(
        &mut self,
        iterations: u32,
    ) -> Result<Vec<clipmark_profile::record::OperatorCost>, clipmark_daemon::backend::BackendError> {
        self.0.operators(iterations)
    }
}

#[test]
fn outputs_that_differ_or_are_no_numbers_fail() {
    let board = Board::new(1500);
    for (skew, expected) in [(1.05, 0.05), (f32::NAN, f64::INFINITY)] {
        let mut skewed = Skewed(board.tensorrt(), skew);
        let mut tract = board.prepare(&Tract);
        let none = Err("trtexec is not installed".to_owned());
        let report = selftest(&mut skewed, &mut *tract, none, &inputs(-1.0)).expect("a report");
        assert!(!report.passed());
        let relative = report.outputs[0].relative;
        assert!(relative == expected || (relative - expected).abs() < 1e-6, "{relative}");
        assert!(relative > OUTPUT_TOLERANCE);
        assert!(report.to_string().contains("not compared: compute time, because trtexec is not installed"));
    }
}

#[test]
fn tract_agrees_with_itself_and_says_why_there_is_no_compute_time() {
    let board = Board::new(1500);
    let (mut one, mut other, mut timing) =
        (board.prepare(&Tract), board.prepare(&Tract), board.prepare(&Tract));
    let report = selftest(&mut *one, &mut *other, Ok(&mut *timing), &inputs(1.0)).expect("a report");
    assert!(report.passed());
    assert!(report.compute.expect_err("tract has no device").contains("does not tell compute time"));
}
