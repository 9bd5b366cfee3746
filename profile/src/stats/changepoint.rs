//! Where the level of a series changes: optimal partitioning by PELT.
//!
//! PELT (Killick, Fearnhead, Eckley: Optimal detection of changepoints with a linear computational cost,
//! JASA 107, 2012) finds the segmentation that minimises the sum of the segments' costs plus a penalty per
//! change, exactly. Without changes its cost is quadratic, so beyond [`MAX_POSITIONS`] values changes are
//! first sought on a grid, from exact sums over all values, and then moved to their best place near it.

/// Candidate positions for a change at most; longer series are searched on a grid of so many.
pub const MAX_POSITIONS: usize = 2048;

/// Fewest values in a segment with its own mean and variance.
const MIN_SEGMENT: usize = 5;

/// Changes in mean or variance of normal noise: the indices at which a new segment starts, ascending,
/// without 0. `penalty` is in units of twice a log-likelihood, e.g. 15 ln n. A segment's standard deviation
/// counts as at least `sigma_floor` (> 0), so that runs of equal values are no segments of their own.
#[must_use]
pub fn mean_and_variance(series: &[f64], penalty: f64, sigma_floor: f64) -> Vec<usize> {
    let sums = Sums::of(series);
    let floor = (sigma_floor * sigma_floor).max(f64::MIN_POSITIVE);
    search(series.len(), MIN_SEGMENT, penalty, |from, to| {
        let (length, squares) = sums.squares(from, to);
        let variance = (squares / length).max(floor);
        length * variance.ln() + squares / variance
    })
}

/// Changes in mean alone: the indices at which a new segment starts, ascending, without 0. `penalty` is in
/// squared units of the series: what a change must save in the sum of squares, e.g. [`throttle_penalty`].
/// No segment is shorter than `min_segment`.
#[must_use]
pub fn mean(series: &[f64], penalty: f64, min_segment: usize) -> Vec<usize> {
    let sums = Sums::of(series);
    search(series.len(), min_segment.max(1), penalty, |from, to| sums.squares(from, to).1)
}

/// 3 sigma_LR^2 ln n, for level changes in a correlated series with this long-run variance and length.
/// With the variance of single values in its place, correlated noise alone yields changes.
#[must_use]
pub fn throttle_penalty(long_run_variance: f64, length: usize) -> f64 {
    3.0 * long_run_variance * (length.max(2) as f64).ln()
}

/// Prefix sums of values and squares about the first value, which keeps the digits.
struct Sums {
    values: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    fn of(series: &[f64]) -> Self {
        let origin = crate::stats::robust::median(series).unwrap_or(0.0);
        let prefix = |power: i32| {
            let mut running = 0.0;
            std::iter::once(0.0)
                .chain(series.iter().map(|x| {
                    running += (x - origin).powi(power);
                    running
                }))
                .collect()
        };
        Self { values: prefix(1), squares: prefix(2) }
    }

    /// Length and sum of squares about the mean of the values `from..to`.
    fn squares(&self, from: usize, to: usize) -> (f64, f64) {
        let length = (to - from) as f64;
        let sum = self.values[to] - self.values[from];
        let squares = self.squares[to] - self.squares[from] - sum * sum / length;
        (length, squares.max(0.0))
    }
}

/// PELT over a grid of at most [`MAX_POSITIONS`] positions, then local refinement.
fn search(n: usize, min_segment: usize, penalty: f64, cost: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    if n < 2 * min_segment {
        return Vec::new();
    }
    let stride = n.div_ceil(MAX_POSITIONS);
    let mut grid: Vec<usize> = (0..n).step_by(stride).collect();
    grid.push(n);
    let least = min_segment.div_ceil(stride);
    let mut changes = pelt(&grid, least, penalty, &cost);
    if stride > 1 {
        refine(&mut changes, n, stride, min_segment, &cost);
        // A change inside a grid step makes that step a segment of its own, which now costs more than it saves.
        while let Some(at) = superfluous(&changes, n, penalty, &cost) {
            changes.remove(at);
            refine(&mut changes, n, stride, min_segment, &cost);
        }
    }
    changes
}

/// A possible last change before the end under consideration.
struct Candidate {
    position: usize,
    /// From which end on it can no longer be the best: pruning at t only holds for ends that leave room
    /// for a whole segment after t.
    obsolete: usize,
}

/// Exact minimisation over changes at grid positions; segments span at least `least` grid steps.
fn pelt(grid: &[usize], least: usize, penalty: f64, cost: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    let last = grid.len() - 1;
    let mut best = vec![f64::INFINITY; last + 1];
    let mut previous = vec![0; last + 1];
    best[0] = -penalty;
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut totals: Vec<f64> = Vec::new();
    for end in least..=last {
        candidates.push(Candidate { position: end - least, obsolete: usize::MAX });
        candidates.retain(|candidate| candidate.obsolete > end);
        totals.clear();
        for candidate in &candidates {
            let start = candidate.position;
            let total = best[start] + cost(grid[start], grid[end]);
            totals.push(total);
            if total + penalty < best[end] {
                best[end] = total + penalty;
                previous[end] = start;
            }
        }
        for (candidate, total) in candidates.iter_mut().zip(&totals) {
            if *total > best[end] {
                candidate.obsolete = candidate.obsolete.min(end + least);
            }
        }
    }
    let mut changes = Vec::new();
    let mut at = previous[last];
    while at > 0 {
        changes.push(grid[at]);
        at = previous[at];
    }
    changes.reverse();
    changes
}

