//! Which load to try next, until the capacity is certified from both sides.
//!
//! Terms: a *probe* is a short load that only steers the search; to *certify* is to offer a load long enough for a
//! verdict. From a predicted number of streams the search gallops up while probes look sustained, bisects, and then
//! certifies N and N + 1. A certified verdict replaces a probe, and the search goes on from what it then knows.

use super::verdict::{LoadFigures, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Loads after which a search ends with what it knows.
const MOST_LOADS: usize = 40;
/// How many undecided numbers of streams a search passes above the last one that holds.
const MOST_UNDECIDED: u32 = 3;

/// How long a load is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// Long enough to steer by.
    Probe,
    /// Long enough for a verdict.
    Certify,
    /// Longer, where clips that miss or wait in clusters left a certification without an upper bound of P99.
    Extend,
}

impl Effort {
    /// Whether its verdict counts.
    #[must_use]
    pub const fn is_certified(self) -> bool {
        !matches!(self, Self::Probe)
    }

    /// Counted clips and periods that it is worth, where time allows.
    #[must_use]
    pub const fn clips_and_periods(self) -> (u64, u64) {
        match self {
            Self::Probe => (200, 4),
            // P99 of 800 clips has an upper end, whatever tau is estimated (see `stats::interval`).
            Self::Certify => (1000, 10),
            Self::Extend => (4000, 10),
        }
    }
}

/// A load to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Streams.
    pub streams: u32,
    /// How long.
    pub effort: Effort,
}

/// What is known of a number of streams.
#[derive(Debug, Clone, Copy)]
struct Known {
    effort: Effort,
    verdict: Verdict,
    /// Whether the search goes on above it.
    passes: bool,
}

/// A search for the capacity.
#[derive(Debug, Clone)]
pub struct Search {
    start: u32,
    most: u32,
    /// Whether only the start is of interest.
    single: bool,
    known: BTreeMap<u32, Known>,
    loads: usize,
    /// A number of streams whose certification has no upper bound of P99 yet.
    unbounded: Option<u32>,
    /// Whether the time of a load does not allow enough clips for any verdict.
    too_short: bool,
}

/// What a search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The greatest number of streams certified to hold, below every one certified to fail.
    pub last_holding: Option<u32>,
    /// The smallest number of streams certified to fail.
    pub first_failing: Option<u32>,
}

impl Search {
    /// A search from `start` streams, at most `most`.
    #[must_use]
    pub fn new(start: u32, most: u32) -> Self {
        let most = most.max(1);
        Self {
            start: start.clamp(1, most),
            most,
            single: false,
            known: BTreeMap::new(),
            loads: 0,
            unbounded: None,
            too_short: false,
        }
    }

    /// Certifies `streams`, and nothing else.
    #[must_use]
    pub fn exactly(streams: u32) -> Self {
        Self { single: true, ..Self::new(streams, streams) }
    }

    /// The next load; `None` when nothing more is to be learned.
    #[must_use]
    pub fn next(&self) -> Option<Trial> {
        if self.loads >= MOST_LOADS || self.too_short {
            return None;
        }
        let probe = |streams| Some(Trial { streams, effort: Effort::Probe });
        let certify = |streams| Some(Trial { streams, effort: Effort::Certify });
        if let Some(streams) = self.unbounded {
            return Some(Trial { streams, effort: Effort::Extend });
        }
        if self.single {
            return if self.known.is_empty() { certify(self.start) } else { None };
        }
        let ceiling = self.known.iter().find(|(_, known)| !known.passes).map(|(&streams, _)| streams);
        let floor = self.known.range(..ceiling.unwrap_or(u32::MAX)).next_back().map_or(0, |(&n, _)| n);
        let is_probe = |streams: u32| self.known.get(&streams).is_some_and(|k| k.effort == Effort::Probe);
        match ceiling {
            None if floor == 0 => probe(self.start),
            None if floor < self.most => probe(self.above(floor)),
            Some(ceiling) if floor == 0 && ceiling > 1 => probe(self.below(ceiling)),
            Some(ceiling) if floor + 1 < ceiling => probe(floor + (ceiling - floor) / 2),
            _ if floor > 0 && is_probe(floor) => certify(floor),
            Some(ceiling) if is_probe(ceiling) => certify(ceiling),
            Some(ceiling) => self.beyond(ceiling).and_then(certify),
            None => None,
        }
    }

    /// Takes in what a load showed.
    pub fn observe(&mut self, trial: Trial, figures: &LoadFigures) {
        self.loads += 1;
        let has_no_bound = figures.verdict == Verdict::Undecided
            && figures.given_up == 0
            && figures.p99_ci_ns.upper.is_none();
        self.unbounded = (trial.effort == Effort::Certify && has_no_bound).then_some(trial.streams);
        self.too_short |= trial.effort == Effort::Extend && has_no_bound;
        let passes = match trial.effort {
            Effort::Probe => figures.looks_sustained(),
            Effort::Certify | Effort::Extend => figures.verdict == Verdict::Holds,
        };
        self.known.insert(trial.streams, Known { effort: trial.effort, verdict: figures.verdict, passes });
    }

