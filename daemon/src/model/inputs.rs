//! Contents for a model's inputs: seeded random by default, and the variants that show whether a model's
//! cost depends on them.
//!
//! Random contents are the default because constant ones can run faster than real data: zeros meet
//! caches and short cuts, tiny values meet denormals. Each input has its own stream, so that adding an
//! input to a model leaves the others' contents as they were.

use super::random::SplitMix64;
use crate::tensor::{Dtype, InputSpec, TensorData};
use tract_onnx::prelude::f16;

/// What inputs are filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Uniform in the input's range, from the seed.
    Random,
    /// The same value everywhere: the middle of the range.
    Constant,
    /// Zero everywhere, or the least value where the range excludes zero.
    Zero,
}

impl Fill {
    /// The name in remarks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Constant => "constant",
            Self::Zero => "zero",
        }
    }
}

/// Contents for every input of `specs`.
#[must_use]
pub fn fill_all(specs: &[InputSpec], fill: Fill, seed: u64) -> Vec<TensorData> {
    specs.iter().map(|spec| fill_one(spec, fill, seed)).collect()
}

/// Contents for one input. Integers lie in `[low, high)`, floats in `[low, high]`, booleans in {0, 1}.
fn fill_one(spec: &InputSpec, fill: Fill, seed: u64) -> TensorData {
    let count = spec.shape.iter().product::<usize>();
    let mut stream = SplitMix64::named(seed, &spec.name);
    let mut bytes = Vec::with_capacity(count * spec.dtype.size());
    for _ in 0..count {
        match spec.dtype {
            Dtype::F32 => bytes.extend((float(spec, fill, &mut stream) as f32).to_le_bytes()),
            Dtype::F16 => bytes.extend(f16::from_f64(float(spec, fill, &mut stream)).to_le_bytes()),
            Dtype::I64 => bytes.extend(integer(spec, fill, &mut stream).to_le_bytes()),
            Dtype::I32 => bytes.extend((integer(spec, fill, &mut stream) as i32).to_le_bytes()),
            Dtype::U8 => bytes.push(integer(spec, fill, &mut stream) as u8),
            Dtype::Bool => bytes.push(u8::from(match fill {
                Fill::Random => stream.next_u64() >> 63 == 1,
                Fill::Constant => true,
                Fill::Zero => false,
            })),
        }
    }
    TensorData { name: spec.name.clone(), dtype: spec.dtype, shape: spec.shape.clone(), bytes }
}

fn float(spec: &InputSpec, fill: Fill, stream: &mut SplitMix64) -> f64 {
    match fill {
        Fill::Random => spec.low + (spec.high - spec.low) * f64::from(stream.next_unit_f32()),
        Fill::Constant => f64::midpoint(spec.low, spec.high),
        Fill::Zero if spec.low <= 0.0 && 0.0 <= spec.high => 0.0,
        Fill::Zero => spec.low,
    }
}

fn integer(spec: &InputSpec, fill: Fill, stream: &mut SplitMix64) -> i64 {
    let (low, high) = (spec.low.ceil() as i64, spec.high.ceil() as i64);
    let span = u64::try_from(high.saturating_sub(low)).unwrap_or(0);
    match fill {
        Fill::Random => low + stream.next_below(span) as i64,
        Fill::Constant => low + (span / 2) as i64,
        Fill::Zero if low <= 0 && 0 < high => 0,
        Fill::Zero => low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(dtype: Dtype, low: f64, high: f64) -> InputSpec {
        InputSpec { name: "x".into(), dtype, shape: vec![4, 50], low, high, clips: None, frames: None }
    }

    fn values(data: &TensorData) -> Vec<f64> {
        let size = data.dtype.size();
        let one = |b: &[u8]| match data.dtype {
            Dtype::F32 => f64::from(f32::from_le_bytes(b.try_into().unwrap())),
            Dtype::F16 => f16::from_le_bytes(b.try_into().unwrap()).to_f64(),
            Dtype::I64 => i64::from_le_bytes(b.try_into().unwrap()) as f64,
            Dtype::I32 => f64::from(i32::from_le_bytes(b.try_into().unwrap())),
            Dtype::U8 | Dtype::Bool => f64::from(b[0]),
        };
        data.bytes.chunks_exact(size).map(one).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_contents_and_another_seed_gives_others() {
        let spec = spec(Dtype::F32, -1.0, 1.0);
        assert_eq!(fill_one(&spec, Fill::Random, 7), fill_one(&spec, Fill::Random, 7));
        assert_ne!(fill_one(&spec, Fill::Random, 7), fill_one(&spec, Fill::Random, 8));
    }

    #[test]
    fn an_input_keeps_its_contents_when_the_model_gains_another() {
        let a = spec(Dtype::F32, 0.0, 1.0);
        let b = InputSpec { name: "y".into(), ..a.clone() };
        let alone = fill_all(std::slice::from_ref(&a), Fill::Random, 3);
        assert_eq!(fill_all(&[b, a], Fill::Random, 3)[1], alone[0]);
    }

    #[test]
    fn constant_and_zero_fills_hold_one_value_within_the_range() {
        for (dtype, low, high) in [
            (Dtype::F32, 2.0, 6.0),
            (Dtype::I64, 0.0, 1024.0),
            (Dtype::U8, 0.0, 256.0),
            (Dtype::F16, -2.0, 2.0),
        ] {
            for (fill, expected) in [(Fill::Constant, f64::midpoint(low, high)), (Fill::Zero, low.max(0.0))] {
                let data = fill_one(&spec(dtype, low, high), fill, 1);
                assert!(values(&data).iter().all(|&v| v == expected), "{dtype:?} {fill:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn random_contents_stay_in_the_stated_range_and_vary(
            seed: u64,
            low in -100i32..100,
            span in 2i32..150,
            dtype in prop::sample::select(vec![Dtype::F32, Dtype::F16, Dtype::I64, Dtype::I32]),
        ) {
            let (low, high) = (f64::from(low), f64::from(low + span));
            let data = fill_one(&spec(dtype, low, high), Fill::Random, seed);
            let values = values(&data);
            prop_assert_eq!(values.len(), 200);
            prop_assert!(values.iter().all(|&v| low <= v && v <= high));
            if matches!(dtype, Dtype::I64 | Dtype::I32) {
                prop_assert!(values.iter().all(|&v| v < high));
            }
            prop_assert!(values.iter().any(|&v| v != values[0]));
        }
    }
}
