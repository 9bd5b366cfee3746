//! The figures of a point, each declared once.
//!
//! Terms: a figure's *name* is its key in the store, in exports and in JSON, and ends in its unit; its *floor* is the
//! relative difference that never counts in a comparison, however certain.
//!
//! The wire's columns of single numbers, the store's columns, exports, comparisons and trends iterate [`ROWS`]. To add
//! a figure, add its field to [`PointSummary`] and its row here. Figures that travel as a distance from another one
//! (percentiles, energy) have their columns in [`crate::wire`].
//!
//! A figure that depends on the state of the board has a second row, its figure in the *common state*: absent where the
//! board held still, because there the figure as measured is comparable.

mod rows;

pub use rows::{Better, FigureRow, ROWS, Stored, WireColumn};

use crate::summary::{Comparable, Interval, PointSummary};
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
    /// Mean latency in the common state of a board that changed during the sweep.
    ComparableMean,
    /// Median latency in that state.
    ComparableP50,
    /// P99 of latency in that state.
    ComparableP99,
    /// Frames completed a second in that state.
    ComparableFramesPerSecond,
    /// Energy per frame in that state.
    ComparableEnergyPerFrame,
}

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
        let comparable = |read: fn(&Comparable) -> Interval| point.comparable.as_ref().map(read);
        match self {
            Self::Mean => latency.mean_ci_ns,
            Self::P50 => latency.p50_ci_ns,
            Self::P95 => latency.p95_ci_ns,
            Self::P99 => latency.p99_ci_ns,
            Self::EnergyPerFrame => point.energy.map(|energy| energy.gross_ci_uj).unwrap_or_default(),
            Self::ComparableMean => comparable(|own| own.mean_ci_ns).unwrap_or_default(),
            Self::ComparableP50 => comparable(|own| own.p50_ci_ns).unwrap_or_default(),
            Self::ComparableP99 => comparable(|own| own.p99_ci_ns).unwrap_or_default(),
            Self::ComparableEnergyPerFrame => comparable(|own| own.energy_ci_uj).unwrap_or_default(),
            _ => Interval::default(),
        }
    }

    /// Its value with its 95 % interval in the state in which the points of a run are compared: as measured unless the
    /// board changed during the sweep.
    #[must_use]
    pub fn in_common_state(self, point: &PointSummary) -> Option<(f64, Interval)> {
        match (self.row().comparable, point.comparable) {
            (Some(figure), Some(_)) => Some((figure.of(point)?, figure.interval(point))),
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

    /// The value of `figure` in the state in which the points of a run are compared: as measured unless the board changed
    /// during the sweep.
    #[must_use]
    pub fn comparable(&self, figure: Figure) -> Option<f64> {
        match figure.row().comparable {
            Some(in_common_state) if self.moved() => self.get(in_common_state),
            _ => self.get(figure),
        }
    }

    /// Whether the board changed during the sweep, so that figures in a common state stand beside those as measured.
    #[must_use]
    pub const fn moved(&self) -> bool {
        self.get(Figure::ComparableMean).is_some()
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
    fn figures_in_the_common_state_stand_beside_those_as_measured_and_are_the_ones_compared() {
        let still = example::profile().points[0].clone();
        let mut moved = still.clone();
        moved.comparable = Some(example::comparable(&still, 1.25));
        for figure in Figure::all() {
            assert_eq!(figure.of(&moved).is_some(), Figures::of(&moved).get(figure).is_some(), "{figure}");
            let Some(in_common_state) = figure.row().comparable else { continue };
            assert_eq!(in_common_state.name(), format!("comparable_{figure}"));
            assert_eq!(in_common_state.of(&still), None, "absent where the board held still: {figure}");
            assert_eq!(Figures::of(&still).comparable(figure), figure.of(&still));
            assert_eq!(figure.of(&moved), figure.of(&still), "as measured: {figure}");
            let compared = Figures::of(&moved).comparable(figure);
            assert_eq!(compared, figure.in_common_state(&moved).map(|(value, _)| value), "{figure}");
            if let (Some(measured), Some(compared)) = (figure.of(&moved), compared) {
                let ratio = compared / measured;
                let planted = if figure.more_is_better() { 1.0 / 1.25 } else { 1.25 };
                assert!((ratio / planted - 1.0).abs() < 1e-9, "{figure}: {ratio}");
            }
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
