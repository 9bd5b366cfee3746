//! The axes of a deployment: the one table that says what can vary between two points.
//!
//! Terms: an *axis* is one choice that a deployment makes; the axes of a [`Variant`](crate::point::Variant) say what
//! is built, those of a [`Shape`](crate::point::Shape) what it is given. The *cost* of an axis is what must be set up
//! anew when its value changes.
//!
//! Whatever lists axes iterates [`Axis::ALL`] (or [`Axis::VARIANT`], [`Axis::SHAPE`]): validation of requests, help,
//! forms, labels, wire, store, export and comparison. To add an axis, add its row to [`ROWS`] and the field that
//! holds its value.

use crate::precision::Precision;
use std::fmt;

/// One choice that a deployment makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Axis {
    /// The power mode of the board.
    PowerMode,
    /// The model, by name.
    Model,
    /// The backend, by its registry name.
    Backend,
    /// Numeric precision asked of the backend.
    Precision,
    /// Threads per inference.
    Threads,
    /// Engines that run in parallel.
    Instances,
    /// Clips in one inference.
    BatchSize,
    /// Frames in one clip.
    ClipLength,
    /// Streams offered at once.
    Streams,
    /// Frames between the starts of two clips of a stream.
    Hop,
}

/// What must be set up anew when an axis changes, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cost {
    /// Only what is offered to the engine.
    Load,
    /// The engine.
    Engine,
    /// The state of the whole board.
    Board,
}

/// Whether a larger value asks more of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// A larger value needs at least as much.
    Ascending,
    /// A smaller value needs at least as much.
    Descending,
    /// Values cannot be ranked.
    Categorical,
}

/// What values an axis takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Whole numbers from 1 to this bound. A configuration may lower it.
    Count {
        /// Largest value.
        most: u32,
    },
    /// One of these names.
    Choice(&'static [&'static str]),
    /// Any name of at most this many bytes.
    Name {
        /// Longest name in bytes.
        longest: usize,
    },
}

/// What is known of an axis.
#[derive(Debug, Clone, Copy)]
pub struct AxisRow {
    /// Which one.
    pub axis: Axis,
    /// Its name in sentences, in the singular.
    pub name: &'static str,
    /// Its name beside a value, e.g. the `batch` of `batch 4`.
    pub short: &'static str,
    /// What stands before a value in short labels, e.g. the `B` of `B4`.
    pub label: &'static str,
    /// The unit of a number.
    pub unit: &'static str,
    /// Its flag on the command line; absent where the command line cannot set it.
    pub flag: Option<&'static str>,
    /// Its key in a request, which holds a list; absent where a request cannot ask for it.
    pub request_key: Option<&'static str>,
    /// Its column in the store and in exports, and its key in JSON.
    pub column: &'static str,
    /// Its number on the wire, among the axes of a variant or of a shape.
    pub code: u8,
    /// What values it takes.
    pub domain: Domain,
    /// How values rank.
    pub order: Order,
    /// What a change costs.
    pub cost: Cost,
    /// One sentence for help and forms.
    pub help: &'static str,
}

const PRECISIONS: [&str; Precision::ALL.len()] = {
    let mut names = [""; Precision::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = Precision::ALL[index].name();
        index += 1;
    }
    names
};

