//! What a board did while several items were measured in turn: one level per item, one state of the board
//! that moves with time.
//!
//! Model: a *cell*, one short measurement of one item, has the log level mu_item + d(t) + noise. d is a random
//! walk: it may step, climb or swing, but what is measured close in time shares it. Every item with two cells
//! or more tells of d, most of all those that return often. How far d walks and how much the cells scatter
//! beyond their own variance are chosen by restricted maximum likelihood over a grid; cells that fit nothing
//! count less (Huber's weights). For a board that holds still the walk has no length, and the levels are the
//! plain means.
//!
//! Differences between items carry the uncertainty of d exactly as far as the items were measured at different
//! times: those measured side by side do not (the posterior covariance of the linear model; Harville: Maximum
//! likelihood approaches to variance component estimation, JASA 72, 1977).

use crate::stats::linear::{Cholesky, Tridiagonal};
use crate::stats::robust;

/// Total variance of the walk over the run, the first one a board that holds still: up to 1.4 times the logarithm
/// of e.
const WALKS: [f64; 9] = [1e-9, 1e-4, 4e-4, 1.6e-3, 6.4e-3, 0.0256, 0.1, 0.4, 1.6];

/// Variance of cells beyond their own: scatter of 0, 0.4, 1.2 and 3 %.
const SCATTERS: [f64; 4] = [0.0, 1.6e-5, 1.44e-4, 9e-4];

/// Residuals beyond this many standard deviations count less.
const HUBER: f64 = 2.0;

/// Rounds of weighting.
const ROUNDS: usize = 2;

/// A weight below this is a cell that the variances must not be chosen by.
const WILD: f64 = 0.3;

/// A cell whose logarithm lies this far from those of its neighbours is no state of the board: a factor of 1.65.
const FAR: f64 = 0.5;

/// Cells on each side that count as neighbours.
const NEIGHBOURS: usize = 3;

/// Log likelihood that a moving board must gain over one that holds still: a false alarm in about 1 of 100.
const MOVED: f64 = 3.0;

/// Least time between two cells, as a share of the run: none has the same instant as another.
const LEAST_STEP: f64 = 1e-6;

/// One short measurement of one item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Which item.
    pub item: usize,
    /// Middle of the measurement, seconds.
    pub at_s: f64,
    /// Logarithm of the level.
    pub level: f64,
    /// Variance of `level` by the cell's own iterations.
    pub variance: f64,
}

/// A figure with its variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Its variance.
    pub variance: f64,
}

/// The fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Items in use: their index here is their column.
    items: Vec<usize>,
    weights: Vec<f64>,
    columns: Vec<usize>,
    tridiagonal: Tridiagonal,
    /// Inverse of the items' system without the reference item, row by row.
    covariance: Vec<f64>,
    /// Levels of the items, the reference's 0.
    levels: Vec<f64>,
    /// The state of the board at each cell, in the order given: the logarithm of its slowness, less a constant.
    pub state: Vec<f64>,
    /// Log likelihood gained over a board that holds still.
    pub gain: f64,
}

impl Fit {
    /// Fits `cells`, which are in order of time. `None` below two cells.
    #[must_use]
    pub fn of(cells: &[Cell]) -> Option<Self> {
        let system = System::of(cells)?;
        let mut trust = system.first_weights();
        let mut best = system.search(&trust)?;
        for _ in 0..ROUNDS {
            system.reweigh(&best, &mut trust);
            // What a wild cell made of the variances is not kept.
            if trust.iter().any(|&weight| weight < WILD) {
                best = system.search(&trust)?;
            } else {
                best.1 = system.solve(best.0, &trust)?;
            }
        }
        let still =
            SCATTERS.iter().filter_map(|&scatter| system.solve(Choice { walk: WALKS[0], scatter }, &trust));
        let still = still.map(|solved| solved.likelihood).fold(f64::NEG_INFINITY, f64::max);
        Some(system.fit(best.1, still))
    }

    /// Whether the board moved by more than the cells' noise explains.
    #[must_use]
    pub fn moved(&self) -> bool {
        self.gain > MOVED
    }

    /// The contrast `sum of state x weight`, with its variance.
    #[must_use]
    pub fn contrast(&self, weights: &[f64]) -> Estimate {
        self.level_plus(None, weights)
    }

    /// The level of `item` in the state of the board that `weights` over the cells average (their sum is 1).
    #[must_use]
    pub fn level(&self, item: usize, weights: &[f64]) -> Option<Estimate> {
        let column = self.items.iter().position(|&known| known == item)?;
        Some(self.level_plus(Some(column), weights))
    }

