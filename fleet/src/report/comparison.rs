//! Two runs held against each other, as markup and as text.

use super::{figure, mark, metric, word};
use crate::printed::columns;
use clipmark_profile::cohort::{Pool, entries};
use clipmark_profile::compare::{Comparison, PointComparison, VariantComparison, Verdict};
use clipmark_profile::point::Variant;
use clipmark_profile::summary::Profile;
use clipmark_report::format::{change, percent, utc};
use clipmark_report::words::{self, clean};
use clipmark_report::{Ridge, ridges};
use maud::{Markup, html};

/// What is compared: the two runs, and what came out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compared<'a> {
    pub(crate) baseline: &'a Profile,
    pub(crate) candidate: &'a Profile,
    pub(crate) found: &'a Comparison,
}

const SAME: &str = "Nothing that counts has changed.";

fn sentence(found: &Comparison) -> String {
    let points = || found.variants.iter().flat_map(|variant| &variant.points);
    let count = |verdict| points().filter(|point| point.verdict == verdict).count();
    let (worse, better, all) = (count(Verdict::Worse), count(Verdict::Better), points().count());
    match found.verdict {
        Verdict::NotComparable => "The two runs cannot be compared.".into(),
        Verdict::Same => SAME.into(),
        _ => format!("Of {all} points {worse} got worse and {better} got better."),
    }
}

/// The runs side by side: what each is of.
fn sides(of: Compared<'_>) -> Vec<[String; 3]> {
    let unknown = || "unknown".to_owned();
    let known = |value: &Option<String>| value.as_ref().map_or_else(unknown, |text| clean(text, 60));
    let both = |name: &str, read: &dyn Fn(&Profile) -> String| {
        [name.to_owned(), read(of.baseline), read(of.candidate)]
    };
    let mut rows = vec![
        both("run", &|profile| profile.run.id.clone()),
        both("begun", &|profile| utc(profile.run.started_unix_ms)),
        both("board", &|profile| known(&profile.environment.board)),
        both("L4T", &|profile| known(&profile.environment.l4t)),
        both("power mode", &|profile| known(&profile.environment.power_mode)),
        both("figures", &|profile| if profile.run.simulated { "simulated" } else { "measured" }.to_owned()),
    ];
    let state = |profile: &Profile| match profile.drift {
        Some(_) => "the board's at the end of the sweep, estimated".to_owned(),
        None => "as measured".to_owned(),
    };
    if of.baseline.drift.is_some() || of.candidate.drift.is_some() {
        rows.push(both("state of the figures", &state));
    }
    for model in &of.baseline.models {
        let build = |profile: &Profile| {
            let own = profile.models.iter().find(|other| other.name == model.name);
            own.map_or_else(|| "absent".to_owned(), |own| own.sha256.chars().take(12).collect())
        };
        rows.push(both(&format!("build of {}", clean(&model.name, 40)), &build));
    }
    rows
}

/// The whole comparison, with its heading.
pub(crate) fn html(of: Compared<'_>) -> Markup {
    let found = of.found;
    html! {
        h1 { "Two runs compared" }
        p.lead { (mark(found.verdict)) " " (sentence(found)) }
        table.ruled {
            thead { tr { th.l scope="col" { "" } th.l scope="col" { "baseline" } th.l scope="col" { "now" } } }
            tbody { @for [name, baseline, candidate] in sides(of) {
                tr { th scope="row" { (name) } td.l { (baseline) } td.l { (candidate) } }
            } }
        }
        (remarks(found))
        @for variant in &found.variants { (variant_html(of, variant)) }
    }
}

/// What differs besides the figures, in sentences.
fn told(found: &Comparison) -> Vec<String> {
    let mismatches = found.mismatches.iter().map(ToString::to_string);
    let of_variants = found.variants.iter().flat_map(|variant| &variant.mismatches).map(ToString::to_string);
    let conditions = found.conditions.iter().map(|condition| {
        format!(
            "{}: {} in the baseline, {} now; it may explain a change",
            condition.name, condition.baseline, condition.candidate
        )
    });
    let all = mismatches.chain(of_variants).chain(found.unmatched.iter().cloned()).chain(conditions);
    all.map(|line| clean(&line, 300)).collect()
}

fn remarks(found: &Comparison) -> Markup {
    let told = told(found);
    html! {
        @if !told.is_empty() {
            h2 { "What else differs" }
            ul.plain { @for line in &told { li { (line) } } }
        }
    }
}

/// Latencies of one variant at one point, in both runs.
fn pools(of: Compared<'_>, variant: &VariantComparison, point: &PointComparison) -> [Pool; 2] {
    let pool = |profile: &Profile, wanted: &Variant| {
        let all = entries("run", profile);
        let own = all.iter().filter(|entry| {
            let own = Variant { power_mode: wanted.power_mode.clone(), ..entry.key.variant.clone() };
            own == *wanted && entry.key.shape == point.shape
        });
        Pool::of_latencies(own.map(|entry| (0, &entry.sample)))
    };
    [pool(of.baseline, &variant.baseline), pool(of.candidate, &variant.candidate)]
}

