//! Quantiles, intervals, stopping, pacing, settling, histograms.

use super::{least, most};
use crate::row::Row;
use crate::{Context, Found};
use anyhow::Context as _;
use clipmark_profile::point::Shape;
use clipmark_profile::simulated::{Noise, SimulatedSpec, Stall};
use clipmark_profile::stats::quantile::{self, Quantile};
use clipmark_profile::stats::rng::Rng;
use clipmark_profile::truth::latency::{self, Coverage};
use clipmark_profile::truth::settling::{self, Course};
use clipmark_profile::truth::source::DISTRIBUTIONS;
use clipmark_profile::truth::{pacing, stopping};
use std::io::Write;
use std::process::{Command, Stdio};

const QUANTILES: [Quantile; 3] = [Quantile::P50, Quantile::P90, Quantile::P99];

pub(super) fn measure(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    intervals(context, found);
    autocorrelation(context, found);
    reference(found)?;
    early_stop(context, found);
    open_loop(found)?;
    settled(context, found);
    let trials = context.runs(200);
    found(Row::at_most(
        format!("merged histograms that differ from the whole, of {trials}"),
        f64::from(latency::merge_mismatches(trials, 13)),
        "",
        0.0,
    ));
    Ok(())
}

fn percent(share: f64) -> f64 {
    share * 100.0
}

fn rate(coverage: &Coverage) -> f64 {
    percent(coverage.rate().unwrap_or(f64::NAN))
}

/// Every planted shape with every quantile.
fn cases() -> impl Iterator<Item = (clipmark_profile::truth::source::Distribution, Quantile)> {
    DISTRIBUTIONS.into_iter().flat_map(|shape| QUANTILES.map(|quantile| (shape, quantile)))
}

fn intervals(context: &Context, found: Found<'_>) {
    let runs = context.runs(1000);
    let coverages =
        cases().map(|(shape, quantile)| rate(&latency::coverage_independent(shape, quantile, 1000, runs, 1)));
    found(
        Row::at_least("95 % intervals that hold the true P50, P90, P99", least(coverages), "%", 93.0)
            .note(format!("worst of lognormal, bimodal and Pareto latencies, {runs} samples of 1000 each")),
    );
    let runs = context.runs(400);
    let errors = cases().map(|(shape, quantile)| {
        let p = quantile.fraction();
        latency::rank_error(shape, quantile, 1000, runs, 2) / (p * (1.0 - p) / 1000.0).sqrt()
    });
    found(Row::at_most("rank error of quantiles against what sampling explains", most(errors), "times", 1.2));
}

fn autocorrelation(context: &Context, found: Found<'_>) {
    let (published, naive) = latency::coverage_autocorrelated(0.9, Quantile::P99, 3000, context.runs(600), 3);
    found(
        Row::at_least("P99 intervals that hold, latencies correlated at 0.9", rate(&published), "%", 90.0)
            .note(format!("intervals that take latencies for independent: {:.0} %", rate(&naive))),
    );
    let (published, _) = latency::coverage_autocorrelated(0.9, Quantile::P99, 1000, context.runs(1000), 4);
    let total = published.covered + published.missed + published.refused;
    found(
        Row::at_least(
            "P99 of 1000 such latencies: intervals that are not false",
            percent(published.honest_rate()),
            "%",
            95.0,
        )
        .note(format!("{} of {total} say \"not determinable\" at an end", published.refused)),
    );
}

/// What Python says of each sample, as the bits of doubles.
const PYTHON: &str = r"
import json, statistics, struct, sys
bits = lambda x: struct.pack('>d', float(x)).hex()
for line in sys.stdin:
    x = json.loads(line)
    q = lambda n, k: bits(statistics.quantiles(x, n=n)[k])
    print(bits(statistics.mean(x)), bits(statistics.median(x)), q(20, 18), q(100, 98))
";

fn samples() -> Vec<Vec<u64>> {
    let mut rng = Rng::new(99);
    (0..300)
        .map(|index| {
            let n = if index % 3 == 0 { 2 + rng.below(97) } else { 99 + rng.below(1100) };
            DISTRIBUTIONS[index % DISTRIBUTIONS.len()].draw(n, &mut rng)
        })
        .collect()
}

/// Mean, P50, P95, P99, as the bits of doubles.
fn figures(sample: &[u64]) -> Option<String> {
    let mut sorted = sample.to_vec();
    sorted.sort_unstable();
    let figures = [
        quantile::mean(sample)?,
        quantile::median(&sorted)?,
        quantile::reference(&sorted, Quantile::P95)?,
        quantile::reference(&sorted, Quantile::P99)?,
    ];
    Some(figures.map(|figure| format!("{:016x}", figure.to_bits())).join(" "))
}

