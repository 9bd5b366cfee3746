//! When a latency bound may be called met, looked at after every iteration.
//!
//! Terms: an *overrun* is an iteration over the bound; the bound is met at P99 when overruns come at a rate
//! below `over_rate` = 1 %. The null hypothesis is that they come at `over_rate` or more. A fixed-size test
//! re-checked at every iteration passes a bad system far more often than its nominal level; an *e-value*
//! (Ville 1939; Ramdas, Grunwald, Vovk, Shafer: Game-theoretic statistics and safe anytime-valid inference,
//! Statistical Science 38(4), 2023) may be looked at as often as one likes: under the null hypothesis it
//! ever reaches 1 / alpha with probability alpha at most.
//!
//! The e-value is the likelihood ratio of a uniform mixture of the rates below q0 = `over_rate` to q0:
//! `M = Int_0^q0 q^t (1-q)^(n-t) dq / (q0 q0^t (1-q0)^(n-t))` for t overruns in n iterations. With integer
//! arguments the incomplete beta integral is a binomial tail, and M becomes a sum of positive terms:
//! `M = sum over j > t of c_j`, `c_(t+1) = 1 / (t+1)`, `c_(j+1) = c_j (n+1-j) / (j+1) q0 / (1-q0)`.
//!
//! Assumption: given the past, each iteration overruns at `over_rate` or more under the null hypothesis.
//! Overruns that cluster carry less; deflate the counts with [`Counts::deflated`] first.

use crate::stats::binomial::Binomial;

/// Iterations and those among them over the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Iterations.
    pub iterations: u64,
    /// Iterations over the bound, at most `iterations`.
    pub overruns: u64,
}

/// What is asked of a bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// The rate of overruns to stay below, in (0, 1): .01 for P99.
    pub over_rate: f64,
    /// Probability of a wrong verdict, in (0, 1).
    pub alpha: f64,
    /// Iterations that the budget allows.
    pub max_iterations: u64,
}

/// The verdict so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The bound is met: stop.
    Pass,
    /// The bound is exceeded: stop.
    Exceeded,
    /// Not even an unbroken run without overruns would pass within the budget: stop.
    OutOfReach,
    /// Go on.
    Continue,
}

impl Counts {
    /// Counts of a series of latencies against a bound, nanoseconds.
    #[must_use]
    pub fn of(latencies: &[u64], bound: u64) -> Self {
        let overruns = latencies.iter().filter(|&&latency| latency > bound).count() as u64;
        Self { iterations: latencies.len() as u64, overruns }
    }

    /// What these counts are worth when overruns have autocorrelation time `tau` (below 1 counts as 1):
    /// iterations rounded down, overruns up.
    #[must_use]
    pub fn deflated(self, tau: f64) -> Self {
        let tau = tau.max(1.0);
        let iterations = (self.iterations as f64 / tau) as u64;
        let overruns = (self.overruns as f64 / tau).ceil() as u64;
        Self { iterations, overruns: overruns.min(iterations) }
    }

    /// Natural logarithm of the e-value against "overruns come at `over_rate` or more".
    #[must_use]
    pub fn log_evidence_below(self, over_rate: f64) -> f64 {
        log_mixture(self.iterations, self.overruns.min(self.iterations), over_rate)
    }

    /// Natural logarithm of the e-value against "overruns come at `over_rate` or less".
    #[must_use]
    pub fn log_evidence_above(self, over_rate: f64) -> f64 {
        log_mixture(self.iterations, self.iterations.saturating_sub(self.overruns), 1.0 - over_rate)
    }
}

impl Rule {
    /// The verdict after `counts`. May be asked after every iteration.
    #[must_use]
    pub fn decide(&self, counts: Counts) -> Decision {
        let enough = -self.alpha.ln();
        if counts.log_evidence_below(self.over_rate) >= enough {
            return Decision::Pass;
        }
        if counts.log_evidence_above(self.over_rate) >= enough {
            return Decision::Exceeded;
        }
        let best = Counts { iterations: self.max_iterations.max(counts.iterations), ..counts };
        if best.log_evidence_below(self.over_rate) < enough {
            return Decision::OutOfReach;
        }
        Decision::Continue
    }
}

