use super::{Allotment, JournalEntry, StepResult, Sweep, SweepRules, SweepStep};
use crate::plan::{Limits, Plan, Request, UsableVariant};
use crate::point::{PointId, Shape, Variant};
use crate::record::{Cause, Failure, NotRun, Phase, PointOutcome, Stage};
use crate::simulated::{FailureRule, Noise, PowerDraw, SimulatedSpec};
use crate::stats::rng::Rng;
use crate::summary::Objective;
use crate::truth::board;
use crate::units::{Bytes, Microjoules, Nanos};
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;
use std::collections::BTreeSet;

fn plan(request: Request, models: &[&str]) -> Plan {
    let variant = |model: &&str| UsableVariant {
        variant: Variant::new((*model).to_owned(), "simulated".to_owned()),
        fixed: Vec::new(),
    };
    Plan::expand(request, models.iter().map(variant).collect(), &Limits::default()).unwrap()
}

fn id(variant: u16, batch_size: u32, clip_length: u32) -> PointId {
    PointId { variant, shape: Shape::new(batch_size, clip_length).unwrap() }
}

/// Latencies of the built-in pair on one thread of a laptop: attention over all tokens, and over frames.
fn joint() -> SimulatedSpec {
    let mut spec = SimulatedSpec { seed: 1, noise: noise(0.03), ..SimulatedSpec::default() };
    (spec.latency.fixed_us, spec.latency.linear_us, spec.latency.quadratic_us) = (300.0, 180.0, 25.0);
    spec
}

fn temporal() -> SimulatedSpec {
    let mut spec = SimulatedSpec { seed: 2, noise: noise(0.03), ..SimulatedSpec::default() };
    (spec.latency.fixed_us, spec.latency.linear_us, spec.latency.quadratic_us) = (400.0, 95.0, 0.15);
    spec
}

fn noise(sigma: f64) -> Noise {
    Noise { sigma, autocorrelation: 0.3, ..Noise::default() }
}

fn outcome(run: &board::VirtualRun, id: PointId) -> &PointOutcome {
    &run.record.points.iter().find(|point| point.id == id).unwrap().outcome
}

fn counted(run: &board::VirtualRun, id: PointId) -> usize {
    let point = run.record.points.iter().find(|point| point.id == id).unwrap();
    point.chunks.iter().map(|chunk| chunk.counted().len()).sum()
}

#[test]
fn the_default_grid_of_two_models_takes_about_two_minutes() {
    let plan = plan(Request::default(), &["joint", "temporal"]);
    let run = board::run(&plan, SweepRules::for_plan(&plan), &[joint(), temporal()]);
    let seconds = run.elapsed.as_secs_f64();
    assert!((40.0..=125.0).contains(&seconds), "{seconds} s");
    assert!(run.record.points.iter().all(|point| {
        matches!(
            point.outcome,
            PointOutcome::Measured | PointOutcome::Dominated { .. } | PointOutcome::Interrupted
        )
    }));
    let slowest = counted(&run, id(0, 4, 128));
    assert!((3..=30).contains(&slowest), "{slowest} iterations of the slowest point");
}

#[test]
fn the_first_point_over_the_memory_limit_ends_the_larger_ones_and_is_named() {
    let mut request = Request { memory_limit_bytes: Some(40 << 20), ..Request::default() };
    request.batch_sizes = vec![1, 2, 4];
    request.clip_lengths = vec![16, 32, 64, 128];
    let plan = plan(request, &["temporal"]);
    // 32 MiB + 64 KiB per frame: 128 frames are the most that 40 MiB hold.
    let run = board::run(&plan, SweepRules::for_plan(&plan), &[temporal()]);
    let failed: Vec<PointId> = run
        .record
        .points
        .iter()
        .filter(|point| matches!(&point.outcome, PointOutcome::Failed(f) if f.cause == Cause::OutOfMemory))
        .map(|point| point.id)
        .collect();
    assert_eq!(failed, vec![id(0, 2, 128), id(0, 4, 64)]);
    let skipped = PointOutcome::NotRun { why: NotRun::WouldExceedMemory, because_of: Some(id(0, 2, 128)) };
    assert_eq!(outcome(&run, id(0, 4, 128)), &skipped);
}

