//! A soak as a time series: what a profile's companion message carries and what a timeline is drawn from.
//!
//! Terms: a *tick* is one period, counted from the soak's start; a *quantum* is the step to which a
//! channel's values are rounded, so that a series stays small. The full-rate record stays on the device.
//! A tick without a valid reading is absent, never carried over. Deliberately no analysis: segments and
//! throttles are the [`crate::summary::SoakSummary`]'s, repeated here so that a series stands alone.

use crate::channel::{Channel, ChannelKind};
use crate::point::PointId;
use crate::record::SoakEvidence;
use crate::sensors::{SensorRecord, TierSeries};
use crate::summary::{SoakSegment, SoakSummary, Throttle};
use crate::units::Nanos;

/// Most ticks in one series. Longer soaks get a longer period.
pub const MAX_TICKS: u64 = 14_400;

/// One soak over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The run's identifier.
    pub run_id: String,
    /// Which point.
    pub id: PointId,
    /// The soak's start, ms since the run's start.
    pub start_ms: u64,
    /// Length of a tick in ms: 1000 for soaks of up to four hours.
    pub period_ms: u32,
    /// Ticks in every column.
    pub ticks: u32,
    /// The unit of the latency columns in ns, chosen so that the smallest median has three digits or more.
    pub latency_unit_ns: u64,
    /// Median latency of the inferences that completed in each tick, in latency units.
    pub latency_p50: Vec<Option<i32>>,
    /// Largest latency in each tick, in latency units.
    pub latency_max: Vec<Option<i32>>,
    /// What the board's sensors said.
    pub channels: Vec<ChannelSeries>,
    /// Trip points of thermal channels.
    pub trips: Vec<Trip>,
    /// Segments of steady latency.
    pub segments: Vec<SoakSegment>,
    /// Throttling, in order of onset.
    pub throttles: Vec<Throttle>,
}

/// One channel over a soak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSeries {
    /// Which.
    pub channel: Channel,
    /// One value per tick in the unit of the channel's kind, a multiple of [`quantum`].
    pub values: Vec<Option<i32>>,
}

/// A temperature at which the kernel acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trip {
    /// Index into [`Series::channels`].
    pub channel: u16,
    /// The trip's type, e.g. `passive`.
    pub kind: String,
    /// m\u{b0}C.
    pub milli_celsius: i32,
}

/// The step to which values of `kind` are rounded in a series.
#[must_use]
pub const fn quantum(kind: ChannelKind) -> i32 {
    match kind {
        ChannelKind::Power => 10,
        ChannelKind::Temperature => 100,
        ChannelKind::Clock | ChannelKind::ClockFloor | ChannelKind::ClockCap => 1000,
        ChannelKind::MemoryAvailable => 1024,
        _ => 1,
    }
}

/// The series of one soak: its evidence and, where the sampler ran, the sensors' readings of that time.
#[must_use]
pub fn build(
    run_id: &str,
    evidence: &SoakEvidence,
    sensors: Option<&SensorRecord>,
    summary: Option<&SoakSummary>,
) -> Series {
    let grid = TickGrid::over(evidence.span);
    let p50_ns = grid.latencies(evidence, median);
    let max_ns = grid.latencies(evidence, |values| values.iter().copied().max());
    let unit = latency_unit(p50_ns.iter().flatten().copied().min());
    let in_units = |column: Vec<Option<u64>>| {
        let round = |ns: u64| i32::try_from((ns + unit / 2) / unit).unwrap_or(i32::MAX);
        column.into_iter().map(|value| value.map(round)).collect()
    };
    let (channels, trips) = sensors.map(|record| grid.channels(record)).unwrap_or_default();
    Series {
        run_id: run_id.to_owned(),
        id: evidence.id,
        start_ms: evidence.span[0].get() / 1_000_000,
        period_ms: (grid.period_ns / 1_000_000) as u32,
        ticks: grid.ticks as u32,
        latency_unit_ns: unit,
        latency_p50: in_units(p50_ns),
        latency_max: in_units(max_ns),
        channels,
        trips,
        segments: summary.map(|s| s.segments.clone()).unwrap_or_default(),
        throttles: summary.map(|s| s.throttles.clone()).unwrap_or_default(),
    }
}

/// The largest power of ten that leaves `smallest_ns` at least 1000 units (or 1 ns).
fn latency_unit(smallest_ns: Option<u64>) -> u64 {
    let mut unit = 1;
    while smallest_ns.is_some_and(|ns| ns / (unit * 10) >= 1000) {
        unit *= 10;
    }
    unit
}

