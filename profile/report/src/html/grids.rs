//! Heat maps, the comparison of variants, and pictures over the whole grid.

use super::{figure, table};
use crate::contrast::Contrast;
use crate::{svg, tables, words};
use clipmark_profile::summary::Profile;
use maud::{Markup, html};

/// How the board changed during the sweep.
pub(super) fn drift(profile: &Profile) -> Option<Markup> {
    let plot = svg::drift(profile.drift.as_ref()?)?;
    let caption = "Latency in each block of the sweep over latency in the common state, the board's at the end of the \
                   sweep, with 95 % intervals. All points that returned tell of it.";
    Some(figure(caption, plot))
}

/// P99 and throughput of every variant.
pub(super) fn heat_maps(profile: &Profile) -> Option<Markup> {
    let maps = tables::heat_maps(profile);
    if maps.is_empty() {
        return None;
    }
    Some(html! {
        @if profile.drift.is_some() {
            p.note { "The board changed during the sweep: these figures are estimates" (words::common_state(profile)) ". The distributions and percentiles below are as measured; the last columns of the percentiles are in the common state." }
        }
        @for (name, [latency, throughput]) in &maps {
            h3 { (name) }
            div.pair {
                div { (table::heat_map(name, latency)) }
                div { (table::heat_map(name, throughput)) }
            }
        }
    })
}

/// How latency grows, and the variants side by side.
pub(super) fn contrast(profile: &Profile) -> Option<Markup> {
    let plot = svg::scaling(profile);
    let contrast = Contrast::of(profile).map(|contrast| tables::contrast(&contrast));
    if plot.is_none() && contrast.is_none() {
        return None;
    }
    let caption = "Both axes are logarithmic: a straight line is a power law, k its exponent (1 is linear, 2 \
                   quadratic). A ring marks where another slope begins.";
    let exponents = tables::exponents(profile);
    Some(html! {
        @if let Some(plot) = plot { (figure(caption, plot)) }
        @if !exponents.rows.is_empty() {
            details { summary { "Exponents with intervals" } (table::plain(&exponents)) }
        }
        @if let Some(contrast) = contrast { (table::heat_map("Variants side by side", &contrast)) }
    })
}

/// P99 against throughput.
pub(super) fn trade_off(profile: &Profile) -> Option<Markup> {
    let caption = "Better is up and to the left. The area of a mark is energy per frame, where it was \
                   measured; a staircase joins the points that no other point of the same model beats in both";
    let caption = format!("{caption}{}.", words::common_state(profile));
    svg::pareto(profile).map(|plot| figure(&caption, plot))
}
