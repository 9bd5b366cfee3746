//! The start gate of a soak: a soak begins on a cool, unrestricted board, or says that it did not.
//!
//! Terms: the *reference* is what the board read before the run loaded it. The gate is open when every zone
//! is within [`NEAR`] of its reference, no clock cap is below its reference, and nothing is being
//! throttled. A fixed cool-down would wait too long on some boards and not long enough on others.
//! Pure but for the readings it is given: waiting is the caller's.

use clipmark_probes::latest::Latest;
use clipmark_profile::channel::ChannelKind;
use clipmark_profile::record::GateOutcome;
use clipmark_profile::units::Nanos;

/// How close to its reference a zone must come, m\u{b0}C.
pub(super) const NEAR: i32 = 3_000;

/// What the board read before the run loaded it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reference {
    /// Zones and clock caps: channel index, id, kind, value.
    marks: Vec<Mark>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    index: usize,
    id: String,
    kind: ChannelKind,
    value: i32,
}

/// What the gate says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// The soak may begin.
    Open(GateOutcome),
    /// Something is not back yet.
    Wait(String),
    /// It was waited long enough: the soak begins all the same, and its result says so.
    GivenUp(GateOutcome),
}

const fn counts(kind: ChannelKind) -> bool {
    matches!(kind, ChannelKind::Temperature | ChannelKind::ClockCap)
}

impl Reference {
    /// Whether every zone and cap has been read at least once.
    pub(super) fn is_ready(latest: &Latest) -> bool {
        let mut channels = latest.channels().iter().enumerate();
        channels.all(|(index, channel)| !counts(channel.kind) || latest.get(index).is_some())
    }

    /// The board as it is now.
    pub(super) fn take(latest: &Latest) -> Self {
        let mark = |(index, channel): (usize, &clipmark_profile::channel::Channel)| {
            let value = latest.get(index)?.value?;
            counts(channel.kind).then(|| Mark { index, id: channel.id.clone(), kind: channel.kind, value })
        };
        Self { marks: latest.channels().iter().enumerate().filter_map(mark).collect() }
    }

    /// Whether the soak may begin after having `waited`, at most `bound`.
    pub(super) fn look(&self, latest: &Latest, waited: Nanos, bound: Nanos) -> Look {
        let throttling = latest.throttling();
        if self.marks.is_empty() && throttling.is_empty() {
            let reason = "no temperature, clock cap or throttling can be read on this board".into();
            return Look::Open(GateOutcome { passed: true, waited, reason });
        }
        let mut missing: Vec<String> = throttling.iter().map(|id| format!("{id} throttles")).collect();
        missing.extend(self.marks.iter().filter_map(|mark| mark.missing(latest)));
        if missing.is_empty() {
            let reason = format!("every zone within {} \u{b0}C of its reference, clocks free", NEAR / 1000);
            return Look::Open(GateOutcome { passed: true, waited, reason });
        }
        let missing = missing.join(", ");
        if waited >= bound {
            return Look::GivenUp(GateOutcome { passed: false, waited, reason: missing });
        }
        Look::Wait(missing)
    }
}

impl Mark {
    /// What is not back yet. A reading that fails now holds nothing up.
    fn missing(&self, latest: &Latest) -> Option<String> {
        let now = latest.get(self.index)?.value?;
        let celsius = |value: i32| f64::from(value) / 1e3;
        match self.kind {
            ChannelKind::ClockCap if now < self.value => {
                Some(format!("{} at {now} kHz, {} before", self.id, self.value))
            }
            ChannelKind::Temperature if now > self.value + NEAR => {
                Some(format!("{} at {:.1} \u{b0}C, {:.1} before", self.id, celsius(now), celsius(self.value)))
            }
            _ => None,
        }
    }
}