/// Every axis, in the order of [`Axis`].
pub const ROWS: [AxisRow; 10] = [
    AxisRow {
        axis: Axis::PowerMode,
        name: "power mode",
        short: "mode",
        label: "",
        unit: "",
        flag: None,
        request_key: None,
        column: "power_mode",
        code: 5,
        domain: Domain::Name { longest: 64 },
        order: Order::Categorical,
        cost: Cost::Board,
        help: "Power mode of the board",
    },
    AxisRow {
        axis: Axis::Model,
        name: "model",
        short: "model",
        label: "",
        unit: "",
        flag: None,
        request_key: Some("models"),
        column: "model",
        code: 0,
        domain: Domain::Name { longest: 4096 },
        order: Order::Categorical,
        cost: Cost::Engine,
        help: "Models: built-in ones by name, or ONNX files",
    },
    AxisRow {
        axis: Axis::Backend,
        name: "backend",
        short: "backend",
        label: "",
        unit: "",
        flag: Some("backend"),
        request_key: Some("backends"),
        column: "backend",
        code: 1,
        domain: Domain::Name { longest: 64 },
        order: Order::Categorical,
        cost: Cost::Engine,
        help: "Backends; auto takes tensorrt where it can be used, else tract",
    },
    AxisRow {
        axis: Axis::Precision,
        name: "precision",
        short: "precision",
        label: "",
        unit: "",
        flag: Some("precision"),
        request_key: Some("precisions"),
        column: "precision",
        code: 2,
        domain: Domain::Choice(&PRECISIONS),
        order: Order::Categorical,
        cost: Cost::Engine,
        help: "Numeric precisions asked of the backend",
    },
    AxisRow {
        axis: Axis::Threads,
        name: "threads",
        short: "thr",
        label: "",
        unit: "threads",
        flag: Some("threads"),
        request_key: Some("threads"),
        column: "threads",
        code: 3,
        domain: Domain::Count { most: 256 },
        order: Order::Categorical,
        cost: Cost::Engine,
        help: "Threads per inference",
    },
    AxisRow {
        axis: Axis::Instances,
        name: "instances",
        short: "inst",
        label: "",
        unit: "instances",
        flag: Some("instances"),
        request_key: Some("instances"),
        column: "instances",
        code: 4,
        domain: Domain::Count { most: 64 },
        order: Order::Categorical,
        cost: Cost::Engine,
        help: "Engines that serve streams in parallel",
    },
    AxisRow {
        axis: Axis::BatchSize,
        name: "batch size",
        short: "batch",
        label: "B",
        unit: "clips",
        flag: Some("batch-sizes"),
        request_key: Some("batch_sizes"),
        column: "batch_size",
        code: 0,
        domain: Domain::Count { most: 1024 },
        order: Order::Ascending,
        cost: Cost::Engine,
        help: "Batch sizes in clips",
    },
    AxisRow {
        axis: Axis::ClipLength,
        name: "clip length",
        short: "clip",
        label: "T",
        unit: "frames",
        flag: Some("clip-lengths"),
        request_key: Some("clip_lengths"),
        column: "clip_length",
        code: 1,
        domain: Domain::Count { most: 4096 },
        order: Order::Ascending,
        cost: Cost::Engine,
        help: "Clip lengths in frames",
    },
    AxisRow {
        axis: Axis::Streams,
        name: "streams",
        short: "streams",
        label: "S",
        unit: "streams",
        flag: None,
        request_key: None,
        column: "streams",
        code: 2,
        domain: Domain::Count { most: 4096 },
        order: Order::Ascending,
        cost: Cost::Load,
        help: "Streams offered at once",
    },
    AxisRow {
        axis: Axis::Hop,
        name: "hop",
        short: "hop",
        label: "H",
        unit: "frames",
        flag: None,
        request_key: None,
        column: "hop",
        code: 3,
        domain: Domain::Count { most: 4096 },
        order: Order::Descending,
        cost: Cost::Load,
        help: "Frames between the starts of two clips of a stream",
    },
];

impl Axis {
    /// Every axis, the dearest to change first.
    pub const ALL: [Self; ROWS.len()] = {
        let mut all = [Self::PowerMode; ROWS.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = ROWS[index].axis;
            index += 1;
        }
        all
    };

    /// The axes of a [`Variant`](crate::point::Variant), in the order of their wire codes.
    pub const VARIANT: [Self; 6] =
        [Self::Model, Self::Backend, Self::Precision, Self::Threads, Self::Instances, Self::PowerMode];

    /// The axes of a [`Shape`](crate::point::Shape), in the order of their wire codes.
    pub const SHAPE: [Self; 4] = [Self::BatchSize, Self::ClipLength, Self::Streams, Self::Hop];

