//! One table of what clipmark claims, how it was measured here, and the figure beside its target.
//!
//! Sections are modules that hand over [`row::Row`]s; [`SECTIONS`] lists them. What needs the daemon as a process
//! builds the binary `clipmarkd` of this workspace and runs it. A claim that cannot be measured on this machine is
//! a row with its cause, and a section that fails is too.

mod accuracy;
mod binary;
mod bytes;
mod drift;
mod footprint;
mod overhead;
mod robustness;
mod row;
mod table;
mod time;

use clap::Parser;
use row::{Row, Verdict};
use std::path::PathBuf;
use std::process::ExitCode;

/// What a section needs to know.
pub(crate) struct Context {
    /// Fewer repetitions.
    pub quick: bool,
    /// Inputs that each decoder is given.
    pub fuzz_executions: u64,
    /// The daemon's binary where it need not be built.
    pub clipmarkd: Option<PathBuf>,
}

impl Context {
    /// Repetitions: all of them, or a quarter in a quick proof.
    pub(crate) fn runs(&self, all: u32) -> u32 {
        if self.quick { all.div_ceil(4) } else { all }
    }
}

/// The median, of at least one value.
pub(crate) fn median(values: &[f64]) -> anyhow::Result<f64> {
    clipmark_profile::stats::robust::median(values).ok_or_else(|| anyhow::anyhow!("nothing was measured"))
}

/// Takes the rows as they are found.
pub(crate) type Found<'a> = &'a mut dyn FnMut(Row);

/// A part of the table.
pub(crate) struct Section {
    /// Its name on the command line.
    name: &'static str,
    /// What is claimed, and how it is measured.
    how: &'static str,
    measure: fn(&Context, Found<'_>) -> anyhow::Result<()>,
}

const SECTIONS: [Section; 7] = [
    Section { name: "accuracy", how: accuracy::HOW, measure: accuracy::measure },
    Section { name: "time", how: time::HOW, measure: time::measure },
    Section { name: "drift", how: drift::HOW, measure: drift::measure },
    Section { name: "bytes", how: bytes::HOW, measure: bytes::measure },
    Section { name: "overhead", how: overhead::HOW, measure: overhead::measure },
    Section { name: "footprint", how: footprint::HOW, measure: footprint::measure },
    Section { name: "robustness", how: robustness::HOW, measure: robustness::measure },
];

/// Measures what clipmark claims and prints each figure beside its target.
///
/// Ends with 0 when every target is kept, with 1 when one is missed. What cannot be measured on this machine says
/// why and what would help.
#[derive(Debug, Parser)]
#[command(
    name = "clipmark-proof",
    after_help = "Examples:\n  clipmark-proof                         everything, about half an hour\n  \
                  clipmark-proof accuracy bytes          two sections\n  \
                  clipmark-proof --markdown docs/proof.md\n  \
                  clipmark-proof robustness --fuzz-executions 1000000"
)]
struct Arguments {
    /// The sections to measure; all of them by default.
    #[arg(value_parser = SECTIONS.map(|section| section.name))]
    sections: Vec<String>,
    /// A quarter of the repetitions, and no long waits.
    #[arg(long)]
    quick: bool,
    /// Inputs that each decoder is given in the section robustness.
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    fuzz_executions: u64,
    /// Measure this clipmarkd instead of building the workspace's.
    #[arg(long, value_name = "PATH")]
    clipmarkd: Option<PathBuf>,
    /// Also write the table to this file, as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Also write the rows to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A section with what was found.
pub(crate) struct Measured {
    section: &'static Section,
    rows: Vec<Row>,
}

fn measure(section: &'static Section, context: &Context) -> Measured {
    table::heading(section);
    let mut rows = Vec::new();
    let mut found = |row: Row| {
        table::row(&row);
        rows.push(row);
    };
    if let Err(error) = (section.measure)(context, &mut found) {
        found(Row::absent(format!("the rest of `{}`", section.name), format!("{error:#}")));
    }
    Measured { section, rows }
}

fn write(arguments: &Arguments, measured: &[Measured]) -> anyhow::Result<()> {
    if let Some(path) = &arguments.markdown {
        std::fs::write(path, table::markdown(measured))?;
    }
    if let Some(path) = &arguments.json {
        let sections: serde_json::Map<_, _> = measured
            .iter()
            .map(|part| Ok((part.section.name.to_owned(), serde_json::to_value(&part.rows)?)))
            .collect::<serde_json::Result<_>>()?;
        std::fs::write(path, serde_json::to_vec_pretty(&sections)?)?;
    }
    Ok(())
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let context = Context {
        quick: arguments.quick,
        fuzz_executions: arguments.fuzz_executions,
        clipmarkd: arguments.clipmarkd.clone(),
    };
    let wanted = |section: &&Section| {
        arguments.sections.is_empty() || arguments.sections.iter().any(|name| name == section.name)
    };
    let measured: Vec<Measured> =
        SECTIONS.iter().filter(wanted).map(|section| measure(section, &context)).collect();
    write(&arguments, &measured)?;
    let count =
        |verdict| measured.iter().flat_map(|part| &part.rows).filter(|row| row.verdict() == verdict).count();
    table::closing(count(Verdict::Met), count(Verdict::Missed), count(Verdict::NotMeasured));
    Ok(if count(Verdict::Missed) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
