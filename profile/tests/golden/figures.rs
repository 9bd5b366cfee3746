//! The reference figures of a sample as Python's script writes them: floats by their bits.

use clipmark_profile::stats::quantile::{self, Quantile};
use serde::Deserialize;

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Figures {
    mean: String,
    p50: String,
    p95: Option<String>,
    p99: Option<String>,
    p999: Option<String>,
    mlperf_p99: u64,
    trtexec_p99: u64,
    perf_analyzer_p99: u64,
}

pub(crate) fn figures(values: &[u64]) -> Option<Figures> {
    let mut sample = values.to_vec();
    sample.sort_unstable();
    let bits = |value: f64| format!("{:016x}", value.to_bits());
    let at = |quantile| quantile::reference(&sample, quantile).map(bits);
    Some(Figures {
        mean: bits(quantile::mean(values)?),
        p50: bits(quantile::median(&sample)?),
        p95: at(Quantile::P95),
        p99: at(Quantile::P99),
        p999: at(Quantile::P999),
        mlperf_p99: quantile::mlperf(&sample, Quantile::P99)?,
        trtexec_p99: quantile::trtexec(&sample, Quantile::P99)?,
        perf_analyzer_p99: quantile::perf_analyzer(&sample, Quantile::P99)?,
    })
}
