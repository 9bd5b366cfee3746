//! Scores of the stopping rules, looked at after every iteration.

use crate::stats::early_stop::{self, Counts, Decision, Rule};
use crate::stats::rng::Rng;

/// How often a bound that is NOT met was passed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FalsePasses {
    /// By the e-value, looked at after every iteration.
    pub e_value: f64,
    /// By MLPerf's rule, looked at after every iteration.
    pub mlperf_rechecked: f64,
    /// By MLPerf's rule, looked at once at the end.
    pub mlperf_once: f64,
}

/// False passes over `runs` of up to `horizon` iterations whose overruns come at exactly the rate that the
/// bound forbids (1 %), at alpha = 1 %.
#[must_use]
pub fn false_passes(horizon: u64, runs: u32, seed: u64) -> FalsePasses {
    let (rate, alpha) = (0.01, 0.01);
    let enough = -f64::ln(alpha);
    let table = mlperf_table(horizon, rate, alpha);
    let passes_mlperf =
        |iterations: u64, overruns: usize| table.get(overruns).is_some_and(|&needed| iterations >= needed);
    let mut rng = Rng::new(seed);
    let (mut e_value, mut rechecked, mut once) = (0, 0, 0);
    for _ in 0..runs {
        let (mut overruns, mut passed, mut mlperf_passed) = (0u64, false, false);
        // Both rules favour clean stretches: their peaks are just before an overrun and at the end.
        for iteration in 1..=horizon {
            let overrun = rng.uniform() < rate;
            let seen = iteration - u64::from(overrun);
            if overrun || iteration == horizon {
                let counts = Counts { iterations: seen, overruns };
                passed |= counts.log_evidence_below(rate) >= enough;
                mlperf_passed |= passes_mlperf(seen, overruns as usize);
            }
            overruns += u64::from(overrun);
        }
        e_value += u32::from(passed);
        rechecked += u32::from(mlperf_passed);
        once += u32::from(passes_mlperf(horizon, overruns as usize));
    }
    let share = |count: u32| f64::from(count) / f64::from(runs.max(1));
    FalsePasses { e_value: share(e_value), mlperf_rechecked: share(rechecked), mlperf_once: share(once) }
}

fn mlperf_table(horizon: u64, rate: f64, alpha: f64) -> Vec<u64> {
    let needed = |overruns| early_stop::mlperf_min_iterations(overruns, rate, 1.0 - alpha);
    (0..).map(needed).take_while(|&needed| needed <= horizon).collect()
}

/// How runs with a known rate of overruns ended.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Verdicts {
    /// Share passed.
    pub passed: f64,
    /// Share found to exceed the bound.
    pub exceeded: f64,
    /// Share stopped as out of reach.
    pub out_of_reach: f64,
    /// Mean number of iterations until the verdict.
    pub mean_iterations: f64,
}

/// Verdicts of `rule`, asked after every `step` iterations, over `runs` with overruns at `rate`.
#[must_use]
pub fn verdicts(rule: Rule, rate: f64, step: u64, runs: u32, seed: u64) -> Verdicts {
    let mut rng = Rng::new(seed);
    let mut verdicts = Verdicts::default();
    for _ in 0..runs {
        let mut counts = Counts { iterations: 0, overruns: 0 };
        loop {
            for _ in 0..step.max(1) {
                counts.iterations += 1;
                counts.overruns += u64::from(rng.uniform() < rate);
            }
            let slot = match rule.decide(counts) {
                Decision::Continue => continue,
                Decision::Pass => &mut verdicts.passed,
                Decision::Exceeded => &mut verdicts.exceeded,
                Decision::OutOfReach => &mut verdicts.out_of_reach,
            };
            *slot += 1.0 / f64::from(runs);
            verdicts.mean_iterations += counts.iterations as f64 / f64::from(runs);
            break;
        }
    }
    verdicts
}
