//! The binomial distribution, exactly enough for ranks: no log-gamma, relative error near 1e-12.
//!
//! Probabilities are built outwards from the mode by the ratio of neighbours, dropped once they no longer
//! matter to a double, and normalised by their own sum; the cost is a few standard deviations of terms.

/// Bin(trials, probability) over the outcomes that carry weight.
#[derive(Debug, Clone)]
pub struct Binomial {
    /// The first outcome kept.
    first: u64,
    /// cumulative[k] = P(B <= first + k).
    cumulative: Vec<f64>,
}

/// Terms below this share of the mode are dropped.
const NEGLIGIBLE: f64 = 1e-20;

impl Binomial {
    /// The distribution of the number of successes in `trials`; `probability` is clamped to [0, 1].
    #[must_use]
    pub fn new(trials: u64, probability: f64) -> Self {
        let probability = probability.clamp(0.0, 1.0);
        if probability == 0.0 || probability == 1.0 {
            let first = if probability == 0.0 { 0 } else { trials };
            return Self { first, cumulative: vec![1.0] };
        }
        let odds = probability / (1.0 - probability);
        let mode = (((trials + 1) as f64 * probability) as u64).min(trials);
        let mut below = Vec::new();
        let mut weight = 1.0;
        for k in (1..=mode).rev() {
            weight *= k as f64 / ((trials - k + 1) as f64 * odds);
            if weight < NEGLIGIBLE {
                break;
            }
            below.push(weight);
        }
        let first = mode - below.len() as u64;
        let mut weights: Vec<f64> = below.into_iter().rev().collect();
        weights.push(1.0);
        weight = 1.0;
        for k in mode..trials {
            weight *= (trials - k) as f64 * odds / (k + 1) as f64;
            if weight < NEGLIGIBLE {
                break;
            }
            weights.push(weight);
        }
        let total: f64 = weights.iter().sum();
        let mut running = 0.0;
        let cumulative = weights
            .into_iter()
            .map(|weight| {
                running += weight / total;
                running
            })
            .collect();
        Self { first, cumulative }
    }

    /// P(B <= k).
    #[must_use]
    pub fn at_most(&self, k: u64) -> f64 {
        match k.checked_sub(self.first) {
            None => 0.0,
            Some(index) => self.cumulative.get(index as usize).map_or(1.0, |&p| p.min(1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Binomial;

    #[test]
    fn small_cases_equal_the_counted_probabilities() {
        let coin = Binomial::new(4, 0.5);
        for (k, counted) in [(0, 1.0), (1, 5.0), (2, 11.0), (3, 15.0), (4, 16.0)] {
            assert!((coin.at_most(k) - counted / 16.0).abs() < 1e-14, "{k}");
        }
        assert_eq!(Binomial::new(10, 0.0).at_most(0), 1.0);
        assert_eq!(Binomial::new(10, 1.0).at_most(9), 0.0);
        assert_eq!(Binomial::new(10, 1.0).at_most(10), 1.0);
    }

    #[test]
    fn the_lower_tail_equals_powers_of_the_complement() {
        for n in [10u32, 458, 459, 10_000] {
            let none = Binomial::new(u64::from(n), 0.01).at_most(0);
            let exact = 0.99f64.powi(n as i32);
            assert!((none - exact).abs() < 1e-12 * exact.max(1e-9), "{n}: {none} {exact}");
        }
    }

    #[test]
    fn a_million_trials_stay_normalised_and_symmetric() {
        let many = Binomial::new(1_000_001, 0.5);
        assert!((many.at_most(500_000) - 0.5).abs() < 1e-11);
        assert_eq!(many.at_most(1_000_001), 1.0);
    }
}
