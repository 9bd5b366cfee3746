use super::*;
use crate::stats::quantile::{self, Quantile};
use crate::stats::rng::Rng;
use proptest::prelude::*;

/// Latencies around 10 ms with 2 % spread.
fn tight(n: usize, seed: u64) -> Vec<u64> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| (1e7 * (0.02 * rng.normal()).exp()) as u64).collect()
}

fn values() -> impl Strategy<Value = Vec<u64>> {
    let value = prop_oneof![
        3 => 9_000_000u64..11_000_000,
        1 => any::<u64>(),
        1 => 0u64..100,
    ];
    proptest::collection::vec(value, 0..200)
}

fn sorted(mut values: Vec<u64>) -> Vec<u64> {
    values.sort_unstable();
    values
}

#[test]
fn the_reference_p99_of_1000_and_of_3000_latencies_is_exact() {
    for n in [1000, 3000] {
        let latencies = tight(n, n as u64);
        let exact = quantile::reference(&sorted(latencies.clone()), Quantile::P99).unwrap();
        let estimate = Histogram::of(&latencies).quantile(Quantile::P99).unwrap();
        assert_eq!((estimate.value_ns, estimate.exact), (exact, true));
    }
}

#[test]
fn every_quantile_without_a_tail_is_within_1_percent() {
    let latencies = tight(5000, 1);
    let sample = sorted(latencies.clone());
    let histogram = Histogram::of(&latencies).without_tail();
    for quantile in [Quantile::P50, Quantile::P90, Quantile::P95, Quantile::P99, Quantile::P999] {
        let exact = quantile::reference(&sample, quantile).unwrap();
        let estimate = histogram.quantile(quantile).unwrap();
        assert!(!estimate.exact);
        assert!((estimate.value_ns / exact - 1.0).abs() <= 0.01, "{quantile:?}");
    }
}

#[test]
fn an_extrapolated_figure_is_exact_or_absent() {
    let latencies = tight(50, 2);
    let exact = quantile::reference(&sorted(latencies.clone()), Quantile::P99);
    let histogram = Histogram::of(&latencies);
    assert_eq!(histogram.quantile(Quantile::P99).map(|estimate| estimate.value_ns), exact);
    assert_eq!(histogram.without_tail().quantile(Quantile::P99), None);
    assert_eq!(Histogram::of(&[5]).quantile(Quantile::P50), None);
}

#[test]
fn a_tight_distribution_of_1000_latencies_takes_at_most_25_bytes_without_its_tail() {
    for seed in 0..50 {
        let length = Histogram::of(&tight(1000, seed)).without_tail().to_bytes().len();
        assert!(length <= 25, "{length} B");
    }
}

#[test]
fn the_exact_tail_costs_at_most_2_bytes_a_value() {
    for seed in 0..50 {
        let length = Histogram::of(&tight(1000, seed)).to_bytes().len();
        assert!(length <= 25 + 2 * TAIL_LENGTH, "{length} B");
    }
}

#[test]
fn merging_with_a_dropped_tail_drops_the_tail_and_with_nothing_keeps_it() {
    let one = Histogram::of(&tight(100, 3));
    let mut merged = one.clone();
    merged.merge(&Histogram::default());
    assert_eq!(merged, one);
    merged.merge(&one.without_tail());
    assert_eq!((merged.total(), merged.has_tail()), (200, false));
    merged.record(1);
    assert!(!merged.has_tail());
}

