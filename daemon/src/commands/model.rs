//! `clipmarkd model`: write a built-in model to a file, look at any model from outside.

use crate::backend::EngineSpec;
use crate::exit_codes::{CommandError, ExitCode};
use crate::model::ModelError;
use crate::model::axes::{InputAxis, InputShape, ModelShape};
use crate::model::built_in::BuiltIn;
use crate::model::hints::{HintArgs, ModelHints};
use crate::model::inspect::{AxisName, AxisProbe, Inspection, TrialOutcome, inspect, probe};
use crate::model::onnx::OnnxModel;
use crate::model::weights;
use crate::tensor::InputSpec;
use crate::worker::handle::{Trouble, Worker, WorkerConfig};
use crate::worker::protocol::PrepareOrder;
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::record::{Cause, Failure};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Arguments of `clipmarkd model`.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

/// What to do with a model.
#[derive(Debug, Clone, clap::Subcommand)]
enum ModelCommand {
    /// Writes a built-in model as an ONNX file: the same bytes every time
    Write {
        /// Which one
        model: BuiltIn,
        /// The file to write
        out: PathBuf,
        /// Overwrite the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Shows a model's inputs, outputs and axes, and probes which axes are really dynamic
    Inspect(InspectArgs),
}

const INSPECT_EXAMPLES: &str = "Examples:
  clipmarkd model inspect model.onnx                       axes: declared, found, and really dynamic
  clipmarkd model inspect model.onnx --no-probe --json     what the file says, for a program
  clipmarkd model inspect model.onnx --axes video=batch,3,frames,224,224";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = INSPECT_EXAMPLES)]
struct InspectArgs {
    /// The ONNX file
    model: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Only read the file: prepare and run nothing
    #[arg(long)]
    no_probe: bool,
    /// The backend that probes
    #[arg(long, default_value = "tract")]
    backend: String,
    /// Time limit of one trial in seconds; all trials together end after twice as long
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    trial_limit: f64,
    #[command(flatten)]
    hints: HintArgs,
}

impl ModelArgs {
    /// Runs the command. Axes that cannot be told are a finding of `inspect`, not an error.
    ///
    /// # Errors
    /// The file, its sidecar or the flags; a time limit that is none; standard output.
    pub fn execute(&self) -> Result<ExitCode, CommandError> {
        match &self.command {
            ModelCommand::Write { model, out, force } => {
                model.write(out, *force)?;
                super::print(&format!("wrote {} to {}\n", model.name(), out.display()))?;
            }
            ModelCommand::Inspect(args) => show_inspection(args)?,
        }
        Ok(ExitCode::Success)
    }
}

impl From<ModelError> for CommandError {
    fn from(error: ModelError) -> Self {
        let code = match &error {
            ModelError::Flag { .. } | ModelError::Exists { .. } => ExitCode::Usage,
            ModelError::Write { .. } => ExitCode::Storage,
            _ => ExitCode::BadModel,
        };
        Self::new(code, error)
    }
}

/// Prints what is found as it is found; JSON at the end.
fn show_inspection(args: &InspectArgs) -> Result<(), CommandError> {
    let hints = ModelHints::beside(&args.model)?.with_flags(&args.hints)?;
    let mut inspection = inspect(&args.model, &hints)?;
    let probes = inspection.shape.is_ok() && !args.no_probe;
    let files = if probes { with_weights(&args.model, &mut inspection.model)? } else { Vec::new() };
    if !args.json {
        super::print(&text(|out| describe(&inspection, out)))?;
    }
    if let (Ok(shape), true) = (&inspection.shape, probes) {
        inspection.probes = probed(args, shape, files)?;
    }
    if args.json {
        let json = serde_json::to_string_pretty(&Report::of(&inspection, &args.backend));
        let json = json.map_err(|error| CommandError::new(ExitCode::Storage, error))?;
        return super::print(&(json + "\n"));
    }
    super::print(&text(|out| conclude(&inspection, &args.backend, out)))
}

/// Finds the files that hold the model's weights and lets its identity cover them.
fn with_weights(path: &Path, model: &mut OnnxModel) -> Result<Vec<PathBuf>, ModelError> {
    let files = weights::resolve(path, &model.external_data)?;
    let unreadable = |source| ModelError::Read { path: path.into(), source };
    model.own = weights::identity(model.own.clone(), &model.external_data, &files).map_err(unreadable)?;
    Ok(files)
}

fn external_names(model: &OnnxModel) -> Vec<&str> {
    model.external_data.keys().map(String::as_str).collect()
}

/// Probes in a worker, which is replaced whenever a trial has ended it.
fn probed(
    args: &InspectArgs,
    shape: &ModelShape,
    readable: Vec<PathBuf>,
) -> Result<Vec<AxisProbe>, CommandError> {
    let limit = Duration::try_from_secs_f64(args.trial_limit).ok().filter(|limit| !limit.is_zero());
    let limit = limit.ok_or_else(|| {
        let message = format!("--trial-limit {} is no time span; give seconds above 0", args.trial_limit);
        CommandError::new(ExitCode::Usage, message)
    })?;
    let model = std::path::absolute(&args.model).unwrap_or_else(|_| args.model.clone());
    let mut settings = WorkerConfig::own(None, limit, Duration::ZERO);
    settings.readable = readable;
    let mut trials = Trials { settings, worker: None, limit, end: Instant::now() + 2 * limit };
    let mut shown = Ok(());
    let mut observer = |axis: AxisName, value: u32, outcome: &TrialOutcome| {
        if !args.json && shown.is_ok() {
            shown = super::print(&trial_line(axis, value, outcome, args.trial_limit));
        }
    };
    let mut trial = |at: Shape, inputs: &[InputSpec]| trials.run(order(&args.backend, &model, at, inputs));
    let probes = probe(shape, &mut trial, &mut observer);
    shown.map(|()| probes)
}

/// Trials in one worker, as long as it lives.
struct Trials {
    settings: WorkerConfig,
    worker: Option<Worker>,
    /// Of one trial.
    limit: Duration,
    /// Of all of them.
    end: Instant,
}

impl Trials {
    fn run(&mut self, order: PrepareOrder) -> TrialOutcome {
        let limit = self.limit.min(self.end.saturating_duration_since(Instant::now()));
        if limit.is_zero() {
            return TrialOutcome::OutOfTime;
        }
        let worker = match self
            .worker
            .take()
            .filter(Worker::alive)
            .map_or_else(|| Worker::spawn(&self.settings), Ok)
        {
            Ok(worker) => self.worker.insert(worker),
            Err(failure) => return TrialOutcome::Failed(failure),
        };
        match worker.prepare_within(order, limit) {
            Ok(_) => TrialOutcome::Worked,
            Err(Trouble::Failed(failure)) if failure.cause != Cause::TimedOut => {
                TrialOutcome::Failed(failure)
            }
            Err(Trouble::Failed(_)) if limit == self.limit => TrialOutcome::TooSlow,
            Err(Trouble::Failed(_) | Trouble::Stopped) => TrialOutcome::OutOfTime,
        }
    }
}

fn trial_line(axis: AxisName, value: u32, outcome: &TrialOutcome, limit: f64) -> String {
    let told = match outcome {
        TrialOutcome::Worked => "worked".into(),
        TrialOutcome::Failed(failure) => format!("failed: {}", first_line(failure)),
        TrialOutcome::TooSlow => format!("too slow: more than {limit} s (--trial-limit)"),
        TrialOutcome::OutOfTime => "not tried: out of time; raise --trial-limit".into(),
    };
    format!("trial   {axis} {value} {told}\n")
}

fn order(backend: &str, model: &Path, at: Shape, inputs: &[InputSpec]) -> PrepareOrder {
    let mut options = BTreeMap::new();
    if backend == "tract" {
        // A probe asks whether a point works, not how fast it is.
        options.insert("conv_nhwc".into(), "off".into());
    }
    let spec = EngineSpec {
        shape: at,
        precision: Precision::Model,
        threads: 1,
        inputs: inputs.to_vec(),
        options,
        cache_dir: None,
    };
    PrepareOrder { backend: backend.into(), model: model.into(), spec, seed: 0, instances: 1 }
}

fn text(write: impl FnOnce(&mut String) -> std::fmt::Result) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out);
    out
}