#[test]
fn the_first_point_over_the_time_limit_ends_the_larger_ones() {
    let request = Request { inference_limit_s: 0.2, batch_sizes: vec![1, 2], ..Request::default() };
    let plan = plan(request, &["joint"]);
    let run = board::run(&plan, SweepRules::for_plan(&plan), &[joint()]);
    assert!(matches!(outcome(&run, id(0, 1, 128)), PointOutcome::Failed(f) if f.cause == Cause::TimedOut));
    let skipped = PointOutcome::NotRun { why: NotRun::WouldExceedTime, because_of: Some(id(0, 1, 128)) };
    assert_eq!(outcome(&run, id(0, 2, 128)), &skipped);
    assert!(!matches!(outcome(&run, id(0, 1, 64)), PointOutcome::Failed(_) | PointOutcome::NotRun { .. }));
}

#[test]
fn a_model_that_the_backend_cannot_run_is_tried_once() {
    let plan = plan(Request::default(), &["joint", "temporal"]);
    let mut broken = joint();
    broken.failure.push(FailureRule {
        batch_size: std::num::NonZeroU32::MIN,
        clip_length: std::num::NonZeroU32::MIN,
        stage: Stage::Prepare,
        cause: Cause::UnsupportedOperator,
        message: "no operator Loop".into(),
        after_iterations: 0,
    });
    let run = board::run(&plan, SweepRules::for_plan(&plan), &[broken, temporal()]);
    let tried = run.journal.iter().filter(|entry| entry.step.point.variant == 0).count();
    assert_eq!(tried, 1);
    let skipped = PointOutcome::NotRun { why: NotRun::VariantFailed, because_of: Some(id(0, 1, 8)) };
    assert_eq!(outcome(&run, id(0, 4, 128)), &skipped);
    assert!(!matches!(outcome(&run, id(1, 4, 128)), PointOutcome::NotRun { .. }));
}

#[test]
fn a_point_that_another_beats_on_everything_is_dropped_and_names_it() {
    let request = Request { clip_lengths: vec![8, 128], batch_sizes: vec![1], ..Request::default() };
    let plan = plan(request, &["joint"]);
    let run = board::run(&plan, SweepRules::for_plan(&plan), &[joint()]);
    assert_eq!(outcome(&run, id(0, 1, 128)), &PointOutcome::Dominated { by: id(0, 1, 8) });
    assert_eq!(outcome(&run, id(0, 1, 8)), &PointOutcome::Measured);
}

#[test]
fn models_do_not_compete_with_each_other() {
    let request = Request { clip_lengths: vec![64], batch_sizes: vec![1], ..Request::default() };
    let plan = plan(request, &["joint", "temporal"]);
    let run = board::run(&plan, SweepRules::for_plan(&plan), &[joint(), temporal()]);
    assert_eq!(outcome(&run, id(0, 1, 64)), &PointOutcome::Measured);
    assert_eq!(outcome(&run, id(1, 1, 64)), &PointOutcome::Measured);
}

#[test]
fn a_fixed_run_counts_exactly_the_given_iterations_after_a_tenth_of_warm_up() {
    let request = Request { iterations: Some(250), clip_lengths: vec![8, 16], ..Request::default() };
    let plan = plan(request, &["joint"]);
    let rules = SweepRules::for_plan(&plan);
    assert_eq!(rules.allotment, Allotment::Fixed { warm_up: 25, iterations: 250 });
    let run = board::run(&plan, rules, &[joint()]);
    for point in &run.record.points {
        assert_eq!(point.outcome, PointOutcome::Measured);
        assert_eq!(counted(&run, point.id), 250, "{:?}", point.id);
        let issued: usize = point.chunks.iter().map(|chunk| chunk.latencies_ns.len()).sum();
        assert_eq!(issued, 1 + 25 + 250);
    }
}

#[test]
fn an_exhaustive_run_measures_every_point_100_and_1000_times() {
    let request = Request { exhaustive: true, batch_sizes: vec![1], ..Request::default() };
    let plan = plan(request, &["temporal"]);
    let run = board::run(&plan, SweepRules::for_plan(&plan), &[temporal()]);
    assert!(plan.points.iter().all(|&id| counted(&run, id) == 1000));
}

