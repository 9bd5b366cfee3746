//! The stand-in for libnvinfer and libnvonnxparser, over the major release as a constant.

mod builder;
mod context;
mod engine;
mod parser;

pub use builder::create_builder;
pub use engine::create_runtime;
pub use parser::create_parser;

use crate::behaviour;
use crate::vtable::{Entry, LIVE};
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

static LOGGER: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Defines the C functions that the two libraries export.
#[macro_export]
macro_rules! export_nvinfer {
    ($major:literal) => {
        use std::ffi::{c_char, c_void};

        /// As in NvInferRuntimeBase.h.
        #[unsafe(no_mangle)]
        pub extern "C" fn getInferLibVersion() -> i32 {
            $crate::nvinfer::version($major)
        }

        /// As in NvInfer.h.
        ///
        /// # Safety
        /// `logger` is an ILogger that lives for ever.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn createInferBuilder_INTERNAL(
            logger: *mut c_void,
            version: i32,
        ) -> *mut c_void {
            // SAFETY: by the caller's promise.
            unsafe { $crate::nvinfer::create_builder::<$major>(logger, version) }
        }

        /// As in NvInferRuntime.h.
        ///
        /// # Safety
        /// As `createInferBuilder_INTERNAL`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn createInferRuntime_INTERNAL(
            logger: *mut c_void,
            version: i32,
        ) -> *mut c_void {
            // SAFETY: by the caller's promise.
            unsafe { $crate::nvinfer::create_runtime::<$major>(logger, version) }
        }

        /// As in NvOnnxParser.h.
        ///
        /// # Safety
        /// `network` is a network of this library that outlives the parser.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn createNvOnnxParser_INTERNAL(
            network: *mut c_void,
            _logger: *mut c_void,
            version: i32,
        ) -> *mut c_void {
            // SAFETY: by the caller's promise.
            unsafe { $crate::nvinfer::create_parser::<$major>(network, version) }
        }

        /// As in NvOnnxParser.h.
        #[unsafe(no_mangle)]
        pub extern "C" fn getNvOnnxParserVersion() -> i32 {
            $crate::nvinfer::PARSER_VERSION
        }

        /// As in NvInferPlugin.h.
        #[unsafe(no_mangle)]
        pub extern "C" fn initLibNvInferPlugins(_logger: *mut c_void, _name_space: *const c_char) -> bool {
            true
        }

        /// Objects that were made and not destroyed; not part of TensorRT.
        #[unsafe(no_mangle)]
        pub extern "C" fn clipmark_fake_live_objects() -> i64 {
            $crate::nvinfer::live_objects()
        }
    };
}

/// `NV_ONNX_PARSER_VERSION` of the stand-in.
pub const PARSER_VERSION: i32 = 100;

/// The version word: configured, or that of a release of `major` that a JetPack ships.
#[must_use]
pub fn version(major: u32) -> i32 {
    let usual = match major {
        8 => 8502,
        10 => 100_300,
        _ => 110_400,
    };
    behaviour::number("version", usual) as i32
}

/// Objects that were made and not destroyed.
#[must_use]
pub fn live_objects() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

/// `Dims32` and `Dims64`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Dims<T: Copy> {
    count: i32,
    extents: [T; 8],
}

impl<T: Copy + Into<i64> + TryFrom<i64> + Default> Dims<T> {
    pub(crate) fn of(extents: &[i64]) -> Self {
        let mut dims = Self { count: extents.len() as i32, extents: [T::default(); 8] };
        for (slot, &extent) in dims.extents.iter_mut().zip(extents) {
            *slot = T::try_from(extent).unwrap_or_default();
        }
        dims
    }

    pub(crate) fn unknown() -> Self {
        Self { count: -1, extents: [T::default(); 8] }
    }

    pub(crate) fn list(self) -> Vec<i64> {
        self.extents[..self.count.max(0) as usize].iter().map(|&extent| extent.into()).collect()
    }
}

/// Keeps the logger, after a look at the functions that TensorRT 11 asks of it.
///
/// # Safety
/// `logger` is an ILogger of `MAJOR` that lives for ever.
unsafe fn keep_logger<const MAJOR: u32>(logger: *mut c_void) {
    if MAJOR >= 11 {
        // SAFETY: from 11 on slot 0 is `int32_t getAPILanguage() const`.
        let language: extern "C" fn(*mut c_void) -> i32 = unsafe { std::mem::transmute(slot(logger, 0)) };
        assert_eq!(language(logger), 0, "a logger must be C++");
    }
    LOGGER.store(logger, Ordering::Relaxed);
}

/// The function in `index` of a direct object.
///
/// # Safety
/// `object` is a polymorphic C++ object whose table has that slot.
unsafe fn slot(object: *mut c_void, index: usize) -> Entry {
    // SAFETY: by the caller's promise.
    unsafe { *(*object.cast::<*const Entry>()).add(index) }
}

const fn callback_slot<const MAJOR: u32>() -> usize {
    if MAJOR >= 11 { 4 } else { 0 }
}

/// Logs an error as TensorRT does.
pub(crate) fn error<const MAJOR: u32>(message: &str) {
    let logger = LOGGER.load(Ordering::Relaxed);
    let Ok(message) = CString::new(message) else { return };
    if !logger.is_null() {
        // SAFETY: the logger is an ILogger of this major (`keep_logger`); 1 is kERROR.
        unsafe {
            let log: extern "C" fn(*mut c_void, i32, *const c_char) =
                std::mem::transmute(slot(logger, callback_slot::<MAJOR>()));
            log(logger, 1, message.as_ptr());
        }
    }
}

/// Reports a layer's time to a profiler.
///
/// # Safety
/// `profiler` is an IProfiler of `MAJOR`.
pub(crate) unsafe fn report<const MAJOR: u32>(profiler: *mut c_void, layer: &CStr, milliseconds: f32) {
    // SAFETY: by the caller's promise.
    unsafe {
        let report: extern "C" fn(*mut c_void, *const c_char, f32) =
            std::mem::transmute(slot(profiler, callback_slot::<MAJOR>()));
        report(profiler, layer.as_ptr(), milliseconds);
    }
}

/// Memory runs out at `stage`, where the configuration says so.
pub(crate) fn out_of_memory<const MAJOR: u32>(stage: &str) -> bool {
    let out = behaviour::is("oom", stage);
    if out {
        error::<MAJOR>(
            "2: [virtualMemoryBuffer.cpp::resizePhysical::127] Error Code 2: OutOfMemory (no further information)",
        );
    }
    out
}

/// What `createInfer*_INTERNAL` return instead of an object, where the configuration says so: the values
/// seen from real libraries on machines without a driver.
pub(crate) fn no_object() -> Option<*mut c_void> {
    match behaviour::text("create").as_deref() {
        Some("null") => Some(std::ptr::null_mut()),
        Some("garbage") => Some(std::ptr::without_provenance_mut(0x238)),
        _ => None,
    }
}
