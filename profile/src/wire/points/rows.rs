//! Between rows (all figures of one point) and columns (one figure of all points).

use super::super::WireError;
use super::super::layout::Points;
use super::super::varint::{pack, unpack};

/// Ends of a latency's intervals.
pub(super) const LATENCY_ENDS: usize = 8;

/// Ends of an energy's interval.
pub(super) const ENERGY_ENDS: usize = 2;

macro_rules! rows {
    ($($name:ident),* $(,)?) => {
        /// One point's figures as they travel; the names are those of [`Points`].
        #[derive(Debug, Clone, Default, PartialEq)]
        pub(super) struct Row {
            $(pub(super) $name: Option<i64>,)*
            pub(super) intervals: [Option<i64>; LATENCY_ENDS],
            pub(super) energy_interval_e3: [Option<i64>; ENERGY_ENDS],
        }

        /// Puts the columns of `rows` into `points`.
        pub(super) fn fill(points: &mut Points, rows: &[Row]) {
            $(points.$name = pack(rows.iter().map(|row| row.$name));)*
            points.intervals = pack(rows.iter().flat_map(|row| row.intervals));
            points.energy_interval_e3 = pack(rows.iter().flat_map(|row| row.energy_interval_e3));
        }

        /// The rows of `count` points.
        pub(super) fn rows(points: &Points, count: usize) -> Result<Vec<Row>, WireError> {
            let mut rows = vec![Row::default(); count];
            $(
                let column = unpack(stringify!($name), points.$name.as_ref(), count)?;
                for (row, value) in rows.iter_mut().zip(column) {
                    row.$name = value;
                }
            )*
            let ends = unpack("intervals", points.intervals.as_ref(), count * LATENCY_ENDS)?;
            for (row, ends) in rows.iter_mut().zip(ends.chunks_exact(LATENCY_ENDS)) {
                row.intervals.copy_from_slice(ends);
            }
            let ends = unpack("energy_interval_e3", points.energy_interval_e3.as_ref(), count * ENERGY_ENDS)?;
            for (row, ends) in rows.iter_mut().zip(ends.chunks_exact(ENERGY_ENDS)) {
                row.energy_interval_e3.copy_from_slice(ends);
            }
            Ok(rows)
        }
    };
}

rows! {
    variant, batch_size, clip_length, status, prepare_us, iterations, warmup_iterations, p50_ns_x2, sum_beyond_p50_ns, p95_beyond_p50_ns_x20,
    p99_beyond_p95_ns_x100, p999_beyond_p99_ns_x1000, min_below_p50_ns, max_beyond_percentile_ns, mad_e4,
    tau_x10, steady, elapsed_ns, compute_p50_ns_x2, deadline_misses, peak_memory_kib, device_memory_kib,
    minor_faults, major_faults, psi_some_us, swap_in_pages, mean_power_mw, energy_window_ms,
    energy_beyond_power_nj, idle_energy_beyond_idle_power_nj, compute_p95_ns_x20, compute_p99_ns_x100, h2d_p50_ns_x2,
    h2d_p99_ns_x100, d2h_p50_ns_x2, d2h_p99_ns_x100, engine_build_us,
    engine_bytes, engine_cached,
}
