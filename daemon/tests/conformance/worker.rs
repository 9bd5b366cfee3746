//! Every backend through a real worker process, as a run uses it, TensorRT over its stand-ins.
//!
//! `CLIPMARK_TEST_PROGRAM` names another clipmarkd to be held to this, e.g. the released one for aarch64 under
//! emulation; `CLIPMARK_FAKES_DIR` then names the stand-ins that were built for it.

use crate::subject::{Behaviour, Inapplicable, Subject, behaviours};
use crate::{MAJORS, STAND_IN, onnxruntime, suite};
use clipmark_daemon::backend::LIBRARY_VARIABLE;
use clipmark_daemon::model::built_in::{BuiltIn, MAX_FRAMES};
use clipmark_daemon::worker::handle::{Trouble, Worker, WorkerConfig};
use clipmark_daemon::worker::protocol::{
    MeasureOrder, Measured, OutputDigest, PrepareOrder, Prepared, Reply, WorkerCommand,
};
use clipmark_profile::record::{Cause, Failure, Stage};
use clipmark_profile::units::{Bytes, Nanos};
use clipmark_trt::FOLDER_VARIABLE;
use clipmark_trt_fakes::stage;
use libtest_mimic::Trial;
use prost::Message;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{ModelProto, StringStringEntryProto};

const LIMIT: Duration = Duration::from_secs(60);

/// A backend in a worker, with a folder for its models and stand-ins.
struct Variant {
    backend: &'static str,
    folder: TempDir,
    settings: WorkerConfig,
}

const BEHAVIOURS: [Behaviour<Variant>; 7] = behaviours![
    an_engine_is_prepared_and_every_inference_timed,
    outputs_have_the_models_shapes_and_follow_the_seed_alone,
    weights_beside_the_model_are_read_where_they_were_opened_to_the_worker,
    an_inference_is_complete_when_it_returns,
    the_most_expensive_operators_are_named,
    memory_is_accounted_for_on_the_host_and_on_the_device,
    a_point_that_cannot_be_prepared_is_told_apart_and_the_worker_lives_on,
];

const STAND_INS_LACK: Inapplicable = &[(
    "weights_beside_the_model_are_read_where_they_were_opened_to_the_worker",
    "the stand-ins for TensorRT know no weights",
)];

/// Backends that load and compute ONNX models.
pub(crate) fn trials() -> Vec<Trial> {
    let mut subjects = vec![Subject {
        label: "worker::tract".into(),
        needs: Vec::new(),
        inapplicable: &[],
        make: Arc::new(|| variant("tract")),
    }];
    // A library for this machine would say nothing of a program for another one.
    if std::env::var_os("CLIPMARK_TEST_PROGRAM").is_none() {
        subjects.push(Subject {
            label: "worker::onnxruntime".into(),
            needs: vec![onnxruntime(std::env::var_os(LIBRARY_VARIABLE).is_some())],
            inapplicable: &[],
            make: Arc::new(|| variant("onnxruntime")),
        });
    }
    subjects.extend(MAJORS.map(|major| Subject {
        label: format!("worker::tensorrt_{major}"),
        needs: Vec::new(),
        inapplicable: STAND_INS_LACK,
        make: Arc::new(move || over_stand_ins(major)),
    }));
    subjects.iter().flat_map(|subject| subject.trials(&BEHAVIOURS)).collect()
}

fn variant(backend: &'static str) -> Variant {
    let mut settings = WorkerConfig::own(None, LIMIT, LIMIT);
    let program = std::env::var_os("CLIPMARK_TEST_PROGRAM");
    settings.program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_clipmarkd").into()).into();
    Variant { backend, folder: tempfile::tempdir().unwrap(), settings }
}

fn over_stand_ins(major: u32) -> Variant {
    let mut variant = variant("tensorrt");
    stage::tensorrt(variant.folder.path(), major, STAND_IN).unwrap();
    variant.settings.environment.push((FOLDER_VARIABLE.into(), variant.folder.path().into()));
    variant
}

