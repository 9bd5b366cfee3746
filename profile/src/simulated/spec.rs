//! What a simulated variant is declared to be: the TOML form, its checks, and the exact values that
//! follow from it.

use super::noise::Noise;
use crate::point::Shape;
use crate::record::{Cause, Failure, Stage};
use crate::units::{Bytes, Nanos};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// A simulated variant, as declared in TOML. Everything is deterministic in the spec, the point and the
/// engine's ordinal.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatedSpec {
    /// Seed of the noise.
    pub seed: u64,
    /// Noise-free latency over batch size and clip length.
    pub latency: Surface,
    /// What multiplies the noise-free latency.
    pub noise: Noise,
    /// Slower first iterations of every engine.
    pub warm_up: Option<WarmUp>,
    /// Latency that grows as time passes, as a fraction per minute.
    pub drift_per_minute: f64,
    /// Spans in which everything is slower.
    pub throttle: Vec<ThrottleSpan>,
    /// Times at which nothing advances.
    pub stall: Option<Stall>,
    /// Memory that an engine needs.
    pub memory: MemoryNeed,
    /// Time to build an engine.
    pub prepare: PrepareCost,
    /// Electrical power; absent for a board without a power sensor.
    pub power: Option<PowerDraw>,
    /// Points that fail.
    pub failure: Vec<FailureRule>,
}

/// Noise-free latency: `(fixed + linear B^e T + quadratic B T^2) x texture` microseconds for batch size B
/// and clip length T.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Surface {
    /// Cost of any inference, microseconds.
    pub fixed_us: f64,
    /// Cost per frame at batch size 1, microseconds.
    pub linear_us: f64,
    /// Exponent of the batch size in the linear part: below 1 batching pays, above 1 it is a cliff.
    pub batch_exponent: f64,
    /// Cost per clip and squared frame, as of attention over frames, microseconds.
    pub quadratic_us: f64,
    /// Each point's own factor is drawn log-uniformly from exp(-texture) to exp(texture).
    pub texture: f64,
    /// Seed of the points' factors.
    pub texture_seed: u64,
    /// Points whose latency is given instead of computed.
    pub at: Vec<FixedLatency>,
}

impl Default for Surface {
    fn default() -> Self {
        Self {
            fixed_us: 500.0,
            linear_us: 50.0,
            batch_exponent: 1.0,
            quadratic_us: 0.0,
            texture: 0.0,
            texture_seed: 0,
            at: Vec::new(),
        }
    }
}

/// A declared latency of one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedLatency {
    /// Batch size in clips.
    pub batch_size: NonZeroU32,
    /// Clip length in frames.
    pub clip_length: NonZeroU32,
    /// Noise-free latency, microseconds.
    pub us: f64,
}

/// Slower first iterations of every engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// How many iterations are slower.
    pub iterations: u32,
    /// How much slower the first one is.
    pub factor: f64,
    /// How the factor returns to 1.
    #[serde(default)]
    pub shape: WarmUpShape,
}

/// How a warm-up ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmUpShape {
    /// At once, after the last warm-up iteration.
    #[default]
    Step,
    /// Linearly.
    Ramp,
}

/// A span of virtual time in which every inference is slower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThrottleSpan {
    /// Onset, seconds of virtual time.
    pub at_s: f64,
    /// Latency during / latency before.
    pub factor: f64,
    /// End, seconds of virtual time; absent: it lasts.
    #[serde(default)]
    pub until_s: Option<f64>,
    /// Seconds over which the factor is approached linearly from 1.
    #[serde(default)]
    pub ramp_s: f64,
}

/// Periodic times at which nothing advances, as when another process takes the processor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// Start of the first stall, seconds of virtual time.
    pub first_s: f64,
    /// From the start of one stall to the start of the next, seconds.
    pub period_s: f64,
    /// Length of a stall, milliseconds; shorter than the period.
    pub length_ms: f64,
}

/// Peak memory of an engine: `base + per_frame B T + per_squared_frame B T^2` bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryNeed {
    /// Bytes that any engine needs.
    pub base_bytes: u64,
    /// Bytes per frame.
    pub per_frame_bytes: f64,
    /// Bytes per clip and squared frame.
    pub per_squared_frame_bytes: f64,
}

impl Default for MemoryNeed {
    fn default() -> Self {
        Self { base_bytes: 32 << 20, per_frame_bytes: 65_536.0, per_squared_frame_bytes: 0.0 }
    }
}

