//! Whether a load was sustained.
//!
//! Three questions, over the clips that arrive once every stream has delivered (the *counted* ones): is the upper end of
//! P99's 95 % interval within the deadline, does any single stream miss its deadline for more than 1 % of its clips, and
//! does the number of waiting clips grow. A load that fails one is not sustained, one that the sample cannot decide is
//! undecided. A clip that was given up missed its deadline; its latency is longer than what it had waited by then.

use super::{ArrivalProcess, Served, give_up_at};
use crate::stats::early_stop::Counts;
use crate::stats::interval::{self, Interval};
use crate::stats::quantile::{self, Quantile};
use crate::stats::robust;
use crate::stats::theil_sen;
use crate::units::Nanos;
use serde::{Deserialize, Serialize};

/// The share of clips that may miss the deadline: what P99 means.
pub const OVER_RATE: f64 = 0.01;
/// Probability of a wrong verdict on the streams of a load together.
const ALPHA: f64 = 0.01;
/// Stretches of equal length over which the number of waiting clips is followed.
const STRETCHES: usize = 20;
/// Fewest stretches that give the slope an interval.
const FEWEST_STRETCHES: usize = 5;
/// Points of the picture of waiting clips.
const PICTURE: usize = 120;

/// Whether a load was sustained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was.
    Holds,
    /// It was not.
    Fails,
    /// More clips would decide it.
    Undecided,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// The stream with the most misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorstStream {
    /// Its counted clips.
    pub clips: u64,
    /// Those that missed the deadline.
    pub missed: u64,
}

/// What a load showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadFigures {
    /// Streams offered.
    pub streams: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not [`Verdict::Holds`], in one sentence.
    pub reason: Option<String>,
    /// From the first arrival to the last, ms.
    pub duration_ms: u64,
    /// Clips that count.
    pub clips: u64,
    /// Those that missed the deadline, given up ones included.
    pub missed: u64,
    /// Those that were given up.
    pub given_up: u64,
    /// Inferences.
    pub inferences: u64,
    /// Inferences of fewer clips than the batch size, which run at its full shape.
    pub part_filled: u64,
    /// Median latency from arrival, ns; absent where it lies among the clips that were given up.
    pub p50_ns: Option<f64>,
    /// P99 latency from arrival, ns; absent below 99 clips and among those that were given up.
    pub p99_ns: Option<f64>,
    /// Its 95 % interval.
    pub p99_ci_ns: Interval,
    /// The stream with the most misses.
    pub worst_stream: Option<WorstStream>,
    /// Streams shown one by one to miss no more than 1 %; the others have too few clips to tell.
    pub streams_shown: u32,
    /// Growth of the number of waiting clips, a second; absent below five stretches of a period.
    pub backlog_per_s: Option<f64>,
    /// Its 95 % interval.
    pub backlog_ci: Interval,
    /// Waiting clips over time: the most in each of equal stretches of the load.
    pub waiting: Vec<u32>,
}

/// The figures of `served`.
#[must_use]
pub fn judge(served: &Served) -> LoadFigures {
    let latencies = latencies(served);
    let counted_from = served.load.period;
    let is_counted = |index: &usize| served.clips[*index].arrival >= counted_from;
    let counted: Vec<usize> = (0..served.clips.len()).filter(is_counted).collect();
    let series: Vec<u64> = counted.iter().map(|&index| latencies[index].ns).collect();
    let mut sorted = series.clone();
    sorted.sort_unstable();
    let given_up = counted.iter().filter(|&&index| latencies[index].given_up).count() as u64;
    let n = sorted.len() as u64;
    let deadline = served.load.deadline;
    // What was given up waited longest: a quantile is known unless it lies among those.
    let known = |quantile: Quantile, figure: Option<f64>| {
        figure.filter(|_| given_up as f64 <= (1.0 - quantile.fraction()) * n as f64 - 1.0 || given_up == 0)
    };
    let p99 = interval::of_quantile(&series, &sorted, Quantile::P99).interval;
    let p99_ci_ns = Interval { lower: p99.lower, upper: p99.upper.filter(|_| given_up == 0) };
    let streams = per_stream(served, &counted, &latencies);
    let backlog = backlog(served);
    let part = served.inferences.iter().filter(|inference| inference.clips < served.servers.batch);
    let p99_ns = quantile::reference(&sorted, Quantile::P99).filter(|_| !Quantile::P99.extrapolates(n));
    let mut figures = LoadFigures {
        streams: served.load.streams,
        verdict: Verdict::Undecided,
        reason: None,
        duration_ms: served.clips.last().map_or(0, |clip| clip.arrival.0 / 1_000_000),
        clips: n,
        missed: Counts::of(&sorted, deadline.0).overruns,
        given_up,
        inferences: served.inferences.len() as u64,
        part_filled: part.count() as u64,
        p50_ns: known(Quantile::P50, quantile::median(&sorted)),
        p99_ns: known(Quantile::P99, p99_ns),
        p99_ci_ns,
        worst_stream: worst(&streams),
        streams_shown: shown(&streams, Counts::log_evidence_below),
        backlog_per_s: backlog.map(|(slope, _)| slope),
        backlog_ci: backlog.map(|(_, interval)| interval).unwrap_or_default(),
        waiting: picture(served),
    };
    let failing = shown(&streams, Counts::log_evidence_above);
    (figures.verdict, figures.reason) = decide(&figures, failing, deadline);
    figures
}

