//! Soaks: segments of one latency level, throttling, and the state that a board sustains.
//!
//! Terms: a *window* is one second (longer for slow models, so that it holds several inferences); the series
//! is the windows' median log latency. *Burst* is the first steady segment, *sustained* the final stationary
//! state: the last segment, or, where throttling comes and goes, all of that oscillation.

use super::energy::{self, FrameWindow, PowerSeries};
use super::throttle::{self, MIN_SLOWDOWN};
use crate::channel::ChannelKind;
use crate::record::{PointOutcome, Record, SoakEvidence};
use crate::sensors::SensorRecord;
use crate::stats::quantile::{self, Quantile};
use crate::stats::{changepoint, robust};
use crate::summary::{SoakSegment, SoakSummary, Throttle, ThrottleCause};
use crate::units::Nanos;

/// Shortest steady segment in windows; a shorter excursion is an outlier.
const MIN_SEGMENT: usize = 5;

/// A segment must last this long to stand for the burst or the sustained state, ms.
const MIN_STATE_MS: u64 = 10_000;

/// Standard deviation of log latency that is assumed at least: timers and schedulers are no better.
const SIGMA_FLOOR: f64 = 0.001;

/// Inferences that a window should hold.
const PER_WINDOW: u64 = 5;

/// Recovery is a level within this ratio of the burst level.
const RECOVERED: f64 = 1.0 + (MIN_SLOWDOWN - 1.0) / 2.0;

/// Activity above this share of the full scale is bandwidth near saturation.
const NEAR_SATURATION: f64 = 0.9;

/// One summary per soak of the record, in its order.
#[must_use]
pub fn of_record(record: &Record) -> Vec<SoakSummary> {
    record.soaks.iter().map(|soak| summarize(soak, record.sensors.as_ref())).collect()
}

/// The findings of one soak.
#[must_use]
pub fn summarize(soak: &SoakEvidence, sensors: Option<&SensorRecord>) -> SoakSummary {
    let windows = Windows::of(soak);
    let segments = windows.segments(soak);
    let mut remarks = Vec::new();
    let throttles = find_throttles(soak, &segments, sensors, &mut remarks);
    let oscillation_period_ms = oscillation_period_ms(&throttles);
    let burst = burst(&segments, &throttles);
    let sustained =
        sustained_span(&segments, &throttles, oscillation_period_ms).map(|span| state(soak, span));
    let burst_rate = burst.map(|segment| segment.frames_per_s);
    let sustained_rate = sustained.as_ref().map(|state| state.frames_per_s);
    if soak.truncated {
        remarks.push("the full-rate record reached its bound: later inferences are missing from it".into());
    }
    remarks.extend(sensors.and_then(|sensors| bandwidth_remark(sensors, soak)));
    SoakSummary {
        id: soak.id,
        duration_ms: millis(soak.span[1].since(soak.span[0])),
        inferences: soak.completed_ns.len() as u64,
        aborted: soak.aborted.clone(),
        failure: match &soak.outcome {
            PointOutcome::Failed(failure) => Some(failure.clone()),
            _ => None,
        },
        gate: soak.gate.clone(),
        time_to_throttle_ms: throttles.first().map(|throttle| throttle.onset_ms),
        burst_frames_per_s: burst_rate,
        sustained_frames_per_s: sustained_rate,
        sustained_ratio: burst_rate.zip(sustained_rate).map(|(burst, sustained)| sustained / burst),
        sustained_p99_ns: sustained.as_ref().and_then(|state| state.p99_ns),
        oscillation_period_ms,
        energy: energy_over(soak, sensors, whole(soak)),
        sustained_energy: sustained.as_ref().and_then(|state| energy_over(soak, sensors, state.clone())),
        peak_temperatures: sensors.map(|sensors| peak_temperatures(sensors, soak)).unwrap_or_default(),
        segments,
        throttles,
        remarks,
    }
}

fn millis(span: Nanos) -> u64 {
    span.get() / 1_000_000
}

/// Median log latency per window, windows without an inference left out.
struct Windows {
    period_ns: u64,
    /// Window number, counted from the soak's start, per value.
    numbers: Vec<u64>,
    log_latency: Vec<f64>,
}

impl Windows {
    fn of(soak: &SoakEvidence) -> Self {
        let mut sorted = soak.latencies_ns.clone();
        sorted.sort_unstable();
        let median = quantile::median(&sorted).unwrap_or(0.0) as u64;
        let seconds = (PER_WINDOW * median).div_ceil(Nanos::PER_SECOND).max(1);
        let mut windows =
            Self { period_ns: seconds * Nanos::PER_SECOND, numbers: Vec::new(), log_latency: Vec::new() };
        let mut open: Vec<f64> = Vec::new();
        let mut number = 0;
        for (&at, &latency) in soak.completed_ns.iter().zip(&soak.latencies_ns) {
            let own = at.saturating_sub(soak.span[0].get()) / windows.period_ns;
            if own != number {
                windows.close(number, &mut open);
                number = own;
            }
            open.push((latency.max(1) as f64).ln());
        }
        windows.close(number, &mut open);
        windows
    }

