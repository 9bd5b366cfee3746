//! From what is asked (a [`Request`], bounded by [`Limits`]) to what will be done (a [`Plan`]).
//!
//! Pure: no file is opened here. Model names are resolved and axes are probed by the daemon, which then
//! hands the variants and their usable axes to [`Plan::expand`].

use crate::axis::{Axis, AxisValue, Cost, Domain};
use crate::point::{PointId, Precision, Shape, Variant};
use crate::streams::{ArrivalProcess, Phases, StreamCount};
use crate::units::Nanos;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

/// Most backend options in a request, and the longest name and value in bytes.
const MAX_OPTIONS: usize = 32;
const MAX_OPTION_NAME: usize = 64;
const MAX_OPTION_VALUE: usize = 1024;

/// Most values of one axis in a request.
const MAX_VALUES: usize = 64;

/// How inferences are issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// The next inference starts when the last one ends.
    #[default]
    Closed,
    /// Inferences arrive on the schedule of a live stream; latency counts from the intended arrival.
    Paced,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// What a run consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The grid, with adaptive stopping.
    #[default]
    Sweep,
    /// One or more points for a long time.
    Soak,
    /// A sweep, then a soak of the chosen operating points.
    Auto,
    /// One that this version does not know, from a newer device.
    Unknown,
}

/// What a user asks for, on the command line, in a plan file or over MQTT. Unknown fields are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Model names or, on the command line only, paths. Empty: the built-in pair.
    pub models: Vec<String>,
    /// Expected SHA-256 of the models, hexadecimal, in the same order; empty: unchecked.
    pub digests: Vec<String>,
    /// Backend names; `auto` picks the best available.
    pub backends: Vec<String>,
    /// Clip lengths in frames.
    pub clip_lengths: Vec<u32>,
    /// Batch sizes in clips.
    pub batch_sizes: Vec<u32>,
    /// Numeric precisions. A single one may be written without a list, also as `precision`.
    #[serde(alias = "precision", deserialize_with = "one_or_many")]
    pub precisions: Vec<Precision>,
    /// Threads per inference. A single count may be written without a list.
    #[serde(deserialize_with = "one_or_many")]
    pub threads: Vec<u32>,
    /// Engines that serve `streams` in parallel; the sweep measures one of them. A single count may be written without
    /// a list.
    #[serde(deserialize_with = "one_or_many")]
    pub instances: Vec<u32>,
    /// Sweep, soak or both.
    pub mode: Mode,
    /// How inferences are issued.
    pub load: Load,
    /// A streaming deadline for one inference in milliseconds; excludes `fps` unless `streams` are offered.
    pub deadline_ms: Option<f64>,
    /// Frames a second of the stream; the deadline of a clip is clip length / fps.
    pub fps: Option<f64>,
    /// Streams to offer after the sweep: `auto` searches how many the board sustains. Needs `fps`.
    pub streams: Option<StreamCount>,
    /// Frames between two clips of a stream; absent: the clip length.
    pub hop: Option<u32>,
    /// When the first clips of the streams arrive.
    pub phases: Phases,
    /// How the clips of a stream follow each other.
    pub arrivals: ArrivalProcess,
    /// Longest time that one number of streams is offered, in seconds.
    pub trial_s: f64,
    /// Wall-clock budget for the sweep in seconds.
    pub budget_s: Option<f64>,
    /// A fixed iteration count per point instead of adaptive stopping.
    pub iterations: Option<u32>,
    /// The whole grid at fixed counts, nothing dropped.
    pub exhaustive: bool,
    /// Seed of inputs and order.
    pub seed: u64,
    /// Time limit for one point's preparation in seconds.
    pub prepare_limit_s: f64,
    /// Time limit for one inference in seconds.
    pub inference_limit_s: f64,
    /// Memory limit of one worker in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Record the most expensive operators per point.
    pub per_op: bool,
    /// Soak length in seconds.
    pub soak_s: Option<f64>,
    /// Points to soak; empty: the chosen operating points.
    pub soak_points: Vec<Shape>,
    /// The run aborts when a thermal zone reaches this temperature, degrees Celsius.
    pub abort_celsius: Option<f64>,
    /// Backend options by name, e.g. `cuda_graph = "true"`. Each goes to the backends that know it.
    pub backend_options: BTreeMap<String, String>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            digests: Vec::new(),
            backends: vec!["auto".into()],
            clip_lengths: vec![8, 16, 32, 64, 128],
            batch_sizes: vec![1, 2, 4],
            precisions: vec![Precision::Model],
            threads: vec![1],
            instances: vec![1],
            mode: Mode::Sweep,
            load: Load::Closed,
            deadline_ms: None,
            fps: None,
            streams: None,
            hop: None,
            phases: Phases::Random,
            arrivals: ArrivalProcess::Periodic,
            trial_s: 60.0,
            budget_s: None,
            iterations: None,
            exhaustive: false,
            seed: 0,
            prepare_limit_s: 120.0,
            inference_limit_s: 30.0,
            memory_limit_bytes: None,
            per_op: false,
            soak_s: None,
            soak_points: Vec::new(),
            abort_celsius: None,
            backend_options: BTreeMap::new(),
        }
    }
}

