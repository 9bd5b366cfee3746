//! Energy of measured windows, from the power channels of the sensor record.
//!
//! E = sum over neighbouring readings of (P_k + P_k+1) / 2 * (t_k+1 - t_k), with P interpolated at the
//! window's edges and t the true midpoints of the reads: the nominal interval is never used. *Gross* is the
//! whole board, *net* is above the idle baseline. Energy cannot be given to one inference: a rail refreshes
//! a few times a second, so windows are long and their edges trimmed, and energy per frame is the window's
//! mean power over its frame rate.

use crate::channel::{ChannelKind, Role};
use crate::record::{Chunk, PointEvidence, Record, SoakEvidence};
use crate::sensors::SensorRecord;
use crate::stats::interval;
use crate::summary::{EnergySummary, Interval};
use crate::units::Nanos;

/// Shortest window that energy is taken over.
pub const MIN_WINDOW: Nanos = Nanos::from_secs(10);

/// What is cut off a window at each edge: the rails' averaging still shows the time before.
pub const TRIM: Nanos = Nanos(1_500_000_000);

/// Readings further apart than this many nominal periods leave a gap that is not bridged.
const MAX_GAP_PERIODS: u64 = 10;

/// Total power of the board over time: strictly increasing stamps, valid readings only.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PowerSeries {
    /// Read midpoints, ns since the run's start.
    pub stamps_ns: Vec<u64>,
    /// Total power, mW.
    pub milliwatts: Vec<f64>,
    /// Longest bridged distance between two readings, ns.
    pub max_gap_ns: u64,
}

/// What a window held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowEnergy {
    /// Integral of power over the covered time, mJ.
    pub millijoules: f64,
    /// Time covered by readings, ns; shorter than the window where there were gaps.
    pub covered_ns: u64,
}

impl WindowEnergy {
    /// Mean power over the covered time, mW.
    #[must_use]
    pub fn mean_mw(&self) -> Option<f64> {
        (self.covered_ns > 0).then(|| self.millijoules / (self.covered_ns as f64 / 1e9))
    }
}

impl PowerSeries {
    /// The total power that `sensors` recorded: the sum of the rails that count towards the total, at ticks
    /// where all of them were read. `None` when the board has no such rail.
    #[must_use]
    pub fn of(sensors: &SensorRecord) -> Option<Self> {
        let rails: Vec<_> = sensors
            .with_role(Role::TotalPower)
            .filter(|&rail| sensors.channels[usize::from(rail)].kind == ChannelKind::Power)
            .map(|rail| sensors.series(rail))
            .collect::<Option<_>>()?;
        let (tier, _) = *rails.first()?;
        let mut series = Self { max_gap_ns: tier.period.get() * MAX_GAP_PERIODS, ..Self::default() };
        for (index, &stamp) in tier.stamps_ns.iter().enumerate() {
            let total: Option<i64> = rails.iter().map(|(_, column)| column.get(index).map(i64::from)).sum();
            if let Some(total) = total {
                series.push(stamp, total as f64);
            }
        }
        (!series.stamps_ns.is_empty()).then_some(series)
    }

    /// Appends a reading; one that is not later than the last is a duplicate and is dropped.
    pub fn push(&mut self, stamp_ns: u64, milliwatts: f64) {
        if self.stamps_ns.last().is_none_or(|&last| stamp_ns > last) {
            self.stamps_ns.push(stamp_ns);
            self.milliwatts.push(milliwatts);
        }
    }

    /// Energy between two instants. Time further than the gap from any reading is not covered.
    #[must_use]
    pub fn energy(&self, from: Nanos, to: Nanos) -> WindowEnergy {
        let mut window = WindowEnergy { millijoules: 0.0, covered_ns: 0 };
        let first = self.stamps_ns.partition_point(|&stamp| stamp <= from.get()).saturating_sub(1);
        for index in first..self.stamps_ns.len().saturating_sub(1) {
            let (start, end) = (self.stamps_ns[index], self.stamps_ns[index + 1]);
            if start >= to.get() {
                break;
            }
            let (low, high) = (start.max(from.get()), end.min(to.get()));
            if low >= high || end - start > self.max_gap_ns {
                continue;
            }
            let at = |stamp: u64| {
                let share = (stamp - start) as f64 / (end - start) as f64;
                self.milliwatts[index] + share * (self.milliwatts[index + 1] - self.milliwatts[index])
            };
            window.millijoules += (at(low) + at(high)) / 2.0 * (high - low) as f64 / 1e9;
            window.covered_ns += high - low;
        }
        window
    }