/// The point that changed most in what is judged, to be drawn.
fn most_changed(variant: &VariantComparison) -> Option<&PointComparison> {
    let size = |point: &PointComparison| {
        point.metrics.iter().map(|metric| metric.ratio.ln().abs()).fold(0.0, f64::max)
    };
    let with_figures = variant.points.iter().filter(|point| !point.metrics.is_empty());
    with_figures.max_by(|a, b| size(a).total_cmp(&size(b)))
}

fn variant_html(of: Compared<'_>, variant: &VariantComparison) -> Markup {
    let drawn = most_changed(variant).map(|point| (point, pools(of, variant, point)));
    let plot = drawn.as_ref().and_then(|(point, [was, is])| {
        let rows = [
            Ridge { name: "baseline", note: "one run", pool: was },
            Ridge { name: "now", note: "one run", pool: is },
        ];
        Some((words::point(point.shape), ridges(&rows)?))
    });
    html! {
        h2 { (clean(&words::variant(&variant.candidate), 100)) }
        @if let Some((at, plot)) = plot {
            figure {
                figcaption { "Latency at " (at) ", where the most has changed; heights are square roots, so that tails show." }
                div.scroll role="region" aria-label="Distributions" tabindex="0" { (plot) }
            }
        }
        div.scroll role="region" aria-label="Figures" tabindex="0" { table.ruled {
            thead { tr {
                th.l scope="col" { "point" } th.l scope="col" { "figure" } th scope="col" { "baseline" }
                th scope="col" { "now" } th scope="col" { "change" } th scope="col" { "counts from" }
                th.l scope="col" { "verdict" }
            } }
            tbody { @for point in &variant.points { (point_rows(point)) } }
        } }
        @if !variant.moved.is_empty() {
            ul.plain { @for moved in moved(variant) { li { (moved) } } }
        }
    }
}

fn point_rows(point: &PointComparison) -> Markup {
    html! {
        @for (index, row) in point.metrics.iter().enumerate() {
            tr {
                @if index == 0 { th scope="rowgroup" rowspan=(point.metrics.len()) { (words::point(point.shape)) } }
                td.l { (metric(row.metric)) }
                td { (figure(row.metric, row.baseline)) }
                td { (figure(row.metric, row.candidate)) }
                td { (change(row.ratio)) }
                td { (row.threshold.map_or("unknown".into(), percent)) }
                td.l { (mark(row.verdict)) }
            }
        }
        @if let Some(reason) = &point.reason {
            tr { th scope="row" { (words::point(point.shape)) } td.l.wrap colspan="6" { (mark(point.verdict)) ": " (clean(reason, 200)) } }
        }
    }
}

fn moved(variant: &VariantComparison) -> Vec<String> {
    let places = |at: &[clipmark_profile::point::Shape]| {
        if at.is_empty() {
            return "none".to_owned();
        }
        at.iter().map(|at| words::point(*at)).collect::<Vec<_>>().join(" or ")
    };
    let line = |moved: &clipmark_profile::compare::MovedOperatingPoint| {
        let (was, is) = (places(&moved.baseline), places(&moved.candidate));
        format!("The operating point for {:?} was {was} and is {is}.", moved.objective).to_lowercase()
    };
    variant.moved.iter().map(line).collect()
}

/// The comparison as text.
pub(crate) fn text(of: Compared<'_>) -> String {
    let found = of.found;
    let mut rows = vec![["", "baseline", "now"].map(str::to_owned).to_vec()];
    rows.extend(sides(of).into_iter().map(|row| row.to_vec()));
    let mut text = columns(&rows);
    for line in told(found) {
        text.push_str(&format!("{line}\n"));
    }
    for variant in &found.variants {
        text.push_str(&format!("\n{}\n", clean(&words::variant(&variant.candidate), 100)));
        let headings = ["point", "figure", "baseline", "now", "change", "counts from", "verdict"];
        let mut rows = vec![headings.map(str::to_owned).to_vec()];
        for point in &variant.points {
            rows.extend(point.metrics.iter().map(|found| {
                vec![
                    words::point(point.shape),
                    metric(found.metric).to_owned(),
                    figure(found.metric, found.baseline),
                    figure(found.metric, found.candidate),
                    change(found.ratio),
                    found.threshold.map_or("unknown".into(), percent),
                    word(found.verdict).to_owned(),
                ]
            }));
            if let Some(reason) = &point.reason {
                text.push_str(&format!("{}: {}\n", words::point(point.shape), clean(reason, 200)));
            }
        }
        text.push_str(&columns(&rows));
        for line in moved(variant) {
            text.push_str(&format!("{line}\n"));
        }
    }
    text.push_str(&format!("\nverdict: {}. {}\n", word(found.verdict), sentence(found)));
    text
}
