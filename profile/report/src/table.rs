//! The content of a table, the same on the terminal and on the page.

use crate::format::{self, TimeScale};
use crate::grid::{Cell, Figure, Mark, extent, log_position};
use std::collections::BTreeSet;

/// What stands in a cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Datum {
    /// A figure or a word.
    Plain(String),
    /// A figure on a ground whose strength shows its position among the others, 0 to 1.
    Heat { figure: Figure, text: String, position: f64, marks: Vec<Mark> },
    /// The point failed; the word says how.
    Failed(&'static str),
    /// The point was never started.
    NotRun,
}

impl Datum {
    /// What stands there without its ground.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Heat { text, marks, .. } => {
                marks.iter().fold(text.clone(), |text, mark| text + mark.sign())
            }
            Self::Failed(word) => (*word).to_owned(),
            Self::NotRun => "not run".to_owned(),
        }
    }
}

impl<T: Into<String>> From<T> for Datum {
    fn from(text: T) -> Self {
        Self::Plain(text.into())
    }
}

/// A table: row heads on the left, columns of figures on the right.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    /// What it shows.
    pub(crate) title: String,
    /// Heads the column of row heads.
    pub(crate) corner: String,
    pub(crate) heads: Vec<String>,
    /// Heads and cells; missing cells are empty.
    pub(crate) rows: Vec<(String, Vec<Datum>)>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(
        title: impl Into<String>,
        corner: impl Into<String>,
        heads: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let heads = heads.into_iter().map(Into::into).collect();
        Self { title: title.into(), corner: corner.into(), heads, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, head: impl Into<String>, cells: impl IntoIterator<Item = impl Into<Datum>>) {
        self.rows.push((head.into(), cells.into_iter().map(Into::into).collect()));
    }

    /// This table without the columns under `heads`, for where room is short.
    pub(crate) fn without(mut self, heads: &[&str]) -> Self {
        let keep: Vec<bool> = self.heads.iter().map(|head| !heads.contains(&head.as_str())).collect();
        let mut kept = keep.iter();
        self.heads.retain(|_| *kept.next().unwrap_or(&true));
        for (_, cells) in &mut self.rows {
            let mut kept = keep.iter();
            cells.retain(|_| *kept.next().unwrap_or(&true));
        }
        self
    }

    /// The marks that its figures carry, for the legend.
    pub(crate) fn marks(&self) -> BTreeSet<Mark> {
        let cells = self.rows.iter().flat_map(|(_, cells)| cells);
        let marks = |cell: &Datum| match cell {
            Datum::Heat { marks, .. } => marks.clone(),
            Datum::Plain(_) | Datum::Failed(_) | Datum::NotRun => Vec::new(),
        };
        cells.flat_map(marks).collect()
    }
}

/// How one figure is shown over a table: its unit and where a value lies among the others.
pub(crate) struct HeatScale {
    figure: Figure,
    time: TimeScale,
    range: Option<(f64, f64)>,
}

impl HeatScale {
    pub(crate) fn over(figure: Figure, values: &[f64]) -> Self {
        let time = TimeScale::fitting(values.iter().copied());
        Self { figure, time, range: extent(values.iter().copied()) }
    }

    /// The figure with its unit.
    pub(crate) fn title(&self) -> String {
        match self.figure {
            Figure::P99 => format!("P99 latency, {}", self.time.unit),
            Figure::Throughput => "throughput, frames/s".into(),
        }
    }

    pub(crate) fn datum(&self, cell: Cell) -> Datum {
        match cell {
            Cell::Absent => Datum::Plain(String::new()),
            Cell::Failed(word) => Datum::Failed(word),
            Cell::NotRun => Datum::NotRun,
            Cell::Figure { value, marks } => {
                let text = match self.figure {
                    Figure::P99 => self.time.number(value),
                    Figure::Throughput => format::significant(value),
                };
                let (low, high) = self.range.unwrap_or((value, value));
                Datum::Heat { figure: self.figure, text, position: log_position(value, low, high), marks }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_left_out_with_its_cells() {
        let mut table = Table::new("", "point", ["a", "b", "c"]);
        table.row("x", ["1", "2", "3"]);
        table.row("y", ["4"]);
        let short = table.without(&["b"]);
        assert_eq!(short.heads, ["a", "c"]);
        assert_eq!(short.rows[0].1, [Datum::from("1"), Datum::from("3")]);
        assert_eq!(short.rows[1].1, [Datum::from("4")]);
    }

    #[test]
    fn the_legend_names_the_marks_that_are_there() {
        let scale = HeatScale::over(Figure::P99, &[1e6, 4e6]);
        let mut table = Table::new(scale.title(), "", ["a", "b"]);
        let marked = Cell::Figure { value: 2e6, marks: vec![Mark::Extrapolated] };
        table.row("x", [scale.datum(marked), scale.datum(Cell::NotRun)]);
        assert_eq!(table.marks(), BTreeSet::from([Mark::Extrapolated]));
        assert_eq!(table.rows[0].1[0].text(), "2.00?");
        let Datum::Heat { position, .. } = &table.rows[0].1[0] else { panic!("{:?}", table.rows[0].1[0]) };
        assert!((position - 0.5).abs() < 1e-12);
    }
}
