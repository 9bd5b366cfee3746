//! Scores of the throttle analysis on soaks whose throttling is planted.

use crate::analysis::soak::summarize;
use crate::channel::{Channel, ChannelKind, Role};
use crate::point::{PointId, Shape};
use crate::record::{PointOutcome, SoakEvidence};
use crate::sensors::{Column, SensorRecord, TierSeries};
use crate::stats::rng::Rng;
use crate::summary::{SoakSummary, ThrottleCause};
use crate::units::Nanos;

/// What happens to the board during a planted soak.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plot {
    /// Nothing.
    Quiet,
    /// From `at_s` on latency is `slowdown` times what it was, for this cause.
    Step {
        /// Onset, seconds.
        at_s: f64,
        /// Ratio of latency, above 1.
        slowdown: f64,
        /// What the channels show.
        cause: ThrottleCause,
    },
    /// From `at_s` on latency grows linearly over `over_s` to `slowdown` times what it was, thermally.
    Ramp {
        /// Onset, seconds.
        at_s: f64,
        /// Length of the ramp, seconds.
        over_s: f64,
        /// Final ratio of latency.
        slowdown: f64,
    },
    /// From `from_s` on the board throttles thermally for the first half of every period.
    Oscillation {
        /// First onset, seconds.
        from_s: f64,
        /// Period, seconds.
        period_s: f64,
        /// Ratio of latency while throttled.
        slowdown: f64,
    },
    /// The CPU clock falls by a fifth at this second, and latency does not change.
    ClockDecoy(f64),
    /// Latency rises by a tenth at this second, and no channel moves.
    LatencyDecoy(f64),
}

/// A soak to be planted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    /// What happens.
    pub plot: Plot,
    /// Length, seconds.
    pub length_s: u32,
    /// Standard deviation of the AR(1) noise of log latency per second.
    pub sigma: f64,
    /// Its coefficient.
    pub phi: f64,
    /// Seed of the noise.
    pub seed: u64,
}

/// Latency of the quiet board.
const LATENCY_S: f64 = 0.1;

impl Plot {
    /// Ratio of latency at `t` seconds.
    fn slowdown(self, t: f64) -> f64 {
        match self {
            Self::Quiet | Self::ClockDecoy(_) => 1.0,
            Self::LatencyDecoy(at) => {
                if t >= at {
                    1.1
                } else {
                    1.0
                }
            }
            Self::Step { at_s, slowdown, .. } => {
                if t >= at_s {
                    slowdown
                } else {
                    1.0
                }
            }
            Self::Ramp { at_s, over_s, slowdown } => {
                1.0 + (slowdown - 1.0) * ((t - at_s) / over_s).clamp(0.0, 1.0)
            }
            Self::Oscillation { from_s, period_s, slowdown } => {
                let phase = (t - from_s).rem_euclid(period_s);
                if t >= from_s && phase < period_s / 2.0 { slowdown } else { 1.0 }
            }
        }
    }

    /// The cause that shows at `t` seconds, and the factor on the clock it acts on.
    fn shows(self, t: f64) -> Option<(ThrottleCause, f64)> {
        match self {
            Self::Step { at_s, slowdown, cause } => (t >= at_s).then_some((cause, 1.0 / slowdown)),
            Self::Ramp { .. } | Self::Oscillation { .. } => {
                let slowdown = self.slowdown(t);
                (slowdown > 1.0).then_some((ThrottleCause::Thermal, 1.0 / slowdown))
            }
            Self::ClockDecoy(at) => (t >= at).then_some((ThrottleCause::CpuClock, 0.8)),
            Self::Quiet | Self::LatencyDecoy(_) => None,
        }
    }
}

/// Channels of the planted board, all read once a second.
const CHANNELS: [(ChannelKind, &str, Role); 7] = [
    (ChannelKind::Temperature, "tj-thermal", Role::Junction),
    (ChannelKind::Cooling, "cpu-throttle-alert", Role::Throttles),
    (ChannelKind::OverCurrent, "oc3", Role::Context),
    (ChannelKind::ClockFloor, "gpu", Role::Context),
    (ChannelKind::Clock, "emc", Role::MemoryClock),
    (ChannelKind::Clock, "gpu", Role::GpuClock),
    (ChannelKind::Clock, "cpu0", Role::CpuClock),
];

