//! The probe that most channels need: one file, one value.

use crate::absence::{Absence, AbsenceCause, DEBUGFS};
use crate::probe::{Discovery, Fault, Probe, Reading, Sensed, Sink, Tier};
use crate::root::{Handle, Root};
use clipmark_profile::channel::Channel;
use clipmark_profile::units::Nanos;
use rustix::io::Errno;
use std::ops::Range;

/// How the text of a file becomes the value of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decode {
    /// A decimal integer, times the first and divided by the second number.
    Integer(i64, i64),
    /// As `Integer(1, n)`, but 0 means that nothing is set.
    NonZero(i64),
    /// A hexadecimal integer without a prefix.
    Hexadecimal,
    /// A percentage before `@`, as devfreq of Rockchip writes it: `37@300000000Hz`. Gives per mille.
    PercentAt,
    /// The mean of every percentage in the text, e.g. one per core. Gives per mille.
    MeanPercent,
    /// The integer after this key in a longer text, divided by the number.
    After(&'static str, i64),
}

/// Files of one tier, one channel each.
#[derive(Debug)]
pub(crate) struct Values {
    tier: Tier,
    sensed: Vec<Sensed>,
    files: Vec<Source>,
}

/// What one channel is read from.
#[derive(Debug)]
struct Source {
    handles: Vec<Handle>,
    decode: Decode,
    gated: u8,
    skip: u8,
}

/// Refusals with `EAGAIN` in a row after which a unit counts as power-gated.
const GATED_AFTER: u8 = 3;
/// Reads of a power-gated unit that are left out before it is tried again.
const GATED_SKIP: u8 = 15;

impl Values {
    pub(crate) const fn new(tier: Tier) -> Self {
        Self { tier, sensed: Vec::new(), files: Vec::new() }
    }

    /// Adds `channel`, read from `path`; a path that cannot be opened becomes an absence.
    pub(crate) fn add(
        &mut self,
        root: &Root,
        found: &mut Discovery,
        channel: Channel,
        path: &str,
        decode: Decode,
    ) {
        match root.open_value(path) {
            Ok(handle) => self.push(channel, path.to_owned(), vec![handle], decode),
            Err(error) => {
                found.absent.push(Absence { id: channel.id, kind: channel.kind, cause: error.into() });
            }
        }
    }

    /// Adds `channel` as the sum over `handles`.
    pub(crate) fn push(&mut self, channel: Channel, source: String, handles: Vec<Handle>, decode: Decode) {
        self.sensed.push(Sensed { channel, source, meaning: None });
        self.files.push(Source { handles, decode, gated: 0, skip: 0 });
    }

    /// Says what the values of the channel `id` mean.
    pub(crate) fn explain(&mut self, id: &str, meaning: &str) {
        if let Some(sensed) = self.sensed.iter_mut().find(|sensed| sensed.channel.id == id) {
            sensed.meaning = Some(meaning.to_owned());
        }
    }

    /// Hands the probe to `found` unless it has no channels.
    pub(crate) fn finish(self, found: &mut Discovery) {
        if !self.sensed.is_empty() {
            found.probes.push(Box::new(self));
        }
    }
}

impl Probe for Values {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn channels(&self) -> &[Sensed] {
        &self.sensed
    }

    fn read(&mut self, _at: Nanos, sink: &mut Sink<'_>) {
        for file in &mut self.files {
            sink.put(file.read());
        }
    }
}

impl Source {
    /// Reads the value once. A unit that keeps answering `EAGAIN` is power-gated: it is asked rarely, and
    /// its channel stays absent with that cause in between.
    fn read(&mut self) -> Reading {
        if self.skip > 0 {
            self.skip -= 1;
            return Err(Fault::Refused(Errno::AGAIN));
        }
        let decode = self.decode;
        let sum = self
            .handles
            .iter_mut()
            .try_fold(0i64, |sum, handle| decode.read(handle).map(|value| sum.saturating_add(value)));
        if sum == Err(Fault::Refused(Errno::AGAIN)) {
            self.gated = self.gated.saturating_add(1);
            self.skip = if self.gated >= GATED_AFTER { GATED_SKIP } else { 0 };
        } else {
            self.gated = 0;
        }
        sum.and_then(narrow)
    }
}

