//! A spool whose directory is set back at random, its broker, and a receiver that keeps the rules of docs/wire.md.

use crate::spool::{Behind, Bounds, Confirmation, Spool};
use clipmark_profile::message::{
    Envelope, Epoch, EventKind, EventReport, Payload, Place, Receipt, RecordDigest, SequenceRange,
    StoredRecord,
};
use clipmark_profile::topics::UpKind;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const BOUNDS: Bounds = Bounds { segment_bytes: 2048, max_bytes: 1 << 22, reserve_bytes: 4096 };
const CBOR: Option<&str> = Some("application/cbor");

/// What is known of one place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Said,
    Elsewhere,
    Came,
}

#[derive(Default)]
struct Stored {
    covered: BTreeSet<u64>,
    conflict: Option<u64>,
}

/// A receiver that stores each record once, compares digests and follows former places.
#[derive(Default)]
struct Receiver {
    epochs: BTreeMap<Epoch, Stored>,
    digests: BTreeMap<(Place, RecordDigest), State>,
    parts: BTreeMap<Place, Envelope>,
    /// Complete contents, each as often as it was stored.
    contents: Vec<Vec<u8>>,
    /// Records that came with another content.
    kept: Vec<Vec<u8>>,
}

fn place(envelope: &Envelope) -> Place {
    Place { epoch: envelope.epoch, sequence: envelope.sequence }
}

impl Receiver {
    fn take(&mut self, envelope: &Envelope) -> Receipt {
        let (here, digest) = (place(envelope), envelope.digest());
        let is_covered = self.epochs.entry(here.epoch).or_default().covered.contains(&here.sequence);
        let is_same = self.digests.contains_key(&(here, digest));
        let came = self.digests.iter().any(|((at, _), state)| *at == here && *state == State::Came);
        if is_covered && came && !is_same {
            let lowest = &mut self.epochs.get_mut(&here.epoch).unwrap().conflict;
            *lowest = Some(lowest.map_or(here.sequence, |lowest| lowest.min(here.sequence)));
            self.kept.push(envelope.content.clone());
        } else if !is_covered && !is_same {
            self.store(envelope);
        } else {
            self.cover(here);
        }
        self.receipt(here.epoch)
    }

    fn cover(&mut self, place: Place) {
        self.epochs.entry(place.epoch).or_default().covered.insert(place.sequence);
    }

    fn note(&mut self, at: Place, digest: RecordDigest, state: State) {
        let noted = self.digests.entry((at, digest)).or_insert(state);
        *noted = (*noted).max(state);
    }

    fn store(&mut self, envelope: &Envelope) {
        self.cover(place(envelope));
        self.note(place(envelope), envelope.digest(), State::Came);
        for former in &envelope.former {
            self.note(*former, envelope.digest(), State::Said);
        }
        self.parts.insert(place(envelope), envelope.clone());
        let first = envelope.first_sequence();
        let places =
            (first..).take(envelope.parts.into()).map(|sequence| Place { sequence, ..place(envelope) });
        let places: Vec<Place> = places.collect();
        let Some(parts) = places.iter().map(|at| self.parts.get(at).cloned()).collect::<Option<Vec<_>>>()
        else {
            return;
        };
        if parts.iter().any(|part| part.first_sequence() != first) {
            return;
        }
        let is_stored = |index: usize| {
            parts.iter().all(|part| {
                let state = part.former.get(index).and_then(|at| self.digests.get(&(*at, part.digest())));
                state.is_some_and(|state| *state >= State::Elsewhere)
            })
        };
        if !(0..envelope.former.len()).any(is_stored) {
            self.complete(envelope, &parts);
        }
        for part in &parts {
            for former in &part.former {
                self.note(*former, part.digest(), State::Elsewhere);
            }
        }
    }

    fn complete(&mut self, envelope: &Envelope, parts: &[Envelope]) {
        let content: Vec<u8> = parts.iter().flat_map(|part| part.content.clone()).collect();
        if envelope.kind != UpKind::Event {
            return self.contents.push(content);
        }
        let event = EventReport::from_bytes(&content, CBOR).unwrap();
        assert_eq!(event.kind, EventKind::SpoolGap);
        let said = envelope.former.first().copied().unwrap_or_else(|| place(envelope));
        let range = event.range.unwrap();
        (range.first..=range.last.min(said.sequence))
            .for_each(|sequence| self.cover(Place { sequence, ..said }));
    }

