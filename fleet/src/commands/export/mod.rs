//! `clipmark-fleet export`: every stored point as a row, for a spreadsheet or an analyst's tools.

mod columns;
mod parquet;

use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::printed::{failed, note_limit, nothing, opened};
use crate::store::{PointQuery, PointRow};
use clipmark_profile::text::clean_lines;
use clipmark_profile::topics::DeviceId;
use columns::{COLUMNS, Cell, row};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;

/// How points are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Comma-separated, a line of headings first (RFC 4180)
    Csv,
    /// One JSON object a line
    Json,
    /// Apache Parquet, Snappy-compressed; not to a terminal
    Parquet,
}

/// Writes stored points to standard output or to a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet export > points.csv
  clipmark-fleet export --format parquet --out points.parquet
  duckdb -c \"SELECT board, l4t, median(p99_ns) FROM 'points.parquet' GROUP BY ALL\"")]
pub struct Export {
    /// The format
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Only of this device
    #[arg(long)]
    device: Option<DeviceId>,
    /// Only of the model of this name
    #[arg(long)]
    model: Option<String>,
    /// Write at most so many rows
    #[arg(long, default_value_t = 1_000_000)]
    limit: u32,
    /// Write to this file instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Text as a spreadsheet takes it for text: what begins like a formula would be run when the file is opened.
fn inert(text: &str) -> String {
    let text = clean_lines(text);
    if text.starts_with(['=', '+', '-', '@', '\t']) { format!("'{text}") } else { text.into_owned() }
}

/// A value as RFC 4180 has it; null is an empty field. Numbers stay numbers, also below zero.
fn field(cell: &Cell<'_>) -> String {
    let text = match cell {
        Cell::Null => return String::new(),
        Cell::Text(text) => inert(text),
        Cell::Int(value) => value.to_string(),
        Cell::Real(value) => value.to_string(),
        Cell::Flag(value) => value.to_string(),
    };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn json(cell: &Cell<'_>) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Text(text) => Value::from(clean_lines(text)),
        Cell::Int(value) => Value::from(*value),
        Cell::Real(value) => Value::from(*value),
        Cell::Flag(value) => Value::from(*value),
    }
}

fn write_csv(out: &mut dyn Write, rows: &[PointRow]) -> io::Result<()> {
    let line = |cells: Vec<String>| cells.join(",");
    writeln!(out, "{}", line(COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect()))?;
    rows.iter().try_for_each(|point| writeln!(out, "{}", line(row(point).iter().map(field).collect())))
}

fn write_json(out: &mut dyn Write, rows: &[PointRow]) -> io::Result<()> {
    rows.iter().try_for_each(|point| {
        let named = COLUMNS.iter().zip(row(point)).map(|((name, _), cell)| ((*name).to_owned(), json(&cell)));
        writeln!(out, "{}", Value::Object(named.collect()))
    })
}

impl Export {
    fn write(&self, out: &mut (dyn Write + Send), rows: &[PointRow]) -> Result<(), CommandError> {
        let place = self.out.as_ref().map_or("standard output".to_owned(), |path| path.display().to_string());
        let failed = |why: String| {
            let what = format!(
                "the points cannot be written to {place}: {why}; check who may write there and for room"
            );
            CommandError::new(ExitCode::Storage, what)
        };
        let written = match self.format {
            Format::Csv => write_csv(out, rows),
            Format::Json => write_json(out, rows),
            Format::Parquet => {
                parquet::write_points(&mut *out, rows).map_err(|error| failed(error.to_string()))?;
                Ok(())
            }
        };
        written.and_then(|()| out.flush()).map_err(|error| failed(error.to_string()))
    }

    /// Writes the rows.
    ///
    /// # Errors
    /// When the store cannot be read, or the place cannot be written.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        if self.format == Format::Parquet && self.out.is_none() && io::stdout().is_terminal() {
            let what = "Parquet is no text: name a file with --out, or redirect standard output";
            return Err(CommandError::new(ExitCode::Usage, what));
        }
        let mut store = opened(config)?;
        let query = PointQuery {
            device: self.device.clone(),
            model: self.model.clone(),
            histograms: false,
            limit: self.limit,
            ..PointQuery::default()
        };
        let rows = store.points(&query).map_err(failed(ExitCode::Storage))?;
        match &self.out {
            None => self.write(&mut io::stdout(), &rows)?,
            Some(path) => {
                let file = File::create(path).map_err(|error| {
                    let what = format!("cannot make {}: {error}; check who may write there", path.display());
                    CommandError::new(ExitCode::Storage, what)
                })?;
                self.write(&mut BufWriter::new(file), &rows)?;
            }
        }
        if rows.is_empty() {
            return nothing("no point matches", &mut store);
        }
        note_limit(rows.len(), self.limit);
        Ok(ExitCode::Success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be_and_null_is_empty() {
        assert_eq!(field(&"a,\"b\"".into()), "\"a,\"\"b\"\"\"");
        assert_eq!(field(&Cell::Real(1.5)), "1.5");
        assert_eq!(field(&Cell::Null), "");
        assert_eq!(field(&"plain".into()), "plain");
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_text_and_numbers_stay_numbers() {
        for formula in ["=HYPERLINK(1)", "+1", "-1+cmd|'/c calc'!A0", "@SUM(1)", "\tx"] {
            assert_eq!(field(&formula.into()), format!("'{formula}"));
        }
        // Carriage returns and what else a terminal obeys are not written at all.
        assert_eq!(field(&"\r=1\u{1b}[2J".into()), "\u{fffd}=1\u{fffd}[2J");
        assert_eq!(field(&"=\"a\"".into()), "\"'=\"\"a\"\"\"");
        assert_eq!((field(&Cell::Real(-1.5)), field(&Cell::Int(-2))), ("-1.5".to_owned(), "-2".to_owned()));
    }
}
