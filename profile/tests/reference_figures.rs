//! The reference figures equal Python's, bit for bit, on committed vectors. `python` holds them to a live Python too.

#[path = "golden/figures.rs"]
mod figures;

use figures::{Figures, figures};
use serde::Deserialize;

const GOLDEN: &str = include_str!("golden/quantiles.jsonl");

#[derive(Deserialize)]
struct Vector {
    values: Vec<u64>,
    #[serde(flatten)]
    figures: Figures,
}

#[test]
fn golden_vectors_are_reproduced_bit_for_bit() {
    let mut vectors = 0;
    for line in GOLDEN.lines() {
        let vector: Vector = serde_json::from_str(line).unwrap();
        assert_eq!(figures(&vector.values), Some(vector.figures), "n = {}", vector.values.len());
        vectors += 1;
    }
    assert!(vectors >= 20, "only {vectors} vectors");
}
