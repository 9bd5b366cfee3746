use super::{CompareRule, Comparison, Verdict, compare};
use crate::analysis::study;
use crate::axis::Axis;
use crate::figures::Figure;
use crate::identity::Factor;
use crate::plan::{Limits, Plan, Request, UsableVariant};
use crate::point::{Shape, Variant};
use crate::record::{Cause, ModelRecord, Stage};
use crate::simulated::{FailureRule, Noise, SimulatedSpec};
use crate::summary::Profile;
use crate::sweep::SweepRules;
use crate::truth::board;
use crate::units::Bytes;

fn spec(seed: u64) -> SimulatedSpec {
    let noise = Noise { sigma: 0.02, autocorrelation: 0.3, ..Noise::default() };
    SimulatedSpec { seed, noise, ..SimulatedSpec::default() }
}

fn profile_of(spec: SimulatedSpec, request: Request) -> Profile {
    let variant = Variant::new("m", "simulated");
    let usable = UsableVariant { variant, fixed: Vec::new() };
    let plan = Plan::expand(request, vec![usable], &Limits::default()).unwrap();
    let mut profile = study(&board::run(&plan, SweepRules::for_plan(&plan), &[spec]).record);
    profile.models.push(ModelRecord {
        name: "m".into(),
        sha256: "a".repeat(64),
        size_bytes: Bytes(1000),
        parameters: None,
        inputs: Vec::new(),
    });
    profile
}

fn fixed() -> Request {
    Request { iterations: Some(600), batch_sizes: vec![1, 2], ..Request::default() }
}

fn run(spec: SimulatedSpec) -> Profile {
    profile_of(spec, fixed())
}

fn plain(baseline: &Profile, candidate: &Profile) -> Comparison {
    compare(baseline, candidate, &CompareRule::default())
}

#[test]
fn two_runs_of_the_same_board_are_the_same() {
    let differing: usize = (0..20)
        .map(|seed| plain(&run(spec(seed)), &run(spec(seed + 1000))))
        .filter(|comparison| comparison.verdict != Verdict::Same)
        .count();
    assert_eq!(differing, 0, "of 20 pairs");
}

#[test]
fn a_slowdown_of_5_percent_is_found_at_every_point_and_a_speed_up_as_well() {
    let mut slower = spec(1);
    slower.latency.fixed_us *= 1.05;
    slower.latency.linear_us *= 1.05;
    let comparison = plain(&run(spec(0)), &run(slower.clone()));
    assert_eq!(comparison.verdict, Verdict::Worse);
    for point in &comparison.variants[0].points {
        let median = point.metrics.iter().find(|metric| metric.metric == Figure::P50).unwrap();
        assert_eq!(median.verdict, Verdict::Worse, "{point:?}");
        assert!((median.ratio - 1.05).abs() < 0.01, "{median:?}");
        let memory = point.metrics.iter().find(|metric| metric.metric == Figure::PeakMemory).unwrap();
        assert_eq!(memory.verdict, Verdict::Same);
    }
    assert_eq!(plain(&run(slower), &run(spec(0))).verdict, Verdict::Better);
}

#[test]
fn a_difference_below_the_noise_of_few_iterations_is_no_finding() {
    let few = || Request { iterations: Some(12), batch_sizes: vec![1], ..Request::default() };
    let mut noisy = spec(3);
    noisy.noise.sigma = 0.2;
    let mut slower = noisy.clone();
    slower.seed = 4;
    slower.latency.linear_us *= 1.05;
    let comparison = plain(&profile_of(noisy, few()), &profile_of(slower, few()));
    assert_ne!(comparison.verdict, Verdict::Worse);
    let p99 = &comparison.variants[0].points[0].metrics[1];
    assert_eq!((p99.metric, p99.verdict), (Figure::P99, Verdict::NotComparable));
    assert_eq!(p99.threshold, None, "P99 has no upper bound at 12 iterations");
}

#[test]
fn another_model_digest_is_refused_by_saying_so_and_allowed_when_it_is_what_is_compared() {
    let baseline = run(spec(0));
    let mut candidate = run(spec(1));
    candidate.models[0].sha256 = "b".repeat(64);
    let refused = plain(&baseline, &candidate);
    assert_eq!(refused.verdict, Verdict::NotComparable);
    assert_eq!(
        refused.variants[0].mismatches[0].to_string(),
        "the build differs: aaaaaaaaaaaa against bbbbbbbbbbbb; compare runs with the same build, or name it as \
         what is compared"
    );
    let rule = CompareRule { varied: vec![Factor::MODEL], ..CompareRule::default() };
    let allowed = compare(&baseline, &candidate, &rule);
    assert_eq!(allowed.verdict, Verdict::Same);
    assert_eq!(allowed.variants[0].mismatches.len(), 1, "it is still named");
}

