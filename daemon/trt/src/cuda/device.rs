//! A GPU's primary context, and memory on it.

use super::{Driver, Handle, Pointer};
use crate::dl::Search;
use crate::error::TrtError;
use std::ffi::c_void;
use std::rc::Rc;

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`, `_INTEGRATED`.
const CAPABILITY_MAJOR: i32 = 75;
const CAPABILITY_MINOR: i32 = 76;
const INTEGRATED: i32 = 18;

/// How the host waits for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// The driver's own choice: it spins when there are enough CPUs.
    #[default]
    Auto,
    /// Spin: least latency, one CPU busy.
    Spin,
    /// Sleep until an interrupt: least power, some microseconds later.
    Block,
}

impl Wait {
    /// `CUctx_flags`.
    const fn flags(self) -> u32 {
        match self {
            Self::Auto => 0,
            Self::Spin => 1,
            Self::Block => 4,
        }
    }
}

/// What the driver says of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The device's name, e.g. `Orin`.
    pub name: String,
    /// Compute capability, e.g. (8, 7).
    pub capability: (u32, u32),
    /// Memory in bytes; on an integrated GPU this is the board's memory.
    pub memory_bytes: u64,
    /// Whether the GPU shares the board's memory.
    pub integrated: bool,
    /// The CUDA version that the driver supports, as 1000 * major + 10 * minor.
    pub driver_version: u32,
}

/// A device with its primary context, which is current on the thread that opened it.
pub(crate) struct Device {
    pub(crate) driver: Driver,
    device: i32,
    pub(crate) info: DeviceInfo,
}

impl Device {
    /// Initialises the driver, counts the devices and enters the primary context of device `ordinal`.
    /// This comes before any call into TensorRT: without a working driver TensorRT's own functions may
    /// return addresses that are no objects.
    ///
    /// # Errors
    /// No driver, no such device, or the driver's own error.
    pub(crate) fn open(search: &Search, ordinal: u32, wait: Wait) -> Result<Rc<Self>, TrtError> {
        let driver = Driver::load(search)?;
        // SAFETY: cuInit takes no pointers and may be called at any time.
        driver.check("cuInit", unsafe { (driver.init)(0) })?;
        let mut count = 0;
        // SAFETY: `count` is valid for the write.
        driver.check("cuDeviceGetCount", unsafe { (driver.device_count)(&raw mut count) })?;
        let count = u32::try_from(count).unwrap_or(0);
        if ordinal >= count {
            return Err(TrtError::NoDevice { ordinal, count });
        }
        let mut device = 0;
        // SAFETY: `device` is valid for the write; the ordinal is below the count.
        driver.check("cuDeviceGet", unsafe { (driver.device_get)(&raw mut device, ordinal as i32) })?;
        let info = describe(&driver, device)?;
        // The flags cannot change while another part of the process holds the context; the driver's
        // default then stays, which is no error.
        // SAFETY: `device` is a device of this driver.
        unsafe { (driver.primary_flags)(device, wait.flags()) };
        let mut context: Handle = std::ptr::null_mut();
        // SAFETY: `context` is valid for the write; released in `drop`.
        let status = unsafe { (driver.primary_retain)(&raw mut context, device) };
        driver.check("cuDevicePrimaryCtxRetain", status)?;
        let opened = Self { driver, device, info };
        // SAFETY: `context` was just retained.
        opened.driver.check("cuCtxSetCurrent", unsafe { (opened.driver.context_set)(context) })?;
        Ok(Rc::new(opened))
    }

    /// Free bytes on the device. On an integrated GPU this is the board's free memory.
    pub(crate) fn free_memory(&self) -> Result<u64, TrtError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: both are valid for the write; the context is current.
        let status = unsafe { (self.driver.memory_info)(&raw mut free, &raw mut total) };
        self.driver.check("cuMemGetInfo", status)?;
        Ok(free as u64)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: retained once in `open`.
        unsafe { (self.driver.primary_release)(self.device) };
    }
}

fn describe(driver: &Driver, device: i32) -> Result<DeviceInfo, TrtError> {
    let attribute = |which| {
        let mut value = 0;
        // SAFETY: `value` is valid for the write.
        let status = unsafe { (driver.device_attribute)(&raw mut value, which, device) };
        driver.check("cuDeviceGetAttribute", status).map(|()| u32::try_from(value).unwrap_or(0))
    };
    let mut name = [0_u8; 128];
    // SAFETY: the buffer has the length given, and the driver terminates what it writes.
    let status = unsafe { (driver.device_name)(name.as_mut_ptr().cast(), name.len() as i32, device) };
    driver.check("cuDeviceGetName", status)?;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    let mut memory = 0;
    // SAFETY: `memory` is valid for the write.
    driver.check("cuDeviceTotalMem", unsafe { (driver.device_memory)(&raw mut memory, device) })?;
    let mut version = 0;
    // SAFETY: `version` is valid for the write.
    driver.check("cuDriverGetVersion", unsafe { (driver.driver_version)(&raw mut version) })?;
    Ok(DeviceInfo {
        name: String::from_utf8_lossy(&name[..end]).trim().to_owned(),
        capability: (attribute(CAPABILITY_MAJOR)?, attribute(CAPABILITY_MINOR)?),
        memory_bytes: memory as u64,
        integrated: attribute(INTEGRATED)? != 0,
        driver_version: u32::try_from(version).unwrap_or(0),
    })
}

/// Memory on the device.
pub(crate) struct DeviceBuffer {
    device: Rc<Device>,
    pub(crate) pointer: Pointer,
}

impl DeviceBuffer {
    /// Reserves `bytes`, at least one.
    pub(crate) fn new(device: &Rc<Device>, bytes: usize) -> Result<Self, TrtError> {
        let mut pointer = 0;
        // SAFETY: `pointer` is valid for the write; freed in `drop`.
        let status = unsafe { (device.driver.alloc)(&raw mut pointer, bytes.max(1)) };
        device.driver.check("cuMemAlloc", status)?;
        Ok(Self { device: Rc::clone(device), pointer })
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed once.
        unsafe { (self.device.driver.free)(self.pointer) };
    }
}

/// Page-locked host memory: transfers from and to it are truly asynchronous.
pub(crate) struct PinnedBuffer {
    device: Rc<Device>,
    pointer: *mut c_void,
    bytes: usize,
}

impl PinnedBuffer {
    /// Reserves `bytes`, at least one, all zero.
    pub(crate) fn new(device: &Rc<Device>, bytes: usize) -> Result<Self, TrtError> {
        let mut pointer = std::ptr::null_mut();
        // SAFETY: `pointer` is valid for the write; freed in `drop`.
        let status = unsafe { (device.driver.alloc_host)(&raw mut pointer, bytes.max(1)) };
        device.driver.check("cuMemAllocHost", status)?;
        // SAFETY: the driver reserved that many bytes; zeroing makes them readable as `u8`.
        unsafe { pointer.cast::<u8>().write_bytes(0, bytes.max(1)) };
        Ok(Self { device: Rc::clone(device), pointer, bytes })
    }

    /// The address, for transfers.
    pub(crate) fn address(&self) -> *mut c_void {
        self.pointer
    }

    /// The size asked for.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// The contents. No transfer into the buffer may be under way.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `new` reserved and initialised `bytes` bytes; callers synchronise before reading.
        unsafe { std::slice::from_raw_parts(self.pointer.cast(), self.bytes) }
    }

    /// The contents, for writing. No transfer from the buffer may be under way.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as `bytes`, and `&mut self` excludes other references.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.cast(), self.bytes) }
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed once.
        unsafe { (self.device.driver.free_host)(self.pointer) };
    }
}
