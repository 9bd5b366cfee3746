//! Two sets of samples compared, cohort by cohort.
//!
//! The figure is a ratio of quantiles of merged distributions. Its noise comes from the boards themselves:
//! boards are resampled with their runs (a cluster bootstrap), and where at least three boards are on both
//! sides only those are compared, each with itself, which takes the differences between boards out. One board
//! with several runs is resampled by run. Below four clusters a bootstrap says nothing, and the spread within
//! the runs stands in for it, which does not see what changes from run to run; the result says so.

use super::pool::Pool;
use super::sample::{Entry, Sample};
use super::throttling::more_often;
use crate::compare::Verdict;
use crate::figures::Figure;
use crate::identity::{Factor, Identity};
use crate::stats::interval::student_t;
use crate::stats::quantile::Quantile;
use crate::stats::rng::Rng;
use crate::summary::Interval;
use std::collections::{BTreeMap, BTreeSet};

/// Fewest clusters whose resampling says anything.
const MIN_CLUSTERS: usize = 4;

/// Fewest common boards that are compared each with itself.
const MIN_PAIRS: usize = 3;

/// Most boards of one side that are resampled; of more, this many are drawn.
const MAX_CLUSTERS: usize = 2000;

/// A share of throttled boards that is this improbable by chance counts.
const THROTTLING_ALPHA: f64 = 0.01;

/// How cohorts are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct CohortRule {
    /// Parts of the key that are meant to differ.
    pub varied: Vec<Factor>,
    /// Multiple of the 95 % half width that a difference must exceed, as in [`crate::compare::CompareRule`].
    pub noise_factor: f64,
    /// Resamples.
    pub replicates: usize,
    /// Seed of the resampling.
    pub seed: u64,
}

impl Default for CohortRule {
    fn default() -> Self {
        Self { varied: Vec::new(), noise_factor: 1.5, replicates: 400, seed: 0 }
    }
}

/// Where the noise of a ratio was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// So many boards, each compared with itself.
    PairedBoards(usize),
    /// Boards of either side, so many.
    Boards(usize, usize),
    /// Runs of one board on either side.
    Runs(usize, usize),
    /// Iterations within the runs: what changes from run to run is not seen.
    Iterations,
}

/// One figure compared over cohorts.
#[derive(Debug, Clone, PartialEq)]
pub struct CohortMetric {
    /// Which figure.
    pub metric: Figure,
    /// The baseline's: ns, frames a second, uJ or bytes.
    pub baseline: f64,
    /// The candidate's.
    pub candidate: f64,
    /// Candidate / baseline.
    pub ratio: f64,
    /// 95 % interval of the ratio.
    pub interval: Interval,
    /// Relative difference that would count; absent when the noise is not known.
    pub threshold: Option<f64>,
    /// The finding.
    pub verdict: Verdict,
    /// Where the noise was taken from.
    pub basis: Basis,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Side {
    /// Boards with samples, throttled ones included.
    pub boards: usize,
    /// Runs.
    pub runs: usize,
    /// Boards that were soaked in one of these runs: only there is known whether they throttle.
    pub soaked_boards: usize,
    /// Boards that throttled in one of these runs.
    pub throttled_boards: usize,
    /// Runs during which the board changed: their figures are in its state at the end of their sweep.
    pub moved_runs: usize,
    /// The merged distribution of what did not throttle.
    pub pool: Pool,
}

/// Whether more boards throttle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThrottlingContrast {
    /// How probable a share this much higher (or lower) is by chance.
    pub probability: f64,
    /// The finding.
    pub verdict: Verdict,
}

/// One cohort compared.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupContrast {
    /// What both sides have in common; parts that are meant to differ are blank.
    pub lineage: Identity,
    /// The baseline.
    pub baseline: Side,
    /// The candidate.
    pub candidate: Side,
    /// Boards on both sides.
    pub common_boards: usize,
    /// Figure by figure.
    pub metrics: Vec<CohortMetric>,
    /// Whether throttling became more or less frequent.
    pub throttling: ThrottlingContrast,
    /// Worse when anything is worse, else better when anything is better.
    pub verdict: Verdict,
    /// Why it is not comparable.
    pub reason: Option<String>,
}

