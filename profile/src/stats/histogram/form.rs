//! The serde forms of a histogram: named fields where people read it, bytes where machines do.

use super::{Histogram, HistogramError, RELATIVE_ERROR, buckets};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The form of JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Readable {
    /// Bound of the relative error within a bucket.
    relative_error: f64,
    /// Smallest latency of each bucket, nanoseconds, with its count.
    buckets: Vec<(u64, u64)>,
    /// The largest latencies, descending.
    largest_ns: Vec<u64>,
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(&self.to_bytes());
        }
        let buckets = self.buckets().map(|bucket| (bucket.lower_ns, bucket.count)).collect();
        let largest_ns = self.largest.clone();
        Readable { relative_error: RELATIVE_ERROR, buckets, largest_ns }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return deserializer.deserialize_bytes(BytesVisitor);
        }
        let readable = Readable::deserialize(deserializer)?;
        if readable.relative_error != RELATIVE_ERROR {
            let found = readable.relative_error;
            return Err(D::Error::custom(format!(
                "histogram has relative_error {found}, this version reads {RELATIVE_ERROR} only"
            )));
        }
        let counts: Option<Vec<(u16, u64)>> = readable
            .buckets
            .into_iter()
            .map(|(lower, count)| Some((buckets::beginning_at(lower)?, count)))
            .collect();
        let counts =
            counts.ok_or(HistogramError::Contradiction { what: "a bucket begins at no bucket edge" });
        counts.and_then(|counts| Self::from_parts(counts, readable.largest_ns)).map_err(D::Error::custom)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Histogram;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a byte string that holds a histogram")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Histogram, E> {
        Histogram::from_bytes(bytes).map_err(E::custom)
    }
}
