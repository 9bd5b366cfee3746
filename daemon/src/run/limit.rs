//! The temperature limit of a run: kept on the hottest of the chip's zones, or refused before the run.
//!
//! A breach needs two readings of a zone that follow each other: one alone may be a glitch. A limit that can no
//! longer be kept, because no zone answers, ends the run as well. Beside the looks between two chunks a thread
//! looks while an engine is built or a long chunk is measured; on a replayed board, whose clock stands still
//! meanwhile, there is none.

use super::RunContext;
use super::error::RunError;
use super::sensing::Sensing;
use clipmark_probes::latest::Latest;
use clipmark_probes::probe::ChipZones;
use clipmark_probes::registry::Sensors;
use clipmark_profile::channel::{ChannelKind, Role};
use clipmark_profile::plan::Request;
use clipmark_profile::units::{MilliCelsius, Nanos};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

/// How long no zone may answer before the limit counts as lost.
const BLIND: Nanos = Nanos::from_secs(10);
/// Time between two looks of the thread: zones are read once a second.
const LOOK: Duration = Duration::from_millis(500);

/// Why a temperature limit cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnkeptLimit {
    /// Nothing is read.
    #[error("the sampler is off, so that no temperature is read")]
    NoSampler,
    /// No reading can reach it.
    #[error("readings above {highest} \u{b0}C are taken for faults of the sensor; choose a limit below")]
    TooHigh {
        /// The highest plausible temperature, degrees Celsius.
        highest: i32,
    },
    /// The chip's zones do not answer.
    #[error("no temperature of the chip can be read: {0}")]
    Unreadable(String),
    /// No zone is known.
    #[error(
        "no temperature here is known to be the chip's; name its zone as thermal.junction in a board file, or run without a limit"
    )]
    NoZone,
}

/// Refuses a limit that nothing on this board can keep; says on what another one is kept.
///
/// # Errors
/// The limit cannot be kept.
pub(super) fn require(request: &Request, context: &RunContext) -> Result<Option<String>, RunError> {
    let Some(celsius) = request.abort_celsius else { return Ok(None) };
    let zones = zones(celsius, context).map_err(|cause| RunError::TemperatureLimit {
        field: "abort_celsius".into(),
        celsius,
        cause,
    })?;
    Ok(Some(format!("the run stops when {zones} reads {celsius:.1} \u{b0}C twice in a row")))
}

/// The zones that the limit is kept on, in words.
fn zones(celsius: f64, context: &RunContext) -> Result<String, UnkeptLimit> {
    if !context.sampler {
        return Err(UnkeptLimit::NoSampler);
    }
    let highest = ChannelKind::Temperature.plausible().map_or(i32::MAX, |(_, high)| high / 1000);
    if celsius > f64::from(highest) {
        return Err(UnkeptLimit::TooHigh { highest });
    }
    let mut sensors = Sensors::discover(&context.root, &context.boards);
    let readings = sensors.read(Nanos(0));
    let chip = sensors.channels().zip(&readings).filter(|(sensed, _)| sensed.channel.role == Role::Junction);
    let (read, failed): (Vec<_>, Vec<_>) = chip.partition(|(_, reading)| reading.is_ok());
    let names: Vec<&str> = read.iter().map(|(sensed, _)| sensed.channel.id.as_str()).collect();
    match (sensors.chip_zones, names.as_slice()) {
        (ChipZones::Known, [zone]) => Ok((*zone).to_owned()),
        (ChipZones::Known, [_, ..]) => Ok(format!("the hottest of {}", names.join(", "))),
        (ChipZones::Hottest, [_, ..]) => {
            Ok(format!("the hottest of {}, none of which is known to be the chip's,", names.join(", ")))
        }
        (_, []) => Err(unreadable(&sensors, &failed)),
        (ChipZones::None, _) => Err(UnkeptLimit::NoZone),
    }
}

type Failed<'a> = (&'a clipmark_probes::probe::Sensed, &'a clipmark_probes::probe::Reading);

