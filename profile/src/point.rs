//! What is measured: a [`Variant`] (what is built) at a [`Shape`] (what it is given). [`crate::axis`] lists their axes.

pub use crate::precision::Precision;

use crate::axis::{Axis, AxisValue, Order};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::num::NonZeroU32;

/// What an engine is given: one value for each of [`Axis::SHAPE`].
///
/// Batch size and clip length are always there; an axis that a point does not vary is unset, and absent in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// In the order of [`Axis::SHAPE`]; 0 is unset.
    sizes: [u32; Axis::SHAPE.len()],
}

impl Shape {
    /// `batch` clips of `clip` frames. `None` when either is zero.
    #[must_use]
    pub fn new(batch: u32, clip: u32) -> Option<Self> {
        Self::of_sizes(&[batch, clip])
    }

    /// One clip of one frame.
    pub const UNIT: Self = {
        let mut sizes = [0; Axis::SHAPE.len()];
        (sizes[0], sizes[1]) = (1, 1);
        Self { sizes }
    };

    /// As [`Shape::new`], of counts that cannot be zero.
    #[must_use]
    pub const fn of(batch: NonZeroU32, clip: NonZeroU32) -> Self {
        let mut shape = Self::UNIT;
        (shape.sizes[0], shape.sizes[1]) = (batch.get(), clip.get());
        shape
    }

    /// The shape with these sizes, in the order of [`Axis::SHAPE`]; what is missing or 0 is unset. `None` without a
    /// batch size or a clip length, or with more sizes than there are axes.
    #[must_use]
    pub fn of_sizes(given: &[u32]) -> Option<Self> {
        let mut sizes = [0; Axis::SHAPE.len()];
        sizes.get_mut(..given.len())?.copy_from_slice(given);
        (sizes[0] > 0 && sizes[1] > 0).then_some(Self { sizes })
    }

    /// Its sizes in the order of [`Axis::SHAPE`], 0 where unset, without unset ones at the end.
    #[must_use]
    pub fn sizes(&self) -> &[u32] {
        let used = self.sizes.iter().rposition(|&size| size > 0).map_or(0, |last| last + 1);
        &self.sizes[..used]
    }

    /// Clips in one inference.
    #[must_use]
    pub const fn batch(self) -> u32 {
        self.sizes[0]
    }

    /// Frames in one clip. Models without a frames axis are measured at 1.
    #[must_use]
    pub const fn clip(self) -> u32 {
        self.sizes[1]
    }

    /// Frames between the starts of two clips of a stream: a whole clip where nothing else is said.
    #[must_use]
    pub fn hop(self) -> u32 {
        self.get(Axis::Hop).unwrap_or(self.clip())
    }

    /// The value of `axis`; `None` where it is unset or no axis of a shape.
    #[must_use]
    pub fn get(self, axis: Axis) -> Option<u32> {
        let place = Axis::SHAPE.iter().position(|own| *own == axis)?;
        Some(self.sizes[place]).filter(|&size| size > 0)
    }

    /// This shape with another value of `axis`. `None` where `axis` is no axis of a shape or `size` is 0.
    #[must_use]
    pub fn with(mut self, axis: Axis, size: u32) -> Option<Self> {
        let place = Axis::SHAPE.iter().position(|own| *own == axis)?;
        self.sizes[place] = size;
        (size > 0).then_some(self)
    }

    /// Frames that one inference completes: batch size times clip length.
    #[must_use]
    pub const fn frames(self) -> u64 {
        self.batch() as u64 * self.clip() as u64
    }

