//! How a cost grows with clip length: the exponent, where it changes, and the polynomial.
//!
//! Terms: the *exponent* is the slope of log cost over log clip length: 1 is linear, 2 quadratic. All
//! functions take (clip length, cost) pairs in any order; costs must be positive, others are ignored.

use crate::stats::interval::Interval;
use crate::stats::theil_sen;

/// A robust line through points on logarithmic axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exponent {
    /// The slope.
    pub exponent: f64,
    /// 95 % interval of the slope; an end that so few points cannot determine is absent.
    pub interval: Interval,
    /// Log cost at log clip length 0.
    pub intercept: f64,
}

/// Two exponents, joined at a clip length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Breakpoint {
    /// The clip length at which they meet, one of those measured.
    pub clip_length: u32,
    /// Exponents before and after.
    pub exponents: [f64; 2],
}

/// Slopes that differ by less than this are one.
const MIN_SLOPE_CHANGE: f64 = 0.1;

fn logs(points: &[(u32, f64)]) -> Vec<(f64, f64)> {
    let usable = points.iter().filter(|&&(frames, cost)| frames > 0 && cost > 0.0 && cost.is_finite());
    let mut logs: Vec<(f64, f64)> =
        usable.map(|&(frames, cost)| (f64::from(frames).ln(), cost.ln())).collect();
    logs.sort_by(|a, b| a.0.total_cmp(&b.0));
    logs
}

/// Theil-Sen slope on logarithmic axes, see [`theil_sen::line`]. `None` below two distinct clip lengths.
#[must_use]
pub fn exponent(points: &[(u32, f64)]) -> Option<Exponent> {
    let line = theil_sen::line(logs(points))?;
    Some(Exponent { exponent: line.slope, interval: line.interval, intercept: line.intercept })
}

/// Two joined lines where BIC prefers them to one (Schwarz: Estimating the dimension of a model, Annals of
/// Statistics 6(2), 1978): n ln(RSS / n) + k ln n with k = 4 (the knot counts) against 2. `noise` is the
/// standard deviation of a log cost as measured, e.g. .01 for 1 %: residuals below it are no evidence.
/// `None` below five distinct clip lengths, or when one line serves.
#[must_use]
pub fn breakpoint(points: &[(u32, f64)], noise: f64) -> Option<Breakpoint> {
    let logs = logs(points);
    let mut knots: Vec<u32> = points.iter().map(|point| point.0).filter(|&frames| frames > 0).collect();
    knots.sort_unstable();
    knots.dedup();
    let distinct = logs.chunk_by(|a, b| a.0 == b.0).count();
    if distinct < 5 || distinct != knots.len() {
        return None;
    }
    let n = logs.len() as f64;
    let bic = |residual: f64, parameters: f64| {
        n * (residual / n).max(noise * noise).max(f64::MIN_POSITIVE).ln() + parameters * n.ln()
    };
    let fit = |knot: f64| {
        let rows: Vec<Row> =
            logs.iter().map(|&(x, y)| Row { basis: [1.0, x, (x - knot).max(0.0)], y }).collect();
        least_squares(&rows)
    };
    let one = least_squares(&logs.iter().map(|&(x, y)| Row { basis: [1.0, x, 0.0], y }).collect::<Vec<_>>())?;
    let inner = &knots[1..knots.len() - 1];
    let two = inner.iter().filter_map(|&knot| Some((knot, fit(f64::from(knot).ln())?)));
    let (knot, best) = two.min_by(|a, b| a.1.residual.total_cmp(&b.1.residual))?;
    let [_, slope, change] = best.coefficients;
    let preferred = bic(best.residual, 4.0) < bic(one.residual, 2.0) && change.abs() >= MIN_SLOPE_CHANGE;
    preferred.then_some(Breakpoint { clip_length: knot, exponents: [slope, slope + change] })
}

/// a, b, c of cost = a + bF + cF^2, by least squares of the RELATIVE residuals: latencies span decades, and
/// an absolute fit would see the longest clips only. `None` below three distinct clip lengths.
#[must_use]
pub fn quadratic(points: &[(u32, f64)]) -> Option<[f64; 3]> {
    let usable: Vec<(f64, f64)> = logs(points).into_iter().map(|(x, y)| (x.exp(), y.exp())).collect();
    let distinct = usable.chunk_by(|a, b| a.0 == b.0).count();
    let longest = usable.last()?.0;
    if distinct < 3 {
        return None;
    }
    let rows: Vec<Row> = usable
        .iter()
        .map(|&(frames, cost)| {
            let x = frames / longest;
            Row { basis: [1.0, x, x * x].map(|power| power / cost), y: 1.0 }
        })
        .collect();
    let [a, b, c] = least_squares(&rows)?.coefficients;
    Some([a, b / longest, c / (longest * longest)])
}

/// One equation of a linear fit.
struct Row {
    basis: [f64; 3],
    y: f64,
}

/// A linear fit.
struct Fit {
    coefficients: [f64; 3],
    /// Sum of squared residuals.
    residual: f64,
}

