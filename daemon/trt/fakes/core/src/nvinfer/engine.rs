//! Runtime, engine and inspector.

use super::context::create_context;
use super::{error, keep_logger, no_object, out_of_memory, version};
use crate::behaviour;
use crate::plan::Plan;
use crate::vtable::{Entry, data, wrapped};
use std::ffi::{CStr, CString, c_char, c_void};

/// An engine's data.
pub(crate) struct Engine {
    pub(crate) plan: Plan,
    names: Vec<CString>,
}

/// A runtime.
///
/// # Safety
/// `logger` is an ILogger of `MAJOR` that lives for ever.
pub unsafe fn create_runtime<const MAJOR: u32>(logger: *mut c_void, word: i32) -> *mut c_void {
    behaviour::strike("create");
    if let Some(address) = no_object() {
        return address;
    }
    // SAFETY: by the caller's promise.
    unsafe { keep_logger::<MAJOR>(logger) };
    if word != version(MAJOR) {
        return std::ptr::null_mut();
    }
    let filled = match MAJOR {
        8 => [(2, deserialize_8 as Entry), (3, set_core as Entry)],
        10 => [(3, deserialize::<MAJOR> as Entry), (5, set_core as Entry)],
        _ => [(3, deserialize::<MAJOR> as Entry), (4, set_core as Entry)],
    };
    wrapped((), &filled)
}

extern "C" fn set_core(_this: *mut c_void, core: i32) {
    behaviour::note(&format!("runtime dla_core={core}"));
}

extern "C" fn deserialize_8(
    this: *mut c_void,
    bytes: *const u8,
    size: usize,
    factory: *mut c_void,
) -> *mut c_void {
    assert!(factory.is_null(), "the plugin factory of TensorRT 8 must be null");
    deserialize::<8>(this, bytes, size)
}

extern "C" fn deserialize<const MAJOR: u32>(
    _this: *mut c_void,
    bytes: *const u8,
    size: usize,
) -> *mut c_void {
    // SAFETY: the caller's block has that size.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, size) };
    let plan = Plan::read(bytes);
    let ranges = plan.iter().flat_map(|plan| &plan.ranges);
    behaviour::face(ranges.flat_map(|range| range.extents.concat()));
    behaviour::strike("deserialize");
    let plan =
        plan.filter(|plan| plan.version == version(MAJOR)).filter(|_| !behaviour::is("fail", "deserialize"));
    let Some(plan) = plan else {
        error::<MAJOR>(
            "1: [stdArchiveReader.cpp::StdArchiveReader::40] Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed)",
        );
        return std::ptr::null_mut();
    };
    let values = plan.graph.inputs.iter().chain(&plan.graph.outputs);
    let names = values.map(|value| CString::new(value.name.as_str()).unwrap_or_default()).collect();
    wrapped(Engine { plan, names }, &engine_slots::<MAJOR>())
}

fn engine_slots<const MAJOR: u32>() -> Vec<(usize, Entry)> {
    let create = create::<MAJOR> as Entry;
    let inspector = create_inspector::<MAJOR> as Entry;
    match MAJOR {
        8 => {
            let mut filled = vec![
                (2, tensor_count as Entry),
                (4, tensor_name as Entry),
                (5, is_input as Entry),
                (7, type_of_index::<MAJOR> as Entry),
                (9, layer_count as Entry),
                (11, create),
            ];
            if version(8) / 100 % 10 >= 2 {
                filled.push((33, inspector));
            }
            filled
        }
        10 => vec![
            (3, layer_count as Entry),
            (5, create),
            (18, inspector),
            (20, type_of_name::<MAJOR> as Entry),
            (23, mode_of_name as Entry),
            (30, tensor_count as Entry),
            (31, tensor_name as Entry),
        ],
        _ => vec![
            (3, layer_count as Entry),
            (5, create),
            (14, inspector),
            (16, type_of_name::<MAJOR> as Entry),
            (19, mode_of_name as Entry),
            (26, tensor_count as Entry),
            (27, tensor_name as Entry),
        ],
    }
}

