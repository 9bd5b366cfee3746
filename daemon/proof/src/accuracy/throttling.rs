//! Throttle onset, ratio and cause; energy.

use super::{least, most};
use crate::row::Row;
use crate::{Context, Found};
use clipmark_profile::summary::ThrottleCause;
use clipmark_profile::truth::energy::{Waveform, relative_error};
use clipmark_profile::truth::throttle::{CAUSES, Plot, Scenario, any_found, steps, study};

/// About 10 Hz, and in step with no common frame rate.
const INCOMMENSURATE_S: f64 = 0.0973;

pub(super) fn measure(context: &Context, found: Found<'_>) {
    planted_steps(context, found);
    courses(found);
    decoys(context, found);
    energy(found);
}

fn planted_steps(context: &Context, found: Found<'_>) {
    let runs = context.runs(48);
    let scores = [1.05, 1.1, 1.3].map(|slowdown| steps(slowdown, &CAUSES, 0.005, 0.9, runs, 7));
    found(
        Row::at_least(
            "throttle steps of 5, 10, 30 % found with their cause",
            least(scores.iter().map(|s| s.found)) * 100.0,
            "%",
            99.9,
        )
        .note(format!("{runs} soaks of 15 minutes each, six causes, noise correlated at 0.9")),
    );
    found(Row::at_most(
        "error of the onset, median",
        most(scores.iter().map(|s| s.onset_error_ms)),
        "ms",
        1000.0,
    ));
    found(Row::at_most(
        "error of sustained / burst, median",
        most(scores.iter().map(|s| s.ratio_error)),
        "",
        0.01,
    ));
    let shown = [ThrottleCause::Thermal, ThrottleCause::OverCurrent];
    let score = steps(1.02, &shown, 0.001, 0.5, runs, 8);
    found(Row::at_least(
        "steps of 2 % found where more than a clock shows them",
        score.found * 100.0,
        "%",
        90.0,
    ));
}

fn courses(found: Found<'_>) {
    let plot = Plot::Oscillation { from_s: 300.0, period_s: 80.0, slowdown: 1.25 };
    let summary = study(&Scenario { plot, length_s: 900, sigma: 0.004, phi: 0.5, seed: 5 });
    let period =
        summary.oscillation_period_ms.map_or(f64::NAN, |ms| (ms as f64 / 80_000.0 - 1.0).abs() * 100.0);
    found(Row::at_most("error of an oscillation's period", period, "%", 5.0));
    let plot = Plot::Ramp { at_s: 300.0, over_s: 200.0, slowdown: 1.3 };
    let summary = study(&Scenario { plot, length_s: 900, sigma: 0.003, phi: 0.5, seed: 6 });
    let depth = match summary.throttles.as_slice() {
        [only] => (only.slowdown - 1.3).abs(),
        _ => f64::NAN,
    };
    found(Row::at_most("error of a ramp's full depth, found as one throttling", depth, "", 0.03));
}

fn decoys(context: &Context, found: Found<'_>) {
    let runs = context.runs(100);
    let falsely = [
        any_found(Plot::Quiet, 0.02, 0.9, runs, 1),
        any_found(Plot::ClockDecoy(400.0), 0.005, 0.9, runs, 2),
        any_found(Plot::LatencyDecoy(400.0), 0.005, 0.9, runs, 3),
    ];
    found(
        Row::at_most("quiet soaks and decoys called throttling", most(falsely) * 100.0, "%", 1.0).note(
            format!("{runs} each: noise alone, a clock that falls while latency does not, the reverse"),
        ),
    );
}

fn energy(found: Found<'_>) {
    let waveforms = [Waveform::Square { period_s: 7.3 }, Waveform::Sine { period_s: 11.0 }, Waveform::Ramp];
    let errors = waveforms.map(|wave| relative_error(wave, 600.0, INCOMMENSURATE_S, 0.2, 0.02, 11) * 100.0);
    found(
        Row::at_most("energy of a square, a sine, a ramp: error", most(errors), "%", 1.0)
            .note("readings with jitter, gaps and duplicates"),
    );
    let paced = |fps, interval| {
        relative_error(Waveform::Paced { fps, duty: 0.3 }, 600.0, interval, 0.0, 0.0, 12) * 100.0
    };
    found(
        Row::at_most(
            "energy of streams of 10, 25, 30 frames a second: error",
            most([10.0, 25.0, 30.0].map(|fps| paced(fps, INCOMMENSURATE_S))),
            "%",
            1.0,
        )
        .note(format!("a sampler in step with 10 frames a second: {:.0} %", paced(10.0, 0.1))),
    );
}
