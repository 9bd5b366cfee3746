//! Workers as real processes: what becomes of engines that crash, hang, exit or run out of memory, and of
//! processes that are no workers at all.

use clipmark_daemon::account::memory_total;
use clipmark_daemon::backend::EngineSpec;
use clipmark_daemon::confine::{Layer, Policy};
use clipmark_daemon::model::built_in::BuiltIn;
use clipmark_daemon::placement::{self, Asked, CpuList, Placement};
use clipmark_daemon::tensor::{Dtype, InputSpec};
use clipmark_daemon::worker::handle::{Trouble, Worker, WorkerConfig};
use clipmark_daemon::worker::protocol::{MeasureOrder, PrepareOrder};
use clipmark_profile::environment::Environment;
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::record::{Cause, Failure, Stage};
use clipmark_profile::units::Nanos;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

fn settings(memory_limit: Option<u64>) -> WorkerConfig {
    let mut settings = WorkerConfig::own(memory_limit, Duration::from_secs(30), Duration::from_secs(20));
    settings.program = env!("CARGO_BIN_EXE_clipmarkd").into();
    settings
}

fn shell(script: &str) -> WorkerConfig {
    let mut settings = settings(None);
    settings.program = "/bin/sh".into();
    settings.arguments = vec!["-c".into(), script.into()];
    settings
}

fn order(backend: &str, model: &Path) -> PrepareOrder {
    let spec = EngineSpec {
        shape: Shape::new(1, 8).expect("neither is zero"),
        precision: Precision::Model,
        threads: 1,
        inputs: Vec::new(),
        options: std::collections::BTreeMap::new(),
        cache_dir: None,
    };
    PrepareOrder { backend: backend.into(), model: model.into(), spec, seed: 1, instances: 1 }
}

fn chunk(iterations: u32) -> MeasureOrder {
    MeasureOrder {
        iterations,
        stop_after: Nanos::from_secs(3600),
        inference_limit: Nanos::from_secs(3600),
        paced_fps: None,
        continues: false,
    }
}

/// A simulated variant whose engine does `toml`.
fn simulated(toml: &str) -> (TempDir, std::path::PathBuf) {
    let directory = TempDir::new().expect("a temporary folder");
    let path = directory.path().join("variant.toml");
    std::fs::write(&path, toml).expect("a writable folder");
    (directory, path)
}

fn fault(kind: &str, stage: &str) -> String {
    format!(
        "[[fault]]\nkind = \"{kind}\"\nstage = \"{stage}\"\nbatch_size = 1\nclip_length = 1\n\
         after_iterations = 5\n"
    )
}

