//! Ground truth: fleets whose differences are planted, and how often a verdict is false or missing.

use super::{
    Basis, CohortRule, Entry, LikelyCause, OutlierRule, TrendPoint, TrendRule, contrast, entries, outliers,
    trend,
};
use crate::compare::Verdict;
use crate::example;
use crate::figures::Figure;
use crate::identity::Factor;
use crate::point::Shape;
use crate::stats::quantile::Quantile;
use crate::stats::rng::Rng;
use crate::summary::{Profile, SteadyState, ThrottleCause};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// A fleet to draw from: how far its boards differ, and how far a board differs from run to run.
#[derive(Clone, Copy)]
struct Fleet {
    boards: usize,
    runs: usize,
    board_sigma: f64,
    run_sigma: f64,
    /// What multiplies every latency.
    factor: f64,
    seed: u64,
}

const FLEET: Fleet = Fleet { boards: 12, runs: 1, board_sigma: 0.03, run_sigma: 0.005, factor: 1.0, seed: 0 };

const ITERATIONS: usize = 400;

/// A run of one point whose typical latency is `base_ns`.
fn profile_of(base_ns: f64, seed: u64, run: &str) -> Profile {
    static TEMPLATE: LazyLock<Profile> = LazyLock::new(|| {
        let mut profile = example::profile_of_27_points();
        profile.points = vec![example::measured(0, Shape::new(1, 16).unwrap(), 5_000_000, 100)];
        profile.points[0].energy = None;
        profile
    });
    let mut profile = TEMPLATE.clone();
    let point = &mut profile.points[0];
    let latency = example::latency(&example::latencies_ns(base_ns as u64, ITERATIONS, seed));
    point.frames_per_s = Some(16e9 / latency.mean_ns);
    point.latency = Some(latency);
    profile.run.id = run.to_owned();
    profile
}

impl Fleet {
    /// The boards' own speeds follow from `boards_seed` alone, so that two draws can be of the same boards.
    fn draw(self, boards_seed: u64) -> Vec<Entry> {
        let mut boards = Rng::new(boards_seed);
        let mut noise = Rng::new(self.seed.wrapping_mul(7919) ^ boards_seed << 32);
        let mut all = Vec::new();
        for board in 0..self.boards {
            let own = (self.board_sigma * boards.normal()).exp();
            for run in 0..self.runs {
                let base = 5e6 * self.factor * own * (self.run_sigma * noise.normal()).exp();
                let profile = profile_of(base, noise.next_u64(), &format!("{}-{board}-{run}", self.seed));
                all.extend(entries(&format!("board-{board:02}"), &profile));
            }
        }
        all
    }
}

fn firmware(entries: &mut [Entry], release: &str) {
    for entry in entries {
        entry.key.firmware = Some(release.into());
    }
}

fn across_firmware() -> CohortRule {
    CohortRule { varied: vec![Factor::Firmware], ..CohortRule::default() }
}

/// The verdict and the P50 ratio of one drawn comparison on the same boards.
fn paired(factor: f64, trial: u64) -> (Verdict, f64) {
    let mut before = Fleet { seed: 2 * trial, ..FLEET }.draw(trial);
    let mut after = Fleet { seed: 2 * trial + 1, factor, ..FLEET }.draw(trial);
    firmware(&mut before, "36.4.3");
    firmware(&mut after, "36.4.4");
    let found = contrast(&before, &after, &across_firmware());
    assert_eq!(found.groups.len(), 1);
    assert_eq!(found.groups[0].metrics[0].basis, Basis::PairedBoards(FLEET.boards));
    (found.verdict, found.groups[0].metrics[0].ratio)
}

#[test]
fn the_same_boards_measured_twice_are_never_called_worse_or_better() {
    let wrong: Vec<(u64, Verdict)> =
        (0..60).map(|trial| (trial, paired(1.0, trial).0)).filter(|(_, v)| *v != Verdict::Same).collect();
    assert_eq!(wrong, Vec::new(), "of 60 comparisons without a change");
}