/// Two sets of samples compared.
#[derive(Debug, Clone, PartialEq)]
pub struct CohortContrast {
    /// Worse when any cohort is worse, else better when any is better, else the same.
    pub verdict: Verdict,
    /// Cohorts that both sides have, in the order of their keys.
    pub groups: Vec<GroupContrast>,
    /// Lineages that only the baseline has.
    pub only_baseline: Vec<Identity>,
    /// Lineages that only the candidate has.
    pub only_candidate: Vec<Identity>,
}

/// Compares two sets of samples.
#[must_use]
pub fn contrast(baseline: &[Entry], candidate: &[Entry], rule: &CohortRule) -> CohortContrast {
    let (own, other) = (by_lineage(baseline, rule), by_lineage(candidate, rule));
    let mut groups = Vec::new();
    for (lineage, samples) in &own {
        if let Some(counterparts) = other.get(lineage) {
            groups.push(group(lineage, samples, counterparts, rule));
        }
    }
    let missing = |own: &BTreeMap<Identity, Vec<&Sample>>, other: &BTreeMap<Identity, Vec<&Sample>>| {
        own.keys().filter(|key| !other.contains_key(key)).cloned().collect::<Vec<_>>()
    };
    CohortContrast {
        verdict: worst(groups.iter().map(|group| group.verdict)),
        only_baseline: missing(&own, &other),
        only_candidate: missing(&other, &own),
        groups,
    }
}

fn by_lineage<'a>(entries: &'a [Entry], rule: &CohortRule) -> BTreeMap<Identity, Vec<&'a Sample>> {
    let mut lineages: BTreeMap<Identity, Vec<&Sample>> = BTreeMap::new();
    for entry in entries {
        lineages.entry(entry.key.without(&rule.varied)).or_default().push(&entry.sample);
    }
    lineages
}

/// Worse before better before the same; not comparable only when nothing is.
fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let rank = |verdict: &Verdict| match verdict {
        Verdict::NotComparable => 0,
        Verdict::Same => 1,
        Verdict::Better => 2,
        Verdict::Worse => 3,
    };
    verdicts.max_by_key(rank).unwrap_or(Verdict::NotComparable)
}

fn devices(samples: &[&Sample]) -> BTreeSet<String> {
    samples.iter().map(|sample| sample.device.clone()).collect()
}

fn side(samples: &[&Sample]) -> Side {
    let those = |wanted: &dyn Fn(&Sample) -> bool| {
        devices(&samples.iter().copied().filter(|sample| wanted(sample)).collect::<Vec<_>>()).len()
    };
    let boards = devices(samples);
    let steady = samples.iter().copied().filter(|sample| sample.throttled.is_none());
    let number =
        |sample: &Sample| boards.iter().position(|board| *board == sample.device).unwrap_or(0) as u32;
    let runs = |wanted: fn(&Sample) -> bool| {
        let those = samples.iter().filter(|sample| wanted(sample));
        those.map(|sample| (&sample.device, &sample.run)).collect::<BTreeSet<_>>().len()
    };
    Side {
        boards: boards.len(),
        runs: runs(|_| true),
        moved_runs: runs(|sample| sample.figures.moved()),
        soaked_boards: those(&|sample| sample.saw_throttling().is_some()),
        throttled_boards: those(&|sample| sample.saw_throttling() == Some(true)),
        pool: Pool::of_latencies(steady.map(|sample| (number(sample), sample))),
    }
}

fn group(lineage: &Identity, own: &[&Sample], other: &[&Sample], rule: &CohortRule) -> GroupContrast {
    let steady = |samples: &[&'_ Sample]| -> Vec<Sample> {
        samples.iter().filter(|sample| sample.throttled.is_none()).map(|&sample| sample.clone()).collect()
    };
    let (baseline, candidate) = (side(own), side(other));
    let common: BTreeSet<String> = devices(own).intersection(&devices(other)).cloned().collect();
    let common_boards = common.len();
    let (mine, theirs) = (steady(own), steady(other));
    let reason = match (mine.is_empty(), theirs.is_empty()) {
        (true, _) => {
            Some("every board of the baseline throttled; let them cool and measure again".to_owned())
        }
        (_, true) => Some("every board of the candidate throttled; its figures stand apart".to_owned()),
        _ => None,
    };
    let metrics = match reason {
        None => compared(&mine, &theirs, rule),
        Some(_) => Vec::new(),
    };
    let throttling = throttling(&baseline, &candidate);
    let verdicts = metrics.iter().map(|metric| metric.verdict).chain([throttling.verdict]);
    let verdict = worst(verdicts);
    GroupContrast {
        lineage: lineage.clone(),
        baseline,
        candidate,
        common_boards,
        metrics,
        throttling,
        verdict,
        reason,
    }
}

