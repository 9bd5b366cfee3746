//! Racing on boards that become slower or faster during the sweep.

use crate::row::Row;
use crate::{Context, Found};
use clipmark_profile::truth::drift::{DriftScore, Kind, score};

pub(crate) const HOW: &str = "The planted surfaces of `time` on a board that changes during the sweep by a factor of 1.15 to 1.6, in six ways at \
     random times, with independent and with correlated noise. A run is wrong when the point that it names for offline \
     work or for efficiency loses more than 2 % against the true best one.";

/// Autocorrelation of the noise.
const NOISES: [(f64, &str); 2] = [(0.0, "independent noise"), (0.6, "noise correlated at 0.6")];

pub(crate) fn measure(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    let surfaces = context.runs(60) as usize;
    for (autocorrelation, name) in NOISES {
        let kinds = Kind::MOVING.map(|kind| (kind, score(kind, surfaces, autocorrelation, 1)));
        rows(&kinds, name, found);
    }
    Ok(())
}

fn rows(kinds: &[(Kind, DriftScore)], noise: &str, found: Found<'_>) {
    let total = |count: fn(&DriftScore) -> usize| kinds.iter().map(|(_, score)| count(score)).sum::<usize>();
    let runs = total(|score| score.runs);
    let each = |value: fn(&DriftScore) -> String| {
        let words: Vec<String> =
            kinds.iter().map(|(kind, score)| format!("{} {}", kind.name(), value(score))).collect();
        words.join(", ")
    };
    found(
        Row::at_most(
            format!("runs that name a point with more than 2 % regret, {noise}"),
            100.0 * total(|score| score.wrong + score.unnamed) as f64 / runs.max(1) as f64,
            "%",
            5.0,
        )
        .note(format!(
            "{runs} runs; wrong: {}; largest regret: {}",
            each(|score| score.wrong.to_string()),
            each(|score| format!("{:.1} %", score.worst_regret * 100.0))
        )),
    );
    found(
        Row::at_most(
            format!("tables that contradict the choice by more than their noise, {noise}"),
            total(|score| score.contradictions) as f64,
            "",
            0.0,
        )
        .note(format!(
            "time over that on the still board: {}",
            each(|score| format!("{:.1}", score.time_ratio))
        )),
    );
}
