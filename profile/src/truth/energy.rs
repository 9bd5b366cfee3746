//! Scores of the energy integral on power whose energy is known.

use crate::analysis::energy::PowerSeries;
use crate::stats::rng::Rng;
use crate::units::Nanos;
use std::f64::consts::TAU;

/// A power over time with a known mean, mW.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Waveform {
    /// Low and high for half of every period.
    Square {
        /// Period in seconds.
        period_s: f64,
    },
    /// A sine around the mean.
    Sine {
        /// Period in seconds.
        period_s: f64,
    },
    /// A rise from the low to the high level over the whole window.
    Ramp,
    /// A stream's bursts: high for this share of every frame period, low for the rest.
    Paced {
        /// Frames a second.
        fps: f64,
        /// Share of the period spent at the high level.
        duty: f64,
    },
}

const LOW_MW: f64 = 4000.0;
const HIGH_MW: f64 = 12_000.0;

impl Waveform {
    /// Power at `t` seconds of a window of `length_s`.
    #[must_use]
    pub fn at(self, t: f64, length_s: f64) -> f64 {
        let high = |period: f64, duty: f64| t.rem_euclid(period) < duty * period;
        match self {
            Self::Square { period_s } => {
                if high(period_s, 0.5) {
                    HIGH_MW
                } else {
                    LOW_MW
                }
            }
            Self::Sine { period_s } => {
                let middle = (LOW_MW + HIGH_MW) / 2.0;
                middle + (HIGH_MW - middle) * (TAU * t / period_s).sin()
            }
            Self::Ramp => LOW_MW + (HIGH_MW - LOW_MW) * t / length_s,
            Self::Paced { fps, duty } => {
                if high(1.0 / fps, duty) {
                    HIGH_MW
                } else {
                    LOW_MW
                }
            }
        }
    }

    /// Exact mean power over whole periods.
    #[must_use]
    pub fn mean(self) -> f64 {
        match self {
            Self::Square { .. } | Self::Sine { .. } | Self::Ramp => (LOW_MW + HIGH_MW) / 2.0,
            Self::Paced { duty, .. } => LOW_MW + (HIGH_MW - LOW_MW) * duty,
        }
    }
}

/// Relative error of the energy of `waveform` over `length_s`, read every `interval_s` with a jitter of up to
/// `jitter` of it; `lost` is the share of readings that fail, in gaps of up to three, and every 50th reading
/// comes twice.
#[must_use]
pub fn relative_error(
    waveform: Waveform,
    length_s: f64,
    interval_s: f64,
    jitter: f64,
    lost: f64,
    seed: u64,
) -> f64 {
    let mut rng = Rng::new(seed);
    let mut series = PowerSeries { max_gap_ns: (interval_s * 10e9) as u64, ..PowerSeries::default() };
    let (mut t, mut skip) = (0.0, 0);
    for index in 0.. {
        let stamp = t + jitter * interval_s * (rng.uniform() - 0.5);
        if stamp > length_s + interval_s {
            break;
        }
        t += interval_s;
        if skip > 0 {
            skip -= 1;
            continue;
        }
        if rng.uniform() < lost {
            skip = rng.below(3);
            continue;
        }
        let copies = if index % 50 == 49 { 2 } else { 1 };
        for _ in 0..copies {
            series.push((stamp.max(0.0) * 1e9) as u64, waveform.at(stamp, length_s));
        }
    }
    let edge = if matches!(waveform, Waveform::Ramp) { 0.0 } else { interval_s };
    let energy = series.energy(Nanos((edge * 1e9) as u64), Nanos(((length_s - edge) * 1e9) as u64));
    energy.mean_mw().map_or(1.0, |mean| (mean / waveform.mean() - 1.0).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10 Hz by the name, 97.3 ms so that it does not march in step with any common frame rate.
    const INCOMMENSURATE_S: f64 = 0.0973;

    #[test]
    fn known_waveforms_are_integrated_within_one_percent_despite_jitter_gaps_and_duplicates() {
        let waveforms =
            [Waveform::Square { period_s: 7.3 }, Waveform::Sine { period_s: 11.0 }, Waveform::Ramp];
        for waveform in waveforms {
            let error = relative_error(waveform, 600.0, INCOMMENSURATE_S, 0.2, 0.02, 11);
            assert!(error < 0.01, "{waveform:?}: {error}");
        }
    }

    #[test]
    fn paced_loads_are_integrated_within_one_percent_at_a_rate_incommensurate_with_the_frames() {
        for fps in [10.0, 25.0, 30.0] {
            let waveform = Waveform::Paced { fps, duty: 0.3 };
            let error = relative_error(waveform, 600.0, INCOMMENSURATE_S, 0.0, 0.0, 12);
            assert!(error < 0.01, "{fps} fps: {error}");
        }
    }

    #[test]
    fn a_sampler_in_step_with_the_frames_is_far_off_which_is_why_the_rate_is_chosen() {
        let error = relative_error(Waveform::Paced { fps: 10.0, duty: 0.3 }, 600.0, 0.1, 0.0, 0.0, 13);
        assert!(error > 0.2, "{error}");
    }
}
