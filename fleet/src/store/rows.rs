//! From a decoded profile to the figures that the tables hold.

use clipmark_profile::figures::{Figure, Figures};
use clipmark_profile::identity::Issued;
use clipmark_profile::point::{PointId, Shape, Variant};
use clipmark_profile::record::Failure;
use clipmark_profile::stats::histogram::Histogram;
use clipmark_profile::summary::{PointSummary, Profile, SoakSummary, Status, SteadyState};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A profile as rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileRows {
    /// The run's random identifier.
    pub run_id: String,
    /// The device's wall clock at the start, milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Length of the run in milliseconds.
    pub duration_ms: u64,
    /// `sweep`, `soak` or `auto`.
    pub mode: String,
    /// `closed` or `paced`.
    pub load: String,
    /// The stream's rate under paced load, millionths of a frame a second.
    pub stream_micro_fps: Option<u64>,
    /// Versions of the profile's layout and of the analysis.
    pub versions: [u16; 2],
    /// The device's clipmark.
    pub clipmark: String,
    /// Board model.
    pub board: Option<String>,
    /// The board file that matched.
    pub board_id: Option<String>,
    /// CPU model.
    pub cpu: Option<String>,
    /// Jetson Linux release.
    pub l4t: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// CPU architecture.
    pub arch: String,
    /// Power mode.
    pub power_mode: Option<String>,
    /// Whether any figure is simulated.
    pub simulated: bool,
    /// Whether the run ended before its plan did.
    pub partial: bool,
    /// Whether any soak throttled; absent when nothing was soaked.
    pub throttled: Option<bool>,
    /// Points in the plan.
    pub points: u64,
    /// What was put to the test, in the profile's order.
    pub variants: Vec<VariantRows>,
}

/// A variant with its points.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantRows {
    /// What was built.
    pub variant: Variant,
    /// The model's SHA-256, lower-case hexadecimal; absent when the profile does not list the model.
    pub model_sha256: Option<String>,
    /// The version of the runtime behind the backend.
    pub backend_version: Option<String>,
    /// The device that the backend ran on.
    pub backend_device: Option<String>,
    /// Points that have a latency.
    pub points: Vec<PointFigures>,
    /// Points that failed, and why.
    pub failures: Vec<(Shape, Failure)>,
    /// Soaks.
    pub soaks: Vec<SoakFigures>,
}

/// The figures of one point.
#[derive(Debug, Clone, PartialEq)]
pub struct PointFigures {
    /// What the variant was given.
    pub shape: Shape,
    /// How far it came.
    pub status: Status,
    /// Whether a soak of this point throttled in the same run; absent when it was not soaked.
    pub throttled: Option<bool>,
    /// Whether the sequence settled.
    pub steady: SteadyState,
    /// The figures that are kept: see [`Figure::stored`](clipmark_profile::figures::Figure::stored).
    pub figures: Figures,
    /// The whole distribution.
    pub histogram: Histogram,
}

/// The figures of one soak.
#[derive(Debug, Clone, PartialEq)]
pub struct SoakFigures {
    /// What the variant was given.
    pub shape: Shape,
    /// Length in milliseconds.
    pub duration_ms: u64,
    /// Time to the first throttling; absent when there was none.
    pub time_to_throttle_ms: Option<u64>,
    /// Why it throttled, each cause once, e.g. `thermal`.
    pub causes: Vec<String>,
    /// Frames a second in the first steady segment.
    pub burst_frames_per_s: Option<f64>,
    /// Frames a second in the final stationary segment.
    pub sustained_frames_per_s: Option<f64>,
    /// Sustained / burst.
    pub sustained_ratio: Option<f64>,
    /// P99 in the final stationary segment.
    pub sustained_p99_ns: Option<f64>,
    /// The hottest reading of any thermal channel, thousandths of a degree Celsius.
    pub peak_millicelsius: Option<i32>,
    /// Why it was stopped before its time.
    pub aborted: Option<String>,
}

/// The name that serde gives a variant without data.
pub(super) fn name_of<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        // Only enums without data are passed here.
        _ => String::new(),
    }
}

/// The variant that [`name_of`] named.
pub(super) fn named<T: serde::de::DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

/// The points that were soaked, and whether any of their soaks throttled.
type Soaked = BTreeMap<PointId, bool>;

fn soaked(profile: &Profile) -> Soaked {
    let mut soaked = Soaked::new();
    for soak in &profile.soaks {
        *soaked.entry(soak.id).or_default() |= !soak.throttles.is_empty();
    }
    soaked
}

fn point(point: &PointSummary, soaked: &Soaked) -> Option<PointFigures> {
    let latency = point.latency.as_ref()?;
    let mut figures = Figures::default();
    Figure::stored().for_each(|(figure, _)| figures.set(figure, figure.of(point)));
    Some(PointFigures {
        shape: point.id.shape,
        status: point.status,
        throttled: soaked.get(&point.id).copied(),
        steady: latency.steady,
        figures,
        histogram: latency.histogram.clone(),
    })
}

