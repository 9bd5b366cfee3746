use super::*;
use crate::board::Boards;
use crate::root::Root;
use crate::tree::Tree;
use std::cell::Cell;

const MS: u64 = 1_000_000;

fn sensors(text: &str) -> Sensors {
    Sensors::discover(&Root::stored(Tree::parse(text).unwrap()), &Boards::embedded().unwrap())
}

const BOARD: &str = "/sys/class/thermal/thermal_zone0/type\tcpu-thermal\n\
    /sys/class/thermal/thermal_zone0/temp\t@ramp 0:0,100000:100000\n\
    /sys/class/devfreq/gpu/cur_freq\t@series 0:500000000,3000:!EIO,4000:600000000\n";

/// A clock that moves by `step` at every look.
fn clock(now: &Cell<u64>, step: u64) -> impl FnMut() -> Nanos + '_ {
    move || {
        now.set(now.get() + step);
        Nanos(now.get())
    }
}

fn lane_of<'a>(sampling: &'a Sampling, id: &str) -> (&'a TierSeries, &'a Column) {
    let channel = sampling.latest.channels().iter().position(|channel| channel.id == id).unwrap();
    let lanes = sampling.segment.lanes.iter();
    lanes
        .flat_map(|lane| lane.columns.iter().map(move |column| (lane, column)))
        .find(|(_, column)| usize::from(column.channel) == channel)
        .unwrap()
}

#[test]
fn each_tier_is_read_at_its_deadlines_with_the_values_of_that_time() {
    let now = Cell::new(0);
    let mut still = clock(&now, 0);
    let mut sampling = Sampling::new(sensors(BOARD), &Cadence::default(), Nanos::from_secs(60), &mut still);
    while sampling.next_deadline().unwrap() <= Nanos(5000 * MS) {
        now.set(sampling.next_deadline().unwrap().get());
        sampling.tick(&mut still);
    }
    let (medium, temperature) = lane_of(&sampling, "temp.cpu-thermal");
    let stamps_ms: Vec<u64> = medium.stamps_ns.iter().map(|stamp| stamp / MS).collect();
    assert_eq!(stamps_ms, [37, 1037, 2037, 3037, 4037]);
    for (row, ms) in stamps_ms.iter().enumerate() {
        assert_eq!(temperature.get(row), Some(*ms as i32), "at {ms} ms");
    }
    let (fast, clock) = lane_of(&sampling, "clock.gpu");
    assert_eq!(fast.stamps_ns.len(), 26);
    assert_eq!((clock.get(14), clock.get(15), clock.get(20)), (Some(500_000), None, Some(600_000)));
    assert_eq!((medium.missed, fast.missed), (0, 0));
}

#[test]
fn passed_deadlines_are_counted_and_never_caught_up() {
    let now = Cell::new(0);
    let mut still = clock(&now, 0);
    let mut sampling = Sampling::new(sensors(BOARD), &Cadence::default(), Nanos::from_secs(60), &mut still);
    now.set(1050 * MS);
    sampling.tick(&mut still);
    sampling.tick(&mut still);
    let (fast, _) = lane_of(&sampling, "clock.gpu");
    assert_eq!((fast.stamps_ns.len(), fast.missed), (1, 5), "deadlines 0 to 800 passed unread");
    assert_eq!(sampling.next_deadline(), Some(Nanos(1200 * MS)));
}

#[test]
fn a_lane_that_takes_longer_than_its_period_does_not_fill_the_time() {
    let now = Cell::new(0);
    let mut sampling =
        Sampling::new(sensors(BOARD), &Cadence::default(), Nanos::from_secs(60), &mut clock(&now, 0));
    now.set(0);
    sampling.tick(&mut clock(&now, 300 * MS));
    let (fast, _) = lane_of(&sampling, "clock.gpu");
    assert_eq!(fast.stamps_ns.len(), 1);
    assert!(fast.missed >= 1);
    assert!(sampling.next_deadline().unwrap() > Nanos(0));
}

#[test]
fn a_full_segment_is_swapped_or_given_up_without_growing() {
    let now = Cell::new(0);
    let mut still = clock(&now, 0);
    let mut sampling = Sampling::new(sensors(BOARD), &Cadence::default(), Nanos::from_secs(1), &mut still);
    let capacity = sampling.segment.lanes[0].stamps_ns.capacity();
    for _ in 0..40 {
        now.set(sampling.next_deadline().unwrap().get());
        sampling.tick(&mut still);
    }
    assert!(sampling.segment_is_full(Nanos(now.get())));
    assert_eq!(sampling.segment.lanes[0].stamps_ns.capacity(), capacity);
    let stored = sampling.segment.lanes[0].stamps_ns.len() as u64;
    let before = sampling.segment.lanes[0].missed;
    sampling.discard_segment(Nanos(now.get()));
    assert_eq!(sampling.segment.lanes[0].missed, before + stored);
    let empty = sampling.empty_segment();
    let full = sampling.swap_segment(empty, Nanos(now.get()), Nanos(7));
    assert_eq!(full.cpu, Nanos(7));
    assert!(sampling.segment.lanes[0].stamps_ns.is_empty());
}