/// Caps that a configuration puts on every number in a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most models in one request.
    pub max_models: usize,
    /// Most points in one run, over all variants.
    pub max_points: usize,
    /// Largest clip length in frames.
    pub max_clip_length: u32,
    /// Largest batch size in clips.
    pub max_batch_size: u32,
    /// Most threads.
    pub max_threads: u32,
    /// Most iterations per point.
    pub max_iterations: u32,
    /// Longest sweep in seconds.
    pub max_budget_s: f64,
    /// Longest soak in seconds.
    pub max_soak_s: f64,
    /// Most time for one point's preparation, in seconds.
    pub max_prepare_s: f64,
    /// Most time for one inference, in seconds.
    pub max_inference_s: f64,
    /// Most memory for one worker, in bytes.
    pub max_memory_bytes: u64,
    /// A run stops at this temperature at the latest, in degrees Celsius, whether its request names one or
    /// not; absent: where the request says, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_abort_celsius: Option<f64>,
}

impl Limits {
    /// Largest count of `axis`.
    #[must_use]
    pub fn most(&self, axis: Axis) -> u32 {
        let configured = match axis {
            Axis::ClipLength | Axis::Hop => self.max_clip_length,
            Axis::BatchSize => self.max_batch_size,
            Axis::Threads => self.max_threads,
            _ => u32::MAX,
        };
        match axis.row().domain {
            Domain::Count { most } => configured.min(most),
            Domain::Choice(_) | Domain::Name { .. } => configured,
        }
    }

    /// Highest temperature that a request may name where the configuration says nothing.
    const HOTTEST: f64 = 150.0;

    /// Limits of which each is the lower of two.
    #[must_use]
    pub fn tightened(&self, by: &Self) -> Self {
        let hottest = [self.max_abort_celsius, by.max_abort_celsius];
        Self {
            max_models: self.max_models.min(by.max_models),
            max_points: self.max_points.min(by.max_points),
            max_clip_length: self.max_clip_length.min(by.max_clip_length),
            max_batch_size: self.max_batch_size.min(by.max_batch_size),
            max_threads: self.max_threads.min(by.max_threads),
            max_iterations: self.max_iterations.min(by.max_iterations),
            max_budget_s: self.max_budget_s.min(by.max_budget_s),
            max_soak_s: self.max_soak_s.min(by.max_soak_s),
            max_prepare_s: self.max_prepare_s.min(by.max_prepare_s),
            max_inference_s: self.max_inference_s.min(by.max_inference_s),
            max_memory_bytes: self.max_memory_bytes.min(by.max_memory_bytes),
            max_abort_celsius: hottest.into_iter().flatten().reduce(f64::min),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_models: 8,
            max_points: 512,
            max_clip_length: 4096,
            max_batch_size: 1024,
            max_threads: 256,
            max_iterations: 1_000_000,
            max_budget_s: 86_400.0,
            max_soak_s: 7.0 * 86_400.0,
            max_prepare_s: 86_400.0,
            max_inference_s: 86_400.0,
            max_memory_bytes: 1 << 40,
            max_abort_celsius: None,
        }
    }
}

