//! From a quantity to a position, and where to put ticks.

/// A linear or logarithmic mapping of `domain` to `range`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    logarithmic: bool,
    domain: (f64, f64),
    range: (f64, f64),
}

impl Scale {
    /// A linear scale; an empty domain is widened.
    pub(super) fn linear(domain: (f64, f64), range: (f64, f64)) -> Self {
        let (low, high) = domain;
        let domain = if high > low { domain } else { (low - 0.5, low + 0.5) };
        Self { logarithmic: false, domain, range }
    }

    /// A logarithmic scale of positive values; an empty domain is widened.
    pub(super) fn logarithmic(domain: (f64, f64), range: (f64, f64)) -> Self {
        let low = domain.0.max(f64::MIN_POSITIVE);
        let domain = if domain.1 > low { (low, domain.1) } else { (low / 1.5, low * 1.5) };
        Self { logarithmic: true, domain, range }
    }

    /// The position of `value`.
    pub(super) fn at(self, value: f64) -> f64 {
        let (low, high) = self.domain;
        let part = if self.logarithmic {
            (value.max(f64::MIN_POSITIVE) / low).ln() / (high / low).ln()
        } else {
            (value - low) / (high - low)
        };
        self.range.0 + part * (self.range.1 - self.range.0)
    }

    /// Round values inside the domain, about `wanted` of them.
    pub(super) fn ticks(self, wanted: usize) -> Vec<f64> {
        if self.logarithmic { self.log_ticks(wanted) } else { self.linear_ticks(wanted) }
    }

    fn linear_ticks(self, wanted: usize) -> Vec<f64> {
        let (low, high) = self.domain;
        let rough = (high - low) / wanted.max(1) as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let first = (low / step).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }

    fn log_ticks(self, wanted: usize) -> Vec<f64> {
        let (low, high) = self.domain;
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let inside = |value: &f64| *value >= low * 0.9999 && *value <= high * 1.0001;
        let of = |multiples: &[f64]| -> Vec<f64> {
            let all = decades.clone().flat_map(|d| multiples.iter().map(move |m| m * 10_f64.powi(d)));
            all.filter(inside).collect()
        };
        let choices: [&[f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
        let fitting = choices.iter().map(|multiples| of(multiples)).find(|ticks| ticks.len() <= wanted + 2);
        let ticks = fitting.unwrap_or_else(|| of(&[1.0]));
        if ticks.len() >= 2 { ticks } else { self.linear_ticks(wanted.min(4)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_domain_are_ends_of_the_range() {
        for scale in [Scale::linear((2.0, 4.0), (10.0, 0.0)), Scale::logarithmic((2.0, 4.0), (10.0, 0.0))] {
            assert!((scale.at(2.0) - 10.0).abs() < 1e-9 && scale.at(4.0).abs() < 1e-9);
        }
        assert!((Scale::logarithmic((1.0, 100.0), (0.0, 2.0)).at(10.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Scale::linear((0.0, 1800.0), (0.0, 1.0)).ticks(6), [0.0, 500.0, 1000.0, 1500.0]);
        assert_eq!(Scale::linear((41.2, 85.4), (0.0, 1.0)).ticks(4), [60.0, 80.0]);
        assert_eq!(
            Scale::logarithmic((1.5, 120.0), (0.0, 1.0)).ticks(6),
            [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
        );
        assert_eq!(Scale::logarithmic((0.9, 2e6), (0.0, 1.0)).ticks(5).len(), 7);
    }

    #[test]
    fn a_single_value_has_a_scale() {
        let scale = Scale::linear((5.0, 5.0), (0.0, 10.0));
        assert!((scale.at(5.0) - 5.0).abs() < 1e-9);
        assert!(Scale::logarithmic((3.0, 3.0), (0.0, 10.0)).at(3.0).is_finite());
        assert!(Scale::logarithmic((6_900.0, 7_100.0), (0.0, 1.0)).ticks(5).len() >= 2);
    }
}
