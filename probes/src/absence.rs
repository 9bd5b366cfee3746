//! Why a channel is missing, as a value that programs tell apart and a sentence for people.
//!
//! An *absence* is a channel that a board of this kind could have and this one cannot give. Callers ask
//! [`AbsenceCause::needs_privilege`] and the like; nobody looks for words in the sentence.

use crate::errno;
use crate::root::ReadError;
use clipmark_profile::channel::{Channel, ChannelKind, Role};
use rustix::io::Errno;
use std::fmt;

/// One read that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The driver answered with this error.
    Refused(Errno),
    /// The text was not what this file is known to hold.
    Unparsable,
    /// The text lacks the line that holds the value.
    NoSuchLine,
    /// The driver says that it does not know the value, e.g. `<unknown>`.
    NotKnown,
    /// The value does not fit the channel, or all its bits are set.
    OutOfRange,
    /// The value cannot be true: it is outside the plausible range of its kind.
    Implausible {
        /// What the channel measures.
        kind: ChannelKind,
        /// The value, in the kind's unit.
        value: i32,
    },
    /// A counter was read once and has no earlier value to compare with.
    NeedsTwoReadings,
    /// A counter that should run has not moved since it was first read.
    Still,
    /// A counter in a capture of one instant, in which nothing moves.
    OneInstant,
    /// A rail that reads 0 while others carry power.
    ReadsZero,
    /// A setting that is there and not set.
    Unset,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(errno) => write!(f, "{} ({})", errno::name(*errno), errno::hint(*errno, "")),
            Self::Unparsable => f.write_str("unexpected text; the driver may have changed its format"),
            Self::NoSuchLine => f.write_str("the file lacks the line with this value"),
            Self::NotKnown => f.write_str("the driver answers that it does not know the value"),
            Self::OutOfRange => f.write_str("a value outside the channel's range"),
            Self::Implausible { kind, value } => implausible(f, *kind, *value),
            Self::NeedsTwoReadings => f.write_str("a counter gives a value from its second reading on"),
            Self::Still => f.write_str("the counter does not move"),
            Self::OneInstant => {
                f.write_str("the capture holds one instant, and a counter gives power only over time")
            }
            Self::ReadsZero => f.write_str("it reads 0 while other rails carry power"),
            Self::Unset => f.write_str("nothing is set (0)"),
        }
    }
}

fn implausible(f: &mut fmt::Formatter<'_>, kind: ChannelKind, value: i32) -> fmt::Result {
    let unit = kind.unit();
    let (low, high) = kind.plausible().unwrap_or((i32::MIN, i32::MAX));
    write!(
        f,
        "{value} {unit} is outside {low} to {high} {unit}, the plausible range: the sensor is off or broken, or its driver misreads it"
    )
}

/// A channel that this board cannot give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// The id that the channel would have.
    pub id: String,
    /// What it would measure.
    pub kind: ChannelKind,
    /// Why it is missing.
    pub cause: AbsenceCause,
}

impl Absence {
    /// The absence of `kind.name`.
    pub(crate) fn new(kind: ChannelKind, name: &str, cause: impl Into<AbsenceCause>) -> Self {
        let Channel { id, kind, .. } = Channel::new(kind, name, Role::Context);
        Self { id, kind, cause: cause.into() }
    }
}

/// Why a channel is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AbsenceCause {
    /// Its file is there and cannot be read, or holds something else.
    Unreadable(ReadError),
    /// None of the files that could hold it is there.
    NoFile(Vec<String>),
    /// Its files are in debugfs, which is not mounted.
    DebugfsNotMounted,
    /// No file on this kind of board is known to hold it.
    NotKnown,
    /// Nothing on this machine measures it; the sentence says what was looked for.
    NoSource(&'static str),
    /// The board file says why.
    Board(String),
    /// The monitor's input is switched off.
    InputDisabled,
    /// The monitor's input is not connected.
    InputUnconnected,
    /// The board file calls it a constant, not a measurement.
    Constant {
        /// The board file.
        board: String,
    },
    /// The CPU that it belongs to is offline.
    CpuOffline(u32),
    /// There is no total power.
    NoTotal(NoTotal),
    /// Every read failed, the last one so.
    Fault(Fault),
    /// It was never due while the sampler ran.
    NeverDue,
}