#[test]
fn a_regression_of_4_percent_is_found_on_boards_that_differ_by_3() {
    let found: Vec<(Verdict, f64)> = (0..40).map(|trial| paired(1.04, trial)).collect();
    let missed = found.iter().filter(|(verdict, _)| *verdict != Verdict::Worse).count();
    assert_eq!(missed, 0, "of 40 comparisons");
    for (_, ratio) in found {
        assert!((ratio - 1.04).abs() < 0.02, "{ratio}");
    }
    let gains = (0..20).filter(|&trial| paired(1.0 / 1.04, trial).0 == Verdict::Better).count();
    assert_eq!(gains, 20);
}

#[test]
fn other_boards_widen_the_threshold_instead_of_giving_a_false_verdict() {
    let mut wrong = 0;
    for trial in 0..40 {
        let mut before = Fleet { seed: 2 * trial, ..FLEET }.draw(1000 + trial);
        let mut after = Fleet { seed: 2 * trial + 1, ..FLEET }.draw(2000 + trial);
        for entry in &mut after {
            entry.sample.device.insert_str(0, "other-");
        }
        firmware(&mut before, "a");
        firmware(&mut after, "b");
        let found = contrast(&before, &after, &across_firmware());
        assert_eq!(found.groups[0].metrics[0].basis, Basis::Boards(12, 12));
        wrong += usize::from(found.verdict != Verdict::Same);
    }
    assert!(wrong <= 1, "{wrong} of 40 comparisons of two draws from one population");
}

#[test]
fn one_board_is_compared_by_its_runs_and_a_single_run_by_its_iterations() {
    let one = |runs, factor, seed| Fleet { boards: 1, runs, factor, seed, ..FLEET }.draw(5);
    let rule = CohortRule::default();
    let found = contrast(&one(8, 1.0, 1), &one(8, 1.04, 2), &rule);
    assert_eq!(found.groups[0].metrics[0].basis, Basis::Runs(8, 8));
    assert_eq!(found.verdict, Verdict::Worse);
    assert_eq!(contrast(&one(8, 1.0, 3), &one(8, 1.0, 4), &rule).verdict, Verdict::Same);
    let found = contrast(&one(1, 1.0, 5), &one(1, 1.1, 6), &rule);
    assert_eq!((found.groups[0].metrics[0].basis, found.verdict), (Basis::Iterations, Verdict::Worse));
}

#[test]
fn what_must_agree_is_never_mixed() {
    let before = Fleet { seed: 1, ..FLEET }.draw(1);
    let mut after = Fleet { seed: 2, ..FLEET }.draw(1);
    firmware(&mut after, "36.4.4");
    let found = contrast(&before, &after, &CohortRule::default());
    assert_eq!(found.verdict, Verdict::NotComparable);
    assert_eq!((found.only_baseline.len(), found.only_candidate.len()), (1, 1));
    for entry in &mut after {
        entry.key.digest = Some("c".repeat(64));
    }
    assert!(contrast(&before, &after, &across_firmware()).groups.is_empty(), "another build");
}

#[test]
fn a_merged_p99_is_that_of_all_latencies_where_the_mean_of_p99s_is_far_off() {
    // Nine healthy boards and one that needs 57.5 ms, as in the merge's reason for being.
    let mut samples = Vec::new();
    let mut all: Vec<u64> = Vec::new();
    let mut p99s = Vec::new();
    for board in 0..10u64 {
        let base = if board == 9 { 57_500_000.0 } else { 37_500_000.0 };
        let profile = profile_of(base, board, "r");
        all.extend(example::latencies_ns(base as u64, ITERATIONS, board));
        let found = entries(&format!("b{board}"), &profile);
        p99s.push(found[0].sample.p99_ns.unwrap());
        samples.extend(found);
    }
    all.sort_unstable();
    let truth = crate::stats::quantile::reference(&all, Quantile::P99).unwrap();
    let numbered = samples.iter().enumerate().map(|(board, entry)| (board as u32, &entry.sample));
    let merged = super::Pool::of_latencies(numbered).quantile(Quantile::P99).unwrap();
    let one = super::Pool::of_latencies([(0, &samples[9].sample)]).quantile(Quantile::P99).unwrap();
    assert!((one / p99s[9] - 1.0).abs() < 1e-3, "a lone run's P99 is the reference figure");
    let averaged = p99s.iter().sum::<f64>() / 10.0;
    assert!((merged / truth - 1.0).abs() < 0.01, "{merged} against {truth}");
    assert!(averaged / truth < 0.95, "{averaged} against {truth}");
}

