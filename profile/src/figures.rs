//! The figures of a point, each declared once.
//!
//! Terms: a figure's *name* is its key in the store, in exports and in JSON, and ends in its unit; its *floor* is the
//! relative difference that never counts in a comparison, however certain.
//!
//! The wire's columns of single numbers, the store's columns, exports, comparisons and trends iterate [`ROWS`]. To add
//! a figure, add its field to [`PointSummary`] and its row here. Figures that travel as a distance from another one
//! (percentiles, energy) have their columns in [`crate::wire`].

use crate::summary::{Interval, PointSummary};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// One figure of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// Iterations after the warm-up.
    Iterations,
    /// Mean latency.
    Mean,
    /// Median latency.
    P50,
    /// P95 of latency.
    P95,
    /// P99 of latency.
    P99,
    /// Largest latency.
    Max,
    /// Median absolute deviation of latency.
    Mad,
    /// Frames completed a second.
    FramesPerSecond,
    /// Energy per frame of the whole board.
    EnergyPerFrame,
    /// Peak memory, host and device.
    PeakMemory,
    /// Time to load and optimise the model.
    Prepare,
    /// Median of the compute time on the device.
    ComputeP50,
    /// Deadline misses under paced load.
    DeadlineMisses,
    /// Peak resident set of the worker.
    HostMemory,
    /// Memory of the device.
    DeviceMemory,
    /// Minor page faults.
    MinorFaults,
    /// Major page faults.
    MajorFaults,
    /// Stalls for lack of memory.
    PressureStalls,
    /// Pages swapped in.
    SwapIns,
    /// P95 of the compute time on the device.
    ComputeP95,
    /// P99 of the compute time on the device.
    ComputeP99,
    /// Median of the transfer to the device.
    HostToDeviceP50,
    /// P99 of the transfer to the device.
    HostToDeviceP99,
    /// Median of the transfer to the host.
    DeviceToHostP50,
    /// P99 of the transfer to the host.
    DeviceToHostP99,
}

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Less,
    /// More is better.
    More,
    /// Neither: it describes.
    Neither,
}

/// How the store holds a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// A whole number.
    Int,
    /// A floating-point number.
    Real,
}

/// How a figure travels: as a whole number of its own.
#[derive(Debug, Clone, Copy)]
pub struct WireColumn {
    /// Number of the column. Once given, it is never given again.
    pub code: u8,
    /// What the figure is multiplied with.
    pub scale: f64,
    /// Whether it is rounded up instead of to the nearest number.
    pub up: bool,
    /// The unit of the number, for documentation.
    pub unit: &'static str,
    /// Puts a figure that arrived into its point.
    pub write: fn(&mut PointSummary, f64),
}

impl WireColumn {
    /// `figure` as it travels.
    #[must_use]
    pub fn number(&self, figure: f64) -> f64 {
        let scaled = figure * self.scale;
        if self.up { scaled.ceil() } else { scaled.round() }
    }

    /// The figure of a number that arrived.
    #[must_use]
    pub fn figure(&self, number: u64) -> f64 {
        // One correctly rounded operation with a whole number: reference figures survive bit for bit.
        if self.scale < 1.0 { number as f64 * (1.0 / self.scale).round() } else { number as f64 / self.scale }
    }
}

/// What is known of a figure.
#[derive(Debug, Clone, Copy)]
pub struct FigureRow {
    /// Which one.
    pub figure: Figure,
    /// Its name, which ends in its unit.
    pub name: &'static str,
    /// What it is called in sentences.
    pub meaning: &'static str,
    /// Which way it is better.
    pub better: Better,
    /// Relative difference that never counts; absent where points are not compared by it.
    pub floor: Option<f64>,
    /// How the store holds it; absent where it does not.
    pub stored: Option<Stored>,
    /// How it travels; absent where it follows from others or travels relative to another.
    pub wire: Option<WireColumn>,
    /// Its value; absent where the point has none.
    pub read: fn(&PointSummary) -> Option<f64>,
}

macro_rules! column {
    ($code:literal, $scale:expr, $unit:literal, $field:ident: $type:ty) => {
        column!($code, $scale, $unit, $field: $type, up: false)
    };
    ($code:literal, $scale:expr, $unit:literal, $field:ident: $type:ty, up: $up:literal) => {
        Some(WireColumn {
            code: $code,
            scale: $scale,
            up: $up,
            unit: $unit,
            write: |point, value| point.$field = Some(value as $type),
        })
    };
}

const fn row(figure: Figure, name: &'static str, meaning: &'static str, read: Read) -> FigureRow {
    FigureRow { figure, name, meaning, better: Better::Neither, floor: None, stored: None, wire: None, read }
}

type Read = fn(&PointSummary) -> Option<f64>;

impl FigureRow {
    const fn compared(self, better: Better, floor: f64) -> Self {
        Self { better, floor: Some(floor), ..self }
    }

    const fn stored(self, stored: Stored) -> Self {
        Self { stored: Some(stored), ..self }
    }

    const fn wire(self, wire: Option<WireColumn>) -> Self {
        Self { wire, ..self }
    }
}

