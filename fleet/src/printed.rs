//! Standard output, what is said beside it, errors with exit codes, and times for people.

use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::operator::OperatorError;
use crate::store::{Store, StoreError};
use clipmark_profile::text::{clean, clean_lines};
use clipmark_service::mqtt::Closed;
use clipmark_service::outcome::write_out;
use std::error::Error;
use std::io::Write;

/// Makes any error end the command with `code`.
pub(crate) fn failed<E: Error + Send + Sync + 'static>(code: ExitCode) -> impl Fn(E) -> CommandError {
    move |error| CommandError::new(code, error)
}

/// Makes an error of the broker's connection end the command; where there is none, the keys that name the broker
/// are told with their place.
pub(crate) fn broker_failed(config: &Config) -> impl Fn(OperatorError) -> CommandError {
    let place = config.place();
    move |error| match error {
        OperatorError::Closed(Closed::Lost { .. }) => {
            CommandError::new(ExitCode::Broker, format!("{error} (settings are in {place})"))
        }
        error => CommandError::new(ExitCode::Broker, error),
    }
}

/// The store that the configuration names; one that is missing is not made.
pub(crate) fn opened(config: &Config) -> Result<Store, CommandError> {
    Store::open(&config.store).map_err(|error| match error {
        StoreError::Missing { .. } => {
            CommandError::new(ExitCode::Storage, format!("{error} in {}", config.place()))
        }
        error => CommandError::new(ExitCode::Storage, error),
    })
}

/// Tells something beside the results.
pub(crate) fn note(text: &str) {
    // Results stand even where this cannot be told.
    let _ = writeln!(std::io::stderr(), "{}", clean_lines(text));
}

/// A number of things, in words.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Ends a command that found nothing: what, in how much, and how more comes about.
pub(crate) fn nothing(what: &str, store: &mut Store) -> Result<ExitCode, CommandError> {
    let counts = store.counts().map_err(failed(ExitCode::Storage))?;
    let (devices, profiles) = (counted(counts.devices, "device"), counted(counts.profiles, "profile"));
    note(&format!(
        "{what}; the store {} holds {devices} and {profiles}; boards appear when `clipmarkd serve` reaches the same \
         broker",
        store.place()
    ));
    Ok(ExitCode::NothingFound)
}

/// Says that a list ended at its limit.
pub(crate) fn note_limit(rows: usize, limit: u32) {
    if rows as u64 == u64::from(limit) {
        note(&format!("stopped at --limit {limit}; there may be more"));
    }
}

/// Prints text, without what a terminal would obey; a reader that has gone, e.g. `head`, has seen enough.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    write_out(&clean_lines(text), ExitCode::Storage)
}

/// Prints a line.
pub(crate) fn print_line(text: &str) -> Result<(), CommandError> {
    print(&format!("{text}\n"))
}

/// Longest cell that is printed.
const CELL: usize = 300;

/// Rows as columns of text; the first row holds the headings. A cell stays on its line, whatever it holds.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell, CELL)).collect()).collect();
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// How long ago something was, in the largest whole unit.
pub(crate) fn ago(then_unix_ms: u64, now_unix_ms: u64) -> String {
    let seconds = now_unix_ms.saturating_sub(then_unix_ms) / 1000;
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        7200..=172_799 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// Text that may be missing.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_trailing_spaces() {
        let rows = [["device", "state"], ["a", "online"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&rows), "device  state\na       online\n");
    }

    #[test]
    fn a_cell_that_a_board_filled_neither_commands_the_terminal_nor_begins_a_line() {
        let attack = "\u{1b}]52;c;cm0gLXJmIH4K\u{7}\nforged  online".to_owned();
        let text = columns(&[vec!["device".to_owned()], vec![attack]]);
        assert_eq!(text, "device\n\u{fffd}]52;c;cm0gLXJmIH4K\u{fffd}\u{fffd}forged  online\n");
    }

    #[test]
    fn an_age_has_one_unit() {
        let ages = [0, 119_000, 120_000, 7_200_000, 172_800_000].map(|age| ago(1000, 1000 + age));
        assert_eq!(ages, ["0 s ago", "119 s ago", "2 min ago", "2 h ago", "2 d ago"]);
        assert_eq!(ago(5000, 1000), "0 s ago");
    }
}
