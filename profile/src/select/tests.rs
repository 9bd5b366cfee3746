use super::words::Teller;
use super::{Candidate, Goal, KeepsUp, Measure, answers, certainly_dominates, choose, clip_choices};
use crate::example;
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

/// A profile of one variant whose points have the given figures: clip length, batch size, P99 in ms, frames a
/// second, relative half width of their intervals or none, energy in uJ or none.
type Row = (usize, usize, f64, f64, Option<f64>, Option<f64>);

const CLIPS: [u32; 4] = [8, 16, 32, 64];
const BATCHES: [u32; 3] = [1, 2, 4];

fn candidates(rows: &[Row]) -> Vec<Candidate> {
    let mut seen = std::collections::BTreeSet::new();
    let own = rows.iter().filter(|row| seen.insert((row.0, row.1)));
    let candidate = |&(clip, batch, p99_ms, frames, half, energy): &Row| {
        let figure = |estimate: f64| match half {
            Some(half) => within(estimate, half),
            None => Measure { estimate, lower: None, upper: None },
        };
        Candidate {
            id: PointId { variant: 0, shape: Shape::new(BATCHES[batch], CLIPS[clip]).unwrap() },
            deadline_ns: f64::from(CLIPS[clip]) / 30.0 * 1e9,
            p99_ns: Some(figure(p99_ms * 1e6)),
            frames_per_s: figure(frames),
            energy_per_frame_uj: energy.map(figure),
            peak_memory_bytes: None,
        }
    };
    own.map(candidate).collect()
}

/// The numbers of a sentence with the words before them.
fn numbers(text: &str) -> Vec<f64> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
        .filter_map(|word| word.trim_end_matches('.').parse().ok())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// What a sentence says is held against the very figures that the table and the plot show.
    #[test]
    fn no_sentence_contradicts_its_numbers_or_its_table(
        rows in proptest::collection::vec(
            (
                0..4_usize,
                0..3_usize,
                1.0..4000.0_f64,
                1.0..1000.0_f64,
                proptest::option::weighted(0.7, 0.001..0.6_f64),
                proptest::option::weighted(0.7, 1.0..1000.0_f64),
            ),
            1..12,
        ),
        streams: bool,
    ) {
        let candidates = candidates(&rows);
        let deadline = if streams { STREAM } else { Deadline::None };
        let mut profile = example::profile();
        profile.run.deadline = deadline;
        for objective in [Objective::Streaming, Objective::Offline, Objective::Efficiency] {
            let goal = Goal::of(objective, deadline, &candidates);
            let choice = choose(goal, &candidates);
            let teller = Teller { profile: &profile, model: "none", goal, candidates: &candidates };
            let text = if choice.chosen.is_empty() { teller.why_none() } else { teller.why(&choice) };
            prop_assert!(!text.contains("--budget"), "a flag in a sentence that is published: {text}");
            prop_assert!(numbers(&text).iter().all(|&number| number >= 0.0), "a negative number: {text}");
            let Some(&first) = choice.chosen.first() else {
                if text.contains("(budget_s) settles") {
                    let could = candidates.iter().any(|c| c.p99_share().is_some_and(|share| share.estimate <= 1.0));
                    prop_assert!(could, "a larger budget moves no estimate: {text}");
                }
                continue;
            };
            let best = &candidates[first];
            if objective == Objective::Streaming {
                let share = best.p99_share().unwrap();
                prop_assert!(share.upper.unwrap_or(share.estimate) <= 1.0, "cannot keep up: {text}");
            }
            if text.contains("completes the most frames a second") && !text.contains("points with enough") {
                let admitted = candidates.iter().filter(|c| goal.admits(c));
                let spread = |c: &Candidate| c.frames_per_s.estimate - c.frames_per_s.lower.unwrap_or(0.0);
                for other in admitted.filter(|c| c.frames_per_s.lower.is_some() || best.frames_per_s.lower.is_none()) {
                    let noise = spread(best).hypot(spread(other)).max(0.011 * other.frames_per_s.estimate);
                    let by = other.frames_per_s.estimate - best.frames_per_s.estimate;
                    prop_assert!(by <= noise, "{} is more: {text}", other.frames_per_s.estimate);
                }
            }
            if let (true, Some(next)) = (text.contains("takes"), choice.next) {
                let kinds = [best, &candidates[next]].map(|c| c.p99_ns.unwrap().upper.is_some());
                let compared = &text[text.find("the next best").unwrap()..];
                let like = compared.contains("at most") == text[..text.find("the next best").unwrap()].contains("of at most");
                prop_assert!(kinds[0] != kinds[1] || like, "an upper bound against an estimate: {text}");
            }
        }
    }
}