    fn receipt(&self, epoch: Epoch) -> Receipt {
        let Stored { covered, conflict } = &self.epochs[&epoch];
        let below = conflict.map_or(u64::MAX, |conflict| conflict - 1);
        let missing: Vec<u64> =
            (1..=*covered.last().unwrap_or(&0)).filter(|s| !covered.contains(s)).collect();
        let contiguous = missing.first().map_or(*covered.last().unwrap_or(&0), |first| first - 1).min(below);
        let gaps: Vec<SequenceRange> = missing.iter().map(|&s| SequenceRange { first: s, last: s }).collect();
        let gaps = gaps.into_iter().filter(|gap| gap.last < below);
        let mut joined: Vec<SequenceRange> = Vec::new();
        for gap in gaps {
            match joined.last_mut() {
                Some(last) if last.last + 1 == gap.first => last.last = gap.last,
                _ => joined.push(gap),
            }
        }
        let came = self.digests.iter().filter(|((at, _), state)| {
            at.epoch == epoch && at.sequence <= contiguous && **state == State::Came
        });
        let newest = came.max_by_key(|((at, _), _)| at.sequence);
        let stored = newest.map(|((at, digest), _)| StoredRecord { sequence: at.sequence, digest: *digest });
        Receipt { stored, conflict: *conflict, ..Receipt::new(epoch, contiguous, joined) }
    }
}

/// The files of a directory, and the contents that were on it.
type Backup = (BTreeMap<String, Vec<u8>>, BTreeSet<Vec<u8>>);

/// A device, its backups, and what is under way.
struct World {
    dir: TempDir,
    spool: Spool,
    epochs: u64,
    contents: u64,
    /// What the disk holds of contents, once the spool was filled: in this timeline, and in each backup.
    written: BTreeSet<Vec<u8>>,
    backups: Vec<Backup>,
    broker: Vec<Envelope>,
    receipts: Vec<Receipt>,
    receiver: Receiver,
    delivered: BTreeSet<Vec<u8>>,
    sent: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Append {
        is_long: bool,
    },
    /// The next records go to the broker.
    Send(u8),
    /// The receiver takes the oldest messages.
    Receive(u8),
    /// One of the latest receipts arrives, perhaps a stale one.
    Receipt(u8),
    BackUp,
    /// The directory becomes what it was; leftovers stay when `is_mixed`.
    SetBack {
        to: u8,
        is_mixed: bool,
    },
    Restart,
    BrokerDies,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::bool::weighted(0.06).prop_map(|is_long| Step::Append { is_long }),
        6 => (1..5_u8).prop_map(Step::Send),
        6 => (1..5_u8).prop_map(Step::Receive),
        6 => (0..3_u8).prop_map(Step::Receipt),
        2 => Just(Step::BackUp),
        2 => (0..4_u8, prop::bool::weighted(0.2)).prop_map(|(to, is_mixed)| Step::SetBack { to, is_mixed }),
        1 => Just(Step::Restart),
        1 => Just(Step::BrokerDies),
    ]
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.is_file());
    files
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect()
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(dir.path(), BOUNDS, Epoch(1), 0).unwrap();
        Self {
            dir,
            spool,
            epochs: 1,
            contents: 0,
            written: BTreeSet::new(),
            backups: Vec::new(),
            broker: Vec::new(),
            receipts: Vec::new(),
            receiver: Receiver::default(),
            delivered: BTreeSet::new(),
            sent: 0,
        }
    }

    fn fresh(&mut self) -> Epoch {
        self.epochs += 1;
        Epoch(self.epochs)
    }

    fn open(&mut self) {
        let fresh = self.fresh();
        let (spool, _) = Spool::open(self.dir.path(), BOUNDS, fresh, 0).unwrap();
        self.spool = spool;
        self.sent = 0;
    }

    fn append(&mut self, is_long: bool) {
        self.contents += 1;
        let length =
            if is_long { 2 * Envelope::MAX_PART + 1 } else { 8 + (self.contents as usize * 37) % 300 };
        let mut content = vec![0; length];
        content[..8].copy_from_slice(&self.contents.to_be_bytes());
        self.spool.append(UpKind::Profile, Some(&"c1".parse().unwrap()), &content, self.contents).unwrap();
        self.written.insert(content);
    }

    fn send(&mut self, most: u8) {
        for _ in 0..most {
            let Some((sequence, _)) = self.spool.first_from(self.sent + 1) else { return };
            let bytes = self.spool.read(sequence).unwrap().unwrap();
            self.broker.push(Envelope::from_bytes(&bytes, CBOR).unwrap());
            self.sent = sequence;
        }
    }

    fn receive(&mut self, most: u8) {
        for _ in 0..usize::from(most).min(self.broker.len()) {
            let envelope = self.broker.remove(0);
            self.receipts.push(self.receiver.take(&envelope));
            if envelope.parts == 1 && envelope.kind == UpKind::Profile {
                self.delivered.insert(envelope.content);
            }
        }
    }

    fn receipt(&mut self, age: u8) {
        let Some(index) = self.receipts.len().checked_sub(1 + usize::from(age)) else { return };
        let receipt = self.receipts[index].clone();
        if let Confirmation::Behind(_) = self.spool.confirm(&receipt).unwrap() {
            assert!(self.spool.behind().is_some(), "being behind is sticky");
            let again = self.spool.confirm(&Receipt::new(receipt.epoch, 1, Vec::new())).unwrap();
            assert!(matches!(again, Confirmation::Behind(_)));
            let fresh = self.fresh();
            self.spool.renew(fresh, 0).unwrap();
            self.sent = 0;
        }
    }

    fn set_back(&mut self, to: u8, is_mixed: bool) {
        let Some((files, written)) = self.backups.get(usize::from(to)).cloned() else { return };
        for name in self::files(self.dir.path()).into_keys() {
            if !is_mixed && !files.contains_key(&name) {
                fs::remove_file(self.dir.path().join(name)).unwrap();
            }
        }
        for (name, bytes) in files {
            fs::write(self.dir.path().join(name), bytes).unwrap();
        }
        self.written = written;
        self.open();
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Append { is_long } => self.append(is_long),
            Step::Send(most) => self.send(most),
            Step::Receive(most) => self.receive(most),
            Step::Receipt(age) => self.receipt(age),
            Step::BackUp => self.backups.push((files(self.dir.path()), self.written.clone())),
            Step::SetBack { to, is_mixed } => self.set_back(to, is_mixed),
            Step::Restart => self.open(),
            Step::BrokerDies => self.broker.clear(),
        }
    }

    /// Nothing happens any more but sending.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.sent = 0;
            self.send(u8::MAX);
            self.receive(u8::MAX);
            self.receipt(0);
            if self.spool.unconfirmed() == 0 {
                return;
            }
        }
        panic!("{} records are never confirmed", self.spool.unconfirmed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_a_directory_is_set_back_to_everything_on_it_is_stored_once(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.settle();
        let stored = |content: &Vec<u8>| world.receiver.contents.iter().filter(|of| *of == content).count();
        for content in &world.written {
            prop_assert_eq!(stored(content), 1, "content {:?} of this timeline", &content[..8]);
        }
        for content in &world.delivered {
            let is_kept = world.receiver.kept.contains(content);
            prop_assert!(stored(content) == 1 || stored(content) == 0 && is_kept, "content {:?}", &content[..8]);
        }
    }
}

