//! The two interfaces that TensorRT calls back: a logger and a layer profiler.
//!
//! Both are laid out by hand as C++ objects: a table pointer, then our own fields. Up to TensorRT 10 the
//! reporting function is first; from 11 on the base class IVersionedInterface comes before it with
//! getAPILanguage, getInterfaceInfo and a destructor of two slots.

use crate::constants::WARNING;
use crate::dl::text;
use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Messages kept for error reports.
const KEPT: usize = 24;
/// Longest message kept, in bytes: builder messages can list whole graphs.
const LONGEST: usize = 400;

/// `nvinfer1::InterfaceInfo`, returned by value.
#[repr(C)]
struct InterfaceInfo {
    kind: *const c_char,
    major: i32,
    minor: i32,
}

type Destroy = extern "C" fn(*mut c_void);

/// The table of a callback interface up to TensorRT 10; `F` is its one function.
#[repr(C)]
struct PlainTable<F> {
    report: F,
    destroy: [Destroy; 2],
}

/// The table of a callback interface from TensorRT 11 on.
#[repr(C)]
struct VersionedTable<F> {
    language: extern "C" fn(*const c_void) -> i32,
    info: extern "C" fn(*const c_void) -> InterfaceInfo,
    destroy: [Destroy; 2],
    report: F,
}

type Log = extern "C" fn(*mut c_void, i32, *const c_char);
type Report = extern "C" fn(*mut c_void, *const c_char, f32);

static PLAIN_LOGGER: PlainTable<Log> = PlainTable { report: log, destroy: [destroyed; 2] };
static PLAIN_PROFILER: PlainTable<Report> = PlainTable { report, destroy: [destroyed; 2] };
static VERSIONED_LOGGER: VersionedTable<Log> =
    VersionedTable { language, info: logger_info, destroy: [destroyed; 2], report: log };
static VERSIONED_PROFILER: VersionedTable<Report> =
    VersionedTable { language, info: profiler_info, destroy: [destroyed; 2], report };

/// A logger as TensorRT sees it. Never freed: TensorRT keeps the address of the first logger it is given
/// for as long as the process lives.
#[repr(C)]
pub(crate) struct Logger {
    table: *const c_void,
    recent: Mutex<VecDeque<String>>,
}

impl Logger {
    /// A logger laid out for majors up to 10, or, `versioned`, for 11.
    pub(crate) fn leak(versioned: bool) -> &'static Self {
        let table =
            if versioned { (&raw const VERSIONED_LOGGER).cast() } else { (&raw const PLAIN_LOGGER).cast() };
        Box::leak(Box::new(Self { table, recent: Mutex::default() }))
    }

    /// The address to hand to TensorRT.
    pub(crate) fn address(&'static self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// The last errors, else the last warnings, oldest first.
    pub(crate) fn recent(&self) -> Vec<String> {
        let kept = lock(&self.recent);
        let errors: Vec<String> =
            kept.iter().filter_map(|line| line.strip_prefix("E ")).map(str::to_owned).collect();
        let lines = if errors.is_empty() {
            kept.iter().filter_map(|line| line.strip_prefix("W ")).map(str::to_owned).collect()
        } else {
            errors
        };
        lines.into_iter().rev().take(6).rev().collect()
    }

    /// Forgets what was logged, so that the next error report starts afresh.
    pub(crate) fn clear(&self) {
        lock(&self.recent).clear();
    }
}

// Not inlined: a small function may else exist once per codegen unit, at several addresses.
#[inline(never)]
extern "C" fn log(this: *mut c_void, severity: i32, message: *const c_char) {
    // Less severe messages are dropped without being copied.
    if severity > WARNING {
        return;
    }
    // SAFETY: TensorRT passes back the address it was given, which is a leaked `Logger`.
    let logger = unsafe { &*this.cast::<Logger>() };
    // SAFETY: TensorRT passes a terminated string that is valid during the call.
    let Some(message) = (unsafe { text(message) }) else { return };
    let mut cut = message.len().min(LONGEST);
    while !message.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut kept = lock(&logger.recent);
    if kept.len() == KEPT {
        kept.pop_front();
    }
    let mark = if severity < WARNING { 'E' } else { 'W' };
    kept.push_back(format!("{mark} {}", message[..cut].trim_end()));
}

/// Time per layer, summed over iterations, in the order of the first report.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerTime {
    /// The layer's name as TensorRT fused it.
    pub name: String,
    /// Milliseconds over all reports.
    pub total_ms: f64,
    /// Reports.
    pub count: u32,
}

