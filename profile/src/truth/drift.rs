//! Racing on boards that change while they are measured: does it still name the best point?
//!
//! The surfaces are those of [`super::sweep`]; the board becomes slower or faster by 1.15 to 1.6 during the run,
//! in six ways. All points slow down alike, so that the true order of the points is that of the still board.

use super::sweep::{OBJECTIVES, Truth, row, stream_fps, surface, sweep, true_cost};
use crate::point::PointId;
use crate::simulated::{SimulatedSpec, Stall, ThrottleSpan};
use crate::stats::rng::Rng;
use crate::summary::{Objective, PointSummary, Profile, Status};

/// How a board changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It holds still.
    Still,
    /// One step to a slower state.
    StepUp,
    /// One step to a faster state.
    StepDown,
    /// Slower and slower.
    Ramp,
    /// Slower, and back.
    ThereAndBack,
    /// A thermal governor that swings.
    Oscillation,
    /// Nothing advances for seconds.
    Stall,
}

impl Kind {
    /// The six that move.
    pub const MOVING: [Self; 6] =
        [Self::StepUp, Self::StepDown, Self::Ramp, Self::ThereAndBack, Self::Oscillation, Self::Stall];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Still => "still",
            Self::StepUp => "step up",
            Self::StepDown => "step down",
            Self::Ramp => "ramp",
            Self::ThereAndBack => "there and back",
            Self::Oscillation => "oscillation",
            Self::Stall => "stalls",
        }
    }
}

/// Relative loss beyond which a run named a wrong point.
pub const WRONG: f64 = 0.02;

/// How racing did on boards of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DriftScore {
    /// Runs.
    pub runs: usize,
    /// Runs in which the point named for offline work or for efficiency loses more than [`WRONG`].
    pub wrong: usize,
    /// Runs that name no point for one of these.
    pub unnamed: usize,
    /// Operating points that a point of the table beats by more than the stated noise.
    pub contradictions: usize,
    /// Largest loss.
    pub worst_regret: f64,
    /// Time of the run over that on the still board, mean.
    pub time_ratio: f64,
}

fn span(at_s: f64, factor: f64, until_s: Option<f64>, ramp_s: f64) -> ThrottleSpan {
    ThrottleSpan { at_s, factor, until_s, ramp_s }
}

/// `spec` on a board that changes as `kind` says, over a run of about `length_s`.
#[must_use]
pub fn drifting(spec: &SimulatedSpec, kind: Kind, length_s: f64, seed: u64) -> SimulatedSpec {
    let mut rng = Rng::new(seed ^ 0xd41f);
    let mut between = |low: f64, high: f64| low + (high - low) * rng.uniform();
    let factor = between(1.15, 1.6);
    let at = length_s * between(0.03, 0.9);
    let mut spec = spec.clone();
    match kind {
        Kind::Still => {}
        Kind::StepUp => spec.throttle.push(span(at, factor, None, 0.0)),
        Kind::StepDown => spec.throttle.push(span(0.0, factor, Some(at), 0.0)),
        Kind::Ramp => spec.throttle.push(span(at / 3.0, factor.min(1.5), None, length_s * between(0.1, 0.9))),
        Kind::ThereAndBack => {
            let (ramp, back) = (length_s * between(0.0, 0.3), length_s * between(0.1, 0.5));
            spec.throttle.push(span(at, factor, None, ramp));
            spec.throttle.push(span(at + back, 1.0 / factor, None, ramp));
        }
        Kind::Oscillation => {
            let (period, share) = (length_s * between(0.01, 0.1), between(0.3, 0.7));
            let start = |k: usize| at / 2.0 + period * k as f64;
            let spans = (0..400).map(|k| span(start(k), factor, Some(start(k) + share * period), 0.0));
            spec.throttle.extend(spans);
        }
        Kind::Stall => {
            let (period_s, length_ms) = (length_s * between(0.1, 0.4), between(1000.0, 5000.0));
            spec.stall = Some(Stall { first_s: at / 2.0, period_s: period_s.max(6.0), length_ms });
        }
    }
    spec
}

