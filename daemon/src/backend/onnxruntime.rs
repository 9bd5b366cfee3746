//! The backend `onnxruntime`: Microsoft's runtime, loaded at run time where the machine has it.
//!
//! Nothing of it is needed to build or to start clipmarkd. It is loaded once per process, from where
//! [`super::onnxruntime_library`] finds it. Inputs and outputs are bound once, so that an inference
//! copies nothing. An *execution provider* is ONNX Runtime's word for the device and kernels it uses.

use super::onnxruntime_library::{Loaded, loaded};
use super::onnxruntime_tensor::{from_value, input_value, overwrite};
use super::options::BackendOptions;
use super::{Backend, BackendError, Engine, EngineSpec, RunTiming, check_inputs};
use crate::model::inputs::{Fill, fill_all};
use crate::tensor::TensorData;
use clipmark_profile::point::Precision;
use clipmark_profile::record::{BackendRecord, Cause, OperatorCost, Stage};
use clipmark_profile::units::Nanos;
use ort::ErrorCode;
use ort::ep::{CPU, CUDA, ExecutionProvider};
use ort::logging::LogLevel;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{IoBinding, Session};
use ort::value::DynValue;
use ort::value::Outlet;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnnxRuntime;

impl Backend for OnnxRuntime {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn runs_in_parallel(&self) -> bool {
        true
    }

    fn check(&self) -> Result<BackendRecord, BackendError> {
        let library = loaded()?;
        let available = [(CUDA::NAME, CUDA::is_available()), (CPU::NAME, CPU::is_available())];
        let available =
            available.iter().filter(|(_, there)| matches!(there, Ok(true))).map(|(name, _)| *name);
        Ok(BackendRecord {
            name: self.name().into(),
            version: library.version.clone(),
            device: format!("cpu ({})", CPU::NAME),
            simulated: false,
            notes: vec![
                format!("library {}", library.path.display()),
                format!("execution providers in it: {}", available.collect::<Vec<_>>().join(", ")),
                "latency is wall time of one inference; inputs and outputs stay in host memory".into(),
            ],
        })
    }

    fn options(&self) -> &'static [(&'static str, &'static str)] {
        &[("provider", "execution provider: cpu or cuda")]
    }

    fn check_options(&self, options: &BackendOptions) -> Result<(), BackendError> {
        Provider::from_options(options).map(|_| ())
    }

    fn prepare(&self, model: &Path, spec: &EngineSpec) -> Result<Box<dyn Engine>, BackendError> {
        let library = loaded()?;
        std::fs::File::open(model).map_err(|error| {
            let message = format!("cannot read {}: {error}", model.display());
            BackendError::new(Stage::Load, Cause::BadModel, message)
        })?;
        let provider = Provider::from_spec(spec)?;
        let session = session(library, model, spec, provider, None)?;
        let mut engine = OrtEngine::bind(session, model.into(), spec.clone(), provider)?;
        // ONNX Runtime learns the shapes and plans its memory in the first inference.
        engine.run().map_err(|error| BackendError { stage: Stage::Prepare, ..error })?;
        engine.misdeclared = engine.misdeclared();
        Ok(Box::new(engine))
    }
}

/// The option `provider`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    Cpu,
    Cuda,
}

impl Provider {
    fn from_spec(spec: &EngineSpec) -> Result<Self, BackendError> {
        if !matches!(spec.precision, Precision::Model) {
            let message = format!(
                "onnxruntime cannot change a model to {}; export the model in it and measure it with --precision model",
                spec.precision
            );
            return Err(BackendError::new(Stage::Prepare, Cause::Backend, message));
        }
        Self::from_options(&spec.options)
    }

    fn from_options(options: &BackendOptions) -> Result<Self, BackendError> {
        let refuse = |message: String| Err(BackendError::new(Stage::Prepare, Cause::Backend, message));
        if let Some(name) = options.keys().find(|name| *name != "provider") {
            return refuse(format!("onnxruntime has no option `{name}`; it knows `provider`"));
        }
        match options.get("provider").map_or("cpu", String::as_str) {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            other => refuse(format!("provider = `{other}` is unknown; choose cpu or cuda")),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Cpu => CPU::NAME,
            Self::Cuda => CUDA::NAME,
        }
    }
}

