//! Kills and hostile bytes, by the tests and the fuzzers of this workspace.

use crate::binary::{cargo, last_words, workspace};
use crate::row::Row;
use crate::{Context, Found};
use anyhow::Context as _;
use std::process::Command;

pub(crate) const HOW: &str = "Broker, daemon and receiver are killed 30 times each while 1,000 records and ten captures travel through a real \
     mosquitto; every decoder of bytes from outside is fuzzed, libFuzzer with coverage for what comes over the \
     network, seeded mutations for the daemon's own files. docs/robustness.md keeps the figures of long runs.";

pub(crate) fn measure(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    if context.quick {
        found(Row::absent(
            "records lost or stored twice under kills; decoders that crash",
            "left out of a quick proof",
        ));
        return Ok(());
    }
    chaos(found)?;
    fuzz(context.fuzz_executions, found)
}

/// The numbers of a line of words, in their order.
fn numbers(line: &str) -> impl Iterator<Item = f64> + '_ {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok())
}

/// The long ordeal of the tests, which fails by itself when a record is lost or doubled.
fn chaos(found: Found<'_>) -> anyhow::Result<()> {
    let arguments = [
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--test",
        "serve",
        "chaos",
        "--",
        "--ignored",
        "--nocapture",
    ];
    let output = cargo().args(arguments).output()?;
    // The test tells its counts on standard error.
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text
        .lines()
        .find(|line| line.starts_with("seed "))
        .with_context(|| format!("the test told no counts:\n{}", last_words(&output)))?;
    let count = |name: &str| {
        let before = line.split(name).next().filter(|before| before.len() < line.len());
        before
            .and_then(|before| numbers(before).last())
            .with_context(|| format!("no count of `{name}` in: {line}"))
    };
    found(Row::at_most("records lost", count(" lost")?, "", 0.0).note(line.to_owned()));
    found(Row::at_most("records stored twice", count(" duplicated")?, "", 0.0));
    anyhow::ensure!(output.status.success(), "the test failed:\n{}", last_words(&output));
    Ok(())
}

fn fuzz(executions: u64, found: Found<'_>) -> anyhow::Result<()> {
    let output =
        Command::new(workspace().join("profile/fuzz/run.sh")).arg(executions.to_string()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let decoders = text.lines().filter(|line| line.contains(" executions")).count();
    let words = last_words(&output);
    // The script's last words of a decoder; anything else that ends it, e.g. a missing compiler, says nothing of one.
    let crashed = words.contains("FAILED");
    anyhow::ensure!(crashed || output.status.success(), "the fuzzers did not run:\n{words}");
    let mut note = format!("{decoders} decoders, {executions} inputs each");
    if crashed {
        note = format!("{note}; {words}");
    }
    found(Row::at_most("decoders that crash", f64::from(u8::from(crashed)), "", 0.0).note(note));
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_are_found_in_words() {
        assert_eq!(
            super::numbers("seed 7: 1000 records, 2185 arrived").collect::<Vec<_>>(),
            [7.0, 1000.0, 2185.0]
        );
    }
}