fn throttling(baseline: &Side, candidate: &Side) -> ThrottlingContrast {
    let counts = |side: &Side| (side.throttled_boards as u64, side.soaked_boards as u64);
    let (own, other) = (counts(baseline), counts(candidate));
    let (rise, fall) = (more_often(own, other), more_often(other, own));
    let is_known = own.1 > 0 && other.1 > 0 && own.0 + other.0 > 0;
    let verdict = match (is_known, rise, fall) {
        (false, ..) => Verdict::NotComparable,
        (_, rise, _) if rise < THROTTLING_ALPHA => Verdict::Worse,
        (_, _, fall) if fall < THROTTLING_ALPHA => Verdict::Better,
        _ => Verdict::Same,
    };
    ThrottlingContrast { probability: rise.min(fall), verdict }
}

/// How the clusters of two sides are numbered and resampled.
struct Clusters<'a> {
    baseline: Vec<(u32, &'a Sample)>,
    candidate: Vec<(u32, &'a Sample)>,
    counts: [usize; 2],
    basis: Basis,
}

fn numbered<'a>(samples: &[&'a Sample], name: impl Fn(&Sample) -> String) -> (Vec<(u32, &'a Sample)>, usize) {
    let names: BTreeSet<String> = samples.iter().map(|sample| name(sample)).collect();
    let numbers: BTreeMap<String, u32> =
        names.into_iter().enumerate().map(|(number, name)| (name, number as u32)).collect();
    let count = numbers.len();
    (samples.iter().map(|&sample| (numbers[&name(sample)], sample)).collect(), count)
}

impl<'a> Clusters<'a> {
    fn of(own: &'a [Sample], other: &'a [Sample], seed: u64) -> Self {
        let board = |sample: &Sample| sample.device.clone();
        let run = |sample: &Sample| sample.run.clone();
        let (own, other) = (limited(own, seed), limited(other, seed));
        let (mine, theirs) = (devices(&own), devices(&other));
        let common: BTreeSet<&String> = mine.intersection(&theirs).collect();
        let only = |samples: &[&'a Sample]| -> Vec<&'a Sample> {
            samples.iter().copied().filter(|sample| common.contains(&sample.device)).collect()
        };
        let paired = common.len() >= MIN_PAIRS || mine == theirs && mine.len() > 1;
        let (own, other) = if paired { (only(&own), only(&other)) } else { (own, other) };
        let single = mine.len() == 1 && theirs.len() == 1;
        let (baseline, first) = if single { numbered(&own, run) } else { numbered(&own, board) };
        let (candidate, second) = if single { numbered(&other, run) } else { numbered(&other, board) };
        let basis = match (paired, single) {
            _ if first.min(second) < MIN_CLUSTERS => Basis::Iterations,
            (true, _) => Basis::PairedBoards(first),
            (_, true) => Basis::Runs(first, second),
            _ => Basis::Boards(first, second),
        };
        Self { baseline, candidate, counts: [first, second], basis }
    }

    /// The 95 % half width of the log ratio of `fraction`'s quantiles, widened for few clusters.
    fn half_width(&self, pools: [&Pool; 2], fraction: f64, rule: &CohortRule) -> Option<f64> {
        let mut rng = Rng::new(rule.seed);
        let mut ratios: Vec<f64> = (0..rule.replicates)
            .filter_map(|_| {
                let first = drawn(&mut rng, self.counts[0]);
                let second = match self.basis {
                    Basis::PairedBoards(_) => first.clone(),
                    _ => drawn(&mut rng, self.counts[1]),
                };
                Some(pools[1].weighted(fraction, &second)? - pools[0].weighted(fraction, &first)?)
            })
            .collect();
        if ratios.len() < 40 {
            return None;
        }
        ratios.sort_by(f64::total_cmp);
        let cut = ratios.len() / 40;
        let half = (ratios[ratios.len() - 1 - cut] - ratios[cut]) / 2.0;
        // A bootstrap of n clusters has the spread of n - 1 and normal tails.
        let n = self.counts[0].min(self.counts[1]) as f64;
        Some(half * (n / (n - 1.0)).sqrt() * student_t(n - 1.0) / student_t(1e6))
    }
}

/// At most [`MAX_CLUSTERS`] boards' samples, drawn with `seed`.
fn limited(samples: &[Sample], seed: u64) -> Vec<&Sample> {
    let mut names: Vec<&String> =
        samples.iter().map(|sample| &sample.device).collect::<BTreeSet<_>>().into_iter().collect();
    if names.len() <= MAX_CLUSTERS {
        return samples.iter().collect();
    }
    Rng::new(seed).shuffle(&mut names);
    let kept: BTreeSet<&String> = names.into_iter().take(MAX_CLUSTERS).collect();
    samples.iter().filter(|sample| kept.contains(&sample.device)).collect()
}

/// How often each of `count` clusters comes in a draw of `count` with replacement.
fn drawn(rng: &mut Rng, count: usize) -> Vec<f64> {
    let mut weights = vec![0.0; count];
    for _ in 0..count {
        weights[rng.below(count)] += 1.0;
    }
    weights
}

/// Where a metric's figure is found, and at which fraction of the pool.
fn figure(metric: Figure, sample: &Sample) -> Option<f64> {
    match metric {
        Figure::P50 => Some(sample.p50_ns),
        Figure::P99 => sample.p99_ns,
        _ => sample.figures.comparable(metric),
    }
}

fn pool(metric: Figure, samples: &[(u32, &Sample)]) -> Pool {
    match metric {
        Figure::P50 | Figure::P99 => Pool::of_latencies(samples.iter().copied()),
        _ => Pool::of_figures(
            samples.iter().filter_map(|&(cluster, sample)| Some((cluster, figure(metric, sample)?))),
        ),
    }
}

fn compared(own: &[Sample], other: &[Sample], rule: &CohortRule) -> Vec<CohortMetric> {
    let clusters = Clusters::of(own, other, rule.seed);
    Figure::compared().filter_map(|metric| metric_contrast(metric, &clusters, rule)).collect()
}

fn metric_contrast(metric: Figure, clusters: &Clusters, rule: &CohortRule) -> Option<CohortMetric> {
    let every =
        |samples: &[(u32, &Sample)]| samples.iter().all(|(_, sample)| figure(metric, sample).is_some());
    // P99 of runs too short to have one would be that of the longer runs alone.
    if metric == Figure::P99 && !(every(&clusters.baseline) && every(&clusters.candidate)) {
        return None;
    }
    let pools = [pool(metric, &clusters.baseline), pool(metric, &clusters.candidate)];
    let quantile = if metric == Figure::P99 { Quantile::P99 } else { Quantile::P50 };
    let (baseline, candidate) = (pools[0].quantile(quantile)?, pools[1].quantile(quantile)?);
    let half = match clusters.basis {
        Basis::Iterations => within_runs(metric, clusters),
        _ => clusters.half_width([&pools[0], &pools[1]], quantile.fraction(), rule),
    };
    let ratio = candidate / baseline;
    let threshold = half.map(|half| (rule.noise_factor * half).exp_m1().max(metric.floor()));
    let change = if metric.more_is_better() { 1.0 / ratio - 1.0 } else { ratio - 1.0 };
    let verdict = match threshold {
        None => Verdict::NotComparable,
        Some(threshold) if change > threshold => Verdict::Worse,
        Some(threshold) if change < -threshold => Verdict::Better,
        Some(_) => Verdict::Same,
    };
    let end = |sign: f64| half.map(|half| ratio * (sign * half).exp());
    let interval = Interval { lower: end(-1.0), upper: end(1.0) };
    Some(CohortMetric {
        metric,
        baseline,
        candidate,
        ratio,
        interval,
        threshold,
        verdict,
        basis: clusters.basis,
    })
}

/// The relative half width that the widest run of either side leaves.
fn within_runs(metric: Figure, clusters: &Clusters) -> Option<f64> {
    let one = |sample: &Sample| {
        let (value, ends) = match metric {
            Figure::P99 => (sample.p99_ns?, sample.p99_ci_ns),
            Figure::PeakMemory => return Some(0.0),
            _ => (sample.p50_ns, sample.p50_ci_ns),
        };
        Some((ends.upper? - ends.lower?) / 2.0 / value)
    };
    let widest = |samples: &[(u32, &Sample)]| -> Option<f64> {
        let halves: Option<Vec<f64>> = samples.iter().map(|(_, sample)| one(sample)).collect();
        halves?.into_iter().reduce(f64::max)
    };
    Some(widest(&clusters.baseline)?.hypot(widest(&clusters.candidate)?))
}
