//! Figures as people read them: three significant digits, a unit that fits, thousands separated.
//!
//! Terms: a *scale* is one unit shared by all cells of a table, so that digits can be compared by eye.

/// A unit of time shared by several figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeScale {
    /// The unit's symbol.
    pub unit: &'static str,
    /// Nanoseconds in the unit.
    pub ns: f64,
}

const SCALES: [TimeScale; 4] = [
    TimeScale { unit: "ns", ns: 1.0 },
    TimeScale { unit: "\u{b5}s", ns: 1e3 },
    TimeScale { unit: "ms", ns: 1e6 },
    TimeScale { unit: "s", ns: 1e9 },
];

impl TimeScale {
    /// The largest unit in which the smallest of `values_ns` is at least 0.1.
    #[must_use]
    pub fn fitting(values_ns: impl IntoIterator<Item = f64>) -> Self {
        let least = values_ns.into_iter().filter(|v| *v > 0.0).fold(f64::INFINITY, f64::min);
        if !least.is_finite() {
            return SCALES[2];
        }
        // Seconds only for values that are seconds: milliseconds are what readers expect.
        let fits = |s: &&TimeScale| least >= if s.ns < 1e9 { 0.1 * s.ns } else { s.ns };
        *SCALES.iter().rev().find(fits).unwrap_or(&SCALES[0])
    }

    /// The number alone.
    #[must_use]
    pub fn number(self, ns: f64) -> String {
        significant(ns / self.ns)
    }
}

/// A span with its unit, e.g. `5.20 ms`.
#[must_use]
pub fn span(ns: f64) -> String {
    let scale = SCALES.iter().rev().find(|s| ns.abs() >= s.ns).unwrap_or(&SCALES[0]);
    format!("{} {}", significant(ns / scale.ns), scale.unit)
}

/// A long span in the words of clocks, e.g. `30 min`, `2 min 7 s`.
#[must_use]
pub fn clock_span(ms: u64) -> String {
    let seconds = ms / 1000;
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let shown: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    if shown.is_empty() { format!("{ms} ms") } else { shown.join(" ") }
}

/// `10:12` from milliseconds since the soak's start.
#[must_use]
pub fn clock_time(ms: u64) -> String {
    let seconds = ms / 1000;
    if seconds >= 3600 {
        format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    } else {
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }
}

/// Three significant digits below 1000, whole numbers with separators above.
#[must_use]
pub fn significant(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "?".into();
    }
    if size >= 999.5 {
        return thousands(value.round() as i128);
    }
    let decimals = match size {
        s if s >= 99.95 => 0,
        s if s >= 9.995 => 1,
        s if s >= 0.9995 => 2,
        s if s >= 0.01 => 3,
        0.0 => 0,
        _ => return format!("{value:.1e}"),
    };
    format!("{value:.decimals$}")
}

/// As [`significant`], without zeros that say nothing: for ticks and other round values.
#[must_use]
pub fn round(value: f64) -> String {
    let text = significant(value);
    if text.contains('.') && !text.contains('e') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

/// A whole number with commas.
#[must_use]
pub fn thousands(value: i128) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Memory, binary units.
#[must_use]
pub fn bytes(count: u64) -> String {
    let value = count as f64;
    match value {
        v if v >= 1024.0 * 1024.0 * 1024.0 => format!("{} GiB", significant(v / (1024.0 * 1024.0 * 1024.0))),
        v if v >= 1024.0 * 1024.0 => format!("{} MiB", significant(v / (1024.0 * 1024.0))),
        v if v >= 1024.0 => format!("{} KiB", significant(v / 1024.0)),
        _ => format!("{count} B"),
    }
}

/// Energy with a unit that fits.
#[must_use]
pub fn energy(uj: f64) -> String {
    match uj.abs() {
        size if size >= 1e6 => format!("{} J", significant(uj / 1e6)),
        size if size >= 1e3 => format!("{} mJ", significant(uj / 1e3)),
        _ => format!("{} \u{b5}J", significant(uj)),
    }
}

/// Power with a unit that fits.
#[must_use]
pub fn power(mw: f64) -> String {
    if mw.abs() >= 1000.0 {
        format!("{} W", significant(mw / 1000.0))
    } else {
        format!("{} mW", significant(mw))
    }
}

/// A temperature.
#[must_use]
pub fn celsius(milli: i32) -> String {
    format!("{:.1} \u{b0}C", f64::from(milli) / 1000.0)
}

/// A share of 1 as a percentage.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{} %", significant(share * 100.0))
}

