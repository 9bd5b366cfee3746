//! The seam between clipmark and inference runtimes.
//!
//! A [`Backend`] turns a model and an [`EngineSpec`] into an [`Engine`]; an engine runs one inference at
//! a time and returns only when the output is complete. Backends are used inside the worker process
//! alone: a crash there is a result, not the daemon's end. To add one, write `NAME.rs` beside this file
//! and add its line to [`registry`]; the conformance suite then runs over it.

pub mod completion;
pub mod follows;
mod noop;
#[cfg(feature = "onnxruntime")]
mod onnxruntime;
#[cfg(feature = "onnxruntime")]
mod onnxruntime_library;
#[cfg(feature = "onnxruntime")]
mod onnxruntime_tensor;
pub mod options;
mod resolve;
pub mod selftest;
mod simulated;
pub mod tensorrt;
mod tract;
mod tract_branches;
mod tract_kernels;
mod tract_operators;
mod tract_tensor;
pub mod trtexec;

pub use noop::Noop;
#[cfg(feature = "onnxruntime")]
pub use onnxruntime::OnnxRuntime;
pub use resolve::{AUTO, Choice, ResolveError, resolve};
pub use simulated::{Fault, FaultKind, Simulated, SimulatedModel};
pub use tract::{TRACT_VERSION, Tract};

use crate::tensor::{InputSpec, TensorData};
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::record::{BackendRecord, Cause, EngineBuild, Failure, OperatorCost, Stage};
use clipmark_profile::units::{Bytes, Nanos};
use std::path::{Path, PathBuf};

/// The environment variable that names ONNX Runtime's shared library.
pub const LIBRARY_VARIABLE: &str = "CLIPMARK_ONNXRUNTIME";

/// An inference runtime.
pub trait Backend: Send + Sync {
    /// The name used on the command line, in requests and in profiles.
    fn name(&self) -> &'static str;

    /// Whether it runs models, and so takes memory and code from elsewhere. What does neither needs no memory limit of
    /// its own, which stands for the machine that a simulated engine has.
    fn runs_models(&self) -> bool {
        true
    }

    /// Whether it starts programs of its own: its worker may then do so, see
    /// [`Bounds`](crate::confine::Bounds).
    fn starts_programs(&self) -> bool {
        false
    }

    /// Whether several of its engines can run in threads of one worker.
    fn runs_in_parallel(&self) -> bool {
        false
    }

    /// Whether the runtime can be used on this machine, and which one it is.
    ///
    /// # Errors
    /// Why it cannot be used: what is missing, and what to install or set.
    fn check(&self) -> Result<BackendRecord, BackendError>;

    /// The options it takes, each with its meaning; the names are keys of [`EngineSpec::options`].
    fn options(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Whether it understands the values of `options`, which hold nothing that it does not take. Loads
    /// nothing.
    ///
    /// # Errors
    /// The first value that it does not understand, with those it does.
    fn check_options(&self, options: &options::BackendOptions) -> Result<(), BackendError> {
        let _ = options;
        Ok(())
    }

    /// Loads and optimises `model` for one point. Everything slow happens here and is timed apart.
    ///
    /// # Errors
    /// The stage that failed, the kind of failure and the runtime's own message.
    fn prepare(&self, model: &Path, spec: &EngineSpec) -> Result<Box<dyn Engine>, BackendError>;
}

/// A model prepared for one point, with its inputs in place.
pub trait Engine {
    /// Replaces the contents of the inputs. Buffers are reused; shapes and dtypes do not change.
    ///
    /// # Errors
    /// When `inputs` differ in number, shape or dtype from the spec's, or a transfer fails.
    fn set_inputs(&mut self, inputs: &[TensorData]) -> Result<(), BackendError>;

    /// One inference. Returns only when the outputs are complete on the device. Does not allocate or log
    /// on clipmark's behalf.
    ///
    /// # Errors
    /// The runtime's own message.
    fn run(&mut self) -> Result<RunTiming, BackendError>;

    /// Tells an engine that declares its times at which instant of its virtual clock the next inference starts.
    fn set_virtual_now(&mut self, _now: Nanos) {}

    /// Copies of the last inference's outputs, outside any timed loop.
    ///
    /// # Errors
    /// When no inference has run, or an output cannot be read back.
    fn outputs(&mut self) -> Result<Vec<TensorData>, BackendError>;

    /// Mean cost per operator over `iterations` inferences, most expensive first. Separate from timing.
    ///
    /// # Errors
    /// When the runtime has no per-operator profile.
    fn operators(&mut self, iterations: u32) -> Result<Vec<OperatorCost>, BackendError>;

