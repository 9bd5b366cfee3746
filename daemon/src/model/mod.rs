//! Models: the built-in ones, what an ONNX file declares, and which of its axes are batch and frames.
//!
//! Terms: an *axis* is one dimension of one input; a *symbolic* axis has a name instead of a number in
//! the file; a *sidecar* is a TOML file beside the model that says what the file itself does not. This
//! module reads files and makes inputs; it never runs a model, that is the backends' part.

pub mod axes;
pub mod built_in;
mod graph;
pub mod hints;
pub mod inputs;
pub mod inspect;
pub mod onnx;
pub mod random;

use std::path::PathBuf;

/// Why a model cannot be written, read or understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The target of a write is there already.
    #[error("{} exists already; name another file, or overwrite it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write the model to {}; check that the folder exists, is writable and has space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is not ONNX, or is cut short.
    #[error(
        "{} is not a usable ONNX file: {reason}; export the model again, or copy it again if it was cut short",
        path.display()
    )]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A sidecar is not understood.
    #[error("the sidecar {} is not understood: {reason}", path.display())]
    Sidecar {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
    /// A flag is not of its form.
    #[error("{flag} {text} is not understood; write {form}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// What was given.
        text: String,
        /// What was expected.
        form: &'static str,
    },
    /// An axis, dtype or range cannot be told.
    #[error("{problem}. The model's inputs: {inputs}. To go on, {cure} (or the same in the sidecar)")]
    Axes {
        /// What is unknown or contradictory.
        problem: String,
        /// Every input as declared.
        inputs: String,
        /// What to write.
        cure: String,
    },
    /// There is no such file.
    #[error(
        "there is no file {}, and no built-in model of that name either; check the path, or choose joint, temporal or conv3d",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
}