    /// What is certified so far.
    #[must_use]
    pub fn found(&self) -> Found {
        let certified = |verdict: Verdict| {
            let is =
                move |(_, known): &(&u32, &Known)| known.effort.is_certified() && known.verdict == verdict;
            self.known.iter().filter(is).map(|(&streams, _)| streams)
        };
        let first_failing = certified(Verdict::Fails).min();
        let below = first_failing.unwrap_or(u32::MAX);
        Found { last_holding: certified(Verdict::Holds).filter(|&n| n < below).max(), first_failing }
    }

    /// The next step of the gallop: an eighth of the start first, doubled each time.
    fn above(&self, floor: u32) -> u32 {
        let step = (self.start / 8).max(1);
        let climbed = floor.saturating_sub(self.start) / step + 1;
        floor.saturating_add(step.saturating_mul(climbed)).min(self.most)
    }

    /// The same downwards.
    fn below(&self, ceiling: u32) -> u32 {
        let step = (self.start / 8).max(1);
        let fallen = self.start.saturating_sub(ceiling) / step + 1;
        ceiling.saturating_sub(step.saturating_mul(fallen)).max(1)
    }

    /// The number of streams to certify above `ceiling` while nothing is certified to fail.
    fn beyond(&self, ceiling: u32) -> Option<u32> {
        if self.found().first_failing.is_some() {
            return None;
        }
        let next = (ceiling..=self.most)
            .find(|streams| self.known.get(streams).is_none_or(|known| known.effort == Effort::Probe))?;
        (next - ceiling <= MOST_UNDECIDED).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::interval::Interval;

    fn figures(streams: u32, verdict: Verdict) -> LoadFigures {
        LoadFigures {
            streams,
            verdict,
            reason: None,
            duration_ms: 1000,
            clips: 1000,
            missed: if verdict == Verdict::Holds { 0 } else { 500 },
            given_up: 0,
            inferences: 1000,
            part_filled: 0,
            p50_ns: None,
            p99_ns: None,
            p99_ci_ns: Interval { lower: Some(1.0), upper: Some(1.0) },
            worst_stream: None,
            streams_shown: 0,
            backlog_per_s: None,
            backlog_ci: Interval::default(),
            waiting: Vec::new(),
        }
    }

    /// The trials of a search on a board that holds up to `capacity`, and what it finds.
    fn searched(start: u32, most: u32, verdict: impl Fn(Trial) -> Verdict) -> (Vec<Trial>, Found) {
        let mut search = Search::new(start, most);
        let mut trials = Vec::new();
        while let Some(trial) = search.next() {
            trials.push(trial);
            search.observe(trial, &figures(trial.streams, verdict(trial)));
        }
        (trials, search.found())
    }

    fn holds_up_to(capacity: u32) -> impl Fn(Trial) -> Verdict {
        move |trial| if trial.streams <= capacity { Verdict::Holds } else { Verdict::Fails }
    }

    #[test]
    fn a_good_prediction_costs_two_probes_and_two_certifications() {
        let (trials, found) = searched(11, 4096, holds_up_to(11));
        assert_eq!(found, Found { last_holding: Some(11), first_failing: Some(12) });
        assert_eq!(trials.len(), 4, "{trials:?}");
    }

    #[test]
    fn any_capacity_is_found_from_any_start() {
        for capacity in [0, 1, 2, 7, 64, 1000] {
            for start in [1, 8, 500, 9999] {
                let (trials, found) = searched(start, 4096, holds_up_to(capacity));
                let last_holding = Some(capacity).filter(|&streams| streams > 0);
                assert_eq!(found, Found { last_holding, first_failing: Some(capacity + 1) }, "from {start}");
                assert!(trials.len() <= 24, "{capacity} from {start}: {trials:?}");
            }
        }
    }

    #[test]
    fn a_load_without_an_upper_bound_is_extended_once() {
        let mut search = Search::exactly(5);
        let unbounded = LoadFigures { p99_ci_ns: Interval::default(), ..figures(5, Verdict::Undecided) };
        let first = search.next().unwrap();
        search.observe(first, &unbounded);
        let second = search.next().unwrap();
        assert_eq!((first.effort, second.effort), (Effort::Certify, Effort::Extend));
        search.observe(second, &figures(5, Verdict::Holds));
        assert_eq!((search.next(), search.found().last_holding), (None, Some(5)));
    }

    #[test]
    fn a_board_that_holds_the_most_streams_has_no_first_failing_one() {
        let (_, found) = searched(10, 32, holds_up_to(100));
        assert_eq!(found, Found { last_holding: Some(32), first_failing: None });
    }

    #[test]
    fn a_certification_that_contradicts_its_probe_is_believed() {
        let (_, found) = searched(10, 4096, |trial| {
            let capacity = if trial.effort == Effort::Probe { 20 } else { 17 };
            holds_up_to(capacity)(trial)
        });
        assert_eq!(found, Found { last_holding: Some(17), first_failing: Some(18) });
    }

    #[test]
    fn undecided_numbers_of_streams_lie_between_the_certified_ones() {
        let (_, found) = searched(10, 4096, |trial| match trial.streams {
            ..=12 => Verdict::Holds,
            13..=14 => Verdict::Undecided,
            _ => Verdict::Fails,
        });
        assert_eq!(found, Found { last_holding: Some(12), first_failing: Some(15) });
    }
}