#[test]
fn a_budget_that_ends_early_leaves_small_points_measured_and_the_rest_named() {
    let request = Request { budget_s: Some(2.0), ..Request::default() };
    let plan = plan(request, &["joint", "temporal"]);
    let run = board::run(&plan, SweepRules::for_plan(&plan), &[joint(), temporal()]);
    assert!(run.elapsed < Nanos::from_secs(5), "{}", run.elapsed);
    let budget = PointOutcome::NotRun { why: NotRun::Budget, because_of: None };
    assert_eq!(outcome(&run, id(0, 4, 128)), &budget);
    assert!(counted(&run, id(0, 1, 8)) > 0);
    assert!(counted(&run, id(1, 1, 8)) > 0);
}

#[test]
fn the_streaming_choice_is_certified_against_its_deadline() {
    let request = Request { fps: Some(30.0), budget_s: Some(3600.0), ..Request::default() };
    let plan = plan(request, &["temporal"]);
    let run = board::run(&plan, SweepRules::for_plan(&plan), &[temporal()]);
    let certified: BTreeSet<PointId> = run
        .journal
        .iter()
        .filter(|entry| entry.step.phase == Phase::Certify)
        .map(|entry| entry.step.point)
        .collect();
    assert!(!certified.is_empty());
    assert!(certified.iter().all(|&id| counted(&run, id) >= 368 || certified.len() > 1));
}

#[test]
fn the_anchor_is_repeated_in_every_block_of_several_points() {
    let plan = plan(Request { budget_s: Some(3600.0), ..Request::default() }, &["temporal"]);
    let run = board::run(&plan, SweepRules::for_plan(&plan), &[temporal()]);
    let race = run.journal.iter().filter(|entry| entry.step.block > 0);
    let mut per_block = std::collections::BTreeMap::<u32, (usize, usize)>::new();
    for entry in race {
        let counts = per_block.entry(entry.step.block).or_default();
        let anchor = entry.step.phase == Phase::Anchor;
        *(if anchor { &mut counts.0 } else { &mut counts.1 }) += 1;
    }
    assert!(per_block.len() > 2);
    assert!(
        per_block.values().all(|&(anchors, others)| anchors == usize::from(others >= 2)),
        "{per_block:?}"
    );
}

#[test]
fn a_replayed_journal_restores_the_sweep() {
    let plan = plan(Request::default(), &["temporal"]);
    let rules = SweepRules::for_plan(&plan);
    let run = board::run(&plan, rules.clone(), &[temporal()]);
    let half = &run.journal[..run.journal.len() / 2];
    let mut restored = Sweep::replay(&plan, rules.clone(), half).unwrap();
    let next = &run.journal[half.len()];
    let step = restored.next(next.asked).unwrap();
    assert_eq!(
        (step.point, step.phase, step.iterations),
        (next.step.point, next.step.phase, next.step.iterations)
    );
    assert!(step.build, "no engine survives a restart");
    let mut other = rules;
    other.pilot_iterations = 7;
    assert_eq!(Sweep::replay(&plan, other, half).unwrap_err().index, 1);
}

/// A hostile board: any result may come back, and the user may stop at any step.
struct Hostile {
    rng: Rng,
    now: Nanos,
    live: BTreeSet<PointId>,
    failure_share: f64,
    empty_share: f64,
}

impl Hostile {
    fn answer(&mut self, step: &SweepStep) -> StepResult {
        let mut result =
            StepResult { peak_memory: Some(Bytes(self.rng.next_u64() >> 34)), ..StepResult::default() };
        if self.rng.uniform() < self.failure_share {
            result.failure = Some(self.failure());
        }
        if self.rng.uniform() < self.empty_share {
            return result;
        }
        let level = 1e3 * 10_f64.powf(6.5 * self.rng.uniform());
        let issued = self.rng.below(step.total_iterations() as usize + 1);
        let latencies: Vec<u64> =
            (0..issued).map(|_| (level * (1.0 + 0.1 * self.rng.uniform())) as u64).collect();
        let started = self.now;
        let spent: u64 = latencies.iter().sum();
        self.now = Nanos(started.0 + spent.min(step.longest().0));
        result.chunk = Some(step.chunk(started, self.now, latencies));
        result.energy = (self.rng.uniform() < 0.5).then_some(Microjoules(1000));
        result
    }