fn soak(soak: &SoakSummary) -> SoakFigures {
    let causes: BTreeSet<_> = soak.throttles.iter().map(|throttle| throttle.cause).collect();
    SoakFigures {
        shape: soak.id.shape,
        duration_ms: soak.duration_ms,
        time_to_throttle_ms: soak.time_to_throttle_ms,
        causes: causes.iter().map(name_of).collect(),
        burst_frames_per_s: soak.burst_frames_per_s,
        sustained_frames_per_s: soak.sustained_frames_per_s,
        sustained_ratio: soak.sustained_ratio,
        sustained_p99_ns: soak.sustained_p99_ns,
        peak_millicelsius: soak.peak_temperatures.iter().map(|(_, value)| *value).max(),
        aborted: soak.aborted.clone(),
    }
}

fn variant(profile: &Profile, index: usize, soaked: &Soaked) -> VariantRows {
    let variant = &profile.variants[index];
    let is_ours = |id: &PointId| usize::from(id.variant) == index;
    let model = profile.models.iter().find(|model| model.name == variant.model);
    let backend = profile.backends.iter().find(|backend| backend.name == variant.backend);
    let points = || profile.points.iter().filter(|point| is_ours(&point.id));
    VariantRows {
        variant: variant.clone(),
        model_sha256: model.map(|model| model.sha256.clone()),
        backend_version: backend.map(|backend| backend.version.clone()),
        backend_device: backend.map(|backend| backend.device.clone()),
        points: points().filter_map(|summary| point(summary, soaked)).collect(),
        failures: points().filter_map(|point| Some((point.id.shape, point.failure.clone()?))).collect(),
        soaks: profile.soaks.iter().filter(|soak| is_ours(&soak.id)).map(soak).collect(),
    }
}

impl From<&Profile> for ProfileRows {
    fn from(profile: &Profile) -> Self {
        let soaked = soaked(profile);
        let (run, environment) = (&profile.run, &profile.environment);
        Self {
            run_id: run.id.clone(),
            started_unix_ms: run.started_unix_ms,
            duration_ms: run.duration_ms,
            mode: name_of(&run.mode),
            load: name_of(&run.load),
            stream_micro_fps: match Issued::of_run(run) {
                Issued::Stream(micros) => Some(micros),
                Issued::Closed | Issued::Paced | Issued::Unknown => None,
            },
            versions: [profile.schema, profile.analysis],
            clipmark: environment.clipmark.clone(),
            board: environment.board.clone(),
            board_id: environment.board_id.clone(),
            cpu: environment.cpu.clone(),
            l4t: environment.l4t.clone(),
            kernel: environment.kernel.clone(),
            arch: environment.arch.clone(),
            power_mode: environment.power_mode.clone(),
            simulated: run.simulated,
            partial: run.partial,
            throttled: soaked.values().copied().reduce(|any, throttled| any || throttled),
            points: profile.points.len() as u64,
            variants: (0..profile.variants.len()).map(|index| variant(profile, index, &soaked)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::example;

    #[test]
    fn a_profile_becomes_rows_of_its_variants_points_failures_and_soaks() {
        let profile = example::profile();
        let rows = ProfileRows::from(&profile);
        assert_eq!(rows.variants.len(), 2);
        let measured = profile.points.iter().filter(|point| point.latency.is_some()).count();
        assert_eq!(rows.variants.iter().map(|variant| variant.points.len()).sum::<usize>(), measured);
        assert_eq!(rows.variants.iter().map(|variant| variant.failures.len()).sum::<usize>(), 1);
        assert!(rows.throttled == Some(true) && rows.variants[1].soaks[0].time_to_throttle_ms.is_some());
        let is_throttled = |point: &&PointFigures| point.throttled == Some(true);
        let throttled: Vec<_> = rows.variants[1].points.iter().filter(is_throttled).collect();
        assert_eq!(throttled.len(), 1);
        assert_eq!(throttled[0].shape, Shape::new(1, 16).unwrap());
    }

    #[test]
    fn only_what_was_soaked_is_known_to_throttle_or_not_to() {
        let known = |profile: &Profile| {
            let rows = ProfileRows::from(profile);
            let points = rows.variants.iter().flat_map(|variant| &variant.points);
            (rows.throttled, points.filter_map(|point| point.throttled).collect::<Vec<_>>())
        };
        let mut profile = example::profile();
        assert_eq!(known(&profile), (Some(true), vec![true]));
        profile.soaks[0].throttles.clear();
        assert_eq!(known(&profile), (Some(false), vec![false]));
        profile.soaks.clear();
        assert_eq!(known(&profile), (None, Vec::new()));
    }

    #[test]
    fn variants_keep_their_names() {
        assert_eq!(name_of(&Status::NotRun), "not_run");
        assert_eq!(named::<SteadyState>("warm_up"), Some(SteadyState::WarmUp));
        assert_eq!(named::<SteadyState>("nonsense"), None);
    }
}