/// ln of the mixture e-value for `hits` in `trials` against a rate of `rate` or more.
fn log_mixture(trials: u64, hits: u64, rate: f64) -> f64 {
    /// Far from overflow, so that one step past it stays finite.
    const LARGE: f64 = 1e200;
    let odds = rate / (1.0 - rate);
    let mut term = 1.0 / (hits + 1) as f64;
    let mut sum = term;
    let mut log_scale = 0.0;
    for j in hits + 1..=trials {
        let ratio = (trials + 1 - j) as f64 / (j + 1) as f64 * odds;
        term *= ratio;
        sum += term;
        if ratio < 1.0 && term < sum * 1e-17 {
            break;
        }
        if sum > LARGE {
            term /= LARGE;
            sum /= LARGE;
            log_scale += LARGE.ln();
        }
    }
    sum.ln() + log_scale
}

/// The rule of MLPerf LoadGen (`early_stopping.cc`), for comparison: the fewest iterations with which
/// `overruns` pass at `confidence`, when looked at once. P(Bin(n, over_rate) <= overruns) <= 1 - confidence.
#[must_use]
pub fn mlperf_min_iterations(overruns: u64, over_rate: f64, confidence: f64) -> u64 {
    let passes = |n: u64| Binomial::new(n, over_rate).at_most(overruns) <= 1.0 - confidence;
    let mut high = overruns + 1;
    while !passes(high) {
        high *= 2;
    }
    let mut low = overruns;
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if passes(middle) { high = middle } else { low = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { over_rate: 0.01, alpha: 0.01, max_iterations: 10_000 };

    #[test]
    fn mlperf_passes_0_1_2_3_overruns_from_459_662_838_1001_iterations() {
        let table: Vec<u64> = (0..4).map(|t| mlperf_min_iterations(t, 0.01, 0.99)).collect();
        assert_eq!(table, [459, 662, 838, 1001]);
    }

    /// The integral by the midpoint rule, as an independent computation.
    fn by_quadrature(n: u64, t: u64, q0: f64) -> f64 {
        let steps = 200_000;
        let log = |q: f64| t as f64 * q.ln() + (n - t) as f64 * (1.0 - q).ln();
        let sum: f64 = (0..steps)
            .map(|i| q0 * (f64::from(i) + 0.5) / f64::from(steps))
            .map(|q| (log(q) - log(q0)).exp())
            .sum();
        (sum / f64::from(steps)).ln()
    }

    #[test]
    fn the_e_value_equals_its_integral() {
        for (n, t, q0) in
            [(0, 0, 0.01), (1, 0, 0.01), (1, 1, 0.01), (900, 3, 0.01), (5000, 80, 0.01), (50, 20, 0.3)]
        {
            let exact = by_quadrature(n, t, q0);
            let sum = Counts { iterations: n, overruns: t }.log_evidence_below(q0);
            assert!((sum - exact).abs() < 1e-6 * exact.abs().max(1.0), "{n} {t}: {sum} {exact}");
        }
    }

    #[test]
    fn a_million_iterations_do_not_overflow() {
        let counts = Counts { iterations: 1_000_000, overruns: 10 };
        let evidence = counts.log_evidence_below(0.01);
        assert!(evidence.is_finite() && evidence > 9000.0, "{evidence}");
        assert!(counts.log_evidence_above(0.01) < 0.0);
    }

    #[test]
    fn a_clean_run_passes_a_bad_one_is_exceeded_and_a_late_one_is_out_of_reach() {
        let at = |iterations, overruns| RULE.decide(Counts { iterations, overruns });
        assert_eq!(at(0, 0), Decision::Continue);
        assert_eq!(at(459, 0), Decision::Continue);
        assert_eq!(at(1000, 0), Decision::Pass);
        assert_eq!(at(500, 40), Decision::Exceeded);
        assert_eq!(at(9_900, 90), Decision::OutOfReach);
    }

    #[test]
    fn clustered_overruns_count_for_less() {
        let counts = Counts { iterations: 1000, overruns: 3 };
        assert_eq!(counts.deflated(2.0), Counts { iterations: 500, overruns: 2 });
        assert_eq!(counts.deflated(0.5), counts);
        assert_eq!(Counts::of(&[1, 5, 9], 5), Counts { iterations: 3, overruns: 1 });
    }
}
