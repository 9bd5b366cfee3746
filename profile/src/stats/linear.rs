//! Symmetric positive definite systems, as the fit of drift needs them.

/// A symmetric positive definite tridiagonal matrix, factored as L D L'.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tridiagonal {
    diagonal: Vec<f64>,
    lower: Vec<f64>,
}

impl Tridiagonal {
    pub(super) fn factor(mut diagonal: Vec<f64>, beside: &[f64]) -> Self {
        let mut lower = vec![0.0; beside.len()];
        for index in 0..beside.len() {
            lower[index] = beside[index] / diagonal[index];
            diagonal[index + 1] -= lower[index] * beside[index];
        }
        Self { diagonal, lower }
    }

    pub(super) fn log_determinant(&self) -> f64 {
        self.diagonal.iter().map(|d| d.ln()).sum()
    }

    pub(super) fn solve(&self, right: &[f64]) -> Vec<f64> {
        let mut x = right.to_vec();
        for index in 0..self.lower.len() {
            x[index + 1] -= self.lower[index] * x[index];
        }
        for (value, diagonal) in x.iter_mut().zip(&self.diagonal) {
            *value /= diagonal;
        }
        for index in (0..self.lower.len()).rev() {
            x[index] -= self.lower[index] * x[index + 1];
        }
        x
    }
}

/// A symmetric positive definite matrix of `n` rows as L L'.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cholesky {
    n: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    pub(super) fn of(matrix: &[f64], n: usize) -> Option<Self> {
        let mut lower = vec![0.0; n * n];
        for row in 0..n {
            for column in 0..=row {
                let (own, other) =
                    (&lower[row * n..row * n + column], &lower[column * n..column * n + column]);
                let products = own.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
                let rest = matrix[row * n + column] - products;
                if row != column {
                    lower[row * n + column] = rest / lower[column * n + column];
                } else if rest > 0.0 {
                    lower[row * n + row] = rest.sqrt();
                } else {
                    return None;
                }
            }
        }
        Some(Self { n, lower })
    }

    pub(super) fn log_determinant(&self) -> f64 {
        2.0 * (0..self.n).map(|k| self.lower[k * self.n + k].ln()).sum::<f64>()
    }

    pub(super) fn solve(&self, right: &[f64]) -> Vec<f64> {
        let (n, lower) = (self.n, &self.lower);
        let mut x = right.to_vec();
        for row in 0..n {
            let products = (0..row).map(|k| lower[row * n + k] * x[k]).sum::<f64>();
            x[row] = (x[row] - products) / lower[row * n + row];
        }
        for row in (0..n).rev() {
            let products = (row + 1..n).map(|k| lower[k * n + row] * x[k]).sum::<f64>();
            x[row] = (x[row] - products) / lower[row * n + row];
        }
        x
    }

    /// The inverse, row by row.
    pub(super) fn inverse(&self) -> Vec<f64> {
        let unit = |at: usize| (0..self.n).map(|k| f64::from(u8::from(k == at))).collect::<Vec<f64>>();
        (0..self.n).flat_map(|row| self.solve(&unit(row))).collect()
    }
}
