//! Whether the board is being throttled right now, from one reading of every channel.
//!
//! A single reading can show an active cooling device, a firmware flag, or a CPU that runs below what was
//! requested of it. It cannot show a rate: over-current counters are told as they stand. A clock below
//! its maximum is no throttling by itself, least of all where the floor allows it.

use crate::board::Board;
use crate::environment::{ClockControl, clock_control};
use crate::latest::says_throttled;
use crate::probe::{Reading, Sensed};
use crate::registry::Sensors;
use clipmark_profile::channel::{ChannelKind, Role};

/// A measured clock below this share of the requested one is held down by the hardware.
const MEASURED_SHARE: f64 = 0.9;
/// What the firmware flags of a Raspberry Pi mean, by bit.
const FIRMWARE_FLAGS: [&str; 4] = ["under-voltage", "clock capped", "throttled", "soft temperature limit"];
const STICKY_SHIFT: u32 = 16;

/// The verdict of one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttling {
    /// Something is being throttled.
    Active,
    /// Nothing that can be seen is.
    None,
    /// No channel could show it.
    Unknown,
}

/// Verdict and evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThrottleState {
    /// The verdict.
    pub throttling: Throttling,
    /// What speaks for throttling, each in words.
    pub reasons: Vec<String>,
    /// What a reader should know beside it.
    pub remarks: Vec<String>,
}

/// Judges one reading of every channel.
#[must_use]
pub fn assess(sensors: &Sensors, readings: &[Reading]) -> ThrottleState {
    let values = sensors.channels().zip(readings).map(|(sensed, reading)| (sensed, reading.ok()));
    let values: Vec<(&Sensed, Option<i32>)> = values.collect();
    let mut state =
        ThrottleState { throttling: Throttling::Unknown, reasons: Vec::new(), remarks: Vec::new() };
    let mut could_tell = false;
    for (sensed, value) in &values {
        let Some(value) = *value else { continue };
        let channel = &sensed.channel;
        could_tell |= channel.role == Role::Throttles || channel.kind == ChannelKind::ThrottleFlags;
        if says_throttled(channel, Some(value)) {
            state.reasons.push(active(sensed, value));
        }
        state.remarks.extend(remark(&sensors.board, sensed, value));
    }
    let measured = measured_clocks(&values);
    could_tell |= !measured.is_empty();
    state.reasons.extend(measured.into_iter().filter_map(MeasuredClock::held_down));
    let cpus_held = clock_control(&sensors.root) == ClockControl::Held;
    state.remarks.extend(unlocked(&values, cpus_held));
    state.throttling = match (state.reasons.is_empty(), could_tell) {
        (false, _) => Throttling::Active,
        (true, true) => Throttling::None,
        (true, false) => Throttling::Unknown,
    };
    state
}

fn active(sensed: &Sensed, value: i32) -> String {
    let id = &sensed.channel.id;
    if sensed.channel.kind != ChannelKind::ThrottleFlags || sensed.channel.role == Role::Throttles {
        return format!("{id} is active ({value})");
    }
    format!("{id}: {}", flags(value))
}

fn flags(bits: i32) -> String {
    let set = FIRMWARE_FLAGS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

fn remark(board: &Board, sensed: &Sensed, value: i32) -> Option<String> {
    let id = &sensed.channel.id;
    let meaning = sensed.meaning.as_deref().unwrap_or("events");
    match sensed.channel.kind {
        ChannelKind::OverCurrent if value > 0 => Some(format!(
            "{id} counted {value} since boot ({meaning}); only its rate tells whether it costs anything"
        )),
        ChannelKind::ThrottleCount if value > 0 => Some(format!("{id} counted {value} since boot")),
        ChannelKind::ThrottleFlags if value >> STICKY_SHIFT & 0xf != 0 => {
            Some(format!("{id}: seen since boot: {}", flags(value >> STICKY_SHIFT)))
        }
        ChannelKind::Voltage => {
            let name = id.strip_prefix("voltage.")?;
            let limit = board.power.low_voltage.get(name).filter(|limit| value < **limit)?;
            Some(format!("{id} is {value} mV, below {limit} mV: the supply is too weak"))
        }
        _ => None,
    }
}

/// A CPU's clock as measured and as requested, kHz.
#[derive(Debug)]
struct MeasuredClock<'a> {
    name: &'a str,
    measured: i32,
    requested: i32,
}

fn measured_clocks<'a>(values: &[(&'a Sensed, Option<i32>)]) -> Vec<MeasuredClock<'a>> {
    let value = |id: &str| values.iter().find(|(sensed, _)| sensed.channel.id == id)?.1;
    let measured = values.iter().filter_map(|(sensed, reading)| {
        let id = sensed.channel.id.strip_suffix(".measured")?;
        let name = id.strip_prefix("clock.")?;
        Some(MeasuredClock { name, measured: (*reading)?, requested: value(id)? })
    });
    measured.collect()
}

impl MeasuredClock<'_> {
    fn held_down(self) -> Option<String> {
        let below = f64::from(self.measured) < f64::from(self.requested) * MEASURED_SHARE;
        below.then(|| {
            let (measured, requested) = (self.measured / 1000, self.requested / 1000);
            format!(
                "{} runs at {measured} MHz while {requested} MHz is requested: held down by hardware",
                self.name
            )
        })
    }
}

/// That floors leave room, so that a low clock is the governor's choice. A governor may hold the CPUs' clocks
/// at their cap with a floor below it.
fn unlocked(values: &[(&Sensed, Option<i32>)], cpus_held: bool) -> Option<String> {
    let value = |id: String| values.iter().find(|(sensed, _)| sensed.channel.id == id)?.1;
    let free = values.iter().filter_map(|(sensed, _)| {
        let name = sensed.channel.id.strip_prefix("floor.")?;
        let wanted = (name.starts_with("cpu") && !cpus_held) || name == "gpu";
        let (floor, cap) = (value(format!("floor.{name}"))?, value(format!("cap.{name}"))?);
        (wanted && floor < cap).then(|| name.to_owned())
    });
    let free: Vec<String> = free.collect();
    (!free.is_empty()).then(|| {
        format!(
            "clocks are not held ({}): a low one is the governor's choice, not throttling",
            free.join(", ")
        )
    })
}
