//! From profiles to samples, and what must agree between them.

use crate::plan::Load;
use crate::point::{Precision, Shape};
use crate::stats::histogram::Histogram;
use crate::summary::{Interval, PointSummary, Profile, SoakSummary, Status, SteadyState, ThrottleCause};
use std::collections::BTreeSet;
use std::fmt;

/// Everything that must agree before samples may be put together. A part that is not known agrees only with
/// others that are not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CohortKey {
    /// The model's name.
    pub model: String,
    /// The model's SHA-256, hexadecimal.
    pub digest: Option<String>,
    /// The backend.
    pub backend: String,
    /// Numeric precision.
    pub precision: Precision,
    /// Threads per inference.
    pub threads: u32,
    /// Batch size and clip length.
    pub shape: Shape,
    /// The board file that matched, else the board's own name, else the CPU's.
    pub board: Option<String>,
    /// The power mode.
    pub power_mode: Option<String>,
    /// The Jetson Linux release, else the kernel's.
    pub firmware: Option<String>,
    /// Whether the load was paced.
    pub paced: bool,
    /// Whether the figures are simulated.
    pub simulated: bool,
}

/// A part of a [`CohortKey`] that can be left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Factor {
    /// The model as a whole: name and digest.
    Model,
    /// The model's digest alone: two builds of one model.
    Build,
    /// The backend.
    Backend,
    /// Numeric precision.
    Precision,
    /// Threads per inference.
    Threads,
    /// The board type.
    Board,
    /// The power mode.
    PowerMode,
    /// The firmware.
    Firmware,
    /// Measured or simulated.
    Simulation,
}

impl Factor {
    /// Every factor, in the order of a key.
    pub const ALL: [Self; 9] = [
        Self::Model,
        Self::Build,
        Self::Backend,
        Self::Precision,
        Self::Threads,
        Self::Board,
        Self::PowerMode,
        Self::Firmware,
        Self::Simulation,
    ];

    /// The name on the command line and in sentences.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Build => "build",
            Self::Backend => "backend",
            Self::Precision => "precision",
            Self::Threads => "threads",
            Self::Board => "board",
            Self::PowerMode => "power-mode",
            Self::Firmware => "firmware",
            Self::Simulation => "simulation",
        }
    }

    /// The factor of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|factor| factor.name() == name)
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl CohortKey {
    /// This key with `open` parts made alike.
    #[must_use]
    pub fn lineage(&self, open: &[Factor]) -> Self {
        let mut key = self.clone();
        for factor in open {
            match factor {
                Factor::Model => {
                    key.model.clear();
                    key.digest = None;
                }
                Factor::Build => key.digest = None,
                Factor::Backend => key.backend.clear(),
                Factor::Precision => key.precision = Precision::Model,
                Factor::Threads => key.threads = 0,
                Factor::Board => key.board = None,
                Factor::PowerMode => key.power_mode = None,
                Factor::Firmware => key.firmware = None,
                Factor::Simulation => key.simulated = false,
            }
        }
        key
    }
}

impl fmt::Display for CohortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |part: &Option<String>| part.clone().unwrap_or_else(|| "unknown".into());
        write!(f, "{} {} on {} ({}", self.model, self.shape, self.backend, self.precision)?;
        if self.threads > 1 {
            write!(f, ", {} threads", self.threads)?;
        }
        write!(f, "), {}, {}, {}", known(&self.board), known(&self.power_mode), known(&self.firmware))
    }
}

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
    /// The distribution of latencies, with or without its exact tail.
    pub histogram: Histogram,
    /// The reference median, ns.
    pub p50_ns: f64,
    /// Its 95 % interval.
    pub p50_ci_ns: Interval,
    /// The reference P99, ns; absent where it lies beyond the largest observation.
    pub p99_ns: Option<f64>,
    /// Its 95 % interval.
    pub p99_ci_ns: Interval,
    /// Frames completed a second.
    pub frames_per_s: Option<f64>,
    /// Energy per frame of the whole board, uJ.
    pub energy_per_frame_uj: Option<f64>,
    /// Peak memory, host and device, bytes.
    pub peak_memory_bytes: Option<f64>,
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
    pub key: CohortKey,
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
    let host = point.peak_memory_bytes;
    let sample = Sample {
        device: device.to_owned(),
        run: profile.run.id.clone(),
        started_unix_ms: profile.run.started_unix_ms,
        histogram: latency.histogram.clone(),
        p50_ns: latency.p50_ns,
        p50_ci_ns: latency.p50_ci_ns,
        p99_ns: latency.p99_ns.filter(|_| !latency.p99_extrapolated),
        p99_ci_ns: latency.p99_ci_ns,
        frames_per_s: point.frames_per_s,
        energy_per_frame_uj: point.energy.map(|energy| energy.gross_per_frame_uj),
        peak_memory_bytes: host.map(|bytes| (bytes + point.device_memory_bytes.unwrap_or(0)) as f64),
        throttled: throttled(latency.steady, &signs),
        signs,
    };
    Some(Entry { key: key(profile, point)?, sample })
}

fn key(profile: &Profile, point: &PointSummary) -> Option<CohortKey> {
    let variant = profile.variants.get(usize::from(point.id.variant))?;
    let record = profile.models.iter().find(|model| model.name == variant.model);
    let environment = &profile.environment;
    let first = |names: [&Option<String>; 3]| names.into_iter().flatten().next().cloned();
    Some(CohortKey {
        model: variant.model.clone(),
        digest: record.map(|record| record.sha256.clone()),
        backend: variant.backend.clone(),
        precision: variant.precision,
        threads: variant.threads,
        shape: point.id.shape,
        board: first([&environment.board_id, &environment.board, &environment.cpu]),
        power_mode: environment.power_mode.clone(),
        firmware: first([&environment.l4t, &environment.kernel, &None]),
        paced: profile.run.load == Load::Paced,
        simulated: profile.run.simulated,
    })
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