/// The readings of [`CHANNELS`] at one second.
fn readings(shown: Option<(ThrottleCause, f64)>, t: f64, events: i32) -> [i32; 7] {
    let factor = |of: ThrottleCause| match shown {
        Some((cause, factor)) if cause == of => factor,
        _ => 1.0,
    };
    let clock = |khz: f64, factor: f64| (khz * factor) as i32;
    let hot = factor(ThrottleCause::Thermal) < 1.0;
    let warm = 60_000 + (30_000.0 * (1.0 - (-t / 300.0).exp())) as i32;
    [
        if hot { 99_200 } else { warm },
        i32::from(hot),
        events,
        clock(1_020_000.0, factor(ThrottleCause::PowerModeCap)),
        clock(3_199_000.0, factor(ThrottleCause::MemoryClock)),
        // A hot board clocks its GPU down, a power mode that is lost lets it fall, over-current shows nowhere.
        clock(
            1_020_000.0,
            factor(ThrottleCause::Thermal)
                * factor(ThrottleCause::PowerModeCap)
                * factor(ThrottleCause::GpuClock),
        ),
        clock(1_728_000.0, factor(ThrottleCause::CpuClock)),
    ]
}

/// The sensors of a planted soak.
fn sensors(scenario: &Scenario) -> SensorRecord {
    let channels: Vec<Channel> =
        CHANNELS.iter().map(|&(kind, name, role)| Channel::new(kind, name, role)).collect();
    let mut columns: Vec<Column> =
        (0..CHANNELS.len()).map(|channel| Column { channel: channel as u16, ..Column::default() }).collect();
    let mut events = 27_390;
    let mut stamps_ns = Vec::new();
    for second in 0..scenario.length_s {
        let t = f64::from(second) + 0.37;
        let shown = scenario.plot.shows(t);
        events += if matches!(shown, Some((ThrottleCause::OverCurrent, _))) { 8 } else { 1 };
        stamps_ns.push((t * 1e9) as u64);
        for (column, value) in columns.iter_mut().zip(readings(shown, t, events)) {
            column.push(Some(value));
        }
    }
    let tier = TierSeries { period: Nanos::from_secs(1), stamps_ns, columns, ..TierSeries::default() };
    SensorRecord {
        channels,
        tiers: vec![tier],
        trips: vec![(0, "passive".into(), 99_000)],
        ..SensorRecord::default()
    }
}

/// The evidence of a planted soak: a closed loop at [`LATENCY_S`] with 0.5 % of its own noise an inference.
#[must_use]
pub fn plant(scenario: &Scenario) -> (SoakEvidence, SensorRecord) {
    let mut rng = Rng::new(scenario.seed);
    let innovation = scenario.sigma * (1.0 - scenario.phi * scenario.phi).sqrt();
    let mut drift = scenario.sigma * rng.normal();
    let (mut t, mut second) = (0.0, 0);
    let (mut completed_ns, mut latencies_ns) = (Vec::new(), Vec::new());
    while t < f64::from(scenario.length_s) {
        while f64::from(second) < t {
            drift = scenario.phi * drift + innovation * rng.normal();
            second += 1;
        }
        let latency = LATENCY_S * scenario.plot.slowdown(t) * (drift + 0.005 * rng.normal()).exp();
        t += latency;
        completed_ns.push((t * 1e9) as u64);
        latencies_ns.push((latency * 1e9) as u64);
    }
    let at = Shape::UNIT;
    let evidence = SoakEvidence {
        id: PointId { variant: 0, shape: at },
        outcome: PointOutcome::Measured,
        aborted: None,
        gate: None,
        idle_before: None,
        span: [Nanos(0), Nanos((t * 1e9) as u64)],
        idle_after: None,
        completed_ns,
        latencies_ns,
        truncated: false,
    };
    (evidence, sensors(scenario))
}

/// The findings of a planted soak.
#[must_use]
pub fn study(scenario: &Scenario) -> SoakSummary {
    let (evidence, sensors) = plant(scenario);
    summarize(&evidence, Some(&sensors))
}

/// How planted steps were recovered.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StepScore {
    /// Share of the runs in which exactly one throttling was found, with the planted cause.
    pub found: f64,
    /// Median absolute error of the onset, ms.
    pub onset_error_ms: f64,
    /// Median absolute error of sustained / burst.
    pub ratio_error: f64,
}

/// Every cause that a channel can show.
pub const CAUSES: [ThrottleCause; 6] = [
    ThrottleCause::Thermal,
    ThrottleCause::OverCurrent,
    ThrottleCause::PowerModeCap,
    ThrottleCause::MemoryClock,
    ThrottleCause::GpuClock,
    ThrottleCause::CpuClock,
];

