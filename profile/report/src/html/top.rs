//! What a reader sees first: what was measured, what weakens it, and what to use.

use super::table;
use crate::contrast::Contrast;
use crate::findings::chosen;
use crate::format::{self, span};
use crate::tables;
use crate::words::{self, clean};
use clipmark_profile::point::{PointId, Variant};
use clipmark_profile::select;
use clipmark_profile::summary::{OperatingPoint, Profile};
use maud::{Markup, html};

/// The variants in one line; models that share backend, precision and threads share their mention.
pub(super) fn title(profile: &Profile) -> String {
    let mut groups: Vec<(Variant, Vec<String>)> = Vec::new();
    for variant in &profile.variants {
        let rest = Variant { model: String::new(), ..variant.clone() };
        let name = clean(&variant.model, 60);
        match groups.iter_mut().find(|(known, _)| *known == rest) {
            Some((_, names)) => names.push(name),
            None => groups.push((rest, vec![name])),
        }
    }
    let parts: Vec<String> = groups
        .into_iter()
        .map(|(rest, mut names)| {
            let last = names.pop().unwrap_or_default();
            let model = if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) };
            words::variant(&Variant { model, ..rest })
        })
        .collect();
    if parts.is_empty() { "no variant".into() } else { parts.join("; ") }
}

/// Title, facts and banners.
pub(super) fn header(profile: &Profile) -> Markup {
    let run = &profile.run;
    html! {
        header.page {
            div.brand {
                span { b { "clipmark" } " report" }
                button.theme type="button" hidden { "Theme: auto" }
            }
            h1 { (title(profile)) }
            @if let Some(board) = &profile.environment.board { p.facts { (clean(board, 120)) } }
            ul.facts {
                li { (words::mode(run.mode)) " of " (format::clock_span(run.duration_ms)) }
                li { (format::utc(run.started_unix_ms)) }
                li { (words::load(run.load)) }
                @if let Some(deadline) = words::deadline(run.deadline) { li { "deadline: " (deadline) } }
                @if let Some(mode) = &profile.environment.power_mode { li { "power mode " (clean(mode, 60)) } }
                li { "run " (clean(&run.id, 40)) }
            }
            p { code { (clean(&run.origin, 400)) } }
            @if run.simulated {
                p.banner role="note" { b { "Simulated. " } "These figures come from the simulated backend." }
            }
            @if run.partial {
                p.banner role="note" { b { "Partial. " } "The run ended before its plan did." }
            }
            @for answer in select::answers(profile) { p.lead { (clean(&answer.sentences.join(" "), 1200)) } }
            @if let Some(contrast) = Contrast::of(profile) { p.lead { (contrast.sentence()) } }
        }
    }
}

/// A card for each operating point, model by model.
pub(super) fn operating_points(profile: &Profile) -> Option<Markup> {
    if profile.operating_points.is_empty() {
        return Some(html! { p { "No operating point could be chosen: no point was measured far enough." } });
    }
    let mut models: Vec<&str> = profile.operating_points.iter().map(|o| o.model.as_str()).collect();
    models.dedup();
    Some(html! {
        @for model in &models {
            @if models.len() > 1 { h3 { (clean(model, 80)) } }
            div.cards {
                @for entry in profile.operating_points.iter().filter(|entry| entry.model == *model) {
                    (card(profile, entry))
                }
            }
        }
    })
}

/// The best choice at each clip length.
pub(super) fn choices(profile: &Profile) -> Option<Markup> {
    let choices = tables::choices(profile);
    (!choices.is_empty()).then(|| {
        html! {
            p.note { "Several where the data cannot tell them apart." }
            @for table in &choices { (table::captioned(table)) }
        }
    })
}

fn card(profile: &Profile, entry: &OperatingPoint) -> Markup {
    let name = words::objective(entry.objective);
    let Some(&best) = entry.chosen.first() else {
        return html! {
            div.card.none {
                p.label { (name) }
                div.where { "none" }
                p { (clean(&entry.reason, 600)) }
            }
        };
    };
    let others: Vec<String> = entry.chosen.iter().skip(1).map(|id| chosen(profile, *id)).collect();
    html! {
        div.card {
            p.label { (name) }
            div.where { (words::point(best.shape)) }
            dl {
                @for (term, value) in figures(profile, best) { dt { (term) } dd { (value) } }
            }
            p { (clean(&entry.reason, 600)) }
            @if !others.is_empty() { p { "The data cannot tell it from " (others.join("; ")) "." } }
        }
    }
}

/// What bears on a choice, as pairs of term and figure.
fn figures(profile: &Profile, id: PointId) -> Vec<(&'static str, String)> {
    let Some(point) = profile.points.iter().find(|p| p.id == id) else { return Vec::new() };
    let mut figures = Vec::new();
    if profile.variants.iter().any(|s| s.backend != profile.variants[0].backend) {
        figures.extend(profile.variants.get(usize::from(id.variant)).map(|s| ("on", clean(&s.backend, 40))));
    }
    if let (Some((p99, interval)), Some(latency)) = (point.comparable_p99(), &point.latency) {
        figures.push(("P99", span(p99)));
        figures.push((
            "95 % interval",
            words::interval(interval, span)
                .unwrap_or_else(|| format!("not determinable at n = {}", latency.iterations)),
        ));
    }
    let rate = point.comparable_frames_per_s();
    figures.extend(rate.map(|v| ("throughput", format!("{} frames/s", format::significant(v)))));
    let energy = point.comparable_energy();
    figures.extend(energy.map(|(uj, _)| ("energy", format!("{} a frame", format::energy(uj)))));
    figures.extend(point.peak_memory_bytes.map(|peak| ("peak memory", format::bytes(peak))));
    figures
}
