//! The variables that a worker keeps of its parent's environment: what backends and the loader read, and nothing else.
//! The rest may hold secrets (`CREDENTIALS_DIRECTORY` names some) or names of sockets (`NOTIFY_SOCKET`).

use std::ffi::{OsStr, OsString};

/// Variables that are kept by their whole name.
const NAMES: [&str; 14] = [
    // Where libraries and programs are looked for.
    "PATH",
    "HOME",
    "LD_LIBRARY_PATH",
    // The known cure for "cannot allocate memory in static TLS block" of libraries on aarch64.
    "LD_PRELOAD",
    "VIRTUAL_ENV",
    "CLIPMARK_ONNXRUNTIME",
    "CLIPMARK_TENSORRT_DIR",
    "CLIPMARK_TRTEXEC",
    // Allocator, and stack traces of clipmark itself.
    "GLIBC_TUNABLES",
    "RUST_BACKTRACE",
    // Text of error messages and of numbers in them.
    "LANG",
    "LC_ALL",
    "TZ",
    "NO_COLOR",
];

/// Beginnings of variables that runtimes read: CUDA and its libraries, TensorRT, OpenMP, ONNX Runtime.
const PREFIXES: [&str; 9] =
    ["CUDA_", "CUBLAS_", "CUDNN_", "NVIDIA_", "TRT_", "OMP_", "GOMP_", "KMP_", "ORT_"];

/// Whether a worker keeps the variable `name`.
#[must_use]
pub fn is_kept(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What a worker keeps of `variables`.
pub fn kept(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    variables.filter(|(name, _)| is_kept(name))
}

#[cfg(test)]
mod tests {
    use super::is_kept;

    #[test]
    fn what_backends_read_is_kept_and_nothing_that_names_a_secret_or_a_socket() {
        for name in ["LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "CLIPMARK_TENSORRT_DIR"] {
            assert!(is_kept(name.as_ref()), "{name}");
        }
        for name in [
            "CREDENTIALS_DIRECTORY",
            "NOTIFY_SOCKET",
            "STATE_DIRECTORY",
            "DBUS_SESSION_BUS_ADDRESS",
            "SSH_AUTH_SOCK",
            "AWS_SECRET_ACCESS_KEY",
            "MQTT_PASSWORD",
            "INVOCATION_ID",
            "JOURNAL_STREAM",
        ] {
            assert!(!is_kept(name.as_ref()), "{name}");
        }
    }
}
