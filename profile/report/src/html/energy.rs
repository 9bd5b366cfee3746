//! What a frame costs, and what the board sustains.

use super::{figure, scroll};
use crate::format::{self, clock_span, span};
use crate::svg;
use crate::terminal::results::{chosen, energy_rows};
use crate::terminal::soak::{clock_time, throttle_words, verdict};
use crate::words::{self, clean};
use clipmark_profile::series::Series;
use clipmark_profile::summary::{Profile, SoakSummary};
use maud::{Markup, html};

/// Energy of the chosen points and of soaks.
pub(super) fn table(profile: &Profile) -> Option<Markup> {
    let rows = energy_rows(profile);
    if rows.is_empty() {
        return None;
    }
    let heads =
        ["mean power", "per frame", "95 % interval", "above idle", "per clip", "per inference", "frames/J"];
    let body = html! {
        table.ruled {
            thead { tr { th.l scope="col" { "point" } @for head in heads { th scope="col" { (head) } } } }
            tbody {
                @for (name, id, energy) in &rows {
                    @let per_clip = energy.gross_per_frame_uj * f64::from(id.shape.clip());
                    tr {
                        th scope="row" { (name) }
                        td { (format::power(energy.mean_power_mw)) }
                        td { (format::energy(energy.gross_per_frame_uj)) }
                        td { (words::interval(energy.gross_ci_uj, format::energy).unwrap_or_else(|| "not determinable".into())) }
                        td { (energy.net_per_frame_uj.map(format::energy).unwrap_or_default()) }
                        td { (format::energy(per_clip)) }
                        td { (format::energy(per_clip * f64::from(id.shape.batch()))) }
                        td { (format::significant(1e6 / energy.gross_per_frame_uj)) }
                    }
                }
            }
        }
    };
    Some(html! {
        (scroll("Energy", body))
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
        @if !soak.segments.is_empty() { (scroll("Segments of the soak", segments(soak))) }
    }
}

fn segments(soak: &SoakSummary) -> Markup {
    html! {
        table.ruled {
            caption { "Stretches with one level of latency" }
            thead { tr {
                th.l scope="col" { "from" } th.l scope="col" { "to" }
                th scope="col" { "P50" } th scope="col" { "P99" } th scope="col" { "frames/s" }
            } }
            tbody {
                @for segment in &soak.segments {
                    tr {
                        th scope="row" { (clock_time(segment.start_ms)) }
                        td.l { (clock_time(segment.end_ms)) }
                        td { (span(segment.p50_ns)) }
                        td { (segment.p99_ns.map(span).unwrap_or_default()) }
                        td { (format::significant(segment.frames_per_s)) }
                    }
                }
            }
        }
    }
}
