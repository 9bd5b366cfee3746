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
use clipmark_profile::record::{Cause, Failure};
use std::fmt;
use std::path::Path;

/// Clip lengths that are tried, the likeliest first.
const FRAMES_TRIED: [u32; 7] = [16, 8, 32, 1, 2, 64, 128];
/// Batch sizes that are tried.
const BATCHES_TRIED: [u32; 3] = [1, 2, 4];

/// Prepares the model for a point and runs it once.
pub type Trial<'a> = dyn FnMut(Shape, &[InputSpec]) -> TrialOutcome + 'a;

/// Hears of each trial at once: the axis, the value and what became of it.
pub type Observer<'a> = dyn FnMut(AxisName, u32, &TrialOutcome) + 'a;

/// What became of one value of an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialOutcome {
    /// It was prepared and run.
    Worked,
    /// It failed.
    Failed(Failure),
    /// It, or a smaller value, took longer than a trial may.
    TooSlow,
    /// The trials before took all the time there is.
    OutOfTime,
}

/// An axis that is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AxisName {
    /// The batch size.
    Batch,
    /// The clip length.
    Frames,
}

impl fmt::Display for AxisName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Batch => "batch",
            Self::Frames => "frames",
        })
    }
}

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

impl Inspection {
    /// The failure that every trial ended with, where there is one: it says nothing of the axes.
    #[must_use]
    pub fn refusal(&self) -> Option<&Failure> {
        common_failure(self.probes.iter().flat_map(|probe| &probe.trials).map(|trial| &trial.1))
    }
}

/// What trials showed of one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisProbe {
    /// Which one.
    pub axis: AxisName,
    /// Every value, ascending, and what became of it.
    pub trials: Vec<(u32, TrialOutcome)>,
}

impl AxisProbe {
    fn values(&self, which: impl Fn(&TrialOutcome) -> bool) -> Vec<u32> {
        self.trials.iter().filter(|trial| which(&trial.1)).map(|trial| trial.0).collect()
    }

    /// The values that worked.
    #[must_use]
    pub fn accepted(&self) -> Vec<u32> {
        self.values(|outcome| *outcome == TrialOutcome::Worked)
    }

    /// The values that failed, with their failures.
    pub fn failures(&self) -> impl Iterator<Item = (u32, &Failure)> {
        self.trials.iter().filter_map(|(value, outcome)| match outcome {
            TrialOutcome::Failed(failure) => Some((*value, failure)),
            _ => None,
        })
    }

    /// One sentence.
    #[must_use]
    pub fn verdict(&self) -> String {
        let mut verdict = self.verdict_of_the_tried();
        for (outcome, reason) in
            [(TrialOutcome::TooSlow, "too slow"), (TrialOutcome::OutOfTime, "out of time")]
        {
            let values = self.values(|other| *other == outcome);
            if !values.is_empty() {
                verdict = format!("{verdict}; {} not tried: {reason}", list(&values));
            }
        }
        verdict
    }

    fn verdict_of_the_tried(&self) -> String {
        let axis = self.axis;
        let accepted = self.accepted();
        let tried = self.values(|outcome| matches!(outcome, TrialOutcome::Worked | TrialOutcome::Failed(_)));
        match accepted.as_slice() {
            [] if tried.is_empty() => format!("{axis} is declared dynamic, and nothing is known of it"),
            [] => format!("{axis} is declared dynamic, but none of {} worked", list(&tried)),
            all if all.len() == tried.len() => format!("{axis} is dynamic: {} all worked", list(all)),
            [one] => format!("{axis} is declared dynamic, but of {} only {one} worked", list(&tried)),
            some => format!("{axis} is dynamic in part: of {} only {} worked", list(&tried), list(some)),
        }
    }
}

fn list(values: &[u32]) -> String {
    values.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// The first failure, where all that was tried failed with it: sizes in its message do not count.
fn common_failure<'a>(outcomes: impl Iterator<Item = &'a TrialOutcome>) -> Option<&'a Failure> {
    let text = |failure: &Failure| failure.message.replace(|c: char| c.is_ascii_digit(), "");
    let mut common: Option<&Failure> = None;
    for outcome in outcomes {
        match (outcome, common) {
            (TrialOutcome::TooSlow | TrialOutcome::OutOfTime, _) => {}
            (TrialOutcome::Failed(failure), None) => common = Some(failure),
            (TrialOutcome::Failed(failure), Some(known)) if text(failure) == text(known) => {}
            (TrialOutcome::Failed(_) | TrialOutcome::Worked, _) => return None,
        }
    }
    common
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

