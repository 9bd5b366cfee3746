//! The worker's side: obeys the parent's commands until it is told to quit or the parent is gone.
//!
//! Standard output carries frames and nothing else: whatever a runtime prints goes to standard error. The
//! memory limit is set before any library is loaded, and the kernel ends the worker when its parent dies.

use super::frame::{self, FrameError};
use super::load::{Instances, serve_virtual};
use super::protocol::{
    Account, FillTime, LoadOrder, MeasureOrder, Measured, OutputDigest, PrepareOrder, Prepared, Reply,
    ServedLoad, Unusable, WorkerCommand,
};
use super::timed::{Samples, Span, Stream, measure, measure_virtual};
use crate::account::{counters, resident};
use crate::backend::completion::CompletionError;
use crate::backend::follows;
use crate::backend::{Backend, BackendError, Engine, RunTiming, registry};
use crate::confine::confine;
use crate::digest::sha256;
use crate::model::inputs::{Fill, fill_all};
use crate::placement::{self, CpuList};
use crate::tensor::TensorData;
use crate::worker::clock::monotonic;
use clipmark_profile::point::Shape;
use clipmark_profile::record::{Cause, Failure, Stage};
use clipmark_profile::units::{Bytes, Nanos};
use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use rustix::thread::set_current_timer_slack;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::num::NonZeroU64;
use std::path::PathBuf;

/// How a worker is started.
#[derive(Debug, Clone)]
pub struct Start {
    /// The process that must be its parent.
    pub parent: u32,
    /// Most private writable memory.
    pub memory_limit: Option<Bytes>,
    /// The CPUs that it runs on.
    pub cpus: Option<CpuList>,
    /// The control group that it enters.
    pub group: Option<PathBuf>,
}

/// Serves the parent over standard input and output until it quits or is gone.
///
/// # Errors
/// The pipes fail, or the limits cannot be set.
pub fn serve(start: &Start) -> Result<(), FrameError> {
    let output = claim_stdout()?;
    tell_of_panics(output.try_clone()?);
    if !bind_to_parent(start.parent)? {
        return Ok(());
    }
    // Before any thread or library: threads inherit the CPUs, and memory is charged where it is first touched.
    start.group.as_deref().map(placement::enter).transpose()?;
    start.cpus.as_ref().map(CpuList::confine_this_thread).transpose()?;
    if let Some(Bytes(bytes)) = start.memory_limit {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        setrlimit(Resource::Data, limit).map_err(std::io::Error::from)?;
    }
    // Paced load sleeps until each arrival: the default slack of 50 us would count as latency.
    set_current_timer_slack(NonZeroU64::new(1)).map_err(std::io::Error::from)?;
    obey(&mut BufReader::new(std::io::stdin().lock()), &mut BufWriter::new(output))
}

/// Takes standard output for frames and lets everybody else's prints go to standard error.
fn claim_stdout() -> std::io::Result<File> {
    // Not for programs that the worker starts: they could answer in its name.
    let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(File::from(output))
}

/// Has panics told in a last answer. A panic ends the process, and nobody else could tell of it: tract panics on some damaged
/// graphs and divides by zero in some inferences, and that is a point's result.
fn tell_of_panics(output: File) {
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let words = payload.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let place = panic.location().map(|place| format!(" ({place})")).unwrap_or_default();
        // A parent that is gone hears nothing, and this process ends in either case.
        let _ = frame::write(&mut &output, &Reply::Panicked(format!("{words}{place}")));
    }));
}

/// Asks the kernel to end this process with its parent; `false` when the parent is gone already.
fn bind_to_parent(parent: u32) -> std::io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let present = getppid().map(Pid::as_raw_pid).and_then(|pid| u32::try_from(pid).ok());
    Ok(present == Some(parent))
}

