//! Draws how a sweep sees a board that changes: the planted slowness, and what the sweep found block by block.
//!
//! `cargo run --release -p clipmark-report --example drift_pictures -- docs/images/drift.svg`

#![expect(clippy::disallowed_methods, reason = "a program that writes files; the library does not")]

use clipmark_profile::truth::drift::{Kind, Picture, picture};
use clipmark_profile::units::Nanos;
use std::fmt::Write as _;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 44.0;
const PLOT_WIDTH: f64 = WIDTH - LEFT - 14.0;
const PLOT_HEIGHT: f64 = HEIGHT - TOP - 34.0;

/// Slowness at the bottom and at the top of a panel.
const RANGE: (f64, f64) = (0.55, 1.8);

/// Instants at which the planted line is drawn.
const STEPS: usize = 900;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("give the path of the SVG to write")?;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        WIDTH * 2.0,
        HEIGHT * 3.0
    );
    for (index, kind) in Kind::MOVING.into_iter().enumerate() {
        let (x, y) = ((index % 2) as f64 * WIDTH, (index / 2) as f64 * HEIGHT);
        writeln!(svg, "<g transform=\"translate({x} {y})\">{}</g>", panel(&picture(kind, 3)))?;
    }
    svg.push_str("</svg>\n");
    std::fs::write(path, svg)?;
    Ok(())
}

fn panel(picture: &Picture) -> String {
    let common = common_state(picture);
    let x = |s: f64| LEFT + s / picture.length_s * PLOT_WIDTH;
    let y = |slowness: f64| {
        let share = (slowness.clamp(RANGE.0, RANGE.1) / RANGE.0).ln() / (RANGE.1 / RANGE.0).ln();
        TOP + (1.0 - share) * PLOT_HEIGHT
    };
    let planted: Vec<String> = (0..=STEPS)
        .map(|step| picture.length_s * step as f64 / STEPS as f64)
        .map(|s| format!("{:.1},{:.1}", x(s), y(slowness(picture, s) / common)))
        .collect();
    let mut text = format!(
        "<text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">{}</text><text x=\"{LEFT}\" y=\"34\" fill=\"#555\">{}</text>",
        picture.kind.name(),
        caption(picture)
    );
    for level in [0.6, 0.8, 1.0, 1.25, 1.6] {
        let _ = write!(
            text,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{2:.1}\" y2=\"{2:.1}\" stroke=\"#e3e3e3\"/>\
             <text x=\"{1:.1}\" y=\"{3:.1}\" text-anchor=\"end\" fill=\"#777\">{level}</text>",
            LEFT + PLOT_WIDTH,
            LEFT - 6.0,
            y(level),
            y(level) + 4.0
        );
    }
    let _ = write!(
        text,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#b9b9b9\" stroke-width=\"3\"/>",
        planted.join(" ")
    );
    for block in picture.profile.drift.iter().flat_map(|drift| &drift.blocks) {
        let at = x(block.at_ms as f64 / 1e3);
        let ends =
            block.slowness_ci.lower.zip(block.slowness_ci.upper).unwrap_or((block.slowness, block.slowness));
        let _ = write!(
            text,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#1f6fb2\" stroke-opacity=\"0.5\"/>\
             <circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"2\" fill=\"#1f6fb2\"/>",
            y(ends.0),
            y(ends.1),
            y(block.slowness)
        );
    }
    let _ = write!(
        text,
        "<text x=\"{LEFT}\" y=\"{:.1}\" fill=\"#777\">0 s</text>\
         <text x=\"{:.1}\" y=\"{0:.1}\" text-anchor=\"end\" fill=\"#777\">{:.0} s</text>",
        TOP + PLOT_HEIGHT + 18.0,
        LEFT + PLOT_WIDTH,
        picture.length_s
    );
    text
}

fn caption(picture: &Picture) -> String {
    let stalls = picture.profile.drift.as_ref().map_or(0, |drift| drift.stalls);
    let regret = picture.regret.map_or_else(
        || "no point named".into(),
        |regret| format!("regret of the point named for offline work: {:.1} %", regret * 100.0),
    );
    if stalls > 0 { format!("{stalls} stalls set aside; {regret}") } else { regret }
}

/// Slowness of the planted board at an instant; within a stall nothing advances, which is drawn as the top.
fn slowness(picture: &Picture, at_s: f64) -> f64 {
    let stalled = picture.planted.stall.as_ref().is_some_and(|stall| {
        at_s >= stall.first_s && (at_s - stall.first_s) % stall.period_s < stall.length_ms / 1e3
    });
    if stalled { f64::INFINITY } else { picture.planted.slowness(Nanos((at_s * 1e9) as u64)) }
}

/// The planted slowness that the profile calls 1: that of the last blocks.
fn common_state(picture: &Picture) -> f64 {
    let blocks = picture.profile.drift.iter().flat_map(|drift| &drift.blocks);
    let logs: Vec<f64> = blocks
        .map(|block| slowness(picture, block.at_ms as f64 / 1e3).ln() - block.slowness.ln())
        .filter(|log| log.is_finite())
        .collect();
    let mut sorted = logs;
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).map_or(1.0, |log| log.exp())
}
