//! How one figure of a lineage moved over time, over all its boards.
//!
//! Each board has its own level, which is taken out; what is left is one series of log ratios. Its levels are
//! found by PELT with a penalty from the series' own long-run variance, and a change is named when it exceeds
//! the floor, with what else changed at that time (model build, firmware, version).

use crate::stats::changepoint::{self, throttle_penalty};
use crate::stats::robust::{MAD_TO_SIGMA, long_run_variance_between_steps, mad, median};
use std::collections::{BTreeMap, BTreeSet};

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct TrendPoint {
    /// Wall-clock time, milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The board.
    pub device: String,
    /// The figure, positive.
    pub value: f64,
    /// What else holds at that time: name and value.
    pub context: Vec<(&'static str, String)>,
}

/// How changes are judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrendRule {
    /// Relative change that never counts.
    pub floor: f64,
    /// Fewest measurements of a level.
    pub min_segment: usize,
}

impl Default for TrendRule {
    fn default() -> Self {
        Self { floor: 0.02, min_segment: 3 }
    }
}

/// A stretch with one level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Time of its first measurement.
    pub from_unix_ms: u64,
    /// Time of its last.
    pub to_unix_ms: u64,
    /// Measurements in it.
    pub count: usize,
    /// Relative to the first level.
    pub ratio: f64,
}

/// A change of level.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Time of the first measurement after it.
    pub at_unix_ms: u64,
    /// Level after / level before.
    pub ratio: f64,
    /// What else changed: name, usual value before, usual value after.
    pub coincides: Vec<(&'static str, String, String)>,
}

/// A figure over time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trend {
    /// The levels, in order of time.
    pub levels: Vec<Level>,
    /// Changes that count.
    pub changes: Vec<Change>,
    /// Standard deviation from run to run within a level, relative.
    pub noise: f64,
    /// What each board's figure is at the first level.
    pub own_levels: BTreeMap<String, f64>,
}

/// Levels and changes of `points`, in any order.
#[must_use]
pub fn trend(points: &[TrendPoint], rule: TrendRule) -> Trend {
    let mut points: Vec<&TrendPoint> = points.iter().filter(|point| point.value > 0.0).collect();
    points.sort_by(|a, b| (a.at_unix_ms, &a.device).cmp(&(b.at_unix_ms, &b.device)));
    if points.is_empty() {
        return Trend::default();
    }
    let mut offsets = offsets(&points, &vec![0.0; points.len()]);
    let mut starts = Vec::new();
    let mut levels = vec![0.0; points.len()];
    // Boards that joined after a change have their level taken at the wrong height at first: levels and
    // boards are fitted in turn.
    for _ in 0..4 {
        let series: Vec<f64> =
            points.iter().map(|point| point.value.ln() - offsets[point.device.as_str()]).collect();
        starts = segment_starts(&series, rule);
        levels = fitted(&series, &starts);
        let anchor = levels[0];
        levels.iter_mut().for_each(|level| *level -= anchor);
        offsets = self::offsets(&points, &levels);
    }
    let residuals: Vec<f64> = points
        .iter()
        .zip(&levels)
        .map(|(point, level)| point.value.ln() - offsets[point.device.as_str()] - level)
        .collect();
    Trend {
        levels: spans(&starts, points.len()).map(|span| level(&points, &levels, span)).collect(),
        changes: changes(&points, &levels, &starts),
        noise: mad(&residuals).unwrap_or(0.0) * MAD_TO_SIGMA,
        own_levels: offsets.iter().map(|(device, log)| ((*device).to_owned(), log.exp())).collect(),
    }
}

/// The level of each board: the median of its log figures less the levels of their times.
fn offsets<'a>(points: &[&'a TrendPoint], levels: &[f64]) -> BTreeMap<&'a str, f64> {
    let mut rests: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (point, level) in points.iter().zip(levels) {
        rests.entry(&point.device).or_default().push(point.value.ln() - level);
    }
    rests.into_iter().map(|(device, rests)| (device, median(&rests).unwrap_or(0.0))).collect()
}

/// Where segments start, 0 first; changes below the floor are taken back.
fn segment_starts(series: &[f64], rule: TrendRule) -> Vec<usize> {
    let variance = long_run_variance_between_steps(series).unwrap_or_else(|| {
        let differences: Vec<f64> = series.windows(2).map(|pair| pair[1] - pair[0]).collect();
        (mad(&differences).unwrap_or(0.0) * MAD_TO_SIGMA).powi(2) / 2.0
    });
    // Equal figures leave no variance; nothing is steadier than a twentieth of what counts.
    let variance = variance.max((rule.floor / 20.0).powi(2));
    let penalty = throttle_penalty(variance, series.len().max(8));
    let mut starts = vec![0];
    starts.extend(changepoint::mean(series, penalty, rule.min_segment));
    loop {
        let levels = fitted(series, &starts);
        let small = (1..starts.len())
            .find(|&at| (levels[starts[at]] - levels[starts[at] - 1]).abs() < rule.floor.ln_1p());
        match small {
            Some(at) => starts.remove(at),
            None => return starts,
        };
    }
}

fn spans(starts: &[usize], length: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
    let ends = starts.iter().skip(1).copied().chain([length]);
    starts.iter().copied().zip(ends)
}

/// The median of each value's segment.
fn fitted(series: &[f64], starts: &[usize]) -> Vec<f64> {
    let mut levels = Vec::with_capacity(series.len());
    for (from, to) in spans(starts, series.len()) {
        let level = median(&series[from..to]).unwrap_or(0.0);
        levels.resize(to, level);
    }
    levels
}

fn level(points: &[&TrendPoint], levels: &[f64], (from, to): (usize, usize)) -> Level {
    Level {
        from_unix_ms: points[from].at_unix_ms,
        to_unix_ms: points[to - 1].at_unix_ms,
        count: to - from,
        ratio: (levels[from] - levels[0]).exp(),
    }
}

fn changes(points: &[&TrendPoint], levels: &[f64], starts: &[usize]) -> Vec<Change> {
    let spans: Vec<(usize, usize)> = spans(starts, points.len()).collect();
    spans
        .windows(2)
        .map(|pair| Change {
            at_unix_ms: points[pair[1].0].at_unix_ms,
            ratio: (levels[pair[1].0] - levels[pair[0].0]).exp(),
            coincides: coincidences(&points[pair[0].0..pair[0].1], &points[pair[1].0..pair[1].1]),
        })
        .collect()
}

/// What usually held before and no longer usually holds after.
fn coincidences(before: &[&TrendPoint], after: &[&TrendPoint]) -> Vec<(&'static str, String, String)> {
    let names: BTreeSet<&'static str> =
        before.iter().chain(after).flat_map(|point| point.context.iter().map(|&(name, _)| name)).collect();
    let usual = |points: &[&TrendPoint], wanted: &str| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for point in points {
            for (_, value) in point.context.iter().filter(|(name, _)| *name == wanted) {
                *counts.entry(value.clone()).or_default() += 1;
            }
        }
        counts.into_iter().max_by_key(|&(_, count)| count).map(|(value, _)| value)
    };
    let differs = |name: &'static str| {
        let (was, is) = (usual(before, name)?, usual(after, name)?);
        (was != is).then_some((name, was, is))
    };
    names.into_iter().filter_map(differs).collect()
}
