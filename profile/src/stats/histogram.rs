//! Log-bucket histogram of latencies with an exact tail, mergeable across devices.
//!
//! Terms: a *bucket* spans integers whose ratio is at most 101 / 99, so that one number represents each of
//! its values within 1 % (the guarantee of DDSketch: Masson, Rim, Lee, VLDB 12(12), 2019; the edges are
//! integers here, the same on every platform). The *tail* holds the largest 32 values exactly, so that the
//! reference P99 of up to about 3,000 iterations is exact. Histograms add up in any order, which percentiles
//! do not.
//!
//! Two forms: JSON (any human-readable serde format) with edges in nanoseconds, and bytes (CBOR) of about
//! 25 B for the buckets of 1,000 iterations plus the tail. Both are checked in full when read.
//!
//! What this does not do: order of time. Tau, intervals and steady states need the series.

mod buckets;
mod bytes;
mod form;

use crate::stats::quantile::Quantile;

/// Values kept exactly.
pub const TAIL_LENGTH: usize = 32;

/// Bound of the relative error of a value read from a bucket.
pub const RELATIVE_ERROR: f64 = 0.01;

/// Counts stop growing here; the encoding has room for no more.
const MAX_COUNT: u64 = u64::MAX >> 1;

/// A distribution of latencies in nanoseconds.
///
/// Invariants: `buckets` ascend without zero counts; `largest` descends, holds min(32, total) values or, once
/// dropped, none; every value of `largest` is counted in its bucket and no bucket holds one above them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: Vec<(u16, u64)>,
    largest: Vec<u64>,
}

/// A bucket with what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Smallest latency in it, nanoseconds.
    pub lower_ns: u64,
    /// Largest latency in it, nanoseconds.
    pub upper_ns: u64,
    /// Values in it.
    pub count: u64,
}

/// A quantile read from a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The value in nanoseconds.
    pub value_ns: f64,
    /// Whether it equals the reference figure of the values themselves; otherwise it is within 1 %.
    pub exact: bool,
}

/// Why bytes or JSON are no histogram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    /// The bytes end in the middle of a number.
    #[error(
        "histogram of {length} bytes ends in the middle of a number; it was cut off in transit or storage"
    )]
    Truncated {
        /// Bytes given.
        length: usize,
    },
    /// A number is outside its range.
    #[error("histogram has {what} = {value}, above {most}; it is corrupt or from a newer version")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// The number, saturated.
        value: u64,
        /// The largest permitted.
        most: u64,
    },
    /// The parts contradict each other.
    #[error("histogram contradicts itself: {what}; it is corrupt or was not written by clipmark")]
    Contradiction {
        /// What does not fit.
        what: &'static str,
    },
}

impl Histogram {
    /// The distribution of `latencies` in any order, nanoseconds.
    #[must_use]
    pub fn of(latencies: &[u64]) -> Self {
        let mut histogram = Self::default();
        for &latency in latencies {
            histogram.record(latency);
        }
        histogram
    }

    /// Counts one latency, nanoseconds.
    pub fn record(&mut self, latency: u64) {
        let complete = self.has_tail();
        self.add(buckets::index(latency), 1);
        if complete {
            let at = self.largest.partition_point(|&larger| larger >= latency);
            if at < TAIL_LENGTH {
                self.largest.insert(at, latency);
                self.largest.truncate(TAIL_LENGTH);
            }
        }
    }

    /// Adds another distribution, as if its values had been recorded here. Associative and commutative. The
    /// tail is the exact top 32 of both together, or dropped where either had dropped it.
    pub fn merge(&mut self, other: &Self) {
        let complete = self.has_tail() && other.has_tail();
        for &(index, count) in &other.buckets {
            self.add(index, count);
        }
        if complete {
            self.largest.extend(&other.largest);
            self.largest.sort_unstable_by(|a, b| b.cmp(a));
            self.largest.truncate(TAIL_LENGTH);
        } else {
            self.largest.clear();
        }
    }

    /// The same distribution without its exact tail: smaller, every quantile within 1 %.
    #[must_use]
    pub fn without_tail(&self) -> Self {
        Self { buckets: self.buckets.clone(), largest: Vec::new() }
    }