    /// The variance that `item`'s level would have in a known state of the board: its cells' alone.
    #[must_use]
    pub fn own_variance(&self, item: usize) -> f64 {
        let own = self.weights.iter().zip(&self.columns).filter(|(_, column)| self.items[**column] == item);
        let weight: f64 = own.map(|(weight, _)| weight).sum();
        if weight > 0.0 { 1.0 / weight } else { 0.0 }
    }

    fn level_plus(&self, column: Option<usize>, weights: &[f64]) -> Estimate {
        let influence = self.tridiagonal.solve(weights);
        let mut direction = vec![0.0; self.items.len()];
        for (cell, &own) in self.columns.iter().enumerate() {
            direction[own] -= self.weights[cell] * influence[cell];
        }
        let mut value: f64 = weights.iter().zip(&self.state).map(|(weight, state)| weight * state).sum();
        let mut variance: f64 = weights.iter().zip(&influence).map(|(a, b)| a * b).sum();
        if let Some(column) = column {
            direction[column] += 1.0;
            value += self.levels[column];
        }
        let free = self.items.len() - 1;
        for (row, a) in direction[1..].iter().enumerate() {
            let products = direction[1..].iter().zip(&self.covariance[row * free..]);
            variance += a * products.map(|(b, c)| b * c).sum::<f64>();
        }
        Estimate { value, variance: variance.max(0.0) }
    }
}

/// The data of a fit.
struct System<'a> {
    cells: &'a [Cell],
    items: Vec<usize>,
    columns: Vec<usize>,
    /// Time between neighbours as a share of the run.
    steps: Vec<f64>,
}

/// The variances of a fit.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Choice {
    walk: f64,
    scatter: f64,
}

/// The model solved for one choice of variances.
struct Solved {
    weights: Vec<f64>,
    tridiagonal: Tridiagonal,
    cholesky: Cholesky,
    levels: Vec<f64>,
    state: Vec<f64>,
    likelihood: f64,
}

impl<'a> System<'a> {
    fn of(cells: &'a [Cell]) -> Option<Self> {
        let (first, last) = (cells.first()?.at_s, cells.last()?.at_s);
        let length = last - first;
        if cells.len() < 2 || length <= 0.0 {
            return None;
        }
        let mut items: Vec<usize> = Vec::new();
        let mut counts: Vec<usize> = Vec::new();
        let mut columns = Vec::with_capacity(cells.len());
        for cell in cells {
            let column = items.iter().position(|&item| item == cell.item).unwrap_or_else(|| {
                items.push(cell.item);
                counts.push(0);
                items.len() - 1
            });
            counts[column] += 1;
            columns.push(column);
        }
        // The reference, column 0, is the item that returned most often.
        let most = (0..counts.len()).max_by_key(|&column| counts[column])?;
        items.swap(0, most);
        for column in &mut columns {
            *column = if *column == 0 {
                most
            } else if *column == most {
                0
            } else {
                *column
            };
        }
        let step = |pair: &[Cell]| ((pair[1].at_s - pair[0].at_s) / length).max(LEAST_STEP);
        Some(Self { cells, items, columns, steps: cells.windows(2).map(step).collect() })
    }

    /// Little weight for cells that lie far from their item's median while their neighbours in time do not: a walk
    /// long enough to follow them would be chosen by them alone.
    fn first_weights(&self) -> Vec<f64> {
        let median_of = |column: usize| {
            let own = self.cells.iter().zip(&self.columns).filter(|(_, own)| **own == column);
            robust::median(&own.map(|(cell, _)| cell.level).collect::<Vec<f64>>()).unwrap_or(0.0)
        };
        let medians: Vec<f64> = (0..self.items.len()).map(median_of).collect();
        let apart: Vec<f64> = self
            .cells
            .iter()
            .zip(&self.columns)
            .map(|(cell, &column)| cell.level - medians[column])
            .collect();
        let weight = |index: usize| {
            let around = &apart[index.saturating_sub(NEIGHBOURS)..(index + NEIGHBOURS + 1).min(apart.len())];
            let excess = (apart[index] - robust::median(around).unwrap_or(0.0)).abs();
            if excess > FAR { (WILD * FAR / excess).powi(2) } else { 1.0 }
        };
        (0..self.cells.len()).map(weight).collect()
    }

