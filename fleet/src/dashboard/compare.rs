//! One point of one model over the fleet: distributions side by side, verdicts, boards that stand out.

use super::fleet::encoded;
use super::layout::frame;
use super::{PageError, Site, page};
use crate::cohort::{explain, samples};
use crate::store::{ModelRow, PointQuery, PointRow, ProfileId, Store};
use axum::extract::{Query, State};
use axum::response::Html;
use clipmark_profile::cohort::{
    CohortRule, Entry, Factor, GroupContrast, Outlier, OutlierRule, Pool, contrast, outliers,
};
use clipmark_profile::compare::{Metric, Verdict};
use clipmark_report::format::{bytes, change, energy, percent, significant, span};
use clipmark_report::words::{clean, interval};
use clipmark_report::{Ridge, ridges};
use maud::{Markup, html};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Most points that are read for one page.
const MOST_POINTS: u32 = 4000;

/// Groups that are drawn; the largest come first.
const MOST_GROUPS: usize = 6;

/// Boards whose whole profiles are read to explain an outlier.
const EXPLAINED: usize = 24;

/// What is compared. Absent: the model measured last, the point that most boards have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    model: String,
    batch: Option<u32>,
    clip: Option<u32>,
    by: String,
    baseline: String,
}

impl Asked {
    fn factor(&self) -> Factor {
        Factor::from_name(&self.by).unwrap_or(Factor::Firmware)
    }
}

struct Found {
    models: Vec<ModelRow>,
    model: Option<String>,
    points: Vec<(u32, u32)>,
    at: Option<(u32, u32)>,
    samples: Vec<(ProfileId, Entry)>,
}

