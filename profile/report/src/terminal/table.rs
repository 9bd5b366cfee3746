//! A table of right-aligned columns whose cells may carry a ground colour over their full width.
//!
//! Own code because table crates colour a cell's text, not its padding, and because a table that is too
//! wide must break into blocks of columns that repeat the row heads.

use super::paint::{Color, Look};
use unicode_width::UnicodeWidthStr;

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TableCell {
    text: String,
    look: Look,
}

impl TableCell {
    /// A cell that looks like its surroundings.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), look: Look::Normal }
    }

    /// A cell with a look of its own.
    pub(super) fn with(text: impl Into<String>, look: Look) -> Self {
        Self { text: text.into(), look }
    }
}

/// A table: row heads on the left, columns of figures on the right.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    corner: String,
    heads: Vec<String>,
    rows: Vec<(String, Vec<TableCell>)>,
}

impl Table {
    /// An empty table. `corner` heads the column of row heads.
    pub(super) fn new(corner: impl Into<String>, heads: Vec<String>) -> Self {
        Self { corner: corner.into(), heads, rows: Vec::new() }
    }

    /// Adds a row. Missing cells are empty.
    pub(super) fn row(&mut self, head: impl Into<String>, cells: Vec<TableCell>) {
        self.rows.push((head.into(), cells));
    }

    /// The lines of the table, in as many blocks of columns as `width` asks for.
    pub(super) fn lines(&self, width: usize, color: Color) -> Vec<String> {
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
                let empty = TableCell::plain("");
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
pub(super) fn pad_right(text: &str, width: usize) -> String {
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
        let mut table = Table::new("batch", (0..columns).map(|c| format!("c{c}")).collect());
        table.row("1", (0..columns).map(|c| TableCell::plain(format!("{}", c * 1000))).collect());
        table
    }

    #[test]
    fn columns_align_to_the_right_by_displayed_width() {
        let mut table = Table::new("", vec!["a".into(), "b".into()]);
        table.row("x", vec![TableCell::plain("\u{b5}"), TableCell::plain("100")]);
        table.row("yy", vec![TableCell::plain("22")]);
        assert_eq!(table.lines(80, Color::Plain), ["     a     b", "x    \u{b5}   100", "yy  22"]);
    }

    #[test]
    fn a_table_wider_than_the_terminal_breaks_into_blocks_that_repeat_the_heads() {
        let lines = table(12).lines(40, Color::Plain);
        assert!(lines.iter().all(|line| line.len() <= 40), "{lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("batch")).count(), 3);
        let figures = lines.join(" ");
        assert!((0..12).all(|c| figures.contains(&format!("c{c}"))));
    }

    #[test]
    fn even_a_terminal_of_one_column_shows_everything() {
        assert_eq!(table(3).lines(1, Color::Plain).iter().filter(|l| l.starts_with('1')).count(), 3);
    }
}
