//! What reading one file of a stored tree gives, and its form in a capture file (see [`crate::tree`]).

use crate::errno;
use rustix::io::Errno;

/// What reading one file gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// This error.
    Fails(Errno),
    /// Steps over time: from each millisecond on, this content.
    Series(Vec<(u64, Content)>),
    /// Straight lines over time between (millisecond, integer) points.
    Ramp(Vec<(u64, i64)>),
}

impl Content {
    /// Bytes as a file holds them: without the one newline at their end that reading adds again.
    #[must_use]
    pub fn from_file_bytes(mut bytes: Vec<u8>) -> Self {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        Self::Bytes(bytes)
    }

    /// Reads a value as a capture file holds it.
    pub(crate) fn parse(value: &str) -> Result<Self, &'static str> {
        if let Some(list) = value.strip_prefix("@series ") {
            return Ok(Self::Series(parse_series(list)?));
        }
        if let Some(list) = value.strip_prefix("@ramp ") {
            return Ok(Self::Ramp(parse_ramp(list)?));
        }
        if value.starts_with('@') {
            return Err("a value that begins with @ must be @->, @series or @ramp");
        }
        Self::parse_plain(value)
    }

    fn parse_plain(value: &str) -> Result<Self, &'static str> {
        match value.strip_prefix('!') {
            Some(name) => errno::from_name(name).map(Self::Fails).ok_or("not the name of an error"),
            None => unescape(value).map(Self::Bytes),
        }
    }

    /// Reads into `buffer` what the file holds at `now_ms`.
    pub(crate) fn read(&self, now_ms: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Bytes(bytes) => {
                let newline: &[u8] = if bytes.last() == Some(&0) { b"" } else { b"\n" };
                Ok(copy_into(buffer, bytes, newline))
            }
            Self::Fails(errno) => Err(*errno),
            Self::Series(steps) => {
                let index = steps.partition_point(|(at, _)| *at <= now_ms).saturating_sub(1);
                steps.get(index).ok_or(Errno::NODATA)?.1.read(now_ms, buffer)
            }
            Self::Ramp(points) => {
                let value = ramp_at(points, now_ms).ok_or(Errno::NODATA)?;
                let mut digits = [0; 24];
                Ok(copy_into(buffer, format_i64(value, &mut digits), b"\n"))
            }
        }
    }

    /// The value's form in a capture file.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Bytes(bytes) => escape(bytes, false),
            Self::Fails(errno) => format!("!{}", errno::name(*errno)),
            Self::Series(steps) => {
                let steps: Vec<String> = steps
                    .iter()
                    .map(|(at, content)| match content {
                        Self::Bytes(bytes) => format!("{at}:{}", escape(bytes, true)),
                        other => format!("{at}:{}", other.to_text()),
                    })
                    .collect();
                format!("@series {}", steps.join(","))
            }
            Self::Ramp(points) => {
                let points: Vec<String> = points.iter().map(|(at, value)| format!("{at}:{value}")).collect();
                format!("@ramp {}", points.join(","))
            }
        }
    }
}

fn copy_into(buffer: &mut [u8], first: &[u8], second: &[u8]) -> usize {
    let mut length = 0;
    for (slot, byte) in buffer.iter_mut().zip(first.iter().chain(second)) {
        *slot = *byte;
        length += 1;
    }
    length
}

/// Decimal digits of `value` at the end of `buffer`, without allocating.
fn format_i64(value: i64, buffer: &mut [u8; 24]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut start = buffer.len();
    loop {
        start -= 1;
        buffer[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        start -= 1;
        buffer[start] = b'-';
    }
    &buffer[start..]
}

fn ramp_at(points: &[(u64, i64)], now_ms: u64) -> Option<i64> {
    let after = points.partition_point(|(at, _)| *at <= now_ms);
    let &(from, low) = points.get(after.saturating_sub(1))?;
    let Some(&(to, high)) = points.get(after) else { return Some(low) };
    if after == 0 || to == from {
        return Some(low);
    }
    let share = i128::from(high - low) * i128::from(now_ms - from) / i128::from(to - from);
    i64::try_from(share).ok().map(|share| low + share)
}

fn parse_series(list: &str) -> Result<Vec<(u64, Content)>, &'static str> {
    let mut steps = Vec::new();
    for item in split_unescaped(list) {
        let (at, value) = item.split_once(':').ok_or("a step of a series is `millisecond:value`")?;
        let at = at.trim().parse().map_err(|_| "the millisecond of a step is not a number")?;
        steps.push((at, Content::parse_plain(value)?));
    }
    check_order(steps.iter().map(|(at, _)| *at))?;
    Ok(steps)
}

fn parse_ramp(list: &str) -> Result<Vec<(u64, i64)>, &'static str> {
    let mut points = Vec::new();
    for item in list.split(',') {
        let (at, value) = item.split_once(':').ok_or("a point of a ramp is `millisecond:integer`")?;
        let at = at.trim().parse().map_err(|_| "the millisecond of a point is not a number")?;
        let value: i64 = value.trim().parse().map_err(|_| "the value of a point is not an integer")?;
        points.push((at, value));
    }
    check_order(points.iter().map(|(at, _)| *at))?;
    Ok(points)
}

fn check_order(mut instants: impl Iterator<Item = u64>) -> Result<(), &'static str> {
    let mut last = instants.next().ok_or("a series without a value")?;
    for at in instants {
        if at <= last {
            return Err("the milliseconds of a series must rise");
        }
        last = at;
    }
    Ok(())
}

/// Splits at commas that no backslash precedes.
fn split_unescaped(list: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, character) in list.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&list[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

fn escape(bytes: &[u8], in_series: bool) -> String {
    let mut text = String::new();
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            0 => text.push_str("\\0"),
            b'\\' => text.push_str("\\\\"),
            b',' if in_series => text.push_str("\\,"),
            b'!' | b'@' if index == 0 => text.push_str(&format!("\\x{byte:02x}")),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

fn unescape(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b',') => b',',
            Some(b'x') => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                let value = high.zip(low).map(|(high, low)| high * 16 + low);
                value.and_then(|value| u8::try_from(value).ok()).ok_or("\\x needs two hexadecimal digits")?
            }
            _ => return Err("an unknown escape; \\n \\t \\0 \\\\ \\, and \\xHH are known"),
        });
    }
    Ok(bytes)
}