    fn failure(&mut self) -> Failure {
        let causes = [
            Cause::UnsupportedOperator,
            Cause::ImpossibleShape,
            Cause::OutOfMemory,
            Cause::TimedOut,
            Cause::Crashed,
            Cause::BadModel,
            Cause::Backend,
        ];
        let cause = causes[self.rng.below(causes.len())];
        Failure { stage: Stage::Measure, cause, message: "hostile".into() }
    }

    /// The engines that the step's orders leave alive.
    fn follow(&mut self, step: &SweepStep, cap: usize) -> Result<(), TestCaseError> {
        for closed in &step.close {
            prop_assert!(self.live.remove(closed), "closed an engine that was not alive: {closed:?}");
        }
        prop_assert_eq!(step.build, !self.live.contains(&step.point));
        self.live.insert(step.point);
        prop_assert!(self.live.len() <= cap, "{} engines alive, {cap} allowed", self.live.len());
        Ok(())
    }
}

fn is_bounded(step: &SweepStep, rules: &SweepRules) -> Result<(), TestCaseError> {
    let most = rules.certify_iterations.max(1000) * 2;
    prop_assert!(step.total_iterations() >= 1, "a step that measures nothing: {step:?}");
    prop_assert!(step.total_iterations() <= most, "{step:?}");
    prop_assert!(step.longest() < Nanos::from_secs(400_000), "{step:?}");
    if let Some(budget) = rules.survey_budget.max(rules.budget) {
        prop_assert!(step.time_limit <= budget, "{step:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_every_planned_point_ends_with_one_outcome(
        seed: u64, cap in 1..6_usize, failure_share in 0.0..0.4_f64, empty_share in 0.0..0.3_f64,
        cancel_after in proptest::option::of(0..200_u32), kind in 0..4_u32, two: bool, fps: bool,
    ) {
        let mut request = Request { seed, clip_lengths: vec![8, 16, 32], ..Request::default() };
        request.budget_s = (kind == 0).then_some(20.0);
        request.iterations = (kind == 1).then_some(40);
        request.exhaustive = kind == 2;
        request.fps = fps.then_some(30.0);
        let plan = plan(request, if two { &["a", "b"] } else { &["a"] });
        let mut rules = SweepRules::for_plan(&plan);
        rules.max_live_engines = cap;
        rules.max_live_memory = Some(Bytes(1 << 30));
        let mut sweep = Sweep::new(&plan, rules.clone());
        let mut board =
            Hostile { rng: Rng::new(seed), now: Nanos(0), live: BTreeSet::new(), failure_share, empty_share };
        let mut journal = Vec::new();
        let mut steps = 0_u32;
        while let Some(step) = sweep.next(board.now) {
            steps += 1;
            prop_assert!(steps < 20_000, "the sweep does not end");
            let again = sweep.next(board.now);
            prop_assert_eq!(again.as_ref(), Some(&step));
            is_bounded(&step, &rules)?;
            board.follow(&step, cap)?;
            let asked = board.now;
            let result = board.answer(&step);
            if cancel_after == Some(steps) {
                sweep.cancel();
            }
            if result.failure.is_some() {
                board.live.remove(&step.point);
            }
            sweep.observe(&result);
            journal.push(JournalEntry { restarted: false, asked, step, result });
            if cancel_after == Some(steps) {
                prop_assert_eq!(sweep.next(board.now), None);
                journal.pop();
            }
        }
        let outcomes = sweep.outcomes();
        let ids: Vec<PointId> = outcomes.iter().map(|(id, _)| *id).collect();
        prop_assert_eq!(&ids, &plan.points);
        for (id, outcome) in &outcomes {
            let started = journal.iter().any(|entry| entry.step.point == *id) || cancel_after.is_some();
            prop_assert!(started || matches!(outcome, PointOutcome::NotRun { .. }), "{id:?}: {outcome:?}");
        }
        if cancel_after.is_none_or(|after| after > steps) {
            prop_assert!(Sweep::replay(&plan, rules, &journal).is_ok());
        }
    }

    #[test]
    fn simulated_surfaces_of_any_shape_end_within_the_budget_and_one_inference(
        seed: u64, fixed in 10.0..50_000.0_f64, linear in 0.1..20_000.0_f64, sigma in 0.0..0.5_f64,
        cap in 1..8_usize, budget in 5.0..200.0_f64,
    ) {
        let mut spec = SimulatedSpec { seed, noise: noise(sigma), ..SimulatedSpec::default() };
        (spec.latency.fixed_us, spec.latency.linear_us) = (fixed, linear);
        spec.power = Some(PowerDraw { idle_mw: 3000.0, active_mw: 500.0, exponent: 0.3 });
        let request = Request { seed, budget_s: Some(budget), ..Request::default() };
        let plan = plan(request, &["a"]);
        let mut rules = SweepRules::for_plan(&plan);
        rules.max_live_engines = cap;
        let run = board::run(&plan, rules, std::slice::from_ref(&spec));
        let slowest = run.record.points.iter().flat_map(|point| &point.chunks)
            .flat_map(|chunk| &chunk.latencies_ns).max().copied().unwrap_or(0);
        let over = run.elapsed.as_secs_f64() - budget;
        let prepare = spec.prepare_time(id(0, 4, 128).shape).as_secs_f64();
        prop_assert!(over <= 2.0 * slowest as f64 / 1e9 + prepare, "{over} s over the budget");
        prop_assert_eq!(run.record.points.len(), plan.points.len());
    }
}

/// A 3D CNN on a small board: 0.3 s for 8 frames, and four times that for a batch of 4.
fn slow() -> SimulatedSpec {
    let mut spec = SimulatedSpec { seed: 3, noise: noise(0.02), ..SimulatedSpec::default() };
    (spec.latency.fixed_us, spec.latency.linear_us) = (20_000.0, 35_000.0);
    spec.prepare.fixed_ms = 3000.0;
    spec
}

#[test]
fn a_slow_model_ends_with_operating_points_and_says_what_is_not_settled() {
    let request = Request { clip_lengths: vec![8, 16, 32], fps: None, ..Request::default() };
    let plan = plan(request, &["slow"]);
    let run = board::run(&plan, SweepRules::for_plan(&plan), &[slow()]);
    let profile = crate::analysis::study(&run.record);
    assert!(profile.points.iter().all(|point| point.latency.is_some()), "{:?}", profile.points);
    let offline = profile.operating_points.iter().find(|row| row.objective == Objective::Offline).unwrap();
    assert!(!offline.chosen.is_empty(), "{offline:?}");
    let open = profile.points.iter().any(|point| point.status == crate::summary::Status::Interrupted);
    let listed = profile.warnings.iter().any(|warning| warning.contains("a time budget (budget_s) of about"));
    assert_eq!(open, listed, "{:?}", profile.warnings);
}

#[test]
fn a_budget_that_was_asked_for_is_kept_with_the_preparation_of_engines() {
    for (budget_s, prepare_ms) in [(60.0, 8000.0), (60.0, 100.0), (30.0, 45_000.0), (20.0, 1500.0)] {
        let request =
            Request { clip_lengths: vec![8, 16, 32], budget_s: Some(budget_s), ..Request::default() };
        let plan = plan(request, &["slow"]);
        let mut spec = slow();
        spec.prepare.fixed_ms = prepare_ms;
        let run = board::run(&plan, SweepRules::for_plan(&plan), &[spec]);
        let elapsed = run.elapsed.as_secs_f64();
        assert!(elapsed <= 1.1 * budget_s, "{elapsed} s of {budget_s} s, {prepare_ms} ms an engine");
        let failed = run.record.points.iter().any(|p| matches!(p.outcome, PointOutcome::Failed(_)));
        assert!(!failed, "the end of the budget is no failure of a point");
    }
}
