//! What `clipmarkd run` is asked to measure: its flags, laid over a plan file.

use super::axis_flags::AxisFlags;
use super::values::{bytes, decimal, pair, point, seconds, streams, whole};
use crate::exit_codes::{CommandError, ExitCode};
use crate::run::RunError;
use clap::{Args, ValueEnum};
use clipmark_profile::axis::Axis;
use clipmark_profile::plan::{Load, Mode, PlanError, Request};
use clipmark_profile::point::Shape;
use clipmark_profile::streams::{ArrivalProcess, Phases, StreamCount};
use clipmark_profile::sweep::SweepRules;
use clipmark_profile::units::Nanos;
use clipmark_service::config::read_plan;
use std::path::Path;

/// Form of a count, in errors.
const COUNT: &str = "a count, e.g. 4";

/// The flags that make up a request. clap has them as the group `RequestArgs`.
#[derive(Debug, Clone, Default, Args)]
pub struct RequestArgs {
    /// Models: ONNX files, or built-in ones by name (joint, temporal, conv3d). None: joint and temporal.
    #[arg(value_name = "MODEL.onnx")]
    pub models: Vec<String>,
    /// Values of axes: flags of their own, see [`RequestArgs::with`].
    #[arg(skip)]
    axes: AxisFlags,
    /// Streaming deadline of one inference in milliseconds, e.g. 33.3; beside --fps only with --streams
    #[arg(long, value_name = "MS")]
    #[arg(value_parser = decimal("milliseconds, e.g. 33.3"), allow_negative_numbers = true)]
    deadline: Option<f64>,
    /// Frames a second of the stream, e.g. 30: a clip must complete within clip length / fps
    #[arg(long, value_name = "RATE")]
    #[arg(value_parser = decimal("frames a second, e.g. 30"), allow_negative_numbers = true)]
    fps: Option<f64>,
    /// After the sweep, offer this many streams at once, or search how many the board sustains: auto (needs --fps)
    #[arg(long, value_name = "COUNT|auto", value_parser = streams, allow_negative_numbers = true)]
    streams: Option<StreamCount>,
    /// Frames between two clips of a stream, e.g. 8 [default: the clip length]
    #[arg(long, value_name = "FRAMES", requires = "streams")]
    #[arg(value_parser = whole::<u32>("a number of frames, e.g. 8"), allow_negative_numbers = true)]
    hop: Option<u32>,
    /// First clips of the streams at random times, or all at once [default: random]
    #[arg(long, value_enum, requires = "streams")]
    phases: Option<PhasesArg>,
    /// Clips of a stream once every period, or as a Poisson process [default: periodic]
    #[arg(long, value_enum, requires = "streams")]
    arrivals: Option<ArrivalsArg>,
    #[arg(long, value_parser = seconds, value_name = "TIME", requires = "streams", allow_negative_numbers = true)]
    #[arg(help = span_help("Longest time that one number of streams is offered, e.g. 2m", Request::default().trial_s))]
    trial: Option<f64>,
    #[arg(long, value_name = "TIME", value_parser = seconds, allow_negative_numbers = true)]
    #[arg(help = budget_help())]
    budget: Option<f64>,
    /// A fixed number of iterations per point, e.g. 1000, after a tenth as many uncounted ones [default:
    /// as many as each point needs]
    #[arg(long, value_name = "COUNT", conflicts_with = "exhaustive")]
    #[arg(value_parser = whole::<u32>(COUNT), allow_negative_numbers = true)]
    iterations: Option<u32>,
    /// The whole grid at 100 + 1000 iterations, nothing dropped
    #[arg(long)]
    exhaustive: bool,
    /// One inference after another, or on the schedule of a live stream (needs --fps) [default: closed]
    #[arg(long, value_enum)]
    load: Option<LoadArg>,
    #[arg(long, value_name = "NUMBER", value_parser = whole::<u64>("a number from 0 on, e.g. 42"))]
    #[arg(allow_negative_numbers = true)]
    #[arg(help = format!("Seed of inputs and order [default: {}]", Request::default().seed))]
    seed: Option<u64>,
    /// Record the ten most expensive operators of every point
    #[arg(long)]
    per_op: bool,
    /// Memory limit of one worker, e.g. 512M or 2G [default: none]
    #[arg(long, value_parser = bytes, value_name = "SIZE", allow_negative_numbers = true)]
    memory_limit: Option<u64>,
    #[arg(long, value_parser = seconds, value_name = "TIME", allow_negative_numbers = true)]
    #[arg(help = span_help("Time limit of one preparation, e.g. 90s or 5m", Request::default().prepare_limit_s))]
    prepare_limit: Option<f64>,
    #[arg(long, value_parser = seconds, value_name = "TIME", allow_negative_numbers = true)]
    #[arg(help = span_help("Time limit of one inference, e.g. 500ms or 5s", Request::default().inference_limit_s))]
    inference_limit: Option<f64>,
    /// After the sweep, soak the chosen points (or --point) for this long, e.g. 30m
    #[arg(long, value_parser = seconds, value_name = "TIME", allow_negative_numbers = true)]
    soak: Option<f64>,
    /// Points to soak: BATCH,FRAMES (repeatable). Without it, the chosen operating points
    #[arg(long, value_parser = point, value_name = "B,T", requires = "soak")]
    point: Vec<Shape>,
    /// Soak without a sweep (needs --soak and --point)
    #[arg(long, requires = "soak", requires = "point")]
    soak_only: bool,
    /// End the run when a thermal zone reaches this temperature, degrees Celsius, e.g. 95 [default: none]
    #[arg(long, value_name = "CELSIUS")]
    #[arg(value_parser = decimal("degrees Celsius, e.g. 95"), allow_negative_numbers = true)]
    abort_celsius: Option<f64>,
    /// Backend options, e.g. dla_core=0 (repeatable)
    #[arg(long = "backend-option", value_name = "NAME=VALUE", value_parser = pair)]
    backend_options: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LoadArg {
    Closed,
    Paced,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PhasesArg {
    Random,
    Aligned,
}

impl From<PhasesArg> for Phases {
    fn from(arg: PhasesArg) -> Self {
        match arg {
            PhasesArg::Random => Self::Random,
            PhasesArg::Aligned => Self::Aligned,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ArrivalsArg {
    Periodic,
    Poisson,
}

impl From<ArrivalsArg> for ArrivalProcess {
    fn from(arg: ArrivalsArg) -> Self {
        match arg {
            ArrivalsArg::Periodic => Self::Periodic,
            ArrivalsArg::Poisson => Self::Poisson,
        }
    }
}

fn budget_help() -> String {
    let seconds = |span: Nanos| span.get() / Nanos::PER_SECOND;
    let each = seconds(SweepRules::DEFAULT_BUDGET_PER_POINT);
    let least = seconds(SweepRules::LEAST_DEFAULT_BUDGET);
    format!("Time for the sweep, e.g. 90s or 5m [default: {each}s a point, at least {least}s]")
}

fn span_help(text: &str, default_s: f64) -> String {
    format!("{text} [default: {default_s}s]")
}

/// A field of a request, what the command line calls it, and whether its flag was given.
type Named = (&'static str, &'static str, fn(&RequestArgs) -> bool);

/// Fields that are no axis, as errors name them. Flags with units take them written out, so what is shown has its unit.
const FLAGS: [Named; 14] = [
    ("models", "MODEL.onnx", |args| !args.models.is_empty()),
    ("soak_points", "--point", |args| !args.point.is_empty()),
    ("iterations", "--iterations", |args| args.iterations.is_some()),
    ("prepare_limit_s", "--prepare-limit (in seconds)", |args| args.prepare_limit.is_some()),
    ("inference_limit_s", "--inference-limit (in seconds)", |args| args.inference_limit.is_some()),
    ("deadline_ms", "--deadline (in milliseconds)", |args| args.deadline.is_some()),
    ("fps", "--fps", |args| args.fps.is_some()),
    ("streams", "--streams", |args| args.streams.is_some()),
    ("hop", "--hop", |args| args.hop.is_some()),
    ("trial_s", "--trial (in seconds)", |args| args.trial.is_some()),
    ("budget_s", "--budget (in seconds)", |args| args.budget.is_some()),
    ("soak_s", "--soak (in seconds)", |args| args.soak.is_some()),
    ("abort_celsius", "--abort-celsius", |args| args.abort_celsius.is_some()),
    ("memory_limit_bytes", "--memory-limit (in bytes)", |args| args.memory_limit.is_some()),
];

fn set<T: Clone>(field: &mut T, flag: Option<&T>) {
    if let Some(value) = flag {
        field.clone_from(value);
    }
}

impl RequestArgs {
    /// These flags with those of the axes.
    #[must_use]
    pub(super) fn with(&self, axes: &AxisFlags) -> Self {
        Self { axes: axes.clone(), ..self.clone() }
    }

    /// The request: defaults, then the plan file, then the flags.
    ///
    /// # Errors
    /// The plan file cannot be read or understood.
    pub fn over(&self, plan: Option<&Path>) -> Result<Request, CommandError> {
        let mut request = match plan {
            None => Request::default(),
            Some(path) => read_plan(path).map_err(|error| CommandError::new(ExitCode::Usage, error))?,
        };
        if !self.models.is_empty() {
            request.models.clone_from(&self.models);
        }
        self.axes.over(&mut request);
        set(&mut request.seed, self.seed.as_ref());
        set(&mut request.prepare_limit_s, self.prepare_limit.as_ref());
        set(&mut request.inference_limit_s, self.inference_limit.as_ref());
        request.streams = self.streams.or(request.streams);
        request.hop = self.hop.or(request.hop);
        set(&mut request.trial_s, self.trial.as_ref());
        set(&mut request.phases, self.phases.map(Phases::from).as_ref());
        set(&mut request.arrivals, self.arrivals.map(ArrivalProcess::from).as_ref());
        // Without streams a flag for one of the two replaces what the plan says of the other.
        let both = request.streams.is_some();
        request.deadline_ms = self.deadline.or(request.deadline_ms.filter(|_| both || self.fps.is_none()));
        request.fps = self.fps.or(request.fps.filter(|_| both || self.deadline.is_none()));
        request.budget_s = self.budget.or(request.budget_s);
        request.iterations = self.iterations.or(request.iterations);
        request.memory_limit_bytes = self.memory_limit.or(request.memory_limit_bytes);
        request.abort_celsius = self.abort_celsius.or(request.abort_celsius);
        request.backend_options.extend(self.backend_options.iter().cloned());
        request.exhaustive |= self.exhaustive;
        request.per_op |= self.per_op;
        if let Some(load) = self.load {
            request.load = if matches!(load, LoadArg::Paced) { Load::Paced } else { Load::Closed };
        }
        if let Some(length) = self.soak {
            request.soak_s = Some(length);
            request.mode = if self.soak_only { Mode::Soak } else { Mode::Auto };
            request.soak_points.clone_from(&self.point);
        }
        Ok(request)
    }

    /// What the command line calls the request's field `key`, if that flag was given or there is no plan file that
    /// could hold it.
    fn flag(&self, key: &str, has_plan: bool) -> Option<String> {
        if let Some(axis) = Axis::from_request_key(key).filter(|axis| axis.row().flag.is_some()) {
            let flag = axis.row().flag.map(|flag| format!("--{flag}"));
            return flag.filter(|_| !has_plan || self.axes.has(axis));
        }
        let named = FLAGS.iter().find(|(field, _, given)| *field == key && (!has_plan || given(self)));
        named.map(|(_, flag, _)| (*flag).to_owned())
    }

    /// `error` with the flag in place of the request's key, where it is a flag that is wrong and not a key of the plan
    /// file.
    #[must_use]
    pub fn in_flags(&self, error: RunError, has_plan: bool) -> RunError {
        match error {
            RunError::Plan(PlanError::OutOfRange { field, value, bound }) => {
                RunError::Plan(PlanError::OutOfRange { field: self.named(field, has_plan), value, bound })
            }
            RunError::Plan(PlanError::Exclusive { first, second }) => {
                let [first, second] = [first, second].map(|field| self.named(field, has_plan));
                RunError::Plan(PlanError::Exclusive { first, second })
            }
            RunError::Plan(PlanError::Missing { field, because, example }) => {
                // Nobody gave it: it is the flag that the command line lacks, unless a plan file may hold it.
                let field = FLAGS
                    .iter()
                    .find(|(key, ..)| *key == field && !has_plan)
                    .map_or(field, |(_, flag, _)| (*flag).to_owned());
                RunError::Plan(PlanError::Missing { field, because, example })
            }
            RunError::TemperatureLimit { field, celsius, cause } => {
                RunError::TemperatureLimit { field: self.named(field, has_plan), celsius, cause }
            }
            other => other,
        }
    }

    /// The request's field `field`, or a part of it, as the command line calls it.
    fn named(&self, field: String, has_plan: bool) -> String {
        let end = field.find(['.', ' ']).unwrap_or(field.len());
        let (key, part) = field.split_at(end);
        match (self.flag(key, has_plan), part.strip_prefix('.').and_then(Axis::from_column)) {
            (Some(flag), Some(axis)) => format!("{axis} of {flag}"),
            (Some(flag), None) => format!("{flag}{part}"),
            (None, _) => field,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A plan with every key, as it lies beside the configurations.
    const PLAN: &str = include_str!("../../../config/plan.toml");

    /// A line that shows a key without setting it, e.g. `# fps = 30`.
    fn is_commented_key(line: &str) -> bool {
        let key = line.strip_prefix("# ").and_then(|rest| rest.split_once(" = "));
        key.is_some_and(|(key, _)| !key.contains(' '))
    }

    #[test]
    fn the_plan_that_shows_every_key_asks_for_the_defaults() {
        assert_eq!(toml::from_str::<Request>(PLAN).unwrap(), Request::default());
    }

    #[test]
    fn the_plan_shows_every_key_of_a_request_with_a_value_that_is_understood() {
        let uncommented: Vec<&str> =
            PLAN.lines().map(|line| if is_commented_key(line) { &line[2..] } else { line }).collect();
        let table: toml::Table = uncommented.join("\n").parse().unwrap();
        let shown: BTreeSet<String> = table.keys().cloned().collect();
        let known = serde_json::to_value(Request::default()).unwrap();
        let known: BTreeSet<String> = known.as_object().unwrap().keys().cloned().collect();
        assert_eq!(shown, known);
        let request: Request = table.try_into().unwrap();
        assert!(request.fps.is_some() && request.soak_s.is_some() && request.abort_celsius.is_some());
    }

    #[test]
    fn every_flag_of_a_request_is_in_the_group_that_resuming_excludes() {
        let command = RequestArgs::augment_args(clap::Command::new("run"));
        let flags: BTreeSet<&str> = command.get_arguments().map(|flag| flag.get_id().as_str()).collect();
        let group = command.get_groups().find(|group| group.get_id() == "RequestArgs").unwrap();
        assert_eq!(flags, group.get_args().map(clap::Id::as_str).collect());
    }

    fn refused(args: &RequestArgs, has_plan: bool) -> String {
        let request = Request { budget_s: Some(0.0), ..Request::default() };
        let error = request.validate(&clipmark_profile::plan::Limits::default()).unwrap_err();
        let RunError::Plan(error) = args.in_flags(RunError::Plan(error), has_plan) else {
            panic!("another kind of error")
        };
        error.to_string()
    }

    #[test]
    fn a_number_out_of_range_is_named_by_its_flag_unless_the_plan_file_says_it() {
        let flag = RequestArgs { budget: Some(0.0), ..RequestArgs::default() };
        let told = "--budget (in seconds) = 0 is outside 1 to 86400; choose a value inside it";
        assert_eq!(refused(&flag, false), told);
        assert_eq!(refused(&flag, true), told);
        assert!(refused(&RequestArgs::default(), true).starts_with("budget_s = 0 is outside"));
    }
}