    fn close(&mut self, number: u64, open: &mut Vec<f64>) {
        if let Some(median) = robust::median(open) {
            self.numbers.push(number);
            self.log_latency.push(median);
        }
        open.clear();
    }

    /// Segments between the changes of level.
    fn segments(&self, soak: &SoakEvidence) -> Vec<SoakSegment> {
        let series = &self.log_latency;
        if series.is_empty() {
            return Vec::new();
        }
        let variance = robust::long_run_variance_between_steps(series).unwrap_or(0.0);
        let penalty = changepoint::throttle_penalty(variance.max(SIGMA_FLOOR * SIGMA_FLOOR), series.len());
        let mut starts = vec![0];
        starts.extend(changepoint::mean(series, penalty, MIN_SEGMENT));
        starts.push(series.len());
        let end_ms = millis(soak.span[1].since(soak.span[0]));
        let at_ms = |index: usize| match self.numbers.get(index) {
            Some(_) if index == 0 => 0,
            Some(&number) => number * self.period_ns / 1_000_000,
            None => end_ms,
        };
        let span = |pair: &[usize]| [at_ms(pair[0]), at_ms(pair[1])];
        starts.windows(2).map(|pair| state(soak, span(pair))).collect()
    }
}

/// What the inferences that completed in `span_ms` show.
fn state(soak: &SoakEvidence, span_ms: [u64; 2]) -> SoakSegment {
    let start = soak.span[0].get();
    let [from, to] = span_ms.map(|ms| start + ms * 1_000_000);
    let low = soak.completed_ns.partition_point(|&at| at < from);
    let high = soak.completed_ns.partition_point(|&at| at < to).max(low);
    let mut sorted = soak.latencies_ns[low..high].to_vec();
    sorted.sort_unstable();
    let seconds = (to.saturating_sub(from)) as f64 / 1e9;
    SoakSegment {
        start_ms: span_ms[0],
        end_ms: span_ms[1],
        p50_ns: quantile::median(&sorted).unwrap_or(0.0),
        p99_ns: quantile::reference(&sorted, Quantile::P99).filter(|_| sorted.len() >= 99),
        frames_per_s: (high - low) as f64 * soak.id.shape.frames() as f64 / seconds.max(1e-9),
    }
}

fn whole(soak: &SoakEvidence) -> SoakSegment {
    state(soak, [0, millis(soak.span[1].since(soak.span[0]))])
}

/// Walks the segments: a level above the lowest so far opens a throttling, a return to it closes it.
fn find_throttles(
    soak: &SoakEvidence,
    segments: &[SoakSegment],
    sensors: Option<&SensorRecord>,
    remarks: &mut Vec<String>,
) -> Vec<Throttle> {
    let mut throttles: Vec<Throttle> = Vec::new();
    let Some(first) = segments.first() else { return throttles };
    let mut level = first.p50_ns;
    let mut steady_from_ms = first.start_ms;
    for pair in segments.windows(2) {
        let (before, segment) = (&pair[0], &pair[1]);
        let ratio = segment.p50_ns / level;
        let open = throttles.last_mut().filter(|throttle| throttle.recovery_ms.is_none());
        match open {
            Some(throttle) if ratio < RECOVERED => {
                throttle.recovery_ms = Some(segment.start_ms);
                steady_from_ms = segment.start_ms;
            }
            Some(throttle) => throttle.slowdown = throttle.slowdown.max(ratio),
            None if ratio >= MIN_SLOWDOWN && segment.p50_ns > before.p50_ns => {
                match explain(soak, sensors, steady_from_ms, segment, ratio) {
                    Ok(throttle) => throttles.push(throttle),
                    Err(remark) => remarks.push(remark),
                }
            }
            None => {}
        }
        level = level.min(segment.p50_ns);
    }
    throttles
}

/// The throttling that began with `segment`, or why the slowdown is none.
fn explain(
    soak: &SoakEvidence,
    sensors: Option<&SensorRecord>,
    steady_from_ms: u64,
    segment: &SoakSegment,
    slowdown: f64,
) -> Result<Throttle, String> {
    let absolute = |ms: u64| soak.span[0].get() + ms * 1_000_000;
    let found = sensors.and_then(|sensors| {
        let [from, onset, until] = [steady_from_ms, segment.start_ms, segment.end_ms].map(absolute);
        throttle::corroborate(sensors, from, onset, until)
    });
    let (cause, evidence) = match found {
        Some(found) => (found.cause, found.evidence),
        None if sensors.is_some_and(throttle::is_observable) => {
            return Err(format!(
                "latency rose by {:.0} % at {} s, and {}: not called throttling; look for other work on the board",
                (slowdown - 1.0) * 1e2,
                segment.start_ms / 1000,
                sensors.map(throttle::quiet_channels).unwrap_or_default(),
            ));
        }
        None => {
            (ThrottleCause::Unexplained, vec!["no channel that would show throttling can be read".into()])
        }
    };
    Ok(Throttle { onset_ms: segment.start_ms, recovery_ms: None, cause, slowdown, evidence })
}