impl DriftScore {
    fn add(&mut self, game: &Self) {
        self.runs += game.runs;
        self.wrong += game.wrong;
        self.unnamed += game.unnamed;
        self.contradictions += game.contradictions;
        self.worst_regret = self.worst_regret.max(game.worst_regret);
        self.time_ratio += game.time_ratio;
    }
}

/// Plays racing on `surfaces` surfaces of one kind; `autocorrelation` is that of the noise. Surfaces are shared
/// among the machine's processors.
#[must_use]
pub fn score(kind: Kind, surfaces: usize, autocorrelation: f64, seed: u64) -> DriftScore {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(surfaces.max(1));
    let own = move |worker: usize| {
        let mut total = DriftScore::default();
        for index in (worker..surfaces).step_by(workers) {
            total.add(&play(kind, autocorrelation, seed.wrapping_add(index as u64)));
        }
        total
    };
    let mut total = DriftScore::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || own(worker))).collect();
        for thread in threads {
            if let Ok(part) = thread.join() {
                total.add(&part);
            }
        }
    });
    total.time_ratio /= total.runs.max(1) as f64;
    total
}

/// One surface.
fn play(kind: Kind, autocorrelation: f64, seed: u64) -> DriftScore {
    let mut spec = surface(seed);
    spec.noise.autocorrelation = autocorrelation;
    let fps = stream_fps(&spec, seed);
    let still = Truth { spec, fps };
    let (_, length_s, _) = sweep(&still, seed ^ 0xace, false);
    let moved = Truth { spec: drifting(&still.spec, kind, length_s, seed), fps };
    let (profile, seconds, _) = sweep(&moved, seed ^ 0xace, false);
    let regrets =
        [Objective::Offline, Objective::Efficiency].map(|objective| regret(&still, objective, &profile));
    let worst = regrets.iter().flatten().copied().fold(0.0, f64::max);
    DriftScore {
        runs: 1,
        wrong: usize::from(worst > WRONG),
        unnamed: usize::from(regrets.iter().any(Option::is_none)),
        contradictions: OBJECTIVES.iter().filter(|&&objective| contradicts(&profile, objective)).count(),
        worst_regret: worst,
        time_ratio: seconds / length_s,
    }
}

/// One run for a picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// How the board changed.
    pub kind: Kind,
    /// What was found.
    pub profile: Profile,
    /// Length of the run, seconds.
    pub length_s: f64,
    /// The board as it was planted.
    pub planted: SimulatedSpec,
    /// Loss of the point named for offline work against the true best.
    pub regret: Option<f64>,
}

/// Plays one surface for a picture.
#[must_use]
pub fn picture(kind: Kind, seed: u64) -> Picture {
    let spec = surface(seed);
    let fps = stream_fps(&spec, seed);
    let still = Truth { spec, fps };
    let (_, still_s, _) = sweep(&still, seed ^ 0xace, false);
    let planted = drifting(&still.spec, kind, still_s, seed);
    let (profile, length_s, _) = sweep(&Truth { spec: planted.clone(), fps }, seed ^ 0xace, false);
    let regret = regret(&still, Objective::Offline, &profile);
    Picture { kind, profile, length_s, planted, regret }
}

fn regret(truth: &Truth, objective: Objective, profile: &Profile) -> Option<f64> {
    let cost = |id: PointId| true_cost(truth, objective, id);
    let best = profile.points.iter().filter_map(|point| cost(point.id)).fold(f64::INFINITY, f64::min);
    Some(cost(*row(profile, objective).first()?)? / best - 1.0)
}

/// Whether a point of the table beats the chosen one by more than the noise that the table states.
fn contradicts(profile: &Profile, objective: Objective) -> bool {
    let Some(&chosen) = row(profile, objective).first() else { return false };
    let Some(chosen) = profile.points.iter().find(|point| point.id == chosen) else { return false };
    let has = |point: &&PointSummary| !matches!(point.status, Status::Failed | Status::NotRun);
    profile.points.iter().filter(has).any(|point| beats(objective, point, chosen))
}

