//! Operators in forms that exporters write and tract 0.23.9 lacks or misreads, given to it as what it knows.
//!
//! Each is registered in the place of tract's own and is the same wherever tract's own works. [`rewritten`] tells which of
//! them made a difference, for the point's remarks.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto,
    attribute_proto::AttributeType, tensor_proto::DataType,
};
use tract_onnx::prelude::{
    Datum, DatumType, InferenceModel, OutletId, SpecialOps, TVec, TractResult, TypedModel, f16, tensor0,
};
use tract_onnx::tract_core::ops::array;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::logic::{CompEq, not, xor};
use tract_onnx::tract_core::ops::math::{add, mul};
use tract_onnx::tract_hir::infer::rules::{InferenceResult, Solver, TensorProxy};
use tract_onnx::tract_hir::infer::{Factoid, InferenceNode, InferenceOp};
use tract_onnx::tract_hir::internal::{AxesMapping, Expansion, StaticName, TDim, TractErrorContext, expand};
use tract_onnx::tract_hir::ops::binary::{InferenceBinOp, rules, wire_cast, wire_rank_broadcast};

/// tract's reader of ONNX with the operators of this file.
pub(super) fn onnx() -> Onnx {
    // What a file says of values between its nodes is often untrue: newer exporters leave a batch of 1 there.
    let mut onnx = tract_onnx::onnx().with_ignore_value_info(true);
    onnx.op_register.insert("Equal", |_, _| Ok((expand(Equal), vec![])));
    onnx.op_register.insert("CumSum", cum_sum);
    onnx.op_register.insert("Gemm", gemm);
    onnx
}

/// Domains whose operators tract knows: it looks at an operator's name alone, and would take another vendor's for the
/// standard's.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// The first operator of `model` of a domain that tract does not know.
pub(super) fn of_unknown_domain(model: &ModelProto) -> Option<String> {
    let node = node_of_unknown_domain(model.graph.as_ref()?)?;
    let is_function = |function: &FunctionProto| {
        function.name.as_ref() == Some(&node.op_type) && function.domain.as_ref() == Some(&node.domain)
    };
    Some(if model.functions.iter().any(is_function) {
        format!(
            "{}, which is a function of the model's own: export the model with its functions inlined",
            node.op_type
        )
    } else {
        format!("{} of the domain {}", node.op_type, node.domain)
    })
}

fn node_of_unknown_domain(graph: &GraphProto) -> Option<&NodeProto> {
    let unknown = |node: &&NodeProto| !DOMAINS.contains(&node.domain.as_str());
    let inner = || graph.node.iter().flat_map(subgraphs).find_map(node_of_unknown_domain);
    graph.node.iter().find(unknown).or_else(inner)
}

/// Whether `graph` computes in 8-bit integers somewhere.
pub(super) fn is_quantised(graph: &GraphProto) -> bool {
    let quantised = |node: &NodeProto| {
        node.op_type.ends_with("QuantizeLinear")
            || node.op_type.ends_with("DequantizeLinear")
            || subgraphs(node).any(is_quantised)
    };
    graph.node.iter().any(quantised)
}

fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Gives every `ConstantOfShape` of `graph` that states no value the 0 of 32-bit floats that the standard prescribes; tract
/// takes one of 64 bits. Returns how many there were.
pub(super) fn state_values_of_constants(graph: &mut GraphProto) -> usize {
    let mut stated = 0;
    for node in &mut graph.node {
        if node.op_type == "ConstantOfShape"
            && node.attribute.iter().all(|attribute| attribute.name != "value")
        {
            node.attribute.push(zero());
            stated += 1;
        }
        let attributes = node.attribute.iter_mut();
        let subgraphs = attributes.flat_map(|attribute| attribute.g.iter_mut().chain(&mut attribute.graphs));
        stated += subgraphs.map(state_values_of_constants).sum::<usize>();
    }
    stated
}

fn zero() -> AttributeProto {
    let data_type = DataType::Float as i32;
    let tensor = TensorProto { dims: vec![1], data_type, float_data: vec![0.0], ..TensorProto::default() };
    AttributeProto {
        name: "value".into(),
        r#type: AttributeType::Tensor as i32,
        t: Some(tensor),
        ..AttributeProto::default()
    }
}

/// What operators of this file made of `model`, whose types are known: each kind once, with how many nodes.
pub(super) fn rewritten(model: &InferenceModel) -> Vec<(&'static str, usize)> {
    let mut found: Vec<(&'static str, usize)> = Vec::new();
    for what in model.nodes().iter().filter_map(|node| difference(model, node)) {
        match found.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += 1,
            None => found.push((what, 1)),
        }
    }
    found
}

/// What was made of one node, where that is not what tract makes of it.
fn difference(model: &InferenceModel, node: &InferenceNode) -> Option<&'static str> {
    let op = node.op_as::<Box<dyn Expansion>>()?.as_any();
    let dtype = model.outlet_fact(*node.inputs.first()?).ok()?.datum_type.concretize()?;
    if op.is::<Equal>() && dtype == bool::datum_type() {
        return Some("Equal of booleans as Not of Xor");
    }
    if op.is::<CumSum>() && dtype == TDim::datum_type() {
        return Some("CumSum of sizes in 64-bit integers");
    }
    (op.is::<Gemm>() && dtype == f16::datum_type()).then_some("Gemm in f16 as MatMul and Add")
}

