//! A straight line that a few wild points cannot move.

use crate::stats::interval::Interval;
use crate::stats::robust;

/// Points beyond which Kendall's distribution is taken as normal.
const MAX_EXACT: usize = 60;

/// A robust line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// The slope.
    pub slope: f64,
    /// 95 % interval of the slope; an end that so few points cannot determine is absent.
    pub interval: Interval,
    /// The value at 0.
    pub intercept: f64,
}

/// Theil-Sen line through (x, y) points in any order: the median of the slopes of all pairs (Sen: Estimates of the
/// regression coefficient based on Kendall's tau, JASA 63, 1968), with the interval that inverts Kendall's test: exact
/// up to 60 distinct x, else normal with the tie correction. `None` below two distinct x.
#[must_use]
pub fn line(mut points: Vec<(f64, f64)>) -> Option<Line> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut slopes = Vec::new();
    for (i, a) in points.iter().enumerate() {
        slopes.extend(points[i + 1..].iter().filter(|b| b.0 > a.0).map(|b| (b.1 - a.1) / (b.0 - a.0)));
    }
    slopes.sort_by(f64::total_cmp);
    let slope = robust::median(&slopes)?;
    let rank = lower_rank(&points, slopes.len());
    let interval = Interval {
        lower: rank.map(|rank| slopes[rank - 1]),
        upper: rank.map(|rank| slopes[slopes.len() - rank]),
    };
    let intercepts: Vec<f64> = points.iter().map(|(x, y)| y - slope * x).collect();
    Some(Line { slope, interval, intercept: robust::median(&intercepts)? })
}

/// The 1-based rank of the slope that bounds the 95 % interval from below; `None` when even the extreme
/// slopes do not.
fn lower_rank(points: &[(f64, f64)], slopes: usize) -> Option<usize> {
    let n = points.len();
    let ties: Vec<f64> = points.chunk_by(|a, b| a.0 == b.0).map(|tied| tied.len() as f64).collect();
    let rank = if ties.len() == n && n <= MAX_EXACT {
        let mut below = 0.0;
        kendall(n)
            .iter()
            .take_while(|&&p| {
                below += p;
                below <= 0.025
            })
            .count()
    } else {
        let spread = |t: f64| t * (t - 1.0) * (2.0 * t + 5.0);
        let variance = (spread(n as f64) - ties.iter().map(|&t| spread(t)).sum::<f64>()) / 18.0;
        ((slopes as f64 - 1.959_964 * variance.sqrt()) / 2.0).max(0.0) as usize
    };
    (rank > 0).then_some(rank)
}

/// Probability of each number of inversions in a random order of `n` (Kendall: Rank correlation methods).
fn kendall(n: usize) -> Vec<f64> {
    let mut probabilities = vec![1.0];
    for size in 2..=n {
        let mut next = vec![0.0; probabilities.len() + size - 1];
        for (inversions, p) in probabilities.iter().enumerate() {
            for slot in &mut next[inversions..inversions + size] {
                *slot += p / size as f64;
            }
        }
        probabilities = next;
    }
    probabilities
}

#[cfg(test)]
mod tests {
    use super::{kendall, line};

    #[test]
    fn kendalls_distribution_of_4_is_that_of_its_24_orders() {
        let counts: Vec<f64> = kendall(4).iter().map(|p| p * 24.0).collect();
        for (found, exact) in counts.iter().zip([1.0, 3.0, 5.0, 6.0, 5.0, 3.0, 1.0]) {
            assert!((found - exact).abs() < 1e-12);
        }
    }

    #[test]
    fn a_straight_line_is_found_through_a_wild_point() {
        let mut points: Vec<(f64, f64)> =
            (0..9).map(|x| (f64::from(x), 2.0f64.mul_add(f64::from(x), 1.0))).collect();
        points[4].1 = 1e6;
        let line = line(points).unwrap();
        assert_eq!((line.slope, line.intercept), (2.0, 1.0));
        assert_eq!(line.interval.lower, Some(2.0));
    }

    #[test]
    fn few_points_have_a_slope_without_an_interval() {
        let line = line(vec![(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]).unwrap();
        assert_eq!((line.interval.lower, line.interval.upper), (None, None));
        assert_eq!(super::line(vec![(1.0, 5.0), (1.0, 7.0)]), None);
    }
}
