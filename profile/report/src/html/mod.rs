//! A profile as one HTML page that needs nothing else: style, script and pictures are inside.
//!
//! The page asks for nothing on the network and a content security policy forbids it. Every text from a
//! profile passes through maud's escaping; markup is never built from strings. It follows the reader's light
//! or dark preference, works without its script (which only offers to change the theme), by keyboard and on
//! a narrow screen.

mod about;
mod capacity;
mod energy;
mod grids;
mod points;
mod table;
mod top;

use crate::tables;
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
        ("capacity", "Streams that the board sustains", capacity::section(profile)),
        ("operating-points", "Operating points", top::operating_points(profile)),
        ("drift", "The board during the sweep", grids::drift(profile)),
        ("choices", tables::BEST, top::choices(profile)),
        ("contrast", "Variants side by side", grids::contrast(profile)),
        ("grid", "Latency and throughput over the grid", grids::heat_maps(profile)),
        ("trade-off", "Latency against throughput", grids::trade_off(profile)),
        ("distributions", "Distributions", points::distributions(profile)),
        ("percentiles", "Percentiles", points::percentiles(profile)),
        ("device", "Device times", points::device(profile)),
        ("energy", "Energy", energy::energy(profile)),
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
mod tests {
    use super::*;
    use clipmark_profile::example;
    use sha2::{Digest, Sha256};

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let word = chunk.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte))
                << (8 * (3 - chunk.len()));
            for place in 0..4 {
                let digit = char::from(DIGITS[(word >> (18 - 6 * place)) as usize & 63]);
                text.push(if place <= chunk.len() { digit } else { '=' });
            }
        }
        text
    }

    #[test]
    fn the_policy_names_the_script() {
        assert_eq!(SCRIPT_DIGEST, format!("sha256-{}", base64(&Sha256::digest(SCRIPT.as_bytes()))));
    }

    #[test]
    fn markup_in_names_is_shown_and_not_obeyed() {
        let attack = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&".to_owned();
        let mut profile = example::profile();
        profile.variants[0].model.clone_from(&attack);
        profile.models[0].name.clone_from(&attack);
        profile.run.origin.clone_from(&attack);
        profile.environment.board = Some(attack.clone());
        profile.operating_points[0].reason.clone_from(&attack);
        profile.operating_points[0].model.clone_from(&attack);
        profile.soaks[0].remarks = vec![attack.clone()];
        profile.warnings = vec![attack];
        let page = html(&profile, &[]);
        assert_eq!(page.matches("<script").count(), 1, "only the page's own script");
        assert_eq!(page.matches("<img").count(), 0);
        assert!(page.contains("&lt;script&gt;alert(1)"));
    }

    #[test]
    fn sustained_streams_are_drawn_first() {
        let still = example::profile_of_27_points();
        assert!(!html(&still, &[]).contains("id=\"capacity\""));
        let page = html(&example::with_streams(still), &[]);
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not on the page"));
        assert!(at("id=\"capacity\"") < at("id=\"operating-points\""));
        assert!(at("Sustained streams over clip length. ") < at("Waiting clips over time: "));
    }

    #[test]
    fn nothing_on_the_page_points_elsewhere() {
        let page = html(&example::profile(), &[]);
        for forbidden in ["http://", "https://", "url(", "@import", " src=", "<link", "<iframe", "onclick"] {
            let without_namespace = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!without_namespace.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn a_profile_without_points_makes_a_page() {
        let mut profile = example::profile();
        profile.points.clear();
        profile.variants.clear();
        profile.scaling.clear();
        profile.memory_pressure.clear();
        profile.operating_points.clear();
        profile.soaks.clear();
        assert!(html(&profile, &[]).contains("No operating point could be chosen"));
    }

    #[test]
    fn the_devices_own_times_stand_beside_latency_where_they_are_told() {
        let mut profile = example::profile();
        assert!(!html(&profile, &[]).contains("Device times"));
        let point = profile.points.iter_mut().find(|point| point.latency.is_some()).unwrap();
        point.latency.as_mut().unwrap().p50_ns = 1_000_000.0;
        point.compute_p50_ns = Some(700_000.0);
        point.h2d_p50_ns = Some(150_000.0);
        point.d2h_p50_ns = Some(50_000.0);
        let page = html(&profile, &[]);
        assert!(page.contains("Device times"));
        for figure in ["700 us", "150 us", "50.0 us", "100 us"] {
            assert!(page.contains(&format!("<td>{}</td>", figure.replace("us", "\u{b5}s"))), "{figure}");
        }
    }

    #[test]
    fn a_board_that_changed_is_drawn_and_each_figure_stands_as_measured_and_in_the_common_state() {
        let still = example::profile_of_27_points();
        let moved = example::drifted(still.clone(), 1.25);
        let page = html(&moved, &[]);
        assert!(
            page.contains("The board during the sweep") && page.contains("block 0 at 1 s: 0.800"),
            "{page}"
        );
        assert!(page.contains("these figures are estimates, in the board's state at the end of the sweep"));
        let latency = moved.points[0].latency.as_ref().unwrap();
        for ns in [latency.p50_ns, latency.p50_ns * 1.25] {
            assert!(page.contains(&format!(">{}</td>", crate::format::span(ns))), "{ns}");
        }
        let still = html(&still, &[]);
        assert!(!still.contains("common state") && !still.contains("state at the end"));
    }

    #[test]
    fn what_the_sample_cannot_determine_is_said() {
        let page = html(&example::profile(), &[]);
        assert!(page.contains("not determinable at n = 60"));
        assert!(page.contains("extrapolated beyond fewer than 99 iterations"));
    }
}
