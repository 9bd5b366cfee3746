//! One engine with its buffers: write inputs, run, read outputs, with the device's own times.
//!
//! An inference is, on one stream: event, copies to the device, event, compute, event, copies to the host,
//! event; the host then waits for the last event. A profiler is never attached during such a run.

use crate::callbacks::{LayerTime, Profiler};
use crate::cuda::{DeviceBuffer, Event, Graph, PinnedBuffer, Stream, Wait};
use crate::dims;
use crate::engine::{Element, Engine, Enqueue};
use crate::error::TrtError;
use crate::object::{Object, call};
use crate::slots::Method;
use crate::version::Major;
use std::ffi::{c_char, c_void};

/// Nanoseconds on the device, by events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceTimes {
    /// Copies of the inputs to the device.
    pub h2d: u64,
    /// Compute.
    pub compute: u64,
    /// Copies of the outputs to the host.
    pub d2h: u64,
}

/// An input or output with its shape and buffers.
struct Slot {
    name: String,
    input: bool,
    element: Element,
    extents: Vec<usize>,
    host: PinnedBuffer,
    device: DeviceBuffer,
}

/// A tensor as the session holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor<'a> {
    /// Its name in the model.
    pub name: &'a str,
    /// Its element type in the engine.
    pub element: Element,
    /// Its concrete extents.
    pub extents: &'a [usize],
    /// Its contents on the host.
    pub bytes: &'a [u8],
}

/// An engine in use.
pub struct Session {
    // Dropped in this order: what refers to the context goes first, buffers after it, the engine last.
    graph: Option<Graph>,
    enqueue: Enqueue,
    context: Object,
    slots: Vec<Slot>,
    events: [Event; 4],
    stream: Stream,
    engine: Engine,
}

impl Session {
    /// Sets the shapes of `inputs`, allocates every buffer and, with `graph`, records the compute as a CUDA
    /// graph.
    ///
    /// # Errors
    /// A name or shape that the engine does not take, an output whose shape depends on data, or memory ran
    /// out.
    pub fn new(engine: Engine, inputs: &[(String, Vec<i64>)], graph: bool) -> Result<Self, TrtError> {
        let device = &engine.owner.device;
        let context = engine.context()?;
        set_shapes(&engine, &context, inputs)?;
        let slots = allocate(&engine, &context)?;
        let enqueue = bind(&engine, &context, &slots)?;
        let blocking = engine.owner.wait == Wait::Block;
        let event = || Event::new(device, blocking);
        let events = [event()?, event()?, event()?, event()?];
        let stream = Stream::new(device)?;
        let mut session = Self { graph: None, enqueue, context, slots, events, stream, engine };
        if graph {
            session.record_graph()?;
        }
        Ok(session)
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Inputs in the engine's order.
    pub fn inputs(&self) -> impl Iterator<Item = Tensor<'_>> {
        self.slots.iter().filter(|slot| slot.input).map(Slot::view)
    }

    /// Outputs in the engine's order, as the last run left them.
    pub fn outputs(&self) -> impl Iterator<Item = Tensor<'_>> {
        self.slots.iter().filter(|slot| !slot.input).map(Slot::view)
    }

    /// The host buffer of input `name`, to be filled before a run.
    pub fn input_mut(&mut self, name: &str) -> Option<&mut [u8]> {
        self.slots.iter_mut().find(|slot| slot.input && slot.name == name).map(|slot| slot.host.bytes_mut())
    }

    /// One inference: copies in, compute, copies out, and waits. Allocates nothing when it succeeds.
    ///
    /// # Errors
    /// TensorRT's or the driver's.
    pub fn run(&mut self) -> Result<DeviceTimes, TrtError> {
        let [start, copied, computed, done] = &self.events;
        start.record(&self.stream)?;
        self.upload()?;
        copied.record(&self.stream)?;
        match &self.graph {
            Some(graph) => self.stream.launch(graph)?,
            None => self.compute()?,
        }
        computed.record(&self.stream)?;
        self.download()?;
        done.record(&self.stream)?;
        done.wait()?;
        Ok(DeviceTimes {
            h2d: copied.since(start)?,
            compute: computed.since(copied)?,
            d2h: done.since(computed)?,
        })
    }

    /// Mean time per layer over `iterations` inferences with a profiler attached, which slows them: not
    /// for comparison with [`Session::run`].
    ///
    /// # Errors
    /// TensorRT's or the driver's.
    pub fn profile(&mut self, iterations: u32) -> Result<Vec<LayerTime>, TrtError> {
        let profiler = Profiler::boxed(self.engine.owner.version().major == Major::V11);
        self.set_profiler(profiler.address())?;
        let outcome = (0..iterations).try_for_each(|_| {
            self.upload()?;
            match &self.enqueue {
                Enqueue::Bindings(_, bindings) => {
                    self.stream.synchronize()?;
                    // SAFETY: declared `bool executeV2(void* const*)`; the buffers behind the bindings are
                    // alive. In 8.0 and 8.1 this is the only call that reports to a profiler.
                    let done = unsafe {
                        call!(
                            self.context,
                            Method::ContextExecuteV2,
                            fn(*const *mut c_void) -> u8,
                            bindings.as_ptr()
                        )
                    };
                    if done == 0 { Err(self.refused()) } else { Ok(()) }
                }
                Enqueue::Tensors(_) => {
                    self.compute()?;
                    self.stream.synchronize()
                }
            }
        });
        self.set_profiler(std::ptr::null_mut())?;
        outcome?;
        Ok(profiler.layers())
    }

    fn set_profiler(&self, address: *mut c_void) -> Result<(), TrtError> {
        // SAFETY: declared `void setProfiler(IProfiler*)`; the profiler is detached before it is dropped.
        unsafe { call!(self.context, Method::ContextSetProfiler, fn(*mut c_void) -> (), address) };
        Ok(())
    }

    /// TensorRT demands one ordinary run before a capture, so that deferred set-up is not recorded.
    fn record_graph(&mut self) -> Result<(), TrtError> {
        self.run()?;
        let graph = self.stream.capture(|| self.compute())?;
        self.graph = Some(graph);
        Ok(())
    }

    fn upload(&self) -> Result<(), TrtError> {
        for slot in self.slots.iter().filter(|slot| slot.input) {
            // SAFETY: both buffers have the slot's size and live as long as the session; every public
            // function waits for the stream before it returns, unless it fails.
            unsafe { self.stream.upload(&slot.device, &slot.host)? };
        }
        Ok(())
    }

    fn compute(&self) -> Result<(), TrtError> {
        // SAFETY: the context and all buffers are alive.
        if unsafe { self.enqueue.queue(self.stream.handle) } { Ok(()) } else { Err(self.refused()) }
    }

    fn download(&self) -> Result<(), TrtError> {
        for slot in self.slots.iter().filter(|slot| !slot.input) {
            // SAFETY: as `upload`.
            unsafe { self.stream.download(&slot.host, &slot.device)? };
        }
        Ok(())
    }

    #[cold]
    fn refused(&self) -> TrtError {
        TrtError::Refused {
            what: "to queue an inference".into(),
            log: self.engine.owner.library.logger.recent(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Work may still be queued after an error; its buffers must outlive it. A failed device reports
        // the same error here again, and nothing more can be done.
        let _ = self.stream.synchronize();
    }
}

impl Slot {
    fn view(&self) -> Tensor<'_> {
        Tensor { name: &self.name, element: self.element, extents: &self.extents, bytes: self.host.bytes() }
    }
}