#[test]
fn an_upper_bound_is_never_set_against_an_estimate() {
    let mut open = candidate(16, 2.0, 200.0);
    open.p99_ns = Some(Measure { estimate: 1.98e6, lower: Some(1.9e6), upper: None });
    open.deadline_ns = 533e6;
    let mut bounded = candidate(16, 3.0, 100.0);
    bounded.deadline_ns = 533e6;
    let candidates = [bounded, open];
    let profile = example::profile();
    let goal = Goal::SmallestShare;
    let teller = Teller { profile: &profile, model: "none", goal, candidates: &candidates };
    let text = teller.why(&choose(goal, &candidates));
    assert!(text.contains("takes about 0.371 % against about 0.563 %, but how much at most"), "{text}");
}

#[test]
fn a_point_that_cannot_keep_up_is_not_named_for_a_stream() {
    let mut slow = candidate(16, 1250.0, 10.0);
    slow.deadline_ns = 533e6;
    let candidates = [slow];
    let profile = example::profile();
    let teller =
        Teller { profile: &profile, model: "none", goal: Goal::SmallestShare, candidates: &candidates };
    assert!(choose(Goal::SmallestShare, &candidates).chosen.is_empty());
    let text = teller.why_none();
    assert!(text.contains("no point keeps up with it"), "{text}");
    assert!(text.contains("shorter clips") && !text.contains("budget"), "{text}");
}

#[test]
fn shorter_clips_are_no_advice_where_they_are_further_from_keeping_up() {
    let (mut short, mut long) = (candidate(8, 992.0, 12.5), candidate(16, 1547.0, 12.4));
    (short.deadline_ns, long.deadline_ns) = (267e6, 533e6);
    let candidates = [short, long];
    let profile = example::profile();
    let teller =
        Teller { profile: &profile, model: "none", goal: Goal::SmallestShare, candidates: &candidates };
    let text = teller.why_none();
    assert!(text.contains("the closest, B1 T16") && !text.contains("shorter clips"), "{text}");
    assert!(text.contains("a lower frame rate or a faster backend"), "{text}");
}

#[test]
fn a_board_with_a_power_sensor_is_not_said_to_have_none() {
    let mut profile = example::profile();
    profile.points.iter_mut().for_each(|point| point.energy = None);
    let candidates = [candidate(16, 10.0, 100.0)];
    let text = |profile: &crate::summary::Profile| {
        Teller { profile, model: "none", goal: Goal::MostFramesPerJoule, candidates: &candidates }.why_none()
    };
    assert!(text(&profile).contains("10 s at a stretch"), "{}", text(&profile));
    (profile.power_topology, profile.idle_power_mw) = (None, None);
    profile.soaks.clear();
    assert!(text(&profile).contains("no power of the whole board could be read"), "{}", text(&profile));
}

#[test]
fn each_clip_length_has_its_best_batch_and_the_longest_that_keeps_up_is_named() {
    let profile = example::profile_of_27_points();
    let choices = clip_choices(&profile);
    let lengths: Vec<u32> = choices.iter().map(|choice| choice.clip_length).collect();
    let mut planned: Vec<u32> = profile.points.iter().map(|p| p.id.shape.clip()).collect();
    planned.sort_unstable();
    planned.dedup();
    assert_eq!(lengths, planned);
    for choice in &choices {
        let own = |ids: &[PointId]| ids.iter().all(|id| id.shape.clip() == choice.clip_length);
        assert!(own(&choice.streaming) && own(&choice.offline) && own(&choice.efficiency), "{choice:?}");
        assert!(!choice.offline.is_empty(), "{choice:?}");
    }
    let answer = &answers(&profile)[0];
    let longest = choices.iter().rev().find(|c| c.keeps_up == KeepsUp::Yes).map(|c| c.clip_length);
    assert_eq!(answer.longest_clip, longest);
    assert!((2..=3).contains(&answer.sentences.len()), "{answer:?}");
}

#[test]
fn batching_that_costs_more_than_it_brings_is_said() {
    let mut profile = example::profile_of_27_points();
    for point in &mut profile.points {
        let batch = f64::from(point.id.shape.batch());
        if let (Some(rate), Some(latency)) = (point.frames_per_s.as_mut(), point.latency.as_mut()) {
            *rate = 1000.0 / batch;
            latency.mean_ci_ns =
                crate::summary::Interval { lower: Some(latency.mean_ns), upper: Some(latency.mean_ns) };
        }
    }
    profile.operating_points = super::operating_points(&profile);
    let text = answers(&profile)[0].sentences.join(" ");
    assert!(text.contains("batching costs more than it brings"), "{text}");
}
