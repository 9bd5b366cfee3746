//! Streams on real engines: instances of one engine that share the clips of a load.
//!
//! Terms as in [`clipmark_profile::streams`]. Each instance is a thread with an engine of its own, built in that thread;
//! the worker's main thread is the first. A free instance that holds the *turn* waits for the oldest clip, takes what
//! has arrived with it and passes the turn on before it infers (leader and followers: Schmidt et al., Pattern-Oriented
//! Software Architecture 2, 2000). Handing a clip over thus costs one mutex, and there is no thread in between that
//! would need a CPU. The clips and the logs of the instances are allocated and touched beforehand.

use super::clock::{monotonic, sleep_until};
use super::protocol::{LoadOrder, ServedLoad};
use crate::backend::{BackendError, Engine};
use clipmark_profile::record::{Cause, Failure, Stage};
use clipmark_profile::streams::arrivals::{self, Clip};
use clipmark_profile::streams::{Inference, Servers, dispatch, give_up_at};
use clipmark_profile::units::Nanos;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Between the order and the first arrival, so that every instance waits for it.
const LEAD: Nanos = Nanos(20_000_000);

/// Instances beside the worker's main thread.
#[derive(Debug, Default)]
pub struct Instances(Vec<Instance>);

#[derive(Debug)]
struct Instance {
    loads: SyncSender<Arc<SharedLoad>>,
    logs: Receiver<Log>,
}

/// What one instance did: for each inference the index of its first clip.
struct Log {
    inferences: Vec<(usize, Inference)>,
    outcome: Result<(), Failure>,
}

/// A load that several instances serve.
struct SharedLoad {
    clips: Vec<Clip>,
    begin: Nanos,
    give_up: Nanos,
    batch: u32,
    inference_limit: Nanos,
    /// The turn: index of the oldest clip that nobody has taken.
    oldest: Mutex<usize>,
    failed: AtomicBool,
}

impl Instances {
    /// Starts `count` instances one after another. `build` makes an engine, in the instance's thread.
    ///
    /// # Errors
    /// The first engine that cannot be built, or a thread that cannot be started.
    pub fn start<B>(count: u32, build: B) -> Result<Self, BackendError>
    where
        B: Fn() -> Result<Box<dyn Engine>, BackendError> + Clone + Send + 'static,
    {
        let start = |number| Instance::start(number, build.clone());
        (1..=count).map(start).collect::<Result<_, _>>().map(Self)
    }

    /// Serves a load with `engine` and every instance.
    pub fn serve(&self, engine: &mut dyn Engine, order: &LoadOrder) -> ServedLoad {
        let clips = arrivals::of_load(&order.load, order.length);
        let mut log = Log::of(clips.len());
        let shared = Arc::new(SharedLoad {
            give_up: give_up_at(&clips, order.load.deadline),
            clips,
            begin: Nanos(monotonic().0 + LEAD.0),
            batch: order.batch,
            inference_limit: order.inference_limit,
            oldest: Mutex::new(0),
            failed: AtomicBool::new(false),
        });
        let started: Vec<bool> =
            self.0.iter().map(|instance| instance.loads.send(Arc::clone(&shared)).is_ok()).collect();
        log.outcome = shared.serve(engine, &mut log.inferences);
        let mut logs = vec![log];
        for (instance, started) in self.0.iter().zip(started) {
            let log = if started { instance.logs.recv().ok() } else { None };
            logs.push(log.unwrap_or_else(Log::lost));
        }
        merged(logs, shared.begin)
    }
}

/// The logs of all instances as one, in the order of the clips.
fn merged(logs: Vec<Log>, begin: Nanos) -> ServedLoad {
    let failure = logs.iter().find_map(|log| log.outcome.as_ref().err().cloned());
    let mut inferences: Vec<(usize, Inference)> = logs.into_iter().flat_map(|log| log.inferences).collect();
    inferences.sort_unstable_by_key(|(first, _)| *first);
    let ended = inferences.iter().map(|(_, inference)| inference.completed).max().unwrap_or_default();
    let inferences = inferences.into_iter().map(|(_, inference)| inference).collect();
    ServedLoad { started: begin, ended: Nanos(begin.0 + ended.0), inferences, failure }
}