#[test]
fn another_power_mode_is_refused_for_every_point() {
    let mut baseline = run(spec(0));
    baseline.environment.power_mode = Some("0 MAXN".into());
    let mut candidate = run(spec(1));
    candidate.environment.power_mode = Some("1 15W".into());
    let comparison = plain(&baseline, &candidate);
    assert_eq!(comparison.verdict, Verdict::NotComparable);
    assert_eq!(comparison.mismatches[0].factor, Factor::POWER_MODE);
    assert!(comparison.variants[0].points.iter().all(|point| point.metrics.is_empty()));
}

#[test]
fn measured_and_simulated_figures_are_never_mixed_silently() {
    let baseline = run(spec(0));
    let mut candidate = run(spec(1));
    candidate.run.simulated = false;
    assert_eq!(plain(&baseline, &candidate).mismatches[0].factor, Factor::Simulation);
}

#[test]
fn versions_are_conditions_and_refuse_nothing() {
    let baseline = run(spec(0));
    let mut candidate = run(spec(1));
    candidate.environment.kernel = Some("6.8".into());
    candidate.backends[0].version = "9.9".into();
    let comparison = plain(&baseline, &candidate);
    assert_eq!(comparison.verdict, Verdict::Same);
    let names: Vec<&str> = comparison.conditions.iter().map(|condition| condition.name.as_str()).collect();
    assert_eq!(names, vec!["kernel", "simulated"]);
}

#[test]
fn a_point_that_fails_now_is_worse_and_one_that_was_not_reached_is_not_comparable() {
    let baseline = run(spec(0));
    let mut broken = spec(1);
    broken.failure.push(FailureRule {
        batch_size: std::num::NonZeroU32::new(2).unwrap(),
        clip_length: std::num::NonZeroU32::new(64).unwrap(),
        stage: Stage::Measure,
        cause: Cause::OutOfMemory,
        message: "declared".into(),
        after_iterations: 0,
    });
    let candidate = run(broken);
    let verdict = |comparison: &Comparison, batch, clip| {
        let at = Shape::new(batch, clip).unwrap();
        comparison.variants[0].points.iter().find(|point| point.shape == at).unwrap().verdict
    };
    let comparison = plain(&baseline, &candidate);
    assert_eq!(verdict(&comparison, 2, 64), Verdict::Worse);
    assert_eq!(verdict(&comparison, 2, 128), Verdict::Worse, "not run because of the failure");
    assert_eq!(verdict(&comparison, 1, 64), Verdict::Same);
    assert_eq!(verdict(&plain(&candidate, &baseline), 2, 64), Verdict::Better);
    let short = profile_of(spec(2), Request { budget_s: Some(1.0), ..fixed() });
    assert_eq!(verdict(&plain(&baseline, &short), 2, 128), Verdict::NotComparable);
}

#[test]
fn variants_without_a_counterpart_are_named() {
    let baseline = run(spec(0));
    let mut candidate = run(spec(1));
    candidate.variants[0].threads = 4;
    let comparison = plain(&baseline, &candidate);
    assert_eq!(
        comparison.unmatched,
        vec![
            "m on simulated (model) is only in the baseline",
            "m on simulated (model, 4 threads) is only in the candidate"
        ]
    );
    let rule = CompareRule { varied: vec![Factor::Axis(Axis::Threads)], ..CompareRule::default() };
    assert!(compare(&baseline, &candidate, &rule).unmatched.is_empty());
}

#[test]
fn an_operating_point_that_falls_elsewhere_is_named() {
    let baseline = run(spec(0));
    let mut candidate = run(spec(0));
    let elsewhere = candidate.points[0].id;
    candidate.operating_points[1].chosen = vec![elsewhere];
    let comparison = plain(&baseline, &candidate);
    assert_eq!(comparison.variants[0].moved.len(), 1);
    assert_eq!(comparison.variants[0].moved[0].candidate, vec![elsewhere.shape]);
    assert!(plain(&baseline, &baseline).variants[0].moved.is_empty());
}

#[test]
fn a_board_that_changed_is_compared_in_its_common_state_and_that_is_said() {
    let baseline = run(spec(1));
    // Measured 1.25 times as fast as the board was at the end of the sweep.
    let mut faster = spec(2);
    faster.latency.fixed_us /= 1.25;
    faster.latency.linear_us /= 1.25;
    let candidate = crate::example::drifted(run(faster), 1.25);
    let comparison = plain(&baseline, &candidate);
    assert_eq!(comparison.verdict, Verdict::Same, "{comparison:?}");
    let told = comparison.conditions.iter().find(|row| row.name == "board during the sweep").unwrap();
    assert_eq!(told.baseline, "held still, figures as measured");
    assert_eq!(told.candidate, "changed by a factor of 1.25, figures in its state at the end");
}
