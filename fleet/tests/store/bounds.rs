//! How much of the store one device may take, whatever database it is in.
//!
//! Each case plays a device that misbehaves beside one that does not, and asks three things: what it stored is
//! bounded, it is named with what it does, and the other's record is stored as ever.

use crate::Case;
use crate::records::{envelope, lost, profile, profile_envelope, received, record};
use clipmark_fleet::config;
use clipmark_fleet::ingest::{Inbound, read};
use clipmark_fleet::store::{Committed, Excess, Message, Record, Retention, Store};
use clipmark_profile::message::{Envelope, SequenceRange};
use clipmark_profile::summary::LatencySummary;
use clipmark_profile::topics::UpKind;
use clipmark_profile::wire;

pub(crate) const CASES: [(&str, Case); 8] = [
    ("losses_without_end_break_no_count", losses_without_end_break_no_count),
    ("unfinished_contents_are_bounded", unfinished_contents_are_bounded),
    ("finished_contents_give_their_room_back", finished_contents_give_their_room_back),
    ("gaps_are_bounded", gaps_are_bounded),
    ("epochs_are_bounded", epochs_are_bounded),
    ("what_cannot_be_understood_is_bounded", what_cannot_be_understood_is_bounded),
    ("bytes_are_bounded_until_retention_frees_them", bytes_are_bounded_until_retention_frees_them),
    ("impossible_figures_are_set_aside_with_the_reason", impossible_figures_are_set_aside_with_the_reason),
];

const NOW: u64 = 1_800_000_000_000;

const DAY_MS: u64 = 86_400_000;

fn commit(store: &mut Store, batch: &[Message]) -> Committed {
    store.commit(batch, NOW).unwrap()
}

/// What was refused of the device `bad`, by reason.
fn refused(store: &mut Store) -> Vec<(Excess, u64)> {
    let rows = store.refusals(100).unwrap();
    assert!(rows.iter().all(|row| row.device == "bad"), "only the one that misbehaves is named: {rows:?}");
    rows.iter().map(|row| (row.excess, row.refused.messages)).collect()
}

/// A device that behaves is served as if nothing were.
fn serves_others(store: &mut Store) {
    let committed = commit(store, &[record("good", 1, 1), record("good", 1, 3), record("good", 1, 2)]);
    assert_eq!((committed.stored, committed.receipts[0].1.contiguous), (3, 3));
}

fn losses_without_end_break_no_count(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    const MOST: u64 = i64::MAX as u64;
    let nearly = SequenceRange { first: 1, last: MOST - 1 };
    for epoch in [1, 2] {
        commit(&mut store, &[received("bad", &lost(epoch, MOST, nearly))]);
        commit(&mut store, &[received("bad", &lost(epoch, 1 << 40, nearly))]);
    }
    let counts = store.counts().unwrap();
    assert!(counts.lost >= 1 << 40, "{counts:?}");
    serves_others(&mut store);
}

/// One part of a content that never comes to its end.
fn part(sequence: u64, bytes: usize) -> Message {
    let envelope =
        Envelope { part: 0, parts: 2, ..envelope(1, sequence, UpKind::Series, vec![sequence as u8; bytes]) };
    received("bad", &envelope)
}

fn unfinished_contents_are_bounded(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    // Sequences without a gap: each of them is the first of two parts of another content.
    for from in (1..=3000).step_by(500) {
        let batch: Vec<_> = (from..from + 500).map(|sequence| part(sequence, 10)).collect();
        commit(&mut store, &batch);
    }
    assert_eq!(store.counts().unwrap().unfinished, 2048);
    assert_eq!(refused(&mut store), [(Excess::Parts, 3000 - 2048)]);
    serves_others(&mut store);
}

fn finished_contents_give_their_room_back(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let content = wire::encode_profile(&profile("in-parts")).unwrap();
    for round in 0..5_u64 {
        let parts: Vec<_> = (0..1024_u64)
            .map(|index| Envelope {
                part: index as u16,
                parts: 1024,
                content: content
                    .chunks(content.len().div_ceil(1024))
                    .nth(index as usize)
                    .map(<[u8]>::to_vec)
                    .unwrap_or_default(),
                ..envelope(1, round * 1024 + index + 1, UpKind::Profile, Vec::new())
            })
            .map(|envelope| received("good", &envelope))
            .collect();
        for batch in parts.chunks(300) {
            commit(&mut store, batch);
        }
    }
    let counts = store.counts().unwrap();
    assert_eq!((counts.unfinished, counts.profiles), (0, 5));
    assert!(store.refusals(10).unwrap().is_empty());
}

