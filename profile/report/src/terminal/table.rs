//! Draws a table with right-aligned columns whose cells may carry a ground colour over their full width.
//!
//! Own code because table crates colour a cell's text, not its padding, and because a table that is too
//! wide must break into blocks of columns that repeat the row heads.

use super::paint::{Color, Look, Ramp};
use crate::grid::Figure;
use crate::table::{Datum, Table};
use unicode_width::UnicodeWidthStr;

/// Stands before every row.
const INDENT: &str = "  ";

/// A text and how it looks.
struct TableCell {
    text: String,
    look: Look,
}

impl TableCell {
    fn of(datum: &Datum) -> Self {
        let look = match datum {
            Datum::Plain(_) => Look::Normal,
            Datum::Failed(_) => Look::Alarm,
            Datum::NotRun => Look::Faint,
            Datum::Heat { figure: Figure::P99, position, .. } => Look::Heat(Ramp::Latency, *position),
            Datum::Heat { figure: Figure::Throughput, position, .. } => {
                Look::Heat(Ramp::Throughput, *position)
            }
        };
        Self { text: datum.text(), look }
    }
}

/// A table ready to be laid out.
struct Layout<'a> {
    corner: String,
    heads: &'a [String],
    rows: Vec<(String, Vec<TableCell>)>,
}

/// The lines of `table`, in as many blocks of columns as `width` asks for.
pub(super) fn lines(table: &Table, width: usize, color: Color) -> Vec<String> {
    let indented = |text: &str| format!("{INDENT}{text}");
    let row =
        |(head, cells): &(String, Vec<Datum>)| (indented(head), cells.iter().map(TableCell::of).collect());
    let rows = table.rows.iter().map(row).collect();
    Layout { corner: indented(&table.corner), heads: &table.heads, rows }.lines(width, color)
}

impl Layout<'_> {
    fn lines(&self, width: usize, color: Color) -> Vec<String> {
        let stub = self.rows.iter().map(|(head, _)| head.width()).chain([self.corner.width()]).max();
        let widths: Vec<usize> = (0..self.heads.len()).map(|column| self.column_width(column)).collect();
        let widest = widths.iter().copied().max().unwrap_or(0);
        let stub = stub.unwrap_or(0).min(width.saturating_sub(widest).max(8));
        let mut lines = Vec::new();
        let mut start = 0;
        while start < widths.len() {
            let mut end = start + 1;
            let mut used = stub + widths[start];
            while end < widths.len() && used + widths[end] <= width {
                used += widths[end];
                end += 1;
            }
            if start > 0 {
                lines.push(String::new());
            }
            self.block(start..end, stub, &widths, color, &mut lines);
            start = end;
        }
        lines
    }

    /// Two blanks before the widest cell of the column, one after it.
    fn column_width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|(_, cells)| cells.get(column)).map(|c| c.text.width());
        cells.chain([self.heads[column].width()]).max().unwrap_or(0) + 3
    }

    fn block(
        &self,
        columns: std::ops::Range<usize>,
        stub: usize,
        widths: &[usize],
        color: Color,
        lines: &mut Vec<String>,
    ) {
        let mut head = pad_right(&shorten(&self.corner, stub), stub);
        for column in columns.clone() {
            head.push_str(&pad_left(&self.heads[column], widths[column] - 1));
            head.push(' ');
        }
        lines.push(color.paint(head.trim_end(), Look::Faint));
        for (name, cells) in &self.rows {
            let mut line = pad_right(&shorten(name, stub), stub);
            for column in columns.clone() {
                let empty = TableCell { text: String::new(), look: Look::Normal };
                let cell = cells.get(column).unwrap_or(&empty);
                // One blank stays unpainted, so that neighbouring grounds do not touch.
                line.push(' ');
                let padded = pad_left(&cell.text, widths[column] - 2) + " ";
                line.push_str(&color.paint(&padded, cell.look));
            }
            lines.push(line.trim_end().to_owned());
        }
    }
}

/// `text` with blanks after it up to `width` columns.
fn pad_right(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// `text`, or as much of it as fits into `width` columns with an ellipsis.
fn shorten(text: &str, width: usize) -> String {
    let mut kept = text.to_owned();
    while kept.width() > width {
        kept.pop();
        while kept.width() >= width && kept.pop().is_some() {}
        kept.push('\u{2026}');
    }
    kept
}

fn pad_left(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: usize) -> Table {
        let mut table = Table::new("", "batch", (0..columns).map(|c| format!("c{c}")));
        table.row("1", (0..columns).map(|c| format!("{}", c * 1000)));
        table
    }

    #[test]
    fn columns_align_to_the_right_by_displayed_width() {
        let mut table = Table::new("", "", ["a", "b"]);
        table.row("x", ["\u{b5}", "100"]);
        table.row("yy", ["22"]);
        assert_eq!(lines(&table, 80, Color::Plain), ["       a     b", "  x    \u{b5}   100", "  yy  22"]);
    }

    #[test]
    fn a_table_wider_than_the_terminal_breaks_into_blocks_that_repeat_the_heads() {
        let lines = lines(&table(12), 40, Color::Plain);
        assert!(lines.iter().all(|line| line.len() <= 40), "{lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("  batch")).count(), 3);
        let figures = lines.join(" ");
        assert!((0..12).all(|c| figures.contains(&format!("c{c}"))));
    }

    #[test]
    fn even_a_terminal_of_one_column_shows_everything() {
        let lines = lines(&table(3), 1, Color::Plain);
        assert_eq!(lines.iter().filter(|line| line.starts_with("  1")).count(), 3);
    }
}
