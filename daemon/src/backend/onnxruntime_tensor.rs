//! Between clipmark's plain bytes and ONNX Runtime's tensors.

use super::BackendError;
use crate::tensor::{Dtype, TensorData};
use clipmark_profile::record::{Cause, Stage};

use ort::value::{DynValue, PrimitiveTensorElementType, Tensor, TensorElementType};
use tract_onnx::prelude::f16;

/// An element as little-endian bytes.
trait Element: PrimitiveTensorElementType + Copy + Clone + std::fmt::Debug + 'static {
    const SIZE: usize;
    fn read(bytes: &[u8]) -> Self;
    fn write(self, bytes: &mut Vec<u8>);
}

macro_rules! element {
    ($($kind:ty),*) => {$(
        impl Element for $kind {
            const SIZE: usize = size_of::<$kind>();
            fn read(bytes: &[u8]) -> Self {
                let mut own = [0; Self::SIZE];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }
            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    )*};
}
element!(f32, f16, i64, i32, u8);

impl Element for bool {
    const SIZE: usize = 1;
    fn read(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }
    fn write(self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self));
    }
}

/// A tensor that owns the contents of `data`.
pub(super) fn input_value(data: &TensorData) -> ort::Result<DynValue> {
    fn of<T: Element>(data: &TensorData) -> ort::Result<DynValue> {
        let shape: Vec<i64> = data.shape.iter().map(|&size| size as i64).collect();
        let elements: Vec<T> = data.bytes.chunks_exact(T::SIZE).map(T::read).collect();
        Ok(Tensor::from_array((shape, elements))?.into_dyn())
    }
    match data.dtype {
        Dtype::F32 => of::<f32>(data),
        Dtype::F16 => of::<f16>(data),
        Dtype::I64 => of::<i64>(data),
        Dtype::I32 => of::<i32>(data),
        Dtype::U8 => of::<u8>(data),
        Dtype::Bool => of::<bool>(data),
    }
}

/// Puts the contents of `data` into `value`, in place.
pub(super) fn overwrite(value: &mut DynValue, data: &TensorData) -> ort::Result<()> {
    fn of<T: Element>(value: &mut DynValue, data: &TensorData) -> ort::Result<()> {
        let (_, elements) = value.try_extract_tensor_mut::<T>()?;
        elements.iter_mut().zip(data.bytes.chunks_exact(T::SIZE)).for_each(|(to, from)| *to = T::read(from));
        Ok(())
    }
    match data.dtype {
        Dtype::F32 => of::<f32>(value, data),
        Dtype::F16 => of::<f16>(value, data),
        Dtype::I64 => of::<i64>(value, data),
        Dtype::I32 => of::<i32>(value, data),
        Dtype::U8 => of::<u8>(value, data),
        Dtype::Bool => of::<bool>(value, data),
    }
}

/// An output as plain bytes.
pub(super) fn from_value(name: &str, value: &DynValue) -> Result<TensorData, BackendError> {
    fn of<T: Element>(name: &str, dtype: Dtype, value: &DynValue) -> ort::Result<TensorData> {
        let (shape, elements) = value.try_extract_tensor::<T>()?;
        let mut bytes = Vec::with_capacity(elements.len() * T::SIZE);
        elements.iter().for_each(|element| element.write(&mut bytes));
        let shape = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
        Ok(TensorData { name: name.into(), dtype, shape, bytes })
    }
    let failed = |words: String| {
        let message = format!("the output `{name}` cannot be read back: {words}");
        BackendError::new(Stage::Measure, Cause::Backend, message)
    };
    let read = match value.dtype().tensor_type() {
        Some(TensorElementType::Float32) => of::<f32>(name, Dtype::F32, value),
        Some(TensorElementType::Float16) => of::<f16>(name, Dtype::F16, value),
        Some(TensorElementType::Int64) => of::<i64>(name, Dtype::I64, value),
        Some(TensorElementType::Int32) => of::<i32>(name, Dtype::I32, value),
        Some(TensorElementType::Uint8) => of::<u8>(name, Dtype::U8, value),
        Some(TensorElementType::Bool) => of::<bool>(name, Dtype::Bool, value),
        other => return Err(failed(format!("its type {other:?} is not supported"))),
    };
    read.map_err(|error| failed(error.to_string()))
}