fn decide(figures: &LoadFigures, failing: u32, deadline: Nanos) -> (Verdict, Option<String>) {
    let ms = |ns: f64| format!("{:.1} ms", ns / 1e6);
    let bound = ms(deadline.0 as f64);
    let grows = figures.backlog_ci.lower.is_some_and(|lower| {
        // Less than one clip over the whole load is no backlog.
        lower > 0.0 && figures.backlog_per_s.unwrap_or(0.0) * figures.duration_ms as f64 >= 1e3
    });
    let late = figures.p99_ci_ns.lower.filter(|&lower| lower > deadline.0 as f64);
    let fails = |reason: String| (Verdict::Fails, Some(reason));
    if let Some(lower) = late {
        return fails(format!("P99 is at least {}, the deadline is {bound}", ms(lower)));
    }
    if failing > 0 {
        let each = if failing == 1 { "1 stream misses".into() } else { format!("{failing} streams miss") };
        return fails(format!("{each} the deadline of {bound} for more than 1 % of the clips"));
    }
    if grows {
        let slope = figures.backlog_per_s.unwrap_or_default();
        return fails(format!("the number of waiting clips grows by {slope:.2} a second"));
    }
    match figures.p99_ci_ns.upper {
        Some(upper) if upper <= deadline.0 as f64 => (Verdict::Holds, None),
        Some(upper) => {
            let reason = format!("P99 may be up to {}, the deadline is {bound}", ms(upper));
            (Verdict::Undecided, Some(reason))
        }
        None => {
            let reason = format!("{} clips are too few for an upper bound of P99", figures.clips);
            (Verdict::Undecided, Some(reason))
        }
    }
}

impl LoadFigures {
    /// Whether it looks sustained, as far as the sample goes: what a search goes by before it certifies.
    #[must_use]
    pub fn looks_sustained(&self) -> bool {
        self.verdict != Verdict::Fails && self.missed as f64 <= OVER_RATE * self.clips as f64
    }
}

/// The latency of a clip, at least.
#[derive(Debug, Clone, Copy)]
struct Latency {
    ns: u64,
    given_up: bool,
}

fn latencies(served: &Served) -> Vec<Latency> {
    let inferences = served.inferences.iter();
    let completions =
        inferences.flat_map(|inference| std::iter::repeat_n(inference.completed, inference.clips as usize));
    let give_up = Nanos(give_up_at(&served.clips, served.load.deadline).0.saturating_add(1));
    let all = completions.map(Some).chain(std::iter::repeat(None));
    let of = |(clip, completed): (&super::arrivals::Clip, Option<Nanos>)| Latency {
        ns: completed.unwrap_or(give_up).since(clip.arrival).0,
        given_up: completed.is_none(),
    };
    served.clips.iter().zip(all).map(of).collect()
}

/// Clips and misses of every stream.
fn per_stream(served: &Served, counted: &[usize], latencies: &[Latency]) -> Vec<Counts> {
    let mut streams = vec![Counts { iterations: 0, overruns: 0 }; served.load.streams as usize];
    for &index in counted {
        if let Some(stream) = streams.get_mut(served.clips[index].stream as usize) {
            stream.iterations += 1;
            stream.overruns += u64::from(latencies[index].ns > served.load.deadline.0);
        }
    }
    streams
}