#[test]
fn a_board_has_one_weight_however_many_iterations_it_ran() {
    let mut quick = profile_of(5e6, 1, "q");
    quick.points[0].latency = Some(example::latency(&example::latencies_ns(5_000_000, 20_000, 1)));
    let slow = profile_of(10e6, 2, "s");
    let all: Vec<Entry> = entries("quick", &quick).into_iter().chain(entries("slow", &slow)).collect();
    let numbered = all.iter().enumerate().map(|(board, entry)| (board as u32, &entry.sample));
    let pool = super::Pool::of_latencies(numbered);
    let at = |part| pool.quantile(Quantile::new(part, 100).unwrap()).unwrap();
    assert!(at(45) < 6e6 && at(55) > 9e6, "{} {}", at(45), at(55));
}

#[test]
fn a_lone_distribution_keeps_its_measured_percentiles_without_its_tail() {
    for seed in 0..50 {
        let mut all = entries("b", &profile_of(5e6 * 1.003_f64.powi(seed), seed as u64, "r"));
        let sample = &mut all[0].sample;
        sample.histogram = sample.histogram.without_tail();
        let pool = super::Pool::of_latencies([(0, &*sample)]);
        let p50 = pool.quantile(Quantile::P50).unwrap();
        let p99 = pool.quantile(Quantile::P99).unwrap();
        assert!((p50 / sample.p50_ns - 1.0).abs() < 0.002, "{p50} {}", sample.p50_ns);
        // The tail's few values lie far apart, and are moved together.
        assert!((p99 / sample.p99_ns.unwrap() - 1.0).abs() < 0.03, "{p99} {:?}", sample.p99_ns);
    }
}

fn throttle(entry: &mut Entry) {
    entry.sample.throttled = Some(ThrottleCause::Thermal);
    entry.sample.signs.throttles = Some([ThrottleCause::Thermal].into());
}

#[test]
fn throttled_boards_stand_apart_and_their_number_has_a_verdict() {
    let fleet = Fleet { boards: 30, ..FLEET };
    let mut before = Fleet { seed: 1, ..fleet }.draw(9);
    let mut after = Fleet { seed: 2, ..fleet }.draw(9);
    firmware(&mut before, "a");
    firmware(&mut after, "b");
    for entry in before.iter_mut().chain(&mut after) {
        entry.sample.signs.throttles = Some(BTreeSet::new());
    }
    for entry in after.iter_mut().take(12) {
        throttle(entry);
        entry.sample.p50_ns *= 2.0;
    }
    let found = contrast(&before, &after, &across_firmware());
    let group = &found.groups[0];
    assert_eq!((group.baseline.throttled_boards, group.candidate.throttled_boards), (0, 12));
    assert!(group.metrics.iter().all(|metric| metric.verdict == Verdict::Same), "{:?}", group.metrics);
    assert_eq!((group.throttling.verdict, found.verdict), (Verdict::Worse, Verdict::Worse));
    for entry in &mut after {
        throttle(entry);
    }
    let found = contrast(&before, &after, &across_firmware());
    assert!(found.groups[0].metrics.is_empty() && found.groups[0].reason.is_some());
}

#[test]
fn boards_that_were_not_soaked_do_not_count_as_unthrottled() {
    let mut before = Fleet { seed: 1, boards: 30, ..FLEET }.draw(9);
    let mut after = before.clone();
    firmware(&mut before, "a");
    firmware(&mut after, "b");
    for entry in before.iter_mut().chain(&mut after) {
        entry.sample.signs.throttles = None;
    }
    for entry in after.iter_mut().take(12) {
        throttle(entry);
    }
    let group = contrast(&before, &after, &across_firmware()).groups.remove(0);
    assert_eq!((group.baseline.soaked_boards, group.candidate.soaked_boards), (0, 12));
    assert_eq!((group.baseline.throttled_boards, group.candidate.throttled_boards), (0, 12));
    assert_eq!(group.throttling.verdict, Verdict::NotComparable, "{:?}", group.throttling);
}

