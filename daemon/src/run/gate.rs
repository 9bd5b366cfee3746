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

    /// The board as it is now. What cannot be read yet, or reads 0 as units do that are off, is no mark: a unit
    /// that wakes up later holds nothing up.
    pub(super) fn take(latest: &Latest) -> Self {
        let mark = |(index, channel): (usize, &clipmark_profile::channel::Channel)| {
            let value = latest.get(index)?.value.filter(|value| *value != 0)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_probes::board::Boards;
    use clipmark_probes::registry::Sensors;
    use clipmark_probes::root::Root;
    use clipmark_probes::sampler::{Replay, SamplerOptions};
    use clipmark_probes::tree::Tree;

    const BOUND: Nanos = Nanos::from_secs(60);

    fn board(temperature: &str, cap: &str, throttle: &str) -> Replay {
        let text = format!(
            "/sys/class/thermal/thermal_zone0/type\ttj-thermal\n\
             /sys/class/thermal/thermal_zone0/temp\t{temperature}\n\
             /sys/class/thermal/cooling_device0/type\tgpu-throttle-alert\n\
             /sys/class/thermal/cooling_device0/cur_state\t{throttle}\n\
             /sys/devices/system/cpu/cpufreq/policy0/affected_cpus\t0\n\
             /sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq\t1000000\n\
             /sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq\t{cap}\n"
        );
        let root = Root::stored(Tree::parse(&text).unwrap());
        let sensors = Sensors::discover(&root, &Boards::embedded().unwrap());
        Replay::new(sensors, &SamplerOptions::default(), Nanos(0)).unwrap()
    }

    /// What the gate says at each of the given seconds, its reference being taken at second 10.
    fn looks<const N: usize>(mut board: Replay, seconds: [u64; N]) -> [Look; N] {
        board.advance_to(Nanos::from_secs(10));
        assert!(Reference::is_ready(board.latest()));
        let reference = Reference::take(board.latest());
        seconds.map(|second| {
            board.advance_to(Nanos::from_secs(second));
            reference.look(board.latest(), Nanos::from_secs(second - 10), BOUND)
        })
    }

    #[test]
    fn a_board_as_it_was_is_let_in_at_once() {
        let [look] = looks(board("45000", "1500000", "0"), [10]);
        assert!(matches!(look, Look::Open(GateOutcome { passed: true, .. })), "{look:?}");
    }

    #[test]
    fn a_hot_board_waits_until_it_is_within_three_degrees() {
        let heat = "@series 0:45000,20000:70000,40000:48000";
        let [hot, cool] = looks(board(heat, "1500000", "0"), [30, 50]);
        let Look::Wait(missing) = hot else { panic!("{hot:?}") };
        assert!(missing.contains("tj-thermal at 70.0") && missing.contains("45.0 before"), "{missing}");
        assert!(matches!(cool, Look::Open(_)), "{cool:?}");
    }

    #[test]
    fn a_lowered_clock_cap_or_an_active_throttle_keeps_it_shut() {
        let [capped] = looks(board("45000", "@series 0:1500000,20000:1190000", "0"), [30]);
        assert!(matches!(&capped, Look::Wait(missing) if missing.contains("1190000 kHz")), "{capped:?}");
        let [throttled] = looks(board("45000", "1500000", "@series 0:0,20000:1"), [30]);
        assert!(matches!(&throttled, Look::Wait(missing) if missing.contains("throttles")), "{throttled:?}");
    }

    #[test]
    fn after_the_bound_it_gives_up_and_says_why() {
        let [given_up] = looks(board("@series 0:45000,20000:70000", "1500000", "0"), [75]);
        let Look::GivenUp(outcome) = given_up else { panic!("{given_up:?}") };
        assert!(!outcome.passed && outcome.reason.contains("70.0"), "{outcome:?}");
        assert_eq!(outcome.waited, Nanos::from_secs(65));
    }

    #[test]
    fn a_board_that_tells_nothing_is_let_in_and_that_is_said() {
        let root = Root::stored(Tree::parse("/proc/loadavg\t0.1 0.1 0.1 1/2 3\n").unwrap());
        let sensors = Sensors::discover(&root, &Boards::embedded().unwrap());
        let board = Replay::new(sensors, &SamplerOptions::default(), Nanos(0)).unwrap();
        let [look] = looks(board, [11]);
        assert!(matches!(&look, Look::Open(outcome) if outcome.reason.contains("can be read")), "{look:?}");
    }
}