#[test]
fn a_record_is_not_taken_for_another_that_left_its_place() {
    let mut world = World::new();
    let append = Step::Append { is_long: false };
    let set_back = |to, is_mixed| Step::SetBack { to, is_mixed };
    // Two records are backed up; in the other timeline two others take their places and move to a new epoch.
    let (first, other) =
        ([Step::BackUp, append.clone(), Step::Send(1), append.clone(), Step::BackUp], append);
    let other = [set_back(0, false), other.clone(), other, Step::Receive(1), Step::Receipt(0)];
    for step in first.iter().chain(&other).chain([&set_back(1, true)]) {
        world.take(step);
    }
    world.settle();
    assert_eq!(world.written.len(), 2);
    for content in &world.written {
        assert_eq!(
            world.receiver.contents.iter().filter(|of| *of == content).count(),
            1,
            "{:?}",
            &content[..8]
        );
    }
}

/// Two spools over copies of one directory.
fn twins(records: u64) -> [(TempDir, Spool); 2] {
    let original = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(original.path(), BOUNDS, Epoch(1), 0).unwrap();
    for _ in 0..records {
        spool.append(UpKind::Profile, None, b"shared", 0).unwrap();
    }
    [2, 3].map(|fresh| {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files(original.path()) {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        let (spool, _) = Spool::open(dir.path(), BOUNDS, Epoch(fresh), 0).unwrap();
        (dir, spool)
    })
}

fn first_envelope(spool: &Spool, sequence: u64) -> Envelope {
    Envelope::from_bytes(&spool.read(sequence).unwrap().unwrap(), CBOR).unwrap()
}

#[test]
fn a_copied_card_parts_from_its_original_at_the_first_receipt() {
    let [(_one, mut one), (_other, mut other)] = twins(1);
    one.append(UpKind::Profile, None, b"one", 0).unwrap();
    other.append(UpKind::Profile, None, b"other", 0).unwrap();
    let mut receiver = Receiver::default();
    receiver.take(&first_envelope(&one, 1));
    let receipt = receiver.take(&first_envelope(&one, 2));
    assert_eq!(one.confirm(&receipt).unwrap(), Confirmation::Accepted { resend: Vec::new() });
    assert_eq!(other.confirm(&receipt).unwrap(), Confirmation::Behind(Behind::Other { sequence: 2 }));
    other.renew(Epoch(4), 0).unwrap();
    for sequence in [1, 2] {
        receiver.take(&first_envelope(&other, sequence));
    }
    let expected = [b"shared".as_slice(), b"one", b"other"];
    assert_eq!(receiver.contents, expected);
}

#[test]
fn a_daemon_that_stops_before_it_could_begin_a_new_epoch_begins_it_at_its_next_start() {
    let [(dir, mut spool), _] = twins(2);
    let ahead = Receipt::new(Epoch(1), 9, Vec::new());
    assert!(matches!(
        spool.confirm(&ahead).unwrap(),
        Confirmation::Behind(Behind::Ahead { confirmed: 9, newest: 2 })
    ));
    drop(spool);
    let (spool, damage) = Spool::open(dir.path(), BOUNDS, Epoch(7), 0).unwrap();
    assert_eq!((spool.epoch(), spool.unconfirmed(), spool.behind()), (Epoch(7), 2, None));
    assert!(damage[0].what.contains("new epoch was begun"), "{damage:?}");
    drop(spool);
    let (spool, damage) = Spool::open(dir.path(), BOUNDS, Epoch(8), 0).unwrap();
    assert_eq!((spool.epoch(), damage), (Epoch(7), Vec::new()));
}

#[test]
fn a_crash_in_the_midst_of_a_new_epoch_leaves_each_record_once() {
    let [(dir, mut spool), _] = twins(3);
    let before = files(dir.path());
    spool.renew(Epoch(5), 0).unwrap();
    drop(spool);
    // The old files were not removed yet.
    for (name, bytes) in before {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let (spool, _) = Spool::open(dir.path(), BOUNDS, Epoch(6), 0).unwrap();
    assert_eq!((spool.epoch(), spool.unconfirmed()), (Epoch(5), 3));
    let formers: Vec<u64> =
        (1..=3).map(|sequence| first_envelope(&spool, sequence).former[0].sequence).collect();
    assert_eq!(formers, [1, 2, 3]);
}

#[test]
fn a_new_epoch_goes_on_in_new_segments_and_across_starts() {
    let [(dir, mut spool), _] = twins(2);
    spool.renew(Epoch(5), 0).unwrap();
    for _ in 0..9 {
        spool.append(UpKind::Profile, None, &[7; 600], 0).unwrap();
    }
    drop(spool);
    let (mut spool, damage) = Spool::open(dir.path(), BOUNDS, Epoch(6), 0).unwrap();
    assert_eq!(
        (spool.epoch(), spool.unconfirmed(), spool.next_sequence(), damage.len()),
        (Epoch(5), 11, 12, 0)
    );
    spool.confirm(&Receipt::new(Epoch(5), 11, Vec::new())).unwrap();
    assert_eq!(spool.unconfirmed(), 0);
}

#[test]
fn acknowledgements_from_the_future_of_a_directory_confirm_nothing_that_is_written_later() {
    let [(dir, mut spool), _] = twins(2);
    let before = files(dir.path());
    for _ in 0..3 {
        spool.append(UpKind::Profile, None, b"later", 0).unwrap();
    }
    spool.confirm(&Receipt::new(Epoch(1), 5, Vec::new())).unwrap();
    drop(spool);
    for (name, bytes) in before.into_iter().filter(|(name, _)| name != "acks") {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let (mut spool, _) = Spool::open(dir.path(), BOUNDS, Epoch(6), 0).unwrap();
    assert_eq!(spool.epoch(), Epoch(6));
    spool.append(UpKind::Profile, None, b"new", 0).unwrap();
    drop(spool);
    assert_eq!(Spool::open(dir.path(), BOUNDS, Epoch(7), 0).unwrap().0.unconfirmed(), 1);
}
