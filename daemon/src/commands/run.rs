//! `clipmarkd run`: the main job on one machine.

use super::print;
use super::probe::BoardArgs;
use super::progress::{JsonLines, Lines, Quiet};
use crate::exit_codes::{CommandError, ExitCode};
use crate::model::hints::HintArgs;
use crate::placement::{self, Asked, CpuList, Placement, confine_this_process};
use crate::run::{self, Ending, Finished, Setting, Watcher, outputs};
use clap::{Args, ValueEnum};
use clipmark_profile::plan::{Limits, Load, Mode, Request, RequestedPoint};
use clipmark_profile::point::Precision;
use clipmark_profile::summary::{Profile, Status};
use clipmark_service::outcome::Code as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Measure models across clip lengths and batch sizes, and name the operating points.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// Models: ONNX files, or built-in ones by name (joint, temporal, conv3d). None: joint and temporal.
    #[arg(value_name = "MODEL.onnx")]
    models: Vec<String>,
    /// Backends, e.g. tract,onnxruntime. `auto` takes the best that this machine has.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    backend: Option<Vec<String>>,
    /// Clip lengths in frames.
    #[arg(long, value_delimiter = ',', value_name = "FRAMES")]
    clip_lengths: Option<Vec<u32>>,
    /// Batch sizes in clips.
    #[arg(long, value_delimiter = ',', value_name = "CLIPS")]
    batch_sizes: Option<Vec<u32>>,
    /// Streaming deadline of one inference in milliseconds.
    #[arg(long, value_name = "MS", conflicts_with = "fps")]
    deadline: Option<f64>,
    /// Frames a second of the stream: a clip must complete within clip length / fps.
    #[arg(long)]
    fps: Option<f64>,
    /// Numeric precision asked of the backend.
    #[arg(long, value_enum)]
    precision: Option<PrecisionArg>,
    /// Threads per inference.
    #[arg(long)]
    threads: Option<u32>,
    /// Time for the sweep, e.g. 90s, 5m.
    #[arg(long, value_parser = seconds)]
    budget: Option<f64>,
    /// A fixed number of iterations per point, after a tenth as many uncounted ones.
    #[arg(long, conflicts_with = "exhaustive")]
    iterations: Option<u32>,
    /// The whole grid at 100 + 1000 iterations, nothing dropped.
    #[arg(long)]
    exhaustive: bool,
    /// One inference after another, or on the schedule of a live stream (needs --fps).
    #[arg(long, value_enum)]
    load: Option<LoadArg>,
    /// Seed of inputs and order.
    #[arg(long)]
    seed: Option<u64>,
    /// Record the ten most expensive operators of every point.
    #[arg(long)]
    per_op: bool,
    /// Memory limit of one worker, e.g. 2G.
    #[arg(long, value_parser = bytes, value_name = "SIZE")]
    memory_limit: Option<u64>,
    /// CPUs of the measured processes, e.g. 2-5; the sampler keeps to the others.
    #[arg(long, value_name = "LIST")]
    worker_cpus: Option<CpuList>,
    /// Time limit of one preparation.
    #[arg(long, value_parser = seconds, value_name = "TIME")]
    prepare_limit: Option<f64>,
    /// Time limit of one inference.
    #[arg(long, value_parser = seconds, value_name = "TIME")]
    inference_limit: Option<f64>,
    /// After the sweep, soak the chosen points (or --point) for this long, e.g. 30m.
    #[arg(long, value_parser = seconds, value_name = "TIME")]
    soak: Option<f64>,
    /// Points to soak: BATCH,FRAMES (repeatable). Without it, the chosen operating points.
    #[arg(long, value_parser = point, value_name = "B,T", requires = "soak")]
    point: Vec<RequestedPoint>,
    /// Soak without a sweep (needs --soak and --point).
    #[arg(long, requires = "soak", requires = "point")]
    soak_only: bool,
    /// End the run when a thermal zone reaches this temperature, degrees Celsius.
    #[arg(long, value_name = "CELSIUS")]
    abort_celsius: Option<f64>,
    /// A plan file in TOML; flags given beside it win.
    #[arg(long, value_name = "FILE.toml")]
    plan: Option<PathBuf>,
    /// Where results go; a new folder below ./clipmark-out by default.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "plan", "models"])]
    resume: Option<PathBuf>,
    /// Print the profile as JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Tell the progress on standard error as JSON, one object a line.
    #[arg(long, hide = true)]
    json_progress: bool,
    /// Run without reading the board's sensors.
    #[arg(long)]
    no_sampler: bool,
    /// A simulated subject instead of models; everything it yields is labelled simulated.
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = ["models", "backend"])]
    simulate: Option<PathBuf>,
    /// Backend options, e.g. dla_core=0 (repeatable).
    #[arg(long = "backend-option", value_name = "NAME=VALUE", value_parser = pair)]
    backend_options: Vec<(String, String)>,
    /// ONNX Runtime's shared library, where it is not in the usual places.
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
    /// Folder for built engines; the user's cache by default.
    #[arg(long, value_name = "DIR")]
    engine_cache: Option<PathBuf>,
    #[command(flatten)]
    board: BoardArgs,
    #[command(flatten)]
    hints: HintArgs,
}

