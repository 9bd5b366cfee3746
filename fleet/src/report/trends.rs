//! One figure of one point of one model over time: what got worse, when, and with what it coincides.

use super::page::encoded;
use super::{At, Focus, Links, figure, mark, metric, moved};
use crate::store::{PointQuery, PointRow, Store, StoreError};
use clipmark_profile::cohort::{Trend, TrendPoint, TrendRule, trend};
use clipmark_profile::compare::Verdict;
use clipmark_profile::figures::Figure;
use clipmark_profile::identity::Factor;
use clipmark_report::format::{change, date, percent, utc};
use clipmark_report::words::clean;
use clipmark_report::{Dot, DotPlot, timeline_of_changes};
use maud::{Markup, html};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Most runs of one trend; the newest are taken.
const MOST_RUNS: u32 = 2000;

/// Boards that are listed; those furthest above their own level come first.
const LISTED: usize = 20;

/// A device's clock is believed when a run began at most so long before it was received, and not after.
const BELIEVED_MS: u64 = 90 * 86_400_000;

/// The figures that can be followed, with their names in addresses.
pub(crate) const FIGURES: [(&str, Figure); 4] = [
    ("p99", Figure::P99),
    ("p50", Figure::P50),
    ("frames", Figure::FramesPerSecond),
    ("energy", Figure::EnergyPerFrame),
];

/// What is followed. Absent: the model measured last, its most usual point, all boards, P99.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    pub(crate) model: String,
    #[serde(flatten)]
    pub(crate) at: At,
    pub(crate) device: String,
    pub(crate) figure: String,
}

impl Wanted {
    fn metric(&self) -> Figure {
        FIGURES.iter().find(|(name, _)| *name == self.figure).map_or(Figure::P99, |(_, metric)| *metric)
    }
}

/// One run in a trend.
#[derive(Debug, Clone)]
struct Run {
    at_unix_ms: u64,
    device: String,
    value: f64,
    /// Whether the board changed during the run.
    moved: bool,
    simulated: bool,
    /// What must be alike for two runs of one board to share a level.
    series: String,
    context: Vec<(&'static str, String)>,
}

/// What was found.
#[derive(Debug, Clone)]
pub(crate) struct Trends {
    pub(crate) focus: Focus,
    pub(crate) device: Option<String>,
    pub(crate) metric: Figure,
    runs: Vec<Run>,
    trend: Trend,
}

/// When a run took place: by the device's clock where that can be, else when it was received.
fn time(started_unix_ms: u64, received_unix_ms: u64) -> u64 {
    let is_believed =
        started_unix_ms <= received_unix_ms && received_unix_ms - started_unix_ms <= BELIEVED_MS;
    if is_believed { started_unix_ms } else { received_unix_ms }
}

fn run(row: &PointRow, metric: Figure) -> Option<Run> {
    let unknown = || "unknown".to_owned();
    let identity = &row.identity;
    // What the trend is over is left open, and firmware and build are what a change may coincide with.
    let series = identity.without(&[Factor::Firmware, Factor::Build]);
    Some(Run {
        at_unix_ms: time(row.started_unix_ms, row.received_unix_ms),
        device: row.device.to_string(),
        value: row.figures.figures.comparable(metric).filter(|value| *value > 0.0)?,
        moved: row.figures.figures.moved(),
        simulated: identity.simulated,
        series: format!(
            "{}, {}, {}, {}{}",
            row.device,
            series.variant,
            series.value(Factor::POWER_MODE),
            series.load,
            if identity.simulated { ", simulated" } else { "" }
        ),
        context: vec![
            row.firmware()
                .map_or_else(|| ("kernel", unknown()), |(name, release)| (name, release.to_owned())),
            ("build of the model", identity.value(Factor::Build)),
            ("clipmark", row.clipmark.clone()),
            ("version of the backend", row.backend_version.clone().unwrap_or_else(unknown)),
        ],
    })
}

impl Trends {
    /// Makes it from the store.
    ///
    /// # Errors
    /// The database's refusal.
    pub(crate) fn of(store: &mut Store, wanted: &Wanted) -> Result<Self, StoreError> {
        let focus = Focus::of(store, &wanted.model, wanted.at.0)?;
        let (metric, device) = (wanted.metric(), wanted.device.parse().ok());
        let rows = match focus.query(MOST_RUNS) {
            Some(query) => store.points(&PointQuery {
                device: device.clone(),
                newest_first: device.is_none(),
                histograms: false,
                ..query
            })?,
            None => Vec::new(),
        };
        let runs: Vec<Run> = rows.iter().filter_map(|row| run(row, metric)).collect();
        let points: Vec<TrendPoint> = runs
            .iter()
            .map(|run| TrendPoint {
                at_unix_ms: run.at_unix_ms,
                device: run.series.clone(),
                value: run.value,
                context: run.context.clone(),
            })
            .collect();
        let trend = trend(&points, TrendRule { floor: metric.floor(), ..TrendRule::default() });
        let device = device.map(|device| device.to_string());
        Ok(Self { focus, device, metric, runs, trend })
    }

    fn verdict(&self, ratio: f64) -> Verdict {
        let is_more_better = self.metric.more_is_better();
        if (ratio > 1.0) == is_more_better { Verdict::Better } else { Verdict::Worse }
    }

