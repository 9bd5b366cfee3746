//! Whether a model's outputs follow the axes that its file declares.
//!
//! An export may declare an axis and hold the size of its example all the same: an unrolled recurrence ignores every
//! frame beyond it, and a batch may be merged inside. Such a model runs at any size, and its rate grows with frames
//! that it never looks at. So part of the inputs is changed, and the outputs must change with it.

use super::completion::{CompletionError, check_completion, settled};
use super::{BackendError, Engine};
use crate::tensor::{Dtype, InputSpec, TensorData};
use clipmark_profile::record::{Cause, Stage};

/// The shortest clip of which ignoring the later half is more than a model's choice of frames: pathways take every
/// fourth or eighth frame, beginning with the first.
const CHOOSY: usize = 8;

/// Of the largest value of an output, how much it may move for another clip of its batch: scales of 8-bit integers are taken
/// over the whole batch.
const MERGED: f64 = 0.1;

/// `inputs` with the contents of `other` from `share` of the way along an axis on. `None` when no input has it.
fn changed(
    specs: &[InputSpec],
    inputs: &[TensorData],
    other: &[TensorData],
    from: impl Fn(&InputSpec) -> Option<(usize, usize)>,
) -> Option<Vec<TensorData>> {
    let mut changed = inputs.to_vec();
    let mut any = false;
    for ((spec, tensor), other) in specs.iter().zip(&mut changed).zip(other) {
        let Some((axis, first)) = from(spec) else { continue };
        any = true;
        let block = spec.shape[axis + 1..].iter().product::<usize>() * spec.dtype.size();
        let row = spec.shape[axis] * block;
        for (to, from) in tensor.bytes.chunks_mut(row).zip(other.bytes.chunks(row)) {
            to[first * block..].copy_from_slice(&from[first * block..]);
        }
    }
    any.then_some(changed)
}

/// The later half of each clip.
fn later_frames(spec: &InputSpec) -> Option<(usize, usize)> {
    let axis = spec.frames.filter(|axis| spec.shape[*axis] > 1)?;
    Some((axis, spec.shape[axis].div_ceil(2)))
}

/// The last clip.
fn last_clip(spec: &InputSpec) -> Option<(usize, usize)> {
    let axis = spec.clips.filter(|axis| spec.shape[*axis] > 1)?;
    Some((axis, spec.shape[axis] - 1))
}

fn size(specs: &[InputSpec], axis: impl Fn(&InputSpec) -> Option<usize>) -> usize {
    specs.iter().filter_map(|spec| axis(spec).map(|axis| spec.shape[axis])).max().unwrap_or(0)
}

fn impossible(message: String) -> CompletionError {
    BackendError::new(Stage::WarmUp, Cause::ImpossibleShape, message).into()
}

/// Whether outputs that are the same tell nothing: classes and masks may well stay what they are.
fn is_coarse(outputs: &[TensorData]) -> bool {
    outputs.iter().all(|output| !matches!(output.dtype, Dtype::F32 | Dtype::F16))
}

/// Checks that inferences are complete, and that the outputs follow clips and frames. `random` and `other` are two
/// random contents, `constant` a third. Returns doubts.
///
/// # Errors
/// What was found wrong. An axis that is not followed is an impossible shape.
pub fn check(
    engine: &mut dyn Engine,
    specs: &[InputSpec],
    random: &[TensorData],
    other: &[TensorData],
    constant: &[TensorData],
) -> Result<Vec<String>, CompletionError> {
    let mut doubts = Vec::new();
    let later = changed(specs, random, other, later_frames);
    let outputs = match check_completion(engine, random, later.as_deref().unwrap_or(constant)) {
        Err(CompletionError::Stale) if later.is_some() => {
            let outputs = check_completion(engine, random, constant)?;
            let frames = size(specs, |spec| spec.frames);
            let message = format!(
                "the outputs do not depend on the later half of the {frames} frames: the file declares a clip length that \
                 the model does not follow; measure the length that it was exported with"
            );
            if frames >= CHOOSY && !is_coarse(&outputs) {
                return Err(impossible(message));
            }
            doubts.push(message);
            outputs
        }
        checked => checked?,
    };
    if let Some(inputs) = changed(specs, random, other, last_clip) {
        doubts.extend(follows_clips(&outputs, &settled(engine, &inputs)?, size(specs, |spec| spec.clips))?);
    }
    Ok(doubts)
}

/// Holds the outputs of one batch against those of the same with another last clip.
fn follows_clips(
    before: &[TensorData],
    after: &[TensorData],
    clips: usize,
) -> Result<Option<String>, CompletionError> {
    if before == after {
        let message = format!(
            "the outputs do not depend on the last of the {clips} clips: the file declares a batch size that the model \
             does not follow; measure --batch-sizes 1"
        );
        return if is_coarse(before) { Ok(Some(message)) } else { Err(impossible(message)) };
    }
    let is_moved = |(before, after): (&TensorData, &TensorData)| {
        before.shape.first() == Some(&clips) && moved(before, after, clips) > MERGED
    };
    Ok(before.iter().zip(after).any(is_moved).then(|| {
        format!(
            "the outputs of the other clips follow the last of the {clips} clips: the model merges its batch, and what it \
             gives for a clip depends on its neighbours"
        )
    }))
}

