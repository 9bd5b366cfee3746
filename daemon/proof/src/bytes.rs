//! What a profile, a series and a histogram take on the wire.

use crate::row::Row;
use crate::{Context, Found};
use anyhow::Context as _;
use clipmark_profile::point::{PointId, Shape};
use clipmark_profile::stats::histogram::Histogram;
use clipmark_profile::truth::latency::histogram_bytes;
use clipmark_profile::truth::source::{DISTRIBUTIONS, Distribution};
use clipmark_profile::{analysis, example, series, wire};
use flate2::Compression;
use flate2::write::GzEncoder;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer, V2Serializer};
use serde::Serialize;
use std::io::Write;

pub(crate) const HOW: &str = "The wire form of a profile of 27 points with histograms and energy, and of a soak of 30 minutes with 10 channels at \
     1 Hz, against the same content as JSON and as gzip'd JSON; one histogram of 1000 latencies against HdrHistogram V2 \
     at two digits, which is the same 1 % of resolution.";

pub(crate) fn measure(_: &Context, found: Found<'_>) -> anyhow::Result<()> {
    let profile = example::profile_of_27_points();
    let packed = wire::encode_profile(&profile)?.len() as f64;
    let json = serde_json::to_vec(&profile)?;
    found(Row::at_most("profile of 27 points with histograms", packed, "B", 4096.0));
    beside("the same profile", packed, &json, found)?;
    soak(found)?;
    histograms(found)
}

/// JSON and gzip'd JSON as multiples of the wire form.
fn beside(what: &str, packed: f64, json: &[u8], found: Found<'_>) -> anyhow::Result<()> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(json)?;
    let zipped = encoder.finish()?.len();
    found(
        Row::at_least(format!("{what} as JSON"), json.len() as f64 / packed, "times", 1.0)
            .note(format!("{} B", json.len())),
    );
    found(
        Row::at_least(format!("{what} as gzip'd JSON"), zipped as f64 / packed, "times", 1.0)
            .note(format!("{zipped} B")),
    );
    Ok(())
}

/// A series as anyone would write it in JSON: a line per second with a value per column.
#[derive(Serialize)]
struct SeriesLine<'a> {
    t_ms: u64,
    latency_p50: Option<i32>,
    latency_max: Option<i32>,
    channels: std::collections::BTreeMap<&'a str, Option<i32>>,
}

fn soak(found: Found<'_>) -> anyhow::Result<()> {
    let id = PointId { variant: 0, shape: Shape::new(1, 16).context("a point")? };
    let (evidence, sensors) = example::soak_evidence(id);
    let summary = analysis::soak::summarize(&evidence, Some(&sensors));
    let series = series::build("run", &evidence, Some(&sensors), Some(&summary));
    let packed = wire::encode_series(&series)?.len() as f64;
    let mut json = Vec::new();
    for tick in 0..series.ticks as usize {
        let at = |column: &[Option<i32>]| column.get(tick).copied().flatten();
        let line = SeriesLine {
            t_ms: tick as u64 * u64::from(series.period_ms),
            latency_p50: at(&series.latency_p50),
            latency_max: at(&series.latency_max),
            channels: series.channels.iter().map(|c| (c.channel.id.as_str(), at(&c.values))).collect(),
        };
        serde_json::to_writer(&mut json, &line)?;
        json.push(b'\n');
    }
    let what = format!("series of {} min, {} channels, 1 Hz", series.ticks / 60, series.channels.len());
    found(Row::at_most(what, packed, "B", 10_240.0));
    beside("the same series, a line a second,", packed, &json, found)
}

fn histograms(found: Found<'_>) -> anyhow::Result<()> {
    let tight = Distribution::Lognormal { median_ns: 1e7, sigma: 0.02 };
    for (name, shape, n, bound) in [
        ("1000 latencies in one narrow mode", tight, 1000, 50.0),
        ("10,000 in two modes", DISTRIBUTIONS[1], 10_000, 131.0),
    ] {
        let (without_tail, with_tail) = histogram_bytes(shape, n, 20, 14);
        let (plain, deflated) = hdr(shape, n)?;
        found(Row::at_most(format!("histogram of {name}"), without_tail, "B", bound).note(format!(
            "{with_tail:.0} B with the 32 largest exact; HdrHistogram V2 {plain} B, deflated {deflated} B"
        )));
    }
    Ok(())
}

/// Bytes of the same latencies as HdrHistogram V2, plain and deflated.
fn hdr(shape: Distribution, n: usize) -> anyhow::Result<(usize, usize)> {
    let latencies = shape.draw(n, &mut clipmark_profile::stats::rng::Rng::new(14));
    let mut histogram = hdrhistogram::Histogram::<u64>::new(2)?;
    for &latency in &latencies {
        histogram.record(latency)?;
    }
    anyhow::ensure!(Histogram::of(&latencies).total() == histogram.len(), "both hold all latencies");
    let (mut plain, mut deflated) = (Vec::new(), Vec::new());
    V2Serializer::new().serialize(&histogram, &mut plain)?;
    V2DeflateSerializer::new().serialize(&histogram, &mut deflated)?;
    Ok((plain.len(), deflated.len()))
}
