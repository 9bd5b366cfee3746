//! A soak of half an hour that throttles twice, with what ten sensors say meanwhile.

use super::{IDLE_MW, Random};
use crate::channel::{Channel, ChannelKind, Role};
use crate::point::PointId;
use crate::record::{GateOutcome, PointOutcome, SoakEvidence};
use crate::sensors::{Column, SensorRecord, TierSeries};
use crate::summary::{EnergySummary, Interval, SoakSegment, SoakSummary, Throttle, ThrottleCause};
use crate::units::Nanos;

/// Length in seconds.
const LENGTH_S: u64 = 1800;
/// When the soak starts after the run's start, seconds.
const START_S: u64 = 180;
/// Stretches of throttling, seconds since the soak's start.
const THROTTLED: [(f64, f64); 2] = [(612.0, 1104.0), (1305.0, 1800.0)];

/// The findings of a soak of `id` that throttles twice.
pub(super) fn summary(id: PointId) -> SoakSummary {
    let segment = |start_s: u64, end_s: u64, p50_ns: f64, p99_ns: f64| SoakSegment {
        start_ms: start_s * 1000,
        end_ms: end_s * 1000,
        p50_ns,
        p99_ns: Some(p99_ns),
        frames_per_s: id.shape.frames() as f64 * 1e9 / p50_ns,
    };
    let energy = |power: f64, frames_per_s: f64, window_ms| EnergySummary {
        mean_power_mw: power,
        gross_per_frame_uj: power * 1e3 / frames_per_s,
        net_per_frame_uj: Some((power - IDLE_MW) * 1e3 / frames_per_s),
        gross_ci_uj: Interval {
            lower: Some(power * 990.0 / frames_per_s),
            upper: Some(power * 1010.0 / frames_per_s),
        },
        window_ms,
    };
    SoakSummary {
        id,
        duration_ms: 1_800_000,
        inferences: 838_112,
        aborted: None,
        failure: None,
        gate: Some(GateOutcome {
            passed: true,
            waited: Nanos(41_200_000_000),
            reason: "every zone within 3 \u{b0}C of its idle temperature, clocks free".into(),
        }),
        segments: vec![
            segment(0, 612, 2_008_000.0, 2_410_000.0),
            segment(612, 1104, 2_391_000.0, 2_905_000.0),
            segment(1104, 1305, 2_012_000.0, 2_420_000.0),
            segment(1305, 1800, 2_402_000.0, 2_930_000.0),
        ],
        throttles: vec![
            Throttle {
                onset_ms: 612_000,
                recovery_ms: Some(1_104_000),
                cause: ThrottleCause::Thermal,
                slowdown: 1.191,
                evidence: vec![
                    "cooling.cpu-throttle rose from 0 to 2".into(),
                    "temp.cpu-thermal reached 85.1 \u{b0}C".into(),
                ],
            },
            Throttle {
                onset_ms: 1_305_000,
                recovery_ms: None,
                cause: ThrottleCause::Thermal,
                slowdown: 1.194,
                evidence: vec!["temp.cpu-thermal reached 85.4 \u{b0}C".into()],
            },
        ],
        burst_frames_per_s: Some(7968.1),
        sustained_frames_per_s: Some(6661.1),
        sustained_ratio: Some(0.836),
        sustained_p99_ns: Some(2_930_000.0),
        time_to_throttle_ms: Some(612_000),
        oscillation_period_ms: Some(693_000),
        energy: Some(energy(5_820.0, 7240.0, 1_800_000)),
        sustained_energy: Some(energy(5_310.0, 6661.1, 495_000)),
        peak_temperatures: vec![("temp.cpu-thermal".into(), 85_400), ("temp.gpu-thermal".into(), 81_250)],
        remarks: Vec::new(),
    }
}

fn throttled(second: f64) -> bool {
    THROTTLED.iter().any(|&(from, to)| second >= from && second < to)
}

/// The CPU zone in \u{b0}C: it heats towards 88 until it throttles at 85, then cools towards 78.
fn junction_celsius(second: f64) -> f64 {
    let approach = |from: f64, to: f64, since: f64| to + (from - to) * (-(second - since) / 222.0).exp();
    match second {
        s if s < 612.0 => approach(41.0, 88.0, 0.0),
        s if s < 1104.0 => approach(85.0, 78.0, 612.0),
        s if s < 1305.0 => approach(78.8, 93.0, 1104.0),
        _ => approach(85.4, 78.5, 1305.0),
    }
}

