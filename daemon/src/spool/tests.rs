mod set_back;

use super::*;
use clipmark_profile::message::Receipt;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use tempfile::TempDir;

const BOUNDS: Bounds = Bounds { segment_bytes: 2048, max_bytes: 1 << 20, reserve_bytes: 4096 };
const FRESH: Epoch = Epoch(0xe0);
const NOW: u64 = 1_750_000_000_000;

fn open(dir: &Path) -> (Spool, Vec<Damage>) {
    Spool::open(dir, BOUNDS, FRESH, NOW).unwrap()
}

fn append(spool: &mut Spool, content: &[u8]) -> SequenceRange {
    spool.append(UpKind::Profile, Some(&"c1".parse().unwrap()), content, NOW).unwrap()
}

fn receipt(contiguous: u64, gaps: &[(u64, u64)]) -> Receipt {
    let gaps = gaps.iter().map(|&(first, last)| SequenceRange { first, last }).collect();
    Receipt::new(FRESH, contiguous, gaps)
}

fn envelope(spool: &Spool, sequence: u64) -> Envelope {
    let bytes = spool.read(sequence).unwrap().unwrap();
    Envelope::from_bytes(&bytes, Some("application/cbor")).unwrap()
}

/// Every unconfirmed record: sequence and content.
fn contents(spool: &Spool) -> BTreeMap<u64, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut from = 0;
    while let Some((sequence, _)) = spool.first_from(from) {
        found.insert(sequence, envelope(spool, sequence).content);
        from = sequence + 1;
    }
    found
}

fn newest_segment(dir: &TempDir) -> PathBuf {
    let paths = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|ext| ext == "seg")).max().unwrap()
}

fn gap_events(spool: &Spool) -> Vec<SequenceRange> {
    let mut gaps = Vec::new();
    let mut from = 0;
    while let Some((sequence, kind)) = spool.first_from(from) {
        if kind == UpKind::Event {
            let event = EventReport::from_bytes(&envelope(spool, sequence).content, Some("application/cbor"))
                .unwrap();
            gaps.extend(event.range);
        }
        from = sequence + 1;
    }
    gaps
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Confirm(u64),
    Reopen,
    /// Reopen after a torn append: so many garbage bytes follow the last record.
    Torn(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..700_usize).prop_map(Step::Append),
        2 => (0..6_u64).prop_map(Step::Confirm),
        1 => Just(Step::Reopen),
        1 => (1..40_usize).prop_map(Step::Torn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_was_appended_and_not_confirmed_is_there_whatever_happens(steps in prop::collection::vec(step(), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(dir.path());
        let mut expected: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut highest = 0;
        for (index, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(length) => {
                    let content = vec![index as u8; length];
                    let range = append(&mut spool, &content);
                    prop_assert!(range.first > highest, "sequence {} was used before", range.first);
                    highest = range.last;
                    expected.insert(range.first, content);
                }
                Step::Confirm(ahead) => {
                    let upto = spool.oldest().unwrap_or(1).saturating_sub(1) + ahead;
                    let upto = upto.min(spool.next_sequence() - 1);
                    spool.confirm(&receipt(upto, &[])).unwrap();
                    expected.retain(|&sequence, _| sequence > upto);
                }
                Step::Reopen => {
                    drop(spool);
                    let (reopened, damage) = open(dir.path());
                    prop_assert_eq!(damage, vec![]);
                    spool = reopened;
                }
                Step::Torn(garbage) => {
                    drop(spool);
                    let path = newest_segment(&dir);
                    let mut bytes = fs::read(&path).unwrap();
                    bytes.extend(std::iter::repeat_n(0x5a, garbage));
                    fs::write(&path, bytes).unwrap();
                    let (reopened, damage) = open(dir.path());
                    prop_assert_eq!(damage.len(), 1);
                    spool = reopened;
                    // The torn sequence is burnt and declared by an event.
                    let event = spool.next_sequence() - 1;
                    prop_assert_eq!(gap_events(&spool).last().map(|gap| gap.last), Some(event - 1));
                    expected.insert(event, envelope(&spool, event).content);
                    highest = event;
                }
            }
            prop_assert_eq!(contents(&spool), expected.clone());
            prop_assert_eq!(spool.unconfirmed(), expected.len());
        }
    }
}

#[test]
fn a_long_content_travels_in_parts_that_are_kept_together() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    let content: Vec<u8> = (0..150_000_u32).map(|index| index as u8).collect();
    append(&mut spool, b"before");
    let range = append(&mut spool, &content);
    assert_eq!((range.first, range.last), (2, 4));
    assert_eq!(spool.records_of(&"c1".parse().unwrap()), Some(SequenceRange { first: 1, last: 4 }));
    let parts: Vec<Envelope> = (2..=4).map(|sequence| envelope(&spool, sequence)).collect();
    assert!(parts.iter().all(|part| part.parts == 3 && part.first_sequence() == 2));
    assert_eq!(parts.into_iter().flat_map(|part| part.content).collect::<Vec<_>>(), content);
    // The last part is torn: the whole content is, and its sequences stay used.
    drop(spool);
    let path = newest_segment(&dir);
    let length = fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(length - 10).unwrap();
    let (spool, damage) = open(dir.path());
    assert_eq!(damage.len(), 1);
    assert_eq!(contents(&spool).keys().copied().collect::<Vec<_>>(), [1, 5]);
    assert_eq!(gap_events(&spool), [SequenceRange { first: 2, last: 4 }]);
}

