//! How many streams the board sustains, from its loads; and which points are worth a search.

use crate::axis::Axis;
use crate::plan::Request;
use crate::point::{PointId, Variant};
use crate::record::{LoadEvidence, Record};
use crate::streams::StreamCount;
use crate::streams::search::{Search, Trial};
use crate::streams::verdict::{self, Verdict};
use crate::summary::{Capacity, Profile};
use crate::units::Nanos;

/// A point whose capacity is to be searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The point, without streams and hop.
    pub id: PointId,
    /// Engines in parallel.
    pub instances: u32,
    /// Streams that it is predicted to sustain.
    pub predicted: u32,
}

impl Target {
    /// Its search, as far as `loads` have brought it. Loads of other targets and those that failed are left alone.
    #[must_use]
    pub fn search(&self, request: &Request, most: u32, loads: &[LoadEvidence]) -> Search {
        let mut search = match request.streams {
            Some(StreamCount::Exactly(count)) => Search::exactly(count),
            _ => Search::new(self.predicted, most),
        };
        for load in loads.iter().filter(|load| self.is_of(load) && load.failure.is_none()) {
            let trial = Trial { streams: load.served.load.streams, effort: load.effort };
            search.observe(trial, &verdict::judge(&load.served));
        }
        search
    }

    /// Whether `load` is one of this target's.
    #[must_use]
    pub fn is_of(&self, load: &LoadEvidence) -> bool {
        load.id == self.id && load.served.servers.instances == self.instances
    }
}

/// What is searched: for each clip length of each model, backend, precision and power mode, and each number of
/// instances, the point that is predicted to sustain the most streams. Empty where no streams are asked for.
#[must_use]
pub fn targets(profile: &Profile, request: &Request) -> Vec<Target> {
    let mut best: Vec<(Target, (u32, f64))> = Vec::new();
    if request.streams.is_none() {
        return Vec::new();
    }
    for &instances in &request.instances {
        for (target, rank) in profile.points.iter().filter_map(|point| {
            let service = point.comparable.as_ref().map(|own| own.mean_ns);
            let service = service.or(point.latency.as_ref().map(|latency| latency.mean_ns))?;
            candidate(request, point.id, instances, service)
        }) {
            let same = |known: &Target| {
                let rest = |id: PointId| (without_threads(profile, id), id.shape.with(Axis::BatchSize, 1));
                known.instances == instances && rest(known.id) == rest(target.id)
            };
            match best.iter_mut().find(|(known, _)| same(known)) {
                Some(known) if known.1 < rank => *known = (target, rank),
                Some(_) => {}
                None => best.push((target, rank)),
            }
        }
    }
    best.into_iter().map(|(target, _)| target).collect()
}

/// The variant of `id`, whatever its threads: what a search does not choose between.
fn without_threads(profile: &Profile, id: PointId) -> Option<Variant> {
    let mut variant = profile.variants.get(usize::from(id.variant))?.clone();
    variant.clear(Axis::Threads);
    Some(variant)
}

/// The point as a target, and how it ranks: by the streams that it sustains when they are aligned, the exact worst case
/// (k B floor(min(D, period) / s)), then by its rate.
fn candidate(
    request: &Request,
    id: PointId,
    instances: u32,
    service_ns: f64,
) -> Option<(Target, (u32, f64))> {
    let (period, deadline) = request.stream_times(id.shape)?;
    let servers = f64::from(instances) * f64::from(id.shape.batch());
    let rounds = period.min(deadline).0 as f64 / service_ns.max(1.0);
    let predicted = (servers * rounds).clamp(1.0, f64::from(u32::MAX)) as u32;
    let aligned = (servers * rounds.floor()).min(f64::from(u32::MAX)) as u32;
    Some((Target { id, instances, predicted }, (aligned, servers / service_ns.max(1.0))))
}

/// The capacity of every point that loads were offered to, in the order of the first load.
#[must_use]
pub fn of_record(record: &Record) -> Vec<Capacity> {
    let mut targets: Vec<Target> = Vec::new();
    for load in &record.loads {
        if !targets.iter().any(|target| target.is_of(load)) {
            targets.push(Target { id: load.id, instances: load.served.servers.instances, predicted: 1 });
        }
    }
    targets.iter().filter_map(|target| of_target(record, target)).collect()
}

fn of_target(record: &Record, target: &Target) -> Option<Capacity> {
    let request = &record.header.plan.request;
    let loads: Vec<&LoadEvidence> = record.loads.iter().filter(|load| target.is_of(load)).collect();
    let offered = loads.first()?.served.load;
    let search = target.search(request, u32::MAX, &record.loads);
    let found = search.found();
    let certified = |streams: u32| {
        let is = |load: &&&LoadEvidence| load.effort.is_certified() && load.served.load.streams == streams;
        loads.iter().rev().find(is).map(|load| verdict::judge(&load.served))
    };
    let last = loads.iter().rev().filter(|load| load.effort.is_certified() && load.failure.is_none());
    let mut undecided = last.map(|load| verdict::judge(&load.served));
    let is_open = found.last_holding.is_none() || found.first_failing.is_none();
    let hop = request.hop.unwrap_or(target.id.shape.hop());
    Some(Capacity {
        id: PointId { shape: target.id.shape.with(Axis::Hop, hop)?, ..target.id },
        instances: target.instances,
        period_ns: offered.period.0,
        deadline_ns: offered.deadline.0,
        phases: offered.phases,
        arrivals: offered.arrivals,
        loads: u32::try_from(loads.len()).unwrap_or(u32::MAX),
        last_holding: found.last_holding.and_then(certified),
        first_failing: found.first_failing.and_then(certified),
        undecided: undecided.find(|figures| is_open && figures.verdict == Verdict::Undecided),
        failure: loads.iter().find_map(|load| load.failure.clone()),
    })
}

/// What is offered to `target` in `trial`: the load and for how long.
#[must_use]
pub fn offer(request: &Request, target: &Target, trial: Trial) -> Option<(crate::streams::Load, Nanos)> {
    let (period, deadline) = request.stream_times(target.id.shape)?;
    let load = crate::streams::Load {
        streams: trial.streams,
        period,
        deadline,
        phases: request.phases,
        arrivals: request.arrivals,
        seed: request.seed,
    };
    let (clips, periods) = trial.effort.clips_and_periods();
    let longest = Nanos((request.trial_s * 1e9) as u64);
    Some((load, verdict::length(&load, clips, periods, longest)))
}
