//! Runs with trtexec, and what becomes of it when its worker is killed.

use super::{Machine, TRTEXEC, point, program, remarks};
use clipmark_daemon::backend::EngineSpec;
use clipmark_daemon::backend::trtexec::PROGRAM_VARIABLE;
use clipmark_daemon::tensor::{Dtype, InputSpec};
use clipmark_daemon::worker::handle::{Trouble, Worker, WorkerConfig};
use clipmark_daemon::worker::protocol::PrepareOrder;
use clipmark_profile::point::{Precision, Shape};
use rustix::fs::{CWD, Mode, mkfifoat};
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn a_run_keeps_trtexecs_own_times_and_the_flags_behind_them() {
    let machine = Machine::with_tensorrt(10, "version = 100300").with_trtexec();
    let arguments = "copy.onnx --backend trtexec --batch-sizes 1 --clip-lengths 8 --iterations 100";
    let (_, profile) = machine.run(arguments, 0);
    let point = point(&profile, 8);
    // 0.25 ms to the device, 1.5 ms and up to 49 us of compute, 0.125 ms back.
    let p50 = point["compute_p50_ns"].as_f64().expect("compute time");
    assert!((1_500_000.0..=1_549_000.0).contains(&p50), "{point:#}");
    assert_eq!((&point["h2d_p50_ns"], &point["d2h_p50_ns"]), (&250_000.0.into(), &125_000.0.into()));
    assert_eq!(point["latency"]["min_ns"], 1_875_000);
    assert!(
        remarks(point, "--saveEngine=") && remarks(point, "timed by trtexec --iterations=50"),
        "{point:#}"
    );
}

#[test]
fn a_trtexec_dies_with_the_worker_that_started_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name);
    std::fs::copy(TRTEXEC, file("trtexec")).expect("copied with its mode");
    std::fs::write(file("fake.conf"), "fail = hang\n").expect("a writable folder");
    std::fs::write(file("copy.onnx"), clipmark_trt_fakes::model::identity()).expect("a writable folder");
    mkfifoat(CWD, file("alive"), Mode::RUSR | Mode::WUSR).expect("a pipe");
    let mut settings = WorkerConfig::own(None, Duration::from_secs(60), Duration::from_secs(60));
    settings.program = program();
    settings.environment.push((PROGRAM_VARIABLE.into(), file("trtexec").into()));
    settings.writable.push(folder.path().into());
    let stop = Arc::clone(&settings.stop);
    let shape = vec![1, 8, 4];
    let spec = EngineSpec {
        shape: Shape::new(1, 8).expect("not zero"),
        precision: Precision::Model,
        threads: 1,
        inputs: vec![InputSpec {
            name: "x".into(),
            dtype: Dtype::F32,
            shape,
            low: 0.0,
            high: 1.0,
            clips: None,
            frames: None,
        }],
        options: Default::default(),
        cache_dir: None,
    };
    let order =
        PrepareOrder { backend: "trtexec".into(), model: file("copy.onnx"), spec, seed: 1, instances: 1 };
    let pipe = file("alive");
    let watching = std::thread::spawn(move || {
        // Opens when trtexec has opened its end; from then on it hangs.
        let mut pipe = BufReader::new(std::fs::File::open(pipe).expect("a pipe"));
        let mut process = String::new();
        pipe.read_line(&mut process).expect("its process id");
        assert!(process.trim().parse::<u32>().is_ok(), "{process:?}");
        stop.store(true, Ordering::Relaxed);
        // The end of the pipe is the end of the last process that holds it open.
        pipe.read_to_end(&mut Vec::new()).expect("the end")
    });
    let mut worker = Worker::spawn(&settings).expect("a worker");
    assert_eq!(worker.prepare(order), Err(Trouble::Stopped), "the worker is killed while trtexec hangs");
    assert_eq!(watching.join().expect("trtexec is gone"), 0);
}