fn gaps_are_bounded(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    // Every second sequence, in two epochs: the bound is the device's, not the spool's.
    for epoch in [1, 2] {
        let batch: Vec<_> = (1..=1000)
            .map(|half| received("bad", &envelope(epoch, half * 2, UpKind::Event, Vec::new())))
            .collect();
        commit(&mut store, &batch);
    }
    assert_eq!(store.counts().unwrap().ahead, 1024);
    let of_gaps = refused(&mut store).into_iter().find(|(excess, _)| *excess == Excess::Gaps);
    assert_eq!(of_gaps, Some((Excess::Gaps, 2000 - 1024)));
    // What closes a gap is taken.
    let committed = commit(&mut store, &[record("bad", 1, 1)]);
    assert_eq!(committed.receipts[0].1.contiguous, 2);
    assert_eq!(store.counts().unwrap().ahead, 1023);
    serves_others(&mut store);
}

fn epochs_are_bounded(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    for from in (1..=1200).step_by(400) {
        let batch: Vec<_> = (from..from + 400)
            .map(|epoch| received("bad", &envelope(epoch, 1, UpKind::Event, Vec::new())))
            .collect();
        commit(&mut store, &batch);
    }
    let of_epochs = refused(&mut store).into_iter().find(|(excess, _)| *excess == Excess::Epochs);
    assert_eq!(of_epochs, Some((Excess::Epochs, 1200 - 1024)));
    // Those that it has go on.
    let committed = commit(&mut store, &[record("bad", 1, 2), record("bad", 5000, 1)]);
    assert_eq!((committed.stored, committed.receipts.len()), (1, 1));
    serves_others(&mut store);
}

fn what_cannot_be_understood_is_bounded(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let garbage = |number: u32| {
        let payload = [number.to_be_bytes().to_vec(), vec![0xff; 100_000]].concat();
        let Inbound::Store(message) = read("clipmark/v1/d/bad/state", &payload, None) else { panic!() };
        message
    };
    for from in (0..300).step_by(50) {
        commit(&mut store, &(from..from + 50).map(garbage).collect::<Vec<_>>());
    }
    let kept = store.poison(1000).unwrap();
    assert_eq!(kept.len(), 256);
    assert!(kept.iter().all(|row| row.bytes <= 64 << 10), "a long message is cut");
    assert_eq!(refused(&mut store), [(Excess::SetAside, 300 - 256)]);
    // A repetition is counted, not kept again.
    commit(&mut store, &[garbage(0)]);
    assert_eq!(store.poison(1000).unwrap().iter().map(|row| row.times).max(), Some(2));
    // A record whose content is nonsense is dealt with, though it is not kept.
    let committed = commit(&mut store, &[received("bad", &envelope(1, 1, UpKind::Profile, vec![0xff; 100]))]);
    assert_eq!((committed.receipts[0].1.contiguous, store.poison(1000).unwrap().len()), (1, 256));
    serves_others(&mut store);
}

fn bytes_are_bounded_until_retention_frees_them(settings: &config::Store) {
    let settings = config::Store { device_mib: 1, ..settings.clone() };
    let mut store = Store::create(&settings).unwrap();
    let attachment = |sequence| {
        let Message::Record(record) =
            received("bad", &lost(1, sequence, SequenceRange { first: 1, last: 1 }))
        else {
            panic!()
        };
        let bytes = vec![0; 64 << 10];
        Message::Record(Record { bytes, ..record })
    };
    let batch: Vec<_> = (1..=40).map(attachment).collect();
    let committed = commit(&mut store, &batch);
    assert_eq!(committed.receipts[0].1.contiguous, 16, "a mebibyte is stored, the rest stays on the device");
    assert_eq!(refused(&mut store), [(Excess::Bytes, 24)]);
    serves_others(&mut store);
    let retention =
        Retention { blob_days: Some(1), profile_days: None, command_days: None, poison_days: None };
    store.prune(&retention, NOW + 2 * DAY_MS).unwrap();
    let committed = commit(&mut store, &batch);
    assert_eq!(committed.receipts[0].1.contiguous, 32);
}

type Change = fn(&mut LatencySummary);

fn impossible_figures_are_set_aside_with_the_reason(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let cases: [(Change, &str); 2] = [
        (|latency| latency.iterations = 0, "iterations is 0"),
        // Some 10^12 frames a second.
        (|latency| latency.sum_ns = 1, "mean latency in ns is 0."),
    ];
    for (sequence, (change, told)) in (1..).zip(cases) {
        let mut impossible = profile("impossible");
        change(impossible.points.iter_mut().find_map(|point| point.latency.as_mut()).unwrap());
        let bad = received("bad", &profile_envelope(1, sequence, &impossible));
        let committed = commit(&mut store, &[bad, record("good", 1, sequence)]);
        assert_eq!((committed.stored, committed.set_aside), (1, 1));
        let reason = &store.poison(10).unwrap()[0].reason;
        assert!(reason.contains("impossible figure") && reason.contains(told), "{reason}");
    }
    assert_eq!(store.counts().unwrap().profiles, 2);
}
