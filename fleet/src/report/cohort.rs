//! A study of cohorts, as markup and as text.

use super::page::encoded;
use super::study::{Against, MOST_POINTS, Study};
use super::{figure, mark, metric, moved, word};
use crate::printed::columns;
use clipmark_profile::cohort::{CohortMetric, GroupContrast, Outlier};
use clipmark_report::format::{change, percent};
use clipmark_report::words::{clean, interval, point};
use clipmark_report::{Ridge, ridges};
use maud::{Markup, html};

/// Whether boards lead to their pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// They do: the pages are served beside this one.
    Pages,
    /// There are no such pages.
    None,
}

const NOTHING: &str =
    "There is nothing to compare yet: no board has sent a profile with this model and point.";
const NOBODY: &str = "None: no board is worse than its peers by more than their spread. At least six boards \
    that agree in everything else are needed to tell.";

/// Groups of which nothing else agrees with the baseline, in a sentence.
fn apart(study: &Study) -> Option<String> {
    let names = study.against.iter().filter(|against| against.contrasts.is_empty());
    let names: Vec<String> = names.map(|against| clean(&against.name, 60)).collect();
    let told = format!(
        "Not compared, because their boards, power modes or backends are others than the baseline's: {}.",
        names.join(", ")
    );
    (!names.is_empty()).then_some(told)
}

/// The whole study below its heading.
pub(crate) fn html(study: &Study, links: Links) -> Markup {
    let Some(baseline) = &study.baseline else { return html! { p { (NOTHING) } } };
    html! {
        @if study.simulated { p.note { span.tag { "simulated" } " Some or all of these figures are simulated." } }
        @if let Some(told) = moved(study.moved_runs, study.runs) { p.note { (told) } }
        @for told in &study.substituted { p.note { (clean(told, 200)) "." } }
        @if study.is_cut { p.note { "Made of the newest " (MOST_POINTS) " runs." } }
        (distributions(study))
        @for against in study.against.iter().filter(|against| !against.contrasts.is_empty()) {
            (verdicts(baseline, against))
        }
        @if let Some(apart) = apart(study) { p.note { (apart) } }
        (boards(&study.outliers, links))
    }
}

fn distributions(study: &Study) -> Markup {
    let notes: Vec<String> = study
        .groups
        .iter()
        .map(|group| {
            let throttled = throttled(group.throttled, group.soaked);
            format!("{} boards, {} runs, throttled: {throttled}", group.boards, group.runs)
        })
        .collect();
    let rows: Vec<Ridge<'_>> = study
        .groups
        .iter()
        .zip(&notes)
        .map(|(group, note)| Ridge { name: &group.name, note, pool: &group.pool })
        .collect();
    html! {
        h2 { "Latency of the fleet" }
        figure {
            figcaption { "Merged distributions, every board with the same weight; heights are square roots, so that tails show. Runs in which a board throttled while this point was measured are left out." }
            div.scroll role="region" aria-label="Distributions" tabindex="0" { @if let Some(plot) = ridges(&rows) { (plot) } }
        }
    }
}

fn verdicts(baseline: &str, against: &Against) -> Markup {
    html! {
        h2 { (clean(&against.name, 60)) " against " (clean(baseline, 60)) }
        @for group in &against.contrasts { (group_table(group)) }
    }
}

/// How many boards throttled, of those of which it is known.
fn throttled(throttled: usize, soaked: usize) -> String {
    match soaked {
        0 => "not known (no soak)".into(),
        soaked => format!("{throttled} of {soaked} soaked"),
    }
}

fn about(group: &GroupContrast) -> String {
    let (before, after) = (&group.baseline, &group.candidate);
    format!(
        "{}. {} boards on both sides, of {} and {}; throttled: {}, then {}.",
        clean(&group.lineage.to_string(), 200),
        group.common_boards,
        before.boards,
        after.boards,
        throttled(before.throttled_boards, before.soaked_boards),
        throttled(after.throttled_boards, after.soaked_boards),
    )
}

/// Change, interval, and the change that would count.
fn shift(row: &CohortMetric) -> [String; 3] {
    [
        change(row.ratio),
        interval(row.interval, change).unwrap_or_else(|| "too few boards or runs".into()),
        row.threshold.map_or("\u{2014}".into(), percent),
    ]
}

fn group_table(group: &GroupContrast) -> Markup {
    html! {
        p.note { (about(group)) }
        @if let Some(reason) = &group.reason { p { (reason) } }
        div.scroll role="region" aria-label="Verdicts" tabindex="0" { table.ruled {
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
                    @for cell in shift(row) { td { (cell) } }
                    td.l { (mark(row.verdict)) }
                }
            } }
        } }
    }
}