    fn ratio(&self, run: &Run) -> f64 {
        self.trend.own_levels.get(&run.series).map_or(1.0, |level| run.value / level)
    }
}

/// The figure over time, its changes, and how each board stands.
pub(crate) fn html(trends: &Trends, links: Links) -> Markup {
    if trends.runs.is_empty() {
        return html! { p { "There is no run with this model, point and figure yet." } };
    }
    html! {
        @if trends.runs.iter().any(|run| run.simulated) {
            p.note { span.tag { "simulated" } " Some or all of these figures are simulated." }
        }
        @if let Some(told) = moved(trends.runs.iter().filter(|run| run.moved).count(), trends.runs.len()) {
            p.note { (told) }
        }
        (plot(trends, links))
        (changes(trends))
        (boards(trends, links))
    }
}

fn plot(trends: &Trends, links: Links) -> Markup {
    let dots: Vec<Dot> = trends
        .runs
        .iter()
        .map(|run| Dot {
            at_unix_ms: run.at_unix_ms,
            ratio: trends.ratio(run),
            title: format!("{}, {}: {}", run.series, utc(run.at_unix_ms), figure(trends.metric, run.value)),
            href: (links == Links::Pages).then(|| format!("/device/{}", encoded(&run.device))),
        })
        .collect();
    let plot =
        timeline_of_changes(DotPlot { title: metric(trends.metric), dots: &dots, trend: &trends.trend });
    html! {
        figure {
            figcaption {
                "Every run against its board's own first level, so that boards of all kinds share one scale. From run to run a board differs from itself by "
                (percent(trends.trend.noise)) "; changes below " (percent(trends.metric.floor())) " do not count."
            }
            div.scroll role="region" aria-label="Over time" tabindex="0" { @if let Some(plot) = plot { (plot) } }
        }
    }
}

fn changes(trends: &Trends) -> Markup {
    html! {
        h2 { "What changed" }
        @if trends.trend.changes.is_empty() {
            p { "Nothing that counts." }
        } @else {
            div.scroll role="region" aria-label="Changes" tabindex="0" { table.ruled.fleet {
                thead { tr {
                    th scope="col" { "since" } th scope="col" { "change" } th scope="col" { "verdict" }
                    th scope="col" { "what else changed then" }
                } }
                tbody { @for found in &trends.trend.changes {
                    tr {
                        th scope="row" { (date(found.at_unix_ms)) }
                        td { (change(found.ratio)) }
                        td { (mark(trends.verdict(found.ratio))) }
                        td {
                            @if found.coincides.is_empty() { "nothing that the boards tell" }
                            @for (index, (name, was, is)) in found.coincides.iter().enumerate() {
                                @if index > 0 { "; " }
                                (name) ": " (clean(was, 40)) " \u{2192} " (clean(is, 40))
                            }
                        }
                    }
                } }
            } }
        }
    }
}

/// The newest run of each series against the level that all boards have reached.
fn boards(trends: &Trends, links: Links) -> Markup {
    let mut newest: BTreeMap<&str, &Run> = BTreeMap::new();
    for run in &trends.runs {
        let entry = newest.entry(&run.series).or_insert(run);
        if run.at_unix_ms > entry.at_unix_ms {
            *entry = run;
        }
    }
    let now = trends.trend.levels.last().map_or(1.0, |level| level.ratio);
    let mut rows: Vec<(&Run, f64)> = newest.into_values().map(|run| (run, trends.ratio(run) / now)).collect();
    let badness = |ratio: f64| if trends.metric.more_is_better() { -ratio } else { ratio };
    rows.sort_by(|a, b| badness(b.1).total_cmp(&badness(a.1)));
    let (count, shown) = (rows.len(), rows.len().min(LISTED));
    html! {
        h2 { "Boards" }
        div.scroll role="region" aria-label="Boards" tabindex="0" { table.ruled.fleet {
            caption { "The newest run of each against its own level moved as all boards' have moved. " @if shown < count { "The " (shown) " worst of " (count) "." } }
            thead { tr {
                th scope="col" { "board" } th scope="col" { "newest run" } th scope="col" { (metric(trends.metric)) }
                th scope="col" { "against its own level" }
            } }
            tbody { @for (run, ratio) in rows.into_iter().take(LISTED) {
                tr {
                    th scope="row" {
                        @if links == Links::Pages { a href=(format!("/device/{}", encoded(&run.device))) { (run.device) } }
                        @else { (run.device) }
                        @if run.simulated { " " span.tag { "simulated" } }
                    }
                    td { (utc(run.at_unix_ms)) }
                    td { (figure(trends.metric, run.value)) }
                    td { (change(ratio)) }
                }
            } }
        } }
    }
}

/// The devices of a trend, for a list to choose from.
pub(crate) fn devices(trends: &Trends) -> BTreeSet<&str> {
    trends.runs.iter().map(|run| run.device.as_str()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_by_years_does_not_place_a_run() {
        let received = 1_800_000_000_000;
        let day = 86_400_000;
        assert_eq!(time(received - 2 * day, received), received - 2 * day);
        for wrong in [0, 4_102_444_800_000, received + 1, received - 400 * day] {
            assert_eq!(time(wrong, received), received, "{wrong}");
        }
    }
}