    /// The most likely walk and scatter, one after the other.
    fn search(&self, robust: &[f64]) -> Option<(Choice, Solved)> {
        let mut best: Option<(Choice, Solved)> = None;
        let mut choice = Choice { walk: WALKS[0], scatter: SCATTERS[1] };
        for _ in 0..2 {
            let walks = WALKS.map(|walk| Choice { walk, ..choice });
            self.consider(&walks, robust, &mut best);
            choice = best.as_ref()?.0;
            let scatters = SCATTERS.map(|scatter| Choice { scatter, ..choice });
            self.consider(&scatters, robust, &mut best);
            let next = best.as_ref()?.0;
            if next == choice {
                break;
            }
            choice = next;
        }
        best
    }

    fn consider(&self, choices: &[Choice], robust: &[f64], best: &mut Option<(Choice, Solved)>) {
        for &choice in choices {
            let Some(solved) = self.solve(choice, robust) else { continue };
            if best.as_ref().is_none_or(|(_, best)| solved.likelihood > best.likelihood) {
                *best = Some((choice, solved));
            }
        }
    }

    fn reweigh(&self, (choice, solved): &(Choice, Solved), robust: &mut [f64]) {
        for (index, cell) in self.cells.iter().enumerate() {
            let expected = solved.levels[self.columns[index]] + solved.state[index];
            let size = (cell.level - expected).abs() / (cell.variance + choice.scatter).sqrt();
            robust[index] = if size > HUBER { HUBER / size } else { 1.0 };
        }
    }

    fn fit(&self, solved: Solved, still: f64) -> Fit {
        Fit {
            items: self.items.clone(),
            weights: solved.weights,
            columns: self.columns.clone(),
            tridiagonal: solved.tridiagonal,
            covariance: solved.cholesky.inverse(),
            levels: solved.levels,
            state: solved.state,
            gain: solved.likelihood - still,
        }
    }

    /// The levels and the walk for one choice of variances, with the restricted log likelihood.
    fn solve(&self, Choice { walk, scatter }: Choice, robust: &[f64]) -> Option<Solved> {
        let weights: Vec<f64> =
            self.cells.iter().zip(robust).map(|(cell, robust)| robust / (cell.variance + scatter)).collect();
        let ties: Vec<f64> = self.steps.iter().map(|step| 1.0 / (walk * step)).collect();
        let mut diagonal = weights.clone();
        for (index, tie) in ties.iter().enumerate() {
            diagonal[index] += tie;
            diagonal[index + 1] += tie;
        }
        let beside: Vec<f64> = ties.iter().map(|tie| -tie).collect();
        let tridiagonal = Tridiagonal::factor(diagonal, &beside);
        let weighted: Vec<f64> = self.cells.iter().zip(&weights).map(|(cell, w)| w * cell.level).collect();
        let free = self.items.len() - 1;
        let mut matrix = vec![0.0; free * free];
        let mut right = vec![0.0; free];
        let base = tridiagonal.solve(&weighted);
        for column in 1..=free {
            let own: Vec<f64> = (0..weights.len())
                .map(|c| if self.columns[c] == column { weights[c] } else { 0.0 })
                .collect();
            let solved = tridiagonal.solve(&own);
            for (cell, &other) in self.columns.iter().enumerate() {
                if other > 0 {
                    matrix[(other - 1) * free + column - 1] -= weights[cell] * solved[cell];
                }
                if other == column {
                    matrix[(column - 1) * free + column - 1] += weights[cell];
                    right[column - 1] += weights[cell] * (self.cells[cell].level - base[cell]);
                }
            }
        }
        let cholesky = Cholesky::of(&matrix, free)?;
        let mut levels = vec![0.0];
        levels.extend(cholesky.solve(&right));
        let reduced: Vec<f64> = (0..weights.len())
            .map(|c| weights[c] * (self.cells[c].level - levels[self.columns[c]]))
            .collect();
        let state = tridiagonal.solve(&reduced);
        let misfit: f64 = (0..weights.len())
            .map(|c| weights[c] * (self.cells[c].level - levels[self.columns[c]] - state[c]).powi(2))
            .sum();
        let roughness: f64 =
            state.windows(2).zip(&ties).map(|(pair, tie)| tie * (pair[1] - pair[0]).powi(2)).sum();
        let log_weights: f64 = weights.iter().chain(&ties).map(|w| w.ln()).sum();
        let likelihood = 0.5
            * (log_weights - tridiagonal.log_determinant() - cholesky.log_determinant() - misfit - roughness);
        let solved = Solved { weights, tridiagonal, cholesky, levels, state, likelihood };
        solved.likelihood.is_finite().then_some(solved)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Fit};
    use crate::stats::rng::Rng;