impl Variant {
    fn spawn(&self) -> Worker {
        Worker::spawn(&self.settings).unwrap()
    }

    fn order(&self, model: &[u8], batch: u32, frames: u32) -> PrepareOrder {
        let path = self.folder.path().join("model.onnx");
        std::fs::write(&path, model).unwrap();
        let spec = suite::spec(&BuiltIn::Temporal.onnx_bytes(), batch, frames);
        PrepareOrder { backend: self.backend.into(), model: path, spec, seed: 1, instances: 1 }
    }

    fn prepared(&self, batch: u32, frames: u32) -> (Worker, Prepared) {
        let mut worker = self.spawn();
        let order = self.order(&BuiltIn::Temporal.onnx_bytes(), batch, frames);
        let prepared = worker.prepare(order).unwrap();
        (worker, prepared)
    }

    /// The failure of an order, and that the worker lives on, or a new one does, and can do a good one.
    fn refusal(&self, order: PrepareOrder) -> Failure {
        let mut worker = self.spawn();
        let failure = match worker.prepare(order) {
            Err(Trouble::Failed(failure)) => failure,
            other => panic!("expected a failure, got {other:?}"),
        };
        // A panic ends the worker of a released program, and no other.
        if !worker.alive() {
            worker = self.spawn();
        }
        let good = self.order(&BuiltIn::Temporal.onnx_bytes(), 1, 1);
        worker.prepare(good).unwrap();
        failure
    }
}

fn measure(worker: &mut Worker, iterations: u32) -> Measured {
    let order = MeasureOrder {
        iterations,
        stop_after: Nanos::from_secs(3600),
        inference_limit: Nanos::from_secs(60),
        paced_fps: None,
        continues: false,
    };
    worker.measure(&order).unwrap()
}

fn outputs(worker: &mut Worker) -> Vec<OutputDigest> {
    match worker.ask(&WorkerCommand::Outputs, Stage::Measure, LIMIT).unwrap() {
        Reply::Outputs(outputs) => outputs,
        other => panic!("{other:?}"),
    }
}

fn an_engine_is_prepared_and_every_inference_timed(variant: &Variant) {
    let (mut worker, prepared) = variant.prepared(1, 4);
    assert!(prepared.prepare.0 > 0 && prepared.first.0 > 0, "{prepared:?}");
    let measured = measure(&mut worker, 20);
    assert_eq!((measured.latencies_ns.len(), measured.failure), (20, None));
    let told = if variant.backend == "tensorrt" { 20 } else { 0 };
    for times in [&measured.compute_ns, &measured.h2d_ns, &measured.d2h_ns] {
        assert_eq!(times.len(), told);
    }
    let device = measured.compute_ns.iter().zip(&measured.h2d_ns).zip(&measured.d2h_ns);
    for (((compute, h2d), d2h), wall) in device.zip(&measured.latencies_ns) {
        assert!(compute + h2d + d2h <= *wall, "wall time holds the device's");
    }
}

fn outputs_have_the_models_shapes_and_follow_the_seed_alone(variant: &Variant) {
    let (mut worker, _) = variant.prepared(2, 3);
    let first = outputs(&mut worker);
    let shapes: Vec<_> = first.iter().map(|output| (output.name.as_str(), output.shape.clone())).collect();
    let expected = [("similarity", vec![2]), ("logits", vec![2, 32]), ("embeddings", vec![2, 64])];
    assert_eq!(shapes, expected);
    measure(&mut worker, 3);
    assert_eq!(outputs(&mut worker), first, "measuring changes nothing");
    let (mut again, _) = variant.prepared(2, 3);
    assert_eq!(outputs(&mut again), first, "another worker agrees");
    let mut other = variant.spawn();
    let order = PrepareOrder { seed: 2, ..variant.order(&BuiltIn::Temporal.onnx_bytes(), 2, 3) };
    other.prepare(order).unwrap();
    let others = outputs(&mut other);
    assert!(first.iter().zip(&others).all(|(a, b)| a.sha256 != b.sha256));
}

