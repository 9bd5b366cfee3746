//! The sampler of a run: what is sampled, and what the run looks at while it goes on.

use super::error::RunError;
use super::watch::BoardNow;
use clipmark_probes::Cadence;
use clipmark_probes::board::Boards;
use clipmark_probes::registry::Sensors;
use clipmark_probes::root::Root;
use clipmark_probes::sampler::{Sampler, SamplerOptions};
use clipmark_profile::plan::{Load, Plan};
use clipmark_profile::sensors::SensorRecord;
use clipmark_profile::units::Nanos;
use std::path::PathBuf;

/// A run's sampler, or none.
#[derive(Debug, Default)]
pub struct Sensing(Option<Sampler>);

impl Sensing {
    /// Starts sampling what the board under `root` can tell, into `file`.
    ///
    /// # Errors
    /// The sampler's thread or file.
    pub fn start(
        root: &Root,
        boards: &Boards,
        plan: &Plan,
        origin: Nanos,
        file: PathBuf,
    ) -> Result<Self, RunError> {
        let sensors = Sensors::discover(root, boards);
        let cadence = Cadence { load_period: load_period(plan), ..Cadence::default() };
        // Without rails there is nothing whose refresh could be measured.
        let measure_refresh = !sensors.rails.is_empty();
        let options = SamplerOptions {
            origin,
            cadence,
            measure_refresh,
            file: Some(file),
            ..SamplerOptions::default()
        };
        Ok(Self(Some(Sampler::start(sensors, &options)?)))
    }

    /// No sampler.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// The newest readings.
    #[must_use]
    pub fn board_now(&self) -> BoardNow {
        let Some(sampler) = &self.0 else { return BoardNow::default() };
        let latest = sampler.latest();
        BoardNow { hottest: latest.hottest(), power: latest.total_power() }
    }

    /// The sampler's newest readings in full, for the start gate.
    #[must_use]
    pub fn latest(&self) -> Option<&clipmark_probes::latest::Latest> {
        self.0.as_ref().map(|sampler| sampler.latest().as_ref())
    }

    /// Stops sampling and gives the record.
    ///
    /// # Errors
    /// The series cannot be read back.
    pub fn stop(self) -> Result<Option<SensorRecord>, RunError> {
        Ok(self.0.map(Sampler::stop).transpose()?)
    }
}

/// The interval between inferences of a paced load at its shortest clip.
fn load_period(plan: &Plan) -> Option<Nanos> {
    let fps = plan.request.fps.filter(|_| plan.request.load == Load::Paced)?;
    let frames = plan.points.iter().map(|point| point.at.clip_length.get()).min()?;
    Some(Nanos((f64::from(frames) / fps * 1e9) as u64))
}