/// Every figure, in the order of [`Figure`]. Floors are run-to-run variation that one run cannot see.
pub const ROWS: [FigureRow; 25] = [
    row(Figure::Iterations, "iterations", "iterations after the warm-up", |point| {
        Some(point.latency.as_ref()?.iterations as f64)
    })
    .stored(Stored::Int),
    row(Figure::Mean, "mean_ns", "mean latency", |point| Some(point.latency.as_ref()?.mean_ns))
        .stored(Stored::Real),
    row(Figure::P50, "p50_ns", "P50 latency", |point| Some(point.latency.as_ref()?.p50_ns))
        .compared(Better::Less, 0.02)
        .stored(Stored::Real),
    row(Figure::P95, "p95_ns", "P95 latency", |point| point.latency.as_ref()?.p95_ns).stored(Stored::Real),
    row(Figure::P99, "p99_ns", "P99 latency", |point| point.latency.as_ref()?.p99_ns)
        .compared(Better::Less, 0.05)
        .stored(Stored::Real),
    row(Figure::Max, "max_ns", "largest latency", |point| Some(point.latency.as_ref()?.max_ns as f64))
        .stored(Stored::Int),
    row(Figure::Mad, "mad_ns", "median absolute deviation of latency", |point| {
        Some(point.latency.as_ref()?.mad_ns)
    })
    .stored(Stored::Real),
    row(Figure::FramesPerSecond, "frames_per_s", "throughput", |point| point.frames_per_s)
        .compared(Better::More, 0.02)
        .stored(Stored::Real),
    row(Figure::EnergyPerFrame, "energy_per_frame_uj", "energy per frame", |point| {
        Some(point.energy?.gross_per_frame_uj)
    })
    .compared(Better::Less, 0.03)
    .stored(Stored::Real),
    row(Figure::PeakMemory, "peak_memory_bytes", "peak memory", |point| {
        Some(point.peak_memory_bytes?.saturating_add(point.device_memory_bytes.unwrap_or(0)) as f64)
    })
    .compared(Better::Less, 0.03)
    .stored(Stored::Int),
    row(Figure::Prepare, "prepare_ns", "time to load and optimise the model", |point| {
        point.prepare_ns.map(|ns| ns as f64)
    })
    .wire(column!(5, 1e-3, "us", prepare_ns: u64)),
    row(Figure::ComputeP50, "compute_p50_ns", "compute time on the device, median", |point| {
        point.compute_p50_ns
    })
    .wire(column!(20, 2.0, "1/2 ns", compute_p50_ns: f64)),
    row(Figure::DeadlineMisses, "deadline_misses", "inferences that missed their deadline", |point| {
        point.deadline_misses.map(|count| count as f64)
    })
    .wire(column!(21, 1.0, "count", deadline_misses: u64)),
    row(Figure::HostMemory, "host_memory_bytes", "peak resident set of the worker", |point| {
        point.peak_memory_bytes.map(|bytes| bytes as f64)
    })
    .wire(column!(22, 1.0 / 1024.0, "KiB, rounded up", peak_memory_bytes: u64, up: true)),
    row(Figure::DeviceMemory, "device_memory_bytes", "memory of the device", |point| {
        point.device_memory_bytes.map(|bytes| bytes as f64)
    })
    .wire(column!(23, 1.0 / 1024.0, "KiB, rounded up", device_memory_bytes: u64, up: true)),
    row(Figure::MinorFaults, "minor_faults", "minor page faults while measuring", |point| {
        point.minor_faults.map(|count| count as f64)
    })
    .wire(column!(24, 1.0, "count", minor_faults: u64)),
    row(Figure::MajorFaults, "major_faults", "major page faults while measuring", |point| {
        point.major_faults.map(|count| count as f64)
    })
    .wire(column!(25, 1.0, "count", major_faults: u64)),
    row(Figure::PressureStalls, "psi_some_us", "memory-pressure stalls while measuring", |point| {
        point.psi_some_us.map(|us| us as f64)
    })
    .wire(column!(26, 1.0, "us", psi_some_us: u64)),
    row(Figure::SwapIns, "swap_in_pages", "pages swapped in while measuring", |point| {
        point.swap_in_pages.map(|count| count as f64)
    })
    .wire(column!(27, 1.0, "count", swap_in_pages: u64)),
    row(Figure::ComputeP95, "compute_p95_ns", "compute time on the device, P95", |point| {
        point.compute_p95_ns
    })
    .wire(column!(34, 20.0, "1/20 ns", compute_p95_ns: f64)),
    row(Figure::ComputeP99, "compute_p99_ns", "compute time on the device, P99", |point| {
        point.compute_p99_ns
    })
    .wire(column!(35, 100.0, "1/100 ns", compute_p99_ns: f64)),
    row(Figure::HostToDeviceP50, "h2d_p50_ns", "transfer to the device, median", |point| point.h2d_p50_ns)
        .wire(column!(36, 2.0, "1/2 ns", h2d_p50_ns: f64)),
    row(Figure::HostToDeviceP99, "h2d_p99_ns", "transfer to the device, P99", |point| point.h2d_p99_ns)
        .wire(column!(37, 100.0, "1/100 ns", h2d_p99_ns: f64)),
    row(Figure::DeviceToHostP50, "d2h_p50_ns", "transfer to the host, median", |point| point.d2h_p50_ns)
        .wire(column!(38, 2.0, "1/2 ns", d2h_p50_ns: f64)),
    row(Figure::DeviceToHostP99, "d2h_p99_ns", "transfer to the host, P99", |point| point.d2h_p99_ns)
        .wire(column!(39, 100.0, "1/100 ns", d2h_p99_ns: f64)),
];

