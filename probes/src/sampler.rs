//! The sampler: one thread that reads the sensors on schedule, and what becomes of the readings.
//!
//! The thread sleeps to absolute deadlines on the monotonic clock, reads into columns that were allocated
//! before, and hands full segments to a second thread, which keeps them in memory or appends them to a
//! file. Nothing in the reading thread waits for that: when it is late with a buffer, readings are given
//! up and counted. [`Replay`] does the same over virtual time without threads. Instants are counted from
//! the run's start, which is an instant of the monotonic clock that the caller gives.

pub use crate::monotonic::monotonic_now;

use crate::assemble::{SamplingEnd, Template, fault_texts, finish, template};
use crate::latest::Latest;
use crate::monotonic::{sleep_until, thread_cpu};
use crate::probe::{Fault, Tier};
use crate::refresh;
use crate::registry::Sensors;
use crate::sampling::{Cadence, Sampling, Segment};
use crate::series_file::{self, SeriesError, SeriesWriter};
use clipmark_profile::channel::ChannelKind;
use clipmark_profile::sensors::{SensorRecord, TierSeries};
use clipmark_profile::units::{Bytes, Nanos};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Segments in circulation between the two threads.
const SEGMENTS: usize = 3;
/// The longest sleep, so that stopping does not wait for a slow tier.
const MAX_SLEEP: u64 = 250_000_000;
/// Length of the burst that measures how often monitors renew.
const BURST: u64 = 2_000_000_000;
/// Pause between the burst's reads.
const BURST_PAUSE: u64 = 1_000_000;
/// Most reads of a burst.
const BURST_READS: usize = 2000;

/// How to sample.
#[derive(Debug, Clone)]
pub struct SamplerOptions {
    /// The run's start on the monotonic clock ([`monotonic_now`]): stamps count from it.
    pub origin: Nanos,
    /// What shapes the schedule.
    pub cadence: Cadence,
    /// Whether to spend two seconds at the start on measuring how often monitors renew.
    pub measure_refresh: bool,
    /// CPUs that the sampler may run on; empty: any.
    pub cpus: Vec<usize>,
    /// Where the series goes while sampling; without it, it stays in memory.
    pub file: Option<PathBuf>,
    /// Bound of the series in bytes, in memory or on disk.
    pub limit: Bytes,
    /// Time between two writes: the most that a killed process loses.
    pub segment: Nanos,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            origin: monotonic_now(),
            cadence: Cadence::default(),
            measure_refresh: false,
            cpus: Vec::new(),
            file: None,
            limit: Bytes(64 << 20),
            segment: Nanos::from_secs(10),
        }
    }
}

