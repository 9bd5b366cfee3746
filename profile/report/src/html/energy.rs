//! What a frame costs, and what the board sustains.

use super::{figure, table};
use crate::findings::{chosen, throttle_words, verdict};
use crate::format::{self, clock_span};
use crate::words::clean;
use crate::{svg, tables};
use clipmark_profile::series::Series;
use clipmark_profile::summary::{Profile, SoakSummary};
use maud::{Markup, html};

/// Energy of the chosen points and of soaks.
pub(super) fn energy(profile: &Profile) -> Option<Markup> {
    let table = tables::energy(profile)?;
    Some(html! {
        (table::plain(&table))
        p.note {
            @match &profile.power_topology {
                Some(topology) => { "Total power: " (clean(topology, 200)) "." }
                None => { "How the total power is formed is not known." }
            }
            @match profile.idle_power_mw {
                Some(idle) => { " Idle: " (format::power(idle)) "." }
                None => { " No idle baseline, so nothing is stated above idle." }
            }
        }
    })
}

/// Every soak.
pub(super) fn soaks(profile: &Profile, series: &[Series]) -> Option<Markup> {
    (!profile.soaks.is_empty()).then(|| {
        html! { @for soak in &profile.soaks { (one_soak(profile, soak, series.iter().find(|s| s.id == soak.id))) } }
    })
}

fn one_soak(profile: &Profile, soak: &SoakSummary, series: Option<&Series>) -> Markup {
    let plot = series.and_then(svg::timeline);
    html! {
        h3 { (chosen(profile, soak.id)) ", " (clock_span(soak.duration_ms)) }
        @if let Some(plot) = plot {
            (figure("What the board did meanwhile. Shaded: throttled, with the cause and the median latency against before.", plot))
        }
        ul.plain {
            @for line in verdict(soak) { li { (line) } }
            @for throttle in &soak.throttles { li { (throttle_words(throttle)) } }
            @for remark in &soak.remarks { li { (clean(remark, 400)) } }
        }
        @if let Some(segments) = tables::segments(soak) { (table::captioned(&segments)) }
    }
}