impl Instance {
    fn start(
        number: u32,
        build: impl Fn() -> Result<Box<dyn Engine>, BackendError> + Send + 'static,
    ) -> Result<Self, BackendError> {
        let failed = |message: String| BackendError::new(Stage::Prepare, Cause::Crashed, message);
        let (loads, orders) = sync_channel::<Arc<SharedLoad>>(1);
        let (report, logs) = sync_channel(1);
        let (ready, built) = sync_channel(1);
        let work = move || {
            let mut engine = match build() {
                Ok(engine) => engine,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let _ = ready.send(Ok(()));
            while let Ok(load) = orders.recv() {
                let mut log = Log::of(load.clips.len());
                log.outcome = load.serve(engine.as_mut(), &mut log.inferences);
                if report.send(log).is_err() {
                    return;
                }
            }
        };
        let spawned = std::thread::Builder::new().name(format!("instance-{number}")).spawn(work);
        spawned.map_err(|error| failed(format!("cannot start instance {number}: {error}")))?;
        built
            .recv()
            .unwrap_or_else(|_| Err(failed(format!("instance {number} ended while it was built"))))?;
        Ok(Self { loads, logs })
    }
}

impl Log {
    /// Room for an inference of every clip, touched.
    fn of(clips: usize) -> Self {
        let mut inferences =
            vec![(usize::MAX, Inference { clips: 1, started: Nanos(1), completed: Nanos(1) }); clips];
        inferences.clear();
        Self { inferences, outcome: Ok(()) }
    }

    fn lost() -> Self {
        let message = "an instance ended before the load did".into();
        let failure = Failure { stage: Stage::Measure, cause: Cause::Crashed, message };
        Self { inferences: Vec::new(), outcome: Err(failure) }
    }
}

impl SharedLoad {
    fn now(&self) -> Nanos {
        monotonic().since(self.begin)
    }

    /// Waits for the turn, then for the oldest clip, and takes what has arrived: the index of the first clip, how many,
    /// and when. `None` when nothing is left, or nobody waits any longer.
    fn take(&self) -> Option<(usize, u32, Nanos)> {
        let mut oldest = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = &self.clips[*oldest..];
        sleep_until(Nanos(self.begin.0 + waiting.first()?.arrival.0));
        let started = self.now();
        if started > self.give_up || self.failed.load(Ordering::Relaxed) {
            return None;
        }
        let (first, count) = (*oldest, dispatch::taken(waiting, started, self.batch));
        *oldest += count as usize;
        Some((first, count, started))
    }

    /// Serves until nothing is left.
    fn serve(&self, engine: &mut dyn Engine, log: &mut Vec<(usize, Inference)>) -> Result<(), Failure> {
        let failed = |failure: Failure| {
            self.failed.store(true, Ordering::Relaxed);
            Err(failure)
        };
        while let Some((first, clips, started)) = self.take() {
            let outcome = engine.run();
            let completed = self.now();
            if let Err(error) = outcome {
                return failed(error.into());
            }
            log.push((first, Inference { clips, started, completed }));
            if completed.since(started) > self.inference_limit {
                return failed(super::timed::over_limit(completed.since(started), self.inference_limit));
            }
        }
        Ok(())
    }
}

/// Serves a load on a virtual clock that stands at `now`: `engine` declares how long each inference of any of the
/// instances takes.
pub fn serve_virtual(engine: &mut dyn Engine, instances: u32, order: &LoadOrder, now: Nanos) -> ServedLoad {
    let clips = arrivals::of_load(&order.load, order.length);
    let servers = Servers { instances, batch: order.batch };
    let infer = |start: Nanos| -> Result<Nanos, Failure> {
        engine.set_virtual_now(Nanos(now.0 + start.0));
        let timing = engine.run()?;
        timing.virtual_wall.ok_or_else(super::timed::no_virtual_time)
    };
    let (inferences, outcome) = dispatch::on_virtual_clock(&clips, order.load.deadline, servers, infer);
    let ended = inferences.iter().map(|inference| inference.completed).max().unwrap_or_default();
    ServedLoad { started: now, ended: Nanos(now.0 + ended.0), inferences, failure: outcome.err() }
}

#[cfg(test)]
mod tests;