impl Engine {
    /// Index of the tensor with this name, inputs first.
    pub(crate) fn index(&self, name: &CStr) -> Option<usize> {
        self.names.iter().position(|known| known.as_c_str() == name)
    }

    /// `nvinfer1::DataType` of tensor `index`.
    pub(crate) fn element<const MAJOR: u32>(&self, index: usize) -> i32 {
        let onnx =
            self.plan.graph.inputs.iter().chain(&self.plan.graph.outputs).nth(index).map(|v| v.element);
        match onnx {
            Some(10) => 1,
            Some(6) => 3,
            Some(9) => 4,
            Some(2) => 5,
            Some(16) => 7,
            // TensorRT 8 has no 64-bit integers: its parser narrows them.
            Some(7) => {
                if MAJOR == 8 {
                    3
                } else {
                    8
                }
            }
            _ => 0,
        }
    }
}

extern "C" fn tensor_count(this: *mut c_void) -> i32 {
    // SAFETY: `this` is an engine of this module.
    unsafe { data::<Engine>(this) }.names.len() as i32
}

extern "C" fn tensor_name(this: *mut c_void, index: i32) -> *const c_char {
    // SAFETY: `this` is an engine of this module.
    unsafe { data::<Engine>(this) }.names[index as usize].as_ptr()
}

extern "C" fn is_input(this: *mut c_void, index: i32) -> bool {
    // SAFETY: `this` is an engine of this module.
    (index as usize) < unsafe { data::<Engine>(this) }.plan.graph.inputs.len()
}

extern "C" fn type_of_index<const MAJOR: u32>(this: *mut c_void, index: i32) -> i32 {
    // SAFETY: `this` is an engine of this module.
    unsafe { data::<Engine>(this) }.element::<MAJOR>(index as usize)
}

extern "C" fn type_of_name<const MAJOR: u32>(this: *mut c_void, name: *const c_char) -> i32 {
    // SAFETY: `this` is an engine of this module, and the name is terminated.
    let (engine, name) = unsafe { (data::<Engine>(this), CStr::from_ptr(name)) };
    engine.index(name).map_or(-1, |index| engine.element::<MAJOR>(index))
}

extern "C" fn mode_of_name(this: *mut c_void, name: *const c_char) -> i32 {
    // SAFETY: `this` is an engine of this module, and the name is terminated.
    let (engine, name) = unsafe { (data::<Engine>(this), CStr::from_ptr(name)) };
    engine.index(name).map_or(0, |index| if index < engine.plan.graph.inputs.len() { 1 } else { 2 })
}

extern "C" fn layer_count(this: *mut c_void) -> i32 {
    // SAFETY: `this` is an engine of this module.
    unsafe { data::<Engine>(this) }.plan.graph.nodes.len() as i32
}

extern "C" fn create<const MAJOR: u32>(this: *mut c_void, strategy: i32) -> *mut c_void {
    behaviour::strike("context");
    assert!(MAJOR == 8 || strategy == 0, "the static allocation strategy is 0");
    if out_of_memory::<MAJOR>("context") || behaviour::is("fail", "context") {
        return std::ptr::null_mut();
    }
    create_context::<MAJOR>(this)
}

extern "C" fn create_inspector<const MAJOR: u32>(this: *mut c_void) -> *mut c_void {
    // SAFETY: `this` is an engine of this module.
    let plan = &unsafe { data::<Engine>(this) }.plan;
    let words = |node: &crate::onnx::Node| {
        let words = if plan.detailed {
            format!("{{\"Name\": \"{}\", \"LayerType\": \"{}\"}}", node.name, node.operator)
        } else {
            format!("\"{}\"", node.name)
        };
        CString::new(words).unwrap_or_default()
    };
    let layers: Vec<CString> = plan.graph.nodes.iter().map(words).collect();
    wrapped(layers, &[(if MAJOR == 8 { 4 } else { 5 }, layer_information as Entry)])
}

extern "C" fn layer_information(this: *mut c_void, index: i32, format: i32) -> *const c_char {
    assert_eq!(format, 1, "JSON was asked for");
    // SAFETY: `this` is an inspector of this module.
    let layers = unsafe { data::<Vec<CString>>(this) };
    layers[index as usize].as_ptr()
}