fn median(values: &mut [u64]) -> Option<u64> {
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(lower + (upper - lower) / 2)
}

/// Ticks of equal length from the soak's start.
struct TickGrid {
    start_ns: u64,
    period_ns: u64,
    ticks: u64,
}

impl TickGrid {
    fn over(span: [Nanos; 2]) -> Self {
        let length = span[1].since(span[0]).get();
        let seconds = length.div_ceil(Nanos::PER_SECOND);
        let period_ns = seconds.div_ceil(MAX_TICKS).max(1) * Nanos::PER_SECOND;
        Self { start_ns: span[0].get(), period_ns, ticks: length.div_ceil(period_ns) }
    }

    fn tick(&self, at_ns: u64) -> Option<usize> {
        let tick = at_ns.checked_sub(self.start_ns)? / self.period_ns;
        (tick < self.ticks).then_some(tick as usize)
    }

    fn latencies(
        &self,
        evidence: &SoakEvidence,
        reduce: impl Fn(&mut [u64]) -> Option<u64>,
    ) -> Vec<Option<u64>> {
        let mut buckets = vec![Vec::new(); self.ticks as usize];
        for (&at, &latency) in evidence.completed_ns.iter().zip(&evidence.latencies_ns) {
            if let Some(tick) = self.tick(at) {
                buckets[tick].push(latency);
            }
        }
        buckets.iter_mut().map(|bucket| reduce(bucket)).collect()
    }

    fn channels(&self, record: &SensorRecord) -> (Vec<ChannelSeries>, Vec<Trip>) {
        let mut channels = Vec::new();
        let mut places = vec![None; record.channels.len()];
        for tier in &record.tiers {
            for column in &tier.columns {
                let Some(channel) = record.channels.get(usize::from(column.channel)) else { continue };
                let values = self.column(tier, channel.kind, |index| column.get(index));
                places[usize::from(column.channel)] = u16::try_from(channels.len()).ok();
                channels.push(ChannelSeries { channel: channel.clone(), values });
            }
        }
        let trip = |(channel, kind, milli_celsius): &(u16, String, i32)| {
            let channel = places.get(usize::from(*channel)).copied().flatten()?;
            Some(Trip { channel, kind: kind.clone(), milli_celsius: *milli_celsius })
        };
        (channels, record.trips.iter().filter_map(trip).collect())
    }

    fn column(
        &self,
        tier: &TierSeries,
        kind: ChannelKind,
        value: impl Fn(usize) -> Option<i32>,
    ) -> Vec<Option<i32>> {
        let mut buckets: Vec<Vec<i32>> = vec![Vec::new(); self.ticks as usize];
        for (index, &stamp) in tier.stamps_ns.iter().enumerate() {
            if let (Some(tick), Some(value)) = (self.tick(stamp), value(index)) {
                buckets[tick].push(value);
            }
        }
        buckets.iter().map(|bucket| reduce(kind, bucket)).collect()
    }
}