    /// Readings between two instants.
    fn readings(&self, from: Nanos, to: Nanos) -> &[f64] {
        let low = self.stamps_ns.partition_point(|&stamp| stamp < from.get());
        let high = self.stamps_ns.partition_point(|&stamp| stamp < to.get());
        &self.milliwatts[low..high.max(low)]
    }
}

/// A window with the rate at which frames were completed in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameWindow {
    /// Start, untrimmed.
    pub from: Nanos,
    /// End, untrimmed.
    pub to: Nanos,
    /// Frames a second over the untrimmed window.
    pub frames_per_s: f64,
}

/// Energy over `windows` that are long enough; `None` when none is, or none is half covered by readings.
#[must_use]
pub fn over(power: &PowerSeries, windows: &[FrameWindow], idle_mw: Option<f64>) -> Option<EnergySummary> {
    let mut total = WindowEnergy { millijoules: 0.0, covered_ns: 0 };
    let mut frames = 0.0;
    let mut per_frame = Vec::new();
    for window in windows.iter().filter(|window| window.to.since(window.from) >= MIN_WINDOW) {
        let (from, to) = (Nanos(window.from.get() + TRIM.get()), Nanos(window.to.get() - TRIM.get()));
        let energy = power.energy(from, to);
        if energy.covered_ns * 2 < to.since(from).get() || window.frames_per_s <= 0.0 {
            continue;
        }
        total.millijoules += energy.millijoules;
        total.covered_ns += energy.covered_ns;
        frames += window.frames_per_s * energy.covered_ns as f64 / 1e9;
        per_frame.extend(power.readings(from, to).iter().map(|mw| mw * 1e3 / window.frames_per_s));
    }
    let mean_power_mw = total.mean_mw()?;
    let gross = total.millijoules * 1e3 / frames;
    // The readings give the width, the integral gives the centre.
    let spread = interval::of_mean(&per_frame);
    let centre = per_frame.iter().sum::<f64>() / per_frame.len().max(1) as f64;
    let moved = |end: Option<f64>| end.map(|end| end - centre + gross);
    Some(EnergySummary {
        mean_power_mw,
        gross_per_frame_uj: gross,
        net_per_frame_uj: idle_mw.map(|idle| gross * (mean_power_mw - idle) / mean_power_mw),
        gross_ci_uj: Interval { lower: moved(spread.lower), upper: moved(spread.upper) },
        window_ms: total.covered_ns / 1_000_000,
    })
}

/// Energy of one point over its measured chunks; `None` without a total power or a window long enough.
#[must_use]
pub fn of_point(record: &Record, point: &PointEvidence) -> Option<EnergySummary> {
    let power = PowerSeries::of(record.sensors.as_ref()?)?;
    let window = |chunk: &Chunk| {
        let seconds = chunk.ended.since(chunk.started).as_secs_f64();
        let frames = chunk.latencies_ns.len() as f64 * point.id.shape.frames() as f64;
        FrameWindow { from: chunk.started, to: chunk.ended, frames_per_s: frames / seconds.max(1e-9) }
    };
    let windows: Vec<_> = point.chunks.iter().map(window).collect();
    over(&power, &windows, idle_power_mw(record))
}

/// Idle power of the board in mW: the mean over the idle baselines of its soaks; `None` without any.
#[must_use]
pub fn idle_power_mw(record: &Record) -> Option<f64> {
    let power = PowerSeries::of(record.sensors.as_ref()?)?;
    mean_over(&power, record.soaks.iter().flat_map(idle_spans))
}