/// What the file says.
fn describe(inspection: &Inspection, out: &mut String) -> std::fmt::Result {
    let model = &inspection.model;
    for input in &model.inputs {
        writeln!(out, "input   {input}")?;
    }
    for output in &model.outputs {
        writeln!(out, "output  {output}")?;
    }
    writeln!(out, "weights {} parameters, {} bytes", model.parameters, model.own.size.get())?;
    if !model.external_data.is_empty() {
        writeln!(out, "        more weights in {}", external_names(model).join(", "))?;
    }
    writeln!(out, "origin  {}, opset {}", model.producer, model.opset)?;
    writeln!(out, "sha256  {}", model.own.sha256)?;
    match &inspection.shape {
        Ok(shape) => shape.findings.iter().try_for_each(|finding| writeln!(out, "axis    {finding}")),
        Err(error) => writeln!(out, "axis    unknown: {error}"),
    }
}

/// What the trials showed.
fn conclude(inspection: &Inspection, backend: &str, out: &mut String) -> std::fmt::Result {
    match inspection.refusal() {
        Some(failure) => writeln!(out, "probe   {}", refused(backend, failure)),
        None => inspection.probes.iter().try_for_each(|probe| writeln!(out, "probe   {}", probe.verdict())),
    }?;
    segments(inspection).map_or(Ok(()), |advice| writeln!(out, "advice  {advice}"))
}