/// Time to build an engine: `fixed + per_frame B T`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrepareCost {
    /// Milliseconds for any engine.
    pub fixed_ms: f64,
    /// Microseconds per frame of one inference.
    pub per_frame_us: f64,
}

impl Default for PrepareCost {
    fn default() -> Self {
        Self { fixed_ms: 20.0, per_frame_us: 100.0 }
    }
}

/// Board power while inferring: `idle + active (B T)^exponent` milliwatts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerDraw {
    /// Power with nothing running, mW.
    pub idle_mw: f64,
    /// Power that an inference of one frame adds, mW.
    pub active_mw: f64,
    /// How the added power grows with the frames of one inference.
    #[serde(default)]
    pub exponent: f64,
}

/// A failure of every point that needs at least as much as the given one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureRule {
    /// Smallest failing batch size.
    pub batch_size: NonZeroU32,
    /// Smallest failing clip length.
    pub clip_length: NonZeroU32,
    /// Where it fails.
    pub stage: Stage,
    /// What kind of failure.
    pub cause: Cause,
    /// The backend's words.
    pub message: String,
    /// For failures while measuring: inferences that an engine completes first.
    #[serde(default)]
    pub after_iterations: u64,
}

/// A value of a spec that cannot be simulated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("simulated spec: {field} = {value} must be {bound}; correct it in the spec's file")]
pub struct SpecError {
    /// The field, as written in TOML.
    pub field: &'static str,
    /// The value given.
    pub value: f64,
    /// What it must be.
    pub bound: &'static str,
}

fn hold(field: &'static str, value: f64, holds: bool, bound: &'static str) -> Result<(), SpecError> {
    if holds && value.is_finite() { Ok(()) } else { Err(SpecError { field, value, bound }) }
}

fn at_least_zero(field: &'static str, value: f64) -> Result<(), SpecError> {
    hold(field, value, value >= 0.0, "0 or more")
}

fn above_zero(field: &'static str, value: f64) -> Result<(), SpecError> {
    hold(field, value, value > 0.0, "above 0")
}

impl SimulatedSpec {
    /// Holds every number against its range.
    ///
    /// # Errors
    /// The first value that is out of range.
    pub fn validate(&self) -> Result<(), SpecError> {
        self.latency.validate()?;
        self.noise.validate()?;
        hold("drift_per_minute", self.drift_per_minute, self.drift_per_minute > -1.0, "above -1")?;
        if let Some(warm_up) = &self.warm_up {
            above_zero("warm_up.factor", warm_up.factor)?;
        }
        for span in &self.throttle {
            at_least_zero("throttle.at_s", span.at_s)?;
            above_zero("throttle.factor", span.factor)?;
            at_least_zero("throttle.ramp_s", span.ramp_s)?;
            if let Some(until) = span.until_s {
                hold("throttle.until_s", until, until > span.at_s, "after at_s")?;
            }
        }
        if let Some(stall) = &self.stall {
            at_least_zero("stall.first_s", stall.first_s)?;
            above_zero("stall.length_ms", stall.length_ms)?;
            let fits = stall.period_s * 1e3 > stall.length_ms;
            hold("stall.period_s", stall.period_s, fits, "longer than length_ms")?;
        }
        at_least_zero("memory.per_frame_bytes", self.memory.per_frame_bytes)?;
        at_least_zero("memory.per_squared_frame_bytes", self.memory.per_squared_frame_bytes)?;
        at_least_zero("prepare.fixed_ms", self.prepare.fixed_ms)?;
        at_least_zero("prepare.per_frame_us", self.prepare.per_frame_us)?;
        if let Some(power) = &self.power {
            at_least_zero("power.idle_mw", power.idle_mw)?;
            at_least_zero("power.active_mw", power.active_mw)?;
            hold("power.exponent", power.exponent, power.exponent.abs() <= 4.0, "-4 to 4")?;
        }
        Ok(())
    }

    /// Noise-free latency at `at` in nanoseconds, without warm-up, drift, throttling or stalls.
    #[must_use]
    pub fn base_ns(&self, at: Shape) -> f64 {
        let given = self.latency.at.iter().find(|fixed| Shape::of(fixed.batch_size, fixed.clip_length) == at);
        match given {
            Some(fixed) => fixed.us * 1e3,
            None => self.latency.formula_us(at) * 1e3 * self.texture(at),
        }
    }