fn set_shapes(engine: &Engine, context: &Object, inputs: &[(String, Vec<i64>)]) -> Result<(), TrtError> {
    for (name, extents) in inputs {
        let known: Vec<&str> = engine.tensors.iter().filter(|t| t.input).map(|t| t.name.as_str()).collect();
        let index = engine.tensors.iter().position(|tensor| tensor.input && tensor.name == *name);
        let index = index.ok_or_else(|| {
            TrtError::Mismatch(format!("the engine has no input {name}; it has {}", known.join(", ")))
        })?;
        let taken = match engine.owner.version().major {
            Major::V8 => dims::set_binding(context, index as i32, extents)?,
            Major::V10 | Major::V11 => dims::set_input(context, name, extents)?,
        };
        if !taken {
            let what = format!("shape {extents:?} for input {name}");
            return Err(TrtError::Refused { what, log: engine.owner.library.logger.recent() });
        }
    }
    Ok(())
}

fn allocate(engine: &Engine, context: &Object) -> Result<Vec<Slot>, TrtError> {
    let device = &engine.owner.device;
    let shape_of = |index: usize, name: &str| match engine.owner.version().major {
        Major::V8 => dims::binding(context, index as i32),
        Major::V10 | Major::V11 => dims::tensor(context, name),
    };
    let slot = |(index, tensor): (usize, &crate::engine::IoTensor)| {
        let unusable = |why: &str| TrtError::Mismatch(format!("tensor {}: {why}", tensor.name));
        let extents = shape_of(index, &tensor.name)?.unwrap_or_default();
        let extents: Vec<usize> =
            extents.iter().map(|&extent| usize::try_from(extent)).collect::<Result<_, _>>().map_err(
                |_| unusable("its shape depends on the data, which clipmark cannot measure repeatably"),
            )?;
        let size =
            tensor.element.size().ok_or_else(|| unusable("its element type is not one clipmark moves"))?;
        let bytes = extents.iter().product::<usize>() * size;
        Ok(Slot {
            name: tensor.name.clone(),
            input: tensor.input,
            element: tensor.element,
            extents,
            host: PinnedBuffer::new(device, bytes)?,
            device: DeviceBuffer::new(device, bytes)?,
        })
    };
    engine.tensors.iter().enumerate().map(slot).collect()
}

fn bind(engine: &Engine, context: &Object, slots: &[Slot]) -> Result<Enqueue, TrtError> {
    if engine.owner.version().major == Major::V8 {
        let bindings = slots.iter().map(|slot| slot.device.pointer as *mut c_void).collect();
        return Ok(Enqueue::Bindings(context.bind(Method::ContextEnqueueV2)?, bindings));
    }
    for slot in slots {
        let name = dims::c_name(&slot.name)?;
        let (method, address) = (Method::ContextSetAddress, slot.device.pointer as *mut c_void);
        // SAFETY: declared `bool setTensorAddress(char const*, void*)`; TensorRT copies the name, and the
        // buffer lives as long as the session.
        let taken =
            unsafe { call!(context, method, fn(*const c_char, *mut c_void) -> u8, name.as_ptr(), address) };
        if taken == 0 {
            let what = format!("the buffer of tensor {}", slot.name);
            return Err(TrtError::Refused { what, log: engine.owner.library.logger.recent() });
        }
    }
    Ok(Enqueue::Tensors(context.bind(Method::ContextEnqueueV3)?))
}
