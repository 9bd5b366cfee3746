//! `clipmark-fleet export`: every stored point as a row, for a spreadsheet or an analyst's tools.

use crate::commands::printed::{failed, print};
use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::store::{PointQuery, PointRow, Store};
use clipmark_profile::topics::DeviceId;
use serde_json::{Value, json};

/// Writes points to standard output.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// How: csv, or json with one object a line
    #[arg(long, default_value = "csv", value_parser = ["csv", "json"])]
    format: String,
    /// Only of this device
    #[arg(long)]
    device: Option<DeviceId>,
    /// Only of the model of this name
    #[arg(long)]
    model: Option<String>,
    /// Most rows
    #[arg(long, default_value_t = 1_000_000)]
    limit: u32,
}

/// The columns of a row, with the unit in the name; what is not known is null.
fn fields(row: &PointRow) -> Vec<(&'static str, Value)> {
    let figures = &row.figures;
    vec![
        ("device", json!(row.device.as_str())),
        ("profile", json!(row.profile.0)),
        ("received_unix_ms", json!(row.received_unix_ms)),
        ("board", json!(row.board)),
        ("l4t", json!(row.l4t)),
        ("power_mode", json!(row.power_mode)),
        ("simulated", json!(row.simulated)),
        ("model", json!(row.model)),
        ("model_sha256", json!(row.model_sha256)),
        ("backend", json!(row.backend)),
        ("backend_version", json!(row.backend_version)),
        ("precision", json!(row.precision)),
        ("threads", json!(row.threads)),
        ("batch_size", json!(figures.batch_size)),
        ("clip_length", json!(figures.clip_length)),
        ("status", json!(figures.status)),
        ("throttled", json!(figures.throttled)),
        ("iterations", json!(figures.iterations)),
        ("mean_ns", json!(figures.mean_ns)),
        ("p50_ns", json!(figures.p50_ns)),
        ("p95_ns", json!(figures.p95_ns)),
        ("p99_ns", json!(figures.p99_ns)),
        ("max_ns", json!(figures.max_ns)),
        ("frames_per_s", json!(figures.frames_per_s)),
        ("energy_per_frame_uj", json!(figures.energy_per_frame_uj)),
        ("peak_memory_bytes", json!(figures.peak_memory_bytes)),
    ]
}

/// A value as RFC 4180 has it; null is an empty field.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(",")
}

fn text(rows: &[PointRow], format: &str) -> String {
    let mut lines = Vec::with_capacity(rows.len() + 1);
    for row in rows {
        let fields = fields(row);
        if format == "json" {
            let object = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
            lines.push(Value::Object(object.collect()).to_string());
            continue;
        }
        if lines.is_empty() {
            lines.push(line(fields.iter().map(|(name, _)| (*name).to_owned())));
        }
        lines.push(line(fields.iter().map(|(_, value)| cell(value))));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

impl Export {
    /// Prints the rows.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        let mut store = Store::open(&config.store).map_err(failed(ExitCode::Storage))?;
        let query = PointQuery {
            device: self.device.clone(),
            model: self.model.clone(),
            histograms: false,
            limit: self.limit,
            ..PointQuery::default()
        };
        let rows = store.points(&query).map_err(failed(ExitCode::Storage))?;
        print(&text(&rows, &self.format))?;
        Ok(if rows.is_empty() { ExitCode::NothingFound } else { ExitCode::Success })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be_and_null_is_empty() {
        assert_eq!(cell(&json!("a,\"b\"")), "\"a,\"\"b\"\"\"");
        assert_eq!(cell(&json!(1.5)), "1.5");
        assert_eq!(cell(&Value::Null), "");
        assert_eq!(cell(&json!("plain")), "plain");
    }
}
