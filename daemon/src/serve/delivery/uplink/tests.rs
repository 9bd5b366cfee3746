use super::*;
use crate::spool::{Bounds, Spool};
use clipmark_profile::message::{Epoch, Receipt};
use clipmark_profile::topics::UpKind;
use tempfile::TempDir;

const BOUNDS: Bounds = Bounds { segment_bytes: 1 << 20, max_bytes: 1 << 22, reserve_bytes: 4096 };

fn spool(records: usize) -> (TempDir, Spool) {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(dir.path(), BOUNDS, Epoch(3), 0).unwrap();
    for _ in 0..records {
        spool.append(UpKind::Profile, None, b"x", 0).unwrap();
    }
    (dir, spool)
}

fn send_all(uplink: &mut Uplink, spool: &Spool, now: u64) -> Vec<u64> {
    let mut sent = Vec::new();
    while let Some(sequence) = uplink.next(spool, Nanos::from_secs(now)) {
        uplink.sent(sequence, UpKind::Profile);
        sent.push(sequence);
    }
    sent
}

fn confirm(spool: &mut Spool, contiguous: u64) {
    let receipt = Receipt::new(Epoch(3), contiguous, Vec::new());
    spool.confirm(&receipt).unwrap();
}

#[test]
fn records_go_in_order_and_at_most_a_window_ahead_of_the_confirmed() {
    let (_dir, mut spool) = spool(9);
    let mut uplink = Uplink::new(4, 60);
    assert_eq!(send_all(&mut uplink, &spool, 0), [1, 2, 3, 4]);
    for sequence in 1..=4 {
        uplink.acknowledged(sequence, Nanos(0));
    }
    assert!(send_all(&mut uplink, &spool, 1).is_empty());
    confirm(&mut spool, 2);
    uplink.confirmed(&[], true, Nanos(0));
    assert_eq!(send_all(&mut uplink, &spool, 1), [5, 6]);
}

#[test]
fn without_a_receipt_everything_is_sent_again_ever_more_rarely() {
    let (_dir, spool) = spool(2);
    let mut uplink = Uplink::new(4, 60);
    let mut now = 0;
    for pause in [60, 120, 240] {
        assert_eq!(send_all(&mut uplink, &spool, now), [1, 2]);
        uplink.acknowledged(1, Nanos::from_secs(now));
        uplink.acknowledged(2, Nanos::from_secs(now + 1));
        assert_eq!(uplink.next_deadline(Nanos::from_secs(now)), Some(Nanos::from_secs(now + pause)));
        assert!(send_all(&mut uplink, &spool, now + pause - 1).is_empty());
        now += pause;
    }
}

#[test]
fn a_receiver_that_comes_is_sent_at_once_what_nobody_took_before() {
    let (_dir, spool) = spool(6);
    let mut uplink = Uplink::new(4, 60);
    for now in [0, 60, 180] {
        assert_eq!(send_all(&mut uplink, &spool, now), [1, 2, 3, 4]);
        (1..=4).for_each(|sequence| uplink.acknowledged(sequence, Nanos::from_secs(now)));
    }
    assert!(send_all(&mut uplink, &spool, 181).is_empty());
    uplink.receiver_came();
    assert_eq!(send_all(&mut uplink, &spool, 181), [1, 2, 3, 4]);
}

#[test]
fn what_a_receipt_leaves_open_is_sent_again_too() {
    let (_dir, mut spool) = spool(3);
    let mut uplink = Uplink::new(4, 60);
    send_all(&mut uplink, &spool, 0);
    for sequence in 1..=3 {
        uplink.acknowledged(sequence, Nanos(0));
    }
    confirm(&mut spool, 1);
    uplink.confirmed(&[], true, Nanos::from_secs(5));
    assert!(send_all(&mut uplink, &spool, 64).is_empty());
    assert_eq!(send_all(&mut uplink, &spool, 65), [2, 3]);
}

#[test]
fn a_gap_in_a_receipt_is_sent_first() {
    let (_dir, mut spool) = spool(8);
    let mut uplink = Uplink::new(5, 60);
    send_all(&mut uplink, &spool, 0);
    for sequence in 1..=5 {
        uplink.acknowledged(sequence, Nanos(0));
    }
    let gap = SequenceRange { first: 3, last: 3 };
    let receipt = Receipt::new(Epoch(3), 2, vec![gap]);
    spool.confirm(&receipt).unwrap();
    uplink.confirmed(&[gap], true, Nanos(0));
    assert_eq!(send_all(&mut uplink, &spool, 1), [3, 6, 7]);
}

#[test]
fn a_new_connection_begins_with_the_oldest_unconfirmed() {
    let (_dir, mut spool) = spool(3);
    let mut uplink = Uplink::new(4, 60);
    send_all(&mut uplink, &spool, 0);
    confirm(&mut spool, 1);
    uplink.restart();
    assert_eq!(send_all(&mut uplink, &spool, 0), [2, 3]);
}

