//! When and why a board throttles: level changes of latency, corroborated by what its channels did.
//!
//! Terms: the *level* of a segment is its mean log latency; the *burst level* is the lowest level that held
//! before any throttling. A segment above it is a *slowdown*; a slowdown is *throttling* when a channel moved
//! with it. A slowdown that no channel explains is called throttling only on a board that has no channel
//! which could: where clocks are seen and did not move, other work is the likelier reason. The reverse, a
//! clock that falls while latency does not, is no throttling either.

use crate::channel::{Channel, ChannelKind, Role};
use crate::sensors::{Column, SensorRecord, TierSeries};
use crate::summary::ThrottleCause;

/// Smallest rise of latency that counts as a slowdown, as a ratio.
pub const MIN_SLOWDOWN: f64 = 1.015;

/// Smallest relative fall of a clock, floor or cap that counts as a cause.
const MIN_CLOCK_FALL: f64 = 0.03;

/// How long before and after an onset a channel is looked at, ns.
const REACH_NS: u64 = 30_000_000_000;

/// Readings this close to the onset belong to neither side: they may straddle the change, ns.
const GUARD_NS: u64 = 2_000_000_000;

/// Over-current events a second that must be added at an onset: boards show one or two a second when idle.
const MIN_EVENT_RATE: f64 = 2.0;

/// Raspberry Pi firmware flags: under-voltage now; capped, throttled or at the soft limit now.
const FLAG_UNDER_VOLTAGE: i32 = 0b0001;
const FLAGS_THERMAL: i32 = 0b1110;

/// Why latency rose at an onset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corroboration {
    /// The cause that the evidence speaks for.
    pub cause: ThrottleCause,
    /// What each channel did, in words.
    pub evidence: Vec<String>,
}

/// A channel's readings on both sides of an onset.
struct Sides<'a> {
    channel: &'a Channel,
    before: Side,
    after: Side,
}

/// Statistics of one side.
#[derive(Debug, Clone, Copy)]
struct Side {
    mean: f64,
    max: i32,
    any: i32,
    /// Growth a second, for counters.
    rate: Option<f64>,
}

impl Side {
    fn of(tier: &TierSeries, column: &Column, from_ns: u64, to_ns: u64) -> Option<Self> {
        let low = tier.stamps_ns.partition_point(|&stamp| stamp < from_ns);
        let high = tier.stamps_ns.partition_point(|&stamp| stamp < to_ns);
        let readings: Vec<(u64, i32)> =
            (low..high).filter_map(|index| Some((tier.stamps_ns[index], column.get(index)?))).collect();
        let (&first, &last) = (readings.first()?, readings.last()?);
        let seconds = (last.0 - first.0) as f64 / 1e9;
        Some(Self {
            mean: readings.iter().map(|&(_, value)| f64::from(value)).sum::<f64>() / readings.len() as f64,
            max: readings.iter().map(|&(_, value)| value).max()?,
            any: readings.iter().fold(0, |bits, &(_, value)| bits | value),
            rate: (seconds > 0.0).then(|| f64::from(last.1.wrapping_sub(first.1)) / seconds),
        })
    }
}

/// Whether the board has any channel that would show a throttling.
#[must_use]
pub fn is_observable(sensors: &SensorRecord) -> bool {
    sensors.channels.iter().any(|channel| {
        is_clock(channel)
            || is_flag(channel)
            || channel.role == Role::Throttles
            || channel.kind == ChannelKind::OverCurrent
    })
}

/// What would have shown throttling and did not, in words: of the kinds that this board has, and no other.
pub(super) fn quiet_channels(sensors: &SensorRecord) -> String {
    let has = |shows: &dyn Fn(&Channel) -> bool| sensors.channels.iter().any(shows);
    let kinds = [
        (has(&|channel| is_clock(channel)), "no clock fell by more than 3 %"),
        (
            has(&|channel| channel.role == Role::Throttles),
            "no cooling device that slows something down became more active",
        ),
        (has(&|channel| channel.kind == ChannelKind::OverCurrent), "no over-current was counted"),
        (has(&|channel| is_flag(channel)), "no throttle was counted or flagged"),
    ];
    let quiet: Vec<&str> = kinds.iter().filter(|(has, _)| *has).map(|(_, words)| *words).collect();
    quiet.join(", ")
}

const fn is_clock(channel: &Channel) -> bool {
    matches!(channel.role, Role::CpuClock | Role::GpuClock | Role::MemoryClock)
}

const fn is_flag(channel: &Channel) -> bool {
    matches!(channel.kind, ChannelKind::ThrottleFlags | ChannelKind::ThrottleCount)
}

