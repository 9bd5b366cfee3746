use super::{Candidate, Goal, Measure, certainly_dominates, choose};
use crate::plan::Deadline;
use crate::point::{PointId, Shape};
use crate::summary::Objective;
use proptest::prelude::{ProptestConfig, prop_assert, proptest};

fn within(estimate: f64, half: f64) -> Measure {
    Measure { estimate, lower: Some(estimate * (1.0 - half)), upper: Some(estimate * (1.0 + half)) }
}

/// A candidate at batch size 1 with a budget of 100 ms.
fn candidate(clip_length: u32, p99_ms: f64, frames_per_s: f64) -> Candidate {
    Candidate {
        id: PointId { variant: 0, shape: Shape::new(1, clip_length).unwrap() },
        deadline_ns: 100e6,
        p99_ns: Some(within(p99_ms * 1e6, 0.02)),
        frames_per_s: within(frames_per_s, 0.001),
        energy_per_frame_uj: None,
        peak_memory_bytes: Some(1e8),
    }
}

fn with_energy(candidate: Candidate, uj: f64) -> Candidate {
    Candidate { energy_per_frame_uj: Some(within(uj, 0.005)), ..candidate }
}

const STREAM: Deadline = Deadline::Fps(30.0);

#[test]
fn a_deadline_is_held_against_the_upper_bound_of_p99() {
    // P99 of 99 ms with an upper end of 101 ms does not meet 100 ms, though the estimate does.
    let candidates = [candidate(8, 50.0, 100.0), candidate(16, 99.0, 200.0)];
    let goal = Goal::of(Objective::Streaming, STREAM, &candidates);
    let choice = choose(goal, &candidates);
    assert_eq!((choice.chosen, choice.admitted), (vec![0], 1));
}

#[test]
fn a_p99_whose_upper_bound_is_not_determinable_meets_no_deadline() {
    let mut open = candidate(8, 10.0, 500.0);
    open.p99_ns = Some(Measure { estimate: 10e6, lower: Some(9e6), upper: None });
    let candidates = [open, candidate(16, 50.0, 100.0)];
    assert_eq!(choose(Goal::DeadlineMostFrames, &candidates).chosen, vec![1]);
}

#[test]
fn streaming_takes_the_least_energy_where_power_is_known_and_the_most_frames_elsewhere() {
    let plain = [candidate(8, 50.0, 100.0), candidate(16, 60.0, 200.0)];
    assert_eq!(Goal::of(Objective::Streaming, STREAM, &plain), Goal::DeadlineMostFrames);
    assert_eq!(choose(Goal::DeadlineMostFrames, &plain).chosen, vec![1]);
    let metered = [with_energy(plain[0].clone(), 10.0), with_energy(plain[1].clone(), 20.0)];
    let goal = Goal::of(Objective::Streaming, STREAM, &metered);
    assert_eq!(goal, Goal::DeadlineLeastEnergy);
    assert_eq!(choose(goal, &metered).chosen, vec![0]);
}

#[test]
fn without_a_deadline_streaming_takes_the_smallest_share_of_the_clip() {
    let mut long = candidate(16, 12.0, 100.0);
    long.deadline_ns = 200e6;
    let candidates = [candidate(8, 10.0, 100.0), long];
    let goal = Goal::of(Objective::Streaming, Deadline::None, &candidates);
    assert_eq!(goal, Goal::SmallestShare);
    assert_eq!(choose(goal, &candidates).chosen, vec![1]);
}

#[test]
fn points_that_the_data_cannot_tell_apart_are_one_set_best_estimate_first() {
    let mut wide = candidate(16, 50.0, 103.0);
    wide.frames_per_s = within(103.0, 0.05);
    let candidates = [candidate(8, 50.0, 100.0), wide, candidate(32, 50.0, 80.0)];
    let choice = choose(Goal::MostFrames, &candidates);
    assert_eq!((choice.chosen, choice.next), (vec![1, 0], Some(2)));
}

#[test]
fn differences_below_one_percent_are_ties_however_certain() {
    let candidates = [candidate(8, 50.0, 100.0), candidate(16, 50.0, 100.9), candidate(32, 50.0, 99.0)];
    let choice = choose(Goal::MostFrames, &candidates);
    assert_eq!((choice.chosen, choice.next), (vec![1, 0], Some(2)));
}

#[test]
fn a_lucky_estimate_with_an_open_interval_does_not_win() {
    let mut lucky = candidate(16, 50.0, 150.0);
    lucky.frames_per_s = Measure { estimate: 150.0, lower: None, upper: None };
    let candidates = [candidate(8, 50.0, 100.0), lucky];
    assert_eq!(choose(Goal::MostFrames, &candidates).chosen, vec![0]);
}

#[test]
fn a_point_is_dominated_only_when_it_loses_on_everything() {
    let good = candidate(8, 10.0, 200.0);
    let bad = candidate(16, 20.0, 100.0);
    assert!(certainly_dominates(&good, &bad, 0.0));
    assert!(!certainly_dominates(&bad, &good, 0.0));
    let frugal = Candidate { peak_memory_bytes: Some(5e7), ..bad.clone() };
    assert!(!certainly_dominates(&good, &frugal, 0.0), "it needs less memory");
    let cheap = with_energy(bad.clone(), 1.0);
    assert!(!certainly_dominates(&with_energy(good.clone(), 2.0), &cheap, 0.0), "it needs less energy");
    assert!(!certainly_dominates(&good, &cheap, 0.0), "the rival's energy is unknown");
    let leisurely = Candidate { deadline_ns: 400e6, ..bad.clone() };
    assert!(!certainly_dominates(&good, &leisurely, 0.0), "its deadline is longer");
    assert!(!certainly_dominates(&good, &bad, 1.5), "the board drifted by more than the difference");
}

#[test]
fn overlapping_intervals_dominate_nothing() {
    let mut good = candidate(8, 10.0, 200.0);
    good.frames_per_s = within(200.0, 0.6);
    assert!(!certainly_dominates(&good, &candidate(16, 20.0, 100.0), 0.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_chosen_are_admitted_and_nothing_admitted_is_surely_better(
        rows in proptest::collection::vec((1.0..200.0_f64, 1.0..1000.0_f64), 1..12),
    ) {
        let candidates: Vec<Candidate> = rows
            .iter()
            .enumerate()
            .map(|(index, &(p99_ms, frames))| candidate(index as u32 + 1, p99_ms, frames))
            .collect();
        let goal = Goal::DeadlineMostFrames;
        let choice = choose(goal, &candidates);
        let admitted = candidates.iter().filter(|candidate| goal.admits(candidate)).count();
        prop_assert!(choice.chosen.is_empty() == (admitted == 0));
        prop_assert!(choice.admitted == admitted);
        for &index in &choice.chosen {
            prop_assert!(goal.admits(&candidates[index]));
            let best = candidates.iter().filter(|candidate| goal.admits(candidate));
            let most = best.map(|candidate| candidate.frames_per_s.estimate).fold(0.0, f64::max);
            prop_assert!(candidates[index].frames_per_s.estimate >= 0.98 * most);
        }
    }
}
