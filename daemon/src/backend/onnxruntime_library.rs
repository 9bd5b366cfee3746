//! Where ONNX Runtime's shared library lies, and loading it once.
//!
//! Looked for, in this order: the path in [`LIBRARY_VARIABLE`] (the flag `--onnxruntime` sets it for the
//! worker), the system's library folders, the loader's own search path, Python's site-packages, where
//! the PyPI wheel `onnxruntime` keeps it. A path that is given explicitly is the only one tried.

use super::{BackendError, LIBRARY_VARIABLE, MissingPart};
use clipmark_profile::record::{Cause, Stage};
use ort::environment::Environment;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The library in this process.
pub(super) struct Loaded {
    pub(super) environment: Environment,
    pub(super) path: PathBuf,
    pub(super) version: String,
}

/// The library, loaded by the first call.
///
/// # Errors
/// Where it was looked for, why it could not be used, and what to do.
pub(super) fn loaded() -> Result<&'static Loaded, BackendError> {
    static LIBRARY: OnceLock<Result<Loaded, BackendError>> = OnceLock::new();
    let loaded = LIBRARY.get_or_init(|| load(std::env::var_os(LIBRARY_VARIABLE).map(PathBuf::from)));
    loaded.as_ref().map_err(Clone::clone)
}

fn load(explicit: Option<PathBuf>) -> Result<Loaded, BackendError> {
    let candidates = match &explicit {
        Some(path) => vec![path.clone()],
        None => candidates(Path::new("/"), std::env::var_os("VIRTUAL_ENV").map(PathBuf::from), home()),
    };
    let mut reasons = Vec::new();
    for path in candidates {
        match ort::init_from(&path) {
            Err(error) => reasons.push(error.to_string()),
            Ok(builder) => {
                let environment =
                    builder.with_name("clipmark").with_telemetry(false).build().map_err(|error| {
                        let message = format!("ONNX Runtime at {} does not start: {error}", path.display());
                        BackendError::new(Stage::Load, Cause::BackendUnavailable, message)
                    })?;
                let version = version(&path);
                return Ok(Loaded { environment, path, version });
            }
        }
    }
    let found = match &explicit {
        Some(path) => format!("ONNX Runtime cannot be loaded from {}", path.display()),
        None => "ONNX Runtime is not installed where clipmark looks for it".into(),
    };
    let least = ort::MINOR_VERSION;
    let message = format!(
        "{found} ({}); install it, e.g. `pip install onnxruntime` (1.{least} or later), or name libonnxruntime.so by --onnxruntime PATH or {LIBRARY_VARIABLE}",
        reasons.join("; ")
    );
    Err(match explicit {
        Some(_) => BackendError::new(Stage::Load, Cause::BackendUnavailable, message),
        None => BackendError::missing(MissingPart::Runtime, message),
    })
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from)
}

/// Files to try, those that exist under `root` first, then the bare name for the loader's own search.
fn candidates(root: &Path, virtual_env: Option<PathBuf>, home: Option<PathBuf>) -> Vec<PathBuf> {
    let arch = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let system = ["usr/local/lib", "usr/lib", arch.as_str(), "opt/onnxruntime/lib"];
    let mut found: Vec<PathBuf> = system.iter().flat_map(|folder| libraries(&root.join(folder))).collect();
    found.push("libonnxruntime.so".into());
    let prefixes = virtual_env.into_iter().chain(home.map(|home| home.join(".local")));
    let prefixes = prefixes.chain([root.join("usr/local"), root.join("usr")]);
    for prefix in prefixes {
        for python in children(&prefix.join("lib"), "python3") {
            for packages in ["site-packages", "dist-packages"] {
                found.extend(libraries(&python.join(packages).join("onnxruntime/capi")));
            }
        }
    }
    found
}

fn libraries(folder: &Path) -> Vec<PathBuf> {
    children(folder, "libonnxruntime.so")
}

/// Entries of `folder` whose names begin with `prefix`, sorted; none when it cannot be read.
fn children(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let matching = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let mut paths: Vec<PathBuf> = matching.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The version in the real file's name, else what the library says of its build.
fn version(path: &Path) -> String {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let name = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match name.split_once(".so.") {
        Some((_, version)) => version.into(),
        None => ort::info().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_comes_before_python_and_a_virtual_environment_before_the_systems_python() {
        let root = tempfile::tempdir().unwrap();
        let touch = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, b"").unwrap();
            path
        };
        let python = touch("usr/lib/python3.11/dist-packages/onnxruntime/capi/libonnxruntime.so.1.27.0");
        let venv = touch("venv/lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0");
        let system = touch("usr/local/lib/libonnxruntime.so.1");
        touch("usr/local/lib/libother.so");
        let found = candidates(root.path(), Some(root.path().join("venv")), None);
        assert_eq!(found, [system, "libonnxruntime.so".into(), venv, python]);
    }

    #[test]
    fn a_named_library_that_cannot_be_loaded_is_an_error_that_says_what_to_do() {
        let error = load(Some("/nonexistent/libonnxruntime.so".into())).err().expect("there is no such file");
        for part in
            ["/nonexistent/libonnxruntime.so", "pip install onnxruntime", "--onnxruntime", LIBRARY_VARIABLE]
        {
            assert!(error.message.contains(part), "{error}");
        }
    }
}
