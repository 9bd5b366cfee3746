//! Latencies from a declared spec on a virtual clock: the ground truth that tests hold the analysis to,
//! and the engine behind the `simulated` backend.
//!
//! Terms: the *spec* declares a variant; an *engine* is one prepared instance of it at one point; the
//! *virtual clock* is the caller's: an inference takes the instant at which it starts and says how long it
//! lasts. Nothing here waits, reads a clock or measures anything.

mod noise;
mod spec;
#[cfg(test)]
mod tests;

pub use noise::{Noise, ParetoTail, SlowMode};
pub use spec::{
    FailureRule, FixedLatency, MemoryNeed, PowerDraw, PrepareCost, SimulatedSpec, SpecError, Stall, Surface,
    ThrottleSpan, WarmUp, WarmUpShape,
};

use crate::point::Shape;
use crate::record::{Cause, Failure, Stage};
use crate::stats::rng::Rng;
use crate::units::{Bytes, Nanos};
use noise::NoiseState;

/// A prepared instance of a simulated variant at one point.
#[derive(Debug, Clone)]
pub struct SimulatedEngine {
    spec: SimulatedSpec,
    base_ns: f64,
    noise: NoiseState,
    source: Rng,
    completed: u64,
    failure: Option<(Failure, u64)>,
}

impl SimulatedEngine {
    /// Builds the engine for `at`. `ordinal` tells apart the engines that are built for one point one
    /// after another: each has noise of its own. [`SimulatedSpec::prepare_time`] says how long it takes.
    ///
    /// # Errors
    /// The declared failure of the load or prepare stage, or out of memory above `memory_limit`.
    pub fn prepare(
        spec: &SimulatedSpec,
        at: Shape,
        ordinal: u64,
        memory_limit: Option<Bytes>,
    ) -> Result<Self, Failure> {
        let failure = spec.failure(at);
        if let Some((failure, _)) = &failure
            && matches!(failure.stage, Stage::Load | Stage::Prepare)
        {
            return Err(failure.clone());
        }
        let need = spec.memory(at);
        if let Some(limit) = memory_limit.filter(|&limit| need > limit) {
            let message = format!("simulated: {at} needs {need}, the limit is {limit}");
            return Err(Failure { stage: Stage::Prepare, cause: Cause::OutOfMemory, message });
        }
        let mut source = source(spec.seed, at, ordinal.wrapping_add(1));
        let noise = NoiseState::new(&mut source);
        Ok(Self { base_ns: spec.base_ns(at), spec: spec.clone(), noise, source, completed: 0, failure })
    }

    /// One inference that starts at `start` on the virtual clock: how long it takes, at least 1 ns.
    ///
    /// # Errors
    /// The declared failure of the warm-up or measure stage.
    pub fn infer(&mut self, start: Nanos) -> Result<Nanos, Failure> {
        if let Some((failure, after)) = &self.failure
            && self.completed >= *after
        {
            return Err(failure.clone());
        }
        let factor = self.noise.draw(&self.spec.noise, &mut self.source)
            * self.warm_up_factor()
            * self.spec.slowness(start);
        self.completed += 1;
        let work = Nanos(((self.base_ns * factor).round() as u64).max(1));
        Ok(match &self.spec.stall {
            Some(stall) => stall.stretch(start, work),
            None => work,
        })
    }

    fn warm_up_factor(&self) -> f64 {
        let Some(warm_up) = &self.spec.warm_up else { return 1.0 };
        let length = u64::from(warm_up.iterations);
        if self.completed >= length {
            return 1.0;
        }
        match warm_up.shape {
            WarmUpShape::Step => warm_up.factor,
            WarmUpShape::Ramp => {
                let left = 1.0 - self.completed as f64 / length as f64;
                1.0 + (warm_up.factor - 1.0) * left
            }
        }
    }
}

impl SimulatedSpec {
    /// Latency at `now` over latency on a cool board: drift and throttling.
    #[must_use]
    pub fn slowness(&self, now: Nanos) -> f64 {
        let seconds = now.as_secs_f64();
        let drift = (1.0 + self.drift_per_minute * seconds / 60.0).max(0.0);
        self.throttle.iter().fold(drift, |factor, span| factor * span.factor_at(seconds))
    }
}

impl ThrottleSpan {
    fn factor_at(&self, seconds: f64) -> f64 {
        if seconds < self.at_s || self.until_s.is_some_and(|until| seconds >= until) {
            return 1.0;
        }
        let reached = if self.ramp_s > 0.0 { ((seconds - self.at_s) / self.ramp_s).min(1.0) } else { 1.0 };
        1.0 + (self.factor - 1.0) * reached
    }
}

impl Stall {
    /// How long `work` takes from `start` when nothing advances during stalls.
    fn stretch(&self, start: Nanos, work: Nanos) -> Nanos {
        let first = (self.first_s * 1e9) as u64;
        let period = ((self.period_s * 1e9) as u64).max(1);
        let length = ((self.length_ms * 1e6) as u64).min(period - 1);
        let mut now = start.0;
        let mut left = work.0;
        loop {
            if now >= first {
                let into = (now - first) % period;
                if into < length {
                    now += length - into;
                }
            }
            let next = if now < first { first } else { now + period - (now - first) % period };
            if left <= next - now {
                return Nanos(now + left - start.0);
            }
            left -= next - now;
            now = next;
        }
    }
}

/// A deterministic source of draws for one engine.
fn source(seed: u64, at: Shape, ordinal: u64) -> Rng {
    let place = u64::from(at.batch()) << 32 | u64::from(at.clip());
    let keyed = Rng::new(seed).next_u64() ^ place;
    Rng::new(Rng::new(keyed).next_u64() ^ ordinal)
}