fn failure<T: std::fmt::Debug>(outcome: Result<T, Trouble>) -> Failure {
    match outcome {
        Err(Trouble::Failed(failure)) => failure,
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[test]
fn an_engine_that_works_is_measured_chunk_after_chunk() {
    let (_keep, model) = simulated("");
    assert!(Worker::spawn(&settings(None)).unwrap().check("simulated").unwrap().simulated);
    let mut worker = Worker::spawn(&settings(None)).unwrap();
    worker.prepare(order("simulated", &model)).unwrap();
    for iterations in [1, 30, 200] {
        let measured = worker.measure(&chunk(iterations)).unwrap();
        assert_eq!(measured.latencies_ns.len(), iterations as usize);
        assert_eq!(measured.failure, None);
    }
    let account = worker.account().unwrap();
    assert!(account.peak_resident > account.base_resident.map(|_| clipmark_profile::units::Bytes(0)));
    assert!(account.peak_resident >= account.base_resident);
}

/// Minor page faults an iteration of the built-in model `temporal` at 32 frames, some of whose tensors are larger than
/// the size from which glibc begins to map memory anew.
fn faults_an_inference(settings: &WorkerConfig) -> u64 {
    let directory = TempDir::new().expect("a temporary folder");
    let model = directory.path().join("temporal.onnx");
    BuiltIn::Temporal.write(&model, false).expect("a writable folder");
    let input = |name: &str, dtype, shape| InputSpec {
        name: name.into(),
        dtype,
        shape,
        low: 0.0,
        high: 1.0,
        clips: None,
        frames: None,
    };
    let mut order = order("tract", &model);
    order.spec.shape = Shape::new(1, 32).expect("neither is zero");
    order.spec.inputs =
        vec![input("video", Dtype::F32, vec![1, 32, 3, 64, 64]), input("text", Dtype::I64, vec![1, 16])];
    let mut worker = Worker::spawn(settings).expect("a worker");
    worker.prepare(order).expect("tract can prepare it");
    worker.measure(&chunk(5)).expect("it runs");
    let measured = worker.measure(&chunk(20)).expect("it runs");
    measured.minor_faults.expect("Linux counts them") / 20
}

#[test]
fn memory_of_an_inference_is_kept_for_the_next_whatever_was_freed_before() {
    let own = settings(None);
    let kept = faults_an_inference(&own);
    let mut eager = own.clone();
    let returns = "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072";
    eager.environment = vec![("GLIBC_TUNABLES".into(), returns.into())];
    let returned = faults_an_inference(&eager);
    assert!(kept < 20 && returned > 200, "{kept} faults an inference, {returned} where memory is returned");
}

#[test]
fn a_crash_is_told_with_its_signal_and_the_worker_is_gone() {
    let (_keep, model) = simulated(&fault("crash", "measure"));
    let mut worker = Worker::spawn(&settings(None)).unwrap();
    worker.prepare(order("simulated", &model)).unwrap();
    let failure = failure(worker.measure(&chunk(100)));
    assert_eq!((failure.stage, failure.cause), (Stage::Measure, Cause::Crashed));
    assert!(failure.message.contains("SIGABRT"), "{}", failure.message);
    assert!(!worker.alive());
}

#[test]
fn a_crash_while_preparing_is_a_failure_of_that_stage() {
    let (_keep, model) = simulated(&fault("crash", "prepare"));
    let mut worker = Worker::spawn(&settings(None)).unwrap();
    let failure = failure(worker.prepare(order("simulated", &model)));
    assert_eq!((failure.stage, failure.cause), (Stage::Prepare, Cause::Crashed));
}

/// The panic's message is the worker's last answer, whether the program aborts or unwinds.
#[test]
fn a_panic_is_the_failure_of_its_stage() {
    for (name, stage) in [("prepare", Stage::Prepare), ("measure", Stage::Measure)] {
        let (_keep, model) = simulated(&fault("panic", name));
        let mut worker = Worker::spawn(&settings(None)).unwrap();
        let prepared = worker.prepare(order("simulated", &model));
        let failure =
            if stage == Stage::Prepare { failure(prepared) } else { failure(worker.measure(&chunk(100))) };
        assert_eq!(failure.stage, stage);
        assert!(failure.message.contains("panics, as its file asks"), "{}", failure.message);
    }
}

#[test]
fn an_exit_is_told_with_its_code() {
    let (_keep, model) = simulated(&fault("exit", "measure"));
    let mut worker = Worker::spawn(&settings(None)).unwrap();
    worker.prepare(order("simulated", &model)).unwrap();
    let failure = failure(worker.measure(&chunk(100)));
    assert_eq!(failure.cause, Cause::Crashed);
    assert!(failure.message.contains("exit code 3"), "{}", failure.message);
}

#[test]
fn a_hanging_inference_is_killed_at_its_limit() {
    let (_keep, model) = simulated(&fault("hang", "measure"));
    let mut settings = settings(None);
    settings.inference_limit = Duration::from_millis(200);
    let mut worker = Worker::spawn(&settings).unwrap();
    worker.prepare(order("simulated", &model)).unwrap();
    let failure = failure(worker.measure(&MeasureOrder {
        stop_after: Nanos(50_000_000),
        inference_limit: Nanos(200_000_000),
        ..chunk(100)
    }));
    assert_eq!((failure.stage, failure.cause), (Stage::Measure, Cause::TimedOut));
    assert!(failure.message.contains("--inference-limit"), "{}", failure.message);
    assert!(!worker.alive());
}

#[test]
fn a_worker_over_its_memory_limit_is_out_of_memory() {
    let toml = "touch_memory = true\n[variant.memory]\nbase_bytes = 268435456\n";
    let (_keep, model) = simulated(toml);
    let mut roomy = Worker::spawn(&settings(Some(1 << 30))).unwrap();
    roomy.prepare(order("simulated", &model)).unwrap();
    let mut tight = Worker::spawn(&settings(Some(128 << 20))).unwrap();
    let failure = failure(tight.prepare(order("simulated", &model)));
    assert_eq!(failure.cause, Cause::OutOfMemory, "{}", failure.message);
}

#[test]
fn a_worker_runs_on_the_cpus_it_was_given_with_all_its_threads() {
    let allowed = placement::allowed().unwrap();
    let first: CpuList = allowed.to_string().split(['-', ',']).next().unwrap().parse().unwrap();
    let asked = Asked { cpus: Some(first.clone()), ..Asked::default() };
    let placed = settings(None).placed(&Placement::make(&asked, &allowed));
    let mut worker = Worker::spawn(&placed).unwrap();
    // Its answer comes after it has bound itself.
    worker.check("noop").unwrap();
    for task in std::fs::read_dir(format!("/proc/{}/task", worker.id())).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        assert_eq!(line.trim(), first.to_string());
    }
}

/// The bound on private memory that the kernel keeps for `process`, bytes.
fn data_limit(process: u32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).expect("a live process");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max data size")).expect("the line");
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_worker_has_a_memory_limit_unless_it_is_given_one() {
    let machine = memory_total().unwrap().0;
    for (given, backend, expected) in [
        (None, "tract", Some(machine - machine / 8)),
        (Some(1 << 30), "tract", Some(1 << 30)),
        // What it simulates may have more memory than this machine.
        (None, "simulated", None),
    ] {
        let mut worker = Worker::spawn(&settings(given)).unwrap();
        worker.check(backend).unwrap();
        assert_eq!(data_limit(worker.id()), expected, "{backend}, given {given:?}");
    }
}

#[test]
fn a_wall_that_cannot_be_built_is_told_and_ends_the_worker_where_it_is_required() {
    let mut settings = settings(None);
    settings.writable.push("/proc/no/such/folder".into());
    let mut worker = Worker::spawn(&settings).unwrap();
    let made = worker.confinement().unwrap();
    let [(Layer::Files, cause)] = made.absent.as_slice() else { panic!("{made:?}") };
    assert!(cause.contains("/proc/no/such/folder"), "{cause}");
    let mut environment = Environment::default();
    made.describe(&mut environment);
    assert_eq!(environment.absent, [("worker_files".to_owned(), cause.clone())]);
    worker.check("noop").unwrap();
    settings.confinement = Policy::Required;
    let mut worker = Worker::spawn(&settings).unwrap();
    let failure = failure(worker.check("noop"));
    assert!(failure.message.contains("worker.confinement") && failure.message.contains(cause), "{failure:?}");
    assert!(!worker.alive());
}

#[test]
fn walls_that_are_switched_off_are_all_told_to_be_absent() {
    let mut settings = settings(None);
    settings.confinement = Policy::Off;
    let mut worker = Worker::spawn(&settings).unwrap();
    assert_eq!(worker.confinement().unwrap().absent.len(), 5);
    worker.check("noop").unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
    let filters = std::fs::read_to_string("/proc/self/status").unwrap();
    let mode = |text: &str| text.lines().find(|line| line.starts_with("Seccomp:")).map(str::to_owned);
    assert_eq!(mode(&status), mode(&filters), "as this process");
}

/// Prints medians: `cargo test -p clipmarkd --test worker -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn what_the_walls_cost_at_the_start_of_a_worker() {
    let started = |policy| {
        let mut settings = settings(None);
        settings.confinement = policy;
        let begun = std::time::Instant::now();
        Worker::spawn(&settings).unwrap().check("noop").unwrap();
        begun.elapsed()
    };
    let mut times = [Policy::Off, Policy::Available].map(|policy| (policy, Vec::new()));
    for _ in 0..51 {
        times.iter_mut().for_each(|(policy, times)| times.push(started(*policy)));
    }
    for (policy, mut times) in times {
        times.sort_unstable();
        println!("{policy:?}: median {:?}, quartiles {:?} to {:?}", times[25], times[12], times[38]);
    }
}

