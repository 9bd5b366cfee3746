//! Values of flags: numbers, spans of time, sizes and points, and what is said of a text that is none.

use clipmark_profile::point::Shape;
use clipmark_profile::streams::StreamCount;
use std::str::FromStr;

/// Reads a whole number; `form` follows "write" in the error.
pub fn whole<T: FromStr + 'static>(
    form: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text: &str| {
        let fault = || match text.trim().parse::<i128>() {
            Ok(number) if number < 0 => "negative",
            Ok(_) => "too large",
            Err(_) => "no whole number",
        };
        text.trim().parse().map_err(|_| format!("`{text}` is {}; write {form}", fault()))
    }
}

/// Reads a number; `form` follows "write" in the error.
pub fn decimal(form: &'static str) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text: &str| text.trim().parse().map_err(|_| format!("`{text}` is no number; write {form}"))
}

fn number_and_unit<'a>(text: &'a str, form: &str) -> Result<(f64, String), String> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: &'a str = text[..end].trim();
    let number =
        number.parse().map_err(|_| format!("`{text}` does not begin with a number; write {form}"))?;
    Ok((number, text[end..].trim().to_ascii_lowercase()))
}

/// `auto`, or a number of streams.
pub fn streams(text: &str) -> Result<StreamCount, String> {
    if text.trim() == "auto" {
        return Ok(StreamCount::Auto);
    }
    whole::<u32>("auto or a number of streams, e.g. 12")(text).map(StreamCount::Exactly)
}

/// `90`, `90s`, `5m`, `2h` in seconds.
pub fn seconds(text: &str) -> Result<f64, String> {
    let (number, unit) = number_and_unit(text, "for example 90s or 5m")?;
    let factor = match unit.as_str() {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{unit}` is no unit of time; use ms, s, m or h")),
    };
    Ok(number * factor)
}

/// `512M`, `2G` in bytes, with binary units in upper or lower case.
pub fn bytes(text: &str) -> Result<u64, String> {
    let form = "for example 512M or 2G";
    let (number, unit) = number_and_unit(text, form)?;
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(format!("`{unit}` is no unit of memory; use K, M or G")),
    };
    if number < 0.0 {
        return Err(format!("`{text}` is negative; write {form}"));
    }
    Ok((number * f64::from(1_u32 << shift)) as u64)
}

/// `1,16`: batch size and clip length.
pub fn point(text: &str) -> Result<Shape, String> {
    let form = || format!("`{text}` is no point; write BATCH,FRAMES, e.g. 1,16");
    let (batch, frames) = text.split_once(',').ok_or_else(form)?;
    let number = |text: &str| text.trim().parse().map_err(|_| form());
    Shape::new(number(batch)?, number(frames)?)
        .ok_or_else(|| format!("`{text}` has a zero; write BATCH,FRAMES, e.g. 1,16"))
}

/// `NAME=VALUE`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::{bytes, decimal, point, seconds, whole};

    #[test]
    fn spans_sizes_and_points_are_read_with_their_units() {
        assert_eq!(seconds("90"), Ok(90.0));
        assert_eq!(seconds("1.5m"), Ok(90.0));
        assert_eq!(seconds("250ms"), Ok(0.25));
        assert!(seconds("5 days").unwrap_err().contains("ms, s, m or h"));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("64M"), Ok(64 << 20));
        let read = point("2,16").unwrap();
        assert_eq!((read.batch(), read.clip()), (2, 16));
        assert!(point("2x16").is_err());
    }

    #[test]
    fn units_may_be_written_in_either_case() {
        assert_eq!(bytes("1k"), Ok(1 << 10));
        assert_eq!(bytes("2gib"), bytes("2GiB"));
        assert_eq!(seconds("5M"), Ok(300.0));
        assert!(bytes("1q").unwrap_err().contains("K, M or G"));
        assert!(bytes("-1G").unwrap_err().contains("negative"));
    }

    #[test]
    fn what_is_no_number_is_named_with_the_form_that_is_expected() {
        let frames = whole::<u32>("numbers separated by commas, e.g. 8,16,32");
        assert_eq!(frames("16"), Ok(16));
        assert_eq!(
            frames("8-16").unwrap_err(),
            "`8-16` is no whole number; write numbers separated by commas, e.g. 8,16,32"
        );
        assert!(frames("-8").unwrap_err().starts_with("`-8` is negative;"));
        assert!(frames("99999999999").unwrap_err().starts_with("`99999999999` is too large;"));
        let deadline = decimal("milliseconds, e.g. 33.3");
        assert_eq!(deadline("33.3"), Ok(33.3));
        assert_eq!(deadline("abc").unwrap_err(), "`abc` is no number; write milliseconds, e.g. 33.3");
    }
}