#[test]
fn the_readable_form_names_its_units() {
    let json = serde_json::to_string(&Histogram::of(&[7, 3, 7])).unwrap();
    assert_eq!(json, r#"{"relative_error":0.01,"buckets":[[3,1],[7,2]],"largest_ns":[7,7,3]}"#);
}

#[test]
fn contradictory_json_is_refused_with_the_reason() {
    let check = |json: &str, reason: &str| {
        let error = serde_json::from_str::<Histogram>(json).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    };
    check(r#"{"relative_error":0.02,"buckets":[],"largest_ns":[]}"#, "relative_error 0.02");
    check(r#"{"relative_error":0.01,"buckets":[[7,1],[3,1]],"largest_ns":[7,3]}"#, "do not ascend");
    check(r#"{"relative_error":0.01,"buckets":[[3,0]],"largest_ns":[]}"#, "bucket count = 0");
    check(r#"{"relative_error":0.01,"buckets":[[3,2]],"largest_ns":[3]}"#, "neither all");
    check(r#"{"relative_error":0.01,"buckets":[[3,1],[7,1]],"largest_ns":[7,7]}"#, "top buckets");
    check(r#"{"relative_error":0.01,"buckets":[[3,2]],"largest_ns":[2,3]}"#, "do not descend");
    check(r#"{"relative_error":0.01,"buckets":[[10000001,1]],"largest_ns":[]}"#, "no bucket edge");
    check(r#"{"relative_error":0.01,"buckets":[],"largest_ns":[],"x":1}"#, "unknown field");
}

#[test]
fn cut_off_bytes_are_refused_at_every_length() {
    let bytes = Histogram::of(&tight(1000, 4)).to_bytes();
    for length in 0..bytes.len() {
        // A cut between two counts is a shorter histogram that then lacks nothing but its count of values.
        if let Ok(shorter) = Histogram::from_bytes(&bytes[..length]) {
            assert!(shorter.total() < 1000);
        }
    }
    assert_eq!(Histogram::from_bytes(&[]), Err(HistogramError::Truncated { length: 0 }));
    assert!(matches!(Histogram::from_bytes(&[33]), Err(HistogramError::OutOfRange { .. })));
    assert!(matches!(Histogram::from_bytes(&[0, 5, 0x80, 0]), Err(HistogramError::Contradiction { .. })));
}

proptest! {
    #[test]
    fn both_forms_give_back_what_they_were_given(values in values(), drop_tail: bool) {
        let mut histogram = Histogram::of(&values);
        if drop_tail {
            histogram = histogram.without_tail();
        }
        prop_assert_eq!(&Histogram::from_bytes(&histogram.to_bytes()).unwrap(), &histogram);
        let json = serde_json::to_string(&histogram).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Histogram>(&json).unwrap(), &histogram);
        let cbor = serde_cbor::to_vec(&histogram).unwrap();
        prop_assert_eq!(&serde_cbor::from_slice::<Histogram>(&cbor).unwrap(), &histogram);
        prop_assert_eq!(&serde_cbor::from_reader::<Histogram, _>(&cbor[..]).unwrap(), &histogram);
    }

    #[test]
    fn any_bytes_are_refused_or_the_one_encoding_of_a_histogram(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        if let Ok(histogram) = Histogram::from_bytes(&bytes) {
            prop_assert_eq!(histogram.to_bytes(), bytes);
        }
    }

    #[test]
    fn damaged_encodings_are_refused_or_consistent(values in values(), at: prop::sample::Index, bit in 0..8u32) {
        let mut bytes = Histogram::of(&values).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(histogram) = Histogram::from_bytes(&bytes) {
            prop_assert_eq!(histogram.to_bytes(), bytes);
            let _ = histogram.quantile(Quantile::P99);
        }
    }

    #[test]
    fn merging_equals_recording_the_union_in_any_order(a in values(), b in values(), c in values()) {
        let [ha, hb, hc] = [&a, &b, &c].map(|values| Histogram::of(values));
        let merged = |parts: [&Histogram; 3]| {
            let mut sum = Histogram::default();
            parts.into_iter().for_each(|part| sum.merge(part));
            sum
        };
        let union = Histogram::of(&[a, b, c].concat());
        prop_assert_eq!(&merged([&ha, &hb, &hc]), &union);
        prop_assert_eq!(&merged([&hc, &ha, &hb]), &union);
        let mut right = hb.clone();
        right.merge(&hc);
        let mut grouped = ha.clone();
        grouped.merge(&right);
        prop_assert_eq!(&grouped, &union);
    }

    #[test]
    fn merging_is_associative_and_commutative_with_dropped_tails_too(
        parts in proptest::collection::vec((values(), any::<bool>()), 3),
    ) {
        let [a, b, c] = [0, 1, 2].map(|i| {
            let histogram = Histogram::of(&parts[i].0);
            if parts[i].1 { histogram.without_tail() } else { histogram }
        });
        let plus = |x: &Histogram, y: &Histogram| {
            let mut sum = x.clone();
            sum.merge(y);
            sum
        };
        prop_assert_eq!(plus(&plus(&a, &b), &c), plus(&a, &plus(&b, &c)));
        prop_assert_eq!(plus(&a, &b), plus(&b, &a));
    }

    #[test]
    fn a_quantile_is_exact_when_it_says_so_and_within_1_percent_otherwise(values in values()) {
        let sample = sorted(values);
        for quantile in [Quantile::P50, Quantile::P99] {
            let Some(estimate) = Histogram::of(&sample).quantile(quantile) else { continue };
            let exact = quantile::reference(&sample, quantile).unwrap();
            let off = (estimate.value_ns - exact).abs();
            let bound = if estimate.exact { 0.0 } else { 0.01 * exact.abs() * (1.0 + 1e-9) };
            prop_assert!(off <= bound, "{off} > {bound}");
        }
    }
}
