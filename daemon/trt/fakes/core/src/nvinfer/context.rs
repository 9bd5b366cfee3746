//! The execution context: shapes, addresses, and inferences on a stream.

use super::engine::Engine;
use super::{Dims, error, out_of_memory, report};
use crate::behaviour;
use crate::onnx::Extent;
use crate::stream;
use crate::vtable::{Entry, data, wrapped};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};

struct Context {
    engine: *mut c_void,
    /// Extents per input, once set.
    shapes: Vec<Option<Vec<i64>>>,
    addresses: Vec<*mut c_void>,
    profiler: *mut c_void,
    inferences: u64,
}

/// A tensor of one inference: where it is, and how to read it.
#[derive(Clone, Copy)]
struct View {
    address: *mut c_void,
    elements: usize,
    element: i32,
    /// Of an output: the input that it is a copy of.
    copies: Option<usize>,
}

/// A context of the engine implementation at `engine`, which outlives it.
pub(crate) fn create_context<const MAJOR: u32>(engine: *mut c_void) -> *mut c_void {
    // SAFETY: `engine` is an engine of this library.
    let plan = &unsafe { data::<Engine>(engine) }.plan;
    let fixed = |extents: &Vec<Extent>| {
        extents
            .iter()
            .map(|extent| if let Extent::Fixed(size) = extent { Some(*size) } else { None })
            .collect()
    };
    let shapes: Vec<Option<Vec<i64>>> = plan.graph.inputs.iter().map(|input| fixed(&input.shape)).collect();
    let count = shapes.len() + plan.graph.outputs.len();
    let context = Context {
        engine,
        shapes,
        addresses: vec![std::ptr::null_mut(); count],
        profiler: std::ptr::null_mut(),
        inferences: 0,
    };
    let filled = match MAJOR {
        8 => vec![
            (6, set_profiler as Entry),
            (15, set_binding as Entry),
            (16, binding as Entry),
            (23, execute::<MAJOR> as Entry),
            (24, enqueue_bindings::<MAJOR> as Entry),
        ],
        10 => vec![
            (5, set_profiler as Entry),
            (16, execute::<MAJOR> as Entry),
            (21, set_input::<MAJOR> as Entry),
            (22, tensor_shape as Entry),
            (24, set_address as Entry),
            (37, enqueue::<MAJOR> as Entry),
        ],
        _ => vec![
            (5, set_profiler as Entry),
            (15, execute::<MAJOR> as Entry),
            (20, set_input::<MAJOR> as Entry),
            (21, tensor_shape as Entry),
            (23, set_address as Entry),
            (36, enqueue::<MAJOR> as Entry),
        ],
    };
    wrapped(context, &filled)
}