/// Steps of `slowdown` at random times of a 15-minute soak, over `runs` noises, for each of `causes` in turn.
#[must_use]
pub fn steps(
    slowdown: f64,
    causes: &[ThrottleCause],
    sigma: f64,
    phi: f64,
    runs: u32,
    seed: u64,
) -> StepScore {
    let mut rng = Rng::new(seed);
    let (mut found, mut onset_errors, mut ratio_errors) = (0, Vec::new(), Vec::new());
    for run in 0..runs {
        let cause = causes[run as usize % causes.len()];
        let at_s = 200.0 + 500.0 * rng.uniform();
        let plot = Plot::Step { at_s, slowdown, cause };
        let summary = study(&Scenario { plot, length_s: 900, sigma, phi, seed: rng.next_u64() });
        if let [throttle] = summary.throttles.as_slice()
            && throttle.cause == cause
        {
            found += 1;
            onset_errors.push((throttle.onset_ms as f64 - at_s * 1e3).abs());
            ratio_errors.extend(summary.sustained_ratio.map(|ratio| (ratio - 1.0 / slowdown).abs()));
        }
    }
    let median = |values: &[f64]| crate::stats::robust::median(values).unwrap_or(f64::INFINITY);
    StepScore {
        found: f64::from(found) / f64::from(runs.max(1)),
        onset_error_ms: median(&onset_errors),
        ratio_error: median(&ratio_errors),
    }
}

/// Share of `runs` 15-minute soaks of `plot` in which any throttling was found.
#[must_use]
pub fn any_found(plot: Plot, sigma: f64, phi: f64, runs: u32, seed: u64) -> f64 {
    let mut rng = Rng::new(seed);
    let found = (0..runs)
        .filter(|_| {
            let scenario = Scenario { plot, length_s: 900, sigma, phi, seed: rng.next_u64() };
            !study(&scenario).throttles.is_empty()
        })
        .count();
    found as f64 / f64::from(runs.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_five_percent_and_more_are_all_found_on_time_with_their_cause() {
        for slowdown in [1.05, 1.1, 1.3] {
            let score = steps(slowdown, &CAUSES, 0.005, 0.9, 24, 7);
            assert!(score.found >= 0.999, "{slowdown}: {score:?}");
            assert!(score.onset_error_ms <= 1000.0, "{slowdown}: {score:?}");
            assert!(score.ratio_error <= 0.01, "{slowdown}: {score:?}");
        }
    }

    #[test]
    fn steps_of_two_percent_are_found_where_more_than_a_clock_shows_them() {
        let causes = [ThrottleCause::Thermal, ThrottleCause::OverCurrent];
        let score = steps(1.02, &causes, 0.001, 0.5, 24, 8);
        assert!(score.found >= 0.9, "{score:?}");
        // A clock that falls by less than 3 % is not evidence enough.
        assert_eq!(steps(1.02, &[ThrottleCause::CpuClock], 0.001, 0.5, 8, 9).found, 0.0);
    }

    #[test]
    fn correlated_noise_alone_and_both_decoys_are_not_called_throttling() {
        assert_eq!(any_found(Plot::Quiet, 0.02, 0.9, 100, 1), 0.0);
        assert_eq!(any_found(Plot::ClockDecoy(400.0), 0.005, 0.9, 50, 2), 0.0);
        assert_eq!(any_found(Plot::LatencyDecoy(400.0), 0.005, 0.9, 50, 3), 0.0);
    }

    #[test]
    fn a_latency_decoy_is_named_in_a_remark() {
        let plot = Plot::LatencyDecoy(400.0);
        let summary = study(&Scenario { plot, length_s: 900, sigma: 0.002, phi: 0.5, seed: 3 });
        assert_eq!(summary.time_to_throttle_ms, None);
        assert!(summary.remarks.iter().any(|remark| remark.contains("not called throttling")), "{summary:?}");
    }

    #[test]
    fn an_oscillation_has_a_period_and_a_sustained_state_between_its_levels() {
        let plot = Plot::Oscillation { from_s: 300.0, period_s: 80.0, slowdown: 1.25 };
        let summary = study(&Scenario { plot, length_s: 900, sigma: 0.004, phi: 0.5, seed: 5 });
        let period = summary.oscillation_period_ms.unwrap();
        assert!((76_000..=84_000).contains(&period), "{period}");
        let ratio = summary.sustained_ratio.unwrap();
        assert!((0.85..0.95).contains(&ratio), "{ratio}");
        assert!(summary.throttles.iter().all(|throttle| throttle.cause == ThrottleCause::Thermal));
    }

    #[test]
    fn a_ramp_is_one_throttling_whose_full_depth_is_reported() {
        let plot = Plot::Ramp { at_s: 300.0, over_s: 200.0, slowdown: 1.3 };
        let summary = study(&Scenario { plot, length_s: 900, sigma: 0.003, phi: 0.5, seed: 6 });
        assert_eq!(summary.throttles.len(), 1, "{:?}", summary.throttles);
        let throttle = &summary.throttles[0];
        assert!((throttle.slowdown - 1.3).abs() < 0.03, "{throttle:?}");
        assert!((295_000..=340_000).contains(&throttle.onset_ms), "{throttle:?}");
    }
}