/// Answers commands until `Quit` or the end of `input`.
///
/// # Errors
/// The pipes fail or carry something else than commands.
pub fn obey(input: &mut impl Read, output: &mut impl Write) -> Result<(), FrameError> {
    let mut held = None;
    let mut samples = Samples::default();
    while let Some(command) = frame::read::<WorkerCommand>(input)? {
        let reply = match command {
            WorkerCommand::Quit => return Ok(()),
            WorkerCommand::Confine(bounds) => Ok(Reply::Confined(confine(&bounds))),
            WorkerCommand::Check { backend } => {
                let unusable =
                    |error: BackendError| Unusable { missing: error.missing, failure: error.into() };
                Ok(Reply::Checked(check(&backend).map_err(unusable)))
            }
            WorkerCommand::Prepare(order) => prepare(&order).map(|(engine, prepared)| {
                held = Some(engine);
                Reply::Prepared(prepared)
            }),
            WorkerCommand::Measure(order) => {
                with(&mut held, |held| Ok(Reply::Measured(held.measure(&order, &mut samples))))
            }
            WorkerCommand::Serve(order) => with(&mut held, |held| Ok(Reply::Served(held.serve(&order)))),
            WorkerCommand::Operators { iterations } => {
                with(&mut held, |held| Ok(Reply::Operators(top_ten(held.engine.operators(iterations)?))))
            }
            WorkerCommand::Outputs => with(&mut held, |held| Ok(Reply::Outputs(held.output_digests()?))),
            WorkerCommand::Sensitivity { iterations } => {
                with(&mut held, |held| Ok(Reply::Sensitivity(held.sensitivity(iterations)?)))
            }
            WorkerCommand::Completion => with(&mut held, |held| Ok(Reply::Completion(held.completion()?))),
            WorkerCommand::Account => with(&mut held, |held| Ok(Reply::Account(held.account()))),
        };
        frame::write(output, &reply.unwrap_or_else(|error| Reply::Failed(Failure::from(error))))?;
    }
    Ok(())
}

fn top_ten(
    mut operators: Vec<clipmark_profile::record::OperatorCost>,
) -> Vec<clipmark_profile::record::OperatorCost> {
    operators.truncate(10);
    operators
}

fn find(name: &str) -> Result<Box<dyn Backend>, BackendError> {
    let found = registry().into_iter().find(|backend| backend.name() == name);
    found.ok_or_else(|| {
        let message = format!("this binary has no backend `{name}`");
        BackendError::new(Stage::Load, Cause::BackendUnavailable, message)
    })
}

fn check(name: &str) -> Result<clipmark_profile::record::BackendRecord, BackendError> {
    find(name)?.check()
}

fn prepare(order: &PrepareOrder) -> Result<(Held, Prepared), BackendError> {
    let backend = find(&order.backend)?;
    if order.instances > 1 && !backend.runs_in_parallel() {
        let message = format!(
            "{} is not offered with {} instances yet; choose 1, or the backend tract or onnxruntime",
            order.backend, order.instances
        );
        return Err(BackendError::new(Stage::Prepare, Cause::BackendUnavailable, message));
    }
    let base_resident = resident().current;
    let begun = monotonic();
    let mut engine = backend.prepare(&order.model, &order.spec)?;
    let prepare = monotonic().since(begun);
    let begun = monotonic();
    let timing = warm_up(engine.as_mut(), order)?;
    let first = timing.virtual_wall.unwrap_or_else(|| monotonic().since(begun));
    let virtual_now = timing.virtual_wall.map(|_| Nanos(0));
    let recorded = timing.recorded_wall.is_some();
    // On a virtual clock one engine declares the times of all.
    let beside = if virtual_now.is_some() { 0 } else { order.instances.saturating_sub(1) };
    let same = order.clone();
    let instances = Instances::start(beside, move || {
        let mut engine = find(&same.backend)?.prepare(&same.model, &same.spec)?;
        warm_up(engine.as_mut(), &same)?;
        Ok(engine)
    })?;
    let prepared = Prepared { prepare, first, engine: engine.build(), remarks: engine.remarks() };
    let inputs = order.spec.inputs.clone();
    let held = Held {
        engine,
        at: order.spec.shape,
        inputs,
        seed: order.seed,
        base_resident,
        virtual_now,
        recorded,
        stream: None,
        instances,
        instance_count: order.instances,
    };
    Ok((held, prepared))
}

/// The inputs of `order`, and one untimed inference.
fn warm_up(engine: &mut dyn Engine, order: &PrepareOrder) -> Result<RunTiming, BackendError> {
    engine.set_inputs(&fill_all(&order.spec.inputs, Fill::Random, order.seed))?;
    engine.run().map_err(|error| BackendError { stage: Stage::WarmUp, ..error })
}

fn with(
    held: &mut Option<Held>,
    act: impl FnOnce(&mut Held) -> Result<Reply, BackendError>,
) -> Result<Reply, BackendError> {
    let none = || BackendError::new(Stage::Measure, Cause::Backend, "no engine was prepared in this worker");
    act(held.as_mut().ok_or_else(none)?)
}