fn reference(found: Found<'_>) -> anyhow::Result<()> {
    let claim = "samples whose mean, P50, P95, P99 differ from Python's";
    let samples = samples();
    match asked_python(&samples) {
        Err(error) => found(Row::absent(claim, format!("{error:#}; install python3"))),
        Ok(answers) => {
            anyhow::ensure!(
                answers.len() == samples.len(),
                "Python answered {} of {}",
                answers.len(),
                samples.len()
            );
            let differ = samples
                .iter()
                .zip(&answers)
                .filter(|(sample, answer)| figures(sample).as_ref() != Some(answer));
            found(
                Row::at_most(claim, differ.count() as f64, "", 0.0)
                    .note(format!("{} samples of 2 to 1200, a third of them below 99", samples.len())),
            );
        }
    }
    let sorted: Vec<u64> = (1..=1000).collect();
    let conventions = [
        (quantile::mlperf(&sorted, Quantile::P99), 991),
        (quantile::trtexec(&sorted, Quantile::P99), 991),
        (quantile::perf_analyzer(&sorted, Quantile::P99), 990),
    ];
    let wrong = conventions.iter().filter(|(ours, theirs)| *ours != Some(*theirs)).count();
    found(
        Row::at_most("peers' P99 of 1..1000 not reproduced", wrong as f64, "", 0.0)
            .note("MLPerf 991, trtexec 991, perf_analyzer 990"),
    );
    Ok(())
}

fn asked_python(samples: &[Vec<u64>]) -> anyhow::Result<Vec<String>> {
    let mut child = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("python3 cannot be started")?;
    let mut input = child.stdin.take().context("a pipe to python3")?;
    let lines: Vec<String> = samples.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    // A thread of its own, since both pipes fill up.
    let writer = std::thread::spawn(move || lines.iter().try_for_each(|line| writeln!(input, "{line}")));
    let output = child.wait_with_output()?;
    anyhow::ensure!(
        writer.join().is_ok_and(|written| written.is_ok()) && output.status.success(),
        "python3 failed"
    );
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

fn early_stop(context: &Context, found: Found<'_>) {
    let passes = stopping::false_passes(5000, context.runs(4000), 8);
    found(
        Row::at_most("bounds that do not hold and are passed, looking every time", percent(passes.e_value), "%", 1.5).note(
            format!(
                "alpha 1 % and three standard errors; MLPerf's rule looked at as often: {:.1} %, once at the end: {:.1} %",
                percent(passes.mlperf_rechecked),
                percent(passes.mlperf_once)
            ),
        ),
    );
}

fn open_loop(found: Found<'_>) -> anyhow::Result<()> {
    let mut rng = Rng::new(5);
    let (mut compared, mut wrong) = (0, 0);
    for seed in 0..100 {
        let mut spec = SimulatedSpec {
            seed,
            noise: Noise { sigma: rng.uniform(), ..Noise::default() },
            ..SimulatedSpec::default()
        };
        (spec.latency.fixed_us, spec.latency.linear_us) = (10.0 + 100_000.0 * rng.uniform(), 0.0);
        spec.stall = (seed % 2 == 0).then_some(Stall {
            first_s: 0.2,
            period_s: 4.0,
            length_ms: 3000.0 * rng.uniform(),
        });
        let at = Shape::new(1, 1 + rng.below(63) as u32).context("a point")?;
        let run = pacing::paced(&spec, at, 0.5 + 500.0 * rng.uniform(), 300).context("a paced run")?;
        let exact = pacing::lindley(&run.arrivals_ns, &run.services_ns);
        compared += exact.len();
        wrong += exact.iter().zip(&run.latencies_ns).filter(|(exact, ours)| exact != ours).count();
    }
    let (closed, open) = pacing::omission().context("both loops measure")?;
    found(
        Row::at_most(format!("paced latencies off Lindley's recursion, of {compared}"), wrong as f64, "", 0.0).note(format!(
            "a stream with a stall of 2 s a minute: P99 {closed:.0} ms in a closed loop, {open:.0} ms on its schedule"
        )),
    );
    Ok(())
}

fn settled(context: &Context, found: Found<'_>) {
    let runs = context.runs(40);
    let planted = [
        (Course::Level, 0.0),
        (Course::Step { iterations: 100, ratio: 1.3 }, 0.0),
        (Course::Step { iterations: 100, ratio: 1.3 }, 0.5),
        (Course::Step { iterations: 100, ratio: 1.05 }, 0.5),
        (Course::Step { iterations: 500, ratio: 0.9 }, 0.5),
        (Course::Level, 0.9),
    ];
    let steps = planted.map(|(course, phi)| settling::classified(course, phi, 1000, runs, 10));
    found(Row::at_least(
        "planted warm-ups named right, worst of 6",
        percent(least(steps.iter().map(|s| s.right))),
        "%",
        85.0,
    ));
    found(Row::at_most(
        "their length off by, iterations, median",
        most(steps.iter().map(|s| s.median_error)),
        "",
        2.0,
    ));
    let never = [Course::Drift, Course::Swing { period: 200 }]
        .into_iter()
        .flat_map(|course| [0.0, 0.9].map(|phi| settling::classified(course, phi, 1000, runs, 11).right));
    found(Row::at_least("what never settles said not to, worst of 4", percent(least(never)), "%", 85.0));
}