/// Why there is no total power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoTotal {
    /// A rail of it cannot be read.
    Refused {
        /// The rail.
        rail: String,
        /// Why.
        error: ReadError,
    },
    /// Several rails bear the name, and which of them is the module's is not known.
    Ambiguous {
        /// The name.
        label: String,
        /// Where each of them is read.
        sources: Vec<String>,
    },
    /// A rail of it does not measure.
    Dead {
        /// The rail.
        rail: String,
        /// What its reads give.
        fault: Fault,
    },
    /// The board has no rail at all.
    NoRail,
    /// There are rails, and none is known to carry the whole board.
    Unknown {
        /// Rails that are there.
        rails: Vec<String>,
        /// The board file.
        board: String,
    },
    /// A rail of it was never read during the run.
    NeverRead {
        /// The rail's channel.
        rail: String,
        /// How the total would have been formed.
        topology: String,
    },
}

impl From<ReadError> for AbsenceCause {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error)
    }
}

impl AbsenceCause {
    /// The read that failed, where one did.
    const fn error(&self) -> Option<&ReadError> {
        match self {
            Self::Unreadable(error) | Self::NoTotal(NoTotal::Refused { error, .. }) => Some(error),
            _ => None,
        }
    }

    /// Whether a file is there that this user may not read.
    #[must_use]
    pub fn needs_privilege(&self) -> bool {
        let fault = match self {
            Self::Fault(Fault::Refused(errno)) => Some(*errno),
            _ => None,
        };
        let errno = self.error().and_then(ReadError::errno).or(fault);
        matches!(errno, Some(Errno::ACCESS | Errno::PERM))
    }

    /// Whether the channel would come from debugfs.
    #[must_use]
    pub fn is_debugfs(&self) -> bool {
        let below = |path: &str| path.starts_with(DEBUGFS);
        match self {
            Self::DebugfsNotMounted => true,
            Self::NoFile(paths) => paths.iter().any(|path| below(path)),
            _ => self.error().is_some_and(|error| below(error.path())),
        }
    }
}

/// Where debugfs is mounted.
pub(crate) const DEBUGFS: &str = "/sys/kernel/debug";

impl fmt::Display for AbsenceCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(f),
            Self::NoFile(paths) => write!(f, "no such file here: {}", paths.join(", ")),
            Self::DebugfsNotMounted => {
                write!(f, "debugfs is not mounted: mount -t debugfs none {DEBUGFS}")
            }
            Self::NotKnown => f.write_str("no file on this kind of board is known to hold it"),
            Self::NoSource(looked_for) => f.write_str(looked_for),
            Self::Board(note) => f.write_str(note),
            Self::InputDisabled => f.write_str("the monitor's input is disabled (in_enable is 0)"),
            Self::InputUnconnected => f.write_str("the monitor's input is not connected (no label, or NC)"),
            Self::Constant { board } => write!(f, "{board} lists it as a constant, not a measurement"),
            Self::CpuOffline(cpu) => write!(f, "cpu{cpu} is offline"),
            Self::NoTotal(cause) => cause.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
            Self::NeverDue => f.write_str("never due while the sampler ran"),
        }
    }
}

impl fmt::Display for NoTotal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { rail, error } => write!(f, "{rail} would form it: {error}"),
            Self::Ambiguous { label, sources } => write!(
                f,
                "{} rails are called {label}, and which one is the module's is not known: {}",
                sources.len(),
                sources.join("; ")
            ),
            Self::Dead { rail, fault } => write!(f, "{rail} would form it, but {fault}"),
            Self::NoRail => f.write_str("no power monitor that the kernel can read is here"),
            Self::Unknown { rails, board } => {
                let rails = rails.join(", ");
                write!(
                    f,
                    "none of the rails here is known to carry the whole board: {rails} (board file {board})"
                )
            }
            Self::NeverRead { rail, topology } => write!(f, "{rail}, part of {topology}, was never read"),
        }
    }
}