    /// Memory the engine holds on its device, apart from the process's own resident set.
    fn device_memory(&self) -> Option<Bytes> {
        None
    }

    /// What was built for it, where the runtime builds engines that a file can hold.
    fn build(&self) -> Option<EngineBuild> {
        None
    }

    /// What a reader must know of the numbers, e.g. an optimisation that was tried and kept.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What the runtime itself can tell of one inference, beside the wall time that the worker takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunTiming {
    /// Compute on the device alone, without transfers.
    pub compute: Option<Nanos>,
    /// Transfer of the inputs to the device.
    pub h2d: Option<Nanos>,
    /// Transfer of the outputs to the host.
    pub d2h: Option<Nanos>,
    /// Wall time that another program measured and this call only hands out, e.g. trtexec's: replaces the
    /// worker's clock.
    pub recorded_wall: Option<Nanos>,
    /// Wall time on a virtual clock, from simulated engines only: replaces the worker's clock.
    pub virtual_wall: Option<Nanos>,
}

/// Everything that shapes an engine.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EngineSpec {
    /// Batch size and clip length.
    pub shape: Shape,
    /// Numeric precision.
    pub precision: Precision,
    /// Threads for one inference.
    pub threads: u32,
    /// Concrete inputs, in the model's order.
    pub inputs: Vec<InputSpec>,
    /// Backend options by name, e.g. `dla_core`, `cuda_graph`; each backend rejects what it does not know.
    pub options: options::BackendOptions,
    /// Where engines may be cached.
    pub cache_dir: Option<PathBuf>,
}

/// A backend's failure, told in the terms of a point's result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BackendError {
    /// Where it failed.
    pub stage: Stage,
    /// What kind of failure.
    pub cause: Cause,
    /// The runtime's own words, with the thing concerned and what to do where that is known.
    pub message: String,
    /// What is not installed, where that is why.
    pub missing: Option<MissingPart>,
}

/// A part of a runtime that is not installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingPart {
    /// The runtime itself.
    Runtime,
    /// The driver of the device, or the device.
    Driver,
    /// The part that reads ONNX.
    Parser,
}

impl BackendError {
    /// A failure at `stage`.
    pub fn new(stage: Stage, cause: Cause, message: impl Into<String>) -> Self {
        Self { stage, cause, message: message.into(), missing: None }
    }

    /// A runtime that cannot be used here because `part` is not installed.
    pub fn missing(part: MissingPart, message: impl Into<String>) -> Self {
        Self { missing: Some(part), ..Self::new(Stage::Load, Cause::BackendUnavailable, message) }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        let message = error.message.chars().take(500).collect();
        Self { stage: error.stage, cause: error.cause, message }
    }
}

/// The one list of backends. [`resolve`] picks from it by name; [`AUTO`] is the order in which `auto` tries.
#[must_use]
pub fn registry() -> Vec<Box<dyn Backend>> {
    vec![
        Box::new(tensorrt::TensorRtBackend::default()),
        Box::new(Tract),
        #[cfg(feature = "onnxruntime")]
        Box::new(OnnxRuntime),
        Box::new(trtexec::Trtexec::default()),
        Box::new(Simulated),
        Box::new(Noop),
    ]
}

/// Holds the tensors given to [`Engine::set_inputs`] against the spec.
///
/// # Errors
/// The first input that differs in name, dtype, shape or number of bytes.
pub fn check_inputs(specs: &[InputSpec], inputs: &[TensorData]) -> Result<(), BackendError> {
    let refuse = |message: String| Err(BackendError::new(Stage::WarmUp, Cause::Backend, message));
    if specs.len() != inputs.len() {
        return refuse(format!("{} inputs were given, the engine takes {}", inputs.len(), specs.len()));
    }
    for (spec, input) in specs.iter().zip(inputs) {
        let bytes = spec.shape.iter().product::<usize>() * spec.dtype.size();
        let fits = spec.name == input.name
            && spec.dtype == input.dtype
            && spec.shape == input.shape
            && bytes == input.bytes.len();
        if !fits {
            return refuse(format!(
                "`{}` of {} {:?} ({} bytes) was given where the engine takes `{}` of {} {:?} ({bytes} bytes)",
                input.name,
                input.dtype.name(),
                input.shape,
                input.bytes.len(),
                spec.name,
                spec.dtype.name(),
                spec.shape,
            ));
        }
    }
    Ok(())
}
