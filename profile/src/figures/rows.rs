//! The table of figures: what is known of each.

use super::Figure;
use crate::summary::PointSummary;

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
    /// The same figure in the common state of a board that changed; absent where the state does not bear on it.
    pub comparable: Option<Figure>,
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
    FigureRow {
        figure,
        name,
        meaning,
        better: Better::Neither,
        floor: None,
        stored: None,
        wire: None,
        comparable: None,
        read,
    }
}

type Read = fn(&PointSummary) -> Option<f64>;

impl FigureRow {
    const fn compared(self, better: Better, floor: f64) -> Self {
        Self { better, floor: Some(floor), ..self }
    }

    const fn stored(self, stored: Stored) -> Self {
        Self { stored: Some(stored), ..self }
    }

    const fn comparable(self, figure: Figure) -> Self {
        Self { comparable: Some(figure), ..self }
    }

    const fn wire(self, wire: Option<WireColumn>) -> Self {
        Self { wire, ..self }
    }
}

/// Every figure, in the order of [`Figure`]. Floors are run-to-run variation that one run cannot see.
pub const ROWS: [FigureRow; 30] = [
    row(Figure::Iterations, "iterations", "iterations after the warm-up", |point| {
        Some(point.latency.as_ref()?.iterations as f64)
    })
    .stored(Stored::Int),
    row(Figure::Mean, "mean_ns", "mean latency", |point| Some(point.latency.as_ref()?.mean_ns))
        .stored(Stored::Real)
        .comparable(Figure::ComparableMean),
    row(Figure::P50, "p50_ns", "P50 latency", |point| Some(point.latency.as_ref()?.p50_ns))
        .compared(Better::Less, 0.02)
        .stored(Stored::Real)
        .comparable(Figure::ComparableP50),
    row(Figure::P95, "p95_ns", "P95 latency", |point| point.latency.as_ref()?.p95_ns).stored(Stored::Real),
    row(Figure::P99, "p99_ns", "P99 latency", |point| point.latency.as_ref()?.p99_ns)
        .compared(Better::Less, 0.05)
        .stored(Stored::Real)
        .comparable(Figure::ComparableP99),
    row(Figure::Max, "max_ns", "largest latency", |point| Some(point.latency.as_ref()?.max_ns as f64))
        .stored(Stored::Int),
    row(Figure::Mad, "mad_ns", "median absolute deviation of latency", |point| {
        Some(point.latency.as_ref()?.mad_ns)
    })
    .stored(Stored::Real),
    row(Figure::FramesPerSecond, "frames_per_s", "throughput", |point| point.frames_per_s)
        .compared(Better::More, 0.02)
        .stored(Stored::Real)
        .comparable(Figure::ComparableFramesPerSecond),
    row(Figure::EnergyPerFrame, "energy_per_frame_uj", "energy per frame", |point| {
        Some(point.energy?.gross_per_frame_uj)
    })
    .compared(Better::Less, 0.03)
    .stored(Stored::Real)
    .comparable(Figure::ComparableEnergyPerFrame),
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
    row(Figure::ComparableMean, "comparable_mean_ns", "mean latency in the common state", |point| {
        Some(point.comparable.as_ref()?.mean_ns)
    })
    .stored(Stored::Real),
    row(Figure::ComparableP50, "comparable_p50_ns", "P50 latency in the common state", |point| {
        Some(point.comparable.as_ref()?.p50_ns)
    })
    .stored(Stored::Real),
    row(Figure::ComparableP99, "comparable_p99_ns", "P99 latency in the common state", |point| {
        point.comparable.as_ref()?.p99_ns
    })
    .stored(Stored::Real),
    row(
        Figure::ComparableFramesPerSecond,
        "comparable_frames_per_s",
        "throughput in the common state",
        |point| Some(point.comparable.as_ref()?.frames_per_s),
    )
    .stored(Stored::Real),
    row(
        Figure::ComparableEnergyPerFrame,
        "comparable_energy_per_frame_uj",
        "energy per frame in the common state",
        |point| point.comparable.as_ref()?.energy_per_frame_uj,
    )
    .stored(Stored::Real),
];
