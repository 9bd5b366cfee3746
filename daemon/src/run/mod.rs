//! Carries a plan out: `run` at the command line and over MQTT ends here.
//!
//! Decides nothing about what to measure (the sweep does) and computes no figure (the study does). It
//! resolves models and backends, drives workers and the sampler, keeps the record on disk as it grows, and
//! writes the results. A run that was cut off goes on from its record.

mod capacity;
mod clock;
mod drive;
pub mod error;
mod gate;
pub mod limit;
pub mod outputs;
pub mod pool;
pub mod sensing;
mod soak;
pub mod variants;
pub mod watch;

pub use error::RunError;
pub use watch::{BoardNow, ProgressSink, RunEvent};

use crate::account::memory_available;
use crate::backend::{Choice, LIBRARY_VARIABLE, options};
use crate::confine::Confinement;
use crate::model::hints::HintArgs;
use crate::placement::Placement;
use crate::record_store::{Head, RecordStore};
use crate::worker::clock::monotonic;
use crate::worker::handle::WorkerConfig;
use clipmark_probes::board::{Boards, Fingerprint};
use clipmark_probes::root::Root;
use clipmark_profile::plan::{Limits, Mode, Plan, Request};
use clipmark_profile::record::RunHeader;
use clipmark_profile::series::Series;
use clipmark_profile::summary::Profile;
use clipmark_profile::sweep::{Sweep, SweepRules};
use clipmark_profile::units::{Bytes, Nanos};
use clipmark_service::clock::unix_ms;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use variants::RunModel;

/// Where CUDA's driver keeps the code that it generated.
const CUDA_CACHE_VARIABLE: &str = "CUDA_CACHE_PATH";

/// Share of the available memory that live engines may hold together.
const LIVE_MEMORY_SHARE: u64 = 2;