#[test]
fn a_worker_keeps_its_temporary_files_in_a_folder_that_goes_with_it() {
    let mut worker = Worker::spawn(&settings(None)).unwrap();
    worker.check("noop").unwrap();
    let environment = std::fs::read(format!("/proc/{}/environ", worker.id())).unwrap();
    let scratch = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(b"TMPDIR="));
    let scratch = PathBuf::from(String::from_utf8(scratch.unwrap().to_vec()).unwrap());
    assert!(scratch.is_dir());
    drop(worker);
    assert!(!scratch.exists());
}

#[test]
fn a_group_that_cannot_be_entered_is_named() {
    let mut settings = settings(None);
    settings.arguments.extend(["--group".into(), "/no/such/group".into()]);
    let mut worker = Worker::spawn(&settings).unwrap();
    let failure = failure(worker.check("noop"));
    assert!(failure.message.contains("/no/such/group"), "{}", failure.message);
}

#[test]
fn a_stop_ends_the_wait_without_calling_it_a_failure() {
    let (_keep, model) = simulated(&fault("hang", "prepare"));
    let settings = settings(None);
    settings.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut worker = Worker::spawn(&settings).unwrap();
    assert_eq!(worker.prepare(order("simulated", &model)), Err(Trouble::Stopped));
}

