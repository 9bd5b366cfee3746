//! A prepared engine behind the trait [`Engine`].

use super::convert::{accepts, copy, fill};
use super::failure::at;
use crate::backend::{BackendError, Engine, RunTiming, check_inputs};
use crate::tensor::{InputSpec, TensorData};
use clipmark_profile::record::{Cause, EngineBuild, OperatorCost, Stage};
use clipmark_profile::units::{Bytes, Nanos};
use clipmark_trt::{LayerTime, Session};
use std::collections::HashMap;

pub(super) struct TensorRtEngine {
    session: Session,
    inputs: Vec<InputSpec>,
    held: u64,
    built: Option<EngineBuild>,
    remarks: Vec<String>,
    ran: bool,
}

impl TensorRtEngine {
    /// Wraps a session whose engine takes `inputs`, after a look at their types.
    pub(super) fn new(
        session: Session,
        inputs: Vec<InputSpec>,
        held: u64,
        built: Option<EngineBuild>,
        remarks: Vec<String>,
    ) -> Result<Self, BackendError> {
        for tensor in session.inputs() {
            let declared = inputs.iter().find(|input| input.name == tensor.name);
            if !declared.is_some_and(|input| accepts(input.dtype, tensor.element)) {
                let message = match declared {
                    Some(input) => format!(
                        "input {} is {:?} in the model and {:?} in the engine; give its true type in the model's sidecar",
                        tensor.name, input.dtype, tensor.element
                    ),
                    None => format!("the engine has an input {} that the model does not name", tensor.name),
                };
                return Err(BackendError::new(Stage::Prepare, Cause::Backend, message));
            }
        }
        Ok(Self { session, inputs, held, built, remarks, ran: false })
    }
}

impl Engine for TensorRtEngine {
    fn set_inputs(&mut self, inputs: &[TensorData]) -> Result<(), BackendError> {
        check_inputs(&self.inputs, inputs)?;
        let refused = |message| BackendError::new(Stage::WarmUp, Cause::Backend, message);
        for input in inputs {
            let element = self.session.inputs().find(|tensor| tensor.name == input.name).map(|t| t.element);
            // Inputs that TensorRT removed as unused have no buffer.
            if let (Some(element), Some(buffer)) = (element, self.session.input_mut(&input.name)) {
                fill(buffer, element, input).map_err(refused)?;
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<RunTiming, BackendError> {
        let times = self.session.run().map_err(at(Stage::Measure))?;
        self.ran = true;
        Ok(RunTiming {
            compute: Some(Nanos(times.compute)),
            h2d: Some(Nanos(times.h2d)),
            d2h: Some(Nanos(times.d2h)),
            ..RunTiming::default()
        })
    }

    fn outputs(&mut self) -> Result<Vec<TensorData>, BackendError> {
        let refused = |message| BackendError::new(Stage::Measure, Cause::Backend, message);
        if !self.ran {
            return Err(refused("no inference has run, so there are no outputs".to_owned()));
        }
        self.session.outputs().map(|tensor| copy(&tensor).map_err(refused)).collect()
    }

    fn operators(&mut self, iterations: u32) -> Result<Vec<OperatorCost>, BackendError> {
        let kinds = layer_kinds(&self.session.engine().layers().map_err(at(Stage::Measure))?);
        let layers = self.session.profile(iterations).map_err(at(Stage::Measure))?;
        Ok(costs(&layers, &kinds))
    }

    fn device_memory(&self) -> Option<Bytes> {
        Some(Bytes(self.held))
    }

    fn build(&self) -> Option<EngineBuild> {
        self.built
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }
}

/// Layer types by layer name, from what TensorRT's inspector says: objects with `Name` and `LayerType` in
/// engines built with layer details, bare names in others.
fn layer_kinds(layers: &[String]) -> HashMap<String, String> {
    let kind = |words: &String| {
        let layer: serde_json::Value = serde_json::from_str(words).ok()?;
        Some((layer.get("Name")?.as_str()?.to_owned(), layer.get("LayerType")?.as_str()?.to_owned()))
    };
    layers.iter().filter_map(kind).collect()
}

fn costs(layers: &[LayerTime], kinds: &HashMap<String, String>) -> Vec<OperatorCost> {
    let total: f64 = layers.iter().map(|layer| layer.total_ms).sum();
    let mut costs: Vec<OperatorCost> = layers
        .iter()
        .map(|layer| OperatorCost {
            name: layer.name.clone(),
            kind: kinds.get(&layer.name).cloned().unwrap_or_else(|| "fused layer".into()),
            time: Nanos((layer.total_ms / f64::from(layer.count.max(1)) * 1e6).round() as u64),
            share: if total > 0.0 { layer.total_ms / total } else { 0.0 },
        })
        .collect();
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.time));
    costs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_sorted_by_cost_and_typed_where_the_engine_tells() {
        let layer = |name: &str, total_ms| LayerTime { name: name.into(), total_ms, count: 4 };
        let kinds =
            layer_kinds(&[r#"{"Name": "mm", "LayerType": "gemm"}"#.into(), r#""copy""#.into(), "{".into()]);
        let costs = costs(&[layer("copy", 1.0), layer("mm", 3.0)], &kinds);
        let expected = [
            OperatorCost { name: "mm".into(), kind: "gemm".into(), time: Nanos(750_000), share: 0.75 },
            OperatorCost {
                name: "copy".into(),
                kind: "fused layer".into(),
                time: Nanos(250_000),
                share: 0.25,
            },
        ];
        assert_eq!(costs, expected);
    }
}