#[test]
fn a_content_beyond_all_parts_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    let content = vec![0; Envelope::MAX_PART * usize::from(Envelope::MAX_PARTS) + 1];
    let error = spool.append(UpKind::Series, None, &content, NOW).unwrap_err();
    assert!(error.to_string().contains("67108864 bytes"), "{error}");
    assert_eq!(spool.next_sequence(), 1);
}

#[test]
fn rot_in_the_middle_is_quarantined_and_declared() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    for content in [b"one", b"two", b"six"] {
        append(&mut spool, content);
    }
    drop(spool);
    let path = newest_segment(&dir);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(3).position(|window| window == b"two").unwrap();
    bytes[at] ^= 0x20;
    fs::write(&path, bytes).unwrap();
    let (spool, damage) = open(dir.path());
    let lost = SequenceRange { first: 2, last: 2 };
    assert_eq!(damage.iter().flat_map(|damage| damage.lost.clone()).collect::<Vec<_>>(), [lost]);
    assert_eq!(gap_events(&spool), [lost]);
    assert_eq!(contents(&spool).keys().copied().collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 1);
    drop(spool);
    assert_eq!(open(dir.path()).1, []);
}

#[test]
fn a_segment_without_a_header_is_set_aside_and_its_sequences_are_never_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    for _ in 0..9 {
        append(&mut spool, &[7; 600]);
    }
    let segments = spool.segments.len();
    assert!(segments >= 3);
    let next = spool.next_sequence();
    drop(spool);
    fs::write(newest_segment(&dir), [0; 500]).unwrap();
    let (spool, damage) = open(dir.path());
    assert_eq!(damage.len(), 1);
    assert!(spool.next_sequence() > next);
    assert_eq!(spool.epoch(), FRESH);
    assert_eq!(gap_events(&spool), damage[0].lost);
}

#[test]
fn rot_after_opening_is_told_and_can_be_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    append(&mut spool, b"fine");
    let path = newest_segment(&dir);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(spool.read(1), Err(SpoolError::Damaged { sequence: 1, .. })));
    spool.give_up(1, NOW);
    assert_eq!(gap_events(&spool), [SequenceRange { first: 1, last: 1 }]);
    assert!(spool.read(1).unwrap().is_none());
}

#[test]
fn receipts_confirm_up_to_a_gap_and_keep_what_lies_beyond_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    for _ in 0..8 {
        append(&mut spool, b"x");
    }
    let gaps = [SequenceRange { first: 3, last: 3 }, SequenceRange { first: 5, last: 6 }];
    let confirmation = spool.confirm(&receipt(2, &[(3, 3), (5, 6)])).unwrap();
    assert_eq!(confirmation, Confirmation::Accepted { resend: gaps.to_vec() });
    // 1 and 2 are gone; 4 and 7 are stored but wait behind the gaps.
    assert_eq!((spool.oldest(), spool.unconfirmed()), (Some(3), 6));
    spool.confirm(&receipt(4, &[(5, 6)])).unwrap();
    assert_eq!(spool.oldest(), Some(5));
    spool.confirm(&receipt(8, &[])).unwrap();
    assert_eq!(spool.unconfirmed(), 0);
    drop(spool);
    assert_eq!(open(dir.path()).0.unconfirmed(), 0);
}

