//! Racing against the exhaustive sweep on planted surfaces: time, chosen points, regret, deadlines.
//!
//! A *surface* is a random model on a random board: latency over 3 batch sizes and 9 clip lengths with a
//! texture that no formula has, noise of a random family, power, and a stream with a deadline. The true
//! optimum is known from the spec. Both sweeps run on it with noise of their own; each operating point is
//! judged by its true figures.

use super::board;
use crate::analysis;
use crate::plan::{Limits, Plan, Request, UsableVariant};
use crate::point::{PointId, Shape, Variant};
use crate::select;
use crate::simulated::{Noise, ParetoTail, PowerDraw, SimulatedSpec, SlowMode};
use crate::stats::rng::Rng;
use crate::summary::{EnergySummary, Interval, Objective, OperatingPoint, PointSummary, Profile};
use crate::sweep::{JournalEntry, SweepRules};

/// Clip lengths of a surface.
pub const CLIP_LENGTHS: [u32; 9] = [4, 8, 12, 16, 24, 32, 48, 64, 96];

/// Batch sizes of a surface.
pub const BATCH_SIZES: [u32; 3] = [1, 2, 4];

/// Share of the deadline that a point must keep as distance to be held against a sweep that misses it.
const MARGIN: f64 = 0.05;

pub(super) const OBJECTIVES: [Objective; 3] =
    [Objective::Streaming, Objective::Offline, Objective::Efficiency];

/// What racing was worth on a number of surfaces.
#[derive(Debug, Clone, PartialEq)]
pub struct RacingScore {
    /// Surfaces.
    pub surfaces: usize,
    /// Time of racing / time of the exhaustive sweep, mean over the surfaces.
    pub time_ratio: f64,
    /// The largest such ratio of one surface.
    pub worst_time_ratio: f64,
    /// Summed time of racing / summed time of the exhaustive sweep.
    pub total_time_ratio: f64,
    /// Share of operating points at which racing's first choice is among the exhaustive sweep's.
    pub same_points: f64,
    /// Share of operating points at which both first choices are the same point.
    pub same_first: f64,
    /// Relative loss of racing's first choice against the true optimum among the points whose exact P99
    /// keeps 5 % away from the deadline: 95th percentile. Nearer ones take more iterations than any sweep
    /// affords.
    pub regret_p95: f64,
    /// The same against all points whose exact P99 is within the deadline.
    pub strict_regret_p95: f64,
    /// The same for the exhaustive sweep.
    pub exhaustive_regret_p95: f64,
    /// Streaming points chosen by racing whose true P99 misses the deadline.
    pub deadline_violations: usize,
    /// The same for the exhaustive sweep.
    pub exhaustive_violations: usize,
    /// Operating points that the exhaustive sweep names and racing does not.
    pub unnamed: usize,
}

/// A random surface with a stream that some of its points can serve.
#[must_use]
pub fn surface(seed: u64) -> SimulatedSpec {
    let mut rng = Rng::new(seed);
    let mut between = |low: f64, high: f64| low * (high / low).powf(rng.uniform());
    let mut spec = SimulatedSpec::default();
    spec.latency.fixed_us = between(300.0, 20_000.0);
    spec.latency.linear_us = between(50.0, 2_000.0);
    spec.latency.batch_exponent = between(0.7, 1.2);
    spec.latency.quadratic_us = between(0.002, 5.0);
    spec.latency.texture = between(0.005, 0.15);
    spec.latency.texture_seed = seed;
    let sigma = between(0.01, 0.08);
    let autocorrelation = between(0.01, 0.6);
    let share = between(0.005, 0.05);
    let factor = between(1.1, 1.6);
    spec.noise = Noise { sigma, autocorrelation, ..Noise::default() };
    match seed % 4 {
        0 => spec.noise.slow = Some(SlowMode { share, factor }),
        1 => spec.noise.tail = Some(ParetoTail { share, factor, alpha: 4.0 }),
        _ => {}
    }
    let exponent = between(0.05, 0.4);
    spec.power = Some(PowerDraw { idle_mw: 3000.0, active_mw: between(800.0, 4000.0), exponent });
    spec.memory.per_frame_bytes = between(1e4, 1e6);
    spec
}

/// A stream that one random point of the surface just serves or just misses: its exact P99 is 85 to 110 % of
/// its deadline.
#[must_use]
pub fn stream_fps(spec: &SimulatedSpec, seed: u64) -> f64 {
    let mut rng = Rng::new(seed ^ 0xf95);
    let (batch_size, frames) = (BATCH_SIZES[rng.below(3)], CLIP_LENGTHS[rng.below(9)]);
    let p99_s = Shape::new(batch_size, frames).map_or(1.0, |at| spec.quantile_ns(at, 0.99) / 1e9);
    f64::from(frames) / p99_s * (0.85 + 0.25 * rng.uniform())
}