/// One value for the readings of a tick: the mean of what varies, the extreme of what warns, the last of
/// what counts up.
fn reduce(kind: ChannelKind, readings: &[i32]) -> Option<i32> {
    let last = *readings.last()?;
    let value = match kind {
        counter if counter.is_counter() => last,
        ChannelKind::Cooling | ChannelKind::ClockFloor => readings.iter().copied().max()?,
        ChannelKind::ClockCap | ChannelKind::MemoryAvailable => readings.iter().copied().min()?,
        ChannelKind::ThrottleFlags => readings.iter().fold(0, |flags, value| flags | value),
        _ => {
            let sum: i64 = readings.iter().map(|&value| i64::from(value)).sum();
            sum.div_euclid(readings.len() as i64) as i32
        }
    };
    let step = i64::from(quantum(kind));
    let rounded = (i64::from(value) + step / 2).div_euclid(step) * step;
    Some(i32::try_from(rounded).unwrap_or(value - value % step as i32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Role;
    use crate::point::Shape;
    use crate::record::PointOutcome;
    use crate::sensors::Column;

    fn evidence(completed_ms: &[u64], latencies_ns: &[u64], length_s: u64) -> SoakEvidence {
        let start = Nanos::from_secs(100);
        SoakEvidence {
            id: PointId { variant: 0, shape: Shape::new(1, 16).unwrap() },
            outcome: PointOutcome::Measured,
            aborted: None,
            gate: None,
            idle_before: None,
            span: [start, Nanos(start.get() + length_s * Nanos::PER_SECOND)],
            idle_after: None,
            completed_ns: completed_ms.iter().map(|ms| start.get() + ms * 1_000_000).collect(),
            latencies_ns: latencies_ns.to_vec(),
            truncated: false,
        }
    }

    fn sensors(kind: ChannelKind, readings: &[(u64, Option<i32>)]) -> SensorRecord {
        let mut column = Column::default();
        readings.iter().for_each(|(_, value)| column.push(*value));
        SensorRecord {
            channels: vec![Channel { id: "x.y".into(), kind, role: Role::Context }],
            tiers: vec![TierSeries {
                stamps_ns: readings.iter().map(|(ms, _)| 100_000_000_000 + ms * 1_000_000).collect(),
                columns: vec![column],
                ..TierSeries::default()
            }],
            trips: vec![(0, "passive".into(), 85_000), (7, "hot".into(), 99_000)],
            ..SensorRecord::default()
        }
    }

    #[test]
    fn latencies_fall_into_the_second_in_which_they_completed() {
        let evidence = evidence(
            &[100, 200, 999, 1000, 3500],
            &[3_000_000, 1_000_000, 2_000_000, 9_000_000, 5_000_000],
            4,
        );
        let series = build("r", &evidence, None, None);
        assert_eq!((series.ticks, series.period_ms, series.start_ms), (4, 1000, 100_000));
        assert_eq!(series.latency_unit_ns, 1000);
        assert_eq!(series.latency_p50, [Some(2000), Some(9000), None, Some(5000)]);
        assert_eq!(series.latency_max, [Some(3000), Some(9000), None, Some(5000)]);
    }

    #[test]
    fn the_latency_unit_keeps_four_digits_of_the_smallest_median() {
        for (smallest, unit) in
            [(0, 1), (999, 1), (9_999, 1), (10_000, 10), (2_000_000, 1000), (20_000_000, 10_000)]
        {
            assert_eq!(latency_unit(Some(smallest)), unit, "{smallest} ns");
        }
    }

    #[test]
    fn failed_reads_and_silent_seconds_are_absent() {
        let record =
            sensors(ChannelKind::Power, &[(0, Some(5004)), (500, Some(5008)), (1500, None), (3000, Some(7))]);
        let series = build("r", &evidence(&[], &[], 4), Some(&record), None);
        assert_eq!(series.channels[0].values, [Some(5010), None, None, Some(10)]);
    }

    #[test]
    fn readings_outside_the_soak_do_not_count() {
        let mut record = sensors(ChannelKind::Cooling, &[(0, Some(1)), (900, Some(3)), (1000, Some(9))]);
        record.tiers[0].stamps_ns[0] = 99_999_999_999;
        let series = build("r", &evidence(&[], &[], 1), Some(&record), None);
        assert_eq!(series.channels[0].values, [Some(3)]);
    }

    #[test]
    fn each_kind_is_reduced_by_what_it_means() {
        for (kind, readings, expected) in [
            (ChannelKind::Temperature, [40_000, 40_130], 40_100),
            (ChannelKind::Cooling, [2, 1], 2),
            (ChannelKind::OverCurrent, [5, 6], 6),
            (ChannelKind::ThrottleFlags, [1, 4], 5),
            (ChannelKind::ClockCap, [1_510_000, 1_190_400], 1_190_000),
            (ChannelKind::Temperature, [-1_040, -1_060], -1_000),
        ] {
            assert_eq!(reduce(kind, &readings), Some(expected), "{kind:?}");
            assert_eq!(reduce(kind, &[]), None);
        }
    }

    #[test]
    fn only_trips_of_recorded_channels_are_kept() {
        let record = sensors(ChannelKind::Temperature, &[(0, Some(40_000))]);
        let series = build("r", &evidence(&[], &[], 1), Some(&record), None);
        assert_eq!(series.trips, [Trip { channel: 0, kind: "passive".into(), milli_celsius: 85_000 }]);
    }

    #[test]
    fn a_week_still_fits_the_bound_on_ticks() {
        let series = build("r", &evidence(&[], &[], 7 * 86_400), None, None);
        assert!(u64::from(series.ticks) <= MAX_TICKS);
        assert!(u64::from(series.ticks) * u64::from(series.period_ms) >= 7 * 86_400_000);
    }
}
