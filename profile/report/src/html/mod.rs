//! A profile as one HTML page that needs nothing else: style, script and pictures are inside.
//!
//! The page asks for nothing on the network and a content security policy forbids it. Every text from a
//! profile passes through maud's escaping; markup is never built from strings. It follows the reader's light
//! or dark preference, works without its script (which only offers to change the theme), by keyboard and on
//! a narrow screen.

mod about;
mod energy;
mod grids;
mod points;
mod top;

use clipmark_profile::series::Series;
use clipmark_profile::summary::Profile;
use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

/// The style sheet that the page and its parts need.
pub const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The digest of [`SCRIPT`] in the content security policy; a test holds it.
const SCRIPT_DIGEST: &str = "sha256-stBx7otK3IObxAkxnyj1AtANbYOm/6AnG/j2CSXpiFo=";

/// The page of `profile`. `series` are those of its soaks, in any order, as far as they are at hand.
#[must_use]
pub fn html(profile: &Profile, series: &[Series]) -> String {
    let sections = sections(profile, series);
    markup! {
        (DOCTYPE)
        html lang="en" {
            (head(profile))
            body {
                a.skip href="#report" { "Skip to the report" }
                (top::header(profile))
                (contents(&sections))
                main #report {
                    @for section in &sections {
                        section id=(section.id) aria-label=(section.title) {
                            @if !section.title.is_empty() { h2 { (section.title) } }
                            (section.body)
                        }
                    }
                }
                (about::footer(profile))
            }
        }
    }
    .into_string()
}

/// A part of the page, left out when it has nothing to say.
#[derive(Debug, Clone)]
pub struct Section {
    /// The anchor.
    pub id: &'static str,
    /// The heading.
    pub title: &'static str,
    /// What stands under it.
    pub body: Markup,
}

/// The parts of the page of `profile`, for pages that frame them otherwise. They need [`STYLE`].
#[must_use]
pub fn sections(profile: &Profile, series: &[Series]) -> Vec<Section> {
    let parts = [
        ("operating-points", "Operating points", top::operating_points(profile)),
        ("drift", "The board during the sweep", grids::drift(profile)),
        ("best-batch", "Best batch size at each clip length", top::clip_lengths(profile)),
        ("clip-lengths", "Across clip lengths", grids::contrast(profile)),
        ("grid", "Latency and throughput over the grid", grids::heat_maps(profile)),
        ("trade-off", "Latency against throughput", grids::trade_off(profile)),
        ("distributions", "Distributions", points::distributions(profile)),
        ("percentiles", "Percentiles", points::percentiles(profile)),
        ("device", "Device times", points::device(profile)),
        ("energy", "Energy", energy::table(profile)),
        ("soak", "Soak", energy::soaks(profile, series)),
        ("memory", "Memory", points::memory(profile)),
        ("remarks", "Points that failed, were not run, or need a remark", points::remarks(profile)),
        ("operators", "Most expensive operators", points::operators(profile)),
        ("warnings", "Warnings", about::warnings(profile)),
        ("environment", "Environment", about::environment(profile)),
        ("method", "How it was measured", about::method(profile)),
    ];
    parts.into_iter().filter_map(|(id, title, body)| body.map(|body| Section { id, title, body })).collect()
}

fn head(profile: &Profile) -> Markup {
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src '{SCRIPT_DIGEST}'; base-uri 'none'; form-action 'none'"
    );
    markup! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(policy);
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="generator" content="clipmark";
            title { "clipmark: " (top::title(profile)) }
            style { (PreEscaped(STYLE)) }
            script { (PreEscaped(SCRIPT)) }
        }
    }
}

fn contents(sections: &[Section]) -> Markup {
    markup! {
        nav.page aria-label="Contents" {
                ul {
                    @for section in sections {
                        li { a href=(format!("#{}", section.id)) { (section.title) } }
                    }
                }
        }
    }
}

/// A plot with what it shows in words.
fn figure(caption: &str, plot: Markup) -> Markup {
    markup! { figure { figcaption { (caption) } (scroll(caption, plot)) } }
}

/// Something wide that scrolls by itself, also by keyboard.
fn scroll(label: &str, inner: Markup) -> Markup {
    markup! { div.scroll role="region" aria-label=(label) tabindex="0" { (inner) } }
}

#[cfg(test)]
mod tests;
