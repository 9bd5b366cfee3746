//! The backend `simulated`: declared latencies on a virtual clock, and declared faults for real.
//!
//! The model is a TOML file instead of an ONNX file: `[variant]` is a [`SimulatedSpec`], each `[[fault]]`
//! something that goes wrong. Latency, memory need and failures of the variant are virtual: no time
//! passes. Faults are real: the process aborts, hangs or exits, and `touch_memory` allocates what the
//! variant declares to need. Everything it produces is labelled simulated. With an ONNX file it simulates
//! the default variant.

use super::{Backend, BackendError, Engine, EngineSpec, RunTiming, check_inputs};
use crate::tensor::{Dtype, InputSpec, TensorData};
use clipmark_profile::point::Shape;
use clipmark_profile::record::{BackendRecord, Cause, Failure, OperatorCost, Stage};
use clipmark_profile::simulated::{SimulatedEngine, SimulatedSpec};
use clipmark_profile::units::{Bytes, Nanos};
use rustix::process::{Resource, getrlimit};
use std::num::NonZeroU32;
use std::path::Path;

/// The backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Simulated;

/// A simulated variant with its faults, as written in TOML.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatedModel {
    /// Latency, noise, memory and failures, all virtual.
    #[serde(alias = "subject")]
    pub variant: SimulatedSpec,
    /// Really allocate the memory that the variant needs.
    pub touch_memory: bool,
    /// Latency on inputs that are all zero, relative to latency on others.
    pub zero_inputs_factor: Option<f64>,
    /// What really goes wrong.
    pub fault: Vec<Fault>,
}

/// Something that really goes wrong at every point from the given one on.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// While preparing or while measuring.
    pub stage: Stage,
    /// Smallest batch size concerned.
    pub batch_size: NonZeroU32,
    /// Smallest clip length concerned.
    pub clip_length: NonZeroU32,
    /// While measuring: inferences that are completed first.
    #[serde(default)]
    pub after_iterations: u64,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The process aborts.
    Crash,
    /// The backend panics, as tract does on some damaged graphs.
    Panic,
    /// The call never returns.
    Hang,
    /// The process exits with code 3, as a library that gives up does.
    Exit,
    /// `run` returns before the outputs are complete.
    EarlyReturn,
}

impl SimulatedModel {
    /// Reads the file at `path`; an ONNX file stands for the default variant.
    ///
    /// # Errors
    /// The file cannot be read or understood, or a value is out of range.
    pub fn read(path: &Path) -> Result<Self, BackendError> {
        Self::declared(path).map_err(|reason| {
            let message = format!("the simulated model {}: {reason}", path.display());
            BackendError::new(Stage::Load, Cause::BadModel, message)
        })
    }

    /// As [`Self::read`].
    ///
    /// # Errors
    /// The reason alone, to follow the file's name.
    pub fn declared(path: &Path) -> Result<Self, String> {
        if path.extension().is_none_or(|extension| extension != "toml") {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let model: Self = toml::from_str(&text).map_err(|error| error.to_string())?;
        model.variant.validate().map_err(|error| error.to_string())?;
        if model.zero_inputs_factor.is_some_and(|factor| !(factor.is_finite() && factor > 0.0)) {
            return Err("zero_inputs_factor must be a number above 0".into());
        }
        Ok(model)
    }

    fn fault(&self, at: Shape) -> Option<&Fault> {
        let concerns = |fault: &&Fault| at.covers(Shape::of(fault.batch_size, fault.clip_length));
        self.fault.iter().find(concerns)
    }
}

impl Backend for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn runs_models(&self) -> bool {
        false
    }

    fn runs_in_parallel(&self) -> bool {
        true
    }

    fn check(&self) -> Result<BackendRecord, BackendError> {
        Ok(BackendRecord {
            name: self.name().into(),
            version: env!("CARGO_PKG_VERSION").into(),
            device: "virtual clock".into(),
            simulated: true,
            notes: vec!["simulated: latencies are declared, not measured".into()],
        })
    }

