//! Reading the sensors on schedule: which tier is due, what was missed, where readings go.
//!
//! Pure scheduling over a clock that the caller owns: the sampler thread drives it with the monotonic
//! clock, a replay with a virtual one. A *lane* is one tier with its deadlines; a *segment* is the
//! readings of all lanes over some seconds, in columns that were allocated before. A deadline that passed
//! unread is counted and never caught up.

use crate::cadence;
use crate::latest::Latest;
use crate::probe::{Fault, Reading, Tier, read_plausible};
use crate::registry::Sensors;
use clipmark_profile::sensors::{Column, TierSeries};
use clipmark_profile::units::Nanos;
use std::sync::Arc;

/// Rows that a segment takes beyond its span's worth, for lanes that ran early or late.
const SPARE_ROWS: u64 = 4;
/// Distance between the first deadlines of lanes, so that they do not all fall together.
const LANE_OFFSET: u64 = 37_000_000;

/// What shapes the schedule.
#[derive(Debug, Clone, Default)]
pub struct Cadence {
    /// Interval between the inferences of a paced load.
    pub load_period: Option<Nanos>,
    /// Whether to read measured CPU clocks, which costs the measured CPUs time.
    pub measured_clocks: bool,
    /// The rails' rate, in place of the board file's.
    pub rails_hz: Option<f64>,
}

/// Readings of all lanes over one span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// One series per lane.
    pub(crate) lanes: Vec<TierSeries>,
    /// CPU time of the sampling thread so far.
    pub(crate) cpu: Nanos,
}

impl Segment {
    /// Removes every reading and keeps the memory.
    pub(crate) fn clear(&mut self) {
        for lane in &mut self.lanes {
            lane.stamps_ns.clear();
            lane.read_ns.clear();
            lane.missed = 0;
            lane.columns.iter_mut().for_each(Column::clear);
        }
    }
}

/// One tier with its schedule.
#[derive(Debug)]
struct Lane {
    period: Nanos,
    next: Nanos,
    capacity: usize,
    /// Indices into the sensors' probes.
    probes: Vec<usize>,
    /// Indices of the channels, in the order of the probes' readings.
    channels: Vec<u16>,
    readings: Vec<Reading>,
}

/// The schedule over one board's sensors.
#[derive(Debug)]
pub(crate) struct Sampling {
    sensors: Sensors,
    lanes: Vec<Lane>,
    segment: Segment,
    segment_span: Nanos,
    segment_started: Nanos,
    latest: Arc<Latest>,
    /// The last fault per channel.
    faults: Vec<Option<Fault>>,
}

impl Sampling {
    /// Reads every channel once, to learn the cost, and lays the schedule from `clock`'s present on.
    pub(crate) fn new(
        mut sensors: Sensors,
        cadence: &Cadence,
        segment_span: Nanos,
        clock: &mut impl FnMut() -> Nanos,
    ) -> Self {
        let rails_hz = cadence.rails_hz.unwrap_or(sensors.board.power.rate_hz);
        let channels: Vec<_> = sensors.channels().map(|sensed| sensed.channel.clone()).collect();
        let mut faults = vec![None; channels.len()];
        let latest = Arc::new(Latest::new(channels));
        let mut lanes = Vec::new();
        for tier in Tier::ALL {
            if tier == Tier::Rare && !cadence.measured_clocks {
                continue;
            }
            let Some(mut lane) = Lane::new(&sensors, tier) else { continue };
            let (stamp, cost) = lane.read(&mut sensors, clock);
            lane.publish(stamp, &latest, &mut faults);
            lane.period = cadence::period(tier, rails_hz, cost, cadence.load_period);
            lane.capacity = (segment_span.get() / lane.period.get().max(1) + SPARE_ROWS) as usize;
            lanes.push(lane);
        }
        let now = clock();
        for (lane, offset) in lanes.iter_mut().zip(0u64..) {
            lane.next = Nanos(now.get() + offset * LANE_OFFSET);
        }
        let segment = Segment { lanes: lanes.iter().map(Lane::series).collect(), cpu: Nanos(0) };
        Self { sensors, lanes, segment, segment_span, segment_started: now, latest, faults }
    }

    pub(crate) fn latest(&self) -> &Arc<Latest> {
        &self.latest
    }

    pub(crate) const fn sensors(&self) -> &Sensors {
        &self.sensors
    }

    pub(crate) fn sensors_mut(&mut self) -> &mut Sensors {
        &mut self.sensors
    }

    pub(crate) fn faults(&self) -> &[Option<Fault>] {
        &self.faults
    }

    /// An empty segment for these lanes.
    pub(crate) fn empty_segment(&self) -> Segment {
        Segment { lanes: self.lanes.iter().map(Lane::series).collect(), cpu: Nanos(0) }
    }

