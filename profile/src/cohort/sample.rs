//! From profiles to samples.

use crate::figures::{Figure, Figures};
use crate::identity::Identity;
use crate::stats::histogram::Histogram;
use crate::summary::{Interval, PointSummary, Profile, SoakSummary, Status, SteadyState, ThrottleCause};
use std::collections::BTreeSet;

/// What may explain why a board is slower than its peers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signs {
    /// Hottest reading of the run, m\u{b0}C.
    pub hottest_millicelsius: Option<i32>,
    /// Why the board throttled in the soaks of the run; absent when nothing was soaked.
    pub throttles: Option<BTreeSet<ThrottleCause>>,
    /// The cpufreq governor.
    pub governor: Option<String>,
    /// Major page faults while measuring.
    pub major_faults: Option<u64>,
    /// Pages swapped in while measuring.
    pub swap_in_pages: Option<u64>,
    /// Memory-pressure stalls while measuring, microseconds.
    pub psi_some_us: Option<u64>,
    /// Load average at the start, in hundredths.
    pub load_centi: Option<u32>,
}

/// One point of one run of one board.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The board, unique in the fleet.
    pub device: String,
    /// The run.
    pub run: String,
    /// Wall-clock start of the run, milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// The distribution of latencies as measured, with or without its exact tail.
    pub histogram: Histogram,
    /// The median in the state in which the run's points are compared, ns: the reference median where the board held
    /// still.
    pub p50_ns: f64,
    /// Its 95 % interval.
    pub p50_ci_ns: Interval,
    /// P99 in that state, ns; absent where it lies beyond the largest observation.
    pub p99_ns: Option<f64>,
    /// Its 95 % interval.
    pub p99_ci_ns: Interval,
    /// Every figure that is known of it, as measured and in the common state.
    pub figures: Figures,
    /// Why the board throttled while this was measured.
    pub throttled: Option<ThrottleCause>,
    /// What may explain it.
    pub signs: Signs,
}

impl Sample {
    /// Whether the board throttled in this run, while this point was measured or otherwise; absent when nothing
    /// was soaked.
    #[must_use]
    pub fn saw_throttling(&self) -> Option<bool> {
        self.signs.throttles.as_ref().map(|causes| !causes.is_empty())
    }
}

/// A sample with its cohort.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The cohort.
    pub key: Identity,
    /// The sample.
    pub sample: Sample,
}

/// Every point of `profile` that has latencies, as measured on `device`.
#[must_use]
pub fn entries(device: &str, profile: &Profile) -> Vec<Entry> {
    profile.points.iter().filter_map(|point| entry(device, profile, point)).collect()
}

fn entry(device: &str, profile: &Profile, point: &PointSummary) -> Option<Entry> {
    // A point that was dropped or cut off has figures of its own, but fewer than were asked for.
    let usable = matches!(point.status, Status::Measured | Status::Dominated);
    let latency = point.latency.as_ref().filter(|latency| usable && latency.p50_ns > 0.0)?;
    let signs = signs(profile, point);
    let (p50_ns, p50_ci_ns) = Figure::P50.in_common_state(point)?;
    let p99 = Figure::P99.in_common_state(point).filter(|_| !latency.p99_extrapolated);
    let sample = Sample {
        device: device.to_owned(),
        run: profile.run.id.clone(),
        started_unix_ms: profile.run.started_unix_ms,
        histogram: latency.histogram.clone(),
        p50_ns,
        p50_ci_ns,
        p99_ns: p99.map(|(p99, _)| p99),
        p99_ci_ns: p99.map(|(_, interval)| interval).unwrap_or_default(),
        figures: Figures::of(point),
        throttled: throttled(latency.steady, &signs),
        signs,
    };
    Some(Entry { key: Identity::of(profile, point.id)?, sample })
}

fn signs(profile: &Profile, point: &PointSummary) -> Signs {
    let temperatures = profile.soaks.iter().flat_map(|soak| &soak.peak_temperatures);
    let causes =
        |soak: &SoakSummary| soak.throttles.iter().map(|throttle| throttle.cause).collect::<Vec<_>>();
    Signs {
        hottest_millicelsius: temperatures.map(|&(_, reading)| reading).max(),
        throttles: (!profile.soaks.is_empty()).then(|| profile.soaks.iter().flat_map(causes).collect()),
        governor: profile.environment.governor.clone(),
        major_faults: point.major_faults,
        swap_in_pages: point.swap_in_pages,
        psi_some_us: point.psi_some_us,
        load_centi: profile.environment.load_centi,
    }
}

/// A point throttled when its latency kept no level in a run that saw the board throttle.
fn throttled(steady: SteadyState, signs: &Signs) -> Option<ThrottleCause> {
    let unsteady = matches!(steady, SteadyState::Slowdown | SteadyState::NoSteadyState);
    signs.throttles.iter().flatten().copied().min().filter(|_| unsteady)
}
