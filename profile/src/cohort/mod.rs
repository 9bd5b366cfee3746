//! Many boards held against each other: distributions of a cohort, regressions, boards that stand out.
//!
//! Terms: a [`Sample`] is one point of one run of one board. A *cohort* is the samples of
//! one [`Identity`](crate::identity::Identity). A *lineage* is an identity with some of its parts left open, so that cohorts that differ in them can be compared.
//!
//! Distributions are merged, percentiles are never averaged: nine healthy boards and one that throttles have
//! a P99 that no mean of their P99s comes near. Every board has the same weight, however many iterations it
//! ran, because adaptive runs take more of them where the board is noisy. Runs that throttled stand apart:
//! they are counted and compared as a share, and stay out of the distributions.
//!
//! Deliberately not here: reading a store, choosing what to compare, showing the result.

mod contrast;
mod outlier;
mod pool;
mod sample;
#[cfg(test)]
mod tests;
mod throttling;
mod trend;

pub use contrast::{
    Basis, CohortContrast, CohortMetric, CohortRule, GroupContrast, Side, ThrottlingContrast, contrast,
};
pub use outlier::{LikelyCause, Outlier, OutlierRule, Suspect, outliers};
pub use pool::Pool;
pub use sample::{Entry, Sample, Signs, entries};
pub use throttling::more_often;
pub use trend::{Change, Level, Trend, TrendPoint, TrendRule, trend};