/// Least squares by modified Gram-Schmidt. A column that depends on earlier ones gets coefficient 0; `None`
/// when the first does not count or a figure is not finite.
fn least_squares(rows: &[Row]) -> Option<Fit> {
    let column = |j: usize| rows.iter().map(|row| row.basis[j]).collect::<Vec<f64>>();
    let mut columns = [column(0), column(1), column(2)];
    let mut rest: Vec<f64> = rows.iter().map(|row| row.y).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut upper = [[0.0; 3]; 3];
    let mut projected = [0.0; 3];
    for j in 0..3 {
        let whole = dot(&columns[j], &columns[j]);
        for i in 0..j {
            let (done, open) = columns.split_at_mut(j);
            upper[i][j] = dot(&done[i], &open[0]);
            open[0].iter_mut().zip(&done[i]).for_each(|(x, q)| *x -= upper[i][j] * q);
        }
        let length = dot(&columns[j], &columns[j]).sqrt();
        if length <= 1e-10 * whole.sqrt() {
            columns[j].fill(0.0);
            continue;
        }
        upper[j][j] = length;
        columns[j].iter_mut().for_each(|x| *x /= length);
        projected[j] = dot(&columns[j], &rest);
        rest.iter_mut().zip(&columns[j]).for_each(|(x, q)| *x -= projected[j] * q);
    }
    let mut coefficients = [0.0; 3];
    for j in (0..3).rev().filter(|&j| upper[j][j] > 0.0) {
        let known: f64 = (j + 1..3).map(|k| upper[j][k] * coefficients[k]).sum();
        coefficients[j] = (projected[j] - known) / upper[j][j];
    }
    let fit = Fit { coefficients, residual: dot(&rest, &rest) };
    (upper[0][0] > 0.0 && fit.residual.is_finite()).then_some(fit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Rng;

    const CLIPS: [u32; 5] = [8, 16, 32, 64, 128];

    fn curve(clips: &[u32], noise: f64, seed: u64, cost: impl Fn(f64) -> f64) -> Vec<(u32, f64)> {
        let mut rng = Rng::new(seed);
        clips.iter().map(|&f| (f, cost(f64::from(f)) * (noise * rng.normal()).exp())).collect()
    }

    #[test]
    fn a_power_law_has_its_exponent() {
        let found = exponent(&curve(&CLIPS, 0.0, 0, |f| 3e6 * f.powf(1.7))).unwrap();
        assert!((found.exponent - 1.7).abs() < 1e-12);
        assert!((found.intercept - 3e6f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn one_wild_point_does_not_move_the_exponent() {
        let mut points = curve(&[4, 8, 12, 16, 24, 32, 48, 64, 96, 128], 0.01, 1, |f| f * 1e6);
        points[9].1 *= 20.0;
        assert!((exponent(&points).unwrap().exponent - 1.0).abs() < 0.1);
    }

    #[test]
    fn four_points_do_not_determine_an_interval_and_five_do() {
        let points = curve(&CLIPS, 0.02, 2, |f| f * 1e6);
        assert_eq!(exponent(&points[..4]).unwrap().interval, Interval::default());
        let interval = exponent(&points).unwrap().interval;
        assert!(interval.lower.unwrap() < interval.upper.unwrap());
        assert_eq!(exponent(&points[..1]), None);
        assert_eq!(exponent(&[(8, 1.0), (8, 2.0)]), None);
    }

    #[test]
    fn the_interval_covers_the_exponent_in_at_least_95_of_100_runs() {
        let clips: Vec<u32> = (2..12).map(|i| i * i).collect();
        let covered = (0..1000)
            .map(|seed| exponent(&curve(&clips, 0.05, seed, |f| f.powf(1.3))).unwrap().interval)
            .filter(|interval| interval.lower.unwrap() <= 1.3 && interval.upper.unwrap() >= 1.3)
            .count();
        assert!(covered >= 935, "{covered} of 1000");
    }

    #[test]
    fn repeated_clip_lengths_use_the_tie_correction() {
        let clips: Vec<u32> = CLIPS.iter().flat_map(|&f| [f; 4]).collect();
        let found = exponent(&curve(&clips, 0.02, 3, |f| f * f)).unwrap();
        assert!(found.interval.lower.unwrap() < 2.0 && found.interval.upper.unwrap() > 2.0);
        assert!((found.exponent - 2.0).abs() < 0.05);
    }

    #[test]
    fn a_bend_is_found_where_it_was_planted() {
        let bent = |f: f64| if f <= 32.0 { f } else { 32.0 * (f / 32.0).powf(1.9) };
        let found = breakpoint(&curve(&CLIPS, 0.005, 4, bent), 0.01).unwrap();
        assert_eq!(found.clip_length, 32);
        assert!((found.exponents[0] - 1.0).abs() < 0.05 && (found.exponents[1] - 1.9).abs() < 0.05);
    }

    #[test]
    fn a_straight_line_has_no_breakpoint() {
        let false_breaks = (0..500)
            .filter(|&seed| breakpoint(&curve(&CLIPS, 0.01, seed, |f| f.powf(1.2)), 0.01).is_some())
            .count();
        assert!(false_breaks <= 10, "{false_breaks} of 500");
        assert_eq!(breakpoint(&curve(&CLIPS[..4], 0.0, 0, |f| f), 0.01), None);
    }

    #[test]
    fn the_polynomial_gives_back_its_coefficients() {
        let [a, b, c] = quadratic(&curve(&CLIPS, 0.0, 0, |f| 5e5 + 2e4 * f + 300.0 * f * f)).unwrap();
        assert!(
            (a / 5e5 - 1.0).abs() < 1e-9 && (b / 2e4 - 1.0).abs() < 1e-9 && (c / 300.0 - 1.0).abs() < 1e-9
        );
        assert_eq!(quadratic(&[(8, 1.0), (16, 2.0)]), None);
        assert_eq!(quadratic(&[]), None);
        assert_eq!(quadratic(&[(8, 0.0), (16, f64::NAN), (32, -1.0)]), None);
    }
}
