//! One variant's points laid out over two axes of their shape, [`DOWN`] and [`ACROSS`]. What varies beside them makes
//! further grids.
//!
//! Terms: a *cell* is what a figure's table shows at one grid point: the figure, or why there is none.
//! A *mark* qualifies a figure that is there.

use crate::words;
use clipmark_profile::axis::Axis;
use clipmark_profile::point::Shape;
use clipmark_profile::summary::{PointSummary, Profile, Status};
use std::collections::BTreeSet;

/// The axis down which a table's rows go.
pub(crate) const DOWN: Axis = Axis::BatchSize;

/// The axis across which tables and pictures go: a model's context.
pub(crate) const ACROSS: Axis = Axis::ClipLength;

/// What qualifies a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// Measured in part, then dropped because other points beat it on every objective.
    Dominated,
    /// Measured in part when the run ended.
    Interrupted,
    /// P99 lies beyond the largest of fewer than 99 observations.
    Extrapolated,
}

impl Mark {
    /// The sign beside the figure.
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Dominated => "-",
            Self::Interrupted => "~",
            Self::Extrapolated => "?",
        }
    }

    /// What the sign means.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Dominated => "measured in part, then dropped: other points beat it on every objective",
            Self::Interrupted => "measured in part when the run ended",
            Self::Extrapolated => "extrapolated beyond fewer than 99 iterations",
        }
    }
}

/// What a table shows at one grid point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// A figure and what qualifies it.
    Figure { value: f64, marks: Vec<Mark> },
    /// The point failed; the word says how.
    Failed(&'static str),
    /// The point was never started.
    NotRun,
    /// The point is not part of the plan, or has no such figure.
    Absent,
}

/// A figure that is shown over the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// P99 latency, ns.
    P99,
    /// Frames a second.
    Throughput,
}

impl Figure {
    /// The figure of `point` in the state in which points are compared, where it has one.
    pub(crate) fn of(self, point: &PointSummary) -> Option<f64> {
        match self {
            Self::P99 => point.comparable_p99().map(|(p99, _)| p99),
            Self::Throughput => point.comparable_frames_per_s(),
        }
    }
}

/// A grid of one variant.
pub(crate) struct Grid<'a> {
    /// Sizes along [`DOWN`], ascending.
    pub(crate) down: Vec<u32>,
    /// Sizes along [`ACROSS`], ascending.
    pub(crate) across: Vec<u32>,
    /// What else its points have in common, where they have anything.
    pub(crate) beside: Option<String>,
    points: Vec<&'a PointSummary>,
}

impl<'a> Grid<'a> {
    /// The grids of the variant at `index`: one, unless its points differ beyond the two axes.
    pub(crate) fn of(profile: &'a Profile, index: u16) -> Vec<Self> {
        let mut points: Vec<&PointSummary> =
            profile.points.iter().filter(|p| p.id.variant == index).collect();
        let beside = |point: &PointSummary| words::held(point.id.shape, &[DOWN, ACROSS]);
        points.sort_by_key(|point| beside(point));
        points
            .chunk_by(|a, b| beside(a) == beside(b))
            .map(|points| Self::over(points, beside(points[0])))
            .collect()
    }

