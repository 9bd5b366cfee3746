//! Plots as inline SVG. Colours and fonts come from the page's style sheet by class, so that a plot follows
//! the page's theme; positions are computed here. Every mark can be named by hovering, every plot carries a
//! description for those who cannot see it, and lines are labelled where they end instead of in a legend.
//!
//! Own code because plotting crates fix colours at drawing time and bring fonts and rasterisers along.

mod capacity;
mod changes;
mod distribution;
mod drift;
mod frame;
mod pareto;
mod ridges;
mod scale;
mod scaling;
mod timeline;

pub use changes::{Dot, DotPlot, timeline_of_changes};
pub use ridges::{Ridge, ridges};

pub(crate) use capacity::{capacity, waiting};
pub(crate) use distribution::distribution;
pub(crate) use drift::drift;
pub(crate) use pareto::pareto;
pub(crate) use scaling::scaling;
pub(crate) use timeline::timeline;

/// Classes: that of the colour of the variant, or other series, at `index`, and `others`.
fn color(index: usize, others: &str) -> String {
    format!("s{} {others}", index % 6).trim_end().to_owned()
}

/// A coordinate, to a tenth of a pixel.
fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// The `d` of a path through `points`, broken wherever there is none.
fn path(points: impl IntoIterator<Item = Option<(f64, f64)>>) -> String {
    let mut d = String::new();
    let mut pen_down = false;
    for point in points {
        if let Some((x, y)) = point {
            d.push(if pen_down { 'L' } else { 'M' });
            d.push_str(&format!("{} {}", px(x), px(y)));
        }
        pen_down = point.is_some();
    }
    d
}

/// Moves labels at the heights `wanted` apart so that neighbours are at least `gap` from each other and all
/// lie within `bounds` where there is room. Order is kept.
fn spread(wanted: &[f64], gap: f64, bounds: (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut placed: Vec<f64> = order.iter().map(|&index| wanted[index].clamp(bounds.0, bounds.1)).collect();
    for i in 1..placed.len() {
        placed[i] = placed[i].max(placed[i - 1] + gap);
    }
    let mut limit = bounds.1;
    for place in placed.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - gap;
    }
    let mut result = vec![0.0; wanted.len()];
    for (place, index) in placed.into_iter().zip(order) {
        result[index] = place;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_breaks_where_there_is_no_value() {
        let points = [Some((0.0, 1.0)), Some((1.0, 2.04)), None, Some((3.0, 0.25))];
        assert_eq!(path(points), "M0 1L1 2M3 0.2");
    }

    #[test]
    fn labels_move_apart_and_stay_inside() {
        let placed = spread(&[10.0, 11.0, 12.0, 99.0], 12.0, (0.0, 100.0));
        assert!(placed.windows(2).all(|pair| pair[1] - pair[0] >= 12.0 - 1e-9), "{placed:?}");
        assert!(placed.iter().all(|&y| (0.0..=100.0).contains(&y)), "{placed:?}");
        let crowded_low = spread(&[95.0, 96.0, 97.0], 12.0, (0.0, 100.0));
        assert_eq!(crowded_low, [76.0, 88.0, 100.0]);
        assert_eq!(spread(&[], 12.0, (0.0, 1.0)), Vec::<f64>::new());
    }
}
