//! Draws a table. A heat map is a table: its figures can be read, copied and spoken, the ground colour only helps the
//! eye.

use super::scroll;
use crate::grid::Figure;
use crate::table::{Datum, Table};
use maud::{Markup, html};

/// Where a ground becomes so strong that the figure on it needs the other ink.
const DEEP: f64 = 0.52;

/// The table under its title, with a legend of its marks.
pub(super) fn captioned(table: &Table) -> Markup {
    drawn(&table.title, table, html! { caption { (table.title) } })
}

/// The table without a caption, for where a heading says what it shows.
pub(super) fn plain(table: &Table) -> Markup {
    drawn(&table.title, table, html! {})
}

/// A table of heat, with what its colours mean.
pub(super) fn heat_map(name: &str, table: &Table) -> Markup {
    let figures = table.rows.iter().flat_map(|(_, cells)| cells);
    let of = figures.filter_map(|cell| match cell {
        Datum::Heat { figure, .. } => Some(*figure),
        Datum::Plain(_) | Datum::Failed(_) | Datum::NotRun => None,
    });
    let meaning = match of.into_iter().next() {
        Some(Figure::P99) => " (stronger colour: slower)",
        Some(Figure::Throughput) => " (stronger colour: more)",
        None => "",
    };
    drawn(&format!("{name}: {}", table.title), table, html! { caption { (table.title) (meaning) } })
}

fn drawn(label: &str, table: &Table, caption: Markup) -> Markup {
    let is_heat =
        table.rows.iter().flat_map(|(_, cells)| cells).any(|cell| matches!(cell, Datum::Heat { .. }));
    let body = html! {
        table class=(if is_heat { "heat" } else { "ruled" }) {
            (caption)
            thead { tr {
                th.l scope="col" { (table.corner) }
                @for head in &table.heads { th scope="col" { (head) } }
            } }
            tbody {
                @for (head, cells) in &table.rows { tr { th scope="row" { (head) } @for cell in cells { (datum(cell)) } } }
            }
        }
    };
    html! {
        (scroll(label, body))
        @for mark in table.marks() { p.note { (mark.sign()) " " (mark.meaning()) } }
    }
}

fn datum(datum: &Datum) -> Markup {
    match datum {
        Datum::Plain(text) => html! { td { (text) } },
        Datum::Failed(word) => html! { td.failed { (word) } },
        Datum::NotRun => html! { td.idle { (datum.text()) } },
        Datum::Heat { figure, text, position, marks } => {
            let ramp = match figure {
                Figure::P99 => "latency",
                Figure::Throughput => "throughput",
            };
            let deep = if *position > DEEP { " deep" } else { "" };
            html! {
                td class=(format!("{ramp}{deep}")) style=(format!("--v:{position:.3}")) {
                    (text)
                    @for mark in marks { sup title=(mark.meaning()) { (mark.sign()) } }
                }
            }
        }
    }
}
