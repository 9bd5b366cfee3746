//! `clipmarkd run`: the main job on one machine.

use super::axis_flags::{self, AxisFlags};
use super::probe::BoardArgs;
use super::progress::{JsonLines, Lines, Quiet};
use super::request::RequestArgs;
use super::{RUNTIMES, print};
use crate::confine::Policy;
use crate::exit_codes::{CommandError, ExitCode};
use crate::model::hints::HintArgs;
use crate::placement::{self, Asked, CpuList, Placement, confine_this_process};
use crate::run::{self, Finished, ProgressSink, RunContext, RunEnding, outputs};
use clap::Args;
use clipmark_profile::plan::Limits;
use clipmark_profile::summary::{Profile, Status};
use clipmark_service::outcome::Code as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Measures models across clip lengths and batch sizes, and names the operating points.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{RUNTIMES}"))]
pub struct RunArgs {
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    axes: AxisFlags,
    /// CPUs of the measured processes, e.g. 2-5; the sampler keeps to the others.
    #[arg(long, value_name = "LIST")]
    worker_cpus: Option<CpuList>,
    /// What to do where this kernel cannot confine workers as docs/security.md says.
    #[arg(long, value_name = "POLICY", default_value = "available")]
    worker_confinement: Policy,
    /// A plan file in TOML; flags given beside it win. config/plan.toml shows every key, in the Debian package
    /// /usr/share/doc/clipmarkd/examples/plan.toml.
    #[arg(long, value_name = "FILE.toml")]
    plan: Option<PathBuf>,
    /// Where results go; a new folder below ./clipmark-out by default.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder, as it was asked for (no other setting of the run may be given).
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "plan", "RequestArgs", axis_flags::GROUP])]
    resume: Option<PathBuf>,
    /// Print the profile as JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Tell the progress on standard error as JSON, one object a line.
    #[arg(long, hide = true)]
    json_progress: bool,
    /// Run without reading the board's sensors.
    #[arg(long)]
    no_sampler: bool,
    /// A simulated variant instead of models; everything it yields is labelled simulated.
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = ["models", "backend"])]
    simulate: Option<PathBuf>,
    /// ONNX Runtime's shared library, where it is not in the usual places.
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
    /// Folder for built engines; the user's cache by default.
    #[arg(long, value_name = "DIR")]
    engine_cache: Option<PathBuf>,
    #[command(flatten)]
    board: BoardArgs,
    #[command(flatten)]
    hints: HintArgs,
}

const EXAMPLES: &str = "Examples:
  clipmarkd run                                         the built-in pair, in about two minutes
  clipmarkd run model.onnx --fps 30                     which points keep up with a live stream
  clipmarkd run model.onnx --streams auto --fps 30      how many cameras the board sustains
  clipmarkd run model.onnx --clip-lengths 16,64 --batch-sizes 1 --iterations 1000
  clipmarkd run model.onnx --backend tract,onnxruntime  two backends on the same points
  clipmarkd run model.onnx --soak 30m                   then soak the chosen points
  clipmarkd run --plan plan.toml --out results          what a plan file asks for
  clipmarkd run --resume clipmark-out/3                 go on after Ctrl-C or a power cut";

impl RunArgs {
    fn setting(&self, stop: Arc<AtomicBool>) -> Result<RunContext, CommandError> {
        let out = self.out.clone().or_else(|| self.resume.clone());
        let (root, boards) = self.board.open()?;
        Ok(RunContext {
            out: out.unwrap_or_else(|| run::fresh_folder(Path::new(""))),
            limits: Limits::default(),
            hints: self.hints.clone(),
            simulate: self.simulate.clone(),
            root,
            boards,
            sampler: !self.no_sampler,
            cache_dir: self.engine_cache.clone().or_else(run::engine_cache),
            onnxruntime: self.onnxruntime.clone(),
            origin: std::env::args().collect::<Vec<_>>().join(" "),
            placement: self.place()?,
            stop,
        })
    }