    /// Its row in the table.
    #[must_use]
    pub const fn row(self) -> &'static AxisRow {
        &ROWS[self as usize]
    }

    /// Its name in sentences.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Its column in the store and in exports, and its key in JSON.
    #[must_use]
    pub const fn column(self) -> &'static str {
        self.row().column
    }

    /// The axis with this key in a request.
    #[must_use]
    pub fn from_request_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|axis| axis.row().request_key == Some(key))
    }

    /// The axis with this column.
    #[must_use]
    pub fn from_column(column: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|axis| axis.column() == column)
    }

    /// Reads one value as people write it.
    ///
    /// # Errors
    /// The text is no value of this axis.
    pub fn parse(self, text: &str) -> Result<AxisValue, AxisError> {
        let row = self.row();
        let refused =
            |expected: String| AxisError { axis: self, found: text.chars().take(40).collect(), expected };
        match row.domain {
            Domain::Count { most } => text
                .parse()
                .ok()
                .filter(|count| (1..=most).contains(count))
                .map(AxisValue::Count)
                .ok_or_else(|| refused(format!("a whole number from 1 to {most}"))),
            Domain::Choice(names) => names
                .iter()
                .find(|name| **name == text)
                .map(|name| AxisValue::Name((*name).to_owned()))
                .ok_or_else(|| refused(format!("one of {}", names.join(", ")))),
            Domain::Name { longest } => Some(text)
                .filter(|name| (1..=longest).contains(&name.len()))
                .map(|name| AxisValue::Name(name.to_owned()))
                .ok_or_else(|| refused(format!("a name of 1 to {longest} bytes"))),
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value of an axis.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AxisValue {
    /// Of an axis of counts.
    Count(u32),
    /// Of an axis of names.
    Name(String),
}

impl AxisValue {
    /// The count, where it is one.
    #[must_use]
    pub const fn count(&self) -> Option<u32> {
        match self {
            Self::Count(count) => Some(*count),
            Self::Name(_) => None,
        }
    }
}

impl fmt::Display for AxisValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A text that is no value of an axis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{axis}: `{found}` is not {expected}")]
pub struct AxisError {
    /// Which axis.
    pub axis: Axis,
    /// The text, at most 40 characters of it.
    pub found: String,
    /// What it takes.
    pub expected: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rows_stand_in_the_order_of_the_axes_and_the_dearest_come_first() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.axis as usize, index, "{}", row.name);
        }
        assert!(ROWS.windows(2).all(|pair| pair[0].cost >= pair[1].cost));
    }

    #[test]
    fn every_axis_belongs_to_a_variant_or_a_shape_with_its_place_as_code() {
        let parts: Vec<Axis> = Axis::VARIANT.into_iter().chain(Axis::SHAPE).collect();
        assert_eq!(parts.iter().collect::<BTreeSet<_>>(), Axis::ALL.iter().collect());
        for part in [&Axis::VARIANT[..], &Axis::SHAPE] {
            for (index, axis) in part.iter().enumerate() {
                assert_eq!(usize::from(axis.row().code), index, "{axis}");
            }
        }
    }

    #[test]
    fn names_keys_flags_and_columns_are_unique() {
        let unique = |texts: Vec<&str>| texts.iter().collect::<BTreeSet<_>>().len() == texts.len();
        assert!(unique(ROWS.iter().map(|row| row.name).collect()));
        assert!(unique(ROWS.iter().map(|row| row.column).collect()));
        assert!(unique(ROWS.iter().filter_map(|row| row.flag).collect()));
        assert!(unique(ROWS.iter().filter_map(|row| row.request_key).collect()));
    }

    #[test]
    fn a_value_is_read_or_refused_with_what_it_may_be() {
        assert_eq!(Axis::BatchSize.parse("4"), Ok(AxisValue::Count(4)));
        assert_eq!(Axis::Precision.parse("fp16"), Ok(AxisValue::Name("fp16".into())));
        for (axis, text) in
            [(Axis::BatchSize, "0"), (Axis::ClipLength, "x"), (Axis::Precision, "fp17"), (Axis::Model, "")]
        {
            let error = axis.parse(text).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{axis}: `{text}` is not ")), "{error}");
        }
    }
}
