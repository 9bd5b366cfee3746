//! Looks at a model from outside: what it declares, which axes were found, and which of them are as
//! dynamic as they claim.
//!
//! Exporters declare axes dynamic and then hold a constant of their size (a position table, a reshape to
//! a number). So axes are *probed*: one trial per value, each a preparation and one inference. Trials are
//! run by the caller's function, in a worker under a time limit: a preparation may never end.

use super::ModelError;
use super::axes::ModelShape;
use super::hints::ModelHints;
use super::onnx::OnnxModel;
use crate::tensor::InputSpec;
use clipmark_profile::point::Shape;
use clipmark_profile::record::Failure;
use std::path::Path;

/// Clip lengths that are tried, the likeliest first.
const FRAMES_TRIED: [u32; 7] = [16, 8, 32, 1, 2, 64, 128];
/// Batch sizes that are tried.
const BATCHES_TRIED: [u32; 3] = [1, 2, 4];

/// Prepares the model for a point and runs it once.
pub type Trial<'a> = dyn FnMut(Shape, &[InputSpec]) -> Result<(), Failure> + 'a;

/// Everything found out about a model.
#[derive(Debug)]
pub struct Inspection {
    /// What the file declares.
    pub model: OnnxModel,
    /// Its axes, or why they cannot be told.
    pub shape: Result<ModelShape, ModelError>,
    /// One entry per dynamic axis; empty when the axes are unknown or probing was not asked for.
    pub probes: Vec<AxisProbe>,
}

/// What trials showed of one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisProbe {
    /// `batch` or `frames`.
    pub axis: &'static str,
    /// Every value tried, ascending, and what became of it.
    pub trials: Vec<(u32, Result<(), Failure>)>,
}

impl AxisProbe {
    /// The values that worked.
    #[must_use]
    pub fn accepted(&self) -> Vec<u32> {
        self.trials.iter().filter(|trial| trial.1.is_ok()).map(|trial| trial.0).collect()
    }

    /// One sentence.
    #[must_use]
    pub fn verdict(&self) -> String {
        let list = |values: &[u32]| values.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let tried: Vec<u32> = self.trials.iter().map(|trial| trial.0).collect();
        let accepted = self.accepted();
        match accepted.as_slice() {
            [] => format!("{} is declared dynamic, but none of {} worked", self.axis, list(&tried)),
            all if all.len() == tried.len() => format!("{} is dynamic: {} all worked", self.axis, list(all)),
            [one] => format!("{} is declared dynamic, but of {} only {one} worked", self.axis, list(&tried)),
            some => {
                format!("{} is dynamic in part: of {} only {} worked", self.axis, list(&tried), list(some))
            }
        }
    }
}

/// Reads the model at `path` and finds its axes.
///
/// # Errors
/// The file cannot be read or is not ONNX. Axes that cannot be told are no error here.
pub fn inspect(path: &Path, hints: &ModelHints) -> Result<Inspection, ModelError> {
    let model = OnnxModel::read(path)?;
    let shape = ModelShape::find(&model, hints);
    Ok(Inspection { model, shape, probes: Vec::new() })
}

/// Tries values of every dynamic axis of `shape`.
pub fn probe(shape: &ModelShape, trial: &mut Trial<'_>) -> Vec<AxisProbe> {
    let mut probes = Vec::new();
    let batch = shape.fixed_batch_size.unwrap_or(1);
    let mut frames = shape.fixed_clip_length.unwrap_or(FRAMES_TRIED[0]);
    let mut at = |batch: u32, frames: u32| match Shape::new(batch, frames) {
        Some(at) => trial(at, &shape.at(at)),
        None => Ok(()),
    };
    if shape.fixed_clip_length.is_none() {
        let mut trials: Vec<_> = FRAMES_TRIED.iter().map(|&frames| (frames, at(batch, frames))).collect();
        // The batch is then probed at the first clip length that works.
        frames = trials.iter().find(|trial| trial.1.is_ok()).map_or(frames, |trial| trial.0);
        trials.sort_by_key(|trial| trial.0);
        probes.push(AxisProbe { axis: "frames", trials });
    }
    if shape.fixed_batch_size.is_none() {
        let trials = BATCHES_TRIED.iter().map(|&batch| (batch, at(batch, frames))).collect();
        probes.push(AxisProbe { axis: "batch", trials });
    }
    probes
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::record::{Cause, Stage};

    fn shape(fixed_batch_size: Option<u32>, fixed_clip_length: Option<u32>) -> ModelShape {
        ModelShape { inputs: Vec::new(), fixed_batch_size, fixed_clip_length, findings: Vec::new() }
    }

    fn verdicts(shape: &ModelShape, works: impl Fn(Shape) -> bool) -> Vec<String> {
        let failure =
            || Failure { stage: Stage::Prepare, cause: Cause::ImpossibleShape, message: "no".into() };
        let mut trial = |at: Shape, _: &[InputSpec]| if works(at) { Ok(()) } else { Err(failure()) };
        probe(shape, &mut trial).iter().map(AxisProbe::verdict).collect()
    }

    #[test]
    fn an_axis_that_takes_every_value_is_dynamic() {
        assert_eq!(
            verdicts(&shape(None, None), |_| true),
            [
                "frames is dynamic: 1, 2, 8, 16, 32, 64, 128 all worked",
                "batch is dynamic: 1, 2, 4 all worked"
            ]
        );
    }

    #[test]
    fn a_frames_axis_that_holds_a_constant_is_found_out_and_the_batch_is_tried_there() {
        assert_eq!(
            verdicts(&shape(None, None), |at| at.clip() == 8),
            [
                "frames is declared dynamic, but of 1, 2, 8, 16, 32, 64, 128 only 8 worked",
                "batch is dynamic: 1, 2, 4 all worked"
            ]
        );
    }

    #[test]
    fn a_least_clip_length_is_found() {
        assert_eq!(
            verdicts(&shape(Some(1), None), |at| at.clip() >= 13),
            ["frames is dynamic in part: of 1, 2, 8, 16, 32, 64, 128 only 16, 32, 64, 128 worked"]
        );
    }

    #[test]
    fn a_fixed_axis_is_not_probed() {
        assert!(verdicts(&shape(Some(1), Some(16)), |_| true).is_empty());
    }
}