impl Figure {
    /// Every figure.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.figure)
    }

    /// Figures by which points are compared, in the order in which they are shown.
    pub fn compared() -> impl Iterator<Item = Self> {
        ROWS.iter().filter(|row| row.floor.is_some()).map(|row| row.figure)
    }

    /// Figures that the store keeps, in the order of its columns.
    pub fn stored() -> impl Iterator<Item = (Self, Stored)> {
        ROWS.iter().filter_map(|row| Some((row.figure, row.stored?)))
    }

    /// Its row in the table.
    #[must_use]
    pub const fn row(self) -> &'static FigureRow {
        &ROWS[self as usize]
    }

    /// Its name, which ends in its unit.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The figure of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|figure| figure.name() == name)
    }

    /// Its value at `point`.
    #[must_use]
    pub fn of(self, point: &PointSummary) -> Option<f64> {
        (self.row().read)(point)
    }

    /// The 95 % interval of its value at `point`; without ends where there is none.
    #[must_use]
    pub fn interval(self, point: &PointSummary) -> Interval {
        let Some(latency) = point.latency.as_ref() else { return Interval::default() };
        match self {
            Self::Mean => latency.mean_ci_ns,
            Self::P50 => latency.p50_ci_ns,
            Self::P95 => latency.p95_ci_ns,
            Self::P99 => latency.p99_ci_ns,
            Self::EnergyPerFrame => point.energy.map(|energy| energy.gross_ci_uj).unwrap_or_default(),
            _ => Interval::default(),
        }
    }

    /// Its value with its 95 % interval in the state in which the points of a run are compared: as measured unless the
    /// board changed during the sweep.
    #[must_use]
    pub fn in_common_state(self, point: &PointSummary) -> Option<(f64, Interval)> {
        if point.comparable.is_none() {
            return Some((self.of(point)?, self.interval(point)));
        }
        match self {
            Self::Mean => point.comparable_mean(),
            Self::P50 => point.comparable_p50(),
            Self::P99 => point.comparable_p99(),
            Self::FramesPerSecond => Some((point.comparable_frames_per_s()?, Interval::default())),
            Self::EnergyPerFrame => point.comparable_energy(),
            _ => Some((self.of(point)?, self.interval(point))),
        }
    }

    /// Relative difference that never counts; 0 where points are not compared by it.
    #[must_use]
    pub fn floor(self) -> f64 {
        self.row().floor.unwrap_or(0.0)
    }

    /// Whether a larger value is better.
    #[must_use]
    pub fn more_is_better(self) -> bool {
        self.row().better == Better::More
    }
}

/// The values of figures, those that are known.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures([Option<f64>; ROWS.len()]);

impl Default for Figures {
    fn default() -> Self {
        Self([None; ROWS.len()])
    }
}

impl Figures {
    /// Every figure of `point`.
    #[must_use]
    pub fn of(point: &PointSummary) -> Self {
        let mut values = Self::default();
        Figure::all().for_each(|figure| values.set(figure, figure.of(point)));
        values
    }

    /// The value of `figure`.
    #[must_use]
    pub const fn get(&self, figure: Figure) -> Option<f64> {
        self.0[figure as usize]
    }

    /// Sets the value of `figure`.
    pub const fn set(&mut self, figure: Figure, value: Option<f64>) {
        self.0[figure as usize] = value;
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let unknown = || serde::de::Error::custom(format!("`{name}` is not a figure of a point"));
        Self::from_name(&name).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;
    use std::collections::BTreeSet;

    #[test]
    fn rows_stand_in_the_order_of_the_figures_and_names_are_unique() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.figure as usize, index, "{}", row.name);
            assert_eq!(Figure::from_name(row.name), Some(row.figure));
        }
        assert_eq!(ROWS.iter().map(|row| row.name).collect::<BTreeSet<_>>().len(), ROWS.len());
    }

    #[test]
    fn what_travels_as_a_number_of_its_own_is_written_where_it_is_read() {
        for row in &ROWS {
            let Some(wire) = row.wire else { continue };
            let mut point = example::profile().points[0].clone();
            (wire.write)(&mut point, 4096.0);
            assert_eq!((row.read)(&point), Some(4096.0), "{}", row.name);
        }
    }

    #[test]
    fn peak_memory_is_that_of_host_and_device() {
        let mut point = example::profile().points[0].clone();
        (point.peak_memory_bytes, point.device_memory_bytes) = (Some(1000), Some(24));
        assert_eq!(Figure::PeakMemory.of(&point), Some(1024.0));
        point.peak_memory_bytes = None;
        assert_eq!(Figure::PeakMemory.of(&point), None);
    }
}
