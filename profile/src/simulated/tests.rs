use super::{FailureRule, Noise, ParetoTail, SimulatedEngine, SimulatedSpec, SlowMode, Stall};
use super::{ThrottleSpan, WarmUp, WarmUpShape};
use crate::point::Shape;
use crate::record::{Cause, Failure, Stage};
use crate::units::{Bytes, Nanos};
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

fn at(batch_size: u32, clip_length: u32) -> Shape {
    Shape::new(batch_size, clip_length).unwrap()
}

fn flat() -> SimulatedSpec {
    SimulatedSpec::default()
}

fn run(spec: &SimulatedSpec, point: Shape, iterations: usize) -> Vec<f64> {
    let mut engine = SimulatedEngine::prepare(spec, point, 0, None).unwrap();
    let mut now = Nanos(0);
    let mut latencies = Vec::with_capacity(iterations);
    for _ in 0..iterations {
        let latency = engine.infer(now).unwrap();
        now = Nanos(now.0 + latency.0);
        latencies.push(latency.0 as f64);
    }
    latencies
}

/// Share of `latencies` at or below the exact `q` quantile.
fn share_below(spec: &SimulatedSpec, latencies: &[f64], q: f64) -> f64 {
    let bound = spec.quantile_ns(at(1, 8), q);
    latencies.iter().filter(|&&latency| latency <= bound).count() as f64 / latencies.len() as f64
}

#[test]
fn without_noise_the_latency_is_the_surface() {
    let mut spec = flat();
    spec.latency.fixed_us = 100.0;
    spec.latency.linear_us = 10.0;
    spec.latency.quadratic_us = 0.5;
    // 100 + 10 x 2 x 8 + 0.5 x 2 x 64 = 324 us
    assert_eq!(run(&spec, at(2, 8), 3), vec![324_000.0; 3]);
}

#[test]
fn drawn_latencies_follow_the_exact_quantiles_of_every_family() {
    let families = [
        Noise { sigma: 0.1, ..Noise::default() },
        Noise { sigma: 0.05, slow: Some(SlowMode { share: 0.2, factor: 1.5 }), ..Noise::default() },
        Noise {
            sigma: 0.05,
            tail: Some(ParetoTail { share: 0.1, factor: 1.2, alpha: 2.5 }),
            ..Noise::default()
        },
        Noise { sigma: 0.1, autocorrelation: 0.5, ..Noise::default() },
    ];
    for noise in families {
        let spec = SimulatedSpec { noise, ..flat() };
        let latencies = run(&spec, at(1, 8), 60_000);
        for q in [0.5, 0.9, 0.99] {
            let share = share_below(&spec, &latencies, q);
            assert!((share - q).abs() < 0.012, "{:?}: {share} below the {q} quantile", spec.noise);
        }
    }
}

#[test]
fn the_declared_mean_is_the_mean_of_the_draws() {
    let noise = Noise {
        sigma: 0.2,
        slow: Some(SlowMode { share: 0.1, factor: 2.0 }),
        tail: Some(ParetoTail { share: 0.05, factor: 1.5, alpha: 4.0 }),
        ..Noise::default()
    };
    let spec = SimulatedSpec { noise, ..flat() };
    let latencies = run(&spec, at(1, 8), 60_000);
    let mean = latencies.iter().sum::<f64>() / latencies.len() as f64;
    assert!((mean / spec.mean_ns(at(1, 8)) - 1.0).abs() < 0.01);
}

