//! Who is told how a run goes: a person at a terminal, a log, or the daemon.

use clipmark_profile::plan::Plan;
use clipmark_profile::sweep::{Progress, StepResult, SweepStep};
use clipmark_profile::units::{MilliCelsius, Milliwatts, Nanos};

/// The board as it is now, where it can be seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BoardNow {
    /// The hottest zone that counts.
    pub hottest: Option<MilliCelsius>,
    /// Total power.
    pub power: Option<Milliwatts>,
    /// The slowest CPU clock, kHz.
    pub cpu_khz: Option<i32>,
    /// The GPU's clock, kHz.
    pub gpu_khz: Option<i32>,
}

/// What happens during a run.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// The plan stands; sentences on what was chosen and why.
    Planned {
        /// What will be done.
        plan: &'a Plan,
        /// Why these backends, which axes.
        notes: &'a [String],
    },
    /// Something begins that may take long before the first step, in words.
    Preparing(&'a str),
    /// A step begins.
    Step {
        /// Which.
        step: &'a SweepStep,
        /// How far the sweep is.
        progress: Progress,
        /// Time since the run's start.
        elapsed: Nanos,
        /// The board.
        board: BoardNow,
    },
    /// A step is over.
    Done {
        /// Which.
        step: &'a SweepStep,
        /// What came of it.
        result: &'a StepResult,
    },
    /// A soak goes on.
    Soak {
        /// Which point, in words.
        label: &'a str,
        /// Time in the soak, and its length.
        elapsed: Nanos,
        /// The soak's length.
        length: Nanos,
        /// Median latency of the last second.
        latency: Option<Nanos>,
        /// The board.
        board: BoardNow,
    },
    /// Something else worth a line, e.g. that the start gate waits.
    Note(&'a str),
}

/// Is told what happens. Called between inferences, never inside a timed loop.
pub trait ProgressSink {
    /// Takes in one piece of news.
    fn tell(&mut self, news: &RunEvent<'_>);
}