#[test]
fn a_run_that_lost_its_level_while_the_board_throttled_is_a_throttled_sample() {
    let mut profile = example::profile();
    let soaked = profile.soaks[0].throttles[0].cause;
    let index = profile.points.iter().position(|point| point.latency.is_some()).unwrap();
    let of = |profile: &Profile| entries("b", profile)[0].sample.throttled;
    assert_eq!(of(&profile), None);
    profile.points[index].latency.as_mut().unwrap().steady = SteadyState::Slowdown;
    assert_eq!(of(&profile), Some(soaked));
}

#[test]
fn outliers_are_rarely_named_in_a_fleet_without_any() {
    for boards in [6, 10, 30] {
        let named: usize = (0..60)
            .map(|trial| Fleet { boards, seed: trial, ..FLEET }.draw(trial + 50))
            .map(|fleet| outliers(&fleet, OutlierRule::default()).len())
            .sum();
        assert!(named <= 2, "{named} boards named in 60 fleets of {boards}");
    }
}

#[test]
fn a_board_that_is_25_percent_slower_is_named_with_what_is_odd_about_it() {
    for trial in 0..20 {
        let mut fleet = Fleet { boards: 10, seed: trial, ..FLEET }.draw(trial + 300);
        for entry in &mut fleet {
            entry.sample.signs.hottest_millicelsius = Some(61_000);
        }
        let slow = entries("slow", &profile_of(5e6 * 1.25 * 1.05, trial, "x")).remove(0);
        fleet.push(slow);
        let last = fleet.last_mut().unwrap();
        last.sample.signs.hottest_millicelsius = Some(84_000);
        last.sample.signs.governor = Some("powersave".into());
        let found = outliers(&fleet, OutlierRule::default());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].device.as_str(), found[0].peer_count), ("slow", 10));
        let causes: Vec<LikelyCause> = found[0].suspects.iter().map(|suspect| suspect.cause).collect();
        assert_eq!(causes, [LikelyCause::Temperature, LikelyCause::Clock]);
        assert_eq!(found[0].suspects[0].sign, "it reached 84 \u{b0}C, its peers 61 \u{b0}C");
        assert_eq!(found[0].suspects[1].sign, "its CPU governor is powersave, its peers' schedutil");
    }
}

#[test]
fn memory_over_current_and_other_work_are_told_apart() {
    let check = |spoil: &dyn Fn(&mut Entry), cause: LikelyCause| {
        let mut fleet = Fleet { boards: 8, ..FLEET }.draw(3);
        fleet.extend(entries("slow", &profile_of(7e6, 1, "x")));
        spoil(fleet.last_mut().unwrap());
        let found = outliers(&fleet, OutlierRule::default());
        let causes: Vec<LikelyCause> = found[0].suspects.iter().map(|suspect| suspect.cause).collect();
        assert_eq!(causes, [cause]);
    };
    check(&|entry| entry.sample.signs.swap_in_pages = Some(9000), LikelyCause::Memory);
    check(&|entry| entry.sample.signs.major_faults = Some(500), LikelyCause::Memory);
    check(&|entry| entry.sample.signs.load_centi = Some(400), LikelyCause::OtherWork);
    let over_current = |entry: &mut Entry| {
        entry.sample.signs.throttles = Some([ThrottleCause::OverCurrent].into());
    };
    check(&over_current, LikelyCause::OverCurrent);
}

const DAY: u64 = 86_400_000;