/// The page.
pub(super) async fn show(
    State(site): State<Site>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, PageError> {
    let (markup, title) = site
        .read(move |store| {
            let mut found = find(store, &asked)?;
            let title = found.model.clone().unwrap_or_else(|| "Compare".into());
            Ok((body(store, &asked, &mut found)?, clean(&title, 60)))
        })
        .await?;
    Ok(page(frame("/compare", &title, markup)))
}

fn find(store: &mut Store, asked: &Asked) -> Result<Found, PageError> {
    let models = store.models()?;
    let newest = models.iter().max_by_key(|row| row.last_received_unix_ms).map(|row| row.model.clone());
    let model = Some(asked.model.clone()).filter(|name| !name.is_empty()).or(newest);
    let Some(name) = model.clone() else {
        return Ok(Found { models, model, points: Vec::new(), at: None, samples: Vec::new() });
    };
    let query =
        PointQuery { model: Some(name), histograms: false, limit: MOST_POINTS, ..PointQuery::default() };
    let mut counts: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for row in store.points(&query)? {
        *counts.entry((row.figures.batch_size, row.figures.clip_length)).or_default() += 1;
    }
    let usual = counts.iter().max_by_key(|&(_, count)| *count).map(|(&at, _)| at);
    let at = asked.batch.zip(asked.clip).filter(|at| counts.contains_key(at)).or(usual);
    let rows: Vec<PointRow> = match at {
        None => Vec::new(),
        Some((batch, clip)) => store.points(&PointQuery {
            batch_size: Some(batch),
            clip_length: Some(clip),
            histograms: true,
            ..query
        })?,
    };
    Ok(Found { models, model, points: counts.into_keys().collect(), at, samples: samples(&rows) })
}

/// The part of a key that groups are made by, in words.
fn value(entry: &Entry, factor: Factor) -> String {
    let key = &entry.key;
    let known = |part: &Option<String>| part.clone().unwrap_or_else(|| "unknown".into());
    match factor {
        Factor::Model => key.model.clone(),
        Factor::Build => known(&key.digest).chars().take(12).collect(),
        Factor::Backend => key.backend.clone(),
        Factor::Precision => key.precision.to_string(),
        Factor::Threads => key.threads.to_string(),
        Factor::Board => known(&key.board),
        Factor::PowerMode => known(&key.power_mode),
        Factor::Firmware => known(&key.firmware),
        Factor::Simulation => if key.simulated { "simulated" } else { "measured" }.to_owned(),
    }
}

fn body(store: &mut Store, asked: &Asked, found: &mut Found) -> Result<Markup, PageError> {
    let factor = asked.factor();
    let mut groups: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for (_, entry) in &found.samples {
        groups.entry(value(entry, factor)).or_default().push(entry.clone());
    }
    let mut names: Vec<String> = groups.keys().cloned().collect();
    names.sort_by_key(|name| std::cmp::Reverse(groups[name].len()));
    names.truncate(MOST_GROUPS);
    names.sort();
    let baseline = names.iter().find(|name| **name == asked.baseline).or(names.first()).cloned();
    let odd = odd_boards(store, found)?;
    Ok(html! {
        h1 { "Compare" }
        (form(asked, found, &names, baseline.as_deref()))
        @match &baseline {
            None => p { "There is nothing to compare yet: no board has sent a profile with this model and point." },
            Some(baseline) => {
                (distributions(&names, &groups))
                @for name in names.iter().filter(|name| *name != baseline) {
                    (verdict(baseline, name, &groups, factor))
                }
                (boards(&odd))
            }
        }
    })
}

fn form(asked: &Asked, found: &Found, names: &[String], baseline: Option<&str>) -> Markup {
    let models: BTreeSet<&String> = found.models.iter().map(|row| &row.model).collect();
    let batches: BTreeSet<u32> = found.points.iter().map(|point| point.0).collect();
    let clips: BTreeSet<u32> = found.points.iter().map(|point| point.1).collect();
    let factors = [
        Factor::Firmware,
        Factor::Build,
        Factor::PowerMode,
        Factor::Board,
        Factor::Backend,
        Factor::Precision,
        Factor::Threads,
    ];
    html! {
        form.filter method="get" action="/compare" {
            label { "Model" select name="model" { @for name in models {
                option value=(name) selected[found.model.as_ref() == Some(name)] { (clean(name, 60)) }
            } } }
            label { "Batch size" select name="batch" { @for size in batches {
                option value=(size) selected[found.at.is_some_and(|at| at.0 == size)] { (size) }
            } } }
            label { "Clip length, frames" select name="clip" { @for length in clips {
                option value=(length) selected[found.at.is_some_and(|at| at.1 == length)] { (length) }
            } } }
            label { "Side by side" select name="by" { @for factor in factors {
                option value=(factor.name()) selected[asked.factor() == factor] { (factor.name()) }
            } } }
            label { "Baseline" select name="baseline" { @for name in names {
                option value=(name) selected[baseline == Some(name)] { (clean(name, 60)) }
            } } }
            button.go { "Compare" }
        }
    }
}

fn devices(entries: &[Entry]) -> BTreeSet<&str> {
    entries.iter().map(|entry| entry.sample.device.as_str()).collect()
}

fn merged(entries: &[Entry]) -> Pool {
    let numbers: BTreeMap<&str, u32> = devices(entries).into_iter().zip(0..).collect();
    let steady = entries.iter().filter(|entry| entry.sample.throttled.is_none());
    Pool::of_latencies(steady.map(|entry| (numbers[entry.sample.device.as_str()], &entry.sample)))
}

fn distributions(names: &[String], groups: &BTreeMap<String, Vec<Entry>>) -> Markup {
    let pools: Vec<Pool> = names.iter().map(|name| merged(&groups[name])).collect();
    let notes: Vec<String> = names
        .iter()
        .map(|name| {
            let entries = &groups[name];
            let throttled: BTreeSet<&str> = entries
                .iter()
                .filter(|entry| entry.sample.saw_throttling())
                .map(|entry| entry.sample.device.as_str())
                .collect();
            format!(
                "{} boards, {} runs, {} throttled",
                devices(entries).len(),
                entries.len(),
                throttled.len()
            )
        })
        .collect();
    let rows: Vec<Ridge<'_>> =
        names.iter().zip(&notes).zip(&pools).map(|((name, note), pool)| Ridge { name, note, pool }).collect();
    html! {
        h2 { "Latency of the fleet" }
        figure {
            figcaption { "Merged distributions, every board with the same weight; heights are square roots, so that tails show. Runs in which a board throttled while this point was measured are left out." }
            div.scroll role="region" aria-label="Distributions" tabindex="0" { @if let Some(plot) = ridges(&rows) { (plot) } }
        }
    }
}

const fn metric(metric: Metric) -> &'static str {
    match metric {
        Metric::P50Latency => "P50 latency",
        Metric::P99Latency => "P99 latency",
        Metric::FramesPerSecond => "throughput",
        Metric::EnergyPerFrame => "energy per frame",
        Metric::PeakMemory => "peak memory",
    }
}

fn figure(of: Metric, value: f64) -> String {
    match of {
        Metric::P50Latency | Metric::P99Latency => span(value),
        Metric::FramesPerSecond => format!("{} frames/s", significant(value)),
        Metric::EnergyPerFrame => energy(value),
        Metric::PeakMemory => bytes(value as u64),
    }
}

fn word(verdict: Verdict) -> Markup {
    let (text, class) = match verdict {
        Verdict::Better => ("\u{25b2} better", "better"),
        Verdict::Same => ("= same", "same"),
        Verdict::Worse => ("\u{25bc} worse", "worse"),
        Verdict::NotComparable => ("not comparable", "none"),
    };
    html! { span class=(format!("verdict {class}")) { (text) } }
}