/// The streaming constraint of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Deadline {
    /// No stream was described.
    None,
    /// Every inference must complete within this span.
    PerInference(Nanos),
    /// A stream of this many frames a second; a clip of T frames must complete within T / fps.
    Fps(f64),
}

impl Deadline {
    /// The span within which one inference at `at` must complete, or `None` without a constraint.
    #[must_use]
    pub fn at(self, at: Shape) -> Option<Nanos> {
        match self {
            Self::None => None,
            Self::PerInference(span) => Some(span),
            Self::Fps(fps) => Some(Nanos((f64::from(at.clip()) / fps * 1e9) as u64)),
        }
    }
}

/// An ordered, validated run: what the daemon executes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is put to the test.
    pub variants: Vec<Variant>,
    /// Every point, in grid order; the sweep decides the order of measuring.
    pub points: Vec<PointId>,
    /// The streaming constraint.
    pub deadline: Deadline,
    /// The request it came from.
    pub request: Request,
}

/// Why a request cannot become a plan. Each names the field, the offending value and the bound.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A list or number is outside its bound.
    #[error("{field} = {value} is outside {bound}; choose a value inside it")]
    OutOfRange {
        /// The request's field.
        field: String,
        /// The value given.
        value: String,
        /// The permitted range, with where it comes from.
        bound: String,
    },
    /// Two fields exclude each other.
    #[error("{first} and {second} exclude each other; give one of them")]
    Exclusive {
        /// One field.
        first: String,
        /// The other field.
        second: String,
    },
    /// A field that another field requires is missing.
    #[error("{because}: give {field}, e.g. {example}")]
    Missing {
        /// The missing field.
        field: String,
        /// The reason.
        because: &'static str,
        /// What it takes, for example.
        example: &'static str,
    },
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    field: &str,
    value: T,
    low: T,
    high: T,
) -> Result<(), PlanError> {
    if value >= low && value <= high {
        return Ok(());
    }
    let bound = format!("{low} to {high}");
    Err(PlanError::OutOfRange { field: field.to_owned(), value: value.to_string(), bound })
}

/// Holds a digest against the form of SHA-256: 64 hexadecimal digits.
fn hexadecimal(digest: &str) -> Result<(), PlanError> {
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    let bound = "the form of a SHA-256: 64 hexadecimal digits".to_owned();
    Err(PlanError::OutOfRange {
        field: "digests".to_owned(),
        value: digest.chars().take(80).collect(),
        bound,
    })
}

impl Request {
    /// Holds every number against `limits`.
    ///
    /// # Errors
    /// The first field that is out of range, excluded by another or missing.
    pub fn validate(&self, limits: &Limits) -> Result<(), PlanError> {
        in_range("models", self.models.len(), 0, limits.max_models)?;
        if !self.digests.is_empty() {
            in_range("digests (count)", self.digests.len(), self.models.len(), self.models.len())?;
        }
        self.digests.iter().try_for_each(|digest| hexadecimal(digest))?;
        in_range("backends", self.backends.len(), 1, 8)?;
        Axis::ALL.into_iter().try_for_each(|axis| self.validate_axis(axis, limits))?;
        for axis in Axis::SHAPE {
            for size in self.soak_points.iter().filter_map(|point| point.get(axis)) {
                in_range(&format!("soak_points.{}", axis.column()), size, 1, limits.most(axis))?;
            }
        }
        let mut loads = vec![("hop", Axis::Hop, self.hop)];
        if let Some(StreamCount::Exactly(count)) = self.streams {
            loads.push(("streams", Axis::Streams, Some(count)));
        }
        for (key, axis, count) in loads {
            count.map_or(Ok(()), |count| in_range(key, count, 1, limits.most(axis)))?;
        }
        in_range("soak_points (count)", self.soak_points.len(), 0, 16)?;
        if let Some(iterations) = self.iterations {
            in_range("iterations", iterations, 1, limits.max_iterations)?;
        }
        in_range("backend_options (count)", self.backend_options.len(), 0, MAX_OPTIONS)?;
        for (name, value) in &self.backend_options {
            in_range("backend_options (length of a name)", name.len(), 1, MAX_OPTION_NAME)?;
            in_range("backend_options (length of a value)", value.len(), 0, MAX_OPTION_VALUE)?;
        }
        self.validate_spans(limits)?;
        self.validate_combinations()
    }

