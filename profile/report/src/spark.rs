//! Sparklines: one character per value, for terminals.

/// From least to most.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Bars between the least and the greatest of `values`; a gap where a value is absent, nothing where all are.
#[must_use]
pub fn sparkline(values: &[Option<f64>]) -> String {
    let known = || values.iter().flatten().copied();
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return String::new();
    }
    let top = (BARS.len() - 1) as f64;
    let bar = |value: f64| {
        let position = if high > low { (value - low) / (high - low) } else { 0.0 };
        BARS[((position * top).round() as usize).min(BARS.len() - 1)]
    };
    values.iter().map(|value| value.map_or(' ', bar)).collect()
}

/// `values` in at most `width` buckets of equal length: the mean of each, absent where nothing in it is known.
pub(crate) fn resample(values: &[Option<f64>], width: usize) -> Vec<Option<f64>> {
    let width = width.min(values.len());
    let bucket = |index: usize| {
        let part = &values[index * values.len() / width..(index + 1) * values.len() / width];
        let known: Vec<f64> = part.iter().flatten().copied().collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    (0..width).map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_span_least_to_greatest_with_gaps() {
        assert_eq!(sparkline(&[Some(-10.0), None, Some(0.0), Some(4.0)]), "▁ ▆█");
        assert_eq!(sparkline(&[Some(5.0), Some(5.0)]), "▁▁");
        assert_eq!(sparkline(&[None]), "");
        assert_eq!(sparkline(&[]), "");
    }

    #[test]
    fn every_value_falls_into_one_bucket() {
        let values: Vec<_> = (0..10).map(|n| Some(f64::from(n))).collect();
        assert_eq!(resample(&values, 5), [0.5, 2.5, 4.5, 6.5, 8.5].map(Some));
        assert_eq!(resample(&values, 99), values);
        assert_eq!(resample(&[None, Some(1.0), None, None], 2), [Some(1.0), None]);
        assert_eq!(resample(&[], 7), []);
    }
}
