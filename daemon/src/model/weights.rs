//! Files beside a model that hold its weights (ONNX's external data), and what a model is with them.

use super::ModelError;
use crate::digest::{hexadecimal, sha256};
use clipmark_profile::units::Bytes;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The weight files that a model names, each with the bytes that it must have at least. Names are as the model says them,
/// relative to its folder.
pub type Named = BTreeMap<String, u64>;

/// What tells one model from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// That of the file alone; where weights lie in other files, SHA-256 of one line a file, `DIGEST  NAME` with the
    /// name empty for the model and the others in order of their names.
    pub sha256: String,
    /// Bytes of all files.
    pub size: Bytes,
}

/// The weight files of `model`.
///
/// # Errors
/// One lies outside of the model's folder, is not there, or is shorter than the model needs.
pub fn resolve(model: &Path, named: &Named) -> Result<Vec<PathBuf>, ModelError> {
    let fault =
        |name: &str, fault: String| ModelError::Weights { model: model.into(), name: name.into(), fault };
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let folder = model.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder =
        std::fs::canonicalize(folder).map_err(|source| ModelError::Read { path: folder.into(), source })?;
    let one = |(name, needed): (&String, &u64)| {
        let path = std::fs::canonicalize(folder.join(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => fault(name, "is not there; copy it beside the model".into()),
            _ => fault(name, format!("cannot be read: {error}")),
        })?;
        if !path.starts_with(&folder) {
            let what = "lies outside of the model's folder, where a model may read nothing; keep it beside the model";
            return Err(fault(name, what.into()));
        }
        let metadata =
            std::fs::metadata(&path).map_err(|error| fault(name, format!("cannot be read: {error}")))?;
        if !metadata.is_file() {
            return Err(fault(name, "is no regular file".into()));
        }
        if metadata.len() < *needed {
            let has = metadata.len();
            return Err(fault(
                name,
                format!("has {has} bytes where the model needs {needed}; copy it again, it was cut short"),
            ));
        }
        Ok(path)
    };
    named.iter().map(one).collect()
}

/// Identity of a model whose own file has `own` digest and size, and whose `named` weight files are at `paths`.
///
/// # Errors
/// A file cannot be read.
pub fn identity(own: Identity, named: &Named, paths: &[PathBuf]) -> io::Result<Identity> {
    if named.is_empty() {
        return Ok(own);
    }
    let (mut lines, mut size) = (format!("{}  \n", own.sha256), own.size.0);
    for (name, path) in named.keys().zip(paths) {
        let found = of_file(path)?;
        lines.push_str(&format!("{}  {name}\n", found.sha256));
        size += found.size.0;
    }
    Ok(Identity { sha256: sha256(lines.as_bytes()), size: Bytes(size) })
}

/// Identity of one file.
///
/// # Errors
/// It cannot be read.
pub fn of_file(path: &Path) -> io::Result<Identity> {
    let mut file = File::open(path)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
    Ok(Identity { sha256: hexadecimal(&hash.finalize()), size: Bytes(size) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn named(names: &[(&str, u64)]) -> Named {
        names.iter().map(|(name, needed)| ((*name).to_owned(), *needed)).collect()
    }

    #[test]
    fn weights_outside_of_the_models_folder_are_refused_by_name() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("models");
        std::fs::create_dir_all(folder.join("part")).unwrap();
        for name in ["secret", "models/weights.bin", "models/part/more.bin"] {
            std::fs::write(outer.path().join(name), "four").unwrap();
        }
        symlink(outer.path().join("secret"), folder.join("link")).unwrap();
        let model = folder.join("m.onnx");
        let real = std::fs::canonicalize(&folder).unwrap();
        let inside = named(&[("weights.bin", 4), ("part/more.bin", 0)]);
        assert_eq!(resolve(&model, &inside).unwrap(), [real.join("part/more.bin"), real.join("weights.bin")]);
        let secret = outer.path().join("secret").display().to_string();
        for name in ["../secret", &secret, "link"] {
            let error = resolve(&model, &named(&[(name, 0)])).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("outside of the model's folder"), "{error}");
        }
    }

    #[test]
    fn missing_and_short_weights_are_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("short"), "four").unwrap();
        let told = |name, needed| {
            resolve(&folder.path().join("m.onnx"), &named(&[(name, needed)])).unwrap_err().to_string()
        };
        assert!(told("gone", 1).contains("gone") && told("gone", 1).contains("is not there"));
        assert!(told("short", 5).contains("has 4 bytes where the model needs 5"), "{}", told("short", 5));
        assert!(told(".", 0).contains("no regular file"));
    }

    #[test]
    fn two_trainings_of_one_graph_are_two_models() {
        let folder = tempfile::tempdir().unwrap();
        let own = Identity { sha256: sha256(b"graph"), size: Bytes(5) };
        let of = |weights: &str| {
            std::fs::write(folder.path().join("w"), weights).unwrap();
            identity(own.clone(), &named(&[("w", 1)]), &[folder.path().join("w")]).unwrap()
        };
        let (first, second) = (of("one"), of("two"));
        assert_ne!(first.sha256, second.sha256);
        assert_eq!((of("one"), first.size), (first.clone(), Bytes(8)));
        assert_eq!(identity(own.clone(), &Named::new(), &[]).unwrap(), own);
    }
}
