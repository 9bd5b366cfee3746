//! Broker, daemon and receiver killed at random while a full spool is on its way: nothing lost, nothing twice.
//!
//! Everything is real: mosquitto, `clipmarkd serve` with its spool, and a receiver in a process of its own. The seed
//! decides the victims, the progress at which each is killed, and how far the receiver may be ahead of that.
//!
//! `cargo test -p clipmarkd --test serve chaos -- --ignored --nocapture` runs the long one and prints its counts.

mod receiver;

use crate::broker::Broker;
use crate::client::Client;
use crate::daemon::{DEVICE, Daemon};
use clipmark_daemon::spool::{Bounds, Spool};
use clipmark_profile::message::{CommandState, DeviceState, Envelope, Epoch, Payload};
use clipmark_profile::stats::rng::Rng;
use clipmark_profile::topics::UpKind;
use receiver::Stored;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long nothing may come forward before the test is given up.
const PATIENCE: Duration = Duration::from_secs(60);

const BOUNDS: Bounds = Bounds { segment_bytes: 256 << 10, max_bytes: 64 << 20, reserve_bytes: 64 << 10 };

#[derive(Debug, Clone, Copy)]
struct Ordeal {
    records: u64,
    captures: usize,
    kills_of_each: usize,
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Broker,
    Daemon,
    Receiver,
}

/// The receiver's process. Dropping it kills it.
struct Receiver {
    child: Child,
    told: mpsc::Receiver<usize>,
    stored: usize,
    allowed: usize,
}

impl Receiver {
    fn start(port: u16, store: &TempDir) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "chaos::the_receivers_process", "--ignored", "--nocapture"])
            .env(receiver::DIR_VARIABLE, store.path())
            .env(receiver::PORT_VARIABLE, port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, told) = mpsc::channel();
        std::thread::spawn(move || {
            let numbers = lines.map_while(Result::ok);
            let numbers = numbers.filter_map(|line| line.strip_prefix("stored ")?.parse().ok());
            numbers.into_iter().try_for_each(|stored| sender.send(stored))
        });
        let stored = told.recv_timeout(PATIENCE).expect("the receiver starts");
        Self { child, told, stored, allowed: stored }
    }

    /// Lets it store until it holds `most`.
    fn allow(&mut self, most: usize) {
        let more = most.saturating_sub(self.allowed);
        self.allowed += more;
        self.tell(&"\n".repeat(more));
    }

    fn tell(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn wait_for(&mut self, stored: usize) {
        while self.stored < stored {
            self.stored = self.told.recv_timeout(PATIENCE).expect("records come forward");
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.kill();
        }
    }
}

/// Fills the spool before the daemon starts. Returns each record's checksum by sequence.
pub(crate) fn fill(daemon: &Daemon, records: u64, rng: &mut Rng) -> (Epoch, BTreeMap<u64, u32>) {
    let epoch = Epoch::from_random(rng.next_u64());
    let (mut spool, _) = Spool::open(&daemon.path("state/spool"), BOUNDS, epoch, 0).unwrap();
    while spool.next_sequence() <= records {
        let left = records + 1 - spool.next_sequence();
        let is_long = left >= 3 && rng.below(50) == 0;
        let length = if is_long { 2 * Envelope::MAX_PART + 1 } else { 1 + rng.below(3000) };
        let content: Vec<u8> = (0..length).map(|_| rng.next_u64() as u8).collect();
        spool.append(UpKind::Profile, None, &content, 0).unwrap();
    }
    let crc_of = |sequence: u64| {
        let bytes = spool.read(sequence).unwrap().unwrap();
        crc32c::crc32c(&Envelope::from_bytes(&bytes, Some("application/cbor")).unwrap().content)
    };
    (epoch, (1..=records).map(|sequence| (sequence, crc_of(sequence))).collect())
}

/// What came of it.
#[derive(Debug)]
struct Counts {
    arrived: u64,
    stored: usize,
    duplicated: usize,
    lost: Vec<u64>,
    declared: u64,
    captures: usize,
    took: Duration,
}

struct Scene {
    broker: Broker,
    daemon: Daemon,
    receiver: Receiver,
    store: TempDir,
}

impl Scene {
    fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Broker => {
                self.broker.kill();
                self.broker.run();
            }
            Victim::Daemon => {
                self.daemon.kill();
                self.daemon.run();
            }
            Victim::Receiver => {
                self.receiver.kill();
                self.receiver = Receiver::start(self.broker.port, &self.store);
            }
        }
    }
}

fn victims(ordeal: Ordeal, rng: &mut Rng) -> Vec<Victim> {
    let each = [Victim::Broker, Victim::Daemon, Victim::Receiver];
    let mut victims = each.repeat(ordeal.kills_of_each);
    rng.shuffle(&mut victims);
    victims
}