    /// Whether this shape needs at least as much as `other` on every ordered axis. What is unset on both sides does
    /// not count; what is unset on one side only cannot be ranked.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        let each = Axis::SHAPE.iter().zip(self.sizes.iter().zip(&other.sizes));
        each.into_iter().all(|(axis, (&own, &other))| match axis.row().order {
            _ if own == other => true,
            _ if own == 0 || other == 0 => false,
            Order::Ascending => own > other,
            Order::Descending => own < other,
            Order::Categorical => false,
        })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut apart = "";
        for axis in Axis::SHAPE {
            if let Some(size) = self.get(axis) {
                write!(f, "{apart}{}{size}", axis.row().label)?;
                apart = " ";
            }
        }
        Ok(())
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let set = Axis::SHAPE.into_iter().filter_map(|axis| Some((axis.column(), self.get(axis)?)));
        serializer.collect_map(set)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;
        impl<'de> Visitor<'de> for Sizes {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map with batch_size and clip_length")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
                const KEYS: [&str; Axis::SHAPE.len()] = shape_columns();
                let mut sizes = [0; Axis::SHAPE.len()];
                while let Some((key, size)) = map.next_entry::<String, u32>()? {
                    let place = KEYS.iter().position(|column| *column == key);
                    let place = place.ok_or_else(|| A::Error::unknown_field(&key, &KEYS))?;
                    sizes[place] = size;
                }
                let missing = "batch_size and clip_length must both be given and be at least 1";
                Shape::of_sizes(&sizes).ok_or_else(|| A::Error::custom(missing))
            }
        }
        deserializer.deserialize_map(Sizes)
    }
}

const fn shape_columns() -> [&'static str; Axis::SHAPE.len()] {
    let mut columns = [""; Axis::SHAPE.len()];
    let mut index = 0;
    while index < columns.len() {
        columns[index] = Axis::SHAPE[index].column();
        index += 1;
    }
    columns
}

/// What is built: one value for each of [`Axis::VARIANT`].
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
    /// Engines that run in parallel.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub instances: u32,
    /// The power mode that was set for it; absent where the board was left as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_mode: Option<String>,
}

const fn one() -> u32 {
    1
}

fn is_one(count: &u32) -> bool {
    *count == 1
}

impl Variant {
    /// One single-threaded engine in the model's own precision.
    pub fn new(model: impl Into<String>, backend: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            backend: backend.into(),
            precision: Precision::Model,
            threads: 1,
            instances: 1,
            power_mode: None,
        }
    }

    /// The value of `axis`; `None` where it is unset or no axis of a variant.
    #[must_use]
    pub fn get(&self, axis: Axis) -> Option<AxisValue> {
        match axis {
            Axis::Model => Some(AxisValue::Name(self.model.clone())),
            Axis::Backend => Some(AxisValue::Name(self.backend.clone())),
            Axis::Precision => Some(AxisValue::Name(self.precision.name().to_owned())),
            Axis::Threads => Some(AxisValue::Count(self.threads)),
            Axis::Instances => Some(AxisValue::Count(self.instances)),
            Axis::PowerMode => self.power_mode.clone().map(AxisValue::Name),
            Axis::BatchSize | Axis::ClipLength | Axis::Streams | Axis::Hop => None,
        }
    }

    /// Sets `axis` to what it is where nothing was asked for.
    pub fn clear(&mut self, axis: Axis) {
        let plain = Self::new("", "");
        match plain.get(axis) {
            Some(value) => drop(self.set(axis, value)),
            None if axis == Axis::PowerMode => self.power_mode = None,
            None => {}
        }
    }

    /// Sets `axis` to `value`; `false` where it is no axis of a variant or `value` is none of its values. A precision
    /// of a later version becomes [`Precision::Unknown`].
    pub fn set(&mut self, axis: Axis, value: AxisValue) -> bool {
        match (axis, value) {
            (Axis::Model, AxisValue::Name(name)) => self.model = name,
            (Axis::Backend, AxisValue::Name(name)) => self.backend = name,
            (Axis::Precision, AxisValue::Name(name)) => {
                self.precision = Precision::from_name(&name).unwrap_or(Precision::Unknown);
            }
            (Axis::Threads, AxisValue::Count(count)) => self.threads = count,
            (Axis::Instances, AxisValue::Count(count)) => self.instances = count,
            (Axis::PowerMode, AxisValue::Name(name)) => self.power_mode = Some(name),
            _ => return false,
        }
        true
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} ({}", self.model, self.backend, self.precision)?;
        for axis in [Axis::Threads, Axis::Instances] {
            match self.get(axis) {
                Some(AxisValue::Count(count)) if count > 1 => write!(f, ", {count} {}", axis.row().unit)?,
                _ => {}
            }
        }
        if let Some(mode) = &self.power_mode {
            write!(f, ", {mode}")?;
        }
        f.write_str(")")
    }
}

