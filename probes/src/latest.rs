//! The newest reading of every channel, shared between the sampler and whoever watches.
//!
//! One atomic word per channel: neither side ever waits for the other.

use crate::probe::Reading;
use clipmark_profile::channel::{Channel, ChannelKind, Role};
use clipmark_profile::units::{MilliCelsius, Milliwatts, Nanos};
use std::sync::atomic::{AtomicU64, Ordering};

/// Set in a slot that holds a value.
const VALID: u64 = 1 << 32;
/// Set in a slot that was written at all.
const SEEN: u64 = 1 << 33;
const STAMP_SHIFT: u32 = 34;

/// The newest readings. A slot holds 32 bits of value, two flags, and 30 bits of milliseconds, which is
/// enough for twelve days before ages wrap.
#[derive(Debug)]
pub struct Latest {
    channels: Vec<Channel>,
    slots: Vec<AtomicU64>,
    /// Per channel: the last value before the newest one, and how many reads ago it was.
    before: Vec<AtomicU64>,
    /// Per channel: the lower of two readings that follow each other.
    confirmed: Vec<AtomicU64>,
}

/// Reads that may fail between two readings that confirm each other.
const MOST_BETWEEN: u64 = 3;

/// The hottest of the zones that stand for the chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hottest<'a> {
    /// The channel's id.
    pub zone: &'a str,
    /// Its temperature.
    pub value: MilliCelsius,
}

/// One channel's newest reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// The value, or `None` when the read failed.
    pub value: Option<i32>,
    /// When it was read, counted from the run's start, to the millisecond.
    pub stamp: Nanos,
}

impl Latest {
    pub(crate) fn new(channels: Vec<Channel>) -> Self {
        let empty = || channels.iter().map(|_| AtomicU64::new(0)).collect();
        Self { slots: empty(), before: empty(), confirmed: empty(), channels }
    }

    pub(crate) fn put(&self, channel: u16, stamp: Nanos, reading: Reading) {
        let Some(slot) = self.slots.get(usize::from(channel)) else { return };
        let (value, flags) = match reading {
            Ok(value) => (u64::from(value.cast_unsigned()), SEEN | VALID),
            Err(_) => (0, SEEN),
        };
        let stamp = (stamp.get() / 1_000_000) << STAMP_SHIFT;
        slot.store(value | flags | stamp, Ordering::Relaxed);
        self.confirm(usize::from(channel), reading);
    }

    /// Takes a reading into account for [`Self::hottest_confirmed`]. Only the sampler's thread writes.
    fn confirm(&self, at: usize, reading: Reading) {
        let (Some(before), Some(confirmed)) = (self.before.get(at), self.confirmed.get(at)) else { return };
        let last = before.load(Ordering::Relaxed);
        let age = (last >> STAMP_SHIFT) + 1;
        let is_recent = last & VALID != 0 && age <= MOST_BETWEEN;
        match reading {
            Ok(value) => {
                let lower = value.min((last as u32).cast_signed());
                let word = if is_recent { u64::from(lower.cast_unsigned()) | VALID } else { 0 };
                confirmed.store(word, Ordering::Relaxed);
                before.store(u64::from(value.cast_unsigned()) | VALID, Ordering::Relaxed);
            }
            Err(_) if is_recent => {
                before.store((last & !(u64::MAX << STAMP_SHIFT)) | age << STAMP_SHIFT, Ordering::Relaxed)
            }
            Err(_) => {
                confirmed.store(0, Ordering::Relaxed);
                before.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Every channel, in the order of their indices.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// The newest reading of the channel at `index`; `None` before its first one.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Newest> {
        let word = self.slots.get(index)?.load(Ordering::Relaxed);
        if word & SEEN == 0 {
            return None;
        }
        let value = (word & VALID != 0).then_some((word as u32).cast_signed());
        Some(Newest { value, stamp: Nanos((word >> STAMP_SHIFT) * 1_000_000) })
    }

    /// The newest value of the channel called `id`.
    #[must_use]
    pub fn value(&self, id: &str) -> Option<i32> {
        let index = self.channels.iter().position(|channel| channel.id == id)?;
        self.get(index)?.value
    }

    fn values(&self) -> impl Iterator<Item = (&Channel, Option<i32>)> {
        self.channels
            .iter()
            .enumerate()
            .map(|(index, channel)| (channel, self.get(index).and_then(|newest| newest.value)))
    }

    /// The hottest of the zones that stand for the chip; `None` when none of them can be read.
    #[must_use]
    pub fn hottest(&self) -> Option<Hottest<'_>> {
        self.hottest_of(|index| self.get(index)?.value)
    }

    /// The hottest of these zones by two readings each that follow each other: a single reading, which may be
    /// a glitch, moves it no further than the one before.
    #[must_use]
    pub fn hottest_confirmed(&self) -> Option<Hottest<'_>> {
        self.hottest_of(|index| {
            let word = self.confirmed.get(index)?.load(Ordering::Relaxed);
            (word & VALID != 0).then_some((word as u32).cast_signed())
        })
    }

