//! Which kernels a precision stands for in each TensorRT release, and where it is refused.
//!
//! TensorRT 8 and 10 treat a precision as permission: the builder may still choose 32-bit kernels where
//! these are faster. TensorRT 11 takes the precision from the model alone.

use clipmark_profile::point::Precision;
use clipmark_trt::{Kernels, Major, Version};

/// What the decision depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Circumstances {
    /// TensorRT's version.
    pub(super) version: Version,
    /// The GPU's compute capability.
    pub(super) capability: (u32, u32),
    /// Whether the model has QuantizeLinear nodes.
    pub(super) quantized: bool,
    /// Whether a DLA core is to run it.
    pub(super) dla: bool,
}

/// The kernels for `precision` and what a reader should know of them, or why it is refused.
pub(super) fn kernels(
    precision: Precision,
    with: &Circumstances,
) -> Result<(Kernels, Option<String>), String> {
    let of_model = with.version.major == Major::V11;
    let none = Kernels::default();
    if with.dla && !of_model && !matches!(precision, Precision::Fp16 | Precision::Int8) {
        return Err(format!("a DLA core computes in fp16 or int8, not in {precision}; ask for one of these"));
    }
    match precision {
        Precision::Unknown => Err("this version does not know that precision".into()),
        Precision::Model => Ok((none, tf32_note(with))),
        Precision::Fp32 => Ok((Kernels { tf32: Some(false), ..none }, None)),
        Precision::Tf32 => {
            ampere("tf32", with)?;
            Ok((Kernels { tf32: Some(true), ..none }, None))
        }
        Precision::Fp16 | Precision::Bf16 | Precision::Int8 if of_model => Err(format!(
            "TensorRT {} takes the precision from the model and cannot be told to use {precision}; export the model in \
             {precision} and measure it with --precision model",
            with.version
        )),
        Precision::Fp16 => Ok((Kernels { fp16: true, ..none }, permission("fp16"))),
        Precision::Bf16 => {
            if with.version.major == Major::V8 {
                return Err(format!("TensorRT {} has no bf16; it came with 10", with.version));
            }
            ampere("bf16", with)?;
            Ok((Kernels { bf16: true, ..none }, permission("bf16")))
        }
        Precision::Int8 if with.quantized => Ok((Kernels { int8: true, ..none }, permission("int8"))),
        Precision::Int8 => {
            Err("the model has no QuantizeLinear nodes, so nothing says at which scale to round to int8, and made-up \
                 scales would measure a model that nobody runs; quantize the model first"
                .into())
        }
    }
}

fn ampere(name: &str, with: &Circumstances) -> Result<(), String> {
    let (major, minor) = with.capability;
    if major >= 8 {
        return Ok(());
    }
    Err(format!(
        "{name} needs a GPU of compute capability 8.0 or later (Orin, Thor); this one has {major}.{minor}"
    ))
}

fn tf32_note(with: &Circumstances) -> Option<String> {
    (with.capability.0 >= 8)
        .then(|| "TensorRT's default lets 32-bit layers run in TF32; --precision fp32 forbids it".to_owned())
}

fn permission(name: &str) -> Option<String> {
    Some(format!("{name} is a permission: layers that are faster in 32 bits stay there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(major: Major, capability: (u32, u32)) -> Circumstances {
        let version = Version { major, minor: 3, patch: 0 };
        Circumstances { version, capability, quantized: false, dla: false }
    }

    #[test]
    fn every_precision_is_granted_or_refused_with_a_reason_in_every_release() {
        // (precision, capability) against what TensorRT 8, 10 and 11 answer: a word of the refusal, or none.
        let cases = [
            (Precision::Model, (8, 7), ["", "", ""]),
            (Precision::Fp32, (5, 3), ["", "", ""]),
            (Precision::Tf32, (8, 7), ["", "", ""]),
            (Precision::Tf32, (7, 2), ["8.0 or later", "8.0 or later", "8.0 or later"]),
            (Precision::Fp16, (5, 3), ["", "", "from the model"]),
            (Precision::Bf16, (8, 7), ["no bf16", "", "from the model"]),
            (Precision::Bf16, (7, 2), ["no bf16", "8.0 or later", "from the model"]),
            (Precision::Int8, (8, 7), ["QuantizeLinear", "QuantizeLinear", "from the model"]),
        ];
        for (precision, capability, answers) in cases {
            for (major, answer) in [Major::V8, Major::V10, Major::V11].into_iter().zip(answers) {
                match kernels(precision, &with(major, capability)) {
                    Ok(_) => assert_eq!(answer, "", "{precision} on {major:?}"),
                    Err(reason) => {
                        assert!(
                            !answer.is_empty() && reason.contains(answer),
                            "{precision} on {major:?}: {reason}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn fp32_forbids_tf32_and_the_default_says_that_it_is_allowed() {
        let ampere = with(Major::V10, (8, 7));
        let (strict, _) = kernels(Precision::Fp32, &ampere).expect("granted");
        assert_eq!(strict.tf32, Some(false));
        let (default, note) = kernels(Precision::Model, &ampere).expect("granted");
        assert_eq!(default.tf32, None);
        assert!(note.expect("a note").contains("TF32"));
        assert_eq!(kernels(Precision::Model, &with(Major::V8, (7, 2))).expect("granted").1, None);
    }

    #[test]
    fn a_quantized_model_may_run_in_int8() {
        let quantized = Circumstances { quantized: true, ..with(Major::V8, (8, 7)) };
        assert!(kernels(Precision::Int8, &quantized).expect("granted").0.int8);
    }

    #[test]
    fn a_dla_core_takes_fp16_and_int8_alone() {
        let dla = Circumstances { dla: true, ..with(Major::V8, (8, 7)) };
        assert!(kernels(Precision::Fp16, &dla).expect("granted").0.fp16);
        assert!(kernels(Precision::Fp32, &dla).expect_err("refused").contains("DLA core"));
    }
}