/// By how much of its largest value an output of 32-bit floats moved for all clips but the last.
fn moved(before: &TensorData, after: &TensorData, clips: usize) -> f64 {
    if before.dtype != Dtype::F32 || before.shape != after.shape {
        return 0.0;
    }
    let floats = |tensor: &TensorData| -> Vec<f64> {
        let bytes = tensor.bytes.chunks_exact(4);
        bytes.map(|bytes| f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))).collect()
    };
    let (before, after) = (floats(before), floats(after));
    let largest =
        |values: &[f64]| values.iter().filter(|v| v.is_finite()).fold(0.0, |most: f64, v| most.max(v.abs()));
    let scale = largest(&before).max(largest(&after));
    let others = before.len() / clips * (clips - 1);
    let most = before.iter().zip(&after).take(others).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    if scale > 0.0 { most / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::RunTiming;
    use crate::model::inputs::{Fill, fill_all};
    use clipmark_profile::record::OperatorCost;

    /// A model over one input (clips, frames, 3): for each clip the sum of `taken` frames, mixed as `merge` says.
    struct Sums {
        inputs: Vec<TensorData>,
        taken: fn(usize) -> bool,
        merge: fn(&[f32], usize) -> f32,
        dtype: Dtype,
    }

    impl Engine for Sums {
        fn set_inputs(&mut self, inputs: &[TensorData]) -> Result<(), BackendError> {
            self.inputs = inputs.to_vec();
            Ok(())
        }

        fn run(&mut self) -> Result<RunTiming, BackendError> {
            Ok(RunTiming::default())
        }

        fn operators(&mut self, _: u32) -> Result<Vec<OperatorCost>, BackendError> {
            Ok(Vec::new())
        }

        fn outputs(&mut self) -> Result<Vec<TensorData>, BackendError> {
            let input = &self.inputs[0];
            let (clips, frames) = (input.shape[0], input.shape[1]);
            let at = |clip: usize, frame: usize| {
                let at = (clip * frames + frame) * 12;
                f32::from_le_bytes(input.bytes[at..at + 4].try_into().expect("four bytes"))
            };
            let sum =
                |clip| (0..frames).filter(|frame| (self.taken)(*frame)).map(|frame| at(clip, frame)).sum();
            let sums: Vec<f32> = (0..clips).map(sum).collect();
            let bytes = (0..clips).flat_map(|clip| (self.merge)(&sums, clip).to_le_bytes()).collect();
            Ok(vec![TensorData { name: "y".into(), dtype: self.dtype, shape: vec![clips], bytes }])
        }
    }

    fn own(sums: &[f32], clip: usize) -> f32 {
        sums[clip]
    }

    fn tried(
        clips: usize,
        frames: usize,
        taken: fn(usize) -> bool,
        merge: fn(&[f32], usize) -> f32,
    ) -> Result<Vec<String>, CompletionError> {
        tried_as(Dtype::F32, clips, frames, taken, merge)
    }

    fn tried_as(
        dtype: Dtype,
        clips: usize,
        frames: usize,
        taken: fn(usize) -> bool,
        merge: fn(&[f32], usize) -> f32,
    ) -> Result<Vec<String>, CompletionError> {
        let specs = [InputSpec {
            name: "x".into(),
            dtype: Dtype::F32,
            shape: vec![clips, frames, 3],
            low: -1.0,
            high: 1.0,
            clips: Some(0),
            frames: Some(1),
        }];
        let mut engine = Sums { inputs: Vec::new(), taken, merge, dtype };
        let [random, other] = [1, 2].map(|seed| fill_all(&specs, Fill::Random, seed));
        check(&mut engine, &specs, &random, &other, &fill_all(&specs, Fill::Constant, 1))
    }

    #[test]
    fn a_model_that_follows_its_axes_raises_no_doubt() {
        for (clips, frames) in [(1, 1), (1, 16), (4, 1), (4, 16), (3, 7)] {
            assert_eq!(
                tried(clips, frames, |_| true, own).unwrap(),
                Vec::<String>::new(),
                "{clips} {frames}"
            );
        }
        // A slow pathway takes every fourth frame.
        assert_eq!(tried(2, 16, |frame| frame % 4 == 0, own).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn frames_beyond_an_unrolled_example_are_no_frames() {
        let error = tried(1, 16, |frame| frame < 8, own).unwrap_err().to_string();
        assert!(error.contains("later half of the 16 frames"), "{error}");
        assert!(tried(1, 8, |frame| frame < 8, own).unwrap().is_empty());
        // Of a short clip a model may take the first frame alone.
        assert_eq!(tried(1, 4, |frame| frame == 0, own).unwrap().len(), 1);
        // A class may stay the same.
        assert_eq!(tried_as(Dtype::I32, 1, 16, |frame| frame < 8, own).unwrap().len(), 1);
    }

    #[test]
    fn a_batch_of_which_the_last_clip_does_not_count_is_no_batch() {
        let error = tried(2, 4, |_| true, |sums, _| sums[0]).unwrap_err().to_string();
        assert!(error.contains("last of the 2 clips"), "{error}");
    }

    #[test]
    fn a_batch_that_is_merged_inside_is_doubted() {
        let doubts = tried(4, 16, |_| true, |sums, clip| sums[sums.len() - 1 - clip]).unwrap();
        assert!(doubts[0].contains("merges its batch"), "{doubts:?}");
    }
}
