//! When two figures are of the same thing.
//!
//! Terms: an [`Identity`] names everything that must agree before figures may be put together. A [`Factor`] is a part of
//! it that can be left open or varied on purpose. Cohorts, trends, comparisons and the search for a sample's profile ask
//! here and nowhere else.

use crate::axis::Axis;
use crate::environment::Environment;
use crate::plan::{Deadline, Load};
use crate::point::{PointId, Shape, Variant};
use crate::summary::{Profile, RunInfo};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Everything that must agree. A part that is not known agrees only with others that are not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// What was built, with the power mode that the board was in.
    pub variant: Variant,
    /// The model's SHA-256, hexadecimal.
    pub digest: Option<String>,
    /// What it was given.
    pub shape: Shape,
    /// The board: see [`board`].
    pub board: Option<String>,
    /// The firmware: see [`firmware`].
    pub firmware: Option<String>,
    /// The device that the backend ran on, e.g. `cpu`.
    pub device: Option<String>,
    /// How inferences were issued.
    pub load: Issued,
    /// Whether figures are simulated.
    pub simulated: bool,
}

/// How inferences were issued, with the schedule where there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Issued {
    /// One after the other. A deadline judges such figures and does not change them.
    #[default]
    Closed,
    /// On the schedule of a stream of this many millionths of a frame a second.
    Stream(u64),
    /// On a schedule that is not known.
    Paced,
    /// In a way that this version does not know.
    Unknown,
}

impl Issued {
    /// How a run with this load and deadline issued its inferences.
    #[must_use]
    pub fn of(load: Load, deadline: Deadline) -> Self {
        match (load, deadline) {
            (Load::Closed, _) => Self::Closed,
            (Load::Paced, Deadline::Fps(fps)) => Self::Stream((fps * 1e6).round() as u64),
            (Load::Paced, _) => Self::Paced,
            (Load::Unknown, _) => Self::Unknown,
        }
    }

    /// How a run issued its inferences.
    #[must_use]
    pub fn of_run(run: &RunInfo) -> Self {
        Self::of(run.load, run.deadline)
    }
}

impl fmt::Display for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed loop"),
            Self::Stream(micros) => write!(f, "paced at {} frames/s", *micros as f64 / 1e6),
            Self::Paced => f.write_str("paced"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// The board file that matched, else the board's own name, else the CPU's.
#[must_use]
pub fn board<'a>(id: Option<&'a str>, name: Option<&'a str>, cpu: Option<&'a str>) -> Option<&'a str> {
    id.or(name).or(cpu)
}

/// The Jetson Linux release, else the kernel's.
#[must_use]
pub fn firmware<'a>(l4t: Option<&'a str>, kernel: Option<&'a str>) -> Option<&'a str> {
    l4t.or(kernel)
}

/// A part of an [`Identity`] that can be left open or varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Factor {
    /// An axis of the variant. The model as a whole: its name and digest.
    Axis(Axis),
    /// The model's digest: two builds of one model.
    Build,
    /// The board.
    Board,
    /// The firmware.
    Firmware,
    /// The device that the backend ran on.
    Device,
    /// How inferences were issued.
    Load,
    /// Measured or simulated.
    Simulation,
}

impl Factor {
    /// The model: name and digest.
    pub const MODEL: Self = Self::Axis(Axis::Model);
    /// The power mode.
    pub const POWER_MODE: Self = Self::Axis(Axis::PowerMode);

    /// Every factor, in the order in which differences are named.
    pub fn all() -> impl Iterator<Item = Self> {
        let rest = [Self::Build, Self::Board, Self::Firmware, Self::Device, Self::Load, Self::Simulation];
        Axis::VARIANT.into_iter().map(Self::Axis).chain(rest)
    }

    /// The factor that it is a part of: a build of a model, a device of a backend.
    #[must_use]
    pub const fn whole(self) -> Option<Self> {
        match self {
            Self::Build => Some(Self::MODEL),
            Self::Device => Some(Self::Axis(Axis::Backend)),
            _ => None,
        }
    }

    /// Whether it is one of `varied`, or a part of one.
    #[must_use]
    pub fn is_among(self, varied: &[Self]) -> bool {
        varied.contains(&self) || self.whole().is_some_and(|whole| varied.contains(&whole))
    }

    /// The name in sentences.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Axis(axis) => axis.name(),
            Self::Build => "build",
            Self::Board => "board",
            Self::Firmware => "firmware",
            Self::Device => "device",
            Self::Load => "load",
            Self::Simulation => "simulation",
        }
    }

    /// The name on the command line and in addresses, without blanks.
    #[must_use]
    pub fn key(self) -> String {
        self.name().replace(' ', "-")
    }

    /// The factor of this name or key.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|factor| factor.name() == name || factor.key() == name)
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Factor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.key())
    }
}

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let unknown = || serde::de::Error::custom(format!("`{name}` is not a factor"));
        Self::from_name(&name).ok_or_else(unknown)
    }
}

impl Identity {
    /// The identity of the point `id` of `profile`; `None` where the profile has no such variant.
    #[must_use]
    pub fn of(profile: &Profile, id: PointId) -> Option<Self> {
        let mut variant = profile.variants.get(usize::from(id.variant))?.clone();
        let environment: &Environment = &profile.environment;
        variant.power_mode = variant.power_mode.or_else(|| environment.power_mode.clone());
        let record = profile.models.iter().find(|model| model.name == variant.model);
        let device = profile.backends.iter().find(|backend| backend.name == variant.backend);
        let names = [&environment.board_id, &environment.board, &environment.cpu].map(Option::as_deref);
        let firmware = firmware(environment.l4t.as_deref(), environment.kernel.as_deref());
        Some(Self {
            digest: record.map(|record| record.sha256.clone()),
            device: device.map(|backend| backend.device.clone()),
            variant,
            shape: id.shape,
            board: board(names[0], names[1], names[2]).map(str::to_owned),
            firmware: firmware.map(str::to_owned),
            load: Issued::of_run(&profile.run),
            simulated: profile.run.simulated,
        })
    }