/// A factor, e.g. `1.72x`.
#[must_use]
pub fn factor(ratio: f64) -> String {
    format!("{}x", significant(ratio))
}

/// A count in compact form, e.g. `301 K` parameters.
#[must_use]
pub fn compact(count: u64) -> String {
    match count as f64 {
        v if v >= 1e9 => format!("{} G", significant(v / 1e9)),
        v if v >= 1e6 => format!("{} M", significant(v / 1e6)),
        v if v >= 1e3 => format!("{} K", significant(v / 1e3)),
        _ => count.to_string(),
    }
}

/// `2026-01-01 00:00 UTC` from milliseconds since the Unix epoch.
///
/// The civil date follows Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
#[must_use]
pub fn utc(unix_ms: u64) -> String {
    let minutes = unix_ms / 60_000;
    let days = minutes / 1440;
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60 % 24, minutes % 60)
}

/// The date alone, e.g. `2026-01-01`.
#[must_use]
pub fn date(unix_ms: u64) -> String {
    utc(unix_ms).chars().take(10).collect()
}

/// A relative change in percent with its sign, e.g. `+4.1 %`.
#[must_use]
pub fn change(ratio: f64) -> String {
    let percent = (ratio - 1.0) * 100.0;
    let size = percent.abs();
    match size {
        s if s < 0.05 => "0 %".into(),
        s if s < 9.95 => format!("{percent:+.1} %"),
        _ => format!("{percent:+.0} %"),
    }
}

/// How long ago, in one unit, e.g. `3 min`.
#[must_use]
pub fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        s if s < 60 => format!("{s} s"),
        s if s < 3600 => format!("{} min", s / 60),
        s if s < 48 * 3600 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_significant_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (0.004_21, "4.2e-3"),
            (0.0421, "0.042"),
            (0.999_9, "1.00"),
            (5.204, "5.20"),
            (15.53, "15.5"),
            (99.97, "100"),
            (424.31, "424"),
            (999.6, "1,000"),
            (12_345.6, "12,346"),
            (-1_234.0, "-1,234"),
        ] {
            assert_eq!(significant(value), expected, "{value}");
        }
    }

    #[test]
    fn round_values_lose_the_zeros_that_say_nothing() {
        for (value, expected) in
            [(8.0, "8"), (0.5, "0.5"), (1.25, "1.25"), (20.0, "20"), (5000.0, "5,000"), (0.0, "0")]
        {
            assert_eq!(round(value), expected);
        }
    }

    #[test]
    fn a_scale_fits_the_smallest_value() {
        assert_eq!(TimeScale::fitting([5e6, 424e6]).unit, "ms");
        assert_eq!(TimeScale::fitting([2e3, 424e6]).unit, "\u{b5}s");
        assert_eq!(TimeScale::fitting([2e9, 4e9]).unit, "s");
        assert_eq!(TimeScale::fitting([0.4e9]).unit, "ms");
        assert_eq!(TimeScale::fitting([]).unit, "ms");
        assert_eq!(TimeScale::fitting([0.05]).unit, "ns");
    }

    #[test]
    fn spans_choose_their_unit() {
        assert_eq!(span(812.0), "812 ns");
        assert_eq!(span(5_204_000.0), "5.20 ms");
        assert_eq!(clock_span(127_431), "2 min 7 s");
        assert_eq!(clock_span(1_800_000), "30 min");
        assert_eq!(clock_span(40), "40 ms");
    }

    #[test]
    fn changes_carry_their_sign_and_ages_one_unit() {
        assert_eq!(
            [1.041, 0.92, 1.2349, 1.0, 0.9999].map(change),
            ["+4.1 %", "-8.0 %", "+23 %", "0 %", "0 %"]
        );
        assert_eq!([900, 61_000, 7_200_000, 200_000_000].map(age), ["0 s", "1 min", "2 h", "2 d"]);
    }

    #[test]
    fn dates_are_civil() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(utc(1_767_225_600_000), "2026-01-01 00:00 UTC");
    }
}
