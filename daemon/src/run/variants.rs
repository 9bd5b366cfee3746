//! From the names in a request to models that lie on disk with known axes, and backends that were tried.

use super::error::RunError;
use crate::backend::{Choice, resolve};
use crate::confine::Confinement;
use crate::digest::sha256;
use crate::model::ModelError;
use crate::model::axes::ModelShape;
use crate::model::built_in::BuiltIn;
use crate::model::hints::{HintArgs, ModelHints};
use crate::model::onnx::OnnxModel;
use crate::model::weights;
use crate::worker::handle::{Trouble, Worker, WorkerConfig};
use clipmark_profile::plan::{Request, UsableVariant};
use clipmark_profile::point::Variant;
use clipmark_profile::record::{BackendRecord, Cause, Failure, ModelRecord, Stage};
use std::path::{Path, PathBuf};

/// A model of the run.
#[derive(Debug, Clone)]
pub struct RunModel {
    /// The file that workers load.
    pub path: PathBuf,
    /// Files beside it that hold its weights.
    pub weights: Vec<PathBuf>,
    /// How its inputs follow the grid point.
    pub shape: ModelShape,
    /// What the record keeps of it.
    pub record: ModelRecord,
}

/// The models of `request`: built-in ones by name, written into `scratch`, others by path.
///
/// # Errors
/// A model cannot be read, is no ONNX, has axes that cannot be told, or is not the one asked for.
pub fn models(request: &Request, hints: &HintArgs, scratch: &Path) -> Result<Vec<RunModel>, RunError> {
    let names: Vec<String> = if request.models.is_empty() {
        BuiltIn::DEFAULT_PAIR.iter().map(|model| model.name().to_owned()).collect()
    } else {
        request.models.clone()
    };
    let mut models: Vec<RunModel> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let model = one(name, hints, scratch)?;
        if let Some(wanted) = request.digests.get(index).filter(|wanted| !wanted.is_empty())
            && !wanted.eq_ignore_ascii_case(&model.record.sha256)
        {
            let found = model.record.sha256.clone();
            return Err(RunError::Digest { path: model.path, found, wanted: wanted.clone() });
        }
        if models.iter().any(|earlier| earlier.record.name == model.record.name) {
            return Err(RunError::SameName(model.record.name));
        }
        models.push(model);
    }
    Ok(models)
}

fn one(name: &str, hints: &HintArgs, scratch: &Path) -> Result<RunModel, RunError> {
    let path = match BuiltIn::by_name(name) {
        Some(model) => write_built_in(model, scratch)?,
        None => PathBuf::from(name),
    };
    let onnx = OnnxModel::read(&path).map_err(RunError::Model)?;
    let hints =
        ModelHints::beside(&path).and_then(|beside| beside.with_flags(hints)).map_err(RunError::Model)?;
    let shape = ModelShape::find(&onnx, &hints).map_err(RunError::Model)?;
    let unreadable = |source| RunError::Model(ModelError::Read { path: path.clone(), source });
    let weights = weights::resolve(&path, &onnx.external_data).map_err(RunError::Model)?;
    let identity = weights::identity(onnx.own.clone(), &onnx.external_data, &weights).map_err(unreadable)?;
    let record = onnx.record(&stem(&path), identity);
    // Workers may run in another directory than the one that a relative path is meant from.
    let path = std::fs::canonicalize(&path).map_err(unreadable)?;
    Ok(RunModel { path, weights, shape, record })
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned())
}

fn write_built_in(model: BuiltIn, scratch: &Path) -> Result<PathBuf, RunError> {
    let path = scratch.join(format!("{}.onnx", model.name()));
    std::fs::create_dir_all(scratch).map_err(|source| RunError::Output { path: scratch.into(), source })?;
    model.write(&path, true).map_err(|error| match error {
        ModelError::Write { path, source } => RunError::Output { path, source },
        other => RunError::Model(other),
    })?;
    Ok(path)
}

/// The simulated variant that the TOML file at `path` declares, in place of a model.
///
/// # Errors
/// The file cannot be read or understood.
pub fn simulated(path: &Path) -> Result<RunModel, RunError> {
    let unreadable = |reason: String| RunError::Simulated { path: path.into(), reason };
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    crate::backend::SimulatedModel::declared(path).map_err(unreadable)?;
    let record = ModelRecord {
        name: stem(path),
        sha256: sha256(&bytes),
        size_bytes: clipmark_profile::units::Bytes(bytes.len() as u64),
        parameters: None,
        inputs: Vec::new(),
    };
    let shape = ModelShape::default();
    let path = std::fs::canonicalize(path).map_err(|error| unreadable(error.to_string()))?;
    Ok(RunModel { path, weights: Vec::new(), shape, record })
}

/// The backends of `names`, each checked in a worker of its own: a check loads libraries. And how those workers were
/// confined.
///
/// # Errors
/// A name is unknown, or a backend that was asked for cannot be used here.
pub fn backends(names: &[String], settings: &WorkerConfig) -> Result<(Vec<Choice>, Confinement), RunError> {
    let mut confinement = Confinement::default();
    let mut check = |name: &str| -> Result<BackendRecord, Failure> {
        let mut worker = Worker::spawn(settings)?;
        let checked = worker.check(name).inspect(|_| confinement = worker.confinement().unwrap_or_default());
        checked.map_err(|trouble| match trouble {
            Trouble::Failed(failure) => failure,
            Trouble::Stopped => Failure {
                stage: Stage::Load,
                cause: Cause::BackendUnavailable,
                message: "the run was stopped before the backend was checked".into(),
            },
        })
    };
    let choices = resolve(names, &mut check)?;
    Ok((choices, confinement))
}

/// Every model on every backend, with the sizes that the models insist on, over the other axes of the request.
#[must_use]
pub fn cross(request: &Request, models: &[RunModel], backends: &[Choice]) -> Vec<UsableVariant> {
    let on = |model: &RunModel, backend: &Choice| {
        model.shape.usable(Variant::new(&model.record.name, &backend.name))
    };
    let pairs = models.iter().flat_map(|model| backends.iter().map(move |backend| on(model, backend)));
    UsableVariant::expand(pairs.collect(), request)
}