    /// What is asked of `axis`, in the order of the request; empty where it cannot be asked for.
    #[must_use]
    pub fn values(&self, axis: Axis) -> Vec<AxisValue> {
        let names = |list: &[String]| list.iter().cloned().map(AxisValue::Name).collect();
        let counts = |list: &[u32]| list.iter().copied().map(AxisValue::Count).collect();
        match axis {
            Axis::Model => names(&self.models),
            Axis::Backend => names(&self.backends),
            Axis::Precision => {
                self.precisions.iter().map(|own| AxisValue::Name(own.name().to_owned())).collect()
            }
            Axis::Threads => counts(&self.threads),
            Axis::Instances => counts(&self.instances),
            Axis::BatchSize => counts(&self.batch_sizes),
            Axis::ClipLength => counts(&self.clip_lengths),
            Axis::PowerMode | Axis::Streams | Axis::Hop => Vec::new(),
        }
    }

    /// Asks for `values` of `axis`; nothing happens where it cannot be asked for, or with values of another kind.
    pub fn ask(&mut self, axis: Axis, values: &[AxisValue]) {
        let counts = || values.iter().filter_map(AxisValue::count).collect();
        let names = || values.iter().map(ToString::to_string).collect();
        match axis {
            Axis::Model => self.models = names(),
            Axis::Backend => self.backends = names(),
            Axis::Precision => {
                let known = |value: &AxisValue| Precision::from_name(&value.to_string());
                self.precisions = values.iter().filter_map(known).collect();
            }
            Axis::Threads => self.threads = counts(),
            Axis::Instances => self.instances = counts(),
            Axis::BatchSize => self.batch_sizes = counts(),
            Axis::ClipLength => self.clip_lengths = counts(),
            Axis::PowerMode | Axis::Streams | Axis::Hop => {}
        }
    }

    /// Holds what is asked of `axis` against its domain and `limits`. The names of models and backends are resolved
    /// elsewhere.
    fn validate_axis(&self, axis: Axis, limits: &Limits) -> Result<(), PlanError> {
        let row = axis.row();
        let (Some(key), false) = (row.request_key, matches!(row.domain, Domain::Name { .. })) else {
            return Ok(());
        };
        let values = self.values(axis);
        in_range(&format!("{key} (count)"), values.len(), 1, MAX_VALUES)?;
        for value in values {
            match value {
                AxisValue::Count(count) => in_range(key, count, 1, limits.most(axis))?,
                AxisValue::Name(name) => {
                    if let Err(error) = axis.parse(&name) {
                        let (field, bound) = (key.to_owned(), error.expected);
                        return Err(PlanError::OutOfRange { field, value: name, bound });
                    }
                }
            }
        }
        Ok(())
    }

    fn validate_spans(&self, limits: &Limits) -> Result<(), PlanError> {
        if self.streams.is_some() {
            in_range("trial_s", self.trial_s, 1.0, limits.max_budget_s)?;
        }
        in_range("prepare_limit_s", self.prepare_limit_s, 0.1, limits.max_prepare_s)?;
        in_range("inference_limit_s", self.inference_limit_s, 0.001, limits.max_inference_s)?;
        let hottest = limits.max_abort_celsius.unwrap_or(Limits::HOTTEST);
        let optional = [
            ("deadline_ms", self.deadline_ms, 0.001, 3.6e6),
            ("fps", self.fps, 0.01, 1e5),
            ("budget_s", self.budget_s, 1.0, limits.max_budget_s),
            ("soak_s", self.soak_s, 1.0, limits.max_soak_s),
            ("abort_celsius", self.abort_celsius, 20.0, hottest),
        ];
        for (field, value, low, high) in optional {
            if let Some(value) = value {
                in_range(field, value, low, high)?;
            }
        }
        if let Some(bytes) = self.memory_limit_bytes {
            in_range("memory_limit_bytes", bytes, 1 << 20, limits.max_memory_bytes)?;
        }
        Ok(())
    }