/// A sampler that cannot start or whose series cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum SamplerError {
    /// The series file.
    #[error("the sensor series is lost; choose another directory or run without the sampler")]
    Series(#[from] SeriesError),
    /// The system refused a thread.
    #[error("cannot start the sampler's thread; the process may be at its limit of threads")]
    Thread(#[source] std::io::Error),
    /// A thread of the sampler ended by itself.
    #[error("the sampler's {0} thread ended unexpectedly; this is a fault of clipmark, please report it")]
    Died(&'static str),
}

/// A running sampler.
#[derive(Debug)]
pub struct Sampler {
    latest: Arc<Latest>,
    stop: Arc<AtomicBool>,
    reader: JoinHandle<SamplingEnd>,
    keeper: JoinHandle<Keeper>,
}

impl Sampler {
    /// Starts sampling `sensors`.
    ///
    /// # Errors
    /// When the series file cannot be created or a thread cannot be started.
    pub fn start(sensors: Sensors, options: &SamplerOptions) -> Result<Self, SamplerError> {
        let origin = options.origin;
        let mut clock = move || monotonic_now().since(origin);
        let sampling = Sampling::new(sensors, &options.cadence, options.segment, &mut clock);
        let keeper = Keeper::new(template(sampling.sensors(), sampling.faults()), options)?;
        let latest = Arc::clone(sampling.latest());
        let stop = Arc::new(AtomicBool::new(false));
        let (full_sender, full_receiver) = sync_channel::<Segment>(SEGMENTS);
        let (spare_sender, spare_receiver) = sync_channel::<Segment>(SEGMENTS);
        for _ in 1..SEGMENTS {
            // The channel has room for every segment in circulation.
            let _ = spare_sender.try_send(sampling.empty_segment());
        }
        let keeper = spawn("clipmark-keep", move || keeper.run(&full_receiver, &spare_sender))?;
        let reader = Reader {
            sampling,
            origin,
            stop: Arc::clone(&stop),
            full: full_sender,
            spare: spare_receiver,
            measure_refresh: options.measure_refresh,
            cpus: options.cpus.clone(),
        };
        let reader = spawn("clipmark-sense", move || reader.run())?;
        Ok(Self { latest, stop, reader, keeper })
    }

    /// The newest readings, for live views, the start gate and the abort temperature.
    #[must_use]
    pub const fn latest(&self) -> &Arc<Latest> {
        &self.latest
    }

    /// Stops sampling and gives the record.
    ///
    /// # Errors
    /// When a thread died or the series file cannot be read back.
    pub fn stop(self) -> Result<SensorRecord, SamplerError> {
        self.stop.store(true, Ordering::Relaxed);
        let ending = self.reader.join().map_err(|_| SamplerError::Died("reading"))?;
        let keeper = self.keeper.join().map_err(|_| SamplerError::Died("keeping"))?;
        keeper.finish(ending)
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SamplerError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(SamplerError::Thread)
}

/// The thread that reads.
#[derive(Debug)]
struct Reader {
    sampling: Sampling,
    origin: Nanos,
    stop: Arc<AtomicBool>,
    full: SyncSender<Segment>,
    spare: Receiver<Segment>,
    measure_refresh: bool,
    cpus: Vec<usize>,
}

impl Reader {
    fn run(mut self) -> SamplingEnd {
        let mut notes = Vec::new();
        if let Err(errno) = pin(&self.cpus) {
            let cpus = &self.cpus;
            notes.push(format!(
                "the sampler could not be bound to CPUs {cpus:?}: {}",
                crate::errno::name(errno)
            ));
        }
        let refresh = if self.measure_refresh { self.burst() } else { Vec::new() };
        while !self.stop.load(Ordering::Relaxed) {
            self.sleep();
            let origin = self.origin;
            self.sampling.tick(&mut move || monotonic_now().since(origin));
            let now = self.now();
            if self.sampling.segment_is_full(now) {
                self.hand_over(now);
            }
        }
        let now = self.now();
        let last =
            self.sampling.swap_segment(Segment { lanes: Vec::new(), cpu: Nanos(0) }, now, thread_cpu());
        // Waiting is fine here: nothing is sampled any more. A keeper that is gone is found at joining.
        let _ = self.full.send(last);
        SamplingEnd { cpu: thread_cpu(), refresh, faults: fault_texts(self.sampling.faults()), notes }
    }

    fn now(&self) -> Nanos {
        monotonic_now().since(self.origin)
    }

    fn sleep(&self) {
        let bound = Nanos(self.now().get() + MAX_SLEEP);
        let until = self.sampling.next_deadline().map_or(bound, |deadline| deadline.min(bound));
        sleep_until(Nanos(self.origin.get() + until.get()));
    }

    fn hand_over(&mut self, now: Nanos) {
        match self.spare.try_recv() {
            Ok(mut spare) => {
                spare.clear();
                let full = self.sampling.swap_segment(spare, now, thread_cpu());
                // As many places as segments: this never blocks.
                let _ = self.full.try_send(full);
            }
            Err(_) => self.sampling.discard_segment(now),
        }
    }

    /// Reads the rails as fast as they answer and finds how often each renews.
    fn burst(&mut self) -> Vec<(u16, Nanos)> {
        let start = self.now();
        let mut series: Vec<(u16, Vec<(Nanos, i32)>)> = Vec::new();
        let channels = self.sampling.latest().channels().iter().zip(0u16..);
        let rails = channels.filter(|(channel, _)| channel.kind == ChannelKind::Power);
        series.extend(rails.map(|(_, at)| (at, Vec::with_capacity(BURST_READS))));
        for _ in 0..BURST_READS {
            let now = self.now();
            if now.since(start).get() > BURST || self.stop.load(Ordering::Relaxed) {
                break;
            }
            let readings = self.sampling.sensors_mut().read_tier(Tier::Rails, now);
            for (at, values) in &mut series {
                if let Some(Some(Ok(value))) = readings.get(usize::from(*at)) {
                    values.push((now, *value));
                }
            }
            sleep_until(Nanos(monotonic_now().get() + BURST_PAUSE));
        }
        series.iter().filter_map(|(at, values)| Some((*at, refresh::interval(values)?))).collect()
    }
}

fn pin(cpus: &[usize]) -> Result<(), rustix::io::Errno> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = rustix::thread::CpuSet::new();
    for cpu in cpus.iter().filter(|cpu| **cpu < rustix::thread::CpuSet::MAX_CPU) {
        set.set(*cpu);
    }
    rustix::thread::sched_setaffinity(None, &set)
}

/// Keeps segments, in memory or in a file.
#[derive(Debug)]
struct Keeper {
    template: Template,
    store: Store,
    limit: Bytes,
    cpu: Nanos,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Store {
    Memory {
        series: Vec<TierSeries>,
        truncated: bool,
    },
    File {
        writer: SeriesWriter,
        path: PathBuf,
    },
    /// The file refused a write.
    Broken {
        path: PathBuf,
    },
}

impl Keeper {
    fn new(template: Template, options: &SamplerOptions) -> Result<Self, SamplerError> {
        let store = match &options.file {
            None => Store::Memory { series: Vec::new(), truncated: false },
            Some(path) => {
                let writer = SeriesWriter::create(path, options.limit, &template)?;
                Store::File { writer, path: path.clone() }
            }
        };
        Ok(Self { template, store, limit: options.limit, cpu: Nanos(0), notes: Vec::new() })
    }

    fn run(mut self, full: &Receiver<Segment>, spare: &SyncSender<Segment>) -> Self {
        while let Ok(segment) = full.recv() {
            self.keep(&segment);
            // After the reader's end nobody wants the buffer back.
            let _ = spare.try_send(segment);
        }
        self
    }

    fn keep(&mut self, segment: &Segment) {
        self.cpu = segment.cpu;
        match &mut self.store {
            Store::Memory { series, truncated } => {
                *truncated |= size_of_series(series) > self.limit.get();
                if !*truncated {
                    series_file::join(series, &segment.lanes);
                }
            }
            Store::File { writer, path } => {
                if let Err(error) = writer.append(segment) {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    self.notes.push(format!("{error}: {}", source.unwrap_or_default()));
                    self.store = Store::Broken { path: path.clone() };
                }
            }
            Store::Broken { .. } => {}
        }
    }

    fn finish(mut self, mut ending: SamplingEnd) -> Result<SensorRecord, SamplerError> {
        ending.notes.append(&mut self.notes);
        match self.store {
            Store::Memory { series, truncated } => {
                let mut record = finish(self.template, series, self.cpu, Some(ending));
                record.truncated |= truncated;
                Ok(record)
            }
            Store::File { writer, path } => {
                writer.close(&ending)?;
                Ok(series_file::read(&path)?)
            }
            Store::Broken { path } => {
                let mut record = series_file::read(&path)?;
                record.notes.append(&mut ending.notes);
                Ok(record)
            }
        }
    }
}

/// Bytes that series take in memory, near enough for a bound.
fn size_of_series(series: &[TierSeries]) -> u64 {
    let rows = series.iter().map(|tier| tier.stamps_ns.len() * (12 + 4 * tier.columns.len()));
    rows.sum::<usize>() as u64
}

/// Sampling over virtual time, on the caller's thread: for captures whose values move.
#[derive(Debug)]
pub struct Replay {
    sampling: Sampling,
    keeper: Keeper,
    now: Nanos,
}

impl Replay {
    /// A replay that stands at `start`. The options' clock, CPUs and burst do not apply.
    ///
    /// # Errors
    /// When the series file cannot be created.
    pub fn new(sensors: Sensors, options: &SamplerOptions, start: Nanos) -> Result<Self, SamplerError> {
        let sampling = Sampling::new(sensors, &options.cadence, options.segment, &mut || start);
        let keeper = Keeper::new(template(sampling.sensors(), sampling.faults()), options)?;
        Ok(Self { sampling, keeper, now: start })
    }

    /// Goes on to `now`, reading everything that falls due on the way at its exact deadline.
    pub fn advance_to(&mut self, now: Nanos) {
        while let Some(deadline) = self.sampling.next_deadline().filter(|deadline| *deadline <= now) {
            self.sampling.tick(&mut || deadline);
            if self.sampling.segment_is_full(deadline) {
                let empty = self.sampling.empty_segment();
                let full = self.sampling.swap_segment(empty, deadline, Nanos(0));
                self.keeper.keep(&full);
            }
        }
        self.now = self.now.max(now);
    }

    /// The instant that the replay stands at.
    #[must_use]
    pub const fn now(&self) -> Nanos {
        self.now
    }

    /// The newest readings.
    #[must_use]
    pub fn latest(&self) -> &Arc<Latest> {
        self.sampling.latest()
    }

    /// Ends the replay and gives the record.
    ///
    /// # Errors
    /// When the series file cannot be closed or read back.
    pub fn finish(mut self) -> Result<SensorRecord, SamplerError> {
        let empty = self.sampling.empty_segment();
        let last = self.sampling.swap_segment(empty, self.now, Nanos(0));
        self.keeper.keep(&last);
        let faults: &[Option<Fault>] = self.sampling.faults();
        self.keeper.finish(SamplingEnd { faults: fault_texts(faults), ..SamplingEnd::default() })
    }
}

#[cfg(test)]
mod tests;
