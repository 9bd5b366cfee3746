//! Models that a request can name: the built-in ones and the files of one directory.
//!
//! A request's text never becomes a path by itself: it must be the plain name of a regular file in the
//! directory. Symbolic links are refused, because their target is outside what the operator put there.

use crate::digest::sha256;
use crate::model::built_in::BuiltIn;
use crate::model::onnx::OnnxModel;
use crate::model::weights::{self, Identity};
use clipmark_profile::message::{ModelInfo, Reason, ReasonCode};
use clipmark_profile::units::Bytes;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const EXTENSION: &str = "onnx";

/// What a request's model name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedModel {
    /// Made by clipmark itself.
    BuiltIn(String),
    /// A file of the model directory.
    File(PathBuf),
}

impl NamedModel {
    /// What the benchmark is given.
    #[must_use]
    pub fn argument(&self) -> String {
        match self {
            Self::BuiltIn(name) => name.clone(),
            Self::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

fn refused(name: &str, problem: &str, dir: &Path) -> Reason {
    let name: String = name.chars().take(100).collect();
    let message = format!(
        "the model `{name}` {problem}; the operation `models` lists what can be named (built-in models, and files \
         in {})",
        dir.display()
    );
    Reason { code: ReasonCode::UnknownModel, message }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && !name.contains(['/', '\\', '\0'])
        && !name.chars().any(char::is_control)
}

/// Finds the model that `name` stands for.
///
/// # Errors
/// A reason for the requester: not a plain name, not there, not a regular file.
pub fn resolve(name: &str, dir: &Path) -> Result<NamedModel, Reason> {
    if !is_plain(name) {
        return Err(refused(name, "is not a plain file name", dir));
    }
    if BuiltIn::by_name(name).is_some() {
        return Ok(NamedModel::BuiltIn(name.to_owned()));
    }
    let with_extension = format!("{name}.{EXTENSION}");
    let candidates = [name, &with_extension];
    for path in candidates.iter().filter(|file| file.ends_with(".onnx")).map(|file| dir.join(file)) {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_symlink() {
            return Err(refused(name, "is a symbolic link, which is not followed", dir));
        }
        if metadata.is_file() {
            return Ok(NamedModel::File(path));
        }
    }
    Err(refused(name, "does not exist on this device", dir))
}

/// SHA-256 of a model with its weight files, lower-case hexadecimal.
///
/// # Errors
/// When a file cannot be read or weights are missing.
pub fn digest_of(model: &NamedModel) -> io::Result<String> {
    match model {
        NamedModel::File(path) => Ok(identity_of(path)?.0.sha256),
        NamedModel::BuiltIn(name) => match BuiltIn::by_name(name) {
            Some(model) => Ok(sha256(&model.onnx_bytes())),
            None => Err(io::ErrorKind::NotFound.into()),
        },
    }
}

/// What the file at `path` is together with its weight files, and those. What is no ONNX file is itself alone.
///
/// # Errors
/// When a file cannot be read or weights are missing.
pub(super) fn identity_of(path: &Path) -> io::Result<(Identity, Vec<PathBuf>)> {
    let Ok(model) = OnnxModel::read(path) else { return Ok((weights::of_file(path)?, Vec::new())) };
    let files = weights::resolve(path, &model.external_data).map_err(io::Error::other)?;
    Ok((weights::identity(model.own, &model.external_data, &files)?, files))
}

/// The names that [`resolve`] takes, without digests: built-in models first, then files by name.
#[must_use]
pub fn names(dir: &Path) -> Vec<ModelInfo> {
    let built_in =
        BuiltIn::ALL.iter().map(|model| ModelInfo { name: model.name().into(), size: None, sha256: None });
    let mut files: Vec<ModelInfo> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let stem = name.strip_suffix(".onnx")?;
            let is_file = entry.file_type().ok()?.is_file();
            let size = Some(Bytes(entry.metadata().ok()?.len()));
            (is_file && is_plain(stem)).then(|| ModelInfo { name: stem.to_owned(), size, sha256: None })
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    built_in.chain(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("clip.onnx"), b"abc").unwrap();
        fs::write(dir.path().join("notes.txt"), b"x").unwrap();
        fs::create_dir(dir.path().join("folder.onnx")).unwrap();
        symlink("/etc/passwd", dir.path().join("link.onnx")).unwrap();
        dir
    }

    #[test]
    fn a_name_stands_for_a_built_in_model_or_a_file_of_the_directory() {
        let dir = dir();
        let file = NamedModel::File(dir.path().join("clip.onnx"));
        assert_eq!(resolve("clip", dir.path()), Ok(file.clone()));
        assert_eq!(resolve("clip.onnx", dir.path()), Ok(file));
        assert_eq!(resolve("joint", dir.path()), Ok(NamedModel::BuiltIn("joint".into())));
    }

    #[test]
    fn whatever_could_leave_the_directory_is_refused() {
        let dir = dir();
        let long = "x".repeat(300);
        for name in [
            "",
            ".",
            "..",
            "../clip",
            "/etc/passwd",
            "a/b",
            "clip.onnx/..",
            ".hidden",
            "a\0b",
            "a\nb",
            &long,
            "..\\x",
        ] {
            let reason = resolve(name, dir.path()).unwrap_err();
            assert_eq!(reason.code, ReasonCode::UnknownModel);
            assert!(reason.message.contains("plain file name"), "{name:?}: {}", reason.message);
        }
        for (name, problem) in [
            ("link", "symbolic link"),
            ("folder", "does not exist"),
            ("notes.txt", "does not exist"),
            ("no", "`models`"),
        ] {
            let reason = resolve(name, dir.path()).unwrap_err();
            assert!(reason.message.contains(problem), "{name}: {}", reason.message);
        }
    }

    #[test]
    fn the_list_shows_exactly_what_can_be_named() {
        let dir = dir();
        let names: Vec<String> = names(dir.path()).into_iter().map(|model| model.name).collect();
        assert_eq!(names, ["joint", "temporal", "conv3d", "clip"]);
        assert!(names.iter().all(|name| resolve(name, dir.path()).is_ok()));
    }
}
