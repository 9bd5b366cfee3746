//! Streams, events and graphs of the stand-in.

use crate::{INVALID_VALUE, NOT_READY, SUCCESS, Status, put};
use clipmark_trt_fakes::behaviour;
use clipmark_trt_fakes::stream::{Job, MAGIC, StreamHead};
use std::ffi::{c_char, c_void};
use std::rc::Rc;
use std::time::Duration;

struct OwnedJob(Job);

impl Drop for OwnedJob {
    fn drop(&mut self) {
        // SAFETY: the job's own release function takes its data, once.
        unsafe { (self.0.release)(self.0.data) };
    }
}

#[derive(Clone)]
enum Work {
    Copy { to: *mut u8, from: *const u8, bytes: usize },
    Job(Rc<OwnedJob>),
    Record(*mut Event),
}

#[repr(C)]
struct Stream {
    head: StreamHead,
    queue: Vec<Work>,
    capture: Option<Vec<Work>>,
    clock_ns: u64,
}

struct Event {
    reached_ns: Option<u64>,
    stream: *mut Stream,
}

impl Stream {
    fn push(&mut self, work: Work) {
        match &mut self.capture {
            Some(recorded) => recorded.push(work),
            None => self.queue.push(work),
        }
    }

    /// Runs what is queued and sleeps as long as it was worth.
    fn flush(&mut self) {
        let before = self.clock_ns;
        for work in std::mem::take(&mut self.queue) {
            match work {
                Work::Copy { to, from, bytes } => {
                    self.clock_ns += behaviour::duration_ns(behaviour::number("copy_us", 5));
                    // SAFETY: the caller of the copy promised two separate blocks of that size.
                    unsafe { to.copy_from(from, bytes) };
                }
                Work::Job(job) => {
                    self.clock_ns += behaviour::duration_ns(job.0.cost_us);
                    // SAFETY: the job's own function takes its data.
                    unsafe { (job.0.run)(job.0.data) };
                }
                // SAFETY: events outlive the work that refers to them, as cuda.h demands.
                Work::Record(event) => unsafe { (*event).reached_ns = Some(self.clock_ns) },
            }
        }
        let spent = Duration::from_nanos(self.clock_ns - before);
        if !spent.is_zero() {
            std::thread::sleep(spent);
        }
    }
}

/// The stream behind a handle.
///
/// # Safety
/// The handle is a live stream, used by one thread at a time.
unsafe fn stream<'a>(handle: *mut c_void) -> &'a mut Stream {
    // SAFETY: by the caller's promise.
    unsafe { &mut *handle.cast::<Stream>() }
}