/// The one engine and what is known of it.
struct Held {
    engine: Box<dyn Engine>,
    at: Shape,
    inputs: Vec<crate::tensor::InputSpec>,
    seed: u64,
    base_resident: Option<Bytes>,
    /// Where the clock stands of an engine that declares its time; it goes on from chunk to chunk.
    virtual_now: Option<Nanos>,
    /// Whether its times were recorded by another program, which waits for completion itself.
    recorded: bool,
    /// The stream that the last paced chunk was part of.
    stream: Option<Stream>,
    /// Engines in threads of their own, beside this one.
    instances: Instances,
    /// Engines that work in parallel, this one included.
    instance_count: u32,
}

impl Held {
    fn measure(&mut self, order: &MeasureOrder, samples: &mut Samples) -> Measured {
        let before = counters();
        let span = self.timed(order, samples);
        let after = counters();
        let grew = |before: Option<u64>, after: Option<u64>| Some(after?.saturating_sub(before?));
        Measured {
            started: span.started,
            ended: span.ended,
            latencies_ns: samples.latencies().to_vec(),
            compute_ns: samples.compute().to_vec(),
            h2d_ns: samples.h2d().to_vec(),
            d2h_ns: samples.d2h().to_vec(),
            context_switches: grew(before.context_switches, after.context_switches),
            minor_faults: grew(before.minor_faults, after.minor_faults),
            major_faults: grew(before.major_faults, after.major_faults),
            failure: span.failure,
        }
    }

    /// One load. On the virtual clock its length is the declared one; it is told to have begun now.
    fn serve(&mut self, order: &LoadOrder) -> ServedLoad {
        if self.recorded {
            let message =
                "the backend hands out recorded times, which serve no streams; choose another backend".into();
            let failure = Failure { stage: Stage::Measure, cause: Cause::Backend, message };
            return ServedLoad {
                failure: Some(failure),
                started: monotonic(),
                ended: monotonic(),
                ..ServedLoad::default()
            };
        }
        let Some(now) = self.virtual_now else { return self.instances.serve(self.engine.as_mut(), order) };
        let begun = monotonic();
        let served = serve_virtual(self.engine.as_mut(), self.instance_count, order, now);
        self.virtual_now = Some(served.ended);
        let ended = Nanos(begun.0 + served.ended.since(now).0);
        ServedLoad { started: begun, ended, ..served }
    }

    /// One chunk. On the virtual clock its length is the declared one; it is told to have begun now.
    fn timed(&mut self, order: &MeasureOrder, samples: &mut Samples) -> Span {
        let begun = monotonic();
        let now = self.virtual_now.unwrap_or(begun);
        let stream = Stream::of(order, self.at, now, self.stream);
        let span = match self.virtual_now {
            None => measure(self.engine.as_mut(), order, stream, samples),
            Some(now) => {
                let span = measure_virtual(self.engine.as_mut(), now, order, stream, samples);
                self.virtual_now = Some(span.ended);
                Span {
                    started: begun,
                    ended: Nanos(begun.0 + span.ended.since(now).0),
                    failure: span.failure,
                }
            }
        };
        self.stream = stream.map(|stream| stream.after(samples.latencies().len()));
        span
    }

    fn output_digests(&mut self) -> Result<Vec<OutputDigest>, BackendError> {
        let digest = |output: TensorData| OutputDigest {
            sha256: sha256(&output.bytes),
            name: output.name,
            shape: output.shape,
        };
        Ok(self.engine.outputs()?.into_iter().map(digest).collect())
    }

    /// Times random, constant and zero inputs in turn and leaves random ones in place.
    fn sensitivity(&mut self, iterations: u32) -> Result<Vec<FillTime>, BackendError> {
        let mut times = Vec::new();
        for fill in [Fill::Constant, Fill::Zero, Fill::Random] {
            self.engine.set_inputs(&fill_all(&self.inputs, fill, self.seed))?;
            times.push(self.fill_time(fill, iterations)?);
        }
        Ok(times)
    }

    fn fill_time(&mut self, fill: Fill, iterations: u32) -> Result<FillTime, BackendError> {
        self.engine.run()?;
        let mut walls = Vec::with_capacity(iterations.max(1) as usize);
        for _ in 0..iterations.max(1) {
            let begun = monotonic();
            let timing = self.engine.run()?;
            walls.push(timing.virtual_wall.unwrap_or_else(|| monotonic().since(begun)));
        }
        walls.sort_unstable();
        Ok(FillTime {
            fill: fill.name().into(),
            median: walls[walls.len() / 2],
            range: [walls[0], walls[walls.len() - 1]],
        })
    }