/// A profiler as TensorRT sees it. Must not move while a context holds its address.
#[repr(C)]
pub(crate) struct Profiler {
    table: *const c_void,
    layers: Mutex<Vec<LayerTime>>,
}

impl Profiler {
    /// A profiler at a fixed address.
    pub(crate) fn boxed(versioned: bool) -> Box<Self> {
        let table = if versioned {
            (&raw const VERSIONED_PROFILER).cast()
        } else {
            (&raw const PLAIN_PROFILER).cast()
        };
        Box::new(Self { table, layers: Mutex::default() })
    }

    /// The address to hand to TensorRT.
    pub(crate) fn address(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// What was reported so far.
    pub(crate) fn layers(&self) -> Vec<LayerTime> {
        lock(&self.layers).clone()
    }
}

#[inline(never)]
extern "C" fn report(this: *mut c_void, name: *const c_char, milliseconds: f32) {
    // SAFETY: TensorRT passes back the address it was given, a `Profiler` that outlives the context.
    let profiler = unsafe { &*this.cast::<Profiler>() };
    // SAFETY: TensorRT passes a terminated string that is valid during the call.
    let Some(name) = (unsafe { text(name) }) else { return };
    let mut layers = lock(&profiler.layers);
    let time = f64::from(milliseconds);
    match layers.iter_mut().find(|layer| layer.name == name) {
        Some(layer) => {
            layer.total_ms += time;
            layer.count += 1;
        }
        None => layers.push(LayerTime { name, total_ms: time, count: 1 }),
    }
}

/// `IVersionedInterface::getAPILanguage`: 0 is C++.
#[inline(never)]
extern "C" fn language(_this: *const c_void) -> i32 {
    0
}

#[inline(never)]
extern "C" fn logger_info(_this: *const c_void) -> InterfaceInfo {
    InterfaceInfo { kind: c"ILogger".as_ptr(), major: 1, minor: 0 }
}

#[inline(never)]
extern "C" fn profiler_info(_this: *const c_void) -> InterfaceInfo {
    InterfaceInfo { kind: c"IProfiler".as_ptr(), major: 1, minor: 0 }
}

/// TensorRT never destroys what it did not create; the slot exists because the interface declares it.
extern "C" fn destroyed(_this: *mut c_void) {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::{Method, lookup};
    use crate::version::{Major, Version};

    /// The function in `slot` of the object at `address`, found as C++ finds it.
    fn virtual_function(address: *mut c_void, slot: u16) -> *const c_void {
        // SAFETY: the object starts with its table pointer, and `slot` is within the table.
        unsafe { *(*address.cast::<*const *const c_void>()).add(usize::from(slot)) }
    }

    #[test]
    fn both_interfaces_sit_in_the_slots_that_the_table_names() {
        for (major, versioned) in [(Major::V8, false), (Major::V10, false), (Major::V11, true)] {
            let version = Version { major, minor: 0, patch: 0 };
            let slot = |method| lookup(method, version).expect("in every major");
            let logger = Logger::leak(versioned).address();
            assert_eq!(virtual_function(logger, slot(Method::LoggerLog)), log as *const c_void);
            let profiler = Profiler::boxed(versioned);
            let found = virtual_function(profiler.address(), slot(Method::ProfilerReport));
            assert_eq!(found, report as *const c_void);
            let base = |method| lookup(method, version).map(|slot| virtual_function(logger, slot));
            let expected = versioned.then_some(language as *const c_void);
            assert_eq!(base(Method::VersionedLanguage), expected);
            assert_eq!(base(Method::VersionedInfo), versioned.then_some(logger_info as *const c_void));
        }
    }

    #[test]
    fn errors_are_kept_apart_from_warnings_and_chatter() {
        let logger = Logger::leak(false);
        for (severity, message) in [(2, c"slow"), (3, c"chatter"), (1, c"no memory")] {
            log(logger.address(), severity, message.as_ptr());
        }
        assert_eq!(logger.recent(), ["no memory"]);
        logger.clear();
        assert!(logger.recent().is_empty());
    }

    #[test]
    fn layer_times_are_summed_over_iterations() {
        let profiler = Profiler::boxed(true);
        for (name, time) in [(c"conv", 1.0), (c"relu", 0.5), (c"conv", 3.0)] {
            report(profiler.address(), name.as_ptr(), time);
        }
        let expected = [
            LayerTime { name: "conv".into(), total_ms: 4.0, count: 2 },
            LayerTime { name: "relu".into(), total_ms: 0.5, count: 1 },
        ];
        assert_eq!(profiler.layers(), expected);
    }
}