#[test]
fn a_receiver_that_lost_what_it_confirmed_is_told_once_that_it_will_not_come() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    for _ in 0..5 {
        append(&mut spool, b"x");
    }
    spool.confirm(&receipt(4, &[])).unwrap();
    append(&mut spool, b"y");
    for _ in 0..2 {
        // From a backup of the time when only record 2 was stored; record 6 has come since.
        spool.confirm(&receipt(2, &[(3, 5)])).unwrap();
    }
    append(&mut spool, b"z");
    append(&mut spool, b"z");
    assert_eq!(gap_events(&spool), [SequenceRange { first: 3, last: 4 }]);
}

#[test]
fn a_receipt_that_another_one_overtook_declares_nothing_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    for _ in 0..5 {
        append(&mut spool, b"x");
    }
    // One aggregator stored 5 before the other one stored 3 and 4; their receipts arrive the other way round.
    spool.confirm(&receipt(5, &[])).unwrap();
    spool.confirm(&receipt(2, &[(3, 4)])).unwrap();
    append(&mut spool, b"y");
    append(&mut spool, b"z");
    assert_eq!(gap_events(&spool), []);
}

#[test]
fn receipts_that_cannot_be_ours_confirm_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    append(&mut spool, b"x");
    append(&mut spool, b"y");
    let other = Receipt { epoch: Epoch(1), ..receipt(2, &[]) };
    assert_eq!(spool.confirm(&other).unwrap(), Confirmation::OtherEpoch);
    for crossed in [[(9, 9), (1, 1)], [(2, 1), (5, 5)], [(1, 5), (3, 9)], [(1, u64::MAX), (3, 9)]] {
        spool.confirm(&receipt(0, &crossed)).unwrap();
    }
    assert_eq!(spool.unconfirmed(), 2);
    let behind = Confirmation::Behind(Behind::Ahead { confirmed: 3, newest: 2 });
    assert_eq!(spool.confirm(&receipt(0, &[(1, 2)])).unwrap(), behind);
    append(&mut spool, b"z");
    append(&mut spool, b"z");
    assert_eq!(spool.confirm(&receipt(3, &[])).unwrap(), behind, "whatever is written since");
    assert_eq!(spool.unconfirmed(), 4);
}

#[test]
fn confirmed_segments_leave_the_disk_and_the_sequence_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    for _ in 0..20 {
        append(&mut spool, &[1; 900]);
    }
    let before = spool.used_bytes();
    spool.confirm(&receipt(20, &[])).unwrap();
    assert!(before > 18_000 && spool.used_bytes() == HEADER as u64, "{before} {}", spool.used_bytes());
    drop(spool);
    let (mut spool, _) = open(dir.path());
    assert_eq!(append(&mut spool, b"next").first, 21);
}

#[test]
fn losing_the_acknowledgements_only_sends_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    for _ in 0..3 {
        append(&mut spool, b"x");
    }
    spool.confirm(&receipt(2, &[])).unwrap();
    drop(spool);
    fs::remove_file(dir.path().join("acks")).unwrap();
    assert_eq!(open(dir.path()).0.unconfirmed(), 3);
}

#[test]
fn a_full_spool_says_so_before_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    assert_eq!(spool.room(), Ok(()));
    let bounds = Bounds { max_bytes: 6000, ..BOUNDS };
    spool.set_bounds(bounds);
    append(&mut spool, &[0; 3000]);
    let full = spool.room().unwrap_err();
    assert!(matches!(full, Full::Bound { max: 6000, unconfirmed: 1, .. }), "{full}");
    spool.set_bounds(Bounds { reserve_bytes: 1 << 60, max_bytes: u64::MAX, ..BOUNDS });
    assert!(matches!(spool.room(), Err(Full::Disk { .. })));
}