    /// What it has for `factor`, in words.
    #[must_use]
    pub fn value(&self, factor: Factor) -> String {
        let known = |part: &Option<String>| part.clone().unwrap_or_else(|| "unknown".into());
        match factor {
            Factor::Axis(axis) => {
                self.variant.get(axis).map_or_else(|| "unknown".into(), |value| value.to_string())
            }
            Factor::Build => known(&self.digest).chars().take(12).collect(),
            Factor::Board => known(&self.board),
            Factor::Firmware => known(&self.firmware),
            Factor::Device => known(&self.device),
            Factor::Load => self.load.to_string(),
            Factor::Simulation => if self.simulated { "simulated" } else { "measured" }.to_owned(),
        }
    }

    /// This identity with the parts of `open` made alike, so that what differs only in them compares as one.
    #[must_use]
    pub fn without(&self, open: &[Factor]) -> Self {
        let mut own = self.clone();
        for factor in open {
            match factor {
                Factor::Axis(axis) => {
                    own.variant.clear(*axis);
                    // Another model has another digest, another backend another device.
                    match axis {
                        Axis::Model => own.digest = None,
                        Axis::Backend => own.device = None,
                        _ => {}
                    }
                }
                Factor::Build => own.digest = None,
                Factor::Board => own.board = None,
                Factor::Firmware => own.firmware = None,
                Factor::Device => own.device = None,
                Factor::Load => own.load = Issued::default(),
                Factor::Simulation => own.simulated = false,
            }
        }
        own
    }

    fn agrees(&self, other: &Self, factor: Factor) -> bool {
        match factor {
            Factor::Axis(axis) => self.variant.get(axis) == other.variant.get(axis),
            Factor::Build => self.digest == other.digest,
            Factor::Board => self.board == other.board,
            Factor::Firmware => self.firmware == other.firmware,
            Factor::Device => self.device == other.device,
            Factor::Load => self.load == other.load,
            Factor::Simulation => self.simulated == other.simulated,
        }
    }

    /// The factors in which it differs from `other`. A model or backend that is another one is named once: its digest or
    /// device is another one too.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Factor> {
        let differing: Vec<Factor> = Factor::all().filter(|factor| !self.agrees(other, *factor)).collect();
        let is_implied = |factor: &Factor| factor.whole().is_some_and(|whole| differing.contains(&whole));
        differing.iter().copied().filter(|factor| !is_implied(factor)).collect()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |part: &Option<String>| part.clone().unwrap_or_else(|| "unknown".into());
        let variant = Variant { power_mode: None, ..self.variant.clone() };
        let mode = known(&self.variant.power_mode);
        write!(f, "{variant} at {}, {}, {mode}, {}", self.shape, known(&self.board), known(&self.firmware))?;
        if self.load != Issued::Closed {
            write!(f, ", {}", self.load)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn own() -> Identity {
        let profile = example::profile();
        Identity::of(&profile, profile.points[0].id).unwrap()
    }

    #[test]
    fn a_paced_run_is_another_thing_than_a_closed_one_and_its_rate_counts() {
        let mut profile = example::profile();
        let id = profile.points[0].id;
        let with = |profile: &Profile| Identity::of(profile, id).unwrap();
        profile.run.load = Load::Closed;
        profile.run.deadline = Deadline::Fps(30.0);
        let closed = with(&profile);
        profile.run.deadline = Deadline::None;
        assert_eq!(with(&profile), closed);
        profile.run.load = Load::Paced;
        profile.run.deadline = Deadline::Fps(30.0);
        let paced = with(&profile);
        assert_eq!(paced.differences(&closed), [Factor::Load]);
        profile.run.deadline = Deadline::Fps(25.0);
        assert_eq!(with(&profile).differences(&paced), [Factor::Load]);
    }

    #[test]
    fn every_factor_is_told_apart_and_can_be_left_open() {
        for factor in Factor::all() {
            let mut other = own();
            match factor {
                Factor::Axis(axis) => {
                    let value = match other.variant.get(axis) {
                        Some(crate::axis::AxisValue::Count(count)) => {
                            crate::axis::AxisValue::Count(count + 1)
                        }
                        _ => crate::axis::AxisValue::Name("fp16".into()),
                    };
                    assert!(other.variant.set(axis, value));
                }
                Factor::Build => other.digest = Some("0".into()),
                Factor::Board => other.board = Some("another".into()),
                Factor::Firmware => other.firmware = Some("another".into()),
                Factor::Device => other.device = Some("another".into()),
                Factor::Load => other.load = Issued::Paced,
                Factor::Simulation => other.simulated = !other.simulated,
            }
            assert_eq!(own().differences(&other), [factor], "{factor}");
            assert_ne!(own().value(factor), other.value(factor), "{factor}");
            assert_eq!(own().without(&[factor]), other.without(&[factor]), "{factor}");
            assert_eq!(Factor::from_name(&factor.key()), Some(factor));
        }
    }

    #[test]
    fn another_model_is_one_difference() {
        let mut other = own();
        (other.variant.model, other.digest) = ("another".into(), Some("0".into()));
        assert_eq!(own().differences(&other), [Factor::MODEL]);
        assert_eq!(own().without(&[Factor::MODEL]), other.without(&[Factor::MODEL]));
    }
}
