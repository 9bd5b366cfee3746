//! Rewrites of a typed graph to forms that tract 0.23.9 has fast kernels for; the outputs stay the same.
//!
//! They come after decluttering, which would undo them. Measured on x86_64: a convolution over three axes gathers its windows
//! before it multiplies them where there are several clips (r3d_18 of 4 frames: 9.7 s for two clips, 0.65 s for one after the
//! other), and a softmax goes about 100 times slower over another axis than the last.

use tract_onnx::prelude::{OutletId, TVec, TractResult, TypedModel};
use tract_onnx::tract_core::model::TypedModelPatch;
use tract_onnx::tract_core::ops::array::{Slice, TypedConcat};
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::cnn::Conv;
use tract_onnx::tract_core::ops::nn::Softmax;

/// Axes of a convolution from which on tract gathers the windows of several clips at once.
const GATHERED: usize = 3;

/// Rewrites what it can, and returns each kind with how many nodes.
pub(super) fn prefer_fast_kernels(model: &mut TypedModel) -> TractResult<[(&'static str, usize); 2]> {
    Ok([
        (
            "Conv of several clips as one for each clip, with its own copy of the weights",
            split_convolutions(model)?,
        ),
        ("Softmax moved to the last axis", move_softmaxes(model)?),
    ])
}

fn split_convolutions(model: &mut TypedModel) -> TractResult<usize> {
    let mut split = 0;
    for node in 0..model.nodes().len() {
        let Some(op) = model.node(node).op_as::<Conv>().cloned() else { continue };
        let clips = clips(model, node, &op);
        if op.pool_spec.rank() < GATHERED || clips < 2 {
            continue;
        }
        let name = model.node(node).name.clone();
        let mut patch = TypedModelPatch::default();
        let mut inputs = patch.taps(model, &model.node(node).inputs)?;
        let all = inputs[0];
        let mut outputs: TVec<OutletId> = TVec::new();
        for clip in 0..clips {
            inputs[0] =
                patch.wire_node(format!("{name}.clip{clip}"), Slice::new(0, clip, clip + 1), &[all])?[0];
            outputs.push(patch.wire_node(format!("{name}.of{clip}"), op.clone(), &inputs)?[0]);
        }
        let joined = patch.wire_node(&name, TypedConcat::new(0), &outputs)?[0];
        patch.shunt_outside(model, OutletId::new(node, 0), joined)?;
        patch.apply(model)?;
        split += 1;
    }
    Ok(split)
}

/// Clips in the input of a convolution; 0 where that is not known.
fn clips(model: &TypedModel, node: usize, op: &Conv) -> usize {
    let shape = model.outlet_fact(model.node(node).inputs[0]).ok().and_then(|fact| fact.shape.as_concrete());
    let shape = shape.filter(|_| op.pool_spec.data_format.has_n());
    shape.map_or(0, |shape| shape[0])
}

fn move_softmaxes(model: &mut TypedModel) -> TractResult<usize> {
    let mut moved = 0;
    for node in 0..model.nodes().len() {
        let Some(op) = model.node(node).op_as::<Softmax>().cloned() else { continue };
        let last = model.outlet_fact(OutletId::new(node, 0))?.rank() - 1;
        let &[axis] = op.axes.as_slice() else { continue };
        if axis == last {
            continue;
        }
        let name = model.node(node).name.clone();
        let mut patch = TypedModelPatch::default();
        let input = patch.taps(model, &model.node(node).inputs)?;
        let input = patch.wire_node(format!("{name}.to_last"), AxisOp::Move(axis, last), &input)?;
        let op = Softmax { axes: [last].into_iter().collect(), ..op };
        let output = patch.wire_node(format!("{name}.over_last"), op, &input)?;
        let output = patch.wire_node(&name, AxisOp::Move(last, axis), &output)?[0];
        patch.shunt_outside(model, OutletId::new(node, 0), output)?;
        patch.apply(model)?;
        moved += 1;
    }
    Ok(moved)
}
