//! The fixed bucket edges, in integers.
//!
//! Bucket 0 holds 0; each further one begins after its predecessor and ends at the last integer that is at
//! most 101 / 99 times its first. Up to 50 ns every bucket holds one value.

/// Buckets that together span all of `u64`.
pub(super) const COUNT: usize = 2052;

/// Largest value of each bucket.
static UPPER: [u64; COUNT] = upper_edges();

const fn upper_edges() -> [u64; COUNT] {
    let mut edges = [0u64; COUNT];
    let mut index = 1;
    while index < COUNT {
        let next = (edges[index - 1] as u128 + 1) * 101 / 99;
        edges[index] = if next > u64::MAX as u128 { u64::MAX } else { next as u64 };
        index += 1;
    }
    assert!(edges[COUNT - 1] == u64::MAX, "the last bucket must end at the largest value");
    assert!(edges[COUNT - 2] < u64::MAX, "no bucket may be empty");
    edges
}

/// The bucket that holds `value`.
pub(super) fn index(value: u64) -> u16 {
    UPPER.partition_point(|&upper| upper < value) as u16
}

/// Smallest and largest value of a bucket; of the last one beyond it.
pub(super) fn bounds(index: u16) -> (u64, u64) {
    let index = usize::from(index).min(COUNT - 1);
    let lower = if index == 0 { 0 } else { UPPER[index - 1] + 1 };
    (lower, UPPER[index])
}

/// The number within 1 % of every value of a bucket: the harmonic mean of its bounds.
pub(super) fn representative(index: u16) -> f64 {
    let (lower, upper) = bounds(index);
    let (lower, upper) = (lower as f64, upper as f64);
    if upper == 0.0 { 0.0 } else { 2.0 * lower * (upper / (lower + upper)) }
}

/// The bucket that begins at `lower`.
pub(super) fn beginning_at(lower: u64) -> Option<u16> {
    let index = index(lower);
    (bounds(index).0 == lower).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_adjoin_and_none_spans_more_than_101_to_99() {
        for index in 1..COUNT as u16 {
            let (lower, upper) = bounds(index);
            assert_eq!(lower, bounds(index - 1).1 + 1);
            assert!(u128::from(upper) * 99 <= u128::from(lower) * 101, "{lower}..={upper}");
            assert_eq!((super::index(lower), super::index(upper)), (index, index));
        }
    }

    #[test]
    fn the_representative_is_within_1_percent_of_both_bounds() {
        for index in 1..COUNT as u16 {
            let (lower, upper) = bounds(index);
            let value = representative(index);
            for bound in [lower as f64, upper as f64] {
                assert!((value / bound - 1.0).abs() <= 0.01 + 1e-12, "{lower}..={upper}: {value}");
            }
        }
        assert_eq!(representative(0), 0.0);
    }

    #[test]
    fn only_edges_name_a_bucket() {
        assert_eq!(beginning_at(0), Some(0));
        assert_eq!(beginning_at(bounds(900).0), Some(900));
        assert_eq!(beginning_at(bounds(900).0 + 1), None);
        assert_eq!(super::index(u64::MAX), COUNT as u16 - 1);
    }
}