/// Plays racing and the exhaustive sweep on `surfaces` planted surfaces.
#[must_use]
pub fn racing(surfaces: usize, seed: u64) -> RacingScore {
    let games: Vec<Game> = (0..surfaces as u64).map(|index| Game::play(seed.wrapping_add(index))).collect();
    let answers: Vec<&Answer> = games.iter().flat_map(|game| &game.answers).collect();
    let share = |count: usize| count as f64 / answers.len().max(1) as f64;
    let ratio = |game: &Game| game.racing_s / game.exhaustive_s;
    RacingScore {
        surfaces,
        time_ratio: games.iter().map(ratio).sum::<f64>() / games.len().max(1) as f64,
        total_time_ratio: games.iter().map(|game| game.racing_s).sum::<f64>()
            / games.iter().map(|game| game.exhaustive_s).sum::<f64>(),
        worst_time_ratio: games.iter().map(ratio).fold(0.0, f64::max),
        same_points: share(answers.iter().filter(|answer| answer.among).count()),
        same_first: share(answers.iter().filter(|answer| answer.first).count()),
        regret_p95: p95(answers.iter().filter_map(|answer| answer.regret).collect()),
        strict_regret_p95: p95(answers.iter().filter_map(|answer| answer.strict_regret).collect()),
        exhaustive_regret_p95: p95(answers.iter().filter_map(|answer| answer.exhaustive_regret).collect()),
        deadline_violations: answers.iter().filter(|answer| answer.violates).count(),
        exhaustive_violations: answers.iter().filter(|answer| answer.exhaustive_violates).count(),
        unnamed: answers.iter().filter(|answer| answer.unnamed).count(),
    }
}

/// The smallest value that at least 95 % of `values` do not exceed.
fn p95(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * 0.95).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Both sweeps on one surface.
struct Game {
    racing_s: f64,
    exhaustive_s: f64,
    answers: Vec<Answer>,
}

/// What is known of a surface.
pub(super) struct Truth {
    pub(super) spec: SimulatedSpec,
    pub(super) fps: f64,
}

/// One operating point of one surface.
struct Answer {
    among: bool,
    first: bool,
    regret: Option<f64>,
    strict_regret: Option<f64>,
    exhaustive_regret: Option<f64>,
    violates: bool,
    exhaustive_violates: bool,
    unnamed: bool,
}

impl Game {
    fn play(seed: u64) -> Self {
        let truth = Truth { spec: surface(seed), fps: stream_fps(&surface(seed), seed) };
        let (racing, racing_s, _) = sweep(&truth, seed ^ 0xace, false);
        let (exhaustive, exhaustive_s, _) = sweep(&truth, seed ^ 0xe8a, true);
        let answer = |&objective: &Objective| judge(&truth, objective, &racing, &exhaustive);
        Self { racing_s, exhaustive_s, answers: OBJECTIVES.iter().map(answer).collect() }
    }
}

/// Runs one sweep over the surface; the noise is seeded apart, the surface is not.
pub(super) fn sweep(truth: &Truth, noise_seed: u64, exhaustive: bool) -> (Profile, f64, board::VirtualRun) {
    let request = Request {
        clip_lengths: CLIP_LENGTHS.to_vec(),
        batch_sizes: BATCH_SIZES.to_vec(),
        fps: Some(truth.fps),
        exhaustive,
        seed: noise_seed,
        ..Request::default()
    };
    let variant = Variant::new("planted", "simulated");
    let usable = UsableVariant { variant, fixed: Vec::new() };
    let limits = Limits::default();
    let Ok(plan) = Plan::expand(request, vec![usable], &limits) else {
        unreachable!("the request of this module is within the default limits")
    };
    let mut rules = SweepRules::for_plan(&plan);
    // Time is what is compared: it must not be what ends the race.
    (rules.budget, rules.survey_budget) = (None, None);
    let spec = SimulatedSpec { seed: noise_seed, ..truth.spec.clone() };
    let run = board::run(&plan, rules, std::slice::from_ref(&spec));
    let mut profile = analysis::study(&run.record);
    for point in &mut profile.points {
        point.energy = energy(point, &run.journal);
        analysis::comparable::set_energy_of(point);
    }
    profile.operating_points = select::operating_points(&profile);
    let seconds = run.elapsed.as_secs_f64();
    (profile, seconds, run)
}

