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
mod tests {
    use super::*;
    use crate::board::Boards;
    use crate::root::Root;
    use crate::tree::Tree;
    use std::cell::Cell;

    const MS: u64 = 1_000_000;

    fn sensors(text: &str) -> Sensors {
        Sensors::discover(&Root::stored(Tree::parse(text).unwrap()), &Boards::embedded().unwrap())
    }

    const BOARD: &str = "/sys/class/thermal/thermal_zone0/type\tcpu-thermal\n\
    /sys/class/thermal/thermal_zone0/temp\t@ramp 0:0,100000:100000\n\
    /sys/class/devfreq/gpu/cur_freq\t@series 0:500000000,3000:!EIO,4000:600000000\n";

    /// A clock that moves by `step` at every look.
    fn clock(now: &Cell<u64>, step: u64) -> impl FnMut() -> Nanos + '_ {
        move || {
            now.set(now.get() + step);
            Nanos(now.get())
        }
    }

    fn lane_of<'a>(sampling: &'a Sampling, id: &str) -> (&'a TierSeries, &'a Column) {
        let channel = sampling.latest.channels().iter().position(|channel| channel.id == id).unwrap();
        let lanes = sampling.segment.lanes.iter();
        lanes
            .flat_map(|lane| lane.columns.iter().map(move |column| (lane, column)))
            .find(|(_, column)| usize::from(column.channel) == channel)
            .unwrap()
    }

    #[test]
    fn each_tier_is_read_at_its_deadlines_with_the_values_of_that_time() {
        let now = Cell::new(0);
        let mut still = clock(&now, 0);
        let mut sampling =
            Sampling::new(sensors(BOARD), &Cadence::default(), Nanos::from_secs(60), &mut still);
        while sampling.next_deadline().unwrap() <= Nanos(5000 * MS) {
            now.set(sampling.next_deadline().unwrap().get());
            sampling.tick(&mut still);
        }
        let (medium, temperature) = lane_of(&sampling, "temp.cpu-thermal");
        let stamps_ms: Vec<u64> = medium.stamps_ns.iter().map(|stamp| stamp / MS).collect();
        assert_eq!(stamps_ms, [37, 1037, 2037, 3037, 4037]);
        for (row, ms) in stamps_ms.iter().enumerate() {
            assert_eq!(temperature.get(row), Some(*ms as i32), "at {ms} ms");
        }
        let (fast, clock) = lane_of(&sampling, "clock.gpu");
        assert_eq!(fast.stamps_ns.len(), 26);
        assert_eq!((clock.get(14), clock.get(15), clock.get(20)), (Some(500_000), None, Some(600_000)));
        assert_eq!((medium.missed, fast.missed), (0, 0));
    }

    #[test]
    fn passed_deadlines_are_counted_and_never_caught_up() {
        let now = Cell::new(0);
        let mut still = clock(&now, 0);
        let mut sampling =
            Sampling::new(sensors(BOARD), &Cadence::default(), Nanos::from_secs(60), &mut still);
        now.set(1050 * MS);
        sampling.tick(&mut still);
        sampling.tick(&mut still);
        let (fast, _) = lane_of(&sampling, "clock.gpu");
        assert_eq!((fast.stamps_ns.len(), fast.missed), (1, 5), "deadlines 0 to 800 passed unread");
        assert_eq!(sampling.next_deadline(), Some(Nanos(1200 * MS)));
    }

    #[test]
    fn a_lane_that_takes_longer_than_its_period_does_not_fill_the_time() {
        let now = Cell::new(0);
        let mut sampling =
            Sampling::new(sensors(BOARD), &Cadence::default(), Nanos::from_secs(60), &mut clock(&now, 0));
        now.set(0);
        sampling.tick(&mut clock(&now, 300 * MS));
        let (fast, _) = lane_of(&sampling, "clock.gpu");
        assert_eq!(fast.stamps_ns.len(), 1);
        assert!(fast.missed >= 1);
        assert!(sampling.next_deadline().unwrap() > Nanos(0));
    }

    #[test]
    fn a_full_segment_is_swapped_or_given_up_without_growing() {
        let now = Cell::new(0);
        let mut still = clock(&now, 0);
        let mut sampling =
            Sampling::new(sensors(BOARD), &Cadence::default(), Nanos::from_secs(1), &mut still);
        let capacity = sampling.segment.lanes[0].stamps_ns.capacity();
        for _ in 0..40 {
            now.set(sampling.next_deadline().unwrap().get());
            sampling.tick(&mut still);
        }
        assert!(sampling.segment_is_full(Nanos(now.get())));
        assert_eq!(sampling.segment.lanes[0].stamps_ns.capacity(), capacity);
        let stored = sampling.segment.lanes[0].stamps_ns.len() as u64;
        let before = sampling.segment.lanes[0].missed;
        sampling.discard_segment(Nanos(now.get()));
        assert_eq!(sampling.segment.lanes[0].missed, before + stored);
        let empty = sampling.empty_segment();
        let full = sampling.swap_segment(empty, Nanos(now.get()), Nanos(7));
        assert_eq!(full.cpu, Nanos(7));
        assert!(sampling.segment.lanes[0].stamps_ns.is_empty());
    }
}