    /// The point's own factor.
    fn texture(&self, at: Shape) -> f64 {
        let mut source = super::source(self.latency.texture_seed, at, 0);
        (self.latency.texture * source.uniform().mul_add(2.0, -1.0)).exp()
    }

    /// The exact `q` quantile of latency at `at` in nanoseconds, in the steady state.
    #[must_use]
    pub fn quantile_ns(&self, at: Shape, q: f64) -> f64 {
        self.base_ns(at) * self.noise.quantile(q)
    }

    /// The exact mean latency at `at` in nanoseconds, in the steady state; infinite where the noise has
    /// no mean.
    #[must_use]
    pub fn mean_ns(&self, at: Shape) -> f64 {
        self.base_ns(at) * self.noise.mean()
    }

    /// Peak memory of an engine for `at`.
    #[must_use]
    pub fn memory(&self, at: Shape) -> Bytes {
        let (clips, frames) = sizes(at);
        let need = &self.memory;
        let grown = clips * frames * (need.per_frame_bytes + need.per_squared_frame_bytes * frames);
        Bytes(need.base_bytes.saturating_add(grown as u64))
    }

    /// Time to build an engine for `at`.
    #[must_use]
    pub fn prepare_time(&self, at: Shape) -> Nanos {
        let per_frame = self.prepare.per_frame_us * 1e3 * at.frames() as f64;
        Nanos(self.prepare.fixed_ms.mul_add(1e6, per_frame) as u64)
    }

    /// Board power while inferring at `at`, mW; `None` without a power sensor.
    #[must_use]
    pub fn power_mw(&self, at: Shape) -> Option<f64> {
        let power = self.power.as_ref()?;
        Some(power.idle_mw + power.active_mw * (at.frames() as f64).powf(power.exponent))
    }

    /// The failure declared for `at`, with the number of inferences that succeed before it.
    #[must_use]
    pub fn failure(&self, at: Shape) -> Option<(Failure, u64)> {
        let rule =
            self.failure.iter().find(|rule| at.covers(Shape::of(rule.batch_size, rule.clip_length)))?;
        let failure = Failure { stage: rule.stage, cause: rule.cause, message: rule.message.clone() };
        Some((failure, rule.after_iterations))
    }
}

impl Surface {
    fn formula_us(&self, at: Shape) -> f64 {
        let (clips, frames) = sizes(at);
        let linear = self.linear_us * clips.powf(self.batch_exponent) * frames;
        self.fixed_us + linear + self.quadratic_us * clips * frames * frames
    }

    fn validate(&self) -> Result<(), SpecError> {
        at_least_zero("latency.fixed_us", self.fixed_us)?;
        at_least_zero("latency.linear_us", self.linear_us)?;
        at_least_zero("latency.quadratic_us", self.quadratic_us)?;
        let exponent = self.batch_exponent;
        hold("latency.batch_exponent", exponent, (0.0..=4.0).contains(&exponent), "0 to 4")?;
        hold("latency.texture", self.texture, (0.0..=2.0).contains(&self.texture), "0 to 2")?;
        let total = self.fixed_us + self.linear_us + self.quadratic_us;
        above_zero("latency.fixed_us + linear_us + quadratic_us", total)?;
        self.at.iter().try_for_each(|fixed| above_zero("latency.at.us", fixed.us))
    }
}

fn sizes(at: Shape) -> (f64, f64) {
    (f64::from(at.batch()), f64::from(at.clip()))
}

impl Noise {
    fn validate(&self) -> Result<(), SpecError> {
        at_least_zero("noise.sigma", self.sigma)?;
        at_least_zero("noise.wander", self.wander)?;
        let phi = self.autocorrelation;
        hold("noise.autocorrelation", phi, (0.0..1.0).contains(&phi), "0 or more and below 1")?;
        if let Some(slow) = &self.slow {
            hold("noise.slow.share", slow.share, (0.0..=1.0).contains(&slow.share), "0 to 1")?;
            above_zero("noise.slow.factor", slow.factor)?;
        }
        if let Some(tail) = &self.tail {
            hold("noise.tail.share", tail.share, (0.0..=1.0).contains(&tail.share), "0 to 1")?;
            above_zero("noise.tail.factor", tail.factor)?;
            above_zero("noise.tail.alpha", tail.alpha)?;
        }
        let share = self.slow.as_ref().map_or(0.0, |s| s.share) + self.tail.as_ref().map_or(0.0, |t| t.share);
        hold("noise.slow.share + noise.tail.share", share, share <= 1.0, "1 or less")
    }
}