/// Everything about a run that its request does not say: where, on which tree, under whose eyes.
#[derive(Debug, Clone)]
pub struct RunContext {
    /// Where results go.
    pub out: PathBuf,
    /// Caps on the request.
    pub limits: Limits,
    /// What the models' files do not say.
    pub hints: HintArgs,
    /// A simulated variant in place of models.
    pub simulate: Option<PathBuf>,
    /// The board's tree: live, a directory or a capture.
    pub root: Root,
    /// Board files.
    pub boards: Boards,
    /// Whether the sampler runs.
    pub sampler: bool,
    /// Where engines may be cached.
    pub cache_dir: Option<PathBuf>,
    /// ONNX Runtime's shared library, in place of the usual places.
    pub onnxruntime: Option<PathBuf>,
    /// The command line or the request's origin, for the record.
    pub origin: String,
    /// Where workers run.
    pub placement: Placement,
    /// Set when the run is to stop.
    pub stop: Arc<AtomicBool>,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnding {
    /// The plan was carried out, or its budget used.
    Complete,
    /// The user or a signal ended it.
    Stopped,
    /// The board reached the temperature limit, or the limit could not be kept any more.
    TooHot,
}

/// A finished run.
#[derive(Debug)]
pub struct Finished {
    /// What it found; also in the results' folder.
    pub profile: Profile,
    /// Its soaks over time, in their order.
    pub series: Vec<Series>,
    /// Why it ended.
    pub ending: RunEnding,
}

/// Carries `request` out from its beginning.
///
/// # Errors
/// The request, a model, a backend or the results' folder cannot be used. Points that fail are results.
pub fn begin(
    request: Request,
    setting: &RunContext,
    watcher: &mut dyn ProgressSink,
) -> Result<Finished, RunError> {
    request.validate(&setting.limits).map_err(RunError::Plan)?;
    let made: Vec<&Path> = setting.out.ancestors().take_while(|folder| !folder.exists()).collect();
    std::fs::create_dir_all(&setting.out)
        .map_err(|source| RunError::Folder { path: setting.out.clone(), source })?;
    let finished = carry_out(request, setting, watcher);
    if finished.is_err() {
        // Removes empty folders alone: those of a run of which nothing came.
        let _ = made.iter().try_for_each(std::fs::remove_dir);
    }
    finished
}

fn carry_out(
    request: Request,
    setting: &RunContext,
    watcher: &mut dyn ProgressSink,
) -> Result<Finished, RunError> {
    let began = monotonic();
    let limited = limit::require(&request, setting)?;
    let mut settings = worker_settings(&request, setting);
    watcher.tell(&RunEvent::Preparing("reading the models and finding their axes"));
    let models = find_models(&request, setting)?;
    let names = backend_names(&request, setting);
    settings.readable.extend(models.iter().flat_map(|model| model.weights.clone()));
    watcher.tell(&RunEvent::Preparing("checking the backends"));
    let (backends, confinement) = variants::backends(&names, &settings)?;
    let names: Vec<String> = backends.iter().map(|choice| choice.name.clone()).collect();
    options::check(&names, &request.backend_options)?;
    let usable = variants::cross(&request, &models, &backends);
    let mut plan = Plan::expand(request, usable, &setting.limits).map_err(RunError::Plan)?;
    if plan.request.mode == Mode::Soak {
        // Nothing is swept: the soaked points are the request's own.
        plan.points.clear();
    }
    let mut notes = notes(&models, &backends);
    notes.extend(limited);
    watcher.tell(&RunEvent::Planned { plan: &plan, notes: &notes });
    let rules = after_preparation(rules(&plan), &plan, monotonic().since(began), setting);
    let header = header(setting, plan, &models, backends, &confinement);
    let head = Head { header, rules };
    let store = RecordStore::create(&setting.out, &head)?;
    let sweep = Sweep::new(&head.header.plan, head.rules.clone());
    let parts = drive::Parts { head: &head, models: &models, settings, setting, store, sweep };
    drive::run(parts, Nanos(0), false, watcher)
}

/// Goes on with the run in `setting.out`, from its last finished step.
///
/// # Errors
/// There is no such run, it is complete, or its models are not what they were.
pub fn resume(setting: &RunContext, watcher: &mut dyn ProgressSink) -> Result<Finished, RunError> {
    let (store, resumed) = RecordStore::resume(&setting.out)?;
    if resumed.end.is_some_and(|end| !end.partial) {
        return Err(RunError::Complete { path: setting.out.clone() });
    }
    store.reopen()?;
    let head = resumed.head;
    let plan = &head.header.plan;
    let limited = limit::require(&plan.request, setting)?;
    let mut settings = worker_settings(&plan.request, setting);
    let models = find_models(&plan.request, setting)?;
    settings.readable.extend(models.iter().flat_map(|model| model.weights.clone()));
    for model in &models {
        let recorded = head.header.models.iter().find(|recorded| recorded.name == model.record.name);
        if let Some(recorded) = recorded.filter(|recorded| recorded.sha256 != model.record.sha256) {
            let (found, wanted) = (model.record.sha256.clone(), recorded.sha256.clone());
            return Err(RunError::Digest { path: model.path.clone(), found, wanted });
        }
    }
    let note = format!("resuming after {} steps", resumed.journal.len());
    let notes: Vec<String> = [note].into_iter().chain(limited).collect();
    watcher.tell(&RunEvent::Planned { plan, notes: &notes });
    let sweep = Sweep::replay(plan, head.rules.clone(), &resumed.journal)?;
    let parts = drive::Parts { head: &head, models: &models, settings, setting, store, sweep };
    drive::run(parts, resumed.ended, true, watcher)
}

fn find_models(request: &Request, setting: &RunContext) -> Result<Vec<RunModel>, RunError> {
    match &setting.simulate {
        Some(path) => Ok(vec![variants::simulated(path)?]),
        None => variants::models(request, &setting.hints, &setting.out.join("models")),
    }
}

fn backend_names(request: &Request, setting: &RunContext) -> Vec<String> {
    if setting.simulate.is_some() { vec!["simulated".into()] } else { request.backends.clone() }
}

fn worker_settings(request: &Request, setting: &RunContext) -> WorkerConfig {
    let span = Duration::from_secs_f64;
    let mut settings = WorkerConfig::own(
        request.memory_limit_bytes,
        span(request.prepare_limit_s),
        span(request.inference_limit_s),
    )
    .placed(&setting.placement);
    settings.stop = Arc::clone(&setting.stop);
    if let Some(library) = &setting.onnxruntime {
        settings.environment.push((LIBRARY_VARIABLE.into(), library.into()));
    }
    if let Some(cache) = &setting.cache_dir {
        settings.writable.push(cache.clone());
        // What CUDA's driver generates it keeps in the home folder, which is closed to workers.
        if std::env::var_os(CUDA_CACHE_VARIABLE).is_none() {
            let folder = std::path::absolute(cache).unwrap_or_else(|_| cache.clone()).join("cuda");
            settings.environment.push((CUDA_CACHE_VARIABLE.into(), folder.into()));
        }
    }
    settings
}

/// The plan's rules, with the memory that this machine can spare for live engines.
fn rules(plan: &Plan) -> SweepRules {
    let spare = memory_available().map(|bytes| Bytes(bytes.0 / LIVE_MEMORY_SHARE));
    SweepRules { max_live_memory: spare, ..SweepRules::for_plan(plan) }
}

/// `rules` with a budget that was asked for less what was spent before the first step. A virtual clock has not
/// begun by then.
fn after_preparation(rules: SweepRules, plan: &Plan, spent: Nanos, setting: &RunContext) -> SweepRules {
    let is_virtual = setting.simulate.is_some() && setting.root.is_capture();
    if plan.request.budget_s.is_none() || is_virtual {
        return rules;
    }
    let left = |budget: Option<Nanos>| budget.map(|budget| budget.since(spent));
    SweepRules { budget: left(rules.budget), survey_budget: left(rules.survey_budget), ..rules }
}

fn notes(models: &[RunModel], backends: &[Choice]) -> Vec<String> {
    let mut notes: Vec<String> = backends.iter().map(|choice| choice.why.clone()).collect();
    for model in models {
        notes.extend(model.shape.findings.iter().map(|finding| format!("{}: {finding}", model.record.name)));
    }
    notes
}

fn header(
    setting: &RunContext,
    plan: Plan,
    models: &[RunModel],
    backends: Vec<Choice>,
    confinement: &Confinement,
) -> RunHeader {
    let board = setting.boards.find(&Fingerprint::read(&setting.root));
    let version = env!("CARGO_PKG_VERSION");
    let mut environment = clipmark_probes::environment::read(&setting.root, &board, version);
    setting.placement.describe(&mut environment);
    confinement.describe(&mut environment);
    RunHeader {
        run_id: run_id(),
        started_unix_ms: unix_ms(),
        origin: setting.origin.clone(),
        plan,
        environment,
        models: models.iter().map(|model| model.record.clone()).collect(),
        backends: backends.into_iter().map(|choice| choice.record).collect(),
    }
}

/// 16 random hexadecimal digits: the standard library seeds its hashers from the system's randomness.
fn run_id() -> String {
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u64(monotonic().0);
    format!("{:016x}", hasher.finish())
}

/// Where built engines are kept unless the command line says otherwise: the service's own folder under
/// systemd, else the user's cache.
#[must_use]
pub fn engine_cache() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let of_service = ["CACHE_DIRECTORY", "STATE_DIRECTORY"].into_iter().find_map(named);
    let of_user = || named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    of_service.or_else(|| Some(of_user()?.join("clipmark"))).map(|folder| folder.join("engines"))
}

/// A folder for a run's results that does not exist yet: `clipmark-out/N` below `base`.
#[must_use]
pub fn fresh_folder(base: &Path) -> PathBuf {
    let parent = base.join("clipmark-out");
    (1..).map(|number: u32| parent.join(number.to_string())).find(|path| !path.exists()).unwrap_or(parent)
}