    fn over(points: &[&'a PointSummary], beside: Option<String>) -> Self {
        let sizes = |axis| {
            let sizes: BTreeSet<u32> = points.iter().filter_map(|point| point.id.shape.get(axis)).collect();
            sizes.into_iter().collect()
        };
        Self { down: sizes(DOWN), across: sizes(ACROSS), beside, points: points.to_vec() }
    }

    /// What `figure`'s table shows at these coordinates.
    pub(crate) fn cell(&self, figure: Figure, down: u32, across: u32) -> Cell {
        let is_there = |shape: Shape| shape.get(DOWN) == Some(down) && shape.get(ACROSS) == Some(across);
        let point = self.points.iter().find(|point| is_there(point.id.shape));
        point.map_or(Cell::Absent, |point| cell(figure, point))
    }

    /// Every value that `figure` takes.
    pub(crate) fn values(&self, figure: Figure) -> impl Iterator<Item = f64> {
        self.points.iter().filter_map(move |p| figure.of(p))
    }
}

/// What a table of `figure` shows for `point`.
pub(crate) fn cell(figure: Figure, point: &PointSummary) -> Cell {
    if let Some(failure) = &point.failure {
        return Cell::Failed(words::cause_in_cell(failure.cause));
    }
    if point.status == Status::NotRun {
        return Cell::NotRun;
    }
    let Some(value) = figure.of(point) else { return Cell::Absent };
    let mut marks = Vec::new();
    match point.status {
        Status::Dominated => marks.push(Mark::Dominated),
        Status::Interrupted => marks.push(Mark::Interrupted),
        Status::Measured | Status::NotRun | Status::Failed | Status::Unknown => {}
    }
    if figure == Figure::P99 && point.latency.as_ref().is_some_and(|l| l.p99_extrapolated) {
        marks.push(Mark::Extrapolated);
    }
    Cell::Figure { value, marks }
}

/// Where `value` lies between `low` and `high` on a logarithmic scale, 0 to 1; a half when they coincide.
pub(crate) fn log_position(value: f64, low: f64, high: f64) -> f64 {
    if value <= 0.0 || low <= 0.0 || high <= low {
        return 0.5;
    }
    ((value / low).ln() / (high / low).ln()).clamp(0.0, 1.0)
}

/// The smallest and largest of `values`.
pub(crate) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::example;

    #[test]
    fn a_cell_says_why_there_is_no_figure() {
        let profile = example::profile();
        let grid = &Grid::of(&profile, 0)[0];
        assert_eq!(grid.cell(Figure::P99, 2, 128), Cell::Failed("memory"));
        assert_eq!(grid.cell(Figure::P99, 4, 128), Cell::NotRun);
        assert_eq!(grid.cell(Figure::P99, 3, 128), Cell::Absent);
    }

    #[test]
    fn a_dropped_point_of_few_iterations_carries_both_marks_on_its_p99_only() {
        let profile = example::profile();
        let grid = &Grid::of(&profile, 0)[0];
        let marks = |figure| match grid.cell(figure, 4, 8) {
            Cell::Figure { marks, .. } => marks,
            other => panic!("{other:?}"),
        };
        assert_eq!(marks(Figure::P99), [Mark::Dominated, Mark::Extrapolated]);
        assert_eq!(marks(Figure::Throughput), [Mark::Dominated]);
    }

    #[test]
    fn what_varies_beside_the_two_axes_makes_grids_of_its_own() {
        let mut profile = example::profile_of_27_points();
        let points = profile.points.len();
        for streams in [2, 10] {
            let offered = profile.points[..points].iter().cloned().map(|mut point| {
                point.id.shape = point.id.shape.with(Axis::Streams, streams).unwrap();
                point
            });
            let offered: Vec<PointSummary> = offered.collect();
            profile.points.extend(offered);
        }
        let grids = Grid::of(&profile, 0);
        let beside: Vec<Option<&str>> = grids.iter().map(|grid| grid.beside.as_deref()).collect();
        assert_eq!(beside, [None, Some("streams 10"), Some("streams 2")]);
        assert!(grids.iter().all(|grid| grid.points.len() == points));
    }

    #[test]
    fn the_heat_scale_is_logarithmic_and_survives_degenerate_ranges() {
        assert!((log_position(10.0, 1.0, 100.0) - 0.5).abs() < 1e-12);
        assert_eq!(log_position(5.0, 5.0, 5.0), 0.5);
        assert_eq!(log_position(0.0, 0.0, 5.0), 0.5);
        assert_eq!(extent([3.0, 1.0, 2.0]), Some((1.0, 3.0)));
        assert_eq!(extent([]), None);
    }
}
