//! Seeded bootstrap intervals for figures without a formula, such as ratios and differences of medians.
//!
//! Circular block bootstrap (Politis, Romano: A circular block-resampling procedure for stationary data,
//! 1992) with percentile ends: blocks of consecutive values are drawn with replacement, so that correlation
//! within a block survives. A block of 1 is Efron's bootstrap. The same seed gives the same interval.

use crate::stats::autocorrelation;
use crate::stats::rng::Rng;
use crate::summary::Interval;

/// How to resample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resampling {
    /// Consecutive values drawn together, at least 1; see [`block_length`].
    pub block: usize,
    /// Resamples, at least 40 for 95 %; 1000 is usual.
    pub replicates: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// A block length that holds most of a series' correlation: three autocorrelation times, at most a quarter
/// of the series.
#[must_use]
pub fn block_length(series: &[f64]) -> usize {
    let wanted = (3.0 * (autocorrelation::time(series) - 1.0)).ceil() as usize + 1;
    wanted.clamp(1, (series.len() / 4).max(1))
}

/// The 95 % percentile interval of `statistic`, which may reorder the slice it is given. Without ends for
/// series below two values or fewer than 40 replicates.
pub fn interval(
    series: &[f64],
    resampling: Resampling,
    mut statistic: impl FnMut(&mut [f64]) -> f64,
) -> Interval {
    let Resampling { block, replicates, seed } = resampling;
    if series.len() < 2 || replicates < 40 {
        return Interval::default();
    }
    let mut rng = Rng::new(seed);
    let mut scratch = vec![0.0; series.len()];
    let mut figures: Vec<f64> = (0..replicates)
        .map(|_| {
            resample(series, block.clamp(1, series.len()), &mut rng, &mut scratch);
            statistic(&mut scratch)
        })
        .collect();
    percentile_interval(&mut figures)
}

/// As [`interval`], for a figure of two independent series, e.g. the ratio of their medians.
pub fn interval_of_two(
    series: [&[f64]; 2],
    resampling: [Resampling; 2],
    mut statistic: impl FnMut(&mut [f64], &mut [f64]) -> f64,
) -> Interval {
    let replicates = resampling[0].replicates.min(resampling[1].replicates);
    if series.iter().any(|series| series.len() < 2) || replicates < 40 {
        return Interval::default();
    }
    // One seed for both must not draw both alike.
    let mut rngs = [Rng::new(resampling[0].seed), Rng::new(!resampling[1].seed)];
    let mut scratch = series.map(|series| vec![0.0; series.len()]);
    let mut figures: Vec<f64> = (0..replicates)
        .map(|_| {
            for i in 0..2 {
                let block = resampling[i].block.clamp(1, series[i].len());
                resample(series[i], block, &mut rngs[i], &mut scratch[i]);
            }
            let [first, second] = &mut scratch;
            statistic(first, second)
        })
        .collect();
    percentile_interval(&mut figures)
}

fn percentile_interval(figures: &mut [f64]) -> Interval {
    figures.sort_by(f64::total_cmp);
    let cut = figures.len() / 40;
    let finite = |figure: &f64| Some(*figure).filter(|figure| figure.is_finite());
    Interval {
        lower: figures.get(cut).and_then(finite),
        upper: figures.get(figures.len() - 1 - cut).and_then(finite),
    }
}

fn resample(series: &[f64], block: usize, rng: &mut Rng, out: &mut [f64]) {
    let mut at = 0;
    for (i, slot) in out.iter_mut().enumerate() {
        at = if i % block == 0 { rng.below(series.len()) } else { (at + 1) % series.len() };
        *slot = series[at];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::robust;

    const PLAIN: Resampling = Resampling { block: 1, replicates: 400, seed: 9 };

    fn mean(values: &mut [f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn the_same_seed_gives_the_same_interval_and_another_seed_another() {
        let series: Vec<f64> = (0..50).map(|i| f64::from(i * i % 37)).collect();
        assert_eq!(interval(&series, PLAIN, mean), interval(&series, PLAIN, mean));
        let other = Resampling { seed: 10, ..PLAIN };
        assert_ne!(interval(&series, PLAIN, mean), interval(&series, other, mean));
    }

    #[test]
    fn intervals_of_a_mean_cover_it_in_about_95_of_100_runs() {
        let mut covered = 0;
        for run in 0..300 {
            let mut rng = Rng::new(run);
            let series: Vec<f64> = (0..80).map(|_| 5.0 + rng.normal()).collect();
            let found = interval(&series, Resampling { seed: run, ..PLAIN }, mean);
            covered += u32::from(found.lower.unwrap() <= 5.0 && found.upper.unwrap() >= 5.0);
        }
        assert!((270..=298).contains(&covered), "{covered} of 300");
    }

    #[test]
    fn blocks_widen_the_interval_of_a_correlated_series() {
        let mut rng = Rng::new(2);
        let mut level = 0.0;
        let series: Vec<f64> = (0..2000)
            .map(|_| {
                level = 0.9 * level + rng.normal();
                level
            })
            .collect();
        let width = |block| {
            let found = interval(&series, Resampling { block, ..PLAIN }, mean);
            found.upper.unwrap() - found.lower.unwrap()
        };
        assert!(block_length(&series) > 20);
        assert!(width(block_length(&series)) > 2.5 * width(1));
    }

    #[test]
    fn a_ratio_of_medians_is_enclosed_and_too_little_data_is_refused() {
        let slow: Vec<f64> = (0..60).map(|i| 12.0 + f64::from(i % 7) * 0.1).collect();
        let fast: Vec<f64> = (0..60).map(|i| 10.0 + f64::from(i % 5) * 0.1).collect();
        let ratio = |a: &mut [f64], b: &mut [f64]| robust::median(a).unwrap() / robust::median(b).unwrap();
        let found = interval_of_two([&slow, &fast], [PLAIN, PLAIN], ratio);
        assert!(found.lower.unwrap() <= 12.3 / 10.2 && found.upper.unwrap() >= 12.3 / 10.2);
        assert_eq!(interval(&[1.0], PLAIN, mean), Interval::default());
        assert_eq!(interval(&slow, Resampling { replicates: 39, ..PLAIN }, mean), Interval::default());
    }
}
