//! Streams on a made-up board.

use crate::axis::Axis;
use crate::point::{PointId, Shape};
use crate::streams::search::Search;
use crate::streams::{ArrivalProcess, Load, Phases, Servers, arrivals, dispatch, verdict};
use crate::summary::{Capacity, Profile};
use crate::units::Nanos;
use std::convert::Infallible;

/// `profile` with the capacities of two of its points.
#[must_use]
pub fn with_streams(mut profile: Profile) -> Profile {
    let at = |sizes: [u32; 2]| Shape::of_sizes(&sizes).unwrap_or(Shape::UNIT);
    profile.capacities =
        vec![capacity(0, at([1, 8]), Nanos(9_800_000)), capacity(0, at([2, 16]), Nanos(61_000_000))];
    profile
}

/// The capacity of `at` under streams of 30 frames a second with two instances that take `service` each time: found by
/// the search, so that its figures fit together.
fn capacity(variant: u16, at: Shape, service: Nanos) -> Capacity {
    let period = Nanos(u64::from(at.hop()) * Nanos::PER_SECOND / 30);
    let servers = Servers { instances: 2, batch: at.batch() };
    let (phases, arrivals) = (Phases::Random, ArrivalProcess::Periodic);
    let mut search = Search::new(8, 64);
    let mut judged = Vec::new();
    while let Some(trial) = search.next() {
        let load = Load { streams: trial.streams, period, deadline: period, phases, arrivals, seed: 3 };
        let (clips, periods) = trial.effort.clips_and_periods();
        let clips = arrivals::of_load(&load, verdict::length(&load, clips, periods, Nanos::from_secs(600)));
        let infer = |_| Ok::<_, Infallible>(service);
        let (inferences, Ok(())) = dispatch::on_virtual_clock(&clips, load.deadline, servers, infer);
        let figures = verdict::judge(&crate::streams::Served { load, servers, clips, inferences });
        search.observe(trial, &figures);
        judged.push((trial, figures));
    }
    let found = search.found();
    let certified = |streams: Option<u32>| {
        let is = |(trial, _): &&(_, _)| is_certified(trial, streams);
        judged.iter().rev().find(is).map(|(_, figures)| figures.clone())
    };
    Capacity {
        id: PointId { variant, shape: at.with(Axis::Hop, at.hop()).unwrap_or(at) },
        instances: servers.instances,
        period_ns: period.0,
        deadline_ns: period.0,
        phases,
        arrivals,
        loads: judged.len() as u32,
        last_holding: certified(found.last_holding),
        first_failing: certified(found.first_failing),
        undecided: None,
        failure: None,
    }
}

fn is_certified(trial: &crate::streams::search::Trial, streams: Option<u32>) -> bool {
    trial.effort.is_certified() && Some(trial.streams) == streams
}