impl Decode {
    pub(crate) fn read(self, handle: &mut Handle) -> Result<i64, Fault> {
        match self {
            Self::After(..) | Self::MeanPercent => {
                let mut buffer = [0; 4096];
                let length = handle.read(&mut buffer).map_err(Fault::Refused)?;
                self.decode(&buffer[..length])
            }
            _ => {
                let mut buffer = [0; 64];
                let length = handle.read(&mut buffer).map_err(Fault::Refused)?;
                self.decode(&buffer[..length])
            }
        }
    }

    fn decode(self, text: &[u8]) -> Result<i64, Fault> {
        match self {
            Self::Integer(multiply, divide) => Ok(integer(text)?.saturating_mul(multiply) / divide),
            Self::NonZero(divide) => match integer(text)? {
                0 => Err(Fault::Unset),
                value => Ok(value / divide),
            },
            Self::Hexadecimal => hexadecimal(text),
            Self::PercentAt => {
                let end = text.iter().position(|byte| *byte == b'@').ok_or(Fault::Unparsable)?;
                Ok(integer(&text[..end])? * 10)
            }
            Self::MeanPercent => mean_percent(text),
            Self::After(key, divide) => {
                let found = find(text, key.as_bytes()).ok_or(Fault::NoSuchLine)?;
                let rest = &text[found.end..];
                let start = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
                let digits = rest[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                Ok(integer(&rest[start..start + digits])? / divide)
            }
        }
    }
}

/// The first of `paths` that can be read, and its text; else why none can: a refusal says more than
/// missing files.
pub(crate) fn first_readable<'a>(
    root: &Root,
    paths: &'a [String],
) -> Result<(&'a str, String), AbsenceCause> {
    let mut refusal = None;
    for path in paths {
        match root.read_text(path) {
            Ok(text) => return Ok((path, text)),
            Err(error) if error.errno() != Some(Errno::NOENT) => refusal = Some(error),
            Err(_) => {}
        }
    }
    let is_debugfs = paths.iter().any(|path| path.starts_with(DEBUGFS));
    Err(match refusal {
        Some(refusal) => refusal.into(),
        None if paths.is_empty() => AbsenceCause::NotKnown,
        None if is_debugfs && root.list(DEBUGFS).map_or(true, |names| names.is_empty()) => {
            AbsenceCause::DebugfsNotMounted
        }
        None => AbsenceCause::NoFile(paths.to_vec()),
    })
}

/// A value as a channel carries it.
pub(crate) fn narrow(value: i64) -> Reading {
    i32::try_from(value).map_err(|_| Fault::OutOfRange)
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii().strip_suffix(&[0]).unwrap_or(text.trim_ascii())
}

/// All bits set, in the widths that drivers use: no reading.
const ALL_ONES: [i64; 3] = [i32::MAX as i64, u32::MAX as i64, i64::MAX];

/// The one decimal integer that `text` is.
pub(crate) fn integer(text: &[u8]) -> Result<i64, Fault> {
    let text = trim(text);
    if text.first() == Some(&b'<') {
        return Err(Fault::NotKnown);
    }
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return Err(Fault::Unparsable);
    }
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(Fault::Unparsable);
        }
        let next = value.checked_mul(10).and_then(|value| value.checked_add(i64::from(digit - b'0')));
        value = next.ok_or(Fault::OutOfRange)?;
    }
    if ALL_ONES.contains(&value) {
        return Err(Fault::OutOfRange);
    }
    Ok(if negative { -value } else { value })
}