/// The first segment that is long enough and not throttled; a warm-up before it is passed over.
fn burst<'a>(segments: &'a [SoakSegment], throttles: &[Throttle]) -> Option<&'a SoakSegment> {
    let onset = throttles.first().map_or(u64::MAX, |throttle| throttle.onset_ms);
    let cool = segments.iter().filter(|segment| segment.start_ms < onset);
    let fastest = cool.clone().map(|segment| segment.p50_ns).fold(f64::INFINITY, f64::min);
    let steady = |segment: &&SoakSegment| {
        segment.end_ms - segment.start_ms >= MIN_STATE_MS && segment.p50_ns <= fastest * RECOVERED
    };
    cool.clone().find(steady).or_else(|| cool.min_by(|a, b| a.p50_ns.total_cmp(&b.p50_ns)))
}

/// The final stationary state, ms since the soak's start.
fn sustained_span(
    segments: &[SoakSegment],
    throttles: &[Throttle],
    oscillation_period_ms: Option<u64>,
) -> Option<[u64; 2]> {
    let end_ms = segments.last()?.end_ms;
    if oscillation_period_ms.is_some() {
        return Some([throttles.first()?.onset_ms, end_ms]);
    }
    let long = segments.iter().rev().find(|segment| segment.end_ms - segment.start_ms >= MIN_STATE_MS);
    let start_ms = long.or(segments.last())?.start_ms;
    Some([start_ms, end_ms])
}

/// The period of a throttling that comes and goes: at least three onsets at regular distances.
fn oscillation_period_ms(throttles: &[Throttle]) -> Option<u64> {
    if throttles.len() < 3 {
        return None;
    }
    let gaps: Vec<f64> =
        throttles.windows(2).map(|pair| (pair[1].onset_ms - pair[0].onset_ms) as f64).collect();
    let median = robust::median(&gaps)?;
    let regular = gaps.iter().filter(|&&gap| (gap / median - 1.0).abs() < 0.35).count();
    (regular * 10 >= gaps.len() * 7).then_some(median as u64)
}

fn energy_over(
    soak: &SoakEvidence,
    sensors: Option<&SensorRecord>,
    segment: SoakSegment,
) -> Option<crate::summary::EnergySummary> {
    let power = PowerSeries::of(sensors?)?;
    let start = soak.span[0].get();
    let window = FrameWindow {
        from: Nanos(start + segment.start_ms * 1_000_000),
        to: Nanos(start + segment.end_ms * 1_000_000),
        frames_per_s: segment.frames_per_s,
    };
    energy::over(&power, &[window], energy::idle_of_soak_mw(&power, soak))
}

/// Valid readings of `kind` during the soak, per channel id.
fn readings<'a>(
    sensors: &'a SensorRecord,
    soak: &'a SoakEvidence,
    kind: ChannelKind,
) -> impl Iterator<Item = (&'a str, Vec<i32>)> {
    let columns = sensors.tiers.iter().flat_map(|tier| tier.columns.iter().map(move |column| (tier, column)));
    columns.filter_map(move |(tier, column)| {
        let channel = sensors.channels.get(usize::from(column.channel))?;
        let within = |stamp: &u64| (soak.span[0].get()..=soak.span[1].get()).contains(stamp);
        let stamps = tier.stamps_ns.iter().enumerate().filter(|(_, stamp)| within(stamp));
        (channel.kind == kind)
            .then(|| (channel.id.as_str(), stamps.filter_map(|(index, _)| column.get(index)).collect()))
    })
}

fn peak_temperatures(sensors: &SensorRecord, soak: &SoakEvidence) -> Vec<(String, i32)> {
    let zones = readings(sensors, soak, ChannelKind::Temperature);
    zones.filter_map(|(id, values)| Some((id.to_owned(), values.into_iter().max()?))).collect()
}

fn bandwidth_remark(sensors: &SensorRecord, soak: &SoakEvidence) -> Option<String> {
    let full_scale = f64::from(sensors.bandwidth_full_scale?);
    let (id, values) = readings(sensors, soak, ChannelKind::BandwidthActivity).next()?;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len().max(1) as f64;
    (mean >= NEAR_SATURATION * full_scale).then(|| {
        format!(
            "memory bandwidth near saturation: {id} was at {:.0} % of its full scale",
            mean / full_scale * 1e2
        )
    })
}