fn worst(streams: &[Counts]) -> Option<WorstStream> {
    let seen = streams.iter().filter(|stream| stream.iterations > 0);
    let worst = seen.max_by_key(|stream| (stream.overruns, std::cmp::Reverse(stream.iterations)))?;
    Some(WorstStream { clips: worst.iterations, missed: worst.overruns })
}

/// Streams of which `evidence` (the logarithm of an e-value) is enough, so that one wrong verdict on any of them has
/// probability [`ALPHA`].
fn shown(streams: &[Counts], evidence: fn(Counts, f64) -> f64) -> u32 {
    let enough = (streams.len().max(1) as f64 / ALPHA).ln();
    streams.iter().filter(|stream| evidence(**stream, OVER_RATE) >= enough).count() as u32
}

/// Clips that had arrived by `instant` and were not taken yet.
struct Waiting<'a> {
    served: &'a Served,
    arrived: usize,
    inferences: usize,
    taken: u64,
}

impl<'a> Waiting<'a> {
    const fn of(served: &'a Served) -> Self {
        Self { served, arrived: 0, inferences: 0, taken: 0 }
    }

    /// At `instant`, which must not be earlier than that of the call before.
    fn at(&mut self, instant: Nanos) -> u32 {
        let Served { clips, inferences, .. } = self.served;
        while clips.get(self.arrived).is_some_and(|clip| clip.arrival <= instant) {
            self.arrived += 1;
        }
        while let Some(inference) = inferences.get(self.inferences).filter(|one| one.started <= instant) {
            self.taken += u64::from(inference.clips);
            self.inferences += 1;
        }
        u32::try_from((self.arrived as u64).saturating_sub(self.taken)).unwrap_or(u32::MAX)
    }
}

/// Slope of the number of waiting clips, a second, over medians of stretches of whole periods.
fn backlog(served: &Served) -> Option<(f64, Interval)> {
    let (first, last) = (served.load.period, served.clips.last()?.arrival);
    let periods = (last.since(first).0 / served.load.period.0.max(1)) as usize;
    let each = (periods / STRETCHES).max(1);
    if periods / each < FEWEST_STRETCHES {
        return None;
    }
    let mut waiting = Waiting::of(served);
    let sample = |instant: Nanos, waiting: &mut Waiting<'_>| f64::from(waiting.at(instant));
    let mut points = Vec::new();
    for stretch in 0..periods / each {
        // As many looks a period as streams, so that a stretch says how the period was and not one instant of it.
        let looks = (each as u64) * u64::from(served.load.streams.clamp(1, 64));
        let length = served.load.period.0 * each as u64;
        let start = first.0 + length * stretch as u64;
        let values: Vec<f64> =
            (0..looks).map(|look| sample(Nanos(start + length * look / looks), &mut waiting)).collect();
        points.push(((start + length / 2) as f64 / 1e9, robust::median(&values)?));
    }
    let line = theil_sen::line(points)?;
    Some((line.slope, line.interval))
}

/// The most waiting clips in each stretch of the load, seen whenever a clip arrives.
fn picture(served: &Served) -> Vec<u32> {
    let Some(last) = served.clips.last() else { return Vec::new() };
    let stretches = PICTURE.min(served.clips.len());
    let mut most = vec![0; stretches];
    let mut waiting = Waiting::of(served);
    for clip in &served.clips {
        let share = u128::from(clip.arrival.0) * stretches as u128 / (u128::from(last.arrival.0) + 1);
        let now = waiting.at(clip.arrival);
        if let Some(slot) = most.get_mut(share as usize) {
            *slot = now.max(*slot);
        }
    }
    most
}

/// How long a load must be offered to be worth `clips` counted clips and `periods` periods, at most `longest`.
#[must_use]
pub fn length(load: &super::Load, clips: u64, periods: u64, longest: Nanos) -> Nanos {
    let period = load.period.0.max(1) as f64;
    let for_clips = clips as f64 / f64::from(load.streams.max(1)) * period;
    let spread = if load.arrivals == ArrivalProcess::Poisson { 1.1 } else { 1.0 };
    let wanted = (for_clips * spread).max(periods as f64 * period) + period;
    Nanos((wanted as u64).min(longest.0))
}
