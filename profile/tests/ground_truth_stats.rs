//! The statistics held to their targets on data whose answer is known. The numbers in the names of sections
//! are those of the ground-truth tests in the method: 1 quantiles and intervals, 2 autocorrelation, 4 early
//! stopping, 6 settling, 7 level changes, 15 merging.

use clipmark_profile::stats::early_stop::Rule;
use clipmark_profile::stats::quantile::Quantile;
use clipmark_profile::truth::latency::{self, Coverage};
use clipmark_profile::truth::settling::{self, Course};
use clipmark_profile::truth::source::{DISTRIBUTIONS, Distribution};
use clipmark_profile::truth::stopping;

const QUANTILES: [Quantile; 3] = [Quantile::P50, Quantile::P90, Quantile::P99];

// 1

#[test]
fn intervals_of_independent_latencies_cover_in_at_least_93_of_100_runs() {
    for shape in DISTRIBUTIONS {
        for quantile in QUANTILES {
            let coverage = latency::coverage_independent(shape, quantile, 1000, 1000, 1);
            let rate = coverage.rate().unwrap();
            assert!(rate >= 0.93, "{shape:?} {quantile:?}: {coverage:?}");
            assert!(coverage.refused <= 10, "{shape:?} {quantile:?}: {coverage:?}");
        }
    }
}

#[test]
fn reference_quantiles_are_no_further_off_in_rank_than_sampling_explains() {
    for shape in DISTRIBUTIONS {
        for quantile in QUANTILES {
            let p = quantile.fraction();
            let sampling = (p * (1.0 - p) / 1000.0).sqrt();
            let error = latency::rank_error(shape, quantile, 1000, 400, 2);
            assert!(error <= 1.2 * sampling, "{shape:?} {quantile:?}: {error} against {sampling}");
        }
    }
}

// 2

#[test]
fn p99_intervals_cover_autocorrelated_latencies_in_at_least_90_of_100_runs() {
    for (n, runs) in [(3000, 600), (10_000, 300)] {
        let (published, naive) = latency::coverage_autocorrelated(0.9, Quantile::P99, n, runs, 3);
        assert!(published.rate().unwrap() >= 0.90, "n = {n}: {published:?}");
        assert!(published.refused <= runs / 5, "n = {n}: {published:?}");
        assert!(naive.rate().unwrap() < 0.75, "the contrast is gone: {naive:?}");
    }
}

#[test]
fn a_thousand_strongly_correlated_latencies_are_honestly_refused() {
    let (published, _) = latency::coverage_autocorrelated(0.9, Quantile::P99, 1000, 1000, 4);
    assert!(published.refused >= 950, "{published:?}");
    assert!(published.honest_rate() >= 0.95, "{published:?}");
}

#[test]
fn medians_and_means_cover_at_every_correlation() {
    for phi in [0.0, 0.5, 0.9] {
        let check = |coverage: Coverage| {
            assert!(coverage.rate().unwrap() >= 0.90, "phi {phi}: {coverage:?}");
            assert_eq!(coverage.refused, 0, "phi {phi}: {coverage:?}");
        };
        check(latency::coverage_autocorrelated(phi, Quantile::P50, 2000, 400, 5).0);
        check(latency::coverage_of_mean(phi, 2000, 400, 6));
    }
}

#[test]
fn too_few_latencies_are_refused_whatever_their_order() {
    let shape = DISTRIBUTIONS[0];
    let coverage = latency::coverage_independent(shape, Quantile::P99, 367, 200, 7);
    assert_eq!(coverage.refused, 200);
    assert!(coverage.honest_rate() >= 0.95, "{coverage:?}");
}

// 4

#[test]
fn looking_after_every_iteration_passes_a_bad_bound_at_most_as_often_as_alpha() {
    let found = stopping::false_passes(5000, 4000, 8);
    // alpha = 1 %; three standard errors of 4000 runs are half a percent.
    assert!(found.e_value <= 0.015, "{found:?}");
    assert!(found.mlperf_once <= 0.015, "{found:?}");
    assert!(found.mlperf_rechecked >= 0.03, "the contrast is gone: {found:?}");
}

#[test]
fn good_bounds_pass_early_and_bad_ones_are_given_up() {
    let rule = Rule { over_rate: 0.01, alpha: 0.01, max_iterations: 10_000 };
    let good = stopping::verdicts(rule, 0.001, 50, 200, 9);
    assert!(good.passed > 0.999 && good.mean_iterations < 1000.0, "{good:?}");
    let bad = stopping::verdicts(rule, 0.05, 50, 200, 9);
    assert!(bad.passed == 0.0 && bad.mean_iterations < 400.0, "{bad:?}");
    let borderline = stopping::verdicts(rule, 0.01, 50, 200, 9);
    assert!(borderline.passed <= 0.03 && borderline.mean_iterations < 9000.0, "{borderline:?}");
}

// 6

#[test]
fn planted_warm_ups_are_named_and_measured() {
    let check = |course: Course, phi: f64, right: f64, error: f64| {
        let found = settling::classified(course, phi, 1000, 20, 10);
        assert!(found.right >= right, "{course:?} phi {phi}: {found:?}");
        assert!(found.median_error <= error, "{course:?} phi {phi}: {found:?}");
    };
    for phi in [0.0, 0.5] {
        check(Course::Level, phi, 1.0, 0.0);
        check(Course::Step { iterations: 100, ratio: 1.3 }, phi, 1.0, 1.0);
        check(Course::Step { iterations: 100, ratio: 1.05 }, phi, 0.95, 2.0);
        check(Course::Step { iterations: 500, ratio: 0.9 }, phi, 1.0, 1.0);
        // The last third of an exponential approach is within the noise.
        check(Course::Approach { iterations: 100 }, phi, 1.0, 40.0);
    }
    check(Course::Level, 0.9, 0.85, 0.0);
    check(Course::Step { iterations: 100, ratio: 1.3 }, 0.9, 0.85, 2.0);
}

#[test]
fn sequences_that_never_settle_are_said_not_to() {
    for phi in [0.0, 0.5, 0.9] {
        for course in [Course::Drift, Course::Swing { period: 200 }] {
            let found = settling::classified(course, phi, 1000, 20, 11);
            assert!(found.right >= 0.85, "{course:?} phi {phi}: {found:?}");
        }
    }
}

// 7

#[test]
fn level_steps_are_found_to_the_second_and_correlated_noise_is_not_a_step() {
    for step in [0.05, 0.1, 0.3] {
        let found = settling::level_changes(step, 0.01, 0.9, 20, 12);
        assert!(found.found >= 0.98 && found.median_error <= 1.0, "{step}: {found:?}");
        assert!(found.false_rate <= 0.04, "{step}: {found:?}");
        assert!(found.naive_false_rate >= 0.9, "the contrast is gone: {found:?}");
    }
}

// 15

#[test]
fn histograms_of_parts_add_up_to_the_histogram_of_the_whole_in_any_order() {
    assert_eq!(latency::merge_mismatches(200, 13), 0);
}

#[test]
fn a_tight_histogram_of_1000_latencies_takes_at_most_50_bytes_on_the_wire() {
    let tight = Distribution::Lognormal { median_ns: 1e7, sigma: 0.02 };
    let (without_tail, with_tail) = latency::histogram_bytes(tight, 1000, 40, 14);
    assert!(without_tail <= 25.0, "{without_tail}");
    assert!(with_tail <= 90.0, "{with_tail}");
    let (two_modes, _) = latency::histogram_bytes(DISTRIBUTIONS[1], 10_000, 10, 15);
    assert!(two_modes <= 131.0, "{two_modes}");
}
