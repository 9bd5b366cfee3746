//! The merged distribution of several boards, with each board's weight left open for resampling.
//!
//! A histogram becomes *atoms*: one per bucket, at the bucket's geometric middle, and one per value of the
//! exact tail. Buckets are 2 % wide, which is as much as the smallest difference that counts; therefore a
//! sample's atoms are shifted, by less than a bucket, so that its own median and P99 are those that were
//! measured, and quantiles are interpolated between atoms. Of a board that changed during its sweep they become those in
//! the state in which its points are compared, which may be further away.

use super::sample::Sample;
use crate::stats::histogram::Histogram;
use crate::stats::quantile::Quantile;
use std::collections::BTreeMap;

/// Part of a distribution at one value.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Atom {
    log: f64,
    mass: f64,
    /// The mass of one of the values that it stands for.
    unit: f64,
    cluster: u32,
}

/// The merged distribution of clusters: boards, or runs of one board.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pool {
    /// Ascending in value.
    atoms: Vec<Atom>,
    clusters: usize,
}

impl Pool {
    /// The latencies of `samples`; `cluster` says to which cluster, counted from 0, each belongs. Within a
    /// cluster each sample, and overall each cluster, has the same weight.
    #[must_use]
    pub fn of_latencies<'a>(samples: impl IntoIterator<Item = (u32, &'a Sample)>) -> Self {
        let samples: Vec<(u32, &Sample)> = samples.into_iter().collect();
        let shares = shares(samples.iter().map(|&(cluster, _)| cluster));
        let mut atoms = Vec::new();
        for (cluster, sample) in samples {
            let share = shares.get(&cluster).copied().unwrap_or(0.0);
            let own = atoms_of(sample).into_iter();
            atoms.extend(own.map(|atom| Atom {
                mass: atom.mass * share,
                unit: atom.unit * share,
                cluster,
                ..atom
            }));
        }
        Self::sorted(atoms)
    }

    /// One positive figure per sample instead of a distribution.
    #[must_use]
    pub fn of_figures(figures: impl IntoIterator<Item = (u32, f64)>) -> Self {
        let usable = |&(_, value): &(u32, f64)| value > 0.0 && value.is_finite();
        let figures: Vec<(u32, f64)> = figures.into_iter().filter(usable).collect();
        let shares = shares(figures.iter().map(|&(cluster, _)| cluster));
        let atom = |(cluster, value): (u32, f64)| {
            let mass = shares.get(&cluster).copied().unwrap_or(0.0);
            Atom { log: value.ln(), mass, unit: mass, cluster }
        };
        Self::sorted(figures.into_iter().map(atom).collect())
    }

    fn sorted(mut atoms: Vec<Atom>) -> Self {
        atoms.sort_by(|a, b| a.log.total_cmp(&b.log));
        let clusters = atoms.iter().map(|atom| atom.cluster as usize + 1).max().unwrap_or(0);
        Self { atoms, clusters }
    }

    /// The highest cluster number plus one.
    #[must_use]
    pub fn clusters(&self) -> usize {
        self.clusters
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.atoms.is_empty()
    }

    /// The quantile of the merged distribution, every cluster alike.
    #[must_use]
    pub fn quantile(&self, quantile: Quantile) -> Option<f64> {
        self.weighted(quantile.fraction(), &vec![1.0; self.clusters]).map(f64::exp)
    }

    /// The logarithm of the value at `fraction`, each cluster counted `weights` times. Of one run it is the
    /// reference quantile: the i-th of n values stands at i / (n + 1).
    pub(super) fn weighted(&self, fraction: f64, weights: &[f64]) -> Option<f64> {
        let weight = |atom: &Atom| weights.get(atom.cluster as usize).copied().unwrap_or(0.0);
        let (mut total, mut units) = (0.0, 0.0);
        for atom in &self.atoms {
            let mass = atom.mass * weight(atom);
            total += mass;
            units += mass * atom.unit * weight(atom);
        }
        if total <= 0.0 {
            return None;
        }
        // n + 1 values' worth, in units of mass; the last term is the mean mass of a value.
        let target = fraction * (total + units / total);
        let mut below = 0.0;
        let mut last: Option<(f64, f64)> = None;
        for atom in &self.atoms {
            let factor = weight(atom);
            if factor <= 0.0 {
                continue;
            }
            let at = below + (atom.mass + atom.unit) * factor / 2.0;
            if at >= target {
                return Some(match last {
                    Some((log, before)) if at > before => {
                        log + (atom.log - log) * (target - before) / (at - before)
                    }
                    _ => atom.log,
                });
            }
            last = Some((atom.log, at));
            below += atom.mass * factor;
        }
        last.map(|(log, _)| log)
    }

    /// Densities per unit of log latency over `edges_ns`, ascending: share of the merged distribution between
    /// neighbouring edges over their log distance. For drawing.
    #[must_use]
    pub fn densities(&self, edges_ns: &[f64]) -> Vec<f64> {
        let total: f64 = self.atoms.iter().map(|atom| atom.mass).sum();
        let mut masses = vec![0.0; edges_ns.len().saturating_sub(1)];
        for atom in &self.atoms {
            let at = edges_ns.partition_point(|edge| *edge <= atom.log.exp());
            if let Some(mass) = at.checked_sub(1).and_then(|bin| masses.get_mut(bin)) {
                *mass += atom.mass;
            }
        }
        masses
            .iter()
            .zip(edges_ns.windows(2))
            .map(|(mass, edges)| mass / total.max(f64::MIN_POSITIVE) / (edges[1] / edges[0]).ln())
            .collect()
    }
}

