//! Finding and opening shared libraries: a folder given by the user first, then the loader's own search,
//! then the folders where JetPack puts them.

use crate::error::{NvidiaLibrary, TrtError};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::CString;
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};

/// Where TensorRT's libraries and the CUDA driver are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Folders tried before the loader's own search. When a library is in none of them, the usual places
    /// follow, unless [`Search::only`] is set.
    pub folders: Vec<PathBuf>,
    /// Never leave `folders`.
    pub only: bool,
}

/// The environment variable with one folder to be tried first.
pub const FOLDER_VARIABLE: &str = "CLIPMARK_TENSORRT_DIR";

/// JetPack's folders, for boards whose loader cache does not list them.
const USUAL: [&str; 4] = [
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib/x86_64-linux-gnu",
];

impl Search {
    /// The folder named by [`FOLDER_VARIABLE`], if any, then the usual places.
    #[must_use]
    pub fn from_environment() -> Self {
        let folder = std::env::var_os(FOLDER_VARIABLE).filter(|value| !value.is_empty());
        Self { folders: folder.map(PathBuf::from).into_iter().collect(), only: false }
    }

    fn candidates(&self, file: &str) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = self.folders.iter().map(|folder| folder.join(file)).collect();
        if !self.only {
            found.push(PathBuf::from(file));
            found.extend(USUAL.iter().map(|folder| Path::new(folder).join(file)));
        }
        found
    }
}

/// An open shared library.
pub(crate) struct Opened {
    library: Library,
    /// The name under which it was opened.
    pub(crate) name: String,
}

/// Opens the first of `files` that any place has.
///
/// # Errors
/// [`TrtError::LibraryNotFound`] with every name tried and the loader's last answer.
pub(crate) fn open(
    search: &Search,
    library: NvidiaLibrary,
    files: &[String],
    hint: &'static str,
) -> Result<Opened, TrtError> {
    let mut answer = String::new();
    for file in files {
        for path in search.candidates(file) {
            if path.is_absolute() && !path.exists() {
                continue;
            }
            // SAFETY: loading runs the library's initialisers; these are NVIDIA's libraries (or the
            // user's own choice of folder), and this process exists to isolate them.
            match unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) } {
                Ok(library) => return Ok(Opened { library, name: path.display().to_string() }),
                Err(error) => answer = format!("; the loader says: {}", describe(&error)),
            }
        }
    }
    let tried = format!("{}{answer}", files.join(", "));
    Err(TrtError::LibraryNotFound { library, tried, hint })
}

fn describe(error: &libloading::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), ToString::to_string)
}

impl Opened {
    /// The address of `symbol`, read as a value of type `T`.
    ///
    /// # Safety
    /// `T` is a function pointer with the C signature of `symbol`, and is not used after `self` is gone.
    pub(crate) unsafe fn function<T: Copy>(&self, symbol: &str) -> Result<T, TrtError> {
        // SAFETY: by the caller's promise.
        unsafe { self.optional(symbol) }
            .ok_or_else(|| TrtError::MissingSymbol { library: self.name.clone(), symbol: symbol.to_owned() })
    }

    /// As [`Opened::function`], for functions that only some releases have.
    ///
    /// # Safety
    /// As [`Opened::function`].
    pub(crate) unsafe fn optional<T: Copy>(&self, symbol: &str) -> Option<T> {
        let symbol = CString::new(symbol).ok()?;
        // SAFETY: by the caller's promise.
        unsafe { self.library.get::<T>(symbol.as_bytes_with_nul()) }.ok().map(|found| *found)
    }
}

/// Copies a C string, `None` when it is null.
///
/// # Safety
/// `text` is null or points to a terminated string that stays valid during the call.
pub(crate) unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and terminated by the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_reported_with_what_was_tried_and_what_to_do() {
        let search = Search { folders: vec!["/nonexistent".into()], only: true };
        let error =
            open(&search, NvidiaLibrary::TensorRt, &["libnvinfer.so.11".into()], "install TensorRT").err();
        let shown = error.expect("nothing to open").to_string();
        assert!(shown.contains("libnvinfer.so.11") && shown.contains("install TensorRT"), "{shown}");
        assert!(shown.contains(FOLDER_VARIABLE), "{shown}");
    }

    #[test]
    fn a_given_folder_is_tried_before_the_usual_places() {
        let search = Search { folders: vec!["/opt/trt".into()], only: false };
        let candidates = search.candidates("libcuda.so.1");
        assert_eq!(candidates[0], Path::new("/opt/trt/libcuda.so.1"));
        assert_eq!(candidates[1], Path::new("libcuda.so.1"));
    }
}
