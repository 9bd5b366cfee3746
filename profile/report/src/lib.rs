//! Renders a [`clipmark_profile::summary::Profile`] for people: terminal text and a self-contained HTML
//! report.
//!
//! Pure: no file, no clock, no terminal detection. The caller says how wide the terminal is and whether
//! colour is wanted, and writes the result where it belongs. Every name in a profile may come from a
//! hostile file or a hostile device: control characters never reach a terminal, markup never reaches a
//! page. Nothing is computed here that a profile does not already state, except ratios between its figures.

mod capacity;
mod contrast;
mod findings;
pub mod format;
mod grid;
mod html;
mod panels;
mod spark;
mod svg;
mod table;
mod tables;
mod terminal;
pub mod words;

pub use html::{STYLE, Section, html, sections};
pub use spark::sparkline;
pub use svg::{Dot, DotPlot, Ridge, ridges, timeline_of_changes};
pub use terminal::{Color, TerminalOptions, terminal};
