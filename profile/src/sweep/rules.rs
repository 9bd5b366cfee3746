//! The numbers that shape a sweep, each with its reason.

use crate::plan::{Load, Plan, Request};
use crate::units::{Bytes, Nanos};
use serde::{Deserialize, Serialize};

/// How much a budget that nobody asked for may be stretched so that every point gets a first look.
const SURVEY_STRETCH: u64 = 3;

/// How much it may be stretched for points that the pilot found slow.
const RACE_STRETCH: u64 = 5;

/// The reference harness warms up with 100 iterations before 1000 (`--exhaustive` repeats it).
const REFERENCE_WARM_UP: u32 = 100;
const REFERENCE_ITERATIONS: u32 = 1000;

/// How iterations are allotted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allotment {
    /// As many as each point turns out to need.
    Adaptive,
    /// The same for every point, no decisions but feasibility.
    Fixed {
        /// Iterations that are recorded but not counted.
        warm_up: u32,
        /// Iterations that count.
        iterations: u32,
    },
}

/// The numbers that shape a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepRules {
    /// How iterations are allotted.
    pub allotment: Allotment,
    /// Time after which nothing new is started; `None`: unlimited.
    pub budget: Option<Nanos>,
    /// The same for the first look (feasibility and pilot) alone.
    pub survey_budget: Option<Nanos>,
    /// Iterations of the pilot.
    pub pilot_iterations: u32,
    /// The pilot of a slow point stops after this much time, but not before `least_iterations`.
    pub pilot_time: Nanos,
    /// Least iterations worth comparing: a mean of five has an interval of a few percent.
    pub least_iterations: u32,
    /// Even `least_iterations` may not take longer than this.
    pub slowest_pilot: Nanos,
    /// Factor by which survivors grow from block to block.
    pub growth: f64,
    /// Iterations at which a comparison is given up as a tie.
    pub race_iterations: u32,
    /// Iterations at which P99 is given up as not determinable.
    pub certify_iterations: u32,
    /// Relative width of the P99 interval that is narrow enough.
    pub p99_width: f64,
    /// Relative half width of the mean's interval that is narrow enough for points that nothing chooses.
    pub mean_precision: f64,
    /// Relative difference that does not matter: points closer than this are tied.
    pub epsilon: f64,
    /// Relative uncertainty of a power reading.
    pub power_uncertainty: f64,
    /// Most engines alive at once, at least 1.
    pub max_live_engines: usize,
    /// Most memory that live engines may hold together.
    pub max_live_memory: Option<Bytes>,
    /// Time that a paused engine is run uncounted, so that caches and clocks are back.
    pub lead_in: Nanos,
    /// Longest stretch of fixed iterations in one step, so that a stop is heard.
    pub fixed_step: Nanos,
    /// Longest stretch of one point in a block, but not below `least_chunk` iterations: what is measured close in
    /// time is compared.
    #[serde(default = "chunk_time")]
    pub chunk_time: Nanos,
    /// Least iterations of a point in a block.
    #[serde(default = "least_chunk")]
    pub least_chunk: u32,
    /// The anchor returns at least this often during the survey.
    #[serde(default = "chunk_time")]
    pub anchor_every: Nanos,
    /// Blocks in which the leaders and all that could still beat them are measured side by side.
    #[serde(default = "side_by_side")]
    pub side_by_side: u32,
    /// How far a budget that nobody asked for follows slow points, as a multiple of it.
    #[serde(default = "no_stretch")]
    pub stretch: u64,
    /// Limit of building one engine.
    pub prepare_limit: Nanos,
    /// Limit of one inference.
    pub inference_limit: Nanos,
    /// Load of the run: paced inferences take as long as their period.
    pub load: Load,
    /// Seed of the order.
    pub seed: u64,
}

const fn chunk_time() -> Nanos {
    Nanos::from_secs(1)
}

const fn least_chunk() -> u32 {
    10
}

const fn no_stretch() -> u64 {
    1
}

const fn side_by_side() -> u32 {
    3
}

fn seconds(value: f64) -> Nanos {
    Nanos((value * 1e9) as u64)
}

impl SweepRules {
    /// Budget per point without a `budget_s`: 30 points, the default grid of the built-in pair, take two minutes.
    pub const DEFAULT_BUDGET_PER_POINT: Nanos = Nanos::from_secs(4);

    /// Least budget without a `budget_s`.
    pub const LEAST_DEFAULT_BUDGET: Nanos = Nanos::from_secs(20);

    /// The rules that follow from a plan's request.
    #[must_use]
    pub fn for_plan(plan: &Plan) -> Self {
        let request = &plan.request;
        let points = plan.points.len().max(1) as u64;
        let allotment = allotment(request);
        let default = Nanos((Self::DEFAULT_BUDGET_PER_POINT.0 * points).max(Self::LEAST_DEFAULT_BUDGET.0));
        let asked = request.budget_s.map(seconds);
        let (budget, survey_budget) = match (allotment, asked) {
            (Allotment::Fixed { .. }, asked) => (asked, asked),
            (Allotment::Adaptive, Some(asked)) => (Some(asked), Some(asked)),
            (Allotment::Adaptive, None) => (Some(default), Some(Nanos(default.0 * SURVEY_STRETCH))),
        };
        let per_point = Nanos(budget.unwrap_or(default).0 / points);
        Self {
            allotment,
            budget,
            survey_budget,
            pilot_iterations: 30,
            pilot_time: Nanos(per_point.0 / 4),
            least_iterations: 5,
            slowest_pilot: Nanos(per_point.0 * 5 / 2),
            growth: 1.5,
            race_iterations: 1000,
            certify_iterations: 2000,
            p99_width: 0.1,
            mean_precision: 0.02,
            epsilon: 0.01,
            power_uncertainty: 0.01,
            max_live_engines: 16,
            max_live_memory: None,
            lead_in: Nanos(10_000_000),
            fixed_step: Nanos::from_secs(2),
            chunk_time: chunk_time(),
            least_chunk: least_chunk(),
            anchor_every: chunk_time(),
            side_by_side: side_by_side(),
            stretch: if asked.is_some() { 1 } else { RACE_STRETCH },
            prepare_limit: seconds(request.prepare_limit_s),
            inference_limit: seconds(request.inference_limit_s),
            load: request.load,
            seed: request.seed,
        }
    }
}

fn allotment(request: &Request) -> Allotment {
    match request.iterations {
        Some(iterations) => {
            Allotment::Fixed { warm_up: iterations.div_ceil(10).min(REFERENCE_WARM_UP), iterations }
        }
        None if request.exhaustive => {
            Allotment::Fixed { warm_up: REFERENCE_WARM_UP, iterations: REFERENCE_ITERATIONS }
        }
        None => Allotment::Adaptive,
    }
}
