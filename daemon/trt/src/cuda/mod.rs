//! The part of the CUDA driver interface that clipmark uses, bound by hand.
//!
//! The driver alone is needed (libcuda.so.1), not the toolkit. Names with `_v2` are the ones that the
//! headers map the plain names to since CUDA 4; they exist in every driver from CUDA 10.2 on.

mod device;
mod stream;

pub(crate) use device::{Device, DeviceBuffer, PinnedBuffer};
pub use device::{DeviceInfo, Wait};
pub(crate) use stream::{Event, Graph, Stream};

use crate::dl::{Opened, Search, open};
use crate::error::{NvidiaLibrary, TrtError};
use std::ffi::{c_char, c_void};

/// `CUresult`.
pub(crate) type Status = i32;
/// `CUdeviceptr`.
pub(crate) type Pointer = u64;
/// `CUstream`, `CUevent`, `CUcontext`, `CUgraph` and `CUgraphExec`.
pub(crate) type Handle = *mut c_void;

macro_rules! driver {
    ($($field:ident = $symbol:literal ($($type:ty),*);)*) => {
        /// The driver's functions.
        pub(crate) struct Driver {
            $(pub(crate) $field: unsafe extern "C" fn($($type),*) -> Status,)*
            /// `cuGraphInstantiateWithFlags(exec, graph, flags)`, from CUDA 11.4 on.
            pub(crate) instantiate_flags: Option<unsafe extern "C" fn(*mut Handle, Handle, u64) -> Status>,
            /// `cuGraphInstantiate_v2(exec, graph, error node, log, log size)`, before.
            pub(crate) instantiate_log: Option<InstantiateLog>,
            _library: Opened,
        }

        impl Driver {
            /// Opens the driver and looks up every function.
            ///
            /// # Errors
            /// The library, or a function in it, is missing.
            pub(crate) fn load(search: &Search) -> Result<Self, TrtError> {
                let library = open(search, NvidiaLibrary::Driver, &["libcuda.so.1".to_owned()], DRIVER_HINT)?;
                // SAFETY: each type is the C signature of that function in cuda.h, and the library is
                // kept beside the pointers.
                unsafe {
                    Ok(Self {
                        $($field: library.function($symbol)?,)*
                        instantiate_flags: library.optional("cuGraphInstantiateWithFlags"),
                        instantiate_log: library
                            .optional("cuGraphInstantiate_v2")
                            .or_else(|| library.optional("cuGraphInstantiate")),
                        _library: library,
                    })
                }
            }
        }
    };
}

type InstantiateLog = unsafe extern "C" fn(*mut Handle, Handle, *mut Handle, *mut c_char, usize) -> Status;

const DRIVER_HINT: &str =
    "this machine has no NVIDIA driver, or the container was started without --runtime nvidia";

driver! {
    init = "cuInit" (u32);
    error_name = "cuGetErrorName" (Status, *mut *const c_char);
    error_text = "cuGetErrorString" (Status, *mut *const c_char);
    driver_version = "cuDriverGetVersion" (*mut i32);
    device_count = "cuDeviceGetCount" (*mut i32);
    device_get = "cuDeviceGet" (*mut i32, i32);
    device_name = "cuDeviceGetName" (*mut c_char, i32, i32);
    device_memory = "cuDeviceTotalMem_v2" (*mut usize, i32);
    device_attribute = "cuDeviceGetAttribute" (*mut i32, i32, i32);
    primary_flags = "cuDevicePrimaryCtxSetFlags" (i32, u32);
    primary_retain = "cuDevicePrimaryCtxRetain" (*mut Handle, i32);
    primary_release = "cuDevicePrimaryCtxRelease" (i32);
    context_set = "cuCtxSetCurrent" (Handle);
    memory_info = "cuMemGetInfo_v2" (*mut usize, *mut usize);
    alloc = "cuMemAlloc_v2" (*mut Pointer, usize);
    free = "cuMemFree_v2" (Pointer);
    alloc_host = "cuMemAllocHost_v2" (*mut *mut c_void, usize);
    free_host = "cuMemFreeHost" (*mut c_void);
    copy_to_device = "cuMemcpyHtoDAsync_v2" (Pointer, *const c_void, usize, Handle);
    copy_to_host = "cuMemcpyDtoHAsync_v2" (*mut c_void, Pointer, usize, Handle);
    stream_create = "cuStreamCreate" (*mut Handle, u32);
    stream_destroy = "cuStreamDestroy_v2" (Handle);
    stream_synchronize = "cuStreamSynchronize" (Handle);
    capture_begin = "cuStreamBeginCapture_v2" (Handle, i32);
    capture_end = "cuStreamEndCapture" (Handle, *mut Handle);
    graph_destroy = "cuGraphDestroy" (Handle);
    graph_exec_destroy = "cuGraphExecDestroy" (Handle);
    graph_launch = "cuGraphLaunch" (Handle, Handle);
    event_create = "cuEventCreate" (*mut Handle, u32);
    event_destroy = "cuEventDestroy_v2" (Handle);
    event_record = "cuEventRecord" (Handle, Handle);
    event_synchronize = "cuEventSynchronize" (Handle);
    event_elapsed = "cuEventElapsedTime" (*mut f32, Handle, Handle);
}

impl Driver {
    /// Turns a status into a result that names the call.
    pub(crate) fn check(&self, call: &'static str, status: Status) -> Result<(), TrtError> {
        if status == 0 { Ok(()) } else { Err(self.error(call, status)) }
    }

    #[cold]
    fn error(&self, call: &'static str, code: Status) -> TrtError {
        let describe = |function: unsafe extern "C" fn(Status, *mut *const c_char) -> Status| {
            let mut found: *const c_char = std::ptr::null();
            // SAFETY: both functions write a pointer to a static string, or leave it null.
            unsafe {
                function(code, &raw mut found);
                crate::dl::text(found)
            }
        };
        let name = describe(self.error_name).unwrap_or_else(|| "an unknown error".to_owned());
        let text = describe(self.error_text).unwrap_or_else(|| "no description".to_owned());
        TrtError::Cuda { call, code, name, text, hint: hint(code) }
    }
}

/// What to do about the codes that a board's owner meets (`CUresult` in cuda.h).
fn hint(code: Status) -> &'static str {
    match code {
        2 => "; close other users of the GPU, or measure a smaller batch size or clip length",
        34 => "; the stub library was loaded instead of the driver: remove .../stubs from LD_LIBRARY_PATH",
        35 => {
            "; the driver is older than the CUDA runtime that TensorRT was built for: update JetPack or the driver"
        }
        100 => "; check /dev/nvhost-gpu or nvidia-smi, and in a container start it with --runtime nvidia",
        801 => "; this device does not support the operation",
        803 => "; the driver's kernel module and library differ in version: reboot, or reinstall the driver",
        _ => "",
    }
}