    /// `items` in turn for `rounds`, each with 2 % noise, on a board of the given log slowness.
    fn rounds(items: usize, rounds: usize, seed: u64, slowness: impl Fn(f64) -> f64) -> Vec<Cell> {
        let mut rng = Rng::new(seed);
        let mut cells = Vec::new();
        for round in 0..rounds {
            for item in 0..items {
                let at_s = (round * items + item) as f64;
                let noise = 0.02 * rng.normal();
                let level = 0.1 * item as f64 + slowness(at_s) + noise;
                cells.push(Cell { item, at_s, level, variance: 4e-4 });
            }
        }
        cells
    }

    #[test]
    fn a_board_that_holds_still_has_a_false_alarm_in_at_most_2_of_100() {
        let moved = (0..200).filter(|&seed| Fit::of(&rounds(8, 5, seed, |_| 0.0)).unwrap().moved());
        assert!(moved.count() <= 4);
    }

    #[test]
    fn on_a_still_board_levels_are_as_certain_as_their_cells() {
        let cells = rounds(8, 5, 3, |_| 0.0);
        let fit = Fit::of(&cells).unwrap();
        let everywhere = vec![1.0 / cells.len() as f64; cells.len()];
        for item in 0..8 {
            let level = fit.level(item, &everywhere).unwrap();
            assert!((level.value - 0.1 * item as f64).abs() < 0.03, "{level:?}");
            assert!((level.variance / (4e-4 / 5.0) - 1.0).abs() < 0.3, "{level:?}");
        }
    }

    #[test]
    fn a_step_is_found_where_it_was_and_differences_survive_it() {
        for (seed, step) in [(1, 0.47), (2, 0.14), (3, -0.3)] {
            let cells = rounds(8, 6, seed, |at| if at < 20.0 { 0.0 } else { step });
            let fit = Fit::of(&cells).unwrap();
            assert!(fit.moved());
            let mut weights = vec![0.0; cells.len()];
            (weights[5], weights[40]) = (-1.0, 1.0);
            let change = fit.contrast(&weights);
            assert!((change.value - step).abs() < 4.0 * change.variance.sqrt() + 0.01, "{step}: {change:?}");
        }
    }

    #[test]
    fn an_item_measured_in_the_other_state_is_compared_with_the_uncertainty_of_the_board() {
        let mut cells = rounds(6, 6, 9, |at| 0.4 * at / 36.0);
        // Item 6 at the start alone.
        cells.insert(0, Cell { item: 6, at_s: -1.0, level: 0.55, variance: 1e-6 });
        let fit = Fit::of(&cells).unwrap();
        let mut late = vec![0.0; cells.len()];
        late[cells.len() - 6..].fill(1.0 / 6.0);
        let (early, returning) = (fit.level(6, &late).unwrap(), fit.level(5, &late).unwrap());
        assert!(early.variance > 2.0 * returning.variance, "{early:?} {returning:?}");
        let expected = 0.55 + 0.4 * 34.5 / 36.0;
        assert!((early.value - expected).abs() < 3.0 * early.variance.sqrt(), "{early:?} {expected}");
    }

    #[test]
    fn intervals_cover_the_planted_levels() {
        let mut covered = 0;
        for seed in 0..200 {
            let slow = |at: f64| if at > 17.0 { 0.3 } else { 0.0 };
            let cells = rounds(7, 5, seed, slow);
            let fit = Fit::of(&cells).unwrap();
            let mut late = vec![0.0; cells.len()];
            late[cells.len() - 7..].fill(1.0 / 7.0);
            let level = fit.level(2, &late).unwrap();
            covered += usize::from((level.value - 0.5).abs() < 1.96 * level.variance.sqrt());
        }
        assert!(covered >= 180, "{covered}");
    }

    #[test]
    fn one_wild_cell_moves_nothing() {
        let mut cells = rounds(8, 6, 4, |_| 0.0);
        cells[20].level += 2.0;
        let fit = Fit::of(&cells).unwrap();
        let everywhere = vec![1.0 / cells.len() as f64; cells.len()];
        let level = fit.level(4, &everywhere).unwrap();
        assert!((level.value - 0.4).abs() < 0.06, "{level:?}");
    }
}