    /// Values counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.buckets.iter().fold(0, |total: u64, &(_, count)| total.saturating_add(count))
    }

    /// Whether the largest values are held exactly (an empty histogram holds all it has).
    #[must_use]
    pub fn has_tail(&self) -> bool {
        self.buckets.is_empty() || !self.largest.is_empty()
    }

    /// The largest values, descending, nanoseconds; empty once dropped.
    #[must_use]
    pub fn largest(&self) -> &[u64] {
        &self.largest
    }

    /// The buckets that count something, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.buckets.iter().map(|&(index, count)| {
            let (lower_ns, upper_ns) = buckets::bounds(index);
            Bucket { lower_ns, upper_ns, count }
        })
    }

    /// The reference quantile ([`crate::stats::quantile::reference`]): exact when both ranks lie in the tail,
    /// else within 1 %. `None` below two values, and where the figure extrapolates from inexact ones.
    #[must_use]
    pub fn quantile(&self, quantile: Quantile) -> Option<Estimate> {
        let total = self.total();
        let (rank, weight) = quantile.position(total)?;
        if let (Some(lower), Some(upper)) = (self.exact(total, rank), self.exact(total, rank + 1)) {
            return Some(Estimate { value_ns: quantile.interpolate(lower, upper, weight), exact: true });
        }
        if quantile.extrapolates(total) {
            return None;
        }
        let (lower, upper) = (self.approximate(total, rank)?, self.approximate(total, rank + 1)?);
        let share = quantile.share(weight);
        Some(Estimate { value_ns: lower + (upper - lower) * share, exact: false })
    }

    /// The value of a 1-based rank, when the tail holds it.
    fn exact(&self, total: u64, rank: u64) -> Option<u64> {
        self.largest.get(usize::try_from(total.checked_sub(rank)?).ok()?).copied()
    }

    /// The value of a 1-based rank within 1 %.
    fn approximate(&self, total: u64, rank: u64) -> Option<f64> {
        if let Some(value) = self.exact(total, rank) {
            return Some(value as f64);
        }
        let mut below = 0u64;
        for &(index, count) in &self.buckets {
            below = below.saturating_add(count);
            if below >= rank {
                return Some(buckets::representative(index));
            }
        }
        None
    }

    fn add(&mut self, index: u16, count: u64) {
        match self.buckets.binary_search_by_key(&index, |&(index, _)| index) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(count).min(MAX_COUNT),
            Err(at) => self.buckets.insert(at, (index, count.min(MAX_COUNT))),
        }
    }

    /// Builds a histogram from parts of unknown origin.
    fn from_parts(buckets: Vec<(u16, u64)>, largest: Vec<u64>) -> Result<Self, HistogramError> {
        let contradiction = |what| Err(HistogramError::Contradiction { what });
        if !buckets.is_sorted_by(|a, b| a.0 < b.0) {
            return contradiction("its buckets do not ascend");
        }
        if let Some(&(_, count)) = buckets.iter().find(|&&(_, count)| count == 0 || count > MAX_COUNT) {
            return Err(HistogramError::OutOfRange { what: "bucket count", value: count, most: MAX_COUNT });
        }
        if !largest.is_sorted_by(|a, b| a >= b) {
            return contradiction("its largest values do not descend");
        }
        let histogram = Self { buckets, largest };
        let held = histogram.largest.len() as u64;
        if held != 0 && held != histogram.total().min(TAIL_LENGTH as u64) {
            return contradiction("it holds neither all of its 32 largest values nor none");
        }
        if held != 0 && !histogram.tail_is_on_top() {
            return contradiction("its largest values are not those of its top buckets");
        }
        Ok(histogram)
    }

    /// Whether the tail's values, taken from the top, are exactly what the top buckets count.
    fn tail_is_on_top(&self) -> bool {
        let mut rest = self.largest.as_slice();
        for &(index, count) in self.buckets.iter().rev() {
            let inside = rest.iter().take_while(|&&value| buckets::index(value) == index).count();
            rest = &rest[inside..];
            if rest.is_empty() {
                return inside as u64 <= count;
            }
            if inside as u64 != count {
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