impl Context {
    fn engine(&self) -> &'static Engine {
        // SAFETY: the engine outlives its contexts.
        unsafe { data::<Engine>(self.engine) }
    }

    /// Takes a shape that fits the declared extents and the profile.
    fn set_shape<const MAJOR: u32>(&mut self, index: usize, extents: Vec<i64>) -> bool {
        let plan = &self.engine().plan;
        let Some(input) = plan.graph.inputs.get(index) else { return false };
        let declared = input.shape.len() == extents.len()
            && input.shape.iter().zip(&extents).all(|(declared, extent)| match declared {
                Extent::Fixed(size) => size == extent,
                Extent::Symbol(_) => *extent > 0,
            });
        let range = plan.ranges.iter().find(|range| range.name == input.name);
        let allowed = range.is_none_or(|range| {
            let [min, _, max] = &range.extents;
            min.iter().zip(&extents).zip(max).all(|((min, extent), max)| min <= extent && extent <= max)
        });
        if !(declared && allowed) {
            error::<MAJOR>(&format!(
                "3: [executionContext.cpp::setInputShape::1932] Error Code 3: API Usage Error (Parameter check failed: \
                 supplied binding dimension {extents:?} for input {} is outside the profile)",
                input.name
            ));
            return false;
        }
        self.shapes[index] = Some(extents);
        true
    }

    /// Extents of tensor `index`: of an output once the inputs settle its symbols, -1 where they do not.
    fn shape(&self, index: usize) -> Option<Vec<i64>> {
        let graph = &self.engine().plan.graph;
        if index < graph.inputs.len() {
            return self.shapes[index].clone();
        }
        let mut symbols = HashMap::new();
        for (input, shape) in graph.inputs.iter().zip(&self.shapes) {
            for (declared, &extent) in input.shape.iter().zip(shape.as_ref()?) {
                if let Extent::Symbol(name) = declared {
                    symbols.insert(name.as_str(), extent);
                }
            }
        }
        let output = graph.outputs.get(index - graph.inputs.len())?;
        let extent = |extent: &Extent| match extent {
            Extent::Fixed(size) => *size,
            Extent::Symbol(name) => symbols.get(name.as_str()).copied().unwrap_or(-1),
        };
        Some(output.shape.iter().map(extent).collect())
    }

    /// The input that tensor `index` is a copy of, where it is an output that passes one through.
    fn copies(&self, index: usize) -> Option<usize> {
        let graph = &self.engine().plan.graph;
        let source = graph.outputs.get(index.checked_sub(graph.inputs.len())?)?.copies.as_ref()?;
        graph.inputs.iter().position(|input| input.name == *source)
    }

    fn views<const MAJOR: u32>(&self, addresses: &[*mut c_void]) -> Option<(Vec<View>, Vec<View>)> {
        let view = |index: usize| {
            let elements = self.shape(index)?.iter().product::<i64>();
            let address = addresses[index];
            let element = self.engine().element::<MAJOR>(index);
            let copies = self.copies(index);
            let elements = elements.max(0) as usize;
            (!address.is_null()).then_some(View { address, elements, element, copies })
        };
        let all = (0..addresses.len()).map(view).collect::<Option<Vec<View>>>()?;
        let (inputs, outputs) = all.split_at(self.engine().plan.graph.inputs.len());
        Some((inputs.to_vec(), outputs.to_vec()))
    }

    fn queue<const MAJOR: u32>(&mut self, addresses: &[*mut c_void], stream: *mut c_void) -> bool {
        self.inferences += 1;
        let struck = self.inferences > behaviour::number("fail_after", 0);
        if struck {
            behaviour::strike("enqueue");
        }
        if struck && out_of_memory::<MAJOR>("enqueue") {
            return false;
        }
        if struck && behaviour::is("fail", "enqueue") {
            error::<MAJOR>(
                "1: [cudaDriverHelpers.cpp::operator()::94] Error Code 1: Cuda Driver (unspecified launch failure)",
            );
            return false;
        }
        let Some((inputs, outputs)) = self.views::<MAJOR>(addresses) else {
            error::<MAJOR>("3: enqueue: not all shapes and addresses are set");
            return false;
        };
        let bytes: usize = inputs.iter().map(|view| view.elements * 4).sum();
        let cost = behaviour::number("compute_us", 50)
            + (bytes as u64 * behaviour::number("compute_ps_per_byte", 0)) / 1_000_000;
        // SAFETY: the stream is the CUDA stand-in's, or is refused by its mark; the buffers live as long as
        // the session that queues work on them.
        let queued = unsafe { stream::submit(stream, cost, move || compute(&inputs, &outputs)) };
        if queued && !self.profiler.is_null() && MAJOR != 8 {
            self.report::<MAJOR>();
        }
        queued
    }

    fn report<const MAJOR: u32>(&self) {
        for (index, node) in self.engine().plan.graph.nodes.iter().enumerate() {
            let name = CString::new(node.name.as_str()).unwrap_or_default();
            // SAFETY: the profiler was set by the caller and not yet taken back.
            unsafe { report::<MAJOR>(self.profiler, &name, 0.25 * (index + 1) as f32) };
        }
    }
}

/// The stand-in's model: an output is a copy of one input, or the sum of all, element by element; of a longer input each
/// element of an output takes its share.
fn compute(inputs: &[View], outputs: &[View]) {
    for output in outputs {
        let of = output.copies.map_or(inputs, |input| std::slice::from_ref(&inputs[input]));
        for index in 0..output.elements {
            let sum: f64 = of
                .iter()
                .filter(|input| input.elements > 0)
                .flat_map(|input| share(input.elements, output.elements, index).map(move |at| (input, at)))
                // SAFETY: the buffer holds `elements` elements of that type, and `at` is below.
                .map(|(input, at)| unsafe { read(input, at) })
                .sum();
            // SAFETY: as above.
            unsafe { write(output, index, sum) };
        }
    }
}

/// Which elements of an input go into element `index` of an output: each into one where the input is longer, so that
/// every clip and frame counts.
fn share(input: usize, output: usize, index: usize) -> std::ops::Range<usize> {
    match input / output {
        0 => index % input..index % input + 1,
        each if index + 1 == output => index * each..input,
        each => index * each..(index + 1) * each,
    }
}

/// # Safety
/// The view's buffer is alive and holds more than `index` elements.
unsafe fn read(view: &View, index: usize) -> f64 {
    // SAFETY: by the caller's promise; all these types are plain numbers, read unaligned.
    unsafe {
        match view.element {
            0 => f64::from(view.address.cast::<f32>().add(index).read_unaligned()),
            3 => f64::from(view.address.cast::<i32>().add(index).read_unaligned()),
            8 => view.address.cast::<i64>().add(index).read_unaligned() as f64,
            1 | 7 => f64::from(view.address.cast::<u16>().add(index).read_unaligned()),
            _ => f64::from(view.address.cast::<u8>().add(index).read()),
        }
    }
}

