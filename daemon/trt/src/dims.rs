//! `nvinfer1::Dims` in its two layouts, and the calls that pass it.

use crate::error::TrtError;
use crate::object::{Object, call};
use crate::slots::Method;
use crate::version::Major;
use std::ffi::{CString, c_char};

/// Most dimensions of a tensor.
const MOST: usize = 8;

/// `Dims32`, up to TensorRT 8: passed by value.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Dims32 {
    count: i32,
    extents: [i32; MOST],
}

/// `Dims64`, from TensorRT 10 on: passed by reference, returned by value.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Dims64 {
    count: i32,
    extents: [i64; MOST],
}

impl Dims32 {
    fn of(extents: &[i64]) -> Result<Self, TrtError> {
        let mut dims = Self { count: extents.len() as i32, extents: [0; MOST] };
        for (slot, &extent) in dims.extents.iter_mut().zip(fitting(extents)?) {
            *slot = i32::try_from(extent).map_err(|_| too_large(extents))?;
        }
        Ok(dims)
    }

    fn list(self) -> Option<Vec<i64>> {
        let count = usize::try_from(self.count).ok().filter(|&count| count <= MOST)?;
        Some(self.extents[..count].iter().map(|&extent| i64::from(extent)).collect())
    }
}

impl Dims64 {
    fn of(extents: &[i64]) -> Result<Self, TrtError> {
        let mut dims = Self { count: extents.len() as i32, extents: [0; MOST] };
        let fitting = fitting(extents)?;
        dims.extents[..fitting.len()].copy_from_slice(fitting);
        Ok(dims)
    }

    fn list(self) -> Option<Vec<i64>> {
        let count = usize::try_from(self.count).ok().filter(|&count| count <= MOST)?;
        Some(self.extents[..count].to_vec())
    }
}

fn fitting(extents: &[i64]) -> Result<&[i64], TrtError> {
    if extents.len() <= MOST { Ok(extents) } else { Err(too_large(extents)) }
}

fn too_large(extents: &[i64]) -> TrtError {
    TrtError::Mismatch(format!(
        "shape {extents:?} is beyond TensorRT's limits (8 dimensions, and 2^31 - 1 along each in TensorRT 8)"
    ))
}

/// A name for C.
pub(crate) fn c_name(name: &str) -> Result<CString, TrtError> {
    CString::new(name).map_err(|_| TrtError::Mismatch(format!("tensor name {name:?} holds a zero byte")))
}

/// Calls `method() -> Dims` on `object`. `None` where TensorRT does not know the dimensions.
pub(crate) fn get(object: &Object, method: Method) -> Result<Option<Vec<i64>>, TrtError> {
    // SAFETY: the callers' methods are declared `Dims method() const`, with the layout of this major.
    unsafe {
        Ok(match object.library().version.major {
            Major::V8 => call!(object, method, fn() -> Dims32).list(),
            Major::V10 | Major::V11 => call!(object, method, fn() -> Dims64).list(),
        })
    }
}

/// Calls `VOptimizationProfile::setDimensions(name, selector, dims)`.
pub(crate) fn set_profile(
    profile: &Object,
    name: &str,
    selector: i32,
    extents: &[i64],
) -> Result<bool, TrtError> {
    let name = c_name(name)?;
    let method = Method::ProfileSetDimensions;
    // SAFETY: declared `bool setDimensions(char const*, OptProfileSelector, Dims)`, the last by value in 8
    // and by reference in 10 and 11; name and dims outlive the call.
    unsafe {
        Ok(match profile.library().version.major {
            Major::V8 => {
                let dims = Dims32::of(extents)?;
                call!(profile, method, fn(*const c_char, i32, Dims32) -> u8, name.as_ptr(), selector, dims)
            }
            Major::V10 | Major::V11 => {
                let dims = Dims64::of(extents)?;
                call!(
                    profile,
                    method,
                    fn(*const c_char, i32, *const Dims64) -> u8,
                    name.as_ptr(),
                    selector,
                    &raw const dims
                )
            }
        } != 0)
    }
}

/// Calls `VExecutionContext::setBindingDimensions(index, dims)`, TensorRT 8.
pub(crate) fn set_binding(context: &Object, index: i32, extents: &[i64]) -> Result<bool, TrtError> {
    let dims = Dims32::of(extents)?;
    // SAFETY: declared `bool setBindingDimensions(int32_t, Dims)` in 8, the only major that has it.
    unsafe { Ok(call!(context, Method::ContextSetBindingDims, fn(i32, Dims32) -> u8, index, dims) != 0) }
}

/// Calls `VExecutionContext::getBindingDimensions(index)`, TensorRT 8.
pub(crate) fn binding(context: &Object, index: i32) -> Result<Option<Vec<i64>>, TrtError> {
    // SAFETY: declared `Dims getBindingDimensions(int32_t) const` in 8, the only major that has it.
    unsafe { Ok(call!(context, Method::ContextBindingDims, fn(i32) -> Dims32, index).list()) }
}

/// Calls `VExecutionContext::setInputShape(name, dims)`, TensorRT 10 and 11.
pub(crate) fn set_input(context: &Object, name: &str, extents: &[i64]) -> Result<bool, TrtError> {
    let (name, dims) = (c_name(name)?, Dims64::of(extents)?);
    let method = Method::ContextSetInputShape;
    // SAFETY: declared `bool setInputShape(char const*, Dims const&)`; both outlive the call.
    unsafe {
        Ok(call!(context, method, fn(*const c_char, *const Dims64) -> u8, name.as_ptr(), &raw const dims)
            != 0)
    }
}

/// Calls `VExecutionContext::getTensorShape(name)`, TensorRT 10 and 11.
pub(crate) fn tensor(context: &Object, name: &str) -> Result<Option<Vec<i64>>, TrtError> {
    let name = c_name(name)?;
    // SAFETY: declared `Dims getTensorShape(char const*) const`; the name outlives the call.
    unsafe {
        Ok(call!(context, Method::ContextTensorShape, fn(*const c_char) -> Dims64, name.as_ptr()).list())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_have_the_size_that_tensorrt_gives_them() {
        assert_eq!(size_of::<Dims32>(), 36);
        assert_eq!(size_of::<Dims64>(), 72);
    }

    #[test]
    fn shapes_survive_both_layouts() {
        let shape = [1, 16, 3, 64, 64];
        assert_eq!(Dims32::of(&shape).expect("fits").list(), Some(shape.to_vec()));
        assert_eq!(Dims64::of(&shape).expect("fits").list(), Some(shape.to_vec()));
    }

    #[test]
    fn shapes_beyond_the_limits_are_refused() {
        assert!(Dims64::of(&[1; 9]).is_err());
        assert!(Dims32::of(&[1 << 31]).is_err());
    }

    #[test]
    fn unknown_dimensions_are_absent() {
        assert_eq!(Dims64 { count: -1, extents: [0; MOST] }.list(), None);
    }
}
