use super::{Instances, serve_virtual};
use crate::backend::{BackendError, Engine, RunTiming};
use crate::tensor::TensorData;
use crate::worker::protocol::LoadOrder;
use clipmark_profile::record::{Cause, OperatorCost, Stage};
use clipmark_profile::streams::{ArrivalProcess, Load, Phases};
use clipmark_profile::units::Nanos;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts its inferences together with others and fails at one of them.
struct Counting {
    runs: Arc<AtomicU32>,
    fails_at: u32,
    wall: Option<Nanos>,
}

impl Engine for Counting {
    fn set_inputs(&mut self, _inputs: &[TensorData]) -> Result<(), BackendError> {
        Ok(())
    }

    fn run(&mut self) -> Result<RunTiming, BackendError> {
        if self.runs.fetch_add(1, Ordering::Relaxed) + 1 == self.fails_at {
            return Err(BackendError::new(Stage::Measure, Cause::Backend, "as asked"));
        }
        Ok(RunTiming { virtual_wall: self.wall, ..RunTiming::default() })
    }

    fn outputs(&mut self) -> Result<Vec<TensorData>, BackendError> {
        Ok(Vec::new())
    }

    fn operators(&mut self, _iterations: u32) -> Result<Vec<OperatorCost>, BackendError> {
        Ok(Vec::new())
    }
}

fn engine(runs: &Arc<AtomicU32>, fails_at: u32) -> Counting {
    Counting { runs: Arc::clone(runs), fails_at, wall: Some(Nanos(3_000_000)) }
}

/// Two streams a millisecond for `ms` milliseconds, with a deadline that nothing misses.
fn order(ms: u64) -> LoadOrder {
    let load = Load {
        streams: 2,
        period: Nanos(1_000_000),
        deadline: Nanos::from_secs(3600),
        phases: Phases::Aligned,
        arrivals: ArrivalProcess::Periodic,
        seed: 0,
    };
    LoadOrder { load, batch: 2, length: Nanos(ms * 1_000_000), inference_limit: Nanos::from_secs(3600) }
}

#[test]
fn every_clip_is_served_once_whatever_the_number_of_instances() {
    for beside in 0..=3 {
        let runs = Arc::new(AtomicU32::new(0));
        let shared = Arc::clone(&runs);
        let instances = Instances::start(beside, move || Ok(Box::new(engine(&shared, 0)))).unwrap();
        for _ in 0..2 {
            let before = runs.load(Ordering::Relaxed);
            let served = instances.serve(&mut engine(&runs, 0), &order(50));
            assert_eq!(served.failure, None);
            let clips: u32 = served.inferences.iter().map(|inference| inference.clips).sum();
            assert_eq!(clips, 100);
            assert_eq!(served.inferences.len() as u32, runs.load(Ordering::Relaxed) - before);
            assert!(served.inferences.iter().all(|inference| (1..=2).contains(&inference.clips)));
            assert!(served.inferences.is_sorted_by_key(|inference| inference.started));
        }
    }
}

#[test]
fn a_failing_instance_ends_the_load_with_its_words() {
    let runs = Arc::new(AtomicU32::new(0));
    let shared = Arc::clone(&runs);
    let instances = Instances::start(1, move || Ok(Box::new(engine(&shared, 5)))).unwrap();
    let served = instances.serve(&mut engine(&runs, 5), &order(50));
    assert_eq!(served.failure.unwrap().message, "as asked");
    assert!(runs.load(Ordering::Relaxed) < 100, "the others go on");
}

#[test]
fn an_instance_that_cannot_be_built_is_no_instance() {
    let build = || Err(BackendError::new(Stage::Prepare, Cause::OutOfMemory, "too large"));
    assert_eq!(Instances::start(2, build).unwrap_err().message, "too large");
}

#[test]
fn on_the_virtual_clock_the_same_order_gives_the_same_load() {
    let serve = || serve_virtual(&mut engine(&Arc::default(), 0), 2, &order(50), Nanos(77));
    let served = serve();
    assert_eq!(served, serve());
    let clips: u32 = served.inferences.iter().map(|inference| inference.clips).sum();
    assert_eq!((clips, served.started), (100, Nanos(77)));
    // 100 clips are 25 inferences of 3 ms for each instance; the second one begins with the clips of 1 ms.
    assert_eq!(served.ended, Nanos(77 + 76_000_000));
}