const EXAMPLES: &str = "Examples:
  clipmarkd run                                         the built-in pair, in about two minutes
  clipmarkd run model.onnx --fps 30                     which points keep up with a live stream
  clipmarkd run model.onnx --clip-lengths 16,64 --batch-sizes 1 --iterations 1000
  clipmarkd run model.onnx --backend tract,onnxruntime  two backends on the same points
  clipmarkd run model.onnx --soak 30m                   then soak the chosen points
  clipmarkd run --resume clipmark-out/3                 go on after Ctrl-C or a power cut";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionArg {
    Model,
    Fp32,
    Tf32,
    Fp16,
    Bf16,
    Int8,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LoadArg {
    Closed,
    Paced,
}

impl From<PrecisionArg> for Precision {
    fn from(precision: PrecisionArg) -> Self {
        match precision {
            PrecisionArg::Model => Self::Model,
            PrecisionArg::Fp32 => Self::Fp32,
            PrecisionArg::Tf32 => Self::Tf32,
            PrecisionArg::Fp16 => Self::Fp16,
            PrecisionArg::Bf16 => Self::Bf16,
            PrecisionArg::Int8 => Self::Int8,
        }
    }
}

fn number_and_unit(text: &str) -> Result<(f64, &str), String> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number = text[..end].trim().parse().map_err(|_| format!("`{text}` does not begin with a number"))?;
    Ok((number, text[end..].trim()))
}

