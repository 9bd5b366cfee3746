//! What trtexec writes: times, a profile per layer, and outputs.
//!
//! Formats of TensorRT 8.2 to 11, as its own reporting code writes them: times and outputs are JSON, the profile
//! is JSON but for layer names, which may hold quotes that nobody escaped.

use crate::tensor::{Dtype, TensorData};
use clipmark_profile::record::OperatorCost;
use clipmark_profile::units::Nanos;
use serde::Deserialize;

/// One inference as trtexec timed it, in milliseconds of the device's clock.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Times {
    /// Copies of the inputs to the device.
    #[serde(rename = "h2dMs", alias = "inMs")]
    pub(super) h2d: f64,
    /// Compute.
    #[serde(rename = "computeMs")]
    pub(super) compute: f64,
    /// Copies of the outputs to the host.
    #[serde(rename = "d2hMs", alias = "outMs")]
    pub(super) d2h: f64,
    /// The three together: what trtexec calls latency.
    #[serde(rename = "latencyMs")]
    pub(super) latency: f64,
}

/// Milliseconds as nanoseconds; `None` for what is no span.
pub(super) fn nanos(milliseconds: f64) -> Option<Nanos> {
    (milliseconds.is_finite() && milliseconds >= 0.0).then(|| Nanos((milliseconds * 1e6).round() as u64))
}

/// The last `iterations` entries of an `--exportTimes` file: 8.2 puts the warm-up before them.
pub(super) fn times(text: &str, iterations: usize) -> Result<Vec<Times>, String> {
    let all: Vec<Times> = serde_json::from_str(text)
        .map_err(|error| format!("its --exportTimes file has no form that clipmark knows ({error})"))?;
    let skipped = all
        .len()
        .checked_sub(iterations)
        .ok_or_else(|| format!("it timed {} inferences instead of {iterations}", all.len()))?;
    if all[skipped..].iter().any(|times| nanos(times.latency).is_none() || nanos(times.compute).is_none()) {
        return Err("its --exportTimes file holds a time that is no span".to_owned());
    }
    Ok(all[skipped..].to_vec())
}

/// The layers of an `--exportProfile` file, most expensive first.
pub(super) fn profile(text: &str) -> Result<Vec<OperatorCost>, String> {
    let mut costs: Vec<OperatorCost> = text.lines().filter_map(layer).collect();
    if costs.is_empty() {
        return Err("its --exportProfile file names no layers".to_owned());
    }
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.time));
    Ok(costs)
}

/// A line `, { "name" : "...", "timeMs" : 1.5, "averageMs" : 0.1, "percentage" : 12.5 }`. The name ends at the last
/// quote before `"timeMs"`, so quotes inside it do no harm.
fn layer(line: &str) -> Option<OperatorCost> {
    let (_, rest) = line.split_once("\"name\"")?;
    let (name, numbers) = rest.rsplit_once("\"timeMs\"")?;
    let name = name.split_once('"')?.1.rsplit_once('"')?.0;
    let number = |key: &str| {
        let (_, value) = numbers.split_once(&format!("\"{key}\""))?;
        let value = value.trim_start_matches([' ', ':']);
        let end = value.find([',', '}', ' ']).unwrap_or(value.len());
        value[..end].parse::<f64>().ok()
    };
    Some(OperatorCost {
        name: name.to_owned(),
        kind: "fused layer".to_owned(),
        time: nanos(number("averageMs")?)?,
        share: number("percentage")? / 100.0,
    })
}

#[derive(Deserialize)]
struct Output {
    name: String,
    dimensions: String,
    values: Vec<f64>,
}

/// The tensors of an `--exportOutput` file, as 32-bit floats: trtexec prints six digits of each value.
pub(super) fn outputs(text: &str) -> Result<Vec<TensorData>, String> {
    let outputs: Vec<Output> = serde_json::from_str(text)
        .map_err(|error| format!("its --exportOutput file has no form that clipmark knows ({error})"))?;
    outputs
        .into_iter()
        .map(|output| {
            let extents = output.dimensions.split('x').filter(|extent| !extent.is_empty());
            let shape: Vec<usize> = extents
                .map(|extent| {
                    extent.parse().map_err(|_| format!("output {}: shape {}", output.name, output.dimensions))
                })
                .collect::<Result<_, _>>()?;
            let bytes = output.values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect();
            Ok(TensorData { name: output.name, dtype: Dtype::F32, shape, bytes })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_release_are_read_and_warm_ups_left_out() {
        let v8_2 = r#"[ { "startEnqMs" : 0, "endEnqMs" : 0.1, "startInMs" : 0, "endInMs" : 0.2, "inMs" : 9, "computeMs" : 9, "outMs" : 9, "latencyMs" : 27, "endToEndMs" : 27 }
  , { "inMs" : 0.25, "computeMs" : 1.5, "outMs" : 0.125, "latencyMs" : 1.875, "endToEndMs" : 2 }
]"#;
        let v10 = r#"[ { "startEnqMs" : 0, "startH2dMs" : 0, "h2dMs" : 0.25, "computeMs" : 1.5, "d2hMs" : 0.125, "latencyMs" : 1.875 }
]"#;
        let expected = [Times { h2d: 0.25, compute: 1.5, d2h: 0.125, latency: 1.875 }];
        assert_eq!(times(v8_2, 1).expect("read"), expected);
        assert_eq!(times(v10, 1).expect("read"), expected);
    }

    #[test]
    fn files_that_are_cut_short_or_of_another_form_are_refused() {
        assert!(times("[ { \"h2dMs\" : 0.25", 1).expect_err("cut").contains("no form"));
        assert!(times("[]", 1).expect_err("empty").contains("timed 0"));
        let negative = r#"[{"h2dMs": 0, "computeMs": -1, "d2hMs": 0, "latencyMs": 1}]"#;
        assert!(times(negative, 1).expect_err("negative").contains("no span"));
    }

    #[test]
    fn layer_names_with_quotes_and_commas_are_read_whole() {
        let text = "[\n  { \"count\" : 100 }\n, { \"name\" : \"a \"b\", c\", \"timeMs\" : 25, \"averageMs\" : 0.25, \"percentage\" : 25 }\n\
                    , { \"name\" : \"conv + relu\", \"timeMs\" : 75.5, \"averageMs\" : 0.75, \"medianMs\" : 0.7, \"percentage\" : 75 }\n]\n";
        let layers = profile(text).expect("read");
        let names: Vec<(&str, Nanos, f64)> =
            layers.iter().map(|layer| (layer.name.as_str(), layer.time, layer.share)).collect();
        assert_eq!(names, [("conv + relu", Nanos(750_000), 0.75), ("a \"b\", c", Nanos(250_000), 0.25)]);
        assert!(profile("[\n]\n").is_err());
    }

    #[test]
    fn outputs_are_read_as_floats() {
        let text = r#"[ { "name" : "y", "dimensions" : "1x2", "values" : [ 0.5, -2 ] } ]"#;
        let output = outputs(text).expect("read").remove(0);
        assert_eq!((output.name.as_str(), output.shape), ("y", vec![1, 2]));
        assert_eq!(output.bytes, [0.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat());
    }
}