    fn prepare(&self, model: &Path, spec: &EngineSpec) -> Result<Box<dyn Engine>, BackendError> {
        if let Some(option) = spec.options.keys().next() {
            let message = format!("simulated has no option `{option}`; declare the variant in a TOML file");
            return Err(BackendError::new(Stage::Prepare, Cause::Backend, message));
        }
        let model = SimulatedModel::read(model)?;
        let fault = model.fault(spec.shape).cloned();
        if let Some(Fault { kind, stage: Stage::Load | Stage::Prepare, .. }) = fault {
            happen(kind);
        }
        // The worker's memory limit is the memory that the variant has.
        let limit = getrlimit(Resource::Data).current.map(Bytes);
        let variant = SimulatedEngine::prepare(&model.variant, spec.shape, 0, limit).map_err(failed)?;
        let held = if model.touch_memory {
            vec![1; model.variant.memory(spec.shape).get() as usize]
        } else {
            Vec::new()
        };
        Ok(Box::new(SimulatedRun {
            specs: spec.inputs.clone(),
            variant,
            fault,
            now: Nanos(0),
            completed: 0,
            inputs: 0,
            zero_inputs_factor: model.zero_inputs_factor.unwrap_or(1.0),
            inputs_factor: 1.0,
            pending: None,
            output: 0,
            _held: held,
        }))
    }
}

fn failed(failure: Failure) -> BackendError {
    BackendError::new(failure.stage, failure.cause, failure.message)
}

/// Lets `kind` happen; returns only from those that happen elsewhere.
fn happen(kind: FaultKind) {
    match kind {
        FaultKind::Crash => std::process::abort(),
        FaultKind::Panic => panic!("the simulated engine panics, as its file asks"),
        FaultKind::Exit => std::process::exit(3),
        FaultKind::Hang => loop {
            std::thread::park();
        },
        FaultKind::EarlyReturn => {}
    }
}

struct SimulatedRun {
    specs: Vec<InputSpec>,
    variant: SimulatedEngine,
    fault: Option<Fault>,
    /// The virtual clock.
    now: Nanos,
    completed: u64,
    /// Digest of the inputs.
    inputs: u64,
    zero_inputs_factor: f64,
    /// Latency on these inputs, relative to others.
    inputs_factor: f64,
    /// Outputs of an inference that `run` did not wait for.
    pending: Option<u64>,
    /// The output buffer; zero until an inference has written it.
    output: u64,
    /// Memory that is held so that the process's own account shows it.
    _held: Vec<u8>,
}

impl Engine for SimulatedRun {
    fn set_inputs(&mut self, inputs: &[TensorData]) -> Result<(), BackendError> {
        check_inputs(&self.specs, inputs)?;
        let bytes = || inputs.iter().flat_map(|input| &input.bytes);
        self.inputs_factor = if bytes().all(|&byte| byte == 0) { self.zero_inputs_factor } else { 1.0 };
        self.inputs =
            bytes().fold(1, |digest, &byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(())
    }

    fn run(&mut self) -> Result<RunTiming, BackendError> {
        let due = self.fault.as_ref().filter(|fault| fault.after_iterations <= self.completed);
        let kind = due.map(|fault| fault.kind);
        kind.into_iter().for_each(happen);
        let latency = self.variant.infer(self.now).map_err(failed)?;
        let latency = Nanos((latency.get() as f64 * self.inputs_factor) as u64);
        self.now = Nanos(self.now.get() + latency.get());
        self.completed += 1;
        if kind == Some(FaultKind::EarlyReturn) {
            self.pending = Some(self.inputs);
        } else {
            self.output = self.inputs;
        }
        Ok(RunTiming { virtual_wall: Some(latency), ..RunTiming::default() })
    }

    fn set_virtual_now(&mut self, now: Nanos) {
        self.now = now;
    }

    fn outputs(&mut self) -> Result<Vec<TensorData>, BackendError> {
        if self.completed == 0 {
            let message = "there are no outputs: no inference has run";
            return Err(BackendError::new(Stage::Measure, Cause::Backend, message));
        }
        let bytes = self.output.to_le_bytes().to_vec();
        // What was pending is complete by the time of the next look.
        self.output = self.pending.take().unwrap_or(self.output);
        Ok(vec![TensorData { name: "digest".into(), dtype: Dtype::U8, shape: vec![bytes.len()], bytes }])
    }

    fn operators(&mut self, _iterations: u32) -> Result<Vec<OperatorCost>, BackendError> {
        let message = "a simulated engine has no operators to profile";
        Err(BackendError::new(Stage::Measure, Cause::Backend, message))
    }

    fn remarks(&self) -> Vec<String> {
        vec!["simulated: latency is declared, not measured".into()]
    }
}
