//! Puts the stand-ins where a search for the real libraries finds them.

use std::io;
use std::path::{Path, PathBuf};

/// The environment variable that names the folder of the built stand-ins, where they are not beside the
/// running test.
pub const BUILT_VARIABLE: &str = "CLIPMARK_FAKES_DIR";

/// Copies the stand-ins for TensorRT `major` and for the CUDA driver into `folder` under the real names, with
/// `settings` (lines `key = value`) as their configuration. Copies, not links: the loader takes two names of
/// one file for one library.
///
/// # Errors
/// A library was not built, or `folder` cannot be written.
pub fn tensorrt(folder: &Path, major: u32, settings: &str) -> io::Result<()> {
    let infer = built(&format!("libfake_nvinfer{major}.so"))?;
    for name in ["libnvinfer", "libnvonnxparser"] {
        // Separate files: like the real ones, the two libraries share nothing but objects.
        std::fs::copy(&infer, folder.join(format!("{name}.so.{major}")))?;
    }
    driver(folder, settings)
}

/// As [`tensorrt`], the CUDA driver alone.
///
/// # Errors
/// As [`tensorrt`].
pub fn driver(folder: &Path, settings: &str) -> io::Result<()> {
    std::fs::copy(built("libfake_cuda.so")?, folder.join("libcuda.so.1"))?;
    std::fs::write(folder.join("fake.conf"), settings)
}

/// Puts the hostile library at `path`.
///
/// # Errors
/// As [`tensorrt`].
pub fn hostile(path: &Path) -> io::Result<()> {
    std::fs::copy(built("libfake_hostile.so")?, path).map(drop)
}

/// A built stand-in: beside the running test or, for binaries outside it, one folder up.
fn built(file: &str) -> io::Result<PathBuf> {
    let named = std::env::var_os(BUILT_VARIABLE).map(PathBuf::from);
    let beside = std::env::current_exe()?.parent().map(Path::to_path_buf);
    let folders = named.into_iter().chain(beside.clone()).chain(beside.map(|folder| folder.join("deps")));
    let mut tried = Vec::new();
    for folder in folders {
        let path = folder.join(file);
        if path.exists() {
            return Ok(path);
        }
        tried.push(path.display().to_string());
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("{file} was not built (looked for {})", tried.join(", ")),
    ))
}
