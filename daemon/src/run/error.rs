//! Why a run cannot be carried out. A point that fails is a result and is not here.

use super::limit::UnkeptLimit;
use crate::backend::ResolveError;
use crate::backend::options::OptionError;
use crate::exit_codes::{CommandError, ExitCode};
use crate::model::ModelError;
use crate::record_store::StoreError;
use clipmark_probes::board::BoardError;
use clipmark_probes::root::RootError;
use clipmark_probes::sampler::SamplerError;
use clipmark_profile::plan::PlanError;
use clipmark_profile::sweep::ReplayError;
use clipmark_profile::wire::WireError;
use std::path::PathBuf;

/// Why a run ended, or never began.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The request is out of bounds or contradicts itself.
    #[error("the request cannot be carried out; see `clipmarkd run --help`")]
    Plan(#[source] PlanError),
    /// A model cannot be used at all.
    #[error("the model cannot be used")]
    Model(#[source] ModelError),
    /// A model is not the one that was asked for.
    #[error("{} has the SHA-256 {found}, the request asks for {wanted}; fetch the right file", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// The digest asked for.
        wanted: String,
    },
    /// Two models would share a name.
    #[error("two of the models are called `{0}`; rename one of the files")]
    SameName(String),
    /// No backend can be used.
    #[error(transparent)]
    Backend(#[from] ResolveError),
    /// A backend option is not understood.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The simulated variant is not understood.
    #[error("the simulated variant {} cannot be read; check the path and the file: {reason}", path.display())]
    Simulated {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The temperature limit cannot be kept on this board.
    #[error("the temperature limit of {celsius} \u{b0}C ({field}) cannot be kept: {cause}")]
    TemperatureLimit {
        /// The request's field.
        field: String,
        /// The limit.
        celsius: f64,
        /// Why not.
        cause: UnkeptLimit,
    },
    /// The record cannot be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record does not belong to this version.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The run in this folder is over.
    #[error("the run in {} is complete; `clipmarkd show {}` prints it", path.display(), path.display())]
    Complete {
        /// The folder.
        path: PathBuf,
    },
    /// The board's tree cannot be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A board file is not understood.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// The sampler failed.
    #[error(transparent)]
    Sampler(#[from] SamplerError),
    /// The profile cannot be encoded.
    #[error("the profile cannot be written as CBOR; profile.json holds it all the same")]
    Wire(#[source] WireError),
    /// The results' folder cannot be made.
    #[error(
        "cannot make the results folder {}; check the path and its permissions, or choose another by --out",
        path.display()
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A result file cannot be written.
    #[error("cannot write {}; check that the folder is writable and the disk has space", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl From<RunError> for CommandError {
    fn from(error: RunError) -> Self {
        let code = match &error {
            RunError::Plan(_)
            | RunError::SameName(_)
            | RunError::Option(_)
            | RunError::Simulated { .. }
            | RunError::TemperatureLimit { .. }
            | RunError::Complete { .. } => ExitCode::Usage,
            RunError::Model(_) | RunError::Digest { .. } => ExitCode::BadModel,
            RunError::Backend(ResolveError::Unknown { .. }) | RunError::Root(_) | RunError::Board(_) => {
                ExitCode::Usage
            }
            RunError::Backend(_) => ExitCode::BackendUnavailable,
            RunError::Store(_)
            | RunError::Replay(_)
            | RunError::Sampler(_)
            | RunError::Wire(_)
            | RunError::Folder { .. }
            | RunError::Output { .. } => ExitCode::Storage,
        };
        Self::new(code, error)
    }
}