/// Idle power around one soak, in mW.
#[must_use]
pub fn idle_of_soak_mw(power: &PowerSeries, soak: &SoakEvidence) -> Option<f64> {
    mean_over(power, idle_spans(soak))
}

fn idle_spans(soak: &SoakEvidence) -> impl Iterator<Item = [Nanos; 2]> + '_ {
    [soak.idle_before, soak.idle_after].into_iter().flatten()
}

fn mean_over(power: &PowerSeries, spans: impl Iterator<Item = [Nanos; 2]>) -> Option<f64> {
    let mut total = WindowEnergy { millijoules: 0.0, covered_ns: 0 };
    for [from, to] in spans {
        // A baseline too short to trim still tells more than none.
        let trim = if to.since(from).get() > 4 * TRIM.get() { TRIM.get() } else { 0 };
        let energy = power.energy(Nanos(from.get() + trim), to);
        total.millijoules += energy.millijoules;
        total.covered_ns += energy.covered_ns;
    }
    total.mean_mw()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(u64, f64)]) -> PowerSeries {
        let mut series = PowerSeries { max_gap_ns: 1_000_000_000, ..PowerSeries::default() };
        for &(ms, mw) in points {
            series.push(ms * 1_000_000, mw);
        }
        series
    }

    fn ms(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    #[test]
    fn a_ramp_is_integrated_exactly_with_interpolated_edges() {
        let ramp = series(&[(0, 0.0), (400, 400.0), (1000, 1000.0)]);
        let energy = ramp.energy(ms(250), ms(750));
        assert!((energy.millijoules - 250.0).abs() < 1e-9, "{energy:?}");
        assert_eq!(energy.covered_ns, 500_000_000);
    }

    #[test]
    fn a_gap_is_not_bridged_but_shortens_the_covered_time() {
        let gap = series(&[(0, 100.0), (500, 100.0), (3000, 900.0), (3500, 900.0)]);
        let energy = gap.energy(ms(0), ms(3500));
        assert_eq!(energy.covered_ns, 1_000_000_000);
        assert!((energy.mean_mw().unwrap() - 500.0).abs() < 1e-9);
    }

    #[test]
    fn duplicate_and_backward_stamps_are_dropped() {
        let series = series(&[(0, 100.0), (500, 200.0), (500, 999.0), (400, 999.0), (1000, 200.0)]);
        assert_eq!(series.stamps_ns.len(), 3);
    }

    #[test]
    fn a_window_shorter_than_ten_seconds_has_no_energy() {
        let flat = series(&(0..200).map(|k| (k * 100, 5000.0)).collect::<Vec<_>>());
        let short = FrameWindow { from: ms(0), to: ms(9_999), frames_per_s: 10.0 };
        assert_eq!(over(&flat, &[short], None), None);
        let long = FrameWindow { to: ms(10_000), ..short };
        let energy = over(&flat, &[long], Some(3000.0)).unwrap();
        assert!((energy.gross_per_frame_uj - 500_000.0).abs() < 1e-6, "{energy:?}");
        assert!((energy.net_per_frame_uj.unwrap() - 200_000.0).abs() < 1e-6);
    }

    #[test]
    fn a_tick_with_one_of_two_rails_missing_does_not_count() {
        use crate::channel::Channel;
        use crate::sensors::{Column, TierSeries};
        let rail = |name| Channel::new(ChannelKind::Power, name, Role::TotalPower);
        let mut columns =
            [Column { channel: 0, ..Column::default() }, Column { channel: 1, ..Column::default() }];
        columns[0].push(Some(1000));
        columns[0].push(Some(1000));
        columns[1].push(Some(500));
        columns[1].push(None);
        let tier = TierSeries {
            period: ms(100),
            stamps_ns: vec![0, 100_000_000],
            columns: columns.to_vec(),
            ..TierSeries::default()
        };
        let sensors = SensorRecord {
            channels: vec![rail("A"), rail("B")],
            tiers: vec![tier],
            ..SensorRecord::default()
        };
        let power = PowerSeries::of(&sensors).unwrap();
        assert_eq!(power.milliwatts, [1500.0]);
    }
}