    /// Fails when the engine was seen to return early; tells what two honest models could cause as well.
    fn completion(&mut self) -> Result<Option<String>, BackendError> {
        if self.recorded {
            return Ok(None);
        }
        let of = |fill, seed| fill_all(&self.inputs, fill, seed);
        let (random, other) = (of(Fill::Random, self.seed), of(Fill::Random, self.seed.wrapping_add(1)));
        let constant = of(Fill::Constant, self.seed);
        let verdict = follows::check(self.engine.as_mut(), &self.inputs, &random, &other, &constant);
        self.engine.set_inputs(&random)?;
        match verdict {
            Ok(doubts) if doubts.is_empty() => Ok(None),
            Ok(doubts) => Ok(Some(doubts.join("; "))),
            Err(CompletionError::Engine(error)) => Err(error),
            Err(CompletionError::Stale) if self.inputs.is_empty() => Ok(None),
            Err(doubt @ (CompletionError::Stale | CompletionError::Unsteady)) => Ok(Some(doubt.to_string())),
            Err(proof @ CompletionError::Unsettled) => {
                Err(BackendError::new(Stage::WarmUp, Cause::Backend, proof.to_string()))
            }
        }
    }

    fn account(&self) -> Account {
        Account {
            peak_resident: resident().peak,
            base_resident: self.base_resident,
            device: self.engine.device_memory(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{obey, tell_of_panics};
    use crate::backend::EngineSpec;
    use crate::worker::frame;
    use crate::worker::protocol::{MeasureOrder, PrepareOrder, Reply, WorkerCommand};
    use clipmark_profile::point::{Precision, Shape};
    use clipmark_profile::units::Nanos;
    use std::collections::BTreeMap;
    use std::io::Seek;

    fn converse(commands: &[WorkerCommand]) -> Vec<Reply> {
        let (mut said, mut heard) = (Vec::new(), Vec::new());
        for command in commands {
            frame::write(&mut said, command).unwrap();
        }
        obey(&mut said.as_slice(), &mut heard).unwrap();
        let mut rest = heard.as_slice();
        std::iter::from_fn(|| frame::read(&mut rest).unwrap()).collect()
    }

    fn prepare(backend: &str) -> WorkerCommand {
        let spec = EngineSpec {
            shape: Shape::new(1, 8).unwrap(),
            precision: Precision::Model,
            threads: 1,
            inputs: Vec::new(),
            options: BTreeMap::new(),
            cache_dir: None,
        };
        WorkerCommand::Prepare(Box::new(PrepareOrder {
            backend: backend.into(),
            model: "m.onnx".into(),
            spec,
            seed: 1,
            instances: 1,
        }))
    }

    #[test]
    fn a_worker_prepares_and_measures_as_many_iterations_as_asked() {
        let measure = WorkerCommand::Measure(MeasureOrder {
            iterations: 50,
            stop_after: Nanos::from_secs(3600),
            inference_limit: Nanos::from_secs(60),
            paced_fps: None,
            continues: false,
        });
        let replies = converse(&[prepare("simulated"), measure, WorkerCommand::Account]);
        let [Reply::Prepared(_), Reply::Measured(measured), Reply::Account(account)] = replies.as_slice()
        else {
            panic!("{replies:?}");
        };
        assert_eq!(measured.latencies_ns.len(), 50);
        assert!(measured.failure.is_none());
        assert!(account.peak_resident.is_some());
    }

    #[test]
    fn a_panic_is_told_with_its_words_and_place() {
        let mut answers = tempfile::tempfile().unwrap();
        tell_of_panics(answers.try_clone().unwrap());
        let panicked = std::thread::spawn(|| panic!("no such axis: {}", 7)).join();
        drop(std::panic::take_hook());
        assert!(panicked.is_err());
        answers.rewind().unwrap();
        let Some(Reply::Panicked(words)) = frame::read(&mut answers).unwrap() else {
            panic!("another answer")
        };
        assert!(words.starts_with("no such axis: 7 (") && words.contains("child.rs"), "{words}");
    }

    #[test]
    fn what_fails_is_answered_and_the_worker_lives_on() {
        let replies = converse(&[prepare("no-such"), WorkerCommand::Outputs, prepare("noop")]);
        assert!(matches!(replies[0], Reply::Failed(_)), "{replies:?}");
        assert!(matches!(replies[1], Reply::Failed(_)), "{replies:?}");
        assert!(matches!(replies[2], Reply::Prepared(_)), "{replies:?}");
    }
}
