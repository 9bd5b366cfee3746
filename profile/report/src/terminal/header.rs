//! What was run, where, and what weakens the figures.

use super::Page;
use super::paint::Look;
use crate::{findings, format, words};
use clipmark_profile::summary::Profile;
use words::clean;

/// The first lines.
pub(super) fn write(page: &mut Page, profile: &Profile) {
    let run = &profile.run;
    let names: Vec<String> = profile.variants.iter().map(words::variant).collect();
    let title = if names.is_empty() { "no variant".into() } else { names.join(", ") };
    page.item("", "  ", &format!("clipmark: {title}"), Look::Strong);
    if run.simulated {
        page.item("", "", "SIMULATED: these figures were made up by the simulated backend.", Look::Alarm);
    }
    if run.partial {
        page.item("", "", "PARTIAL: the run ended before its plan did.", Look::Alarm);
    }
    page.paragraph("", &clean(&run.origin, 400));
    let mut facts = vec![
        format!("{} of {}", words::mode(run.mode), format::clock_span(run.duration_ms)),
        format!("started {}", format::utc(run.started_unix_ms)),
        words::load(run.load).to_owned(),
    ];
    facts.extend(words::deadline(run.deadline).map(|deadline| format!("deadline: {deadline}")));
    facts.push(format!("seed {}", run.seed));
    facts.push(format!("run {}", clean(&run.id, 40)));
    page.item("", "", &facts.join(" \u{b7} "), Look::Faint);
}

/// The machine, the software and the models.
pub(super) fn environment(page: &mut Page, profile: &Profile) {
    page.heading("Environment");
    for (name, value) in findings::machine(&profile.environment) {
        page.item(&format!("  {name:<9} "), &" ".repeat(12), &clean(&value, 300), Look::Normal);
    }
    for backend in &profile.backends {
        let mut text = format!(
            "{} {} on {}",
            clean(&backend.name, 40),
            clean(&backend.version, 60),
            clean(&backend.device, 80)
        );
        for note in &backend.notes {
            text.push_str(&format!("; {}", clean(note, 300)));
        }
        page.item("  backend   ", &" ".repeat(12), &text, Look::Normal);
    }
    for model in &profile.models {
        let parameters =
            model.parameters.map_or(String::new(), |n| format!(", {} parameters", format::compact(n)));
        let inputs: Vec<String> = model.inputs.iter().map(|input| clean(input, 100)).collect();
        let inputs =
            if inputs.is_empty() { String::new() } else { format!("; inputs {}", inputs.join(", ")) };
        let text = format!(
            "{}: {}{parameters}, SHA-256 {}{inputs}",
            clean(&model.name, 60),
            format::bytes(model.size_bytes.get()),
            clean(&model.sha256, 12),
        );
        page.item("  model     ", &" ".repeat(12), &text, Look::Normal);
    }
    if let Some(share) = profile.sampler_cpu_share {
        page.paragraph("  sampler   ", &format!("{} of one core", format::percent(share)));
    }
    for (name, cause) in &profile.environment.absent {
        let text = format!("{}: {}", clean(name, 80), clean(cause, 300));
        page.item("  not read  ", &" ".repeat(12), &text, Look::Faint);
    }
}

/// Everything that weakens the figures.
pub(super) fn warnings(page: &mut Page, profile: &Profile) {
    let warnings = findings::warnings(profile);
    if !warnings.is_empty() {
        page.heading("Warnings");
    }
    for warning in warnings {
        page.item("  ! ", "    ", &warning, Look::Normal);
    }
}