fn unreadable(sensors: &Sensors, failed: &[Failed<'_>]) -> UnkeptLimit {
    let faults = failed
        .iter()
        .filter_map(|(sensed, reading)| reading.err().map(|fault| format!("{}: {fault}", sensed.channel.id)));
    let refused = sensors.absent.iter().filter(|absence| absence.cause.needs_privilege());
    let refused = refused.filter(|absence| absence.kind == ChannelKind::Temperature);
    let refused = refused.map(|absence| format!("{}: {}", absence.id, absence.cause));
    let causes: Vec<String> = faults.chain(refused).collect();
    if causes.is_empty() { UnkeptLimit::NoZone } else { UnkeptLimit::Unreadable(causes.join("; ")) }
}

/// A run's temperature limit, where it has one.
#[derive(Debug, Default)]
pub(super) struct TemperatureLimit {
    limit: Option<MilliCelsius>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when no zone has answered.
    blind_since: Option<Nanos>,
    /// Why the run must end.
    breach: Option<String>,
}

impl TemperatureLimit {
    pub(super) fn of(request: &Request) -> Self {
        let limit = request.abort_celsius.map(|celsius| MilliCelsius((celsius * 1e3) as i32));
        Self { limit, state: Mutex::default() }
    }

    /// Looks at the newest readings; why the run must end, once it must.
    pub(super) fn look(&self, latest: Option<&Latest>, now: Nanos) -> Option<String> {
        let limit = self.limit?;
        let latest = latest?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.breach.is_none() {
            state.breach = state.judge(limit, latest, now);
        }
        state.breach.clone()
    }

    /// Why the run must end, where a look found that it must.
    pub(super) fn breach(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).breach.clone()
    }

    /// Looks on while the caller waits for a worker, until `over`; a breach sets `stop`.
    pub(super) fn watch<'scope, 'env: 'scope>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        sensing: &Sensing,
        now: impl Fn() -> Nanos + Send + 'scope,
        stop: Arc<AtomicBool>,
        over: &'env AtomicBool,
    ) -> Option<ScopedJoinHandle<'scope, ()>> {
        let Sensing::Live(sampler) = sensing else { return None };
        self.limit?;
        let latest = Arc::clone(sampler.latest());
        Some(scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if self.look(Some(&latest), now()).is_some() {
                    stop.store(true, Ordering::Relaxed);
                    return;
                }
                std::thread::park_timeout(LOOK);
            }
        }))
    }
}

impl State {
    fn judge(&mut self, limit: MilliCelsius, latest: &Latest, now: Nanos) -> Option<String> {
        let celsius = |value: MilliCelsius| f64::from(value.get()) / 1e3;
        if let Some(hottest) = latest.hottest_confirmed().filter(|hottest| hottest.value >= limit) {
            return Some(format!(
                "{} read {:.1} \u{b0}C or more twice in a row; the run was to stop at {:.1} \u{b0}C",
                hottest.zone,
                celsius(hottest.value),
                celsius(limit)
            ));
        }
        if latest.hottest().is_some() {
            self.blind_since = None;
            return None;
        }
        let since = *self.blind_since.get_or_insert(now);
        (now.since(since) >= BLIND).then(|| {
            let seconds = BLIND.get() / Nanos::PER_SECOND;
            format!(
                "no temperature of the chip could be read for {seconds} s, so that the limit of {:.1} \u{b0}C could not be kept",
                celsius(limit)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_probes::board::Boards;
    use clipmark_probes::root::Root;
    use clipmark_probes::sampler::{Replay, SamplerOptions};
    use clipmark_probes::tree::Tree;

    /// What the limit of 80 \u{b0}C says at each second from 1 on, of two zones of a chip.
    fn looks(one: &str, two: &str, seconds: u64) -> Vec<Option<String>> {
        let text = format!(
            "/sys/class/thermal/thermal_zone0/type\tcpu-thermal\n/sys/class/thermal/thermal_zone0/temp\t{one}\n\
             /sys/class/thermal/thermal_zone1/type\tgpu-thermal\n/sys/class/thermal/thermal_zone1/temp\t{two}\n"
        );
        let root = Root::stored(Tree::parse(&text).unwrap());
        let sensors = Sensors::discover(&root, &Boards::embedded().unwrap());
        let mut board = Replay::new(sensors, &SamplerOptions::default(), Nanos(0)).unwrap();
        let limit = TemperatureLimit::of(&Request { abort_celsius: Some(80.0), ..Request::default() });
        let look = |second| {
            let now = Nanos::from_secs(second);
            board.advance_to(now);
            limit.look(Some(board.latest()), now)
        };
        (1..=seconds).map(look).collect()
    }

    #[test]
    fn one_reading_above_the_limit_ends_nothing() {
        let glitch = looks("45000", "@series 0:46000,4500:85000,5500:46000", 12);
        assert!(glitch.iter().all(Option::is_none), "{glitch:?}");
        let nonsense = looks("45000", "@series 0:-256000,4500:650789,5500:-263200", 12);
        assert!(nonsense.iter().all(Option::is_none), "{nonsense:?}");
    }

    #[test]
    fn two_readings_in_a_row_end_the_run_with_zone_and_value() {
        let looks = looks("45000", "@series 0:46000,4500:85300", 12);
        let breach = looks.iter().flatten().next().expect("a breach");
        assert!(breach.contains("temp.gpu-thermal read 85.3 \u{b0}C") && breach.contains("80.0"), "{breach}");
    }

    #[test]
    fn a_limit_whose_zones_fall_silent_ends_the_run() {
        let looks = looks("@series 0:45000,3000:!EIO", "@series 0:45000,3000:!ENODEV", 20);
        assert!(looks[..10].iter().all(Option::is_none), "{looks:?}");
        let breach = looks.iter().flatten().next().expect("a breach");
        assert!(breach.contains("could not be kept"), "{breach}");
    }
}
