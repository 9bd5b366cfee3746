//! Models: the built-in ones, what an ONNX file declares, and which of its axes are batch and frames.
//!
//! Terms: an *axis* is one dimension of one input; a *symbolic* axis has a name instead of a number in
//! the file; a *sidecar* is a TOML file beside the model that says what the file itself does not. This
//! module reads files and makes inputs; it never runs a model, that is the backends' part.

pub mod axes;
pub mod built_in;
pub(crate) mod graph;
pub mod hints;
pub mod inputs;
pub mod inspect;
pub mod onnx;
pub mod random;
pub mod weights;

use built_in::BuiltIn;
use std::path::{Path, PathBuf};

/// Most letters in which a misspelt name may differ from the one that was meant.
const MISSPELT: usize = 2;

/// The one of `known` that `name` is a misspelling of, or `None` where none is near.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let near = known.map(|known| (strsim::osa_distance(&name, known), known));
    near.filter(|(distance, known)| *distance <= MISSPELT && *distance < known.len())
        .min()
        .map(|(_, known)| known)
}

/// The built-in model that `path` was probably meant to be, as a question, or nothing.
fn meant(path: &Path) -> String {
    let names = BuiltIn::ALL.into_iter().map(BuiltIn::name);
    let meant = path.to_str().and_then(|name| nearest(name, names));
    meant.map_or_else(String::new, |meant| format!("did you mean {meant}? "))
}

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
    /// A file is larger than what is read of one.
    #[error(
        "{} has {size} bytes, and at most {most} are read: {because}; keep the weights in files beside the model (ONNX's \
         external data)",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// The bound.
        most: u64,
        /// Where the bound comes from.
        because: &'static str,
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
    #[error("the sidecar {} is not understood; mend the line shown: {reason}", path.display())]
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
    #[error("{problem}. The model's inputs: {inputs}. To go on, {cure}")]
    Axes {
        /// What is unknown or contradictory.
        problem: String,
        /// Every input as declared.
        inputs: String,
        /// What to write.
        cure: String,
    },
    /// A file that holds weights of a model is not as the model says.
    #[error("{}: its weights in {name}: this file {fault}", model.display())]
    Weights {
        /// The model.
        model: PathBuf,
        /// The weight file, as the model names it.
        name: String,
        /// What is wrong with it, and what to do.
        fault: String,
    },
    /// There is no such file.
    #[error(
        "there is no file {}, and no built-in model of that name either; {}check the path, or choose joint, temporal \
         or conv3d",
        path.display(),
        meant(path)
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::{ModelError, nearest};

    #[test]
    fn a_misspelt_model_is_answered_by_the_one_that_was_meant() {
        let told = |name: &str| ModelError::Missing { path: name.into() }.to_string();
        for (name, meant) in [("jiont", "joint"), ("Temporl", "temporal"), ("conv3", "conv3d")] {
            assert!(told(name).contains(&format!("did you mean {meant}? check the path")), "{}", told(name));
        }
        for name in ["model.onnx", "x3d", "models/joint.onnx"] {
            assert!(!told(name).contains("did you mean"), "{}", told(name));
        }
    }

    #[test]
    fn of_several_near_names_the_nearest_is_meant_and_a_short_one_matches_nothing() {
        assert_eq!(nearest("tracd", ["trace", "track", "trac"].into_iter()), Some("trac"));
        assert_eq!(nearest("ab", ["cd"].into_iter()), None);
    }
}