/// The evidence of the soak of `id`: every inference, and power at 10 Hz, temperatures and clocks.
#[must_use]
pub fn soak_evidence(id: PointId) -> (SoakEvidence, SensorRecord) {
    let start = Nanos::from_secs(START_S);
    let end = Nanos::from_secs(START_S + LENGTH_S);
    let mut random = Random::new(17);
    let (mut completed_ns, mut latencies_ns) = (Vec::new(), Vec::new());
    let mut now = start.get();
    while now < end.get() {
        let second = Nanos(now).since(start).as_secs_f64();
        let typical = if throttled(second) { 2_391_000.0 } else { 2_008_000.0 };
        let tail = if random.unit() < 0.02 { 1.1 + 0.12 * random.unit() } else { 1.0 };
        let latency = (typical * tail * (1.0 + 0.02 * random.normal())) as u64;
        now += latency;
        completed_ns.push(now);
        latencies_ns.push(latency);
    }
    let evidence = SoakEvidence {
        id,
        outcome: PointOutcome::Measured,
        aborted: None,
        gate: None,
        idle_before: None,
        span: [start, end],
        idle_after: None,
        completed_ns,
        latencies_ns,
        truncated: false,
    };
    (evidence, sensors(&mut random))
}

/// Id, kind, role and reading of each channel at a second of the soak.
type Sensed = (&'static str, ChannelKind, Role, fn(f64, &mut Random) -> Option<i32>);

const FAST: [Sensed; 6] = [
    ("power.VDD_IN", ChannelKind::Power, Role::TotalPower, |s, r| Some(rail(s, r, 5_820.0, 5_310.0, 40))),
    ("power.VDD_CPU_GPU_CV", ChannelKind::Power, Role::Context, |s, r| {
        Some(rail(s, r, 2_260.0, 1_800.0, 40))
    }),
    ("power.VDD_SOC", ChannelKind::Power, Role::Context, |s, r| {
        // One read in two hundred fails, as an INA3221 on a busy bus does.
        (r.unit() > 0.005).then(|| rail(s, r, 1_440.0, 1_420.0, 40))
    }),
    ("clock.cpu", ChannelKind::Clock, Role::CpuClock, |s, r| {
        let low = if r.unit() < 0.7 { 1_190_400 } else { 1_267_200 };
        Some(if throttled(s) { low } else { 1_510_400 })
    }),
    ("clock.gpu", ChannelKind::Clock, Role::GpuClock, |s, _| {
        Some(if throttled(s) { 510_000 } else { 624_750 })
    }),
    ("clock.emc", ChannelKind::Clock, Role::MemoryClock, |_, _| Some(2_133_000)),
];

const SLOW: [Sensed; 4] = [
    ("temp.cpu-thermal", ChannelKind::Temperature, Role::Junction, |s, r| Some(zone(s, r, 0.0))),
    ("temp.gpu-thermal", ChannelKind::Temperature, Role::Context, |s, r| Some(zone(s, r, -3.9))),
    ("temp.soc0-thermal", ChannelKind::Temperature, Role::Context, |s, r| Some(zone(s, r, -6.2))),
    ("cooling.cpu-throttle", ChannelKind::Cooling, Role::Throttles, |s, _| {
        // The governor changes its mind every 37 seconds.
        Some(if throttled(s) { 1 + i32::from(!(s as u64 / 37).is_multiple_of(3)) } else { 0 })
    }),
];

/// A rail in mW: a level, leakage that follows the temperature, noise, in steps of the converter.
fn rail(second: f64, random: &mut Random, free: f64, limited: f64, step: i32) -> i32 {
    let level = if throttled(second) { limited } else { free };
    let leakage = 4.0 * (junction_celsius(second) - 80.0);
    (level + leakage + 55.0 * random.normal()) as i32 / step * step
}

/// A zone in m\u{b0}C, in the steps of 62.5 that these sensors have.
fn zone(second: f64, random: &mut Random, offset: f64) -> i32 {
    let celsius = junction_celsius(second) + offset + 0.06 * random.normal();
    ((celsius * 16.0) as i32) * 125 / 2
}

fn sensors(random: &mut Random) -> SensorRecord {
    let mut record = SensorRecord {
        power_topology: Some("VDD_IN".into()),
        sampler_cpu: Nanos(7_400_000_000),
        trips: vec![(6, "passive".into(), 85_000), (6, "critical".into(), 104_500)],
        ..SensorRecord::default()
    };
    tier(&mut record, 100, &FAST, random);
    tier(&mut record, 1000, &SLOW, random);
    record
}

fn tier(record: &mut SensorRecord, period_ms: u64, sensed: &[Sensed], random: &mut Random) {
    let ticks = (LENGTH_S + START_S) * 1000 / period_ms;
    let mut tier = TierSeries { period: Nanos(period_ms * 1_000_000), ..TierSeries::default() };
    for &(id, kind, role, _) in sensed {
        let channel = record.channels.len() as u16;
        record.channels.push(Channel { id: id.into(), kind, role });
        tier.columns.push(Column { channel, ..Column::default() });
    }
    for tick in 0..ticks {
        let jitter = (random.unit() * 800_000.0) as u64;
        tier.stamps_ns.push(tick * period_ms * 1_000_000 + 40_000_000 + jitter);
        tier.read_ns.push(210_000);
        let second = (tick * period_ms) as f64 / 1e3 - START_S as f64;
        for (column, (_, _, _, reading)) in tier.columns.iter_mut().zip(sensed) {
            column.push(reading(second.max(0.0), random));
        }
    }
    record.tiers.push(tier);
}
