//! Puts the branch that is taken in the place of an `If` whose condition is known at a point's shapes.
//!
//! Exporters write `If` where a model asks for sizes, as `squeeze` does; at concrete shapes one branch is never taken. tract
//! finds the shapes of both, and the other one need not have any.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use tract_onnx::ops::logic::If;
use tract_onnx::prelude::{InferenceModel, InferenceModelExt, OutletId, TractResult};
use tract_onnx::tract_hir::infer::{Factoid, InferenceOp};
use tract_onnx::tract_hir::internal::{InletId, TractErrorContext};
use tract_onnx::tract_hir::ops::unimpl::UnimplementedOp;

/// Inlines what can be, inner branches included; returns how many. An `If` whose condition depends on the contents of an
/// input stays as it is.
pub(super) fn inline(model: &mut InferenceModel) -> TractResult<usize> {
    let mut waiting = set_aside(model, 0);
    let mut inlined = 0;
    while !waiting.is_empty() {
        // What fails behind a branch may be possible once it is in place.
        let _ = model.analyse(true);
        let known: Vec<(usize, bool)> =
            waiting.keys().filter_map(|node| Some((*node, condition(model, *node)?))).collect();
        if known.is_empty() {
            break;
        }
        for (node, is_true) in known {
            let before = model.nodes().len();
            if let Some(branches) = waiting.remove(&node) {
                replace(model, node, &branches, is_true)?;
                inlined += 1;
            }
            waiting.extend(set_aside(model, before));
        }
    }
    for (node, branches) in waiting {
        model.node_mut(node).op = Box::new(branches);
    }
    if inlined > 0 {
        model.compact()?;
    }
    Ok(inlined)
}

/// Takes every `If` from the node `first` on out of the model, so that neither branch says anything of its surroundings.
fn set_aside(model: &mut InferenceModel, first: usize) -> BTreeMap<usize, If> {
    let mut found = BTreeMap::new();
    for node in &mut model.nodes_mut()[first..] {
        let Some(branches) = node.op_as::<If>().cloned() else { continue };
        found.insert(node.id, branches);
        node.op = Box::new(UnimplementedOp::new(node.outputs.len(), "If", "")) as Box<dyn InferenceOp>;
    }
    found
}

fn condition(model: &InferenceModel, node: usize) -> Option<bool> {
    let condition = model.outlet_fact(*model.node(node).inputs.first()?).ok()?;
    condition.value.concretize()?.cast_to_scalar::<bool>().ok()
}

fn replace(model: &mut InferenceModel, node: usize, branches: &If, is_true: bool) -> TractResult<()> {
    let surroundings = surroundings(model, node, branches)?;
    let body = if is_true { &branches.then_body } else { &branches.else_body };
    let prefix = model.node(node).name.clone();
    let mut placed: HashMap<OutletId, OutletId> = HashMap::new();
    for id in body.eval_order()? {
        let inner = body.node(id);
        if body.input_outlets()?.contains(&OutletId::new(id, 0)) {
            let outer =
                surroundings.get(&inner.name).with_context(|| format!("nothing gives `{}`", inner.name))?;
            placed.insert(OutletId::new(id, 0), *outer);
            continue;
        }
        let facts = inner.outputs.iter().map(|output| output.fact.clone()).collect();
        let new = model.add_node(format!("{prefix}.{}", inner.name), inner.op.clone(), facts)?;
        for (slot, input) in inner.inputs.iter().enumerate() {
            model.add_edge(placed[input], InletId::new(new, slot))?;
        }
        for slot in 0..inner.outputs.len() {
            placed.insert(OutletId::new(id, slot), OutletId::new(new, slot));
        }
    }
    for (slot, output) in body.output_outlets()?.iter().enumerate() {
        redirect(model, OutletId::new(node, slot), placed[output])?;
    }
    Ok(())
}

/// The values around an `If` that its branches use, by name: they are its inputs after the condition, in order of their
/// names.
fn surroundings(
    model: &InferenceModel,
    node: usize,
    branches: &If,
) -> TractResult<HashMap<String, OutletId>> {
    let mut names = BTreeSet::new();
    for body in [&branches.then_body, &branches.else_body] {
        names.extend(body.input_outlets()?.iter().map(|input| body.node(input.node).name.clone()));
    }
    Ok(names.into_iter().zip(model.node(node).inputs[1..].iter().copied()).collect())
}

/// Lets everything that takes `from` take `to`.
fn redirect(model: &mut InferenceModel, from: OutletId, to: OutletId) -> TractResult<()> {
    for inlet in model.node(from.node).outputs[from.slot].successors.clone() {
        model.add_edge(to, inlet)?;
    }
    let outputs: Vec<OutletId> =
        model.output_outlets()?.iter().map(|output| if *output == from { to } else { *output }).collect();
    if outputs != model.output_outlets()? {
        let label = model.outlet_label(from).unwrap_or(&model.node(from.node).name).to_owned();
        model.set_outlet_label(to, label)?;
        model.select_output_outlets(&outputs)?;
    }
    Ok(())
}
