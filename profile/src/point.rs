//! What is measured: a variant (model, backend, precision, threads) at one batch size and clip length.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;

/// Frames in one clip. Models without a frames axis are measured at clip length 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClipLength(pub NonZeroU32);

/// Clips in one inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchSize(pub NonZeroU32);

impl ClipLength {
    /// `None` for zero.
    #[must_use]
    pub fn new(frames: u32) -> Option<Self> {
        NonZeroU32::new(frames).map(Self)
    }

    /// Frames in the clip.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl BatchSize {
    /// `None` for zero.
    #[must_use]
    pub fn new(clips: u32) -> Option<Self> {
        NonZeroU32::new(clips).map(Self)
    }

    /// Clips in the batch.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// One cell of the grid that a sweep walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Clips in one inference.
    pub batch_size: BatchSize,
    /// Frames in one clip.
    pub clip_length: ClipLength,
}

impl Shape {
    /// `None` when either is zero.
    #[must_use]
    pub fn new(batch_size: u32, clip_length: u32) -> Option<Self> {
        Some(Self { batch_size: BatchSize::new(batch_size)?, clip_length: ClipLength::new(clip_length)? })
    }

    /// Frames that one inference completes: batch size times clip length.
    #[must_use]
    pub const fn frames(self) -> u64 {
        self.batch_size.get() as u64 * self.clip_length.get() as u64
    }

    /// Whether this point needs at least as much as `other` on both axes.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.batch_size >= other.batch_size && self.clip_length >= other.clip_length
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "B{} T{}", self.batch_size.get(), self.clip_length.get())
    }
}

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
}

impl Precision {
    /// All of them.
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
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is put to the test, apart from the grid: one row of engines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Variant {
    /// The model's name: a built-in's, or the file's stem.
    pub model: String,
    /// The backend's registry name, e.g. `tract`.
    pub backend: String,
    /// Precision asked of the backend.
    pub precision: Precision,
    /// Threads given to the backend; 1 is single-threaded.
    pub threads: u32,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} ({}", self.model, self.backend, self.precision)?;
        if self.threads > 1 {
            write!(f, ", {} threads", self.threads)?;
        }
        f.write_str(")")
    }
}

/// A variant, by its index in the plan, at one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PointId {
    /// Index into the plan's variants.
    pub variant: u16,
    /// The grid point.
    pub shape: Shape,
}
