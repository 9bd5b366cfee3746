//! A deserialized engine and its execution context, over the two calling styles: bindings by index in
//! TensorRT 8, tensors by name from 10 on.

use crate::constants::{DATA_TYPES, INPUT, JSON, STATIC};
use crate::dims;
use crate::dl::text;
use crate::error::TrtError;
use crate::object::{Bound, Object, Release, call};
use crate::slots::Method;
use crate::tensorrt::TensorRt;
use crate::version::Major;
use std::ffi::{c_char, c_void};

/// Element types by `nvinfer1::DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// 8-bit signed integer.
    I8,
    /// 32-bit integer.
    I32,
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned byte.
    U8,
    /// 64-bit integer, TensorRT 10 and later.
    I64,
    /// bfloat16.
    Bf16,
    /// A type that clipmark does not move, by its number.
    Other(i32),
}

impl Element {
    fn from_code(code: i32) -> Self {
        let known = [Self::F32, Self::F16, Self::I8, Self::I32, Self::Bool, Self::U8, Self::Bf16, Self::I64];
        let found = DATA_TYPES.iter().position(|&known| known == code);
        found.map_or(Self::Other(code), |index| known[index])
    }

    /// Bytes per element; `None` for types that clipmark does not move.
    #[must_use]
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::I64 => Some(8),
            Self::F32 | Self::I32 => Some(4),
            Self::F16 | Self::Bf16 => Some(2),
            Self::I8 | Self::Bool | Self::U8 => Some(1),
            Self::Other(_) => None,
        }
    }
}

/// An input or output of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoTensor {
    /// Its name in the model.
    pub name: String,
    /// Whether it is an input.
    pub input: bool,
    /// Its element type in the engine.
    pub element: Element,
}

/// An engine, ready for contexts.
pub struct Engine {
    // Dropped in this order: the engine before its runtime.
    engine: Object,
    _runtime: Object,
    pub(crate) owner: TensorRt,
    /// Inputs and outputs, in the engine's order.
    pub tensors: Vec<IoTensor>,
}

impl TensorRt {
    /// Deserializes `plan`.
    ///
    /// # Errors
    /// The bytes are no engine of this TensorRT version and GPU, or memory ran out.
    pub fn load(&self, plan: &[u8], dla_core: Option<u32>) -> Result<Engine, TrtError> {
        let runtime = self.runtime()?;
        if let Some(core) = dla_core {
            // SAFETY: declared `void setDLACore(int32_t)`.
            unsafe { call!(runtime, Method::RuntimeSetDlaCore, fn(i32) -> (), core as i32) };
        }
        let (method, data) = (Method::RuntimeDeserialize, plan.as_ptr().cast());
        // SAFETY: declared `ICudaEngine* deserializeCudaEngine(void const*, size_t)`, in 8 with a third
        // argument that must be null; TensorRT copies the bytes, and the caller owns the result.
        let engine = unsafe {
            let address = match self.version().major {
                Major::V8 => call!(
                    runtime,
                    method,
                    fn(*const c_void, usize, *mut c_void) -> *mut c_void,
                    data,
                    plan.len(),
                    std::ptr::null_mut()
                ),
                Major::V10 | Major::V11 => {
                    call!(runtime, method, fn(*const c_void, usize) -> *mut c_void, data, plan.len())
                }
            };
            Object::new(&self.library, address, "engine from the stored plan", Release::Delete)?
        };
        let tensors = match self.version().major {
            Major::V8 => bindings(&engine)?,
            Major::V10 | Major::V11 => tensors(&engine)?,
        };
        Ok(Engine { engine, _runtime: runtime, owner: self.clone(), tensors })
    }
}

fn bindings(engine: &Object) -> Result<Vec<IoTensor>, TrtError> {
    // SAFETY: declared `int32_t getNbBindings() const`.
    let count = unsafe { call!(engine, Method::EngineBindings, fn() -> i32) };
    (0..count)
        .map(|index| {
            // SAFETY: declared `char const* getBindingName(int32_t) const`, `bool bindingIsInput(int32_t)
            // const` and `DataType getBindingDataType(int32_t) const`; the index is below the count.
            unsafe {
                let name = text(call!(engine, Method::EngineBindingName, fn(i32) -> *const c_char, index));
                let input = call!(engine, Method::EngineBindingIsInput, fn(i32) -> u8, index) != 0;
                let code = call!(engine, Method::EngineBindingType, fn(i32) -> i32, index);
                Ok(IoTensor { name: name.unwrap_or_default(), input, element: Element::from_code(code) })
            }
        })
        .collect()
}