/// A variant, by its index in the plan, at one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PointId {
    /// Index into the plan's variants.
    pub variant: u16,
    /// What the variant is given.
    pub shape: Shape,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(batch: u32, clip: u32) -> Shape {
        Shape::new(batch, clip).unwrap()
    }

    #[test]
    fn a_shape_covers_those_that_need_no_more_on_any_ordered_axis() {
        let streams = |count| shape(1, 8).with(Axis::Streams, count).unwrap();
        let hop = |frames| shape(1, 8).with(Axis::Hop, frames).unwrap();
        assert!(shape(2, 16).covers(shape(1, 16)) && shape(2, 16).covers(shape(2, 16)));
        assert!(!shape(2, 8).covers(shape(1, 16)) && !shape(1, 16).covers(shape(2, 8)));
        assert!(streams(4).covers(streams(2)) && !streams(2).covers(streams(4)));
        assert!(hop(4).covers(hop(8)) && !hop(8).covers(hop(4)));
        assert!(!streams(4).covers(shape(1, 8)) && !shape(2, 8).covers(streams(1)));
    }

    #[test]
    fn a_shape_is_written_with_the_axes_that_are_set() {
        let streams = shape(1, 8).with(Axis::Streams, 4).unwrap();
        assert_eq!(shape(1, 8).to_string(), "B1 T8");
        assert_eq!(streams.to_string(), "B1 T8 S4");
        let json = |shape: Shape| serde_json::to_string(&shape).unwrap();
        assert_eq!(json(shape(1, 8)), r#"{"batch_size":1,"clip_length":8}"#);
        assert_eq!(json(streams), r#"{"batch_size":1,"clip_length":8,"streams":4}"#);
        for shape in [shape(1, 8), streams] {
            assert_eq!(serde_json::from_str::<Shape>(&json(shape)).unwrap(), shape);
            assert_eq!(Shape::of_sizes(shape.sizes()), Some(shape));
        }
    }

    #[test]
    fn a_shape_without_its_sizes_or_with_unknown_ones_is_refused() {
        for wrong in [
            r#"{"batch_size":1}"#,
            r#"{"batch_size":0,"clip_length":8}"#,
            r#"{"batch_size":1,"clip_length":8,"depth":2}"#,
            r#"{"batch_size":-1,"clip_length":8}"#,
        ] {
            assert!(serde_json::from_str::<Shape>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Shape::of_sizes(&[1, 8, 0, 0, 7]), None);
        assert_eq!(shape(1, 8).with(Axis::Model, 1), None);
    }

    #[test]
    fn every_axis_of_a_variant_is_set_and_read_back() {
        let mut variant = Variant::new("m", "tract");
        for axis in Axis::VARIANT {
            let value = match axis.row().domain {
                crate::axis::Domain::Count { .. } => AxisValue::Count(3),
                crate::axis::Domain::Choice(names) => AxisValue::Name(names[1].into()),
                crate::axis::Domain::Name { .. } => AxisValue::Name("x".into()),
            };
            assert!(variant.set(axis, value.clone()), "{axis}");
            assert_eq!(variant.get(axis), Some(value), "{axis}");
        }
        for axis in Axis::SHAPE {
            assert_eq!(variant.get(axis), None);
            assert!(!variant.set(axis, AxisValue::Count(1)));
        }
        assert_eq!(variant.to_string(), "x on x (fp32, 3 threads, 3 instances, x)");
    }
}