fn hexadecimal(text: &[u8]) -> Result<i64, Fault> {
    let text = trim(text);
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    if digits.is_empty() || digits.len() > 8 {
        return Err(Fault::Unparsable);
    }
    digits.iter().try_fold(0i64, |value, byte| {
        let digit = char::from(*byte).to_digit(16).ok_or(Fault::Unparsable)?;
        Ok(value * 16 + i64::from(digit))
    })
}

fn mean_percent(text: &[u8]) -> Result<i64, Fault> {
    let (mut sum, mut count) = (0, 0);
    for (end, _) in text.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let digits = text[..end].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        sum += integer(&text[end - digits..end])?;
        count += 1;
    }
    if count == 0 { Err(Fault::Unparsable) } else { Ok(sum * 10 / count) }
}

fn find(text: &[u8], key: &[u8]) -> Option<Range<usize>> {
    let start = text.windows(key.len()).position(|window| window == key)?;
    Some(start..start + key.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(decode: Decode, text: &str, expected: Result<i64, Fault>) {
        assert_eq!(decode.decode(text.as_bytes()), expected, "{decode:?} of {text:?}");
    }

    #[test]
    fn texts_of_drivers_become_values() {
        check(Decode::Integer(1, 1), "5016\n", Ok(5016));
        check(Decode::Integer(1, 1), "-44000\n", Ok(-44000));
        check(Decode::Integer(1, 1000), "1020000000\n", Ok(1_020_000));
        check(Decode::Integer(1, 1), "<unsupported>\n", Err(Fault::NotKnown));
        check(Decode::Integer(1, 1), "2147483647\n", Err(Fault::OutOfRange));
        check(Decode::Integer(1, 1000), "4294967295\n", Err(Fault::OutOfRange));
        check(Decode::Integer(1, 1), "", Err(Fault::Unparsable));
        check(Decode::Integer(1, 1), "99999999999999999999\n", Err(Fault::OutOfRange));
        check(Decode::NonZero(1000), "0\n", Err(Fault::Unset));
        check(Decode::Hexadecimal, "80008\n", Ok(0x80008));
        check(Decode::PercentAt, "37@300000000Hz\n", Ok(370));
        check(Decode::MeanPercent, "NPU load:  Core0: 10%, Core1: 20%, Core2: 60%,\n", Ok(300));
        let meminfo = "MemTotal: 16334100 kB\nMemAvailable:   123456 kB\n";
        check(Decode::After("MemAvailable:", 1), meminfo, Ok(123_456));
        check(Decode::After("MemAvailable:", 1), "MemTotal: 1 kB\n", Err(Fault::NoSuchLine));
        let psi = "some avg10=0.00 avg60=0.00 avg300=0.00 total=5000\nfull avg10=0.00 total=1\n";
        check(Decode::After("total=", 1000), psi, Ok(5));
    }

    #[test]
    fn a_gated_unit_is_asked_rarely_and_found_again_when_it_wakes() {
        let text = "/t\t@series 0:!EAGAIN,10000:5\n";
        let root = Root::stored(crate::tree::Tree::parse(text).unwrap());
        let handles = vec![root.open_value("/t").unwrap()];
        let mut source = Source { handles, decode: Decode::Integer(1, 1), gated: 0, skip: 0 };
        let mut readings = Vec::new();
        for second in 0..40 {
            root.set_time(Nanos::from_secs(second));
            readings.push(source.read());
        }
        let gated = Err(Fault::Refused(Errno::AGAIN));
        let woken = readings.iter().position(|reading| *reading == Ok(5)).unwrap();
        assert!((10..=10 + 16).contains(&woken), "{woken}");
        assert!(readings[..woken].iter().all(|reading| *reading == gated));
        assert!(readings[woken..].iter().all(|reading| *reading == Ok(5)));
    }

    #[test]
    fn a_value_too_large_for_its_channel_is_a_fault() {
        assert_eq!(narrow(i64::from(i32::MAX) + 1), Err(Fault::OutOfRange));
        assert_eq!(narrow(-1), Ok(-1));
        assert_ne!(Fault::Refused(Errno::AGAIN).to_string(), "");
    }
}
