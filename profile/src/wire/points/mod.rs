//! Points to and from columns.
//!
//! Each percentile travels as the distance from the one below it, in the denominator that makes it whole;
//! docs/wire.md has the formulas. What follows from other columns (mean, throughput, whether P99
//! extrapolates) does not travel.

mod decode;
mod encode;
mod rows;

pub(super) use decode::decode;
pub(super) use encode::encode;
#[cfg(test)]
pub(in crate::wire) use rows::{Described, described};

use super::WireError;
use super::scale::product;
use crate::point::Shape;

/// Most points in one profile: a column of one number stands for any count of them.
const MAX_POINTS: u32 = 16_384;

/// A latency's percentiles as whole numbers.
#[derive(Clone, Copy)]
struct Percentiles {
    p50_x2: i64,
    p95_x20: Option<i64>,
    p99_x100: Option<i64>,
    p999_x1000: Option<i64>,
}

impl Percentiles {
    /// What P95 is counted from, in twentieths.
    fn below_p95(self) -> Result<i64, WireError> {
        product("P95", self.p50_x2, 10)
    }

    /// What P99 is counted from, in hundredths.
    fn below_p99(self) -> Result<i64, WireError> {
        self.p95_x20.map_or_else(|| product("P99", self.p50_x2, 50), |p95| product("P99", p95, 5))
    }

    /// What P99.9 is counted from, in thousandths.
    fn below_p999(self) -> Result<i64, WireError> {
        self.p99_x100.map_or_else(|| product("P99.9", self.p50_x2, 500), |p99| product("P99.9", p99, 10))
    }

    /// What the maximum is counted from, in nanoseconds.
    fn below_max(self) -> i64 {
        let floors = [(self.p999_x1000, 1000), (self.p99_x100, 100), (self.p95_x20, 20)];
        floors
            .into_iter()
            .find_map(|(value, parts)| Some(value?.div_euclid(parts)))
            .unwrap_or_else(|| self.p50_x2.div_euclid(2))
    }

    /// Iterations times the median, rounded down.
    fn typical_sum(self, iterations: i64) -> Result<i64, WireError> {
        Ok(product("the summed latency", iterations, self.p50_x2)?.div_euclid(2))
    }
}

/// Batch size x iterations / time; `None` without time.
fn clips_per_s(at: Shape, iterations: u64, elapsed_ns: u64) -> Option<f64> {
    let clips = f64::from(at.batch()) * iterations as f64;
    (elapsed_ns > 0).then(|| clips * 1e9 / elapsed_ns as f64)
}

/// Energy per frame in nJ that follows from mean power over a window; 0 without frames or beyond 2^63.
fn energy_of_power(power_mw: i64, window_ms: i64, frames: i128) -> i64 {
    let energy_nj = i128::from(power_mw) * i128::from(window_ms) * 1000;
    energy_nj.checked_div_euclid(frames).and_then(|nj| i64::try_from(nj).ok()).unwrap_or(0)
}

/// The idle share of `gross_nj` that follows from idle and mean power; 0 where either is unknown.
fn idle_of_gross(gross_nj: i64, idle_uw: Option<i64>, power_mw: i64) -> i64 {
    let share = i128::from(gross_nj) * i128::from(idle_uw.unwrap_or(0));
    share.checked_div_euclid(i128::from(power_mw) * 1000).and_then(|nj| i64::try_from(nj).ok()).unwrap_or(0)
}

/// Frames of all iterations.
fn frames(at: Shape, iterations: i64) -> i128 {
    i128::from(at.frames()) * i128::from(iterations)
}