/// `90`, `90s`, `5m`, `2h` in seconds.
fn seconds(text: &str) -> Result<f64, String> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{unit}` is no unit of time; use ms, s, m or h")),
    };
    Ok(number * factor)
}

/// `512M`, `2G` in bytes, with binary units.
fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit.trim_end_matches(['B', 'i']) {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(format!("`{unit}` is no unit of memory; use K, M or G")),
    };
    Ok((number * f64::from(1_u32 << shift)) as u64)
}

fn point(text: &str) -> Result<RequestedPoint, String> {
    let form = || format!("`{text}` is no point; write BATCH,FRAMES, e.g. 1,16");
    let (batch, frames) = text.split_once(',').ok_or_else(form)?;
    let number = |text: &str| text.trim().parse().map_err(|_| form());
    Ok(RequestedPoint { batch_size: number(batch)?, clip_length: number(frames)? })
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.into(), value.into()))
}

impl RunArgs {
    /// The request: defaults, then the plan file, then the flags.
    fn request(&self) -> Result<Request, CommandError> {
        let mut request = match &self.plan {
            Some(path) => read_plan(path)?,
            None => Request::default(),
        };
        fn set<T: Clone>(field: &mut T, flag: &Option<T>) {
            if let Some(value) = flag {
                field.clone_from(value);
            }
        }
        if !self.models.is_empty() {
            request.models.clone_from(&self.models);
        }
        set(&mut request.backends, &self.backend);
        set(&mut request.clip_lengths, &self.clip_lengths);
        set(&mut request.batch_sizes, &self.batch_sizes);
        set(&mut request.precision, &self.precision.map(Into::into));
        set(&mut request.threads, &self.threads);
        set(&mut request.seed, &self.seed);
        set(&mut request.prepare_limit_s, &self.prepare_limit);
        set(&mut request.inference_limit_s, &self.inference_limit);
        request.deadline_ms = self.deadline.or(request.deadline_ms.filter(|_| self.fps.is_none()));
        request.fps = self.fps.or(request.fps.filter(|_| self.deadline.is_none()));
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

    fn setting(&self, stop: Arc<AtomicBool>) -> Result<Setting, CommandError> {
        let out = self.out.clone().or_else(|| self.resume.clone());
        let (root, boards) = self.board.open()?;
        Ok(Setting {
            out: out.unwrap_or_else(|| run::fresh_folder(Path::new(""))),
            limits: Limits::default(),
            hints: self.hints.clone(),
            simulate: self.simulate.clone(),
            root,
            boards,
            sampler: !self.no_sampler,
            cache_dir: self.engine_cache.clone().or_else(run::engine_cache),
            onnxruntime: self.onnxruntime.clone(),
            origin: std::env::args().collect::<Vec<_>>().join(" "),
            placement: self.place()?,
            stop,
        })
    }

    /// Moves this process off the workers' CPUs.
    fn place(&self) -> Result<Placement, CommandError> {
        let asked = Asked { cpus: self.worker_cpus.clone(), memory_max_bytes: None };
        if asked == Asked::default() {
            return Ok(Placement::default());
        }
        let failed = |error: std::io::Error| CommandError::new(ExitCode::Worker, error);
        let allowed = placement::allowed().map_err(failed)?;
        let made = Placement::make(&asked, &allowed);
        confine_this_process(&made.others(&allowed)).map_err(failed)?;
        Ok(made)
    }

    fn watcher(&self) -> Box<dyn Watcher> {
        if self.json_progress {
            Box::new(JsonLines::default())
        } else if self.json && !std::io::stderr().is_terminal() {
            Box::new(Quiet)
        } else {
            Box::new(Lines::new(std::io::stderr().is_terminal()))
        }
    }

    /// Runs, prints the profile and says where everything is.
    ///
    /// # Errors
    /// See [`crate::run::begin`].
    pub fn execute(&self) -> Result<ExitCode, CommandError> {
        let stop = stop_on_signals()?;
        let setting = self.setting(stop)?;
        let mut watcher = self.watcher();
        let finished = match &self.resume {
            Some(_) => run::resume(&setting, watcher.as_mut())?,
            None => run::begin(self.request()?, &setting, watcher.as_mut())?,
        };
        drop(watcher);
        if self.json {
            print(&outputs::json(&finished.profile))?;
        } else {
            print(&super::on_terminal(&finished.profile, &finished.series))?;
            print(&whereabouts(&setting.out))?;
        }
        Ok(exit_code(&finished))
    }
}

fn read_plan(path: &Path) -> Result<Request, CommandError> {
    let wrong = |reason: String| {
        let message = format!("the plan file {} cannot be used: {reason}", path.display());
        CommandError::new(ExitCode::Usage, message)
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    toml::from_str(&text).map_err(|error| wrong(error.to_string()))
}

fn whereabouts(out: &Path) -> String {
    let report = out.join(outputs::REPORT_HTML);
    format!("\nReport    {}\nProfile   {}\n", report.display(), out.join(outputs::PROFILE_JSON).display())
}

fn exit_code(finished: &Finished) -> ExitCode {
    match finished.ending {
        Ending::Stopped => ExitCode::Interrupted,
        Ending::TooHot => ExitCode::TooHot,
        Ending::Complete if measured_something(&finished.profile) => ExitCode::Success,
        Ending::Complete => ExitCode::NothingMeasured,
    }
}

fn measured_something(profile: &Profile) -> bool {
    let measured = |status: Status| matches!(status, Status::Measured | Status::Dominated);
    profile.points.iter().any(|point| measured(point.status))
        || profile.soaks.iter().any(|soak| soak.inferences > 0)
}

/// A flag that the first SIGINT or SIGTERM sets; a second one ends the program at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>, CommandError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let code = i32::from(ExitCode::Interrupted.number());
        // In this order: the shutdown is armed by the flag that the first signal sets after it.
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| CommandError::new(ExitCode::Worker, error))?;
    }
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::{bytes, point, seconds};

    #[test]
    fn spans_sizes_and_points_are_read_with_their_units() {
        assert_eq!(seconds("90"), Ok(90.0));
        assert_eq!(seconds("1.5m"), Ok(90.0));
        assert_eq!(seconds("250ms"), Ok(0.25));
        assert!(seconds("5 days").unwrap_err().contains("ms, s, m or h"));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("64M"), Ok(64 << 20));
        let read = point("2,16").unwrap();
        assert_eq!((read.batch_size, read.clip_length), (2, 16));
        assert!(point("2x16").is_err());
    }
}