/// The weight of one sample of each cluster.
fn shares(clusters: impl Iterator<Item = u32>) -> BTreeMap<u32, f64> {
    let mut counts: BTreeMap<u32, f64> = BTreeMap::new();
    for cluster in clusters {
        *counts.entry(cluster).or_default() += 1.0;
    }
    counts.into_iter().map(|(cluster, count)| (cluster, 1.0 / count)).collect()
}

/// The atoms of one sample, with masses that add up to 1.
fn atoms_of(sample: &Sample) -> Vec<Atom> {
    let mut pool = Pool { atoms: plain_atoms(&sample.histogram), clusters: 1 };
    if pool.is_empty() {
        return vec![Atom { log: sample.p50_ns.ln(), mass: 1.0, unit: 1.0, cluster: 0 }];
    }
    // A bucket is within 1 %, and interpolation across an empty stretch of the tail within a few.
    let moved = sample.figures.moved();
    let farthest = if moved { f64::INFINITY } else { 0.05 };
    let shift = |found: Option<f64>, measured: f64| {
        found.map_or(0.0, |found| (measured.ln() - found).clamp(-farthest, farthest))
    };
    let median = pool.weighted(0.5, &[1.0]);
    let low = shift(median, sample.p50_ns);
    // The exact values of a tail are those as measured.
    let exact = sample.histogram.has_tail() && !moved;
    let top = pool.weighted(0.99, &[1.0]).filter(|_| !exact);
    let high = sample.p99_ns.filter(|_| top.is_some()).map_or(low, |p99| shift(top, p99));
    let span = top.zip(median).map_or(0.0, |(top, median)| top - median);
    let smallest_of_tail = sample.histogram.largest().last().filter(|_| exact);
    let exact_from = smallest_of_tail.map_or(f64::INFINITY, |&ns| (ns.max(1) as f64).ln());
    for atom in &mut pool.atoms {
        if atom.log < exact_from {
            let way = median.filter(|_| span > 0.0).map_or(0.0, |median| (atom.log - median) / span);
            atom.log = (atom.log + low + (high - low) * way.clamp(0.0, 1.0)).min(exact_from);
        }
    }
    pool.atoms
}

/// The tail value by value, the rest bucket by bucket, ascending.
fn plain_atoms(histogram: &Histogram) -> Vec<Atom> {
    let tail = histogram.largest();
    let unit = 1.0 / histogram.total().max(1) as f64;
    let mut atoms = Vec::new();
    for bucket in histogram.buckets() {
        let exact = tail.iter().filter(|&&ns| ns >= bucket.lower_ns && ns <= bucket.upper_ns).count() as u64;
        let rest = bucket.count.saturating_sub(exact);
        if rest > 0 {
            let middle = ((bucket.lower_ns.max(1) as f64) * (bucket.upper_ns.max(1) as f64)).sqrt();
            atoms.push(Atom { log: middle.ln(), mass: rest as f64 * unit, unit, cluster: 0 });
        }
    }
    atoms.extend(tail.iter().rev().map(|&ns| Atom {
        log: (ns.max(1) as f64).ln(),
        mass: unit,
        unit,
        cluster: 0,
    }));
    atoms.sort_by(|a, b| a.log.total_cmp(&b.log));
    atoms
}