fn verdict(baseline: &str, name: &str, groups: &BTreeMap<String, Vec<Entry>>, factor: Factor) -> Markup {
    let rule = CohortRule { varied: vec![factor], ..CohortRule::default() };
    let found = contrast(&groups[baseline], &groups[name], &rule);
    html! {
        h2 { (clean(name, 60)) " against " (clean(baseline, 60)) }
        @if found.groups.is_empty() {
            p { "Nothing else agrees between the two: compare boards of one type, power mode and firmware." }
        }
        @for group in &found.groups { (group_table(group)) }
    }
}

fn group_table(group: &GroupContrast) -> Markup {
    html! {
        p.note {
            (clean(&group.lineage.to_string(), 200)) ". " (group.common_boards) " boards on both sides; throttled: "
            (group.baseline.throttled_boards) " of " (group.baseline.boards) ", then "
            (group.candidate.throttled_boards) " of " (group.candidate.boards) "."
        }
        @if let Some(reason) = &group.reason { p { (reason) } }
        table.ruled {
            thead { tr {
                th.l scope="col" { "figure" } th scope="col" { "baseline" } th scope="col" { "now" }
                th scope="col" { "change" } th scope="col" { "95 % interval" } th scope="col" { "counts from" }
                th.l scope="col" { "verdict" }
            } }
            tbody { @for row in &group.metrics {
                tr {
                    th scope="row" { (metric(row.metric)) }
                    td { (figure(row.metric, row.baseline)) }
                    td { (figure(row.metric, row.candidate)) }
                    td { (change(row.ratio)) }
                    td { (interval(row.interval, change).unwrap_or_else(|| "too few boards or runs".into())) }
                    td { (row.threshold.map_or("\u{2014}".into(), percent)) }
                    td.l { (word(row.verdict)) }
                }
            } }
        }
    }
}

/// Boards that are worse than the others of their cohort, with the cohort.
fn odd_boards(store: &mut Store, found: &mut Found) -> Result<Vec<(String, Outlier)>, PageError> {
    let cohorts = |samples: &[(ProfileId, Entry)]| {
        let mut cohorts: BTreeMap<_, Vec<Entry>> = BTreeMap::new();
        for (_, entry) in samples {
            cohorts.entry(entry.key.clone()).or_default().push(entry.clone());
        }
        cohorts
    };
    let judge = |samples: &[(ProfileId, Entry)]| -> Vec<(String, Outlier)> {
        let named = |(key, entries): (clipmark_profile::cohort::CohortKey, Vec<Entry>)| {
            let found = outliers(&entries, OutlierRule::default());
            found.into_iter().map(move |outlier| (key.to_string(), outlier)).collect::<Vec<_>>()
        };
        cohorts(samples).into_iter().flat_map(named).collect()
    };
    let first = judge(&found.samples);
    if first.is_empty() {
        return Ok(first);
    }
    let mut wanted: BTreeSet<String> = first.iter().map(|(_, outlier)| outlier.device.clone()).collect();
    for (_, entry) in &found.samples {
        if wanted.len() < EXPLAINED {
            wanted.insert(entry.sample.device.clone());
        }
    }
    explain(store, &mut found.samples, &wanted)?;
    Ok(judge(&found.samples))
}

fn boards(odd: &[(String, Outlier)]) -> Markup {
    html! {
        h2 { "Boards that stand out" }
        @if odd.is_empty() {
            p { "None: no board is worse than its peers by more than their spread. At least six boards that agree in everything else are needed to tell." }
        } @else {
            table.ruled.fleet {
                thead { tr {
                    th scope="col" { "board" } th scope="col" { "figure" } th scope="col" { "its peers" }
                    th scope="col" { "change" } th scope="col" { "likely cause" } th scope="col" { "cohort" }
                } }
                tbody { @for (cohort, outlier) in odd {
                    tr {
                        th scope="row" { a href=(format!("/device/{}", encoded(&outlier.device))) { (outlier.device) } }
                        td { (metric(outlier.metric)) " " (figure(outlier.metric, outlier.value)) }
                        td { (figure(outlier.metric, outlier.peers)) ", " (outlier.peer_count) " boards" }
                        td { span.verdict.worse { (change(outlier.ratio)) } }
                        td {
                            @if outlier.suspects.is_empty() { "nothing on it stands out" }
                            @for (at, suspect) in outlier.suspects.iter().enumerate() {
                                @if at > 0 { "; " } (suspect.sign)
                            }
                        }
                        td.note { (clean(cohort, 200)) }
                    }
                } }
            }
        }
    }
}
