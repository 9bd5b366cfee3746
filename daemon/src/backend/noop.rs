//! The backend `noop`: does nothing, as fast as an engine can.
//!
//! What a measurement of it shows is the harness itself: the timer's floor and the cost of the loop. It
//! is never chosen by `auto`, and nothing is subtracted from other measurements on its account.

use super::{Backend, BackendError, Engine, EngineSpec, RunTiming, check_inputs};
use crate::tensor::{Dtype, InputSpec, TensorData};
use clipmark_profile::record::{BackendRecord, Cause, OperatorCost, Stage};
use std::path::Path;

/// The backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Noop;

impl Backend for Noop {
    fn name(&self) -> &'static str {
        "noop"
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
            device: "none".into(),
            simulated: true,
            notes: vec!["no inference takes place: the figures are clipmark's own overhead".into()],
        })
    }

    fn prepare(&self, _model: &Path, spec: &EngineSpec) -> Result<Box<dyn Engine>, BackendError> {
        Ok(Box::new(NoopEngine { inputs: spec.inputs.clone() }))
    }
}

struct NoopEngine {
    inputs: Vec<InputSpec>,
}

impl Engine for NoopEngine {
    fn set_inputs(&mut self, inputs: &[TensorData]) -> Result<(), BackendError> {
        check_inputs(&self.inputs, inputs)
    }

    fn run(&mut self) -> Result<RunTiming, BackendError> {
        Ok(RunTiming::default())
    }

    fn outputs(&mut self) -> Result<Vec<TensorData>, BackendError> {
        Ok(vec![TensorData { name: "nothing".into(), dtype: Dtype::U8, shape: vec![0], bytes: Vec::new() }])
    }

    fn operators(&mut self, _iterations: u32) -> Result<Vec<OperatorCost>, BackendError> {
        let message = "noop has no operators to profile";
        Err(BackendError::new(Stage::Measure, Cause::Backend, message))
    }

    fn remarks(&self) -> Vec<String> {
        vec!["no-op: no model was loaded and nothing was computed".into()]
    }
}
