//! When the clips of a load arrive.

use super::{ArrivalProcess, Load, Phases};
use crate::stats::rng::Rng;
use crate::units::Nanos;
use serde::{Deserialize, Serialize};

/// Most clips of one load; a longer one is cut.
pub const MOST_CLIPS: usize = 200_000;

/// A clip of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Clip {
    /// When its last frame arrives, from the beginning of the load.
    pub arrival: Nanos,
    /// Its stream, counted from 0.
    pub stream: u32,
}

/// The clips of `load` that arrive before `length`, in the order of arrival; those of one instant in the order of their
/// streams. At most [`MOST_CLIPS`].
#[must_use]
pub fn of_load(load: &Load, length: Nanos) -> Vec<Clip> {
    let expected = length.0 as f64 / load.period.0.max(1) as f64 * f64::from(load.streams);
    let length = if expected > MOST_CLIPS as f64 {
        Nanos((length.0 as f64 * MOST_CLIPS as f64 / expected) as u64)
    } else {
        length
    };
    let mut clips: Vec<Clip> = (0..load.streams).flat_map(|stream| of_stream(load, stream, length)).collect();
    clips.sort_unstable();
    clips.truncate(MOST_CLIPS);
    clips
}

fn of_stream(load: &Load, stream: u32, length: Nanos) -> impl Iterator<Item = Clip> {
    let (period, process) = (load.period.0.max(1) as f64, load.arrivals);
    let mut rng = Rng::new(Rng::new(load.seed).next_u64() ^ u64::from(stream));
    let phase = if load.phases == Phases::Aligned { 0.0 } else { rng.uniform() * period };
    let mut index = 0.0;
    // From the beginning, not from the last arrival: rounding does not add up.
    let mut next = move || match process {
        ArrivalProcess::Poisson => {
            index += -(1.0 - rng.uniform()).ln();
            index * period
        }
        ArrivalProcess::Periodic | ArrivalProcess::Unknown => {
            let at = f64::mul_add(index, period, phase);
            index += 1.0;
            at
        }
    };
    std::iter::from_fn(move || Some(Clip { arrival: Nanos(next().round() as u64), stream }))
        .take_while(move |clip| clip.arrival < length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(streams: u32, phases: Phases, arrivals: ArrivalProcess) -> Load {
        let period = Nanos::from_secs(1);
        Load { streams, period, deadline: period, phases, arrivals, seed: 7 }
    }

    #[test]
    fn aligned_streams_arrive_together_once_a_period() {
        let clips = of_load(&load(3, Phases::Aligned, ArrivalProcess::Periodic), Nanos::from_secs(2));
        let shown: Vec<(u64, u32)> = clips.iter().map(|clip| (clip.arrival.0, clip.stream)).collect();
        let second = Nanos::PER_SECOND;
        assert_eq!(shown, [(0, 0), (0, 1), (0, 2), (second, 0), (second, 1), (second, 2)]);
    }

    #[test]
    fn a_stream_keeps_its_arrivals_when_others_join() {
        let of_first = |streams| -> Vec<Clip> {
            let clips =
                of_load(&load(streams, Phases::Random, ArrivalProcess::Poisson), Nanos::from_secs(50));
            clips.into_iter().filter(|clip| clip.stream == 0).collect()
        };
        assert_eq!(of_first(1), of_first(9));
    }

    #[test]
    fn poisson_arrivals_come_once_a_period_on_average_with_exponential_gaps() {
        let length = Nanos::from_secs(20_000);
        let clips = of_load(&load(1, Phases::Random, ArrivalProcess::Poisson), length);
        let count = clips.len() as f64;
        assert!((count / 20_000.0 - 1.0).abs() < 0.03, "{count}");
        let short = clips.windows(2).filter(|pair| pair[1].arrival.since(pair[0].arrival).0 < 500_000_000);
        let share = short.count() as f64 / count;
        assert!((share - (1.0 - (-0.5f64).exp())).abs() < 0.02, "{share}");
    }

    #[test]
    fn a_load_of_too_many_clips_is_cut() {
        let clips = of_load(&load(4096, Phases::Random, ArrivalProcess::Periodic), Nanos::from_secs(100_000));
        assert!(clips.len() <= MOST_CLIPS && clips.len() > MOST_CLIPS * 9 / 10, "{}", clips.len());
        assert!(clips.is_sorted());
    }
}
