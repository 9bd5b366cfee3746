//! The rectangle a plot is drawn in: axes, grid lines, tick labels.

use super::px;
use super::scale::Scale;
use maud::{Markup, html};

/// Where the plot's area lies within its picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Area {
    /// Positions from left to right.
    pub(super) const fn across(self) -> (f64, f64) {
        (self.left, self.right)
    }

    /// Positions from bottom to top, as quantities grow.
    pub(super) const fn up(self) -> (f64, f64) {
        (self.bottom, self.top)
    }
}

/// A picture of `width` x `height` with its description for those who cannot see it.
pub(super) fn picture(class: &str, width: f64, height: f64, description: &str, inner: Markup) -> Markup {
    html! {
        svg class=(class) role="img" aria-label=(description) viewBox=(format!("0 0 {} {}", px(width), px(height)))
            xmlns="http://www.w3.org/2000/svg" {
            (inner)
        }
    }
}

/// A vertical axis: grid lines across the area, labels left of it, its title above.
pub(super) fn vertical(
    area: Area,
    scale: Scale,
    ticks: &[f64],
    label: impl Fn(f64) -> String,
    title: &str,
) -> Markup {
    html! {
        @for &tick in ticks {
            @let y = scale.at(tick);
            line.grid x1=(px(area.left)) x2=(px(area.right)) y1=(px(y)) y2=(px(y)) {}
            text x=(px(area.left - 8.0)) y=(px(y + 4.0)) text-anchor="end" { (label(tick)) }
        }
        @if !title.is_empty() {
            text.strong x=(px(area.left)) y=(px(area.top - 10.0)) { (title) }
        }
    }
}

/// A horizontal axis: a line below the area, ticks and labels under it, its title at the right end.
pub(super) fn horizontal(
    area: Area,
    scale: Scale,
    ticks: &[f64],
    label: impl Fn(f64) -> String,
    title: &str,
) -> Markup {
    let y = area.bottom;
    html! {
        line.axis x1=(px(area.left)) x2=(px(area.right)) y1=(px(y)) y2=(px(y)) {}
        @for &tick in ticks {
            @let x = scale.at(tick);
            line.axis x1=(px(x)) x2=(px(x)) y1=(px(y)) y2=(px(y + 5.0)) {}
            text x=(px(x)) y=(px(y + 19.0)) text-anchor="middle" { (label(tick)) }
        }
        @if !title.is_empty() {
            text.strong x=(px(area.right)) y=(px(y + 38.0)) text-anchor="end" { (title) }
        }
    }
}