/// What to try where no batch of images is taken: models over segments take the frames of a clip in the place of a batch.
fn segments(inspection: &Inspection) -> Option<String> {
    let refuses = |probe: &AxisProbe| probe.axis == AxisName::Batch && probe.accepted().is_empty();
    let shape = inspection.shape.as_ref().ok().filter(|shape| shape.fixed_clip_length == Some(1))?;
    inspection.probes.iter().find(|probe| refuses(probe) && probe.failures().next().is_some())?;
    let images = |input: &&InputShape| input.axes.len() == 4 && input.axes[0] == InputAxis::BATCH;
    let input = shape.inputs.iter().find(images)?;
    let rest: Vec<String> = input.axes[1..].iter().map(ToString::to_string).collect();
    let (name, rest) = (&input.name, rest.join(","));
    Some(format!("axis 0 of `{name}` may hold the frames of a clip; try --axes {name}=batch*frames,{rest}"))
}

/// That the backend, not an axis of the model, is why nothing worked.
fn refused(backend: &str, failure: &Failure) -> String {
    let message = first_line(failure);
    if failure.cause == Cause::BadModel {
        return format!("the model cannot be used: {message}");
    }
    if failure.cause == Cause::ImpossibleShape {
        return format!("no size tried is possible for this model on {backend}: {message}");
    }
    let other = if backend == "onnxruntime" { "tract" } else { "onnxruntime" };
    format!("{backend} cannot run this model at any size tried: {message}; try --backend {other}")
}

fn first_line(failure: &Failure) -> &str {
    failure.message.lines().next().unwrap_or_default()
}

/// The JSON form of an inspection.
#[derive(Serialize)]
struct Report<'a> {
    sha256: &'a str,
    size_bytes: u64,
    parameters: u64,
    opset: i64,
    producer: &'a str,
    external_data: Vec<&'a str>,
    inputs: Vec<ReportedTensor>,
    outputs: Vec<ReportedTensor>,
    axes_error: Option<String>,
    fixed_batch_size: Option<u32>,
    fixed_clip_length: Option<u32>,
    findings: &'a [String],
    backend_error: Option<String>,
    probes: Vec<ReportedProbe<'a>>,
}