/// What the channels did around `onset_ns` (since the run's start), when latency rose there. The time before
/// is taken from `steady_from_ns` on at the earliest, the time after until `until_ns` at the latest: other
/// changes of level lie beyond. `None` when no channel moved with it.
#[must_use]
pub fn corroborate(
    sensors: &SensorRecord,
    steady_from_ns: u64,
    onset_ns: u64,
    until_ns: u64,
) -> Option<Corroboration> {
    let before = [steady_from_ns.max(onset_ns.saturating_sub(REACH_NS)), onset_ns.saturating_sub(GUARD_NS)];
    let after = [onset_ns + GUARD_NS, until_ns.min(onset_ns + REACH_NS)];
    let mut found: Vec<(ThrottleCause, String)> = Vec::new();
    for tier in &sensors.tiers {
        for column in &tier.columns {
            let Some(channel) = sensors.channels.get(usize::from(column.channel)) else { continue };
            let sides = Side::of(tier, column, before[0], before[1])
                .zip(Side::of(tier, column, after[0], after[1]))
                .map(|(before, after)| Sides { channel, before, after });
            found.extend(sides.and_then(|sides| sides.verdict(trip_of(sensors, column.channel))));
        }
    }
    let cause = found.iter().map(|&(cause, _)| cause).min()?;
    found.sort();
    Some(Corroboration { cause, evidence: found.into_iter().map(|(_, text)| text).collect() })
}

/// The lowest passive trip of a thermal channel, m\u{b0}C.
fn trip_of(sensors: &SensorRecord, channel: u16) -> Option<i32> {
    let trips = sensors.trips.iter().filter(|(index, kind, _)| *index == channel && kind == "passive");
    trips.map(|&(_, _, temperature)| temperature).min()
}

impl Sides<'_> {
    /// What this channel says, most telling causes first in the order of [`ThrottleCause`].
    fn verdict(&self, trip: Option<i32>) -> Option<(ThrottleCause, String)> {
        let Self { channel, before, after } = self;
        let id = &channel.id;
        match channel.kind {
            ChannelKind::Cooling if channel.role == Role::Throttles => (after.max > 0
                && after.mean > before.mean)
                .then(|| (ThrottleCause::Thermal, format!("{id} became active (state {})", after.max))),
            ChannelKind::Temperature => {
                // Crossing the trip counts; having been above it all along is warmth.
                let crossed = |trip: i32| after.max >= trip && before.mean < f64::from(trip);
                let trip = trip.filter(|&trip| channel.role == Role::Junction && crossed(trip))?;
                let (reached, trip) = (f64::from(after.max) / 1e3, f64::from(trip) / 1e3);
                Some((
                    ThrottleCause::Thermal,
                    format!("{id} reached {reached:.1} \u{b0}C, its trip is {trip:.1}"),
                ))
            }
            ChannelKind::ThrottleCount => self.rose(0.0).then(|| {
                (ThrottleCause::Thermal, format!("{id} counted {:.1} events/s", after.rate.unwrap_or(0.0)))
            }),
            ChannelKind::ThrottleFlags => self.flags(),
            ChannelKind::OverCurrent => self.rose(MIN_EVENT_RATE).then(|| {
                let (was, is) = (before.rate.unwrap_or(0.0), after.rate.unwrap_or(0.0));
                (ThrottleCause::OverCurrent, format!("{id} went from {was:.1} to {is:.1} events/s"))
            }),
            ChannelKind::ClockFloor | ChannelKind::ClockCap => self.fell(ThrottleCause::PowerModeCap),
            ChannelKind::Clock => match channel.role {
                Role::MemoryClock => self.fell(ThrottleCause::MemoryClock),
                Role::GpuClock => self.fell(ThrottleCause::GpuClock),
                Role::CpuClock => self.fell(ThrottleCause::CpuClock),
                _ => None,
            },
            _ => None,
        }
    }

    fn rose(&self, least: f64) -> bool {
        let (was, is) = (self.before.rate.unwrap_or(0.0), self.after.rate.unwrap_or(0.0));
        is > was + least && is > 2.0 * was
    }

    fn fell(&self, cause: ThrottleCause) -> Option<(ThrottleCause, String)> {
        let (was, is) = (self.before.mean, self.after.mean);
        let fall = 1.0 - is / was;
        (was > 0.0 && fall > MIN_CLOCK_FALL).then(|| {
            let text = format!(
                "{} fell {:.0} %, from {:.0} to {:.0} MHz",
                self.channel.id,
                fall * 1e2,
                was / 1e3,
                is / 1e3
            );
            (cause, text)
        })
    }

    fn flags(&self) -> Option<(ThrottleCause, String)> {
        let new = self.after.any & !self.before.any;
        let text = format!("{} set bits {new:#06b}", self.channel.id);
        match new {
            bits if bits & FLAG_UNDER_VOLTAGE != 0 => Some((ThrottleCause::OverCurrent, text)),
            bits if bits & FLAGS_THERMAL != 0 => Some((ThrottleCause::Thermal, text)),
            _ => None,
        }
    }
}
