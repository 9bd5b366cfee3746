//! How the TensorRT stand-in hands work to the CUDA stand-in: through the stream's own address.

use std::ffi::c_void;

/// Marks the address of a stream of the CUDA stand-in.
pub const MAGIC: u64 = 0x434c_4950_4641_4b45;

/// What every stream starts with.
#[repr(C)]
pub struct StreamHead {
    /// [`MAGIC`].
    pub magic: u64,
    /// Queues a job on the stream at this address.
    pub submit: unsafe extern "C" fn(*mut StreamHead, Job),
}

/// Work for the device. It may run more than once, when a graph is launched repeatedly.
#[repr(C)]
pub struct Job {
    /// Does the work.
    pub run: unsafe extern "C" fn(*mut c_void),
    /// Frees `data`.
    pub release: unsafe extern "C" fn(*mut c_void),
    /// The argument of both.
    pub data: *mut c_void,
    /// Device time of one run in nanoseconds, besides jitter.
    pub cost_us: u64,
}

/// Queues `work` on `stream`; false when that is no stream of the CUDA stand-in.
///
/// # Safety
/// `stream` is null or points to at least eight readable bytes; what `work` refers to outlives the stream's
/// use of it.
pub unsafe fn submit<F: Fn()>(stream: *mut c_void, cost_us: u64, work: F) -> bool {
    unsafe extern "C" fn run<F: Fn()>(data: *mut c_void) {
        // SAFETY: `data` is the box made below, released after the last run.
        unsafe { (*data.cast::<F>())() }
    }
    unsafe extern "C" fn release<F: Fn()>(data: *mut c_void) {
        // SAFETY: `data` is the box made below, released once.
        drop(unsafe { Box::from_raw(data.cast::<F>()) });
    }
    let head = stream.cast::<StreamHead>();
    // SAFETY: by the caller's promise.
    if head.is_null() || unsafe { (*head).magic } != MAGIC {
        return false;
    }
    let data = Box::into_raw(Box::new(work)).cast();
    // SAFETY: the head is a stream's, so its function takes it.
    unsafe { ((*head).submit)(head, Job { run: run::<F>, release: release::<F>, data, cost_us }) };
    true
}
