//! The operation that takes time: a run, from its order to its results, over any number of attempts.

use super::{ChildMessage, Done, OperationStep, Order, Output, Unable};
use crate::backend::ResolveError;
use crate::config::SeriesPolicy;
use crate::model::hints::HintArgs;
use crate::run::{
    self, BoardNow, Finished, ProgressSink, RunContext, RunEnding, RunError, RunEvent, outputs,
};
use clipmark_probes::board::{BoardError, Boards};
use clipmark_probes::root::Root;
use clipmark_profile::message::{Reason, ReasonCode, Temperature};
use clipmark_profile::plan::PlanError;
use clipmark_profile::sweep::Progress;
use clipmark_profile::topics::UpKind;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The run's results, in the command's directory.
const RUN: &str = "run";

/// Carries the run out, or goes on with it when an earlier attempt left a record. `None`: it was told to
/// leave a checkpoint and end, and a later attempt goes on from there.
///
/// # Errors
/// Refused when nothing was tried, failed otherwise.
pub(super) fn run(order: &Order, dir: &Path, out: &mut dyn Write) -> Result<Option<Done>, Unable> {
    let Some(request) = order.task.run.as_deref() else {
        let message = "the order holds no request: a defect of clipmarkd".to_owned();
        return Err(Unable::Failed(Reason { code: ReasonCode::RunFailed, message }));
    };
    let stop = Arc::new(AtomicBool::new(false));
    let checkpoint = Arc::new(AtomicBool::new(false));
    listen(&stop, &checkpoint).map_err(|error| Unable::Failed(reason(&error)))?;
    let setting = setting(order, dir.join(RUN), stop).map_err(|error| Unable::Failed(reason(&error)))?;
    let mut watcher = PipeProgress { out, variants: Vec::new() };
    let begun = setting.out.join("record").join("header.json").exists();
    let finished = if begun {
        run::resume(&setting, &mut watcher)
    } else {
        let mut request = request.clone();
        request.models.clone_from(&order.models);
        request.abort_celsius = request.abort_celsius.or(order.limits.max_abort_celsius);
        run::begin(request, &setting, &mut watcher)
    };
    match finished {
        // It ended just before its result was spooled: what it wrote still stands.
        Err(RunError::Complete { path }) => outputs::read_back(&path)
            .map_err(|error| Unable::Failed(reason(&error)))
            .map(|finished| Some(done(&finished, order.series))),
        Err(error) if !begun && is_refusal(&error) => Err(Unable::Refused(reason(&error))),
        Err(error) => Err(Unable::Failed(reason(&error))),
        Ok(finished) if finished.ending == RunEnding::Stopped && checkpoint.load(Ordering::Relaxed) => {
            Ok(None)
        }
        Ok(finished) => Ok(Some(done(&finished, order.series))),
    }
}

/// SIGTERM asks for a checkpoint, SIGINT to give up and hand over what there is; both stop the run.
fn listen(stop: &Arc<AtomicBool>, checkpoint: &Arc<AtomicBool>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    signal_hook::flag::register(SIGTERM, Arc::clone(checkpoint))?;
    signal_hook::flag::register(SIGTERM, Arc::clone(stop))?;
    signal_hook::flag::register(SIGINT, Arc::clone(stop)).map(drop)
}

fn setting(order: &Order, out: std::path::PathBuf, stop: Arc<AtomicBool>) -> Result<RunContext, BoardError> {
    Ok(RunContext {
        out,
        limits: order.limits.clone(),
        hints: HintArgs::default(),
        simulate: None,
        root: Root::live(),
        boards: Boards::embedded()?,
        sampler: true,
        cache_dir: run::engine_cache(),
        onnxruntime: None,
        origin: order.origin.clone(),
        placement: order.placement.clone(),
        stop,
    })
}

/// The profile always; a soak's series as the configuration says.
fn done(finished: &Finished, policy: SeriesPolicy) -> Done {
    let file = |name: String| format!("{RUN}/{name}");
    let mut outputs = vec![Output { kind: UpKind::Profile, file: file(outputs::PROFILE_CBOR.into()) }];
    for (index, soak) in finished.profile.soaks.iter().enumerate() {
        let is_wanted = match policy {
            SeriesPolicy::Throttled => !soak.throttles.is_empty(),
            SeriesPolicy::Always => true,
            SeriesPolicy::Never => false,
        };
        if is_wanted {
            outputs.push(Output { kind: UpKind::Series, file: file(outputs::series_file(index)) });
        }
    }
    Done { outputs, is_partial: finished.ending != RunEnding::Complete, ..Done::default() }
}

/// Whether the request itself is at fault, not what became of it.
fn is_refusal(error: &RunError) -> bool {
    use RunError::{Backend, Digest, Option, Plan, SameName, TemperatureLimit};
    matches!(
        error,
        TemperatureLimit { .. }
            | Plan(_)
            | Digest { .. }
            | SameName(_)
            | Option(_)
            | Backend(ResolveError::Unknown { .. })
    )
}

fn code(error: &(dyn std::error::Error + 'static)) -> ReasonCode {
    match error.downcast_ref::<RunError>() {
        Some(RunError::Digest { .. }) => ReasonCode::DigestMismatch,
        Some(RunError::Plan(PlanError::OutOfRange { .. })) => ReasonCode::LimitExceeded,
        Some(error) if is_refusal(error) => ReasonCode::BadRequest,
        _ => ReasonCode::RunFailed,
    }
}

fn reason(error: &(dyn std::error::Error + 'static)) -> Reason {
    let code = code(error);
    let error = match error.downcast_ref::<RunError>() {
        // Its own words are for the command line.
        Some(RunError::Plan(plan)) => plan,
        _ => error,
    };
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Reason { code, message }
}

/// Tells the daemon how far the run is.
struct PipeProgress<'a> {
    out: &'a mut dyn Write,
    variants: Vec<String>,
}

impl PipeProgress<'_> {
    /// A daemon that does not listen any more has its own ways to end this process.
    fn say(&mut self, step: OperationStep) {
        let _ = super::carry_out::tell(self.out, &ChildMessage::Step(step));
    }

    fn at(
        &self,
        step: &clipmark_profile::sweep::SweepStep,
        progress: Progress,
        board: BoardNow,
    ) -> OperationStep {
        let variant = self.variants.get(usize::from(step.point.variant)).map_or("", String::as_str);
        OperationStep {
            phase: step.phase.name().into(),
            point: u32::try_from(progress.tried).ok(),
            points: u32::try_from(progress.total).ok(),
            label: Some(format!("{variant} {}", step.point.shape)),
            temperatures: temperatures(board),
        }
    }
}

fn temperatures(board: BoardNow) -> Vec<Temperature> {
    let hottest = board.hottest.map(|millicelsius| Temperature { channel: "hottest".into(), millicelsius });
    hottest.into_iter().collect()
}

impl ProgressSink for PipeProgress<'_> {
    fn tell(&mut self, news: &RunEvent<'_>) {
        match news {
            RunEvent::Planned { plan, .. } => {
                self.variants = plan.variant_labels();
            }
            RunEvent::Step { step, progress, board, .. } => {
                let step = self.at(step, *progress, *board);
                self.say(step);
            }
            RunEvent::Soak { label, board, .. } => self.say(OperationStep {
                phase: "soak".into(),
                label: Some((*label).to_owned()),
                temperatures: temperatures(*board),
                ..OperationStep::default()
            }),
            RunEvent::Done { .. } | RunEvent::Note(_) | RunEvent::Preparing(_) => {}
        }
    }
}