    /// Moves this process off the workers' CPUs.
    fn place(&self) -> Result<Placement, CommandError> {
        let confinement = self.worker_confinement;
        let asked = Asked { cpus: self.worker_cpus.clone(), confinement, ..Asked::default() };
        if asked == Asked::default() {
            return Ok(Placement::default());
        }
        let failed = |error: std::io::Error| CommandError::new(ExitCode::Worker, error);
        let allowed = placement::allowed().map_err(failed)?;
        let made = Placement::make(&asked, &allowed);
        if let (Some(cpus), Some((_, cause))) = (&asked.cpus, made.absent.first()) {
            let message = format!("--worker-cpus {cpus}: {cause}; choose from these");
            return Err(CommandError::new(ExitCode::Usage, message));
        }
        confine_this_process(&made.others(&allowed)).map_err(failed)?;
        Ok(made)
    }

    fn watcher(&self) -> Box<dyn ProgressSink> {
        if self.json_progress {
            Box::new(JsonLines::default())
        } else if self.json && !std::io::stderr().is_terminal() {
            Box::new(Quiet)
        } else {
            Box::new(Lines::new(std::io::stderr().is_terminal()))
        }
    }

    /// Runs, prints the profile and says where everything is.
    ///
    /// # Errors
    /// See [`crate::run::begin`].
    pub fn execute(&self) -> Result<ExitCode, CommandError> {
        let stop = stop_on_signals()?;
        let setting = self.setting(stop)?;
        let mut watcher = self.watcher();
        let finished = match &self.resume {
            Some(_) => run::resume(&setting, watcher.as_mut())?,
            None => {
                let request = self.request.with(&self.axes).over(self.plan.as_deref())?;
                run::begin(request, &setting, watcher.as_mut())
                    .map_err(|error| self.request.with(&self.axes).in_flags(error, self.plan.is_some()))?
            }
        };
        drop(watcher);
        if self.json {
            print(&outputs::json(&finished.profile))?;
        } else {
            super::print_profile(&finished.profile, &finished.series)?;
            print(&whereabouts(&setting.out))?;
        }
        Ok(exit_code(&finished))
    }
}

fn whereabouts(out: &Path) -> String {
    let report = out.join(outputs::REPORT_HTML);
    format!("\nReport    {}\nProfile   {}\n", report.display(), out.join(outputs::PROFILE_JSON).display())
}

fn exit_code(finished: &Finished) -> ExitCode {
    match finished.ending {
        RunEnding::Stopped => ExitCode::Interrupted,
        RunEnding::TooHot => ExitCode::TooHot,
        RunEnding::Complete if measured_something(&finished.profile) => ExitCode::Success,
        RunEnding::Complete => ExitCode::NothingMeasured,
    }
}

fn measured_something(profile: &Profile) -> bool {
    // A point that the budget or the user cut short has figures all the same, with wide intervals.
    profile.points.iter().any(|point| point.status != Status::Failed && point.latency.is_some())
        || profile.soaks.iter().any(|soak| soak.inferences > 0)
}

/// A flag that the first SIGINT or SIGTERM sets; a second one ends the program at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>, CommandError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let code = i32::from(ExitCode::Interrupted.number());
        // In this order: the shutdown is armed by the flag that the first signal sets after it.
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| CommandError::new(ExitCode::Worker, error))?;
    }
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::exit_code;
    use crate::exit_codes::ExitCode;
    use crate::run::{Finished, RunEnding};
    use clipmark_profile::analysis::study;
    use clipmark_profile::plan::{Limits, Plan, Request, UsableVariant};
    use clipmark_profile::point::Variant;
    use clipmark_profile::simulated::SimulatedSpec;
    use clipmark_profile::summary::Status;
    use clipmark_profile::sweep::SweepRules;
    use clipmark_profile::truth::board;

    #[test]
    fn figures_of_points_that_the_budget_cut_short_are_figures() {
        let variant = Variant::new("slow", "simulated");
        let usable = UsableVariant { variant, fixed: Vec::new() };
        let plan = Plan::expand(Request::default(), vec![usable], &Limits::default()).unwrap();
        let record = board::run(&plan, SweepRules::for_plan(&plan), &[SimulatedSpec::default()]).record;
        let mut profile = study(&record);
        profile.points.iter_mut().for_each(|point| point.status = Status::Interrupted);
        let mut finished = Finished { profile, series: Vec::new(), ending: RunEnding::Complete };
        assert_eq!(exit_code(&finished), ExitCode::Success);
        finished.profile.points.iter_mut().for_each(|point| point.latency = None);
        assert_eq!(exit_code(&finished), ExitCode::NothingMeasured);
    }
}