fn tensors(engine: &Object) -> Result<Vec<IoTensor>, TrtError> {
    // SAFETY: declared `int32_t getNbIOTensors() const`.
    let count = unsafe { call!(engine, Method::EngineTensors, fn() -> i32) };
    (0..count)
        .map(|index| {
            // SAFETY: declared `char const* getIOTensorName(int32_t) const`; the index is below the count.
            let name =
                unsafe { text(call!(engine, Method::EngineTensorName, fn(i32) -> *const c_char, index)) };
            let name = name.unwrap_or_default();
            let key = dims::c_name(&name)?;
            // SAFETY: declared `TensorIOMode getTensorIOMode(char const*) const` and `DataType
            // getTensorDataType(char const*) const`; the name outlives the calls.
            unsafe {
                let mode = call!(engine, Method::EngineTensorMode, fn(*const c_char) -> i32, key.as_ptr());
                let code = call!(engine, Method::EngineTensorType, fn(*const c_char) -> i32, key.as_ptr());
                Ok(IoTensor { name, input: mode == INPUT, element: Element::from_code(code) })
            }
        })
        .collect()
}

impl Engine {
    /// An execution context with its own scratch memory.
    pub(crate) fn context(&self) -> Result<Object, TrtError> {
        let method = Method::EngineCreateContext;
        self.owner.library.logger.clear();
        // SAFETY: declared `IExecutionContext* createExecutionContext()` in 8, with an allocation strategy
        // from 10 on (kSTATIC: all memory at once); the caller owns the result.
        unsafe {
            let address = match self.owner.version().major {
                Major::V8 => call!(self.engine, method, fn() -> *mut c_void),
                Major::V10 | Major::V11 => call!(self.engine, method, fn(i32) -> *mut c_void, STATIC),
            };
            Object::new(&self.owner.library, address, "execution context", Release::Delete)
        }
    }

    /// What the inspector says of every layer, as JSON or as bare names; empty before TensorRT 8.2.
    ///
    /// # Errors
    /// The inspector cannot be created.
    pub fn layers(&self) -> Result<Vec<String>, TrtError> {
        if crate::slots::lookup(Method::EngineCreateInspector, self.owner.version()).is_none() {
            return Ok(Vec::new());
        }
        // SAFETY: declared `IEngineInspector* createEngineInspector() const`; the caller owns the result.
        let inspector = unsafe {
            let address = call!(self.engine, Method::EngineCreateInspector, fn() -> *mut c_void);
            Object::new(&self.owner.library, address, "engine inspector", Release::Delete)?
        };
        // SAFETY: declared `int32_t getNbLayers() const`.
        let count = unsafe { call!(self.engine, Method::EngineLayers, fn() -> i32) };
        (0..count)
            .map(|index| {
                // SAFETY: declared `char const* getLayerInformation(int32_t, LayerInformationFormat) const`;
                // the inspector owns the string.
                let words = unsafe {
                    text(call!(inspector, Method::InspectorLayer, fn(i32, i32) -> *const c_char, index, JSON))
                };
                Ok(words.unwrap_or_default())
            })
            .collect()
    }
}

/// The enqueue function of a context, looked up once so that the timed loop does no more than call it.
pub(crate) enum Enqueue {
    /// TensorRT 8: `bool enqueueV2(void* const* bindings, cudaStream_t, cudaEvent_t*)`.
    Bindings(Bound, Vec<*mut c_void>),
    /// TensorRT 10 and 11: `bool enqueueV3(cudaStream_t)`.
    Tensors(Bound),
}

impl Enqueue {
    /// Queues one inference; false when TensorRT refuses.
    ///
    /// # Safety
    /// The context that the function was bound from is alive, and so are the tensors' buffers.
    pub(crate) unsafe fn queue(&self, stream: *mut c_void) -> bool {
        // SAFETY: the signatures are those of the declarations above; liveness by the caller's promise.
        unsafe {
            match self {
                Self::Bindings(bound, bindings) => {
                    let enqueue: unsafe extern "C" fn(
                        *mut c_void,
                        *const *mut c_void,
                        *mut c_void,
                        *mut c_void,
                    ) -> u8 = std::mem::transmute(bound.function);
                    enqueue(bound.this, bindings.as_ptr(), stream, std::ptr::null_mut()) != 0
                }
                Self::Tensors(bound) => {
                    let enqueue: unsafe extern "C" fn(*mut c_void, *mut c_void) -> u8 =
                        std::mem::transmute(bound.function);
                    enqueue(bound.this, stream) != 0
                }
            }
        }
    }
}