unsafe extern "C" fn submit(head: *mut StreamHead, job: Job) {
    // SAFETY: the head is the first field of a stream.
    unsafe { stream(head.cast()) }.push(Work::Job(Rc::new(OwnedJob(job))));
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamCreate(handle: *mut *mut c_void, _flags: u32) -> Status {
    let head = StreamHead { magic: MAGIC, submit };
    let made = Box::new(Stream { head, queue: Vec::new(), capture: None, clock_ns: 0 });
    put(handle, Box::into_raw(made).cast())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamDestroy_v2(handle: *mut c_void) -> Status {
    // SAFETY: created by `cuStreamCreate`, destroyed once.
    drop(unsafe { Box::from_raw(handle.cast::<Stream>()) });
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamSynchronize(handle: *mut c_void) -> Status {
    // SAFETY: a live stream by cuda.h's contract.
    unsafe { stream(handle) }.flush();
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyHtoDAsync_v2(
    to: u64,
    from: *const c_void,
    bytes: usize,
    handle: *mut c_void,
) -> Status {
    let to = std::ptr::with_exposed_provenance_mut(to as usize);
    // SAFETY: a live stream by cuda.h's contract.
    unsafe { stream(handle) }.push(Work::Copy { to, from: from.cast(), bytes });
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoHAsync_v2(
    to: *mut c_void,
    from: u64,
    bytes: usize,
    handle: *mut c_void,
) -> Status {
    let from = std::ptr::with_exposed_provenance(from as usize);
    // SAFETY: a live stream by cuda.h's contract.
    unsafe { stream(handle) }.push(Work::Copy { to: to.cast(), from, bytes });
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamBeginCapture_v2(handle: *mut c_void, _mode: i32) -> Status {
    if behaviour::is("fail", "capture") {
        return crate::NOT_SUPPORTED;
    }
    // SAFETY: a live stream by cuda.h's contract.
    unsafe { stream(handle) }.capture = Some(Vec::new());
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamEndCapture(handle: *mut c_void, graph: *mut *mut c_void) -> Status {
    // SAFETY: a live stream by cuda.h's contract.
    match unsafe { stream(handle) }.capture.take() {
        Some(recorded) => put(graph, Box::into_raw(Box::new(recorded)).cast()),
        None => INVALID_VALUE,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGraphInstantiateWithFlags(
    exec: *mut *mut c_void,
    graph: *mut c_void,
    _flags: u64,
) -> Status {
    // SAFETY: a graph of `cuStreamEndCapture` by cuda.h's contract.
    let recorded = unsafe { &*graph.cast::<Vec<Work>>() };
    put(exec, Box::into_raw(Box::new(recorded.clone())).cast())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGraphInstantiate_v2(
    exec: *mut *mut c_void,
    graph: *mut c_void,
    _node: *mut *mut c_void,
    _log: *mut c_char,
    _size: usize,
) -> Status {
    // SAFETY: as `cuGraphInstantiateWithFlags`.
    unsafe { cuGraphInstantiateWithFlags(exec, graph, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGraphDestroy(graph: *mut c_void) -> Status {
    if !graph.is_null() {
        // SAFETY: made by `cuStreamEndCapture`, destroyed once.
        drop(unsafe { Box::from_raw(graph.cast::<Vec<Work>>()) });
    }
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGraphExecDestroy(exec: *mut c_void) -> Status {
    // SAFETY: made by an instantiation, destroyed once.
    drop(unsafe { Box::from_raw(exec.cast::<Vec<Work>>()) });
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGraphLaunch(exec: *mut c_void, handle: *mut c_void) -> Status {
    // SAFETY: both are alive by cuda.h's contract.
    let (recorded, stream) = unsafe { (&*exec.cast::<Vec<Work>>(), stream(handle)) };
    for work in recorded {
        stream.push(work.clone());
    }
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuEventCreate(handle: *mut *mut c_void, _flags: u32) -> Status {
    let made = Box::new(Event { reached_ns: None, stream: std::ptr::null_mut() });
    put(handle, Box::into_raw(made).cast())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventDestroy_v2(handle: *mut c_void) -> Status {
    // SAFETY: created by `cuEventCreate`, destroyed once.
    drop(unsafe { Box::from_raw(handle.cast::<Event>()) });
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventRecord(handle: *mut c_void, on: *mut c_void) -> Status {
    let event = handle.cast::<Event>();
    // SAFETY: both are alive by cuda.h's contract.
    unsafe {
        (*event).reached_ns = None;
        (*event).stream = on.cast();
        stream(on).push(Work::Record(event));
    }
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventSynchronize(handle: *mut c_void) -> Status {
    // SAFETY: the event is alive by cuda.h's contract, and so is the stream it was recorded on.
    unsafe {
        let on = (*handle.cast::<Event>()).stream;
        if !on.is_null() {
            (*on).flush();
        }
    }
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventElapsedTime(
    milliseconds: *mut f32,
    start: *mut c_void,
    end: *mut c_void,
) -> Status {
    // SAFETY: both are alive by cuda.h's contract.
    let (start, end) = unsafe { (&*start.cast::<Event>(), &*end.cast::<Event>()) };
    match (start.reached_ns, end.reached_ns) {
        (Some(start), Some(end)) => put(milliseconds, (end as f64 - start as f64) as f32 / 1e6),
        _ => NOT_READY,
    }
}