fn beats(objective: Objective, point: &PointSummary, chosen: &PointSummary) -> bool {
    let figure = |point: &PointSummary| match objective {
        Objective::Offline => {
            let (mean, ci) = point.comparable_mean()?;
            let frames = point.id.shape.frames() as f64;
            Some((mean / frames, (ci.upper? - ci.lower?) / 2.0 / frames))
        }
        Objective::Efficiency => {
            let energy = point.comparable_energy()?;
            Some((energy.0, (energy.1.upper? - energy.1.lower?) / 2.0))
        }
        _ => None,
    };
    match (figure(point), figure(chosen)) {
        (Some((own, a)), Some((best, b))) => own + a.hypot(b) < best,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Truth, drifting, score};
    use crate::analysis::study;
    use crate::point::PointId;
    use crate::record::Phase;
    use crate::truth::sweep::{stream_fps, surface, sweep};

    /// One surface of each kind: the proof plays 60. Before points were compared in one state of the board, six such
    /// runs named a wrong point twice.
    #[test]
    fn on_boards_that_change_the_best_point_is_named_and_no_table_contradicts_it() {
        for (index, kind) in Kind::MOVING.into_iter().enumerate() {
            let score = score(kind, 2, 0.3, 100 + 2 * index as u64);
            assert_eq!((score.wrong, score.unnamed, score.contradictions), (0, 0, 0), "{kind:?}: {score:?}");
        }
    }

    fn stepping() -> (Truth, u64) {
        let spec = surface(5);
        let fps = stream_fps(&spec, 5);
        (Truth { spec: drifting(&spec, Kind::StepUp, 120.0, 5), fps }, 5)
    }

    #[test]
    fn the_record_holds_the_blocks_and_gives_the_same_figures_again() {
        let (truth, seed) = stepping();
        let (_, _, run) = sweep(&truth, seed, false);
        let profile = study(&run.record);
        let drift = profile.drift.as_ref().expect("the board moved");
        assert!(drift.anchor.is_some());
        assert!(drift.blocks.len() > 3, "{drift:?}");
        let (fastest, slowest) = drift.range().unwrap();
        let planted = truth.spec.throttle[0].factor;
        assert!(
            (slowest / fastest / planted - 1.0).abs() < 0.12,
            "{fastest} to {slowest}, planted {planted}"
        );
        let json = serde_json::to_string(&run.record).unwrap();
        let again = study(&serde_json::from_str(&json).unwrap());
        assert_eq!((again.drift, again.points), (profile.drift, profile.points));
        assert_eq!(again.operating_points, profile.operating_points);
    }

    #[test]
    fn figures_as_measured_stay_beside_the_comparable_ones() {
        let (truth, seed) = stepping();
        let (profile, _, run) = sweep(&truth, seed, false);
        let plain: Vec<u64> =
            run.record.points[0].chunks.iter().flat_map(|chunk| chunk.counted().to_vec()).collect();
        let first = profile.points.iter().find(|point| point.id == run.record.points[0].id).unwrap();
        let latency = first.latency.as_ref().unwrap();
        assert!(latency.iterations as usize <= plain.len());
        assert_eq!(latency.max_ns, *plain.iter().max().unwrap(), "as measured, the slow state included");
        assert!(first.comparable.is_some());
    }

    #[test]
    fn what_is_named_ran_side_by_side_with_what_could_beat_it() {
        let (truth, seed) = stepping();
        let (profile, _, run) = sweep(&truth, seed, false);
        let blocks = |id: PointId| {
            let point = run.record.points.iter().find(|point| point.id == id).unwrap();
            let shared = point.chunks.iter().filter(|chunk| chunk.phase == Phase::Race && chunk.block > 0);
            shared.map(|chunk| chunk.block).collect::<std::collections::BTreeSet<u32>>()
        };
        for row in profile.operating_points.iter().filter(|row| row.chosen.len() > 1) {
            // The one by whose worse end the others were judged is among them.
            let beside = |judge: &PointId| {
                let mut others = row.chosen.iter().filter(|id| *id != judge);
                others.all(|id| blocks(*judge).intersection(&blocks(*id)).count() >= 3)
            };
            assert!(row.chosen.iter().any(beside), "{row:?}");
        }
    }
}
