//! The backend `tract`: pure Rust, on the CPU, always there.
//!
//! One plan per operating point, with concrete shapes: symbolic axes at run time cost convolutions a
//! factor of 3 to 46. `run` hands tract the same input tensors every time and keeps its outputs; what is
//! allocated in between is tract's own. Terms: *declutter* and *optimise* are tract's two rewriting
//! passes; `conv_nhwc` is tract's rewriting of convolutions to channels-last, sometimes a factor of two
//! faster and sometimes slower, hence tried.

use super::options::BackendOptions;
use super::tract_tensor::{from_tract, into_tract, overwrite, tract_dtype};
use super::{Backend, BackendError, Engine, EngineSpec, RunTiming, check_inputs};
use super::{tract_branches, tract_kernels, tract_operators};
use crate::model::inputs::{Fill, fill_all};
use crate::tensor::TensorData;
use clipmark_profile::point::Precision;
use clipmark_profile::record::{BackendRecord, Cause, OperatorCost, Stage};
use clipmark_profile::units::Nanos;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tract_linalg::multithread::Executor;
use tract_onnx::prelude::{
    DatumType, Framework, InferenceFact, InferenceModel, InferenceModelExt, Op, OutletId, RunOptions, TValue,
    TVec, Tensor, TractError, TypedModel,
};
use tract_onnx::tract_core::ops::cnn::{Conv, MaxPool, PaddingSpec, SumPool};
use tract_onnx::tract_core::ops::scan::Scan;
use tract_onnx::tract_core::plan::eval;
use tract_onnx::tract_core::transform::get_transform;
use tract_onnx::tract_hir::internal::{TypedSimplePlan, TypedSimpleState};
use tract_onnx::tract_hir::ops::unimpl::UnimplementedOp;

/// The version of tract that is built in; a test holds it against the lock file.
pub const TRACT_VERSION: &str = "0.23.9";

/// Of models in f16 (docs/method.md, "Models").
const EMULATED: &str = "the model computes in f16, which tract emulates on x86_64, about 50 times slower than ONNX Runtime; \
                        compare with --precision fp32 and --backend onnxruntime";

/// Of models in 8-bit integers.
const QUANTISED: &str = "the model is quantised; tract runs its quantised operators slower than the same model in f32, and 2.5 to 7 \
                         times slower than ONNX Runtime; compare with --backend onnxruntime";

/// How long the comparison of the two convolution layouts may go on repeating.
const LAYOUT_TRIAL: Duration = Duration::from_millis(600);
/// The channels-last layout is kept when it saves this share of the time.
const LAYOUT_GAIN: f64 = 0.1;
/// At most this many inferences per layout.
const LAYOUT_TRIAL_RUNS: u32 = 5;

/// The backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tract;

impl Backend for Tract {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn runs_in_parallel(&self) -> bool {
        true
    }

    fn check(&self) -> Result<BackendRecord, BackendError> {
        Ok(BackendRecord {
            name: self.name().into(),
            version: TRACT_VERSION.into(),
            device: "cpu".into(),
            simulated: false,
            notes: vec![
                "latency is wall time of one inference; inputs and outputs stay in host memory".into(),
            ],
        })
    }

    fn options(&self) -> &'static [(&'static str, &'static str)] {
        &[("conv_nhwc", "try, on or off: convolutions with channels last")]
    }

    fn check_options(&self, options: &BackendOptions) -> Result<(), BackendError> {
        Layout::from_options(options).map(|_| ())
    }

    fn prepare(&self, model: &Path, spec: &EngineSpec) -> Result<Box<dyn Engine>, BackendError> {
        Ok(Box::new(prepare(model, spec)?))
    }
}

fn prepare(path: &Path, spec: &EngineSpec) -> Result<TractEngine, BackendError> {
    let layout = Layout::from_options(&spec.options)?;
    let Loaded { mut model, input_order, mut rewrites, mut remarks } = load(path, spec)?;
    let output_names = output_names(&model)?;
    nothing_is_empty(&mut model)?;
    rewrites.extend(tract_operators::rewritten(&model));
    let typed = to_precision(concrete(model)?, spec.precision, &mut remarks)?;
    let mut plain = typed.clone();
    rewrites.extend(prefer_fast_kernels(&mut plain)?);
    remarks.extend(rewritten(&rewrites));
    let mut engine = TractEngine {
        state: spawn(plain, spec.threads)?,
        inputs: engine_inputs(spec, &typed, &input_order)?,
        spec: spec.clone(),
        input_order,
        output_names,
        outputs: None,
        remarks,
    };
    if layout != Layout::Plain && has_convolution(&typed) {
        match channels_last(typed).and_then(|model| spawn(model, spec.threads)) {
            Ok(channels_last) => engine.choose_layout(channels_last, layout)?,
            Err(error) if layout == Layout::ChannelsLast => return Err(error),
            Err(error) => engine.remarks.push(format!("conv_nhwc was tried and left out: {error}")),
        }
    }
    Ok(engine)
}

