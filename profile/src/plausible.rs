//! Figures that no board can have measured.
//!
//! A profile that decodes may still be nonsense: made up by a board that is not what it says, or by a fault in
//! one. One such figure ruins every comparison that it enters, so whoever keeps profiles asks here first. The
//! bounds are wide, a thousand times what any known board does: what is refused is impossible, not merely odd.

use crate::summary::{LatencySummary, PointSummary, Profile, SoakSummary};
use std::ops::RangeInclusive;

/// Most clips or frames a second: 4,000 times what the fastest board does with the smallest model.
const RATE_PER_S: RangeInclusive<f64> = 1e-9..=1e9;

/// One inference takes a nanosecond at least and a year at most.
const LATENCY_NS: RangeInclusive<f64> = 1.0..=YEAR_S * 1e9;

/// Up to 100 kW, and as much into a battery.
const POWER_MW: RangeInclusive<f64> = -1e8..=1e8;

/// Up to 1 GJ a frame.
const ENERGY_UJ: RangeInclusive<f64> = -1e15..=1e15;

/// In thousandths of a degree Celsius; absolute zero is below.
const TEMPERATURE: RangeInclusive<f64> = -150_000.0..=400_000.0;

/// A pebibyte.
const MEMORY: RangeInclusive<f64> = 0.0..=(1_u64 << 50) as f64;

const YEAR_S: f64 = 366.0 * 86_400.0;

/// The wire rounds figures to a fraction of this: what is apart by less is in order.
const ROUNDING: f64 = 0.01;

/// A figure that cannot be, and why.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("impossible figure: {place}: {figure} is {value}, {why}")]
pub struct Implausible {
    /// Where in the profile.
    pub place: String,
    /// Which figure.
    pub figure: &'static str,
    /// Its value.
    pub value: f64,
    /// What is wrong with it.
    pub why: String,
}

/// The first figure of `profile` that cannot be.
///
/// # Errors
/// The figure, its place and the reason.
pub fn check(profile: &Profile) -> Result<(), Implausible> {
    let place = Place("the run".into());
    place.within("its length in s", profile.run.duration_ms as f64 / 1e3, &(0.0..=YEAR_S))?;
    place.optional("idle power in mW", profile.idle_power_mw, &POWER_MW)?;
    place.optional("the sampler's share of a core", profile.sampler_cpu_share, &(0.0..=1024.0))?;
    profile.points.iter().try_for_each(point)?;
    profile.soaks.iter().try_for_each(soak)
}

struct Place(String);

impl Place {
    fn refuse(&self, figure: &'static str, value: f64, why: String) -> Result<(), Implausible> {
        Err(Implausible { place: self.0.clone(), figure, value, why })
    }

    /// What is not a number is within nothing.
    fn within(
        &self,
        figure: &'static str,
        value: f64,
        range: &RangeInclusive<f64>,
    ) -> Result<(), Implausible> {
        if range.contains(&value) {
            return Ok(());
        }
        self.refuse(figure, value, format!("possible is {:e} to {:e}", range.start(), range.end()))
    }

    fn optional(
        &self,
        figure: &'static str,
        value: Option<f64>,
        range: &RangeInclusive<f64>,
    ) -> Result<(), Implausible> {
        value.map_or(Ok(()), |value| self.within(figure, value, range))
    }

