//! Tensors as models declare them and as backends take them.

/// Element types of inputs and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// 64-bit integer.
    I64,
    /// 32-bit integer.
    I32,
    /// Unsigned byte.
    U8,
    /// Boolean, one byte each.
    Bool,
}

impl Dtype {
    /// The name used in files and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::U8 => "u8",
            Self::Bool => "bool",
        }
    }

    /// Bytes per element.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 => 2,
            Self::U8 | Self::Bool => 1,
        }
    }
}

/// One concrete input: shape, dtype and the range that random contents are drawn from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct InputSpec {
    /// The input's name in the model.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Concrete dimensions.
    pub shape: Vec<usize>,
    /// Least value; for token ids the least id.
    pub low: f64,
    /// Greatest value, exclusive for integers; for token ids the vocabulary size.
    pub high: f64,
    /// The axis that counts clips, where one does and nothing else.
    #[serde(default)]
    pub clips: Option<usize>,
    /// The axis that counts the frames of a clip, where one does and nothing else.
    #[serde(default)]
    pub frames: Option<usize>,
}

/// A tensor as plain little-endian bytes, row major.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorData {
    /// The name in the model.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Elements.
    pub bytes: Vec<u8>,
}