/// Tries values of every dynamic axis of `shape`, and tells `observer` of each at once.
pub fn probe(shape: &ModelShape, trial: &mut Trial<'_>, observer: &mut Observer<'_>) -> Vec<AxisProbe> {
    let mut probes = Vec::new();
    let batch = shape.fixed_batch_size.unwrap_or(1);
    let mut frames = shape.fixed_clip_length.unwrap_or(FRAMES_TRIED[0]);
    let mut at = |batch: u32, frames: u32| match Shape::new(batch, frames).map(|at| (at, shape.at(at))) {
        Some((at, Ok(inputs))) => trial(at, &inputs),
        Some((_, Err(failure))) => TrialOutcome::Failed(failure),
        None => TrialOutcome::Worked,
    };
    if shape.fixed_clip_length.is_none() {
        let trials = tried(AxisName::Frames, &FRAMES_TRIED, &mut |frames| at(batch, frames), observer);
        // The batch is then probed at the first clip length that works.
        let works = |frames: &&u32| trials.contains(&(**frames, TrialOutcome::Worked));
        frames = FRAMES_TRIED.iter().find(works).copied().unwrap_or(frames);
        probes.push(AxisProbe { axis: AxisName::Frames, trials });
    }
    let is_refused =
        common_failure(probes.iter().flat_map(|probe| &probe.trials).map(|trial| &trial.1)).is_some();
    if shape.fixed_batch_size.is_none() && !is_refused {
        let trials = tried(AxisName::Batch, &BATCHES_TRIED, &mut |batch| at(batch, frames), observer);
        probes.push(AxisProbe { axis: AxisName::Batch, trials });
    }
    probes
}

/// Tries `values` in turn, but nothing larger than one that was too slow.
fn tried(
    axis: AxisName,
    values: &[u32],
    trial: &mut dyn FnMut(u32) -> TrialOutcome,
    observer: &mut Observer<'_>,
) -> Vec<(u32, TrialOutcome)> {
    let mut trials: Vec<(u32, TrialOutcome)> = Vec::new();
    for &value in values {
        let is_slow =
            trials.iter().any(|(other, outcome)| *outcome == TrialOutcome::TooSlow && *other < value);
        let outcome = if is_slow { TrialOutcome::TooSlow } else { trial(value) };
        observer(axis, value, &outcome);
        trials.push((value, outcome));
        if trials.len() > 1 && is_hopeless(&trials) {
            break;
        }
    }
    trials.sort_by_key(|trial| trial.0);
    trials
}

/// Whether no other value would fare better.
fn is_hopeless(trials: &[(u32, TrialOutcome)]) -> bool {
    common_failure(trials.iter().map(|trial| &trial.1)).is_some_and(|failure| {
        matches!(failure.cause, Cause::UnsupportedOperator | Cause::BadModel | Cause::BackendUnavailable)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::record::Stage;

    fn shape(fixed_batch_size: Option<u32>, fixed_clip_length: Option<u32>) -> ModelShape {
        ModelShape { inputs: Vec::new(), fixed_batch_size, fixed_clip_length, findings: Vec::new() }
    }

    fn failed(message: String) -> TrialOutcome {
        TrialOutcome::Failed(Failure { stage: Stage::Prepare, cause: Cause::ImpossibleShape, message })
    }

    fn probed(shape: &ModelShape, outcome: impl Fn(Shape) -> TrialOutcome) -> Vec<AxisProbe> {
        probe(shape, &mut |at, _| outcome(at), &mut |_, _, _| {})
    }

    fn verdicts(shape: &ModelShape, works: impl Fn(Shape) -> bool) -> Vec<String> {
        let outcome = |at: Shape| if works(at) { TrialOutcome::Worked } else { failed("no".into()) };
        probed(shape, outcome).iter().map(AxisProbe::verdict).collect()
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

    #[test]
    fn nothing_larger_than_what_was_too_slow_is_tried() {
        let outcome = |at: Shape| match at.clip() {
            ..32 => TrialOutcome::Worked,
            32 => TrialOutcome::TooSlow,
            larger => panic!("{larger} was tried"),
        };
        let mut told = Vec::new();
        let shape = shape(Some(1), None);
        let probes = probe(&shape, &mut |at, _| outcome(at), &mut |_, value, _| told.push(value));
        assert_eq!(
            probes[0].verdict(),
            "frames is dynamic: 1, 2, 8, 16 all worked; 32, 64, 128 not tried: too slow"
        );
        assert_eq!(told, FRAMES_TRIED);
    }

    #[test]
    fn a_failure_that_all_trials_share_says_nothing_of_the_axes() {
        let refusal = |outcome: fn(Shape) -> TrialOutcome| {
            let probes = probed(&shape(None, None), outcome);
            let outcomes = probes.iter().flat_map(|probe| &probe.trials).map(|trial| &trial.1);
            (probes.len(), common_failure(outcomes).map(|failure| failure.message.clone()))
        };
        let same = |at: Shape| failed(format!("no Loop at {}", at.clip()));
        assert_eq!(refusal(same), (1, Some("no Loop at 1".into())));
        assert_eq!(
            refusal(|at| if at.clip() == 8 { TrialOutcome::Worked } else { failed("no".into()) }).1,
            None
        );
        assert_eq!(refusal(|at| failed(if at.clip() == 8 { "no" } else { "nay" }.into())).1, None);
    }

    #[test]
    fn an_operator_that_is_missing_is_missing_at_every_size() {
        let message = "no Loop".to_owned();
        let failure = Failure { stage: Stage::Load, cause: Cause::UnsupportedOperator, message };
        let probes = probed(&shape(None, None), |_| TrialOutcome::Failed(failure.clone()));
        assert_eq!((probes.len(), probes[0].trials.len()), (1, 2));
    }
}
