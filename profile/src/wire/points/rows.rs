//! Between rows (all figures of one point) and columns (one figure of all points).

use super::super::WireError;
use super::super::layout::Blob;
use super::super::varint::{pack, unpack};
use crate::figures::{ROWS, WireColumn};
use std::collections::BTreeMap;

/// Ends of a latency's intervals.
pub(super) const LATENCY_ENDS: usize = 8;

/// Ends of an energy's interval.
pub(super) const ENERGY_ENDS: usize = 2;

/// Columns by their code.
pub(super) type Columns = BTreeMap<u8, Blob>;

/// What a column holds, for documentation.
#[cfg(test)]
pub(in crate::wire) struct Described {
    pub(in crate::wire) code: u8,
    pub(in crate::wire) name: &'static str,
    pub(in crate::wire) meaning: &'static str,
}

/// The figures that travel as numbers of their own, with their names.
pub(super) fn plain() -> impl Iterator<Item = (&'static str, WireColumn)> {
    ROWS.iter().filter_map(|row| Some((row.name, row.wire?)))
}

/// Puts `numbers`, of which each point has the same count, into the column `code`.
fn put(columns: &mut Columns, code: u8, numbers: impl Iterator<Item = Option<i64>>) {
    if let Some(column) = pack(numbers) {
        columns.insert(code, column);
    }
}

macro_rules! rows {
    ($($(#[doc = $meaning:literal])* $name:ident = $code:literal $([$ends:ident])?,)*) => {
        /// One point's figures as they travel.
        #[derive(Debug, Clone, PartialEq)]
        pub(super) struct Row {
            $($(#[doc = $meaning])* pub(super) $name: rows!(@type $($ends)?),)*
            /// In the order of [`plain`].
            pub(super) plain: Vec<Option<i64>>,
        }

        impl Default for Row {
            fn default() -> Self {
                Self { $($name: rows!(@none $($ends)?),)* plain: vec![None; plain().count()] }
            }
        }

        /// The columns of `rows`.
        pub(super) fn columns(rows: &[Row]) -> Columns {
            let mut columns = Columns::new();
            $(put(&mut columns, $code, rows!(@pack rows $name $($ends)?));)*
            for (place, (_, wire)) in plain().enumerate() {
                put(&mut columns, wire.code, rows.iter().map(|row| row.plain[place]));
            }
            columns
        }

        /// The rows of `count` points. Columns that this version does not know are skipped.
        pub(super) fn rows(columns: &Columns, count: usize) -> Result<Vec<Row>, WireError> {
            let mut rows = vec![Row::default(); count];
            $(rows!(@unpack rows columns count $name $code $($ends)?);)*
            for (place, (name, wire)) in plain().enumerate() {
                let numbers = unpack(name, columns.get(&wire.code), count)?;
                rows.iter_mut().zip(numbers).for_each(|(row, number)| row.plain[place] = number);
            }
            Ok(rows)
        }

        /// Every column, for documentation.
        #[cfg(test)]
        pub(in crate::wire) fn described() -> Vec<Described> {
            let mut all = vec![
                $(Described { code: $code, name: stringify!($name), meaning: concat!($($meaning),*) },)*
            ];
            all.extend(ROWS.iter().filter_map(|row| {
                Some(Described { code: row.wire?.code, name: row.name, meaning: row.wire?.unit })
            }));
            all.sort_by_key(|column| column.code);
            all
        }
    };
    (@type) => { Option<i64> };
    (@type $ends:ident) => { [Option<i64>; $ends] };
    (@none) => { None };
    (@none $ends:ident) => { [None; $ends] };
    (@pack $rows:ident $name:ident) => { $rows.iter().map(|row| row.$name) };
    (@pack $rows:ident $name:ident $ends:ident) => { $rows.iter().flat_map(|row| row.$name) };
    (@unpack $rows:ident $columns:ident $count:ident $name:ident $code:literal) => {
        let numbers = unpack(stringify!($name), $columns.get(&$code), $count)?;
        $rows.iter_mut().zip(numbers).for_each(|(row, number)| row.$name = number);
    };
    (@unpack $rows:ident $columns:ident $count:ident $name:ident $code:literal $ends:ident) => {
        let numbers = unpack(stringify!($name), $columns.get(&$code), $count * $ends)?;
        for (row, ends) in $rows.iter_mut().zip(numbers.chunks_exact($ends)) {
            row.$name.copy_from_slice(ends);
        }
    };
}

// A code, once given, is never given again.
rows! {
    /// code
    status = 4,
    /// null without latency
    iterations = 6,
    /// count
    warmup_iterations = 7,
    /// 1/2 ns
    p50_ns_x2 = 8,
    /// ns, less floor(iterations x P50)
    sum_beyond_p50_ns = 9,
    /// 1/20 ns, less P50
    p95_beyond_p50_ns_x20 = 10,
    /// 1/100 ns, less P95 (P50 where absent)
    p99_beyond_p95_ns_x100 = 11,
    /// 1/1000 ns, less P99
    p999_beyond_p99_ns_x1000 = 12,
    /// ns, floor(P50) less the minimum
    min_below_p50_ns = 13,
    /// ns, less the floor of the highest percentile present
    max_beyond_percentile_ns = 14,
    /// 1/10,000 of P50
    mad_e4 = 15,
    /// mean, P50, P95, P99, lower then upper, eight numbers a point: distance from the figure in 1/10,000 (mean, P50) or 1/1,000 (P95, P99) of it, rounded outward
    intervals = 16 [LATENCY_ENDS],
    /// 1/10, rounded up
    tau_x10 = 17,
    /// code
    steady = 18,
    /// ns for all iterations; absent: the sum of latencies; 0: no throughput
    elapsed_ns = 19,
    /// mW
    mean_power_mw = 29,
    /// ms
    energy_window_ms = 30,
    /// nJ gross per frame, less power x window / frames, rounded down
    energy_beyond_power_nj = 31,
    /// nJ idle per frame (gross less net), less gross x idle power / mean power, rounded down
    idle_energy_beyond_idle_power_nj = 32,
    /// of the gross energy, two numbers a point: 1/1,000, as column 16
    energy_interval_e3 = 33 [ENERGY_ENDS],
    /// us that the build of the point's engine took; only of backends that build engines
    engine_build_us = 40,
    /// bytes
    engine_bytes = 41,
    /// whether that engine was taken from the cache: 1 yes, 0 no
    engine_cached = 42,
}
