//! Writes the report of a made-up profile to the file named on the command line.

#![expect(clippy::disallowed_methods, reason = "a program that writes a file; the library does not")]

use clipmark_profile::{example, series};

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "report.html".into());
    let profile = example::profile();
    let series: Vec<_> = profile
        .soaks
        .iter()
        .map(|soak| {
            let (evidence, sensors) = example::soak_evidence(soak.id);
            series::build(&profile.run.id, &evidence, Some(&sensors), Some(soak))
        })
        .collect();
    std::fs::write(path, clipmark_report::html(&profile, &series))
}