/// `boards` boards over `days`, one run a day each; from `from_day` on all are `factor` slower.
fn history(boards: usize, days: u64, step: Option<(u64, f64)>, seed: u64) -> Vec<TrendPoint> {
    let mut rng = Rng::new(seed);
    let mut points = Vec::new();
    for board in 0..boards {
        let own = (0.05 * rng.normal()).exp();
        // Later boards join later.
        for day in (board as u64 * 2)..days {
            let after = step.is_some_and(|(from, _)| day >= from);
            let factor = step.filter(|_| after).map_or(1.0, |(_, factor)| factor);
            points.push(TrendPoint {
                at_unix_ms: day * DAY,
                device: format!("board-{board}"),
                value: 5e6 * own * factor * (0.01 * rng.normal()).exp(),
                context: vec![("firmware", if after { "36.4.4" } else { "36.4.3" }.into())],
            });
        }
    }
    points
}

#[test]
fn a_steady_history_has_no_change() {
    let changes: usize =
        (0..60).map(|seed| trend(&history(4, 40, None, seed), TrendRule::default()).changes.len()).sum();
    assert_eq!(changes, 0, "in 60 histories");
}

#[test]
fn a_step_of_5_percent_is_found_on_its_day_with_what_changed_then() {
    for seed in 0..40 {
        let found = trend(&history(4, 40, Some((25, 1.05)), seed), TrendRule::default());
        assert_eq!(found.changes.len(), 1, "{found:?}");
        let change = &found.changes[0];
        assert!(change.at_unix_ms.abs_diff(25 * DAY) <= DAY, "{change:?}");
        assert!((change.ratio - 1.05).abs() < 0.012, "{change:?}");
        assert_eq!(change.coincides, [("firmware", "36.4.3".to_owned(), "36.4.4".to_owned())]);
        assert!((0.006..0.016).contains(&found.noise), "{}", found.noise);
    }
}

#[test]
fn few_measurements_and_no_measurements_have_a_trend_without_changes() {
    assert!(trend(&[], TrendRule::default()).levels.is_empty());
    let short = trend(&history(1, 3, None, 1), TrendRule::default());
    assert_eq!((short.levels.len(), short.changes.len()), (1, 0));
}

#[test]
fn the_metrics_of_a_contrast_are_those_that_every_sample_has() {
    let before = Fleet { seed: 1, ..FLEET }.draw(1);
    let mut after = Fleet { seed: 2, ..FLEET }.draw(1);
    after[0].sample.p99_ns = None;
    let found = contrast(&before, &after, &CohortRule::default());
    let metrics: Vec<Figure> = found.groups[0].metrics.iter().map(|metric| metric.metric).collect();
    assert_eq!(metrics, [Figure::P50, Figure::FramesPerSecond, Figure::PeakMemory]);
}

#[test]
fn boards_that_changed_during_their_sweep_are_judged_by_their_figures_in_the_common_state() {
    let before = Fleet { seed: 1, ..FLEET }.draw(1);
    let mut after = Vec::new();
    // Measured 1.3 times as fast as the board was at the end of the sweep.
    for entry in (Fleet { seed: 2, factor: 1.0 / 1.3, ..FLEET }).draw(1) {
        let base = entry.sample.p50_ns;
        let profile = example::drifted(profile_of(base, 3, &entry.sample.run), 1.3);
        after.extend(entries(&entry.sample.device, &profile));
    }
    assert!(outliers(&after, OutlierRule::default()).is_empty());
    let found = contrast(&before, &after, &CohortRule::default());
    let group = &found.groups[0];
    assert_eq!((group.baseline.moved_runs, group.candidate.moved_runs), (0, 12));
    for metric in &group.metrics {
        assert!((metric.ratio - 1.0).abs() < 0.02, "{metric:?}");
        assert_eq!(metric.verdict, Verdict::Same, "{metric:?}");
    }
    // The merged distribution is in that state too.
    let (was, is) = (&group.baseline.pool, &group.candidate.pool);
    for quantile in [Quantile::P50, Quantile::P95, Quantile::P99] {
        let ratio = is.quantile(quantile).unwrap() / was.quantile(quantile).unwrap();
        assert!((ratio - 1.0).abs() < 0.03, "{quantile:?}: {ratio}");
    }
}
