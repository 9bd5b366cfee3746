//! How a figure moved over time: every run as a dot against its board's own level, the levels as steps.

use super::frame::{Area, horizontal, picture, vertical};
use super::scale::Scale;
use super::{path, px};
use crate::format::{change, date};
use crate::grid::extent;
use clipmark_profile::cohort::Trend;
use maud::{Markup, html};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 930.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 282.0;

const DAY_MS: f64 = 86_400_000.0;

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct Dot {
    /// Milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The figure over the board's own level.
    pub ratio: f64,
    /// What hovering shows.
    pub title: String,
    /// Where it leads, if anywhere.
    pub href: Option<String>,
}

/// A figure over time.
#[derive(Debug, Clone, Copy)]
pub struct DotPlot<'a> {
    /// What the vertical axis shows, e.g. `P99 latency`.
    pub title: &'a str,
    /// The runs.
    pub dots: &'a [Dot],
    /// Their levels.
    pub trend: &'a Trend,
}

/// The plot, or `None` without runs.
#[must_use]
pub fn timeline_of_changes(plot: DotPlot<'_>) -> Option<Markup> {
    let times = extent(plot.dots.iter().map(|dot| dot.at_unix_ms as f64))?;
    // Half a day on either side, so that a single run has an axis too.
    let x = Scale::linear((times.0 - DAY_MS / 2.0, times.1 + DAY_MS / 2.0), (LEFT, RIGHT));
    let ratios =
        plot.dots.iter().map(|dot| dot.ratio).chain(plot.trend.levels.iter().map(|level| level.ratio));
    let (low, high) = extent(ratios)?;
    let reach = ((high - low) * 0.12).max(0.01);
    let area = Area { left: LEFT, right: RIGHT, top: TOP, bottom: BOTTOM };
    let y = Scale::linear((low - reach, high + reach), area.up());
    let ticks = x.ticks(7);
    let title = format!("{} against each board's own level", plot.title);
    let description = format!("{title}: {} runs, {} changes", plot.dots.len(), plot.trend.changes.len());
    let inner = html! {
        (vertical(area, y, &y.ticks(5), change, &title))
        (horizontal(area, x, &ticks, |ms| date(ms.max(0.0) as u64), ""))
        @for dot in plot.dots { (mark(dot, x, y)) }
        @for level in &plot.trend.levels {
            @let ends = [level.from_unix_ms as f64 - DAY_MS / 8.0, level.to_unix_ms as f64 + DAY_MS / 8.0];
            path.level d=(path(ends.map(|ms| Some((x.at(ms), y.at(level.ratio)))))) {
                title { (change(level.ratio)) " over " (level.count) " runs" }
            }
        }
        @for step in &plot.trend.changes {
            @let at = x.at(step.at_unix_ms as f64);
            line.limit x1=(px(at)) x2=(px(at)) y1=(px(TOP)) y2=(px(BOTTOM)) {}
            text.limit.halo x=(px(at + 5.0)) y=(px(TOP + 11.0)) { (change(step.ratio)) }
        }
    };
    Some(picture("", WIDTH, HEIGHT, &description, inner))
}

fn mark(dot: &Dot, x: Scale, y: Scale) -> Markup {
    let circle = html! {
        circle.dot cx=(px(x.at(dot.at_unix_ms as f64))) cy=(px(y.at(dot.ratio))) r="3.5" { title { (dot.title) } }
    };
    html! {
        g.s0 {
            @match &dot.href {
                Some(href) => a href=(href) tabindex="-1" { (circle) },
                None => (circle),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::cohort::{TrendPoint, TrendRule, trend};

    #[test]
    fn a_step_is_drawn_with_its_size_and_no_runs_give_no_plot() {
        let points: Vec<TrendPoint> = (0..20)
            .map(|day| TrendPoint {
                at_unix_ms: day * 86_400_000,
                device: "b".into(),
                value: if day < 10 { 5e6 } else { 6e6 } * (1.0 + 0.002 * (day % 3) as f64),
                context: Vec::new(),
            })
            .collect();
        let found = trend(&points, TrendRule::default());
        let dots: Vec<Dot> = points
            .iter()
            .map(|point| Dot {
                at_unix_ms: point.at_unix_ms,
                ratio: point.value / 5e6,
                title: "<x>".into(),
                href: None,
            })
            .collect();
        let plot = timeline_of_changes(DotPlot { title: "P99 latency", dots: &dots, trend: &found });
        let plot = plot.unwrap().into_string();
        assert!(plot.contains("+20 %") && plot.contains("1970-01-"), "{plot}");
        assert!(!plot.contains("<x>") && !plot.contains("NaN"));
        assert!(timeline_of_changes(DotPlot { title: "", dots: &[], trend: &found }).is_none());
    }
}
