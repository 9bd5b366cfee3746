//! Whether boards throttle more often than they did.

/// The probability that the candidate's share of throttled boards is at least as high by chance alone, when
/// both sides throttle alike: Fisher's exact test, one-sided (Fisher: Statistical methods for research
/// workers, 5th edition, 1934). Sides are (throttled, all).
#[must_use]
pub fn more_often(baseline: (u64, u64), candidate: (u64, u64)) -> f64 {
    let throttled = baseline.0 + candidate.0;
    let all = baseline.1 + candidate.1;
    let most = throttled.min(candidate.1);
    let tail = (candidate.0..=most).map(|k| probability(k, candidate.1, throttled, all)).sum::<f64>();
    tail.min(1.0)
}

/// Hypergeometric: `k` of `throttled` among `drawn` of `all`.
fn probability(k: u64, drawn: u64, throttled: u64, all: u64) -> f64 {
    if k > throttled || k > drawn || drawn - k > all - throttled {
        return 0.0;
    }
    (log_choose(throttled, k) + log_choose(all - throttled, drawn - k) - log_choose(all, drawn)).exp()
}

/// ln of n over k, summed term by term: a fleet's numbers are small enough.
fn log_choose(n: u64, k: u64) -> f64 {
    (1..=k.min(n - k)).map(|i| ((n - k.min(n - k) + i) as f64 / i as f64).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::more_often;

    #[test]
    fn the_tea_tasting_experiment_has_its_published_probabilities() {
        // Fisher 1935: four of four cups right has probability 1/70, three or more 17/70.
        assert!((more_often((0, 4), (4, 4)) - 1.0 / 70.0).abs() < 1e-12);
        assert!((more_often((1, 4), (3, 4)) - 17.0 / 70.0).abs() < 1e-12);
    }

    #[test]
    fn equal_shares_are_no_evidence_and_empty_sides_neither() {
        assert!(more_often((3, 30), (3, 30)) > 0.5);
        assert!((more_often((0, 0), (0, 10)) - 1.0).abs() < 1e-12);
    }
}
