//! Between clipmark's tensors and an engine's buffers.
//!
//! TensorRT 8 narrows 64-bit integer inputs to 32 bits; outputs in types that [`Dtype`] does not have are
//! widened.

use crate::tensor::{Dtype, TensorData};
use clipmark_trt::{Element, Tensor};

/// Copies `from` into an engine's buffer `to` of element type `element`.
///
/// Errors name the input and say why it does not fit.
pub(super) fn fill(to: &mut [u8], element: Element, from: &TensorData) -> Result<(), String> {
    let unfit = |why: String| format!("input {}: {why}", from.name);
    if same(from.dtype, element) {
        if to.len() != from.bytes.len() {
            return Err(unfit(format!(
                "{} bytes were given, the engine takes {}",
                from.bytes.len(),
                to.len()
            )));
        }
        to.copy_from_slice(&from.bytes);
        return Ok(());
    }
    match (from.dtype, element) {
        (Dtype::I64, Element::I32) => {
            let (values, rest) = from.bytes.as_chunks::<8>();
            let (slots, over) = to.as_chunks_mut::<4>();
            if values.len() != slots.len() || !rest.is_empty() || !over.is_empty() {
                return Err(unfit(format!(
                    "{} elements were given, the engine takes {}",
                    values.len(),
                    slots.len()
                )));
            }
            for (slot, value) in slots.iter_mut().zip(values) {
                let value = i64::from_le_bytes(*value);
                let narrow = i32::try_from(value);
                *slot = narrow
                    .map_err(|_| unfit(format!("{value} is beyond 32 bits, all TensorRT 8 takes")))?
                    .to_le_bytes();
            }
            Ok(())
        }
        (dtype, element) => Err(unfit(format!("the model declares {dtype:?}, the engine takes {element:?}"))),
    }
}

fn same(dtype: Dtype, element: Element) -> bool {
    matches!(
        (dtype, element),
        (Dtype::F32, Element::F32)
            | (Dtype::F16, Element::F16)
            | (Dtype::I64, Element::I64)
            | (Dtype::I32, Element::I32)
            | (Dtype::U8, Element::U8)
            | (Dtype::Bool, Element::Bool)
    )
}

/// Whether inputs declared as `dtype` can be fed to an engine that takes `element`.
pub(super) fn accepts(dtype: Dtype, element: Element) -> bool {
    same(dtype, element) || matches!((dtype, element), (Dtype::I64, Element::I32))
}

/// A copy of an output.
pub(super) fn copy(tensor: &Tensor<'_>) -> Result<TensorData, String> {
    let widen_bf16 =
        |bytes: &[u8]| bytes.as_chunks::<2>().0.iter().flat_map(|b| [0, 0, b[0], b[1]]).collect();
    let (dtype, bytes) = match tensor.element {
        Element::F32 => (Dtype::F32, tensor.bytes.to_vec()),
        Element::F16 => (Dtype::F16, tensor.bytes.to_vec()),
        Element::I64 => (Dtype::I64, tensor.bytes.to_vec()),
        Element::I32 => (Dtype::I32, tensor.bytes.to_vec()),
        Element::U8 => (Dtype::U8, tensor.bytes.to_vec()),
        Element::Bool => (Dtype::Bool, tensor.bytes.to_vec()),
        Element::Bf16 => (Dtype::F32, widen_bf16(tensor.bytes)),
        Element::I8 => {
            let widened = tensor.bytes.iter().flat_map(|&byte| i32::from(byte as i8).to_le_bytes());
            (Dtype::I32, widened.collect())
        }
        Element::Other(code) => return Err(format!("output {} has TensorRT's type {code}", tensor.name)),
    };
    Ok(TensorData { name: tensor.name.to_owned(), dtype, shape: tensor.extents.to_vec(), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(values: &[i64]) -> TensorData {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        TensorData { name: "text".into(), dtype: Dtype::I64, shape: vec![values.len()], bytes }
    }

    #[test]
    fn token_ids_are_narrowed_and_those_beyond_32_bits_refused() {
        let mut buffer = [0; 8];
        fill(&mut buffer, Element::I32, &ids(&[-1, 7])).expect("fits");
        assert_eq!(buffer, [255, 255, 255, 255, 7, 0, 0, 0]);
        let error = fill(&mut buffer, Element::I32, &ids(&[1 << 31, 0])).expect_err("too large");
        assert!(error.contains("2147483648"), "{error}");
    }

    #[test]
    fn inputs_of_another_size_or_type_are_refused() {
        assert!(fill(&mut [0; 4], Element::I32, &ids(&[1, 2])).expect_err("size").contains("takes 1"));
        assert!(fill(&mut [0; 8], Element::I64, &ids(&[1, 2])).expect_err("size").contains("takes 8"));
        assert!(fill(&mut [0; 8], Element::F32, &ids(&[1, 2])).expect_err("type").contains("F32"));
    }

    #[test]
    fn narrow_outputs_are_widened_without_loss() {
        let tensor = |element, bytes| Tensor { name: "y", element, extents: &[2], bytes };
        // bfloat16 is the upper half of a 32-bit float: 0x3fc0 is 1.5, 0xc000 is -2.
        let floats = copy(&tensor(Element::Bf16, &[0xc0, 0x3f, 0x00, 0xc0])).expect("widened");
        assert_eq!(floats.dtype, Dtype::F32);
        assert_eq!(floats.bytes, [1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat());
        let integers = copy(&tensor(Element::I8, &[0x80, 0x7f])).expect("widened");
        assert_eq!(integers.bytes, [(-128_i32).to_le_bytes(), 127_i32.to_le_bytes()].concat());
    }
}
