//! Stand-in for libcuda.so.1: device memory is host memory, and a stream is a list of work that runs when
//! the host waits for it, on a clock of its own.
//!
//! Deferred work is the point: a caller that reads an output without waiting reads nothing. Copies and jobs
//! advance the stream's clock by their configured cost, events read that clock, and a wait sleeps as long as
//! the work it ran was worth, so that wall time is never shorter than the device's. The contract of each exported
//! function is that of the same name in cuda.h.
#![expect(unsafe_code, reason = "stands in for a C library; each block states why it is sound")]

mod memory;
mod queue;

use clipmark_trt_fakes::behaviour;
use std::ffi::{c_char, c_void};

pub(crate) type Status = i32;
pub(crate) const SUCCESS: Status = 0;
pub(crate) const INVALID_VALUE: Status = 1;
pub(crate) const OUT_OF_MEMORY: Status = 2;
pub(crate) const NO_DEVICE: Status = 100;
pub(crate) const NOT_READY: Status = 600;
pub(crate) const NOT_SUPPORTED: Status = 801;

fn devices() -> i32 {
    behaviour::number("devices", 1) as i32
}

/// Writes through an output pointer of the caller.
pub(crate) fn put<T>(target: *mut T, value: T) -> Status {
    if target.is_null() {
        return INVALID_VALUE;
    }
    // SAFETY: cuda.h demands a valid pointer here, and it is not null.
    unsafe { target.write(value) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(_flags: u32) -> Status {
    behaviour::strike("cuinit");
    match behaviour::number("cuinit", 0) as Status {
        SUCCESS if devices() == 0 => NO_DEVICE,
        status => status,
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorName(status: Status, name: *mut *const c_char) -> Status {
    let text = match status {
        SUCCESS => c"CUDA_SUCCESS",
        INVALID_VALUE => c"CUDA_ERROR_INVALID_VALUE",
        OUT_OF_MEMORY => c"CUDA_ERROR_OUT_OF_MEMORY",
        NO_DEVICE => c"CUDA_ERROR_NO_DEVICE",
        NOT_SUPPORTED => c"CUDA_ERROR_NOT_SUPPORTED",
        803 => c"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        _ => c"CUDA_ERROR_UNKNOWN",
    };
    put(name, text.as_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorString(status: Status, text: *mut *const c_char) -> Status {
    let words = match status {
        OUT_OF_MEMORY => c"out of memory",
        NO_DEVICE => c"no CUDA-capable device is detected",
        _ => c"stand-in error",
    };
    put(text, words.as_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn cuDriverGetVersion(version: *mut i32) -> Status {
    put(version, 12_060)
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetCount(count: *mut i32) -> Status {
    put(count, devices())
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGet(device: *mut i32, ordinal: i32) -> Status {
    if ordinal < devices() { put(device, ordinal) } else { NO_DEVICE }
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetName(name: *mut c_char, length: i32, _device: i32) -> Status {
    let text = c"Stand-in GPU".to_bytes_with_nul();
    if (length as usize) < text.len() {
        return INVALID_VALUE;
    }
    // SAFETY: the caller's buffer has `length` bytes, enough by the check.
    unsafe { name.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len()) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, _device: i32) -> Status {
    put(bytes, memory::total())
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetAttribute(value: *mut i32, attribute: i32, _device: i32) -> Status {
    let capability = behaviour::text("capability").unwrap_or_else(|| "8.7".to_owned());
    let (major, minor) = capability.split_once('.').unwrap_or(("8", "7"));
    let number = |text: &str| text.parse().unwrap_or(0);
    match attribute {
        75 => put(value, number(major)),
        76 => put(value, number(minor)),
        18 => put(value, 1),
        _ => INVALID_VALUE,
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxSetFlags(_device: i32, _flags: u32) -> Status {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, _device: i32) -> Status {
    put(context, std::ptr::without_provenance_mut(0x1_0000))
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease(_device: i32) -> Status {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(_context: *mut c_void) -> Status {
    SUCCESS
}