/// Energy as the board's meter told it per step, as uncertain as the mean latency.
fn energy(point: &PointSummary, journal: &[JournalEntry]) -> Option<EnergySummary> {
    let own = || journal.iter().filter(|entry| entry.step.point == point.id);
    let total: f64 = own().filter_map(|entry| entry.result.energy).map(|energy| energy.0 as f64).sum();
    let chunks = || own().filter_map(|entry| entry.result.chunk.as_ref());
    let inferences: usize = chunks().map(|chunk| chunk.latencies_ns.len()).sum();
    let busy_ns: u64 = chunks().flat_map(|chunk| &chunk.latencies_ns).sum();
    let latency = point.latency.as_ref()?;
    let per_frame = total / inferences as f64 / point.id.shape.frames() as f64;
    let scaled = |mean: Option<f64>| mean.map(|mean| per_frame * mean / latency.mean_ns);
    Some(EnergySummary {
        mean_power_mw: total / busy_ns as f64 * 1e6,
        gross_per_frame_uj: per_frame,
        net_per_frame_uj: None,
        gross_ci_uj: Interval {
            lower: scaled(latency.mean_ci_ns.lower),
            upper: scaled(latency.mean_ci_ns.upper),
        },
        window_ms: busy_ns / 1_000_000,
    })
}

fn judge(truth: &Truth, objective: Objective, racing: &Profile, exhaustive: &Profile) -> Answer {
    let (own, reference) = (row(racing, objective), row(exhaustive, objective));
    let (first, reference_first) = (own.first().copied(), reference.first().copied());
    let best = |margin: f64| {
        let costs = racing.points.iter().filter_map(|point| cost(truth, objective, point.id, margin));
        costs.fold(f64::INFINITY, f64::min)
    };
    let regret = |id: Option<PointId>, margin: f64| {
        let loss = true_cost(truth, objective, id?)? / best(margin) - 1.0;
        Some(loss.max(0.0))
    };
    let violates = |id: Option<PointId>| {
        objective == Objective::Streaming && id.is_some_and(|id| !meets(truth, id, 0.0))
    };
    Answer {
        among: first.is_some_and(|id| reference.contains(&id)) || own.is_empty() && reference.is_empty(),
        first: first == reference_first,
        regret: regret(first, MARGIN),
        strict_regret: regret(first, 0.0),
        exhaustive_regret: regret(reference_first, MARGIN),
        violates: violates(first),
        exhaustive_violates: violates(reference_first),
        unnamed: own.is_empty() && !reference.is_empty(),
    }
}

pub(super) fn row(profile: &Profile, objective: Objective) -> &[PointId] {
    let row = profile.operating_points.iter().find(|row: &&OperatingPoint| row.objective == objective);
    row.map_or(&[], |row| &row.chosen)
}

/// Whether the point's exact P99 is within its deadline, with a margin.
fn meets(truth: &Truth, id: PointId, margin: f64) -> bool {
    let deadline_ns = f64::from(id.shape.clip()) / truth.fps * 1e9;
    truth.spec.quantile_ns(id.shape, 0.99) <= deadline_ns * (1.0 - margin)
}

/// What the objective minimises, exactly; `None` for points that may not be chosen.
fn cost(truth: &Truth, objective: Objective, id: PointId, margin: f64) -> Option<f64> {
    if objective == Objective::Streaming && !meets(truth, id, margin) {
        return None;
    }
    true_cost(truth, objective, id)
}

pub(super) fn true_cost(truth: &Truth, objective: Objective, id: PointId) -> Option<f64> {
    let per_frame = truth.spec.mean_ns(id.shape) / id.shape.frames() as f64;
    match objective {
        Objective::Offline => Some(per_frame),
        _ => Some(per_frame * truth.spec.power_mw(id.shape)?),
    }
}

#[cfg(test)]
mod tests {
    use super::racing;

    // About 15 s of one core: two sweeps of 27 points on each of 60 surfaces, which the target names.
    #[test]
    fn racing_finds_the_planted_optimum_in_a_fraction_of_the_time() {
        let score = racing(60, 1);
        assert!(score.time_ratio <= 0.3, "{score:?}");
        assert!(score.same_points >= 0.95, "{score:?}");
        assert!(score.regret_p95 <= 0.012, "{score:?}");
        assert_eq!(score.deadline_violations, 0, "{score:?}");
        assert_eq!(score.unnamed, 0, "{score:?}");
    }
}
