//! How the board changed during a sweep: latency in each block over latency in the common state.

use super::frame::{Area, horizontal, picture, vertical};
use super::scale::Scale;
use super::{path, px};
use crate::format::{clock_span, significant};
use crate::grid::extent;
use clipmark_profile::summary::{BoardDrift, DriftBlock};
use maud::{Markup, html};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 290.0;
const AREA: Area = Area { left: 64.0, right: 930.0, top: 46.0, bottom: 232.0 };

/// The plot, or `None` for a board that only stalled.
pub(crate) fn drift(drift: &BoardDrift) -> Option<Markup> {
    let blocks = &drift.blocks;
    let (first, last) = extent(blocks.iter().map(|block| block.at_ms as f64))?;
    let x = Scale::linear((first.min(0.0), last), AREA.across());
    let (low, high) = extent(blocks.iter().flat_map(ends).chain([1.0]))?;
    let reach = ((high - low) * 0.08).max(0.01);
    let y = Scale::linear((low - reach, high + reach), AREA.up());
    let line = blocks.iter().map(|block| Some((x.at(block.at_ms as f64), y.at(block.slowness))));
    let title = "Latency in each block over latency in the common state";
    let inner = html! {
        (vertical(AREA, y, &y.ticks(5), significant, title))
        (horizontal(AREA, x, &x.ticks(7), |ms| clock_span(ms.max(0.0) as u64), "since the start"))
        g.s0 {
            path.line d=(path(line)) {}
            @for block in blocks { (mark(block, x, y)) }
        }
    };
    Some(picture("", WIDTH, HEIGHT, &format!("{title}: {} blocks", blocks.len()), inner))
}

/// The ends of what is drawn of a block.
fn ends(block: &DriftBlock) -> [f64; 2] {
    [block.slowness_ci.lower, block.slowness_ci.upper].map(|end| end.unwrap_or(block.slowness))
}

fn mark(block: &DriftBlock, x: Scale, y: Scale) -> Markup {
    let at = x.at(block.at_ms as f64);
    let [lower, upper] = ends(block);
    html! {
        line.axis x1=(px(at)) x2=(px(at)) y1=(px(y.at(lower))) y2=(px(y.at(upper))) {}
        circle.dot cx=(px(at)) cy=(px(y.at(block.slowness))) r="3.5" {
            title {
                "block " (block.block) " at " (clock_span(block.at_ms)) ": " (format!("{:.3}", block.slowness)) ", "
                (format!("{lower:.3} to {upper:.3}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::drift;
    use clipmark_profile::example;

    #[test]
    fn every_block_is_drawn_and_a_board_that_only_stalled_has_no_plot() {
        let mut found = example::drifted(example::profile(), 1.3).drift.unwrap();
        let plot = drift(&found).unwrap().into_string();
        assert_eq!(plot.matches("<circle").count(), found.blocks.len());
        assert!(plot.contains("block 0 at 1 s: 0.769") && !plot.contains("NaN"), "{plot}");
        found.blocks.clear();
        assert!(drift(&found).is_none());
    }
}