/// The option `conv_nhwc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Try,
    ChannelsLast,
    Plain,
}

impl Layout {
    fn from_options(options: &BackendOptions) -> Result<Self, BackendError> {
        let refuse = |message: String| Err(BackendError::new(Stage::Prepare, Cause::Backend, message));
        if let Some(name) = options.keys().find(|name| *name != "conv_nhwc") {
            return refuse(format!("tract has no option `{name}`; it knows `conv_nhwc`"));
        }
        match options.get("conv_nhwc").map_or("try", String::as_str) {
            "try" => Ok(Self::Try),
            "on" => Ok(Self::ChannelsLast),
            "off" => Ok(Self::Plain),
            other => refuse(format!("conv_nhwc = `{other}` is unknown; choose try, on or off")),
        }
    }
}

/// A parsed model with its inputs set to the spec's shapes.
struct Loaded {
    model: InferenceModel,
    /// For each of tract's inputs its index in the spec.
    input_order: Vec<usize>,
    /// What was changed in the file's graph, and how often.
    rewrites: Vec<(&'static str, usize)>,
    /// What makes the file slow on tract.
    remarks: Vec<String>,
}

fn load(path: &Path, spec: &EngineSpec) -> Result<Loaded, BackendError> {
    let bad = |error: &dyn std::fmt::Display, cause| {
        let message = format!("tract cannot load {}: {error:#}", path.display());
        BackendError::new(Stage::Load, cause, message)
    };
    std::fs::File::open(path).map_err(|error| bad(&error, Cause::BadModel))?;
    let onnx = tract_operators::onnx();
    let mut proto = onnx.proto_model_for_path(path).map_err(|error| bad(&error, Cause::BadModel))?;
    if let Some(unknown) = tract_operators::of_unknown_domain(&proto) {
        return Err(unsupported(&unknown));
    }
    let Some(graph) = &mut proto.graph else {
        return Err(bad(&"it is not ONNX: there is no graph in it", Cause::BadModel));
    };
    let stated = tract_operators::state_values_of_constants(graph);
    let remarks = tract_operators::is_quantised(graph).then(|| QUANTISED.into()).into_iter().collect();
    let parsed = onnx.parse(&proto, path.parent().and_then(Path::to_str));
    drop(proto);
    let parsed = parsed.map_err(|error| bad(&error, load_cause(&format!("{error:#}"))))?;
    if !parsed.unresolved_inputs.is_empty() {
        let message = format!("nothing gives the values {}", parsed.unresolved_inputs.join(", "));
        return Err(bad(&message, Cause::BadModel));
    }
    let mut model = parsed.model;
    let input_order = set_input_facts(&mut model, spec)?;
    let inlined = tract_branches::inline(&mut model).map_err(|error| internal(Stage::Prepare, &error))?;
    let unknown = model.nodes().iter().filter_map(|node| node.op_as::<UnimplementedOp>());
    let mut unknown: Vec<String> = unknown.map(|op| operator_in(&op.name())).collect();
    unknown.sort_unstable();
    unknown.dedup();
    if !unknown.is_empty() {
        return Err(unsupported(&unknown.join(", ")));
    }
    let rewrites =
        vec![("ConstantOfShape given its value of 0", stated), ("If replaced by the branch taken", inlined)];
    Ok(Loaded { model, input_order, rewrites, remarks })
}

fn unsupported(operators: &str) -> BackendError {
    let message = format!("tract {TRACT_VERSION} does not know the operator {operators}");
    BackendError::new(Stage::Load, Cause::UnsupportedOperator, message)
}

/// The operator's type in tract's `Unimplemented(TYPE)`.
fn operator_in(name: &str) -> String {
    let inner = name.strip_prefix("Unimplemented(").and_then(|rest| rest.strip_suffix(')'));
    inner.unwrap_or(name).to_owned()
}

fn set_input_facts(model: &mut InferenceModel, spec: &EngineSpec) -> Result<Vec<usize>, BackendError> {
    let error = |message: String| BackendError::new(Stage::Prepare, Cause::BadModel, message);
    let names: Vec<String> = model
        .input_outlets()
        .iter()
        .flat_map(|outlets| outlets.iter())
        .map(|o| model.node(o.node).name.clone())
        .collect();
    let mut order = Vec::with_capacity(names.len());
    for (slot, name) in names.iter().enumerate() {
        let index = spec.inputs.iter().position(|input| input.name == *name);
        let index = index.ok_or_else(|| error(format!("the model's input `{name}` is given no shape")))?;
        let input = &spec.inputs[index];
        let fact = InferenceFact::dt_shape(tract_dtype(input.dtype), &input.shape);
        model.set_input_fact(slot, fact).map_err(|e| error(format!("input `{name}`: {e:#}")))?;
        order.push(index);
    }
    if let Some(extra) = spec.inputs.iter().find(|input| !names.contains(&input.name)) {
        return Err(error(format!(
            "the model has no input `{}`; its inputs are {}",
            extra.name,
            names.join(", ")
        )));
    }
    Ok(order)
}

fn output_names(model: &InferenceModel) -> Result<Vec<String>, BackendError> {
    let outlets = model.output_outlets().map_err(|error| internal(Stage::Load, &error))?;
    let name = |o: &OutletId| model.outlet_label(*o).unwrap_or(&model.node(o.node).name).to_owned();
    Ok(outlets.iter().map(name).collect())
}

/// One remark on everything that tract was given in another form than the file's.
fn rewritten(rewrites: &[(&'static str, usize)]) -> Option<String> {
    let made = rewrites.iter().filter(|(_, count)| *count > 0);
    let told: Vec<String> = made.map(|(what, count)| format!("{what} ({count})")).collect();
    (!told.is_empty()).then(|| format!("graph rewritten for tract: {}", told.join("; ")))
}

/// Shapes propagated and the graph decluttered.
fn concrete(model: InferenceModel) -> Result<TypedModel, BackendError> {
    let shaping = |error: TractError| {
        let words = format!("{error:#}");
        BackendError::new(Stage::Prepare, shaping_cause(&words), words)
    };
    let typed = model.into_typed().map_err(shaping)?;
    windows_fit(&typed)?;
    let typed = typed.into_decluttered().and_then(|mut model| {
        forget_between_inferences(&mut model);
        model.into_decluttered()
    });
    typed.map_err(shaping)
}

/// Finds the convolution or pooling that leaves nothing of its input, before tract evaluates what stands behind it.
fn nothing_is_empty(model: &mut InferenceModel) -> Result<(), BackendError> {
    // What keeps the shapes from being found is told when the model is typed.
    let _ = model.analyse(false);
    for node in model.nodes() {
        let kind = node.op().name();
        let shape = |fact: &InferenceFact| fact.shape.as_concrete_finite().ok().flatten();
        let Some(output) = node.outputs.first().and_then(|output| shape(&output.fact)) else { continue };
        if !(kind.contains("Conv") || kind.contains("Pool")) || !output.contains(&0) {
            continue;
        }
        let input = node.inputs.first().and_then(|input| shape(model.outlet_fact(*input).ok()?));
        if let Some(input) = input.filter(|input| !input.contains(&0)) {
            let message = format!(
                "`{}` leaves nothing of its input of {input:?}, which is shorter than its window; a longer clip or a larger \
                 picture is needed",
                node.name
            );
            return Err(BackendError::new(Stage::Prepare, Cause::ImpossibleShape, message));
        }
    }
    Ok(())
}

/// tract goes on where a window of a convolution or pooling does not fit its padded input, with an output of nothing or
/// of part of a window: fast, and meaningless. Other runtimes refuse.
fn windows_fit(model: &TypedModel) -> Result<(), BackendError> {
    for node in model.nodes() {
        let spec = node.op_as::<Conv>().map(|op| &op.pool_spec);
        let spec = spec.or_else(|| node.op_as::<MaxPool>().map(|op| &op.pool_spec));
        let Some(spec) = spec.or_else(|| node.op_as::<SumPool>().map(|op| &op.pool_spec)) else { continue };
        let facts = model.node_input_facts(node.id).ok();
        let input = facts.as_ref().and_then(|facts| facts.first()?.shape.as_concrete());
        let Some(input) = input.and_then(|shape| spec.data_format.shape(shape.to_vec()).ok()) else {
            continue;
        };
        for (axis, (length, kernel)) in input.hw_dims().iter().zip(&spec.kernel_shape).enumerate() {
            let window = (kernel - 1) * spec.dilation(axis) + 1;
            let padded = length
                + match &spec.padding {
                    PaddingSpec::Explicit(before, after)
                    | PaddingSpec::ExplicitOnnxPool(before, after, _) => before[axis] + after[axis],
                    PaddingSpec::Valid => 0,
                    PaddingSpec::SameUpper | PaddingSpec::SameLower => window,
                };
            if window > padded {
                let message = format!(
                    "a window of `{}` spans {window} steps of an axis that has {padded}; a longer clip or a larger picture \
                     is needed",
                    node.name
                );
                return Err(BackendError::new(Stage::Prepare, Cause::ImpossibleShape, message));
            }
        }
    }
    Ok(())
}

/// Recurrent layers keep their state from one run to the next in tract, as a live stream wants it. Here
/// every inference stands alone, as in other runtimes.
fn forget_between_inferences(model: &mut TypedModel) {
    for scan in model.nodes_mut().iter_mut().filter_map(|node| node.op_as_mut::<Scan>()) {
        scan.reset_every_turn = true;
        forget_between_inferences(&mut scan.body);
    }
}

/// Building a node fails on operators, or forms of them, that tract lacks; the rest is the file's fault.
fn load_cause(words: &str) -> Cause {
    if words.contains("Building node") { Cause::UnsupportedOperator } else { Cause::BadModel }
}

/// The model was read in whole, so what fails now is a form of an operator that tract lacks, or this
/// point's shape. tract has no error types: its words are all there is to go by.
fn shaping_cause(words: &str) -> Cause {
    const LACKING: [&str; 5] =
        ["not implemented", "nimplemented", "unsupported", "not supported", "can not be made a TypedOp"];
    const SHAPE: [&str; 8] =
        ["unify", "shape", "Shape", "dim", "Failed analyse", "broadcast", "nvalid axis", "range"];
    if LACKING.iter().any(|phrase| words.contains(phrase)) {
        Cause::UnsupportedOperator
    } else if SHAPE.iter().any(|phrase| words.contains(phrase)) {
        Cause::ImpossibleShape
    } else {
        Cause::Backend
    }
}

fn to_precision(
    model: TypedModel,
    precision: Precision,
    remarks: &mut Vec<String>,
) -> Result<TypedModel, BackendError> {
    let name = match precision {
        Precision::Model => {
            remarks
                .extend((cfg!(target_arch = "x86_64") && computes_in_f16(&model)).then(|| EMULATED.into()));
            return Ok(model);
        }
        Precision::Fp32 => "f16_to_f32",
        Precision::Fp16 => "f32_to_f16",
        Precision::Tf32 | Precision::Bf16 | Precision::Int8 | Precision::Unknown => {
            let message = format!("tract cannot change a model to {precision}; choose model, fp32 or fp16");
            return Err(BackendError::new(Stage::Prepare, Cause::Backend, message));
        }
    };
    if precision == Precision::Fp16 && cfg!(target_arch = "x86_64") {
        remarks.push("fp16 on x86_64: tract emulates it here, 12 to 80 times slower than fp32".into());
    }
    transformed(model, name)
}

fn computes_in_f16(model: &TypedModel) -> bool {
    let mut outlets = model.nodes().iter().flat_map(|node| &node.outputs);
    outlets.any(|outlet| outlet.fact.datum_type == DatumType::F16 && outlet.fact.konst.is_none())
}

fn transformed(model: TypedModel, name: &str) -> Result<TypedModel, BackendError> {
    let failed = |words: String| {
        BackendError::new(Stage::Prepare, Cause::Backend, format!("tract's transform {name} fails: {words}"))
    };
    let transform = get_transform(name).map_err(|error| failed(format!("{error:#}")))?;
    let transform = transform.ok_or_else(|| failed("this build of tract lacks it".into()))?;
    let transformed = transform.transform_into(model).and_then(TypedModel::into_decluttered);
    transformed.map_err(|error| failed(format!("{error:#}")))
}

fn has_convolution(model: &TypedModel) -> bool {
    model.nodes().iter().any(|node| node.op_is::<Conv>())
}

fn prefer_fast_kernels(model: &mut TypedModel) -> Result<[(&'static str, usize); 2], BackendError> {
    tract_kernels::prefer_fast_kernels(model).map_err(|error| internal(Stage::Prepare, &error))
}

fn channels_last(model: TypedModel) -> Result<TypedModel, BackendError> {
    let mut model = transformed(model, "conv_nhwc")?;
    prefer_fast_kernels(&mut model)?;
    Ok(model)
}

/// The state of a fresh plan of `model`, which is decluttered: doing so again would undo the choice of kernels.
fn spawn(mut model: TypedModel, threads: u32) -> Result<TypedSimpleState, BackendError> {
    let executor = if threads > 1 { Executor::multithread(threads as usize) } else { Executor::SingleThread };
    let options = RunOptions { executor: Some(executor), ..RunOptions::default() };
    let state = model
        .optimize()
        .and_then(|()| TypedSimplePlan::new_with_options(model, &options))
        .and_then(|plan| plan.spawn());
    state.map_err(|error| {
        let words = format!("{error:#}");
        BackendError::new(Stage::Prepare, shaping_cause(&words), words)
    })
}

/// Seeded random contents, until the caller sets its own.
fn engine_inputs(
    spec: &EngineSpec,
    model: &TypedModel,
    order: &[usize],
) -> Result<Vec<Arc<Tensor>>, BackendError> {
    let contents = fill_all(&spec.inputs, Fill::Random, 0);
    let mut inputs = Vec::with_capacity(order.len());
    for (slot, &index) in order.iter().enumerate() {
        let fact = model.input_fact(slot).map_err(|e| internal(Stage::Prepare, &e))?;
        inputs.push(Arc::new(into_tract(&contents[index], fact.datum_type)?));
    }
    Ok(inputs)
}

fn internal(stage: Stage, error: &dyn std::fmt::Display) -> BackendError {
    BackendError::new(stage, Cause::Backend, format!("{error:#}"))
}

/// A plan with its inputs in place.
struct TractEngine {
    spec: EngineSpec,
    state: TypedSimpleState,
    /// In the order of the model's inputs.
    inputs: Vec<Arc<Tensor>>,
    /// For each of the model's inputs its index in the spec.
    input_order: Vec<usize>,
    /// As in the file: optimising renames what outputs are made of.
    output_names: Vec<String>,
    outputs: Option<TVec<TValue>>,
    remarks: Vec<String>,
}

impl TractEngine {
    /// Compares the current plan with `other`, its channels-last form, in turn, and keeps `other` if it
    /// gains enough to be more than noise.
    fn choose_layout(&mut self, mut other: TypedSimpleState, layout: Layout) -> Result<(), BackendError> {
        if layout == Layout::ChannelsLast {
            self.state = other;
            self.remarks.push("conv_nhwc was asked for and applied".into());
            return Ok(());
        }
        let started = Instant::now();
        let mut best = [Duration::MAX; 2];
        for _ in 0..LAYOUT_TRIAL_RUNS {
            for time in &mut best {
                let before = Instant::now();
                self.run()?;
                *time = before.elapsed().min(*time);
                std::mem::swap(&mut self.state, &mut other);
            }
            if started.elapsed() > LAYOUT_TRIAL {
                break;
            }
        }
        let [plain, channels_last] = best;
        let kept = channels_last.as_secs_f64() < plain.as_secs_f64() * (1.0 - LAYOUT_GAIN);
        if kept {
            self.state = other;
        }
        self.remarks.push(format!(
            "conv_nhwc was tried and {}: {:.3} ms with it, {:.3} ms without (best of up to {LAYOUT_TRIAL_RUNS})",
            if kept { "kept" } else { "left out" },
            channels_last.as_secs_f64() * 1e3,
            plain.as_secs_f64() * 1e3,
        ));
        Ok(())
    }
}

impl Engine for TractEngine {
    fn set_inputs(&mut self, inputs: &[TensorData]) -> Result<(), BackendError> {
        check_inputs(&self.spec.inputs, inputs)?;
        // An output may be an input passed through, and would keep it shared.
        self.outputs = None;
        for (tensor, &index) in self.inputs.iter_mut().zip(&self.input_order) {
            overwrite(tensor, &inputs[index])?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<RunTiming, BackendError> {
        self.outputs = None;
        for (slot, tensor) in self.inputs.iter().enumerate() {
            let value = TValue::from_const(Arc::clone(tensor));
            self.state.set_input(slot, value).map_err(|e| internal(Stage::Measure, &e))?;
        }
        let outputs = self.state.exec().and_then(|()| self.state.outputs());
        self.outputs = Some(outputs.map_err(|e| internal(Stage::Measure, &e))?);
        self.state.reset_turn().map_err(|e| internal(Stage::Measure, &e))?;
        Ok(RunTiming::default())
    }

    fn outputs(&mut self) -> Result<Vec<TensorData>, BackendError> {
        let outputs = self.outputs.as_ref().ok_or_else(|| {
            internal(Stage::Measure, &"there are no outputs: no inference has run since the inputs were set")
        })?;
        self.output_names.iter().zip(outputs).map(|(name, value)| from_tract(name, value)).collect()
    }

    fn operators(&mut self, iterations: u32) -> Result<Vec<OperatorCost>, BackendError> {
        let mut spent = vec![Duration::ZERO; self.state.model().nodes().len()];
        for _ in 0..iterations.max(1) {
            let inputs = self.inputs.iter().map(|t| TValue::from_const(Arc::clone(t))).collect();
            let run = self.state.run_plan_with_eval(inputs, |context, state, node, values| {
                let before = Instant::now();
                let result = eval(context, state, node, values);
                spent[node.id] += before.elapsed();
                result
            });
            run.map_err(|e| internal(Stage::Measure, &e))?;
        }
        Ok(costs(self.state.model(), &spent, iterations.max(1)))
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }
}

fn costs(model: &TypedModel, spent: &[Duration], iterations: u32) -> Vec<OperatorCost> {
    let total = spent.iter().sum::<Duration>().as_secs_f64();
    let mut costs: Vec<OperatorCost> = model
        .nodes()
        .iter()
        .zip(spent)
        .filter(|(_, time)| !time.is_zero())
        .map(|(node, time)| OperatorCost {
            name: node.name.clone(),
            kind: node.op().name().into_owned(),
            time: Nanos((*time / iterations).as_nanos() as u64),
            share: time.as_secs_f64() / total,
        })
        .collect();
    costs.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.name.cmp(&b.name)));
    costs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::{Dim, GraphBuilder, ints};
    use crate::tensor::{Dtype, InputSpec};
    use clipmark_profile::point::Shape;
    use std::collections::BTreeMap;
    use tract_onnx::pb::tensor_proto::DataType;

    /// A model over (1, 3, frames) whose operator `kind` looks at 13 frames at once.
    fn thirteen_frames(kind: &str) -> Vec<u8> {
        let mut graph = GraphBuilder::new(kind, 1);
        let video =
            graph.input("video", DataType::Float, &[Dim::Fixed(1), Dim::Fixed(3), Dim::Symbol("frames")]);
        let weight = graph.weight("weight", &[3, 3, 13], 39);
        let inputs = if kind == "Conv" { vec![&video, &weight] } else { vec![&video] };
        let windows = graph.node(kind, &inputs, vec![ints("kernel_shape", &[13])]);
        let sum = graph.sum(&windows, -1, false);
        graph.output("sum", &sum, &[Dim::Fixed(1), Dim::Fixed(3)]);
        graph.into_bytes()
    }

    fn prepared(model: &Path, frames: u32) -> Result<TractEngine, BackendError> {
        let shape = vec![1, 3, frames as usize];
        let input = InputSpec {
            name: "video".into(),
            dtype: Dtype::F32,
            shape,
            low: 0.0,
            high: 1.0,
            clips: None,
            frames: None,
        };
        prepare(
            model,
            &EngineSpec {
                shape: Shape::new(1, frames).unwrap(),
                precision: Precision::Model,
                threads: 1,
                inputs: vec![input],
                options: BTreeMap::new(),
                cache_dir: None,
            },
        )
    }

    #[test]
    fn a_clip_that_is_shorter_than_a_window_is_an_impossible_shape_and_the_operator_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for kind in ["AveragePool", "MaxPool", "Conv"] {
            let model = dir.path().join(kind);
            std::fs::write(&model, thirteen_frames(kind)).unwrap();
            assert!(prepared(&model, 16).is_ok() && prepared(&model, 13).is_ok(), "{kind}");
            for frames in [12, 1] {
                let error = prepared(&model, frames).err().expect(kind);
                assert_eq!((error.stage, error.cause), (Stage::Prepare, Cause::ImpossibleShape), "{error}");
                assert!(error.message.contains(kind) && error.message.contains("longer clip"), "{error}");
            }
        }
    }
}
