//! Whether a backend can be trusted on this machine: its outputs against another's, its compute time against a
//! second measurement of the same work.
//!
//! Works on prepared engines, so that any two backends can be held against each other. It reports differences and
//! judges them by stated tolerances; it repairs nothing. [`on_this_machine`] loads real runtimes: call it in a process
//! that may die.

use super::tensorrt::TensorRtBackend;
use super::trtexec::Trtexec;
use super::{Backend, BackendError, Engine, EngineSpec, Tract};
use crate::model::inputs::{Fill, fill_all};
use crate::tensor::{Dtype, TensorData};
use clipmark_profile::record::{Cause, Stage};
use clipmark_profile::units::Nanos;
use std::fmt;
use std::path::Path;

/// Largest accepted difference between two outputs, relative to the greatest magnitude in the reference: two
/// runtimes that add in different orders stay far below in 32 bits, and TF32 (10 bits of mantissa) stays within.
pub const OUTPUT_TOLERANCE: f64 = 0.02;
/// Largest accepted relative difference between two medians of compute time.
pub const COMPUTE_TOLERANCE: f64 = 0.10;
/// Inferences whose compute times are compared, after as many that are not.
const INFERENCES: usize = 50;

/// One output of the variant against the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputDifference {
    /// The output's name.
    pub name: String,
    /// Elements compared.
    pub elements: usize,
    /// Greatest absolute difference.
    pub worst: f64,
    /// The same over the greatest magnitude in the reference; infinite where a value is not a number.
    pub relative: f64,
}

/// Compute time of the variant against another measurement, as medians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ComputeDifference {
    /// The variant's.
    pub variant: Nanos,
    /// The other's.
    pub other: Nanos,
    /// (variant - other) / other.
    pub relative: f64,
}

/// What a self-test found.
#[derive(Debug, Clone, PartialEq)]
pub struct SelftestReport {
    /// Every output of the reference.
    pub outputs: Vec<OutputDifference>,
    /// The comparison of compute times, or why there is none.
    pub compute: Result<ComputeDifference, String>,
}

impl SelftestReport {
    /// Whether every difference is within its tolerance. A comparison that was not possible does not fail.
    #[must_use]
    pub fn passed(&self) -> bool {
        let outputs = self.outputs.iter().all(|output| output.relative <= OUTPUT_TOLERANCE);
        let compute = self.compute.as_ref().is_ok_and(|compute| compute.relative.abs() > COMPUTE_TOLERANCE);
        outputs && !compute
    }
}

impl fmt::Display for SelftestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for output in &self.outputs {
            let mark = if output.relative <= OUTPUT_TOLERANCE { "ok    " } else { "DIFFER" };
            writeln!(
                f,
                "{mark}  output {}: {} elements, worst difference {:.3e}, {:.2} % of the greatest value (tolerance {:.0} %)",
                output.name,
                output.elements,
                output.worst,
                output.relative * 100.0,
                OUTPUT_TOLERANCE * 100.0
            )?;
        }
        match &self.compute {
            Ok(compute) => {
                let mark = if compute.relative.abs() <= COMPUTE_TOLERANCE { "ok    " } else { "DIFFER" };
                writeln!(
                    f,
                    "{mark}  compute {:.3} ms against {:.3} ms, {:+.1} % (tolerance {:.0} %)",
                    compute.variant.as_millis_f64(),
                    compute.other.as_millis_f64(),
                    compute.relative * 100.0,
                    COMPUTE_TOLERANCE * 100.0
                )
            }
            Err(reason) => writeln!(f, "not compared: compute time, because {reason}"),
        }
    }
}

/// Holds `variant` against `reference` on the same inputs, and its compute time against `timing`'s.
///
/// # Errors
/// An engine of the two fails, or the reference's outputs have no counterpart of the same shape.
pub fn selftest(
    variant: &mut dyn Engine,
    reference: &mut dyn Engine,
    timing: Result<&mut dyn Engine, String>,
    inputs: &[TensorData],
) -> Result<SelftestReport, BackendError> {
    let run = |engine: &mut dyn Engine| {
        engine.set_inputs(inputs)?;
        engine.run()?;
        engine.outputs()
    };
    let (found, expected) = (run(variant)?, run(reference)?);
    let outputs = expected.iter().map(|expected| difference(expected, &found)).collect::<Result<_, _>>()?;
    let compute = timing.and_then(|timing| {
        timing.set_inputs(inputs).map_err(|error| error.message)?;
        compare_compute(variant, timing)
    });
    Ok(SelftestReport { outputs, compute })
}