/// `Equal`, of booleans as well.
#[derive(Debug, Clone)]
struct Equal;

impl Expansion for Equal {
    fn name(&self) -> StaticName {
        "Equal".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        rules(solver, inputs, outputs, |_, _| Ok(bool::datum_type()))
    }

    fn wire(&self, name: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if model.outlet_fact(inputs[0])?.datum_type != bool::datum_type() {
            return InferenceBinOp(Box::new(CompEq)).wire(name, model, inputs);
        }
        let inputs = wire_rank_broadcast(name, model, inputs)?;
        let differ = model.wire_node(format!("{name}.differ"), xor(), &inputs)?;
        model.wire_node(name, not(), &differ)
    }
}

fn cum_sum(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let flag = |name| Ok::<_, tract_onnx::prelude::TractError>(node.get_attr_opt::<i64>(name)? == Some(1));
    Ok((expand(CumSum { exclusive: flag("exclusive")?, reverse: flag("reverse")? }), vec![]))
}

/// `CumSum`, of sizes as well: tract keeps those as expressions, which it cannot add up along an axis.
#[derive(Debug, Clone)]
struct CumSum {
    exclusive: bool,
    reverse: bool,
}

impl CumSum {
    fn dtype(of: DatumType) -> DatumType {
        if of == TDim::datum_type() { i64::datum_type() } else { of }
    }
}

impl Expansion for CumSum {
    fn name(&self) -> StaticName {
        "CumSum".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        solver.equals(&inputs[0].shape, &outputs[0].shape)?;
        solver.given(&inputs[0].datum_type, |solver, dtype| {
            solver.equals(&outputs[0].datum_type, Self::dtype(dtype))
        })
    }

    fn wire(&self, name: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axis = model.outlet_fact(inputs[1])?.konst.clone().context("the axis is no constant")?;
        let axis = axis.cast_to_scalar::<i64>()?;
        let fact = model.outlet_fact(inputs[0])?;
        let rank = fact.rank() as i64;
        let (dtype, axis) =
            (Self::dtype(fact.datum_type), if axis < 0 { axis + rank } else { axis } as usize);
        let summed = wire_cast(name, model, &inputs[..1], dtype)?;
        let op = array::CumSum { axis, exclusive: self.exclusive, reverse: self.reverse };
        model.wire_node(name, op, &summed)
    }
}

fn gemm(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let gemm = Gemm {
        alpha: node.get_attr_opt("alpha")?.unwrap_or(1.0),
        beta: node.get_attr_opt("beta")?.unwrap_or(1.0),
        transposed: [
            node.get_attr_opt("transA")?.unwrap_or(false),
            node.get_attr_opt("transB")?.unwrap_or(false),
        ],
    };
    Ok((expand(gemm), vec![]))
}

/// `alpha A B + beta C` in the type of A, B and C; tract has its factors in 32-bit floats alone.
#[derive(Debug, Clone)]
struct Gemm {
    alpha: f32,
    beta: f32,
    transposed: [bool; 2],
}

impl Gemm {
    fn scaled(name: &str, model: &mut TypedModel, value: OutletId, factor: f32) -> TractResult<OutletId> {
        if factor == 1.0 {
            return Ok(value);
        }
        let fact = model.outlet_fact(value)?;
        let (dtype, rank) = (fact.datum_type, fact.rank());
        let factor = tensor0(factor).cast_to_dt(dtype)?.into_owned().broadcast_into_rank(rank)?;
        let factor = model.add_const(format!("{name}.factor"), factor)?;
        Ok(model.wire_node(name, mul(), &[factor, value])?[0])
    }
}

impl Expansion for Gemm {
    fn name(&self) -> StaticName {
        "Gemm".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        for input in inputs {
            solver.equals(&input.datum_type, &outputs[0].datum_type)?;
        }
        for matrix in [&inputs[0], &inputs[1], &outputs[0]] {
            solver.equals(&matrix.rank, 2)?;
        }
        let [a, b] = self.transposed.map(usize::from);
        solver.equals(&inputs[0].shape[a], &outputs[0].shape[0])?;
        solver.equals(&inputs[0].shape[1 - a], &inputs[1].shape[b])?;
        solver.equals(&inputs[1].shape[1 - b], &outputs[0].shape[1])?;
        Ok(())
    }

    fn wire(&self, name: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axes = AxesMapping::for_numpy_matmul(2, self.transposed[0], self.transposed[1], false)?;
        let product = EinSum::new(axes, model.outlet_fact(inputs[0])?.datum_type);
        let product = model.wire_node(format!("{name}.ab"), product, &inputs[..2])?[0];
        let product = Self::scaled(&format!("{name}.alpha"), model, product, self.alpha)?;
        let Some(&added) = inputs.get(2).filter(|_| self.beta != 0.0) else {
            return Ok([product].into_iter().collect());
        };
        let added = Self::scaled(&format!("{name}.beta"), model, added, self.beta)?;
        let terms = wire_rank_broadcast(name, model, &[product, added])?;
        model.wire_node(name, add(), &terms)
    }
}