fn undergo(ordeal: Ordeal) -> Counts {
    let began = Instant::now();
    let mut rng = Rng::new(ordeal.seed);
    let broker = Broker::start();
    let mut daemon = Daemon::prepare(broker.port, "[spool]\nresend_s = 1\nwindow = 64");
    let (epoch, expected) = fill(&daemon, ordeal.records, &mut rng);
    daemon.run();
    let store = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(broker.port, &store);
    let mut scene = Scene { broker, daemon, receiver, store };
    let victims = victims(ordeal, &mut rng);
    let stride = ordeal.records as usize / (victims.len() + 1);
    let ids: Vec<String> = (0..ordeal.captures).map(|index| format!("k{index}")).collect();
    for (index, &victim) in victims.iter().enumerate() {
        if let Some(id) = ids.get(index) {
            Client::connect(scene.broker.port, "operator", &[]).request(DEVICE, "capture", id, "");
        }
        let goal = scene.receiver.stored.max(index * stride) + 1 + rng.below(stride);
        let goal = goal.min(ordeal.records as usize);
        scene.receiver.allow(goal + rng.below(6));
        scene.receiver.wait_for(goal);
        scene.kill(victim);
    }
    scene.receiver.tell(&format!("{}\n", receiver::ALL));
    let captures = settle(&scene, &ids);
    count(&scene, epoch, expected, captures, began)
}

/// Waits until everything is confirmed. Returns the records of each capture that was carried out.
fn settle(scene: &Scene, ids: &[String]) -> BTreeMap<String, u64> {
    let filters = ["clipmark/v1/d/+/state", "clipmark/v1/d/+/cmd/+/+/status"];
    let mut client = Client::connect(scene.broker.port, "observer", &filters);
    let mut captures = BTreeMap::new();
    for id in ids {
        // Whether or not it came through before: a command is carried out once.
        client.request(DEVICE, "capture", id, "");
        let status = client.final_status(id);
        if let (CommandState::Successful, Some(records)) = (status.state, status.records) {
            captures.insert(id.clone(), records.last - records.first + 1);
        }
    }
    client.wait("an empty spool", |seen| {
        let state = seen.topic.ends_with("/state").then(|| seen.read::<DeviceState>())?;
        (state.unconfirmed == 0).then_some(())
    });
    captures
}

fn count(
    scene: &Scene,
    epoch: Epoch,
    expected: BTreeMap<u64, u32>,
    captures: BTreeMap<String, u64>,
    began: Instant,
) -> Counts {
    let lines = receiver::read(scene.store.path());
    let by_sequence: BTreeMap<u64, &Stored> = lines.iter().map(|stored| (stored.sequence, stored)).collect();
    assert!(lines.iter().all(|stored| stored.epoch == epoch.0));
    for (sequence, crc) in &expected {
        assert_eq!(by_sequence.get(sequence).map(|stored| stored.crc), Some(*crc), "record {sequence}");
    }
    for (id, records) in &captures {
        let of = by_sequence.values().filter(|stored| stored.command.as_ref() == Some(id)).count();
        assert_eq!(of as u64, *records, "records of {id}");
    }
    let declared: BTreeSet<u64> =
        lines.iter().filter_map(|stored| stored.lost).flat_map(|lost| lost.first..=lost.last).collect();
    let newest = by_sequence.keys().next_back().copied().unwrap_or(0);
    let missing = (1..=newest).filter(|sequence| !by_sequence.contains_key(sequence));
    Counts {
        arrived: receiver::arrived(scene.store.path()),
        stored: by_sequence.len(),
        duplicated: lines.len() - by_sequence.len(),
        lost: missing.filter(|sequence| !declared.contains(sequence)).collect(),
        declared: declared.len() as u64,
        captures: captures.len(),
        took: began.elapsed(),
    }
}

fn held(ordeal: Ordeal) {
    let counts = undergo(ordeal);
    eprintln!(
        "seed {}: {} records and {} captures, broker, daemon and receiver killed {} times each: {} messages arrived, {} \
         records stored, {} lost, {} duplicated, {} torn and declared, {:.1} s",
        ordeal.seed,
        ordeal.records,
        counts.captures,
        ordeal.kills_of_each,
        counts.arrived,
        counts.stored,
        counts.lost.len(),
        counts.duplicated,
        counts.declared,
        counts.took.as_secs_f64()
    );
    assert_eq!((counts.lost, counts.duplicated), (Vec::new(), 0));
    assert!(counts.stored as u64 >= ordeal.records);
}

#[test]
fn nothing_is_lost_or_stored_twice_when_everybody_is_killed_at_random() {
    held(Ordeal { records: 60, captures: 1, kills_of_each: 2, seed: 1 });
}

#[test]
#[ignore = "takes a minute or two; prints the counts that docs/wire.md states"]
fn a_thousand_records_survive_thirty_kills_of_each() {
    held(Ordeal { records: 1000, captures: 10, kills_of_each: 30, seed: 2 });
}

#[test]
#[ignore = "the receiver's process, started by the tests above"]
fn the_receivers_process() {
    if let Some((dir, port)) = receiver::ordered() {
        assert!(dir.is_dir());
        receiver::receive(port, &dir);
    }
}