fn difference(expected: &TensorData, found: &[TensorData]) -> Result<OutputDifference, BackendError> {
    let failed = |message| BackendError::new(Stage::Measure, Cause::Backend, message);
    let counterpart = found.iter().find(|output| output.name == expected.name);
    let counterpart = counterpart.filter(|output| output.shape == expected.shape).ok_or_else(|| {
        let shapes: Vec<String> =
            found.iter().map(|output| format!("{} {:?}", output.name, output.shape)).collect();
        failed(format!(
            "output {} of shape {:?} has no counterpart among {}",
            expected.name,
            expected.shape,
            shapes.join(", ")
        ))
    })?;
    let unreadable = |output: &TensorData| {
        failed(format!("output {} is {:?}, which is not compared", output.name, output.dtype))
    };
    let reference = numbers(expected).ok_or_else(|| unreadable(expected))?;
    let variant = numbers(counterpart).ok_or_else(|| unreadable(counterpart))?;
    let scale = reference.iter().fold(f64::MIN_POSITIVE, |most, value| most.max(value.abs()));
    // A value that is not a number never compares as small.
    let worst = reference.iter().zip(&variant).map(|(a, b)| (a - b).abs());
    let worst = worst.fold(0.0, |most: f64, next| if next.is_nan() { f64::INFINITY } else { most.max(next) });
    Ok(OutputDifference {
        name: expected.name.clone(),
        elements: reference.len(),
        worst,
        relative: worst / scale,
    })
}

/// The elements as numbers; `None` for 16-bit floats, which no reference backend yields.
fn numbers(tensor: &TensorData) -> Option<Vec<f64>> {
    let bytes = tensor.bytes.as_slice();
    Some(match tensor.dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        Dtype::I32 => bytes.as_chunks::<4>().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
        Dtype::I64 => bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
        Dtype::U8 | Dtype::Bool => bytes.iter().map(|&byte| f64::from(byte)).collect(),
        Dtype::F16 => return None,
    })
}

fn compare_compute(variant: &mut dyn Engine, other: &mut dyn Engine) -> Result<ComputeDifference, String> {
    let variant = median_compute(variant)?;
    let other = median_compute(other)?;
    if other.0 == 0 {
        return Err("the other measurement says 0".to_owned());
    }
    let relative = (variant.0 as f64 - other.0 as f64) / other.0 as f64;
    Ok(ComputeDifference { variant, other, relative })
}

fn median_compute(engine: &mut dyn Engine) -> Result<Nanos, String> {
    let mut times = Vec::new();
    for inference in 0..2 * INFERENCES {
        let timing = engine.run().map_err(|error| error.message)?;
        let compute = timing.compute.ok_or("the backend does not tell compute time")?;
        if inference >= INFERENCES {
            times.push(compute);
        }
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// The self-test of this machine's TensorRT: outputs against tract, compute time against trtexec.
///
/// # Errors
/// TensorRT or tract cannot prepare the model, or fails on it. A missing trtexec is part of the report.
pub fn on_this_machine(model: &Path, spec: &EngineSpec, seed: u64) -> Result<SelftestReport, BackendError> {
    let mut variant = TensorRtBackend::default().prepare(model, spec)?;
    let mut reference = Tract.prepare(model, spec)?;
    let inputs = fill_all(&spec.inputs, Fill::Random, seed);
    match Trtexec::default().prepare(model, spec) {
        Ok(mut timing) => selftest(&mut *variant, &mut *reference, Ok(&mut *timing), &inputs),
        Err(error) => selftest(&mut *variant, &mut *reference, Err(error.message), &inputs),
    }
}