/// Moves each change to the cheapest place within one stride, its neighbours held fixed.
fn refine(changes: &mut [usize], n: usize, stride: usize, least: usize, cost: impl Fn(usize, usize) -> f64) {
    for index in 0..changes.len() {
        let from = if index == 0 { 0 } else { changes[index - 1] };
        let to = changes.get(index + 1).copied().unwrap_or(n);
        let low = changes[index].saturating_sub(stride).max(from + least);
        let high = (changes[index] + stride).min(to - least);
        let price = |at: usize| cost(from, at) + cost(at, to);
        if let Some(best) = (low..=high).min_by(|&a, &b| price(a).total_cmp(&price(b))) {
            changes[index] = best;
        }
    }
}

/// The change that saves least, when that is less than its penalty.
fn superfluous(
    changes: &[usize],
    n: usize,
    penalty: f64,
    cost: impl Fn(usize, usize) -> f64,
) -> Option<usize> {
    let saving = |index: usize| {
        let from = if index == 0 { 0 } else { changes[index - 1] };
        let to = changes.get(index + 1).copied().unwrap_or(n);
        cost(from, to) - cost(from, changes[index]) - cost(changes[index], to)
    };
    let least = (0..changes.len()).min_by(|&a, &b| saving(a).total_cmp(&saving(b)))?;
    (saving(least) < penalty).then_some(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Rng;

    fn noise(n: usize, sigma: f64, seed: u64, level: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut rng = Rng::new(seed);
        (0..n).map(|i| level(i) + sigma * rng.normal()).collect()
    }

    /// Every segmentation of a short series, by brute force.
    fn cheapest(series: &[f64], penalty: f64) -> f64 {
        let sums = Sums::of(series);
        let n = series.len();
        let mut best = vec![f64::INFINITY; n + 1];
        best[0] = -penalty;
        for end in 1..=n {
            for start in 0..end {
                best[end] = best[end].min(best[start] + sums.squares(start, end).1 + penalty);
            }
        }
        best[n]
    }

    #[test]
    fn pruning_never_loses_the_optimum() {
        for seed in 0..30 {
            let series = noise(60, 1.0, seed, |i| if (20..35).contains(&i) { 2.0 } else { 0.0 });
            let changes = mean(&series, 6.0, 1);
            let sums = Sums::of(&series);
            let mut bounds = vec![0];
            bounds.extend(&changes);
            bounds.push(series.len());
            let total: f64 = bounds.windows(2).map(|pair| sums.squares(pair[0], pair[1]).1 + 6.0).sum();
            assert!((total - 6.0 - cheapest(&series, 6.0)).abs() < 1e-9, "seed {seed}");
        }
    }

    #[test]
    fn a_step_in_mean_is_found_where_it_is() {
        let series = noise(1000, 1.0, 4, |i| if i < 300 { 3.0 } else { 0.0 });
        let changes = mean_and_variance(&series, 15.0 * 1000f64.ln(), 1e-6);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(changes[0].abs_diff(300) <= 2, "{changes:?}");
    }

    #[test]
    fn a_change_in_variance_alone_is_found() {
        let mut rng = Rng::new(6);
        let series: Vec<f64> = (0..1000).map(|i| rng.normal() * if i < 400 { 4.0 } else { 1.0 }).collect();
        let changes = mean_and_variance(&series, 15.0 * 1000f64.ln(), 1e-6);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(changes[0].abs_diff(400) <= 15, "{changes:?}");
    }

    #[test]
    fn noise_constants_and_short_series_have_no_changes() {
        for seed in 0..20 {
            assert!(mean_and_variance(&noise(500, 1.0, seed, |_| 0.0), 15.0 * 500f64.ln(), 1e-6).is_empty());
        }
        assert!(mean_and_variance(&[5.0; 300], 15.0 * 300f64.ln(), 1e-6).is_empty());
        assert!(mean(&[1.0, 9.0], 0.1, 2).is_empty());
        assert!(mean(&[], 0.1, 2).is_empty());
    }

    #[test]
    fn a_long_series_is_searched_on_a_grid_and_refined_to_the_iteration() {
        let series = noise(50_000, 1.0, 9, |i| if i < 31_111 { 0.0 } else { 4.0 });
        let changes = mean(&series, 3.0 * 50_000f64.ln(), 2);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(changes[0].abs_diff(31_111) <= 3, "{changes:?}");
    }
}