fn suspects(outlier: &Outlier) -> String {
    if outlier.suspects.is_empty() {
        return "nothing on it stands out".into();
    }
    outlier.suspects.iter().map(|suspect| suspect.sign.as_str()).collect::<Vec<_>>().join("; ")
}

fn boards(odd: &[(String, Outlier)], links: Links) -> Markup {
    html! {
        h2 { "Boards that stand out" }
        @if odd.is_empty() {
            p { (NOBODY) }
        } @else {
            div.scroll role="region" aria-label="Boards that stand out" tabindex="0" { table.ruled.fleet {
                thead { tr {
                    th scope="col" { "board" } th scope="col" { "figure" } th scope="col" { "its peers" }
                    th scope="col" { "change" } th scope="col" { "likely cause" } th scope="col" { "cohort" }
                } }
                tbody { @for (cohort, outlier) in odd {
                    tr {
                        th scope="row" {
                            @if links == Links::Pages {
                                a href=(format!("/device/{}", encoded(&outlier.device))) { (outlier.device) }
                            } @else { (outlier.device) }
                        }
                        td { (metric(outlier.metric)) " " (figure(outlier.metric, outlier.value)) }
                        td { (figure(outlier.metric, outlier.peers)) ", " (outlier.peer_count) " boards" }
                        td { span.verdict.worse { (change(outlier.ratio)) } }
                        td { (suspects(outlier)) }
                        td.note { (clean(cohort, 200)) }
                    }
                } }
            } }
        }
    }
}

fn row<const N: usize>(cells: [String; N]) -> Vec<String> {
    cells.to_vec()
}

/// The study as text.
pub(crate) fn text(study: &Study) -> String {
    let (Some(model), Some(shape), Some(baseline)) = (&study.focus.model, study.focus.at, &study.baseline)
    else {
        return format!("{NOTHING}\n");
    };
    let mut text = format!("{}, {}, by {}\n", clean(model, 80), point(shape), study.factor);
    if study.simulated {
        text.push_str("some or all of these figures are simulated\n");
    }
    if let Some(told) = moved(study.moved_runs, study.runs) {
        text.push_str(&format!("{told}\n"));
    }
    if study.is_cut {
        text.push_str(&format!("made of the newest {MOST_POINTS} runs\n"));
    }
    text.push('\n');
    let mut rows =
        vec![row([study.factor.name(), "boards", "runs", "throttled", "P50", "P99"].map(str::to_owned))];
    for group in &study.groups {
        use clipmark_profile::figures::Figure::{P50, P99};
        use clipmark_profile::stats::quantile::Quantile;
        let at = |of, quantile| group.pool.quantile(quantile).map_or("-".into(), |value| figure(of, value));
        rows.push(row([
            clean(&group.name, 40),
            group.boards.to_string(),
            group.runs.to_string(),
            throttled(group.throttled, group.soaked),
            at(P50, Quantile::P50),
            at(P99, Quantile::P99),
        ]));
    }
    text.push_str(&columns(&rows));
    for against in study.against.iter().filter(|against| !against.contrasts.is_empty()) {
        text.push_str(&format!("\n{} against {}\n", clean(&against.name, 60), clean(baseline, 60)));
        for group in &against.contrasts {
            text.push_str(&contrast_text(group));
        }
    }
    if let Some(apart) = apart(study) {
        text.push_str(&format!("\n{apart}\n"));
    }
    text.push_str("\nboards that stand out\n");
    if study.outliers.is_empty() {
        text.push_str(&format!("{NOBODY}\n"));
    }
    for (cohort, outlier) in &study.outliers {
        text.push_str(&format!(
            "{}: {} {}, its {} peers {}, {}; {} ({})\n",
            outlier.device,
            metric(outlier.metric),
            figure(outlier.metric, outlier.value),
            outlier.peer_count,
            figure(outlier.metric, outlier.peers),
            change(outlier.ratio),
            suspects(outlier),
            clean(cohort, 200)
        ));
    }
    text
}

fn contrast_text(group: &GroupContrast) -> String {
    let mut text = format!("{}\n", about(group));
    if let Some(reason) = &group.reason {
        text.push_str(&format!("{reason}\n"));
    }
    let headings = ["figure", "baseline", "now", "change", "95 % interval", "counts from", "verdict"];
    let mut rows = vec![row(headings.map(str::to_owned))];
    for found in &group.metrics {
        let [change, interval, threshold] = shift(found);
        rows.push(row([
            metric(found.metric).to_owned(),
            figure(found.metric, found.baseline),
            figure(found.metric, found.candidate),
            change,
            interval,
            threshold,
            word(found.verdict).to_owned(),
        ]));
    }
    text + &columns(&rows)
}