    fn validate_combinations(&self) -> Result<(), PlanError> {
        if self.load == Load::Unknown || self.mode == Mode::Unknown {
            let (field, bound) = match self.load {
                Load::Unknown => ("load", "closed, paced"),
                _ => ("mode", "sweep, soak, auto"),
            };
            let (field, bound) = (field.to_owned(), bound.to_owned());
            return Err(PlanError::OutOfRange { field, value: "unknown".into(), bound });
        }
        self.validate_streams()?;
        if self.deadline_ms.is_some() && self.fps.is_some() && self.streams.is_none() {
            return Err(PlanError::Exclusive { first: "deadline_ms".into(), second: "fps".into() });
        }
        if self.exhaustive && self.iterations.is_some() {
            return Err(PlanError::Exclusive { first: "exhaustive".into(), second: "iterations".into() });
        }
        if self.load == Load::Paced && self.fps.is_none() {
            let because = "a paced load needs the stream's rate";
            return Err(PlanError::Missing { field: "fps".into(), because, example: "30" });
        }
        if self.mode == Mode::Soak && self.soak_points.is_empty() {
            let because = "a soak without a sweep needs its points";
            return Err(PlanError::Missing { field: "soak_points".into(), because, example: "1,16" });
        }
        Ok(())
    }

    fn validate_streams(&self) -> Result<(), PlanError> {
        let unknown = |field: &str, bound: &str| {
            let (field, bound) = (field.to_owned(), bound.to_owned());
            Err(PlanError::OutOfRange { field, value: "unknown".into(), bound })
        };
        if self.phases == Phases::Unknown {
            return unknown("phases", "random, aligned");
        }
        if self.arrivals == ArrivalProcess::Unknown {
            return unknown("arrivals", "periodic, poisson");
        }
        let missing = |field: &str, because: &'static str, example: &'static str| {
            Err(PlanError::Missing { field: field.into(), because, example })
        };
        if self.streams.is_none() {
            return if self.instances != [1] {
                missing("streams", "several instances are measured under streams", "auto")
            } else if self.hop.is_some() {
                missing("streams", "a hop is a property of streams", "auto")
            } else {
                Ok(())
            };
        }
        if self.fps.is_none() {
            return missing("fps", "streams need their rate", "30");
        }
        let exclusive =
            |second: &str| Err(PlanError::Exclusive { first: "streams".into(), second: second.into() });
        match (self.load, self.mode) {
            (Load::Paced, _) => exclusive("load = paced"),
            (_, Mode::Soak) => exclusive("mode = soak"),
            _ => Ok(()),
        }
    }

    /// The period and the deadline of a stream that is served at `shape`; `None` without a rate.
    #[must_use]
    pub fn stream_times(&self, shape: Shape) -> Option<(Nanos, Nanos)> {
        let hop = f64::from(self.hop.unwrap_or(shape.hop()));
        let period = Nanos(((hop / self.fps? * 1e9) as u64).max(1));
        let deadline = self.deadline_ms.map_or(period, |ms| Nanos((ms * 1e6) as u64));
        Some((period, deadline))
    }

    /// The streaming constraint that the request describes.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        match (self.deadline_ms, self.fps) {
            (Some(ms), _) => Deadline::PerInference(Nanos((ms * 1e6) as u64)),
            (None, Some(fps)) => Deadline::Fps(fps),
            (None, None) => Deadline::None,
        }
    }
}