#[test]
fn a_refused_record_waits_and_the_rest_of_its_kind_goes_on() {
    let (_dir, spool) = spool(4);
    let mut uplink = Uplink::new(4, 60);
    assert_eq!(uplink.next(&spool, Nanos(0)), Some(1));
    uplink.sent(1, UpKind::Profile);
    assert!(!uplink.refused(1, UpKind::Profile, Nanos(0)));
    // Until one is taken, one at a time.
    assert_eq!(send_all(&mut uplink, &spool, 0), [2]);
    uplink.acknowledged(2, Nanos(0));
    assert_eq!(send_all(&mut uplink, &spool, 1), [3, 4]);
    assert_eq!(uplink.next_deadline(Nanos::from_secs(1)), Some(Nanos::from_secs(60)));
    assert!(send_all(&mut uplink, &spool, 59).is_empty());
    assert_eq!(send_all(&mut uplink, &spool, 60)[0], 1);
}

#[test]
fn a_kind_of_which_two_are_refused_waits_and_other_kinds_go_on() {
    let (_dir, mut spool) = spool(3);
    spool.append(UpKind::Event, None, b"x", 0).unwrap();
    let mut uplink = Uplink::new(4, 60);
    for sequence in [1, 2] {
        assert_eq!(uplink.next(&spool, Nanos(0)), Some(sequence));
        uplink.sent(sequence, UpKind::Profile);
        uplink.refused(sequence, UpKind::Profile, Nanos(0));
    }
    assert_eq!(uplink.next(&spool, Nanos(0)), Some(4));
    uplink.sent(4, UpKind::Event);
    uplink.acknowledged(4, Nanos(0));
    assert!(uplink.is_refused(UpKind::Profile) && !uplink.is_refused(UpKind::Event));
    assert_eq!(uplink.next(&spool, Nanos::from_secs(59)), None);
    assert_eq!(uplink.next(&spool, Nanos::from_secs(60)), Some(1));
    uplink.sent(1, UpKind::Profile);
    uplink.acknowledged(1, Nanos::from_secs(60));
    assert_eq!(send_all(&mut uplink, &spool, 60)[..2], [2, 3]);
}

#[test]
fn a_record_that_is_refused_again_and_again_while_others_are_taken_is_given_up() {
    let (_dir, spool) = spool(3);
    let mut uplink = Uplink::new(4, 60);
    let mut now = 0;
    for refusals in 1..REFUSALS {
        uplink.sent(1, UpKind::Profile);
        assert!(!uplink.refused(1, UpKind::Profile, Nanos::from_secs(now)), "{refusals}");
        uplink.sent(2, UpKind::Profile);
        uplink.acknowledged(2, Nanos::from_secs(now));
        now += 3600;
    }
    assert!(uplink.refused(1, UpKind::Profile, Nanos::from_secs(now)));
    // Without another one that is taken it may be the broker's rules, which somebody may change.
    let mut alone = Uplink::new(4, 60);
    assert!((0..20).all(|hour| !alone.refused(1, UpKind::Profile, Nanos::from_secs(hour * 3600))));
    drop(spool);
}

#[test]
fn a_record_that_is_to_come_shorter_is_sent_again_before_the_rest() {
    let (_dir, spool) = spool(3);
    let mut uplink = Uplink::new(2, 60);
    assert_eq!(send_all(&mut uplink, &spool, 0), [1, 2]);
    uplink.not_taken(1);
    assert_eq!(send_all(&mut uplink, &spool, 0), [1]);
}

#[test]
fn a_repetition_that_finds_nothing_is_not_due_for_good() {
    let (_dir, mut spool) = spool(1);
    let mut uplink = Uplink::new(4, 60);
    send_all(&mut uplink, &spool, 0);
    uplink.acknowledged(1, Nanos(0));
    spool.confirm_one(1).unwrap();
    assert_eq!(uplink.next(&spool, Nanos::from_secs(60)), None);
    assert_eq!(uplink.next_deadline(Nanos::from_secs(60)), None);
}

#[test]
fn refusals_pause_ever_longer_also_when_they_end_the_connection() {
    let (_dir, spool) = spool(1);
    let mut uplink = Uplink::new(4, 60);
    let mut now = 0;
    for pause in [60, 120, 240] {
        assert_eq!(send_all(&mut uplink, &spool, now), [1]);
        uplink.refused(1, UpKind::Profile, Nanos::from_secs(now));
        uplink.restart();
        assert!(send_all(&mut uplink, &spool, now + pause - 1).is_empty());
        now += pause;
    }
    uplink.forgive();
    assert_eq!(send_all(&mut uplink, &spool, now), [1]);
}