#[test]
fn last_words_are_quoted() {
    let mut worker = Worker::spawn(&shell("echo the driver is lost >&2; kill -SEGV $$")).unwrap();
    let failure = failure(worker.check("tract"));
    assert_eq!(failure.cause, Cause::Crashed);
    assert!(failure.message.contains("SIGSEGV"), "{}", failure.message);
    assert!(failure.message.contains("the driver is lost"), "{}", failure.message);
}

#[test]
fn a_process_that_does_not_speak_the_protocol_is_told_apart() {
    let mut worker = Worker::spawn(&shell("echo Loading the model, please wait; sleep 60")).unwrap();
    let failure = failure(worker.check("tract"));
    assert!(failure.message.contains("not of the protocol"), "{}", failure.message);
}

#[test]
fn a_process_that_speaks_without_end_is_bounded() {
    let mut worker = Worker::spawn(&shell("yes complaint | head -c 3000000 >&2; exit 9")).unwrap();
    let failure = failure(worker.check("tract"));
    assert!(failure.message.contains("exit code 9"), "{}", failure.message);
    assert!(failure.message.chars().count() <= 500);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let mut settings = settings(None);
    settings.program = "/no/such/clipmarkd".into();
    let failure = Worker::spawn(&settings).unwrap_err();
    assert!(failure.message.contains("/no/such/clipmarkd"), "{}", failure.message);
}

#[test]
fn an_unknown_backend_is_refused_by_a_worker_that_lives_on() {
    let (_keep, model) = simulated("");
    let mut worker = Worker::spawn(&settings(None)).unwrap();
    let failure = failure(worker.prepare(order("abacus", &model)));
    assert_eq!(failure.cause, Cause::BackendUnavailable);
    worker.prepare(order("simulated", &model)).unwrap();
}
