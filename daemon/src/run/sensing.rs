//! The sampler of a run: what is sampled, and what the run looks at while it goes on.

use super::error::RunError;
use super::watch::BoardNow;
use clipmark_probes::Cadence;
use clipmark_probes::board::Boards;
use clipmark_probes::latest::Latest;
use clipmark_probes::registry::Sensors;
use clipmark_probes::root::Root;
use clipmark_probes::sampler::{Replay, Sampler, SamplerOptions};
use clipmark_profile::plan::{Load, Plan};
use clipmark_profile::sensors::SensorRecord;
use clipmark_profile::units::Nanos;
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

/// A run's sampler, or none.
#[derive(Debug)]
pub enum Sensing {
    /// No sampler.
    Off,
    /// The board is read as time goes by.
    Live(Sampler),
    /// A captured board is read on the run's virtual clock.
    Replayed {
        /// Where it stands.
        replay: Box<RefCell<Replay>>,
        /// Its newest readings.
        latest: Arc<Latest>,
    },
}

/// What to sample, and on which line of time.
#[derive(Debug)]
pub struct Sampling<'a> {
    /// The board's tree.
    pub root: &'a Root,
    /// Board files.
    pub boards: &'a Boards,
    /// The run's start on the monotonic clock.
    pub origin: Nanos,
    /// The instant of the run at which a replay begins; a live sampler begins at once.
    pub replay_from: Option<Nanos>,
    /// Where the readings go.
    pub file: PathBuf,
}

impl Sensing {
    /// Starts sampling what the board can tell.
    ///
    /// # Errors
    /// The sampler's thread or file.
    pub fn start(plan: &Plan, sampling: Sampling<'_>) -> Result<Self, RunError> {
        let sensors = Sensors::discover(sampling.root, sampling.boards);
        let cadence = Cadence { load_period: load_period(plan), ..Cadence::default() };
        // Without rails there is nothing whose refresh could be measured.
        let measure_refresh = !sensors.rails.is_empty();
        let options = SamplerOptions {
            origin: sampling.origin,
            cadence,
            measure_refresh,
            file: Some(sampling.file),
            ..SamplerOptions::default()
        };
        let Some(from) = sampling.replay_from else {
            return Ok(Self::Live(Sampler::start(sensors, &options)?));
        };
        let replay = Replay::new(sensors, &options, from)?;
        let latest = Arc::clone(replay.latest());
        Ok(Self::Replayed { replay: Box::new(RefCell::new(replay)), latest })
    }

    /// Reads on to `now` where the board is replayed.
    pub(super) fn replay_to(&self, now: Nanos) {
        if let Self::Replayed { replay, .. } = self {
            replay.borrow_mut().advance_to(now);
        }
    }

    /// The newest readings.
    #[must_use]
    pub fn board_now(&self) -> BoardNow {
        let Some(latest) = self.latest() else { return BoardNow::default() };
        BoardNow {
            hottest: latest.hottest().map(|hottest| hottest.value),
            power: latest.total_power(),
            cpu_khz: latest.slowest_clock("clock.cpu"),
            gpu_khz: latest.slowest_clock("clock.gpu"),
        }
    }

    /// The newest readings in full, for the start gate.
    #[must_use]
    pub fn latest(&self) -> Option<&Latest> {
        match self {
            Self::Off => None,
            Self::Live(sampler) => Some(sampler.latest().as_ref()),
            Self::Replayed { latest, .. } => Some(latest),
        }
    }

    /// Stops sampling and gives the record.
    ///
    /// # Errors
    /// The series cannot be read back.
    pub fn stop(self) -> Result<Option<SensorRecord>, RunError> {
        Ok(match self {
            Self::Off => None,
            Self::Live(sampler) => Some(sampler.stop()?),
            Self::Replayed { replay, .. } => Some(replay.into_inner().finish()?),
        })
    }
}

/// The interval between inferences of a paced load at its shortest clip.
fn load_period(plan: &Plan) -> Option<Nanos> {
    let fps = plan.request.fps.filter(|_| plan.request.load == Load::Paced)?;
    let frames = plan.points.iter().map(|point| point.shape.clip()).min()?;
    Some(Nanos((f64::from(frames) / fps * 1e9) as u64))
}
