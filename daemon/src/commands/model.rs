//! `clipmarkd model`: write a built-in model to a file, look at any model from outside.

use crate::backend::EngineSpec;
use crate::exit_codes::{CommandError, ExitCode};
use crate::model::ModelError;
use crate::model::axes::ModelShape;
use crate::model::built_in::BuiltIn;
use crate::model::hints::{HintArgs, ModelHints};
use crate::model::inspect::{AxisProbe, Inspection, inspect, probe};
use crate::model::onnx::OnnxModel;
use crate::model::weights;
use crate::worker::handle::{Trouble, Worker, WorkerConfig};
use crate::worker::protocol::PrepareOrder;
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::record::{Cause, Failure, Stage};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// Time limit of one trial in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
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
            ModelCommand::Inspect(args) => super::print(&inspected(args)?)?,
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

fn inspected(args: &InspectArgs) -> Result<String, CommandError> {
    let hints = ModelHints::beside(&args.model)?.with_flags(&args.hints)?;
    let mut inspection = inspect(&args.model, &hints)?;
    if let (Ok(shape), false) = (&inspection.shape, args.no_probe) {
        let named = &inspection.model.external_data;
        let files = weights::resolve(&args.model, named)?;
        let unreadable = |source| ModelError::Read { path: args.model.clone(), source };
        let identity = weights::identity(inspection.model.own.clone(), named, &files).map_err(unreadable)?;
        inspection.probes = probed(args, shape, files)?;
        inspection.model.own = identity;
    }
    if args.json {
        let json = serde_json::to_string_pretty(&Report::of(&inspection));
        return json.map(|json| json + "\n").map_err(|error| CommandError::new(ExitCode::Storage, error));
    }
    Ok(text(&inspection))
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
    let mut settings = WorkerConfig::own(None, limit, limit);
    let model = std::path::absolute(&args.model).unwrap_or_else(|_| args.model.clone());
    settings.readable = readable;
    let mut worker: Option<Worker> = None;
    Ok(probe(shape, &mut |at, inputs| {
        let mut current = match worker.take().filter(Worker::alive) {
            Some(worker) => worker,
            None => Worker::spawn(&settings)?,
        };
        let result = current.prepare(order(&args.backend, &model, at, inputs));
        worker = Some(current);
        match result {
            Ok(_) => Ok(()),
            Err(Trouble::Failed(failure)) => Err(failure),
            Err(Trouble::Stopped) => Err(stopped()),
        }
    }))
}

fn order(backend: &str, model: &Path, at: Shape, inputs: &[crate::tensor::InputSpec]) -> PrepareOrder {
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
    PrepareOrder { backend: backend.into(), model: model.into(), spec, seed: 0 }
}

fn stopped() -> Failure {
    Failure { stage: Stage::Prepare, cause: Cause::TimedOut, message: "the probe was stopped".into() }
}

fn text(inspection: &Inspection) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = describe(inspection, &mut out);
    out
}

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
        Ok(shape) => shape.findings.iter().try_for_each(|finding| writeln!(out, "axis    {finding}"))?,
        Err(error) => writeln!(out, "axis    unknown: {error}")?,
    }
    for probe in &inspection.probes {
        writeln!(out, "probe   {}", probe.verdict())?;
        for (value, failure) in
            probe.trials.iter().filter_map(|(value, r)| r.as_ref().err().map(|f| (value, f)))
        {
            writeln!(out, "        {} {value}: {}", probe.axis, first_line(failure))?;
        }
    }
    Ok(())
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
    axis: &'a str,
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
    fn of(inspection: &'a Inspection) -> Self {
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
            probes: inspection.probes.iter().map(ReportedProbe::of).collect(),
        }
    }
}

impl<'a> ReportedProbe<'a> {
    fn of(probe: &'a AxisProbe) -> Self {
        let refusal = |(value, result): &'a (u32, Result<(), Failure>)| {
            result.as_ref().err().map(|failure| ReportedRefusal { value: *value, failure })
        };
        Self {
            axis: probe.axis,
            verdict: probe.verdict(),
            accepted: probe.accepted(),
            refused: probe.trials.iter().filter_map(refusal).collect(),
        }
    }
}