    fn hottest_of(&self, value: impl Fn(usize) -> Option<i32>) -> Option<Hottest<'_>> {
        let zones = self.channels.iter().enumerate().filter(|(_, channel)| channel.role == Role::Junction);
        let read = zones.filter_map(|(index, zone)| Some((value(index)?, zone.id.as_str())));
        read.max().map(|(value, zone)| Hottest { zone, value: MilliCelsius(value) })
    }

    /// The total power; `None` unless every rail of it was read.
    #[must_use]
    pub fn total_power(&self) -> Option<Milliwatts> {
        let mut rails = self
            .values()
            .filter(|(channel, _)| channel.kind == ChannelKind::Power && channel.role == Role::TotalPower);
        let first = i64::from(rails.next()?.1?);
        let sum = rails.try_fold(first, |sum, (_, value)| Some(sum + i64::from(value?)));
        sum.map(Milliwatts)
    }

    /// The slowest clock, kHz, of the channels whose id begins with `prefix`, measured clocks left out: they
    /// are read too rarely to be what holds now.
    #[must_use]
    pub fn slowest_clock(&self, prefix: &str) -> Option<i32> {
        let clocks = self.values().filter(|(channel, _)| {
            channel.kind == ChannelKind::Clock
                && channel.id.starts_with(prefix)
                && !channel.id.ends_with(".measured")
        });
        clocks.filter_map(|(_, value)| value).min()
    }

    /// Ids of the channels that say that something is being throttled now.
    #[must_use]
    pub fn throttling(&self) -> Vec<&str> {
        let now = self.values().filter(|(channel, value)| says_throttled(channel, *value));
        now.map(|(channel, _)| channel.id.as_str()).collect()
    }
}

/// Whether `value` of `channel` by itself says that something is being throttled now. Over-current
/// counters do not: only their growth does.
#[must_use]
pub fn says_throttled(channel: &Channel, value: Option<i32>) -> bool {
    /// Under-voltage, capped, throttled, soft temperature limit: the present, not the sticky bits.
    const FIRMWARE_NOW: i32 = 0xf;
    match (channel.role, channel.kind) {
        (Role::Throttles, _) => value.is_some_and(|value| value > 0),
        (_, ChannelKind::ThrottleFlags) => value.is_some_and(|value| value & FIRMWARE_NOW != 0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Fault;
    use proptest::prelude::*;

    #[test]
    fn a_channel_is_absent_before_its_first_reading_and_after_a_failed_one() {
        let latest = Latest::new(vec![Channel::new(ChannelKind::Temperature, "tj", Role::Junction)]);
        assert_eq!(latest.get(0), None);
        latest.put(0, Nanos(5_000_000), Ok(-7));
        assert_eq!(latest.get(0), Some(Newest { value: Some(-7), stamp: Nanos(5_000_000) }));
        assert_eq!(latest.hottest().map(|hottest| hottest.value), Some(MilliCelsius(-7)));
        latest.put(0, Nanos(6_000_000), Err(Fault::Unparsable));
        assert_eq!(latest.get(0), Some(Newest { value: None, stamp: Nanos(6_000_000) }));
        assert_eq!(latest.hottest(), None);
    }

    /// What is confirmed after each of `readings`, m°C; `None` among them is a read that failed.
    fn confirmed(readings: &[Option<i32>]) -> Vec<Option<i32>> {
        let latest = Latest::new(vec![Channel::new(ChannelKind::Temperature, "tj", Role::Junction)]);
        let mut stamps = (0u64..).map(|second| Nanos(second * Nanos::PER_SECOND));
        let confirmed = readings.iter().map(|reading| {
            latest.put(0, stamps.next().unwrap(), reading.ok_or(Fault::Unparsable));
            latest.hottest_confirmed().map(|hottest| hottest.value.get())
        });
        confirmed.collect()
    }

    #[test]
    fn a_single_reading_confirms_nothing_and_two_in_a_row_do() {
        assert_eq!(confirmed(&[Some(85)]), [None]);
        assert_eq!(confirmed(&[Some(44), Some(85), Some(44)]), [None, Some(44), Some(44)]);
        assert_eq!(confirmed(&[Some(44), Some(85), Some(86)]), [None, Some(44), Some(85)]);
    }

    #[test]
    fn reads_that_fail_now_and_then_do_not_hide_the_heat() {
        assert_eq!(confirmed(&[Some(85), None, Some(85)])[2], Some(85));
        assert_eq!(confirmed(&[Some(85), None, None, None, None, Some(85)])[5], None);
    }

    #[test]
    fn a_total_with_a_missing_rail_is_absent() {
        let rail = |name| Channel::new(ChannelKind::Power, name, Role::TotalPower);
        let latest = Latest::new(vec![rail("a"), rail("b")]);
        latest.put(0, Nanos(0), Ok(5));
        assert_eq!(latest.total_power(), None);
        latest.put(1, Nanos(0), Ok(6));
        assert_eq!(latest.total_power(), Some(Milliwatts(11)));
    }

    #[test]
    fn sticky_firmware_bits_are_no_throttling_now() {
        let flags = Channel::new(ChannelKind::ThrottleFlags, "firmware", Role::Context);
        assert!(says_throttled(&flags, Some(0x80008)));
        assert!(!says_throttled(&flags, Some(0xe0000)));
        let fan = Channel::new(ChannelKind::Cooling, "pwm-fan", Role::Context);
        assert!(!says_throttled(&fan, Some(4)));
    }

    proptest! {
        #[test]
        fn every_value_and_stamp_is_read_back(value in any::<i32>(), ms in 0u64..(1 << 30)) {
            let latest = Latest::new(vec![Channel::new(ChannelKind::Power, "a", Role::Context)]);
            latest.put(0, Nanos(ms * 1_000_000), Ok(value));
            prop_assert_eq!(latest.get(0), Some(Newest { value: Some(value), stamp: Nanos(ms * 1_000_000) }));
        }
    }
}
