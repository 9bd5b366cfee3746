//! Colour on a terminal: only what was asked for, and never the only carrier of meaning.

use anstyle::{Ansi256Color, Color as AnsiColor, Effects, RgbColor, Style};

/// Which colours the terminal gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Color {
    /// None: plain text, for files, pipes and `NO_COLOR`.
    #[default]
    Plain,
    /// The 256-colour palette.
    Ansi256,
    /// 24-bit colour.
    TrueColor,
}

/// What a heat cell shows, which decides its hue. Both ramps darken with the value and keep one hue, so
/// that they survive colour blindness and greyscale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ramp {
    /// Latency: amber, darker is slower.
    Latency,
    /// Throughput: blue, darker is more.
    Throughput,
}

impl Ramp {
    const fn stops(self) -> [[u8; 3]; 4] {
        match self {
            Self::Latency => [[255, 244, 217], [246, 186, 92], [201, 84, 24], [98, 27, 11]],
            Self::Throughput => [[228, 241, 246], [135, 190, 208], [42, 120, 152], [10, 56, 84]],
        }
    }

    /// The colour at `position`, 0 to 1.
    fn at(self, position: f64) -> [u8; 3] {
        let stops = self.stops();
        let scaled = position.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
        let index = (scaled as usize).min(stops.len() - 2);
        let part = scaled - index as f64;
        std::array::from_fn(|channel| {
            let (from, to) = (f64::from(stops[index][channel]), f64::from(stops[index + 1][channel]));
            (from + (to - from) * part).round() as u8
        })
    }
}

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Look {
    /// As the terminal has it.
    Normal,
    /// A heading or the most important word.
    Strong,
    /// Secondary.
    Faint,
    /// Something that a reader must not miss.
    Alarm,
    /// A cell of a heat table: its ramp and its position on it.
    Heat(Ramp, f64),
}

impl Color {
    fn convert(self, rgb: [u8; 3]) -> AnsiColor {
        if self == Self::TrueColor {
            return RgbColor(rgb[0], rgb[1], rgb[2]).into();
        }
        // The 6x6x6 cube of the 256-colour palette.
        let level = |value: u8| ((u16::from(value) * 5 + 127) / 255) as u8;
        Ansi256Color(16 + 36 * level(rgb[0]) + 6 * level(rgb[1]) + level(rgb[2])).into()
    }

    /// `text` with the escape sequences of `look` around it, or `text` alone.
    pub(super) fn paint(self, text: &str, look: Look) -> String {
        if self == Self::Plain {
            return text.to_owned();
        }
        let style = match look {
            Look::Normal => return text.to_owned(),
            Look::Strong => Style::new().effects(Effects::BOLD),
            Look::Faint => Style::new().effects(Effects::DIMMED),
            Look::Alarm => Style::new().effects(Effects::BOLD).fg_color(Some(self.convert([200, 60, 40]))),
            Look::Heat(ramp, position) => {
                let ground = ramp.at(position);
                let ink = if luminance(ground) > 0.36 { [16, 16, 16] } else { [255, 255, 255] };
                Style::new().bg_color(Some(self.convert(ground))).fg_color(Some(self.convert(ink)))
            }
        };
        format!("{}{text}{}", style.render(), style.render_reset())
    }
}

/// Relative luminance, with the square standing in for sRGB's exact transfer curve.
fn luminance(rgb: [u8; 3]) -> f64 {
    let linear = |value: u8| (f64::from(value) / 255.0).powi(2);
    0.2126 * linear(rgb[0]) + 0.7152 * linear(rgb[1]) + 0.0722 * linear(rgb[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_output_has_no_escape_sequences() {
        for look in [Look::Strong, Look::Alarm, Look::Heat(Ramp::Latency, 0.7)] {
            assert_eq!(Color::Plain.paint("x", look), "x");
            assert!(Color::Ansi256.paint("x", look).starts_with('\u{1b}'));
        }
    }

    #[test]
    fn both_ramps_darken_steadily() {
        for ramp in [Ramp::Latency, Ramp::Throughput] {
            let shades: Vec<f64> = (0..=20).map(|i| luminance(ramp.at(f64::from(i) / 20.0))).collect();
            assert!(shades.windows(2).all(|pair| pair[0] > pair[1]), "{ramp:?}: {shades:?}");
        }
    }
}