fn session(
    library: &Loaded,
    model: &Path,
    spec: &EngineSpec,
    provider: Provider,
    profile: Option<&Path>,
) -> Result<Session, BackendError> {
    let unavailable = |error: &ort::Error| {
        let message = format!("the execution provider {} cannot be used: {error}", provider.name());
        BackendError::new(Stage::Load, Cause::BackendUnavailable, message)
    };
    let configure = || -> ort::Result<_> {
        let builder = Session::builder(&library.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(spec.threads as usize)?
            .with_inter_threads(1)?
            // Its failures come back as errors; what it would print on top belongs to no one.
            .with_log_level(LogLevel::Fatal)?;
        Ok(match profile {
            Some(prefix) => builder.with_profiling(prefix)?,
            None => builder,
        })
    };
    let mut builder = configure().map_err(|error| failure(Stage::Load, &error))?;
    if provider == Provider::Cuda {
        let cuda = [CUDA::default().build().error_on_failure()];
        builder = builder.with_execution_providers(cuda).map_err(|error| unavailable(&error.into()))?;
    }
    builder.commit_from_file(model).map_err(|error| failure(Stage::Load, &error))
}

/// ONNX Runtime's code and words as a point's failure.
fn failure(stage: Stage, error: &ort::Error) -> BackendError {
    const SHAPE: [&str; 6] = ["shape", "Shape", "dimension", "broadcast", "Got invalid dim", "axis"];
    let words = error.to_string();
    let about_shape = SHAPE.iter().any(|phrase| words.contains(phrase));
    let unknown_operator =
        words.contains("No Op registered for") || words.contains("is not a registered function/op");
    let cause = match error.code() {
        ErrorCode::NotImplemented => Cause::UnsupportedOperator,
        _ if stage == Stage::Load && unknown_operator => Cause::UnsupportedOperator,
        _ if words.contains("Failed to allocate memory") => Cause::OutOfMemory,
        _ if stage == Stage::Load => Cause::BadModel,
        _ if about_shape => Cause::ImpossibleShape,
        _ => Cause::Backend,
    };
    BackendError::new(stage, cause, words)
}

/// A session with its inputs and outputs bound.
struct OrtEngine {
    model: PathBuf,
    spec: EngineSpec,
    provider: Provider,
    session: Session,
    binding: IoBinding,
    /// In the order of the spec.
    inputs: Vec<DynValue>,
    output_names: Vec<String>,
    outputs: Vec<DynValue>,
    /// Outputs that have other sizes than the file declares: ONNX Runtime refuses the memory of the inference before for
    /// them, so that each inference allocates its outputs anew.
    misdeclared: Vec<String>,
}

impl OrtEngine {
    fn bind(
        session: Session,
        model: PathBuf,
        spec: EngineSpec,
        provider: Provider,
    ) -> Result<Self, BackendError> {
        let names: Vec<&str> = session.inputs().iter().map(|input| input.name()).collect();
        let absent = spec.inputs.iter().find(|input| !names.contains(&input.name.as_str()));
        if names.len() != spec.inputs.len() || absent.is_some() {
            let given: Vec<&str> = spec.inputs.iter().map(|input| input.name.as_str()).collect();
            let message = format!(
                "the model's inputs are {}, shapes are given for {}",
                names.join(", "),
                given.join(", ")
            );
            return Err(BackendError::new(Stage::Prepare, Cause::BadModel, message));
        }
        let output_names: Vec<String> = session.outputs().iter().map(|output| output.name().into()).collect();
        let bind = || -> ort::Result<(IoBinding, Vec<DynValue>)> {
            let mut binding = session.create_binding()?;
            let mut inputs = Vec::with_capacity(spec.inputs.len());
            for data in &fill_all(&spec.inputs, Fill::Random, 0) {
                let value = input_value(data)?;
                binding.bind_input(data.name.as_str(), &value)?;
                inputs.push(value);
            }
            bind_outputs(&mut binding, &output_names)?;
            Ok((binding, inputs))
        };
        let (binding, inputs) = bind().map_err(|error| failure(Stage::Prepare, &error))?;
        let outputs = Vec::with_capacity(output_names.len());
        let misdeclared = Vec::new();
        Ok(Self { model, spec, provider, session, binding, inputs, output_names, outputs, misdeclared })
    }

    /// Of the outputs of the last inference those whose sizes contradict the file.
    fn misdeclared(&self) -> Vec<String> {
        let contradicts = |declared: &Outlet, value: &DynValue| {
            let (declared, actual) = (declared.dtype().tensor_shape(), value.dtype().tensor_shape());
            let mut sizes = declared
                .zip(actual)
                .into_iter()
                .flat_map(|(declared, actual)| declared.iter().zip(actual.iter()));
            sizes.any(|(declared, size)| *declared >= 0 && declared != size)
        };
        let outputs = self.session.outputs().iter().zip(&self.outputs);
        outputs
            .filter(|(declared, value)| contradicts(declared, value))
            .map(|(output, _)| output.name().into())
            .collect()
    }
}

/// Binds the outputs to memory that the next inference allocates.
fn bind_outputs(binding: &mut IoBinding, names: &[String]) -> ort::Result<()> {
    let host = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
    names.iter().try_for_each(|name| binding.bind_output_to_device(name.as_str(), &host))
}

impl Engine for OrtEngine {
    fn set_inputs(&mut self, inputs: &[TensorData]) -> Result<(), BackendError> {
        check_inputs(&self.spec.inputs, inputs)?;
        self.outputs.clear();
        for (value, data) in self.inputs.iter_mut().zip(inputs) {
            let set =
                overwrite(value, data).and_then(|()| self.binding.bind_input(data.name.as_str(), value));
            set.map_err(|error| failure(Stage::WarmUp, &error))?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<RunTiming, BackendError> {
        self.outputs.clear();
        if !self.misdeclared.is_empty() {
            bind_outputs(&mut self.binding, &self.output_names)
                .map_err(|error| failure(Stage::Measure, &error))?;
        }
        let outputs = self.session.run_binding(&self.binding);
        let outputs = outputs.map_err(|error| failure(Stage::Measure, &error))?;
        self.outputs.extend(outputs.into_iter().map(|(_, value)| value));
        Ok(RunTiming::default())
    }

    fn outputs(&mut self) -> Result<Vec<TensorData>, BackendError> {
        if self.outputs.is_empty() {
            let message = "there are no outputs: no inference has run since the inputs were set";
            return Err(BackendError::new(Stage::Measure, Cause::Backend, message));
        }
        self.output_names.iter().zip(&self.outputs).map(|(name, value)| from_value(name, value)).collect()
    }

    fn operators(&mut self, iterations: u32) -> Result<Vec<OperatorCost>, BackendError> {
        let io = |error: &dyn std::fmt::Display| {
            let message = format!("cannot keep ONNX Runtime's profile in the temporary folder: {error}");
            BackendError::new(Stage::Measure, Cause::Backend, message)
        };
        let folder = tempfile::tempdir().map_err(|error| io(&error))?;
        let prefix = folder.path().join("operators");
        let session = session(loaded()?, &self.model, &self.spec, self.provider, Some(&prefix))?;
        let mut profiled = Self::bind(session, self.model.clone(), self.spec.clone(), self.provider)?;
        profiled.misdeclared.clone_from(&self.misdeclared);
        for _ in 0..iterations.max(1) {
            profiled.run()?;
        }
        let file = profiled.session.end_profiling().map_err(|error| failure(Stage::Measure, &error))?;
        let trace = std::fs::read(&file).map_err(|error| io(&error))?;
        costs(&trace, iterations.max(1)).map_err(|error| io(&error))
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = vec![format!("execution provider: {}", self.provider.name())];
        if !self.misdeclared.is_empty() {
            remarks.push(format!(
                "the file declares other sizes than the outputs {} have: their memory is allocated anew for each inference",
                self.misdeclared.join(", ")
            ));
        }
        remarks
    }
}

/// One event of ONNX Runtime's trace; times in microseconds.
#[derive(serde::Deserialize)]
struct TraceEvent {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    dur: u64,
    #[serde(default)]
    args: BTreeMap<String, serde_json::Value>,
}

/// Sums the kernel times of a trace by node.
fn costs(trace: &[u8], iterations: u32) -> Result<Vec<OperatorCost>, serde_json::Error> {
    let events: Vec<TraceEvent> = serde_json::from_slice(trace)?;
    let mut spent: BTreeMap<(String, String), u64> = BTreeMap::new();
    for event in events.iter().filter(|event| event.cat == "Node") {
        let Some(name) = event.name.strip_suffix("_kernel_time") else { continue };
        let kind = event.args.get("op_name").and_then(serde_json::Value::as_str).unwrap_or_default();
        *spent.entry((name.into(), kind.into())).or_default() += event.dur;
    }
    let total = spent.values().sum::<u64>().max(1) as f64;
    let cost = |((name, kind), microseconds): ((String, String), u64)| OperatorCost {
        name,
        kind,
        time: Nanos(microseconds * 1000 / u64::from(iterations)),
        share: microseconds as f64 / total,
    };
    let mut costs: Vec<OperatorCost> = spent.into_iter().map(cost).collect();
    costs.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.name.cmp(&b.name)));
    Ok(costs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_times_are_summed_by_node_and_averaged() {
        let trace = br#"[
            {"cat":"Session","name":"model_run","dur":900,"args":{}},
            {"cat":"Node","name":"a_kernel_time","dur":30,"args":{"op_name":"MatMul"}},
            {"cat":"Node","name":"b_kernel_time","dur":10,"args":{"op_name":"Add"}},
            {"cat":"Node","name":"a_kernel_time","dur":50,"args":{"op_name":"MatMul"}},
            {"cat":"Node","name":"b_kernel_time","dur":10,"args":{"op_name":"Add"}},
            {"cat":"Node","name":"a_fence_before","dur":7,"args":{"op_name":"MatMul"}}
        ]"#;
        let costs = costs(trace, 2).unwrap();
        let shown: Vec<_> =
            costs.iter().map(|c| (c.name.as_str(), c.kind.as_str(), c.time, c.share)).collect();
        assert_eq!(shown, [("a", "MatMul", Nanos(40_000), 0.8), ("b", "Add", Nanos(10_000), 0.2)]);
    }
}