    /// The earliest deadline; `None` when there is nothing to read.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.lanes.iter().map(|lane| lane.next).min()
    }

    /// Reads every lane that is due. Does not allocate.
    pub(crate) fn tick(&mut self, clock: &mut impl FnMut() -> Nanos) {
        for (lane, series) in self.lanes.iter_mut().zip(&mut self.segment.lanes) {
            let started = clock();
            if lane.next > started {
                continue;
            }
            series.missed += lane.skip_passed(started);
            let (stamp, cost) = lane.read(&mut self.sensors, clock);
            lane.publish(stamp, &self.latest, &mut self.faults);
            lane.store(series, stamp, cost);
            lane.next = Nanos(lane.next.get() + lane.period.get());
            let ended = clock();
            if lane.next <= ended {
                series.missed += 1 + lane.skip_passed(ended);
                lane.next = Nanos(lane.next.get() + lane.period.get());
            }
        }
    }

    /// Whether the segment is to be handed over.
    pub(crate) fn segment_is_full(&self, now: Nanos) -> bool {
        let full = self.lanes.iter().zip(&self.segment.lanes);
        now.since(self.segment_started) >= self.segment_span
            || full.into_iter().any(|(lane, series)| series.stamps_ns.len() >= lane.capacity)
    }

    /// Takes the segment and goes on with `empty`.
    pub(crate) fn swap_segment(&mut self, empty: Segment, now: Nanos, cpu: Nanos) -> Segment {
        self.segment_started = now;
        let mut full = std::mem::replace(&mut self.segment, empty);
        full.cpu = cpu;
        full
    }

    /// Gives the segment up because nobody takes it: its readings count as missed.
    pub(crate) fn discard_segment(&mut self, now: Nanos) {
        self.segment_started = now;
        for series in &mut self.segment.lanes {
            let lost = series.missed + series.stamps_ns.len() as u64;
            series.stamps_ns.clear();
            series.read_ns.clear();
            series.columns.iter_mut().for_each(Column::clear);
            series.missed = lost;
        }
    }
}

impl Lane {
    /// The lane of `tier`, if the board has any channel in it.
    fn new(sensors: &Sensors, tier: Tier) -> Option<Self> {
        let mut lane = Self {
            period: Nanos(0),
            next: Nanos(0),
            capacity: 0,
            probes: Vec::new(),
            channels: Vec::new(),
            readings: Vec::new(),
        };
        let mut first = 0u16;
        for (index, probe) in sensors.probes.iter().enumerate() {
            let count = probe.channels().len() as u16;
            if probe.tier() == tier {
                lane.probes.push(index);
                lane.channels.extend(first..first + count);
            }
            first += count;
        }
        lane.readings.resize(lane.channels.len(), Err(Fault::Unparsable));
        (!lane.channels.is_empty()).then_some(lane)
    }

    /// Reads every probe of the lane; the midpoint of the reads and what they took.
    fn read(&mut self, sensors: &mut Sensors, clock: &mut impl FnMut() -> Nanos) -> (Nanos, Nanos) {
        let started = clock();
        sensors.root.set_time(started);
        let mut rest = self.readings.as_mut_slice();
        for index in &self.probes {
            let Some(probe) = sensors.probes.get_mut(*index) else { continue };
            let (own, others) = rest.split_at_mut(probe.channels().len());
            read_plausible(probe.as_mut(), started, own);
            rest = others;
        }
        let cost = clock().since(started);
        (Nanos(started.get() + cost.get() / 2), cost)
    }

    fn publish(&self, stamp: Nanos, latest: &Latest, faults: &mut [Option<Fault>]) {
        for (channel, reading) in self.channels.iter().zip(&self.readings) {
            latest.put(*channel, stamp, *reading);
            if let (Err(fault), Some(slot)) = (reading, faults.get_mut(usize::from(*channel))) {
                *slot = Some(*fault);
            }
        }
    }

    /// Appends the readings as one row. A row beyond the capacity would allocate and is not stored.
    fn store(&self, series: &mut TierSeries, stamp: Nanos, cost: Nanos) {
        if series.stamps_ns.len() >= series.stamps_ns.capacity() {
            series.missed += 1;
            return;
        }
        series.stamps_ns.push(stamp.get());
        series.read_ns.push(u32::try_from(cost.get()).unwrap_or(u32::MAX));
        for (column, reading) in series.columns.iter_mut().zip(&self.readings) {
            column.push(reading.ok());
        }
    }

    /// Moves the deadline past every one that is more than a period old; how many those are.
    const fn skip_passed(&mut self, now: Nanos) -> u64 {
        let period = if self.period.get() == 0 { 1 } else { self.period.get() };
        let skipped = now.since(self.next).get() / period;
        self.next = Nanos(self.next.get() + skipped * period);
        skipped
    }

    fn series(&self) -> TierSeries {
        TierSeries {
            period: self.period,
            stamps_ns: Vec::with_capacity(self.capacity),
            read_ns: Vec::with_capacity(self.capacity),
            missed: 0,
            columns: self.channels.iter().map(|at| Column::with_capacity(*at, self.capacity)).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
