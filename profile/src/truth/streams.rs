//! The capacity search against exact queues.
//!
//! Aligned streams with a fixed service time s: N clips at once take ceil(N / (k B)) s, so that the capacity is
//! k B floor(D / s) where the deadline D is at most the period. With a longer one it is at least k B floor(period / s):
//! a round may reach into the next period. Random phases with one server: Lindley's recursion ([`super::pacing::lindley`]); with
//! several: Kiefer and Wolfowitz (On the theory of queues with many servers, 1955), whose next customer waits for the
//! server with the least work left.

use crate::streams::arrivals::{self, Clip};
use crate::streams::search::{Found, Search, Trial};
use crate::streams::verdict::{self, LoadFigures};
use crate::streams::{Load, Served, Servers, dispatch};
use crate::units::Nanos;
use std::convert::Infallible;

/// A load and its servers, without a number of streams.
#[derive(Debug, Clone, Copy)]
pub struct Board {
    /// What is offered, whatever its number of streams.
    pub load: Load,
    /// Who serves it.
    pub servers: Servers,
    /// Longest load of the search.
    pub longest: Nanos,
}

impl Board {
    /// The load of `streams` streams.
    #[must_use]
    pub const fn load_of(&self, streams: u32) -> Load {
        Load { streams, ..self.load }
    }

    /// Serves `streams` streams for `length`; `infer` says how long an inference takes that starts at an instant.
    pub fn serve(&self, streams: u32, length: Nanos, mut infer: impl FnMut(Nanos) -> Nanos) -> Served {
        let load = self.load_of(streams);
        let clips = arrivals::of_load(&load, length);
        let each = |start| Ok::<_, Infallible>(infer(start));
        let (inferences, Ok(())) = dispatch::on_virtual_clock(&clips, load.deadline, self.servers, each);
        Served { load, servers: self.servers, clips, inferences }
    }

    /// Searches the capacity from `start` streams.
    pub fn search(&self, start: u32, mut infer: impl FnMut(Nanos) -> Nanos) -> Found {
        let mut search = Search::new(start, 4096);
        while let Some(trial) = search.next() {
            search.observe(trial, &self.judge(trial, &mut infer));
        }
        search.found()
    }

    fn judge(&self, trial: Trial, infer: &mut impl FnMut(Nanos) -> Nanos) -> LoadFigures {
        let (clips, periods) = trial.effort.clips_and_periods();
        let length = verdict::length(&self.load_of(trial.streams), clips, periods, self.longest);
        verdict::judge(&self.serve(trial.streams, length, infer))
    }
}

/// Latencies of a queue with `servers` servers of one clip each, from the arrivals and the service times.
#[must_use]
pub fn kiefer_wolfowitz(clips: &[Clip], services_ns: &[u64], servers: usize) -> Vec<u64> {
    let mut work = vec![0_u64; servers.max(1)];
    let mut before = clips.first().map_or(Nanos(0), |clip| clip.arrival);
    let mut latencies = Vec::with_capacity(clips.len());
    for (clip, service) in clips.iter().zip(services_ns) {
        let elapsed = clip.arrival.since(before).0;
        work.iter_mut().for_each(|left| *left = left.saturating_sub(elapsed));
        work.sort_unstable();
        latencies.push(work[0] + service);
        work[0] += service;
        before = clip.arrival;
    }
    latencies
}

/// The capacity of servers of one clip each and a fixed service time, by the exact queue: the greatest number of streams
/// up to which every one misses at most 1 % of its clips in `length`, once all have delivered.
#[must_use]
pub fn exact_capacity(board: &Board, service: Nanos, length: Nanos) -> u32 {
    let holds = |streams: &u32| {
        let clips = arrivals::of_load(&board.load_of(*streams), length);
        let services = vec![service.0; clips.len()];
        let latencies = kiefer_wolfowitz(&clips, &services, board.servers.instances as usize);
        let mut of = vec![(0_u64, 0_u64); *streams as usize];
        for (clip, latency) in clips.iter().zip(&latencies).filter(|(c, _)| c.arrival >= board.load.period) {
            let (count, missed) = &mut of[clip.stream as usize];
            *count += 1;
            *missed += u64::from(*latency > board.load.deadline.0);
        }
        of.iter().all(|(count, missed)| missed * 100 <= *count)
    };
    (1..=4096).take_while(holds).count() as u32
}

#[cfg(test)]
mod tests;