/// `temporal` with its largest weight in a file of this name beside it.
fn with_weights_beside(folder: &Path, name: &str) -> Vec<u8> {
    let mut model = ModelProto::decode(BuiltIn::Temporal.onnx_bytes().as_slice()).unwrap();
    let weights = &mut model.graph.as_mut().unwrap().initializer;
    let largest = weights.iter_mut().max_by_key(|weight| weight.raw_data.len()).unwrap();
    let bytes = std::mem::take(&mut largest.raw_data);
    assert!(bytes.len() > 1000, "the model keeps its weights as raw bytes");
    std::fs::write(folder.join(name), bytes).unwrap();
    let entry = StringStringEntryProto { key: "location".into(), value: name.into() };
    largest.external_data = vec![entry];
    largest.data_location = Some(DataLocation::External.into());
    model.encode_to_vec()
}

fn weights_beside_the_model_are_read_where_they_were_opened_to_the_worker(variant: &Variant) {
    let model = with_weights_beside(variant.folder.path(), "weights.bin");
    let closed = variant.spawn().prepare(variant.order(&model, 1, 2));
    assert!(matches!(closed, Err(Trouble::Failed(_))), "{closed:?}");
    let mut opened = variant.settings.clone();
    opened.readable.push(variant.folder.path().join("weights.bin"));
    Worker::spawn(&opened).unwrap().prepare(variant.order(&model, 1, 2)).unwrap();
}

fn an_inference_is_complete_when_it_returns(variant: &Variant) {
    let (mut worker, _) = variant.prepared(1, 4);
    let reply = worker.ask(&WorkerCommand::Completion, Stage::WarmUp, LIMIT).unwrap();
    assert_eq!(reply, Reply::Completion(None));
}

fn the_most_expensive_operators_are_named(variant: &Variant) {
    let (mut worker, _) = variant.prepared(1, 4);
    let reply = worker.ask(&WorkerCommand::Operators { iterations: 2 }, Stage::Measure, LIMIT).unwrap();
    let Reply::Operators(operators) = reply else { panic!("{reply:?}") };
    assert!(operators.len() > 5 && operators.len() <= 10, "{operators:?}");
    assert!(operators.iter().all(|operator| !operator.name.is_empty() && operator.share > 0.0));
}

fn memory_is_accounted_for_on_the_host_and_on_the_device(variant: &Variant) {
    let (mut worker, _) = variant.prepared(1, 4);
    let account = worker.account().unwrap();
    assert!(account.peak_resident > Some(Bytes(0)), "{account:?}");
    assert_eq!(account.device > Some(Bytes(0)), variant.backend == "tensorrt");
}

fn a_point_that_cannot_be_prepared_is_told_apart_and_the_worker_lives_on(variant: &Variant) {
    let whole = BuiltIn::Temporal.onnx_bytes();
    let mut unknown = ModelProto::decode(whole.as_slice()).unwrap();
    let erf = unknown.graph.as_mut().unwrap().node.iter_mut().find(|node| node.op_type == "Erf").unwrap();
    erf.op_type = "Transmogrify".into();
    let failure = variant.refusal(variant.order(&unknown.encode_to_vec(), 1, 2));
    assert_eq!(failure.cause, Cause::UnsupportedOperator, "{}", failure.message);
    assert!(failure.message.contains("Transmogrify"), "{}", failure.message);
    let failure = variant.refusal(variant.order(&whole, 1, MAX_FRAMES + 1));
    assert_eq!(failure.cause, Cause::ImpossibleShape, "{}", failure.message);
    let failure = variant.refusal(variant.order(&whole[..whole.len() / 2], 1, 2));
    assert_eq!(failure.cause, Cause::BadModel, "{}", failure.message);
    let mut optioned = variant.order(&whole, 1, 2);
    optioned.spec.options.insert("warp_drive".into(), "on".into());
    let failure = variant.refusal(optioned);
    assert!(failure.message.contains("warp_drive"), "{}", failure.message);
}