#[test]
fn autocorrelation_is_the_declared_one_and_leaves_the_spread_alone() {
    let noise = Noise { sigma: 0.1, autocorrelation: 0.9, ..Noise::default() };
    let spec = SimulatedSpec { noise, ..flat() };
    let logs: Vec<f64> = run(&spec, at(1, 8), 60_000).iter().map(|latency| latency.ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let lagged: f64 = logs.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    let square: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
    assert!((lagged / square - 0.9).abs() < 0.02, "lag-1 correlation {}", lagged / square);
    let deviation = (square / logs.len() as f64).sqrt();
    assert!((deviation - 0.1).abs() < 0.01, "deviation of the logarithm {deviation}");
}

#[test]
fn a_warm_up_slows_the_first_iterations_of_every_engine() {
    let mut spec = flat();
    spec.latency.linear_us = 0.0;
    spec.latency.fixed_us = 1000.0;
    spec.warm_up = Some(WarmUp { iterations: 2, factor: 3.0, shape: WarmUpShape::Step });
    assert_eq!(run(&spec, at(1, 8), 3), vec![3e6, 3e6, 1e6]);
    spec.warm_up = Some(WarmUp { iterations: 2, factor: 3.0, shape: WarmUpShape::Ramp });
    assert_eq!(run(&spec, at(1, 8), 3), vec![3e6, 2e6, 1e6]);
    assert_eq!(run(&spec, at(1, 8), 1), vec![3e6]);
}

#[test]
fn throttling_holds_from_its_onset_to_its_end() {
    let mut spec = flat();
    spec.throttle.push(ThrottleSpan { at_s: 10.0, factor: 1.3, until_s: Some(20.0), ramp_s: 0.0 });
    spec.throttle.push(ThrottleSpan { at_s: 30.0, factor: 2.0, until_s: None, ramp_s: 10.0 });
    let slowness = |seconds: u64| spec.slowness(Nanos::from_secs(seconds));
    assert_eq!([slowness(9), slowness(10), slowness(19), slowness(20)], [1.0, 1.3, 1.3, 1.0]);
    assert_eq!([slowness(30), slowness(35), slowness(100)], [1.0, 1.5, 2.0]);
}

#[test]
fn drift_grows_by_the_declared_fraction_a_minute() {
    let spec = SimulatedSpec { drift_per_minute: 0.02, ..flat() };
    assert!((spec.slowness(Nanos::from_secs(300)) - 1.1).abs() < 1e-12);
}

#[test]
fn an_inference_makes_no_progress_during_a_stall() {
    let stall = Stall { first_s: 1.0, period_s: 10.0, length_ms: 2000.0 };
    let seconds = Nanos::from_secs;
    let cases = [(0, 1, 1), (0, 2, 4), (1, 1, 3), (2, 1, 2), (3, 8, 8), (3, 9, 11), (0, 20, 26)];
    for (start, work, expected) in cases {
        let took = stall.stretch(seconds(start), seconds(work));
        assert_eq!(took, seconds(expected), "start {start} s, work {work} s");
    }
}

#[test]
fn declared_failures_hit_their_points_and_no_smaller_ones() {
    let mut spec = flat();
    spec.failure.push(FailureRule {
        batch_size: std::num::NonZeroU32::new(2).unwrap(),
        clip_length: std::num::NonZeroU32::new(16).unwrap(),
        stage: Stage::Measure,
        cause: Cause::Crashed,
        message: "declared".into(),
        after_iterations: 2,
    });
    let mut engine = SimulatedEngine::prepare(&spec, at(4, 16), 0, None).unwrap();
    assert!(engine.infer(Nanos(0)).is_ok());
    assert!(engine.infer(Nanos(0)).is_ok());
    assert_eq!(engine.infer(Nanos(0)).unwrap_err().cause, Cause::Crashed);
    assert_eq!(run(&spec, at(2, 8), 9).len(), 9);
    assert_eq!(run(&spec, at(1, 128), 9).len(), 9);
}

#[test]
fn an_engine_above_the_memory_limit_is_out_of_memory() {
    let spec = flat();
    let need = spec.memory(at(4, 64));
    let below = SimulatedEngine::prepare(&spec, at(4, 64), 0, Some(Bytes(need.0 - 1)));
    let failure: Failure = below.unwrap_err();
    assert_eq!((failure.stage, failure.cause), (Stage::Prepare, Cause::OutOfMemory));
    assert!(SimulatedEngine::prepare(&spec, at(4, 64), 0, Some(need)).is_ok());
}

#[test]
fn a_spec_is_readable_as_toml_and_unknown_fields_are_errors() {
    let text = r#"
        seed = 7
        [latency]
        fixed_us = 800.0
        quadratic_us = 0.25
        [[latency.at]]
        batch_size = 1
        clip_length = 8
        us = 1234.5
        [noise]
        sigma = 0.03
        autocorrelation = 0.6
        tail = { share = 0.01, factor = 2.0, alpha = 3.0 }
        [warm_up]
        iterations = 20
        factor = 2.5
        shape = "ramp"
        [[throttle]]
        at_s = 600.0
        factor = 1.3
        [[failure]]
        batch_size = 4
        clip_length = 128
        stage = "prepare"
        cause = "out_of_memory"
        message = "declared"
    "#;
    let spec: SimulatedSpec = toml::from_str(text).unwrap();
    spec.validate().unwrap();
    assert_eq!(spec.base_ns(at(1, 8)), 1_234_500.0);
    assert_eq!(spec.failure(at(4, 128)).unwrap().0.cause, Cause::OutOfMemory);
    assert!(toml::from_str::<SimulatedSpec>("sead = 7").is_err());
}

#[test]
fn a_spec_that_cannot_be_simulated_names_the_field_and_its_range() {
    let mut spec = flat();
    spec.noise.autocorrelation = 1.0;
    let message = spec.validate().unwrap_err().to_string();
    assert_eq!(
        message,
        "simulated spec: noise.autocorrelation = 1 must be 0 or more and below 1; correct it in the spec's file"
    );
    spec.noise.autocorrelation = f64::NAN;
    assert!(spec.validate().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_stall_never_shortens_and_work_is_conserved(
        first in 0.0..5.0_f64, period in 0.5..20.0_f64, share in 0.01..0.9_f64,
        start in 0..60_000_000_000_u64, a in 1..30_000_000_000_u64, b in 1..30_000_000_000_u64,
    ) {
        let stall = Stall { first_s: first, period_s: period, length_ms: period * share * 1e3 };
        let whole = stall.stretch(Nanos(start), Nanos(a + b));
        let part = stall.stretch(Nanos(start), Nanos(a));
        let rest = stall.stretch(Nanos(start + part.0), Nanos(b));
        prop_assert!(part.0 >= a);
        prop_assert_eq!(whole.0, part.0 + rest.0);
    }

    #[test]
    fn the_same_spec_point_and_ordinal_give_the_same_latencies(seed: u64, batch in 1..64_u32) {
        let spec = SimulatedSpec { seed, noise: Noise { sigma: 0.1, ..Noise::default() }, ..flat() };
        prop_assert_eq!(run(&spec, at(batch, 16), 20), run(&spec, at(batch, 16), 20));
        let mut other = SimulatedEngine::prepare(&spec, at(batch, 16), 1, None).unwrap();
        prop_assert!(other.infer(Nanos(0)).unwrap().0 as f64 != run(&spec, at(batch, 16), 1)[0]);
    }
}
