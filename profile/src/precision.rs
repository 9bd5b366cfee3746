//! Numeric precisions.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Numeric precision asked of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As the model's own weights say.
    #[default]
    Model,
    /// 32-bit floats.
    Fp32,
    /// TensorFloat-32 on hardware that has it.
    Tf32,
    /// 16-bit floats.
    Fp16,
    /// bfloat16.
    Bf16,
    /// 8-bit integers.
    Int8,
    /// One that this version does not know, from a newer device.
    Unknown,
}

impl Precision {
    /// All that can be asked for.
    pub const ALL: [Self; 6] = [Self::Model, Self::Fp32, Self::Tf32, Self::Fp16, Self::Bf16, Self::Int8];

    /// The precision of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.name() == name)
    }

    /// The name used on the command line and in requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
