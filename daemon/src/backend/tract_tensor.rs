//! Between clipmark's plain bytes and tract's tensors.

use super::BackendError;
use crate::tensor::{Dtype, TensorData};
use clipmark_profile::record::{Cause, Stage};
use std::sync::Arc;
use tract_onnx::prelude::{Datum, DatumType, Tensor, TractResult, f16};

/// tract's name for a dtype.
pub(super) fn tract_dtype(dtype: Dtype) -> DatumType {
    match dtype {
        Dtype::F32 => f32::datum_type(),
        Dtype::F16 => f16::datum_type(),
        Dtype::I64 => i64::datum_type(),
        Dtype::I32 => i32::datum_type(),
        Dtype::U8 => u8::datum_type(),
        Dtype::Bool => bool::datum_type(),
    }
}

/// A tensor with the contents of `data`, as `wanted`: a plan in another precision takes other inputs.
pub(super) fn into_tract(data: &TensorData, wanted: DatumType) -> Result<Tensor, BackendError> {
    let convert = || -> TractResult<Tensor> {
        let mut tensor = Tensor::zero_dt(tract_dtype(data.dtype), &data.shape)?;
        copy(&mut tensor, data)?;
        Ok(tensor.cast_to_dt(wanted)?.into_owned())
    };
    convert().map_err(|error| failed(&data.name, &error))
}

/// Puts the contents of `data` into `tensor`, in place wherever the dtype is the same.
pub(super) fn overwrite(tensor: &mut Arc<Tensor>, data: &TensorData) -> Result<(), BackendError> {
    let wanted = tensor.datum_type();
    match Arc::get_mut(tensor) {
        Some(own) if wanted == tract_dtype(data.dtype) => {
            copy(own, data).map_err(|error| failed(&data.name, &error))
        }
        _ => {
            *tensor = Arc::new(into_tract(data, wanted)?);
            Ok(())
        }
    }
}

fn copy(tensor: &mut Tensor, data: &TensorData) -> TractResult<()> {
    let mut plain = tensor.try_as_plain_ram_mut()?;
    let target = plain.as_bytes_mut();
    if data.dtype == Dtype::Bool {
        // Any other byte would not be a `bool`.
        target.iter_mut().zip(&data.bytes).for_each(|(to, &from)| *to = u8::from(from != 0));
    } else {
        target.copy_from_slice(&data.bytes);
    }
    Ok(())
}

/// An output as plain bytes. Floats other than f16 come as f32, integers other than i32 and u8 as i64.
pub(super) fn from_tract(name: &str, tensor: &Tensor) -> Result<TensorData, BackendError> {
    let dtype = match tensor.datum_type() {
        DatumType::F16 => Dtype::F16,
        DatumType::I32 => Dtype::I32,
        DatumType::U8 => Dtype::U8,
        DatumType::Bool => Dtype::Bool,
        other if other.is_float() => Dtype::F32,
        _ => Dtype::I64,
    };
    let convert = || -> TractResult<Vec<u8>> {
        let tensor = tensor.cast_to_dt(tract_dtype(dtype))?;
        Ok(tensor.try_as_plain_ram()?.as_bytes().to_vec())
    };
    let bytes = convert().map_err(|error| failed(name, &error))?;
    Ok(TensorData { name: name.into(), dtype, shape: tensor.shape().to_vec(), bytes })
}

fn failed(name: &str, error: &dyn std::fmt::Display) -> BackendError {
    BackendError::new(Stage::Measure, Cause::Backend, format!("tensor `{name}`: {error:#}"))
}