    /// Figures that never fall, each with its name; absent ones are left out.
    fn rising(&self, figures: &[(&'static str, Option<f64>)]) -> Result<(), Implausible> {
        let mut before: Option<(&'static str, f64)> = None;
        for (name, value) in figures {
            let Some(value) = *value else { continue };
            if let Some((lower, least)) = before
                && value < least * (1.0 - ROUNDING)
            {
                return self.refuse(name, value, format!("less than {lower}, which is {least}"));
            }
            before = Some((name, value));
        }
        Ok(())
    }
}

fn latency(place: &Place, of: &LatencySummary) -> Result<(), Implausible> {
    if of.iterations == 0 {
        return place.refuse("iterations", 0.0, "and there are latencies".into());
    }
    let figures = [
        ("mean latency in ns", Some(of.mean_ns)),
        ("P50 in ns", Some(of.p50_ns)),
        ("P95 in ns", of.p95_ns),
        ("P99 in ns", of.p99_ns),
        ("P99.9 in ns", of.p999_ns),
        ("the smallest latency in ns", Some(of.min_ns as f64)),
        ("the largest latency in ns", Some(of.max_ns as f64)),
    ];
    figures.iter().try_for_each(|(name, value)| place.optional(name, *value, &LATENCY_NS))?;
    place.within("MAD in ns", of.mad_ns, &(0.0..=*LATENCY_NS.end()))?;
    let [mean, p50, p95, p99, p999, min, max] = figures;
    place.rising(&[min, p50, p95, p99, p999])?;
    // Of few iterations the upper percentiles are extrapolated beyond the largest.
    place.rising(&[min, p50, max])?;
    place.rising(&[min, mean, max])
}

fn point(of: &PointSummary) -> Result<(), Implausible> {
    let place = Place(format!("point {} of variant {}", of.id.shape, of.id.variant));
    if let Some(summary) = &of.latency {
        latency(&place, summary)?;
    }
    place.optional("clips a second", of.clips_per_s, &RATE_PER_S)?;
    place.optional("frames a second", of.frames_per_s, &RATE_PER_S)?;
    for (name, value) in [
        ("compute P50 in ns", of.compute_p50_ns),
        ("compute P95 in ns", of.compute_p95_ns),
        ("compute P99 in ns", of.compute_p99_ns),
        ("copying in, P50 in ns", of.h2d_p50_ns),
        ("copying in, P99 in ns", of.h2d_p99_ns),
        ("copying out, P50 in ns", of.d2h_p50_ns),
        ("copying out, P99 in ns", of.d2h_p99_ns),
        ("time to prepare in ns", of.prepare_ns.map(|ns| ns as f64)),
    ] {
        place.optional(name, value, &(0.0..=*LATENCY_NS.end()))?;
    }
    place.optional("peak memory in bytes", of.peak_memory_bytes.map(|bytes| bytes as f64), &MEMORY)?;
    place.optional("device memory in bytes", of.device_memory_bytes.map(|bytes| bytes as f64), &MEMORY)?;
    if let Some(energy) = &of.energy {
        place.within("mean power in mW", energy.mean_power_mw, &POWER_MW)?;
        place.within("energy a frame in uJ", energy.gross_per_frame_uj, &ENERGY_UJ)?;
        place.optional("energy a frame above idle in uJ", energy.net_per_frame_uj, &ENERGY_UJ)?;
    }
    Ok(())
}

fn soak(of: &SoakSummary) -> Result<(), Implausible> {
    let place = Place(format!("soak of point {} of variant {}", of.id.shape, of.id.variant));
    let length = of.duration_ms as f64;
    place.within("its length in ms", length, &(0.0..=YEAR_S * 1e3))?;
    let throttles_after = of.time_to_throttle_ms.map(|ms| ms as f64);
    place.optional("time to throttle in ms", throttles_after, &(0.0..=length))?;
    place.optional("burst frames a second", of.burst_frames_per_s, &RATE_PER_S)?;
    place.optional("sustained frames a second", of.sustained_frames_per_s, &RATE_PER_S)?;
    place.optional("sustained share", of.sustained_ratio, &(0.0..=1e6))?;
    place.optional("sustained P99 in ns", of.sustained_p99_ns, &LATENCY_NS)?;
    of.peak_temperatures.iter().try_for_each(|(_, value)| {
        place.within("a temperature in thousandths of a degree", f64::from(*value), &TEMPERATURE)
    })
}

#[cfg(all(test, feature = "test-support"))]
mod tests {
    use super::*;
    use crate::example;

    type Change = fn(&mut Profile);

    fn summary(profile: &mut Profile) -> &mut LatencySummary {
        profile.points.iter_mut().find_map(|point| point.latency.as_mut()).expect("one is measured")
    }

    #[test]
    fn made_up_but_possible_profiles_are_taken() {
        check(&example::profile()).unwrap();
        check(&example::profile_of_27_points()).unwrap();
    }

    #[test]
    fn what_no_board_can_have_measured_is_refused_with_the_figure_and_the_reason() {
        let cases: [(Change, &str); 12] = [
            (|profile| summary(profile).iterations = 0, "iterations is 0"),
            (|profile| profile.points[0].frames_per_s = Some(4.8e12), "frames a second is 4800000000000"),
            (|profile| profile.points[0].clips_per_s = Some(-1.0), "clips a second is -1"),
            (|profile| profile.points[0].frames_per_s = Some(0.0), "frames a second is 0"),
            (|profile| summary(profile).mean_ns = f64::NAN, "mean latency in ns is NaN"),
            (|profile| summary(profile).p50_ns = f64::INFINITY, "P50 in ns is inf"),
            (|profile| summary(profile).p50_ns = 0.0, "P50 in ns is 0"),
            (|profile| summary(profile).p99_ns = Some(1.0), "P99 in ns is 1, less than P95"),
            (|profile| summary(profile).max_ns = 1, "the largest latency in ns is 1, less than P50"),
            (|profile| profile.points[0].peak_memory_bytes = Some(u64::MAX), "peak memory in bytes"),
            (|profile| profile.run.duration_ms = u64::MAX, "the run: its length"),
            (|profile| profile.soaks[0].peak_temperatures[0].1 = i32::MIN, "a temperature"),
        ];
        for (change, told) in cases {
            let mut profile = example::profile();
            change(&mut profile);
            let refused = check(&profile).unwrap_err().to_string();
            assert!(refused.contains(told), "{told}: {refused}");
        }
    }
}