#[derive(Serialize)]
struct ReportedTensor {
    name: String,
    declared: String,
    axes: Option<Vec<String>>,
}

#[derive(Serialize)]
struct ReportedProbe<'a> {
    axis: AxisName,
    verdict: String,
    accepted: Vec<u32>,
    refused: Vec<ReportedRefusal<'a>>,
}

#[derive(Serialize)]
struct ReportedRefusal<'a> {
    value: u32,
    failure: &'a Failure,
}

impl<'a> Report<'a> {
    fn of(inspection: &'a Inspection, backend: &str) -> Self {
        let model = &inspection.model;
        let shape = inspection.shape.as_ref();
        let axes = |name: &str| {
            let input = shape.ok()?.inputs.iter().find(|input| input.name == name)?;
            Some(input.axes.iter().map(ToString::to_string).collect())
        };
        let tensor = |tensor: &crate::model::onnx::DeclaredTensor| ReportedTensor {
            name: tensor.name.clone(),
            declared: tensor.to_string(),
            axes: axes(&tensor.name),
        };
        Self {
            sha256: &model.own.sha256,
            size_bytes: model.own.size.get(),
            parameters: model.parameters,
            opset: model.opset,
            producer: &model.producer,
            external_data: external_names(model),
            inputs: model.inputs.iter().map(tensor).collect(),
            outputs: model.outputs.iter().map(tensor).collect(),
            axes_error: shape.err().map(ToString::to_string),
            fixed_batch_size: shape.ok().and_then(|shape| shape.fixed_batch_size),
            fixed_clip_length: shape.ok().and_then(|shape| shape.fixed_clip_length),
            findings: shape.map(|shape| shape.findings.as_slice()).unwrap_or_default(),
            backend_error: inspection.refusal().map(|failure| refused(backend, failure)),
            probes: inspection.probes.iter().map(ReportedProbe::of).collect(),
        }
    }
}

impl<'a> ReportedProbe<'a> {
    fn of(probe: &'a AxisProbe) -> Self {
        Self {
            axis: probe.axis,
            verdict: probe.verdict(),
            accepted: probe.accepted(),
            refused: probe.failures().map(|(value, failure)| ReportedRefusal { value, failure }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::record::Stage;

    #[test]
    fn a_trial_is_told_with_its_cause_and_the_flag_that_changes_it() {
        let line = |outcome| trial_line(AxisName::Frames, 32, &outcome, 2.5);
        let message = "no such length\nat node 7".to_owned();
        let failure = Failure { stage: Stage::Prepare, cause: Cause::ImpossibleShape, message };
        for (outcome, told) in [
            (TrialOutcome::Worked, "worked"),
            (TrialOutcome::Failed(failure), "failed: no such length"),
            (TrialOutcome::TooSlow, "too slow: more than 2.5 s (--trial-limit)"),
            (TrialOutcome::OutOfTime, "not tried: out of time; raise --trial-limit"),
        ] {
            assert_eq!(line(outcome), format!("trial   frames 32 {told}\n"));
        }
    }

    #[test]
    fn a_backend_that_refuses_a_model_is_told_apart_from_a_model_that_is_no_model() {
        let told = |backend, cause| {
            refused(backend, &Failure { stage: Stage::Load, cause, message: "no Loop".into() })
        };
        assert!(told("tract", Cause::UnsupportedOperator).ends_with("no Loop; try --backend onnxruntime"));
        assert!(told("onnxruntime", Cause::UnsupportedOperator).ends_with("no Loop; try --backend tract"));
        assert_eq!(told("tract", Cause::BadModel), "the model cannot be used: no Loop");
        assert!(!told("tract", Cause::ImpossibleShape).contains("--backend"));
    }
}