/// # Safety
/// As [`read`].
unsafe fn write(view: &View, index: usize, value: f64) {
    // SAFETY: by the caller's promise.
    unsafe {
        match view.element {
            0 => view.address.cast::<f32>().add(index).write_unaligned(value as f32),
            3 => view.address.cast::<i32>().add(index).write_unaligned(value as i32),
            8 => view.address.cast::<i64>().add(index).write_unaligned(value as i64),
            1 | 7 => view.address.cast::<u16>().add(index).write_unaligned(value as u16),
            _ => view.address.cast::<u8>().add(index).write(value as u8),
        }
    }
}

extern "C" fn set_profiler(this: *mut c_void, profiler: *mut c_void) {
    // SAFETY: `this` is a context of this module.
    unsafe { data::<Context>(this) }.profiler = profiler;
}

extern "C" fn set_binding(this: *mut c_void, index: i32, dims: Dims<i32>) -> bool {
    // SAFETY: `this` is a context of this module.
    unsafe { data::<Context>(this) }.set_shape::<8>(index as usize, dims.list())
}

extern "C" fn binding(this: *mut c_void, index: i32) -> Dims<i32> {
    // SAFETY: `this` is a context of this module.
    let shape = unsafe { data::<Context>(this) }.shape(index as usize);
    shape.map_or_else(Dims::unknown, |extents| Dims::of(&extents))
}

extern "C" fn set_input<const MAJOR: u32>(this: *mut c_void, name: *const c_char, dims: &Dims<i64>) -> bool {
    // SAFETY: `this` is a context of this module, and the name is terminated.
    let (context, name) = unsafe { (data::<Context>(this), CStr::from_ptr(name)) };
    let index = context.engine().index(name);
    index.is_some_and(|index| context.set_shape::<MAJOR>(index, dims.list()))
}

extern "C" fn tensor_shape(this: *mut c_void, name: *const c_char) -> Dims<i64> {
    // SAFETY: `this` is a context of this module, and the name is terminated.
    let (context, name) = unsafe { (data::<Context>(this), CStr::from_ptr(name)) };
    let shape = context.engine().index(name).and_then(|index| context.shape(index));
    shape.map_or_else(Dims::unknown, |extents| Dims::of(&extents))
}

extern "C" fn set_address(this: *mut c_void, name: *const c_char, address: *mut c_void) -> bool {
    // SAFETY: `this` is a context of this module, and the name is terminated.
    let (context, name) = unsafe { (data::<Context>(this), CStr::from_ptr(name)) };
    let index = context.engine().index(name);
    index.map(|index| context.addresses[index] = address).is_some()
}

extern "C" fn enqueue<const MAJOR: u32>(this: *mut c_void, stream: *mut c_void) -> bool {
    // SAFETY: `this` is a context of this module.
    let context = unsafe { data::<Context>(this) };
    let addresses = context.addresses.clone();
    context.queue::<MAJOR>(&addresses, stream)
}

/// # Safety
/// `bindings` holds one address per tensor of the engine.
unsafe fn bound(context: &Context, bindings: *const *mut c_void) -> Vec<*mut c_void> {
    // SAFETY: by the caller's promise.
    unsafe { std::slice::from_raw_parts(bindings, context.addresses.len()) }.to_vec()
}

extern "C" fn enqueue_bindings<const MAJOR: u32>(
    this: *mut c_void,
    bindings: *const *mut c_void,
    stream: *mut c_void,
    consumed: *mut c_void,
) -> bool {
    assert!(consumed.is_null(), "no event was asked for");
    // SAFETY: `this` is a context of this module; the caller passes one address per tensor.
    let (context, addresses) = unsafe {
        let context = data::<Context>(this);
        let addresses = bound(context, bindings);
        (context, addresses)
    };
    context.queue::<MAJOR>(&addresses, stream)
}

extern "C" fn execute<const MAJOR: u32>(this: *mut c_void, bindings: *const *mut c_void) -> bool {
    // SAFETY: as `enqueue_bindings`.
    let (context, addresses) = unsafe {
        let context = data::<Context>(this);
        let addresses = bound(context, bindings);
        (context, addresses)
    };
    let Some((inputs, outputs)) = context.views::<MAJOR>(&addresses) else { return false };
    compute(&inputs, &outputs);
    if !context.profiler.is_null() {
        context.report::<MAJOR>();
    }
    true
}
