//! Streams, events and graphs: the order of work on the device, and its times.

use super::{Device, DeviceBuffer, Handle, PinnedBuffer};
use crate::error::TrtError;
use std::rc::Rc;

/// `CU_STREAM_NON_BLOCKING`: independent of the legacy default stream.
const NON_BLOCKING: u32 = 1;
/// `CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`.
const THREAD_LOCAL: i32 = 1;

/// An ordered queue of work.
pub(crate) struct Stream {
    device: Rc<Device>,
    pub(crate) handle: Handle,
}

impl Stream {
    /// A new, empty stream.
    pub(crate) fn new(device: &Rc<Device>) -> Result<Self, TrtError> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: `handle` is valid for the write; destroyed in `drop`.
        let status = unsafe { (device.driver.stream_create)(&raw mut handle, NON_BLOCKING) };
        device.driver.check("cuStreamCreate", status)?;
        Ok(Self { device: Rc::clone(device), handle })
    }

    /// Queues a copy of all of `from` to `to`.
    ///
    /// # Safety
    /// Both buffers stay alive and unread until the stream was synchronised, and `to` is as large as `from`.
    pub(crate) unsafe fn upload(&self, to: &DeviceBuffer, from: &PinnedBuffer) -> Result<(), TrtError> {
        // SAFETY: by the caller's promise.
        let status = unsafe {
            (self.device.driver.copy_to_device)(to.pointer, from.address(), from.len(), self.handle)
        };
        self.device.driver.check("cuMemcpyHtoDAsync", status)
    }

    /// Queues a copy of `from` that fills `to`.
    ///
    /// # Safety
    /// As [`Stream::upload`], with `from` as large as `to`.
    pub(crate) unsafe fn download(&self, to: &PinnedBuffer, from: &DeviceBuffer) -> Result<(), TrtError> {
        // SAFETY: by the caller's promise.
        let status =
            unsafe { (self.device.driver.copy_to_host)(to.address(), from.pointer, to.len(), self.handle) };
        self.device.driver.check("cuMemcpyDtoHAsync", status)
    }

    /// Waits until all queued work is done.
    pub(crate) fn synchronize(&self) -> Result<(), TrtError> {
        // SAFETY: the stream is alive.
        let status = unsafe { (self.device.driver.stream_synchronize)(self.handle) };
        self.device.driver.check("cuStreamSynchronize", status)
    }

    /// Records what `work` queues instead of running it.
    ///
    /// # Errors
    /// The driver's, or that of `work`; the stream is out of capture mode either way.
    pub(crate) fn capture(&self, work: impl FnOnce() -> Result<(), TrtError>) -> Result<Graph, TrtError> {
        let driver = &self.device.driver;
        // SAFETY: the stream is alive and not capturing.
        let status = unsafe { (driver.capture_begin)(self.handle, THREAD_LOCAL) };
        driver.check("cuStreamBeginCapture", status)?;
        let queued = work();
        let mut graph = std::ptr::null_mut();
        // SAFETY: the capture began on this stream; `graph` is valid for the write.
        let ended = unsafe { (driver.capture_end)(self.handle, &raw mut graph) };
        queued?;
        driver.check("cuStreamEndCapture", ended)?;
        Graph::instantiate(&self.device, graph)
    }

    /// Queues a graph.
    pub(crate) fn launch(&self, graph: &Graph) -> Result<(), TrtError> {
        // SAFETY: both handles are alive.
        let status = unsafe { (self.device.driver.graph_launch)(graph.exec, self.handle) };
        self.device.driver.check("cuGraphLaunch", status)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: created in `new`, destroyed once.
        unsafe { (self.device.driver.stream_destroy)(self.handle) };
    }
}

/// Recorded work, ready to be launched.
pub(crate) struct Graph {
    device: Rc<Device>,
    exec: Handle,
}

impl Graph {
    /// Takes over `graph` and makes it executable.
    fn instantiate(device: &Rc<Device>, graph: Handle) -> Result<Self, TrtError> {
        let driver = &device.driver;
        let mut exec = std::ptr::null_mut();
        let status = match (driver.instantiate_flags, driver.instantiate_log) {
            // SAFETY: `graph` came from a finished capture; `exec` is valid for the write.
            (Some(instantiate), _) => unsafe { instantiate(&raw mut exec, graph, 0) },
            // SAFETY: as above; the error node and the log may be null.
            (None, Some(instantiate)) => unsafe {
                instantiate(&raw mut exec, graph, std::ptr::null_mut(), std::ptr::null_mut(), 0)
            },
            // CUDA_ERROR_NOT_SUPPORTED
            (None, None) => 801,
        };
        // SAFETY: the executable graph holds a copy; the template is destroyed once.
        unsafe { (driver.graph_destroy)(graph) };
        driver.check("cuGraphInstantiate", status)?;
        Ok(Self { device: Rc::clone(device), exec })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: created in `instantiate`, destroyed once.
        unsafe { (self.device.driver.graph_exec_destroy)(self.exec) };
    }
}

/// A point in a stream whose time the device takes.
pub(crate) struct Event {
    device: Rc<Device>,
    handle: Handle,
}

impl Event {
    /// A timing event. With `blocking` the host sleeps in [`Event::wait`].
    pub(crate) fn new(device: &Rc<Device>, blocking: bool) -> Result<Self, TrtError> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: `handle` is valid for the write; destroyed in `drop`. Flag 1 is CU_EVENT_BLOCKING_SYNC.
        let status = unsafe { (device.driver.event_create)(&raw mut handle, u32::from(blocking)) };
        device.driver.check("cuEventCreate", status)?;
        Ok(Self { device: Rc::clone(device), handle })
    }

    /// Queues the event.
    pub(crate) fn record(&self, stream: &Stream) -> Result<(), TrtError> {
        // SAFETY: both handles are alive.
        let status = unsafe { (self.device.driver.event_record)(self.handle, stream.handle) };
        self.device.driver.check("cuEventRecord", status)
    }

    /// Waits until the device has reached the event.
    pub(crate) fn wait(&self) -> Result<(), TrtError> {
        // SAFETY: the event is alive and was recorded.
        let status = unsafe { (self.device.driver.event_synchronize)(self.handle) };
        self.device.driver.check("cuEventSynchronize", status)
    }

    /// Nanoseconds on the device from `earlier` to this event; both were reached. The driver resolves
    /// about half a microsecond.
    pub(crate) fn since(&self, earlier: &Self) -> Result<u64, TrtError> {
        let mut milliseconds = 0_f32;
        // SAFETY: both events are alive and were reached.
        let status =
            unsafe { (self.device.driver.event_elapsed)(&raw mut milliseconds, earlier.handle, self.handle) };
        self.device.driver.check("cuEventElapsedTime", status)?;
        Ok((f64::from(milliseconds) * 1e6).round().max(0.0) as u64)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: created in `new`, destroyed once.
        unsafe { (self.device.driver.event_destroy)(self.handle) };
    }
}