/// A variant with the axis values it can really take, as probed.
#[derive(Debug, Clone, PartialEq)]
pub struct UsableVariant {
    /// What is put to the test.
    pub variant: Variant,
    /// Sizes that the model insists on; its other axes are dynamic.
    pub fixed: Vec<(Axis, u32)>,
}

impl UsableVariant {
    /// `variants` over the values that `request` asks for of the axes that are not decided yet: the product, outermost
    /// the axis that is dearest to change.
    #[must_use]
    pub fn expand(mut variants: Vec<Self>, request: &Request) -> Vec<Self> {
        let is_open = |axis: &Axis| {
            Axis::VARIANT.contains(axis) && !matches!(axis, Axis::Model | Axis::Backend | Axis::Instances)
        };
        let with = |usable: &Self, axis: Axis, value: &AxisValue| {
            let mut usable = usable.clone();
            usable.variant.set(axis, value.clone());
            usable
        };
        for axis in Axis::ALL.into_iter().filter(is_open) {
            let values = distinct(request.values(axis));
            if values.is_empty() {
                continue;
            }
            variants = if axis.row().cost == Cost::Board {
                let outer = values.iter();
                outer.flat_map(|value| variants.iter().map(move |usable| with(usable, axis, value))).collect()
            } else {
                let outer = variants.iter();
                outer.flat_map(|usable| values.iter().map(move |value| with(usable, axis, value))).collect()
            };
        }
        variants
    }

    /// Every shape that `request` asks for and the model can take.
    fn shapes(&self, request: &Request) -> Vec<Shape> {
        let mut shapes = vec![Shape::UNIT];
        for axis in Axis::SHAPE {
            let fixed = self.fixed.iter().find(|(own, _)| *own == axis).map(|&(_, size)| vec![size]);
            let asked = || request.values(axis).iter().filter_map(AxisValue::count).collect::<BTreeSet<_>>();
            let sizes = fixed.unwrap_or_else(|| asked().into_iter().collect());
            if !sizes.is_empty() {
                let all = |shape: &Shape| -> Vec<Shape> {
                    sizes.iter().filter_map(|&size| shape.with(axis, size)).collect()
                };
                shapes = shapes.iter().flat_map(all).collect();
            }
        }
        shapes
    }
}

/// `values` in their order, each once.
fn distinct(values: Vec<AxisValue>) -> Vec<AxisValue> {
    let mut seen = BTreeSet::new();
    values.into_iter().filter(|value| seen.insert(value.clone())).collect()
}

impl Plan {
    /// `model/backend` of every variant, in order, for displays.
    #[must_use]
    pub fn variant_labels(&self) -> Vec<String> {
        self.variants.iter().map(|variant| format!("{}/{}", variant.model, variant.backend)).collect()
    }

    /// Lays the request's grid over every variant. A fixed axis replaces the request's values for it.
    ///
    /// # Errors
    /// [`Request::validate`]'s, or more points than `limits.max_points`.
    pub fn expand(
        request: Request,
        variants: Vec<UsableVariant>,
        limits: &Limits,
    ) -> Result<Self, PlanError> {
        request.validate(limits)?;
        let mut points = Vec::new();
        for (index, usable) in (0u16..).zip(&variants) {
            points.extend(usable.shapes(&request).into_iter().map(|shape| PointId { variant: index, shape }));
        }
        in_range("points", points.len(), 1, limits.max_points)?;
        let variants = variants.into_iter().map(|usable| usable.variant).collect();
        Ok(Self { variants, points, deadline: request.deadline(), request })
    }
}

/// Reads a list, or one value as a list of one.
fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct OneOrMany<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value or a list of values")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            T::deserialize(text.into_deserializer()).map(|value| vec![value])
        }

        fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Vec<T>, E> {
            T::deserialize(count.into_deserializer()).map(|value| vec![value])
        }

        fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Vec<T>, E> {
            T::deserialize(count.into_deserializer()).map(|value| vec![value])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }
    deserializer.deserialize_any(OneOrMany(PhantomData))
}

#[cfg(test)]
mod tests;
