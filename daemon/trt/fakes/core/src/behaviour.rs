//! How a stand-in behaves: read once, from `fake.conf` beside the library (lines `key = value`), where an
//! environment variable `CLIPMARK_FAKE_KEY` takes precedence.
//!
//! | key | meaning |
//! |---|---|
//! | `version` | the version word that the library reports |
//! | `devices`, `capability`, `memory_mib`, `cuinit` | GPUs, e.g. `8.7`, their memory, cuInit's status |
//! | `compute_us`, `copy_us`, `jitter_us`, `compute_ps_per_byte` | device time of one inference and one copy |
//! | `fail` | stage that is refused: parse, build, deserialize, context, enqueue, capture, plan-layers |
//! | `oom`, `crash`, `hang` | stage at which memory runs out, the process dies, or the call never returns |
//! | `fail_after` | inferences that succeed before what strikes at stage enqueue does |
//! | `at` | an extent: the four above strike only engines that have it on some dynamic input |
//! | `longest` | greatest extent that the builder accepts |
//! | `create` | `null` or `garbage`: what createInfer*_INTERNAL return |
//! | `reject` | an operator that the parser does not know |
//! | `dla_cores`, `slow_fp16`, `slow_int8` | what the builder says of the board |
//! | `log` | a file that receives what the builder was asked for |

use std::collections::HashMap;
use std::ffi::{CStr, c_void};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

static VALUES: OnceLock<HashMap<String, String>> = OnceLock::new();
/// Extents of the dynamic inputs of the engine that is being built or used.
static FACED: Mutex<Vec<i64>> = Mutex::new(Vec::new());
static SEED: AtomicU64 = AtomicU64::new(0x9e37_79b9_7f4a_7c15);

fn values() -> &'static HashMap<String, String> {
    VALUES.get_or_init(|| {
        let text = folder().and_then(|folder| std::fs::read_to_string(folder.join("fake.conf")).ok());
        let lines = text.unwrap_or_default();
        let pair = |line: &str| line.split_once('=').map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()));
        lines.lines().filter_map(pair).collect()
    })
}

/// The folder of the library that this code is linked into.
fn folder() -> Option<PathBuf> {
    let address = (folder as fn() -> Option<PathBuf>) as *const c_void;
    // SAFETY: zero is a valid bit pattern for four pointers.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is valid for the write; the address is inside a loaded library.
    if unsafe { libc::dladdr(address, &raw mut info) } == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's file names are terminated and live as long as the library.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    PathBuf::from(name.to_str().ok()?).parent().map(PathBuf::from)
}

/// The value of `key`, if set.
#[must_use]
pub fn text(key: &str) -> Option<String> {
    let variable = format!("CLIPMARK_FAKE_{}", key.to_ascii_uppercase());
    std::env::var(variable).ok().or_else(|| values().get(key).cloned())
}

/// The value of `key` as a number, or `default`.
#[must_use]
pub fn number(key: &str, default: u64) -> u64 {
    text(key).and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Notes the extents of the engine at hand, for `at`. A worker has one engine at a time.
pub fn face(extents: impl Iterator<Item = i64>) {
    *FACED.lock().unwrap_or_else(PoisonError::into_inner) = extents.collect();
}

/// Whether `key` names `stage`, and `at`, where set, is among the extents of the engine at hand.
#[must_use]
pub fn is(key: &str, stage: &str) -> bool {
    let struck = |at: i64| FACED.lock().unwrap_or_else(PoisonError::into_inner).contains(&at);
    let here = text("at").is_none_or(|at| at.parse().is_ok_and(struck));
    here && text(key).is_some_and(|value| value == stage)
}

/// Dies or never returns, where the configuration says so for `stage`.
pub fn strike(stage: &str) {
    if is("crash", stage) {
        // SAFETY: raises a signal in this process, the crash that was asked for, past any handler: one that
        // expects a faulting instruction would return.
        unsafe {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            libc::raise(libc::SIGSEGV);
        }
        std::process::abort();
    }
    while is("hang", stage) {
        std::thread::park();
    }
}

/// `base_us` and a deterministic share of `jitter_us`, in nanoseconds.
#[must_use]
pub fn duration_ns(base_us: u64) -> u64 {
    let jitter = number("jitter_us", 0) * 1000;
    let step =
        |seed: u64| seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let seed = SEED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seed| Some(step(seed))).unwrap_or(0);
    base_us * 1000 + if jitter == 0 { 0 } else { (seed >> 33) % jitter }
}

/// Appends a line to the file named by `log`.
pub fn note(line: &str) {
    let Some(path) = text("log") else { return };
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
        // A test that reads the file notices a missing line; there is nobody to tell here.
        let _ = writeln!(file, "{line}");
    }
}
