//! A real board whose state directory is set back to copies of itself, at random points, below a real aggregator:
//! what was reported `successful` and was not on a disk that is gone is stored once.

use crate::aggregator::Aggregator;
use crate::broker::Broker;
use crate::client::Client;
use crate::clipmarkd;
use crate::component::trials;
use crate::flood::{FAST_ETHERNET, Flood, MISDEEDS, Misbehaving, Misdeed};
use clipmark_profile::message::CommandState;
use clipmark_profile::stats::rng::Rng;
use libtest_mimic::Trial;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const HEARD: [&str; 2] = ["clipmark/v1/d/bench/state", "clipmark/v1/d/bench/cmd/+/+/status"];

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn trials() -> Vec<Trial> {
    let needs = [clipmarkd::component()];
    let mut trials = trials![&needs;
        a_board_that_is_set_back_after_three_runs_loses_none_of_the_next_ones,
        whatever_a_board_is_set_back_to_what_its_disk_holds_is_stored_once,
        beside_boards_that_flood_the_broker_what_its_disk_holds_is_stored_once,
    ];
    let long = trials![&needs;
        a_hundred_rounds_of_set_backs_and_kills,
        a_hundred_rounds_of_set_backs_and_kills_beside_floods,
    ];
    trials.extend(long.into_iter().map(|trial| trial.with_ignored_flag(true)));
    trials
}

/// A clipmarkd with its state directory. Dropping it kills it.
struct Board {
    dir: TempDir,
    child: Option<Child>,
}

/// False when a file went while it was copied.
fn copied(from: &Path, to: &Path) -> bool {
    Command::new("cp").arg("-a").args([from, to]).status().unwrap().success()
}

impl Board {
    fn start(port: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(dir.path().join("models")).unwrap();
        let text = format!(
            "[device]\nid = \"bench\"\nstate_dir = \"{}\"\n[models]\ndir = \"{}\"\n[spool]\nresend_s = 1\n[mqtt]\n\
             host = \"127.0.0.1\"\nport = {port}\nbackoff_min_ms = 20\nbackoff_max_ms = 200\nwill_delay_s = 0\n",
            path("state"),
            path("models"),
        );
        std::fs::write(path("clipmarkd.toml"), text).unwrap();
        let mut board = Self { dir, child: None };
        board.run();
        board
    }

    fn run(&mut self) {
        let child = Command::new(clipmarkd::path())
            .args(["serve", "--config"])
            .arg(self.dir.path().join("clipmarkd.toml"))
            .env("CLIPMARK_LOG", "warn,rumqttc=error")
            .stdin(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// As a backup does it: of a running board, again when a file went meanwhile.
    fn back_up(&self, name: &str) {
        let to = self.dir.path().join(name);
        for _ in 0..100 {
            if copied(&self.dir.path().join("state"), &to) {
                return;
            }
            std::fs::remove_dir_all(&to).unwrap();
        }
        panic!("no copy of the state directory could be made while the board ran");
    }

    fn set_back(&mut self, name: &str) {
        self.kill();
        std::fs::remove_dir_all(self.dir.path().join("state")).unwrap();
        assert!(copied(&self.dir.path().join(name), &self.dir.path().join("state")));
        self.run();
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Captures a tree; it is reported `successful`.
fn capture(client: &mut Client, id: &str) {
    client.request("bench", "capture", id, "");
    let status = client.final_status(id);
    assert_eq!(status.state, CommandState::Successful, "{status:?}");
}

/// How many results of each command are stored.
fn stored(aggregator: &Aggregator) -> BTreeMap<String, i64> {
    let database = rusqlite::Connection::open(aggregator.database()).unwrap();
    let mut rows = database
        .prepare("SELECT command, COUNT(*) FROM attachment WHERE command IS NOT NULL GROUP BY command")
        .unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Waits until each of `ids` is stored.
fn wait_for(aggregator: &Aggregator, ids: &BTreeSet<String>) {
    let from = Instant::now();
    loop {
        let stored = stored(aggregator);
        let missing: Vec<&String> = ids.iter().filter(|id| !stored.contains_key(*id)).collect();
        if missing.is_empty() {
            return;
        }
        assert!(from.elapsed() < PATIENCE, "{missing:?} were reported successful and are in no store");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn a_board_that_is_set_back_after_three_runs_loses_none_of_the_next_ones() {
    let broker = Broker::start();
    let aggregator = Aggregator::start(broker.port);
    let mut board = Board::start(broker.port);
    let mut client = Client::connect(broker.port, "onlooker", &HEARD);
    client.online();
    let all: BTreeSet<String> = (0..9).map(|number| format!("r{number}")).collect();
    let ids: Vec<&String> = all.iter().collect();
    capture(&mut client, ids[0]);
    wait_for(&aggregator, &BTreeSet::from([ids[0].clone()]));
    board.back_up("copy");
    for id in &ids[1..4] {
        capture(&mut client, id);
    }
    wait_for(&aggregator, &ids[..4].iter().map(|id| (*id).clone()).collect());
    board.set_back("copy");
    for id in &ids[4..] {
        capture(&mut client, id);
    }
    wait_for(&aggregator, &all);
    assert!(stored(&aggregator).values().all(|times| *times == 1), "{:?}", stored(&aggregator));
    let mut client = Client::connect(broker.port, "later", &HEARD);
    let state = client.state("why", |state| !state.reasons.is_empty() && state.unconfirmed == 0);
    assert!(state.reasons[0].contains("set back"), "{:?}", state.reasons);
}

/// What befalls the board and its neighbours, in a seeded order.
struct Ordeal {
    seed: u64,
    rounds: usize,
}

struct Scene {
    rng: Rng,
    broker: Broker,
    aggregator: Aggregator,
    board: Board,
    /// The commands whose results are on the disk of the board, or were sent from it.
    on_disk: BTreeSet<String>,
    /// The same of each copy.
    copies: Vec<BTreeSet<String>>,
    all: BTreeSet<String>,
}

impl Scene {
    /// Some results, each reported `successful`.
    fn capture(&mut self, round: usize) {
        let mut client = Client::connect(self.broker.port, "onlooker", &HEARD);
        client.online();
        for number in 0..=self.rng.below(3) {
            let id = format!("c{round}-{number}");
            capture(&mut client, &id);
            self.on_disk.insert(id.clone());
            self.all.insert(id);
        }
    }

    fn kill(&mut self) {
        match self.rng.below(4) {
            0 => {
                self.broker.kill();
                self.broker.run();
            }
            1 => {
                self.board.kill();
                self.board.run();
            }
            2 => {
                self.aggregator.kill();
                self.aggregator.run();
            }
            _ => {}
        }
    }

    fn set_back(&mut self) {
        if self.copies.is_empty() || self.rng.below(2) == 0 {
            self.board.back_up(&format!("copy{}", self.copies.len()));
            self.copies.push(self.on_disk.clone());
        }
        if self.rng.below(3) > 0 {
            // What is on this disk alone is lost with it, and was never promised to outlive it.
            let to = self.rng.below(self.copies.len());
            self.board.set_back(&format!("copy{to}"));
            self.on_disk = self.copies[to].clone();
        }
    }

    fn round(&mut self, round: usize) {
        // Without an aggregator the new timeline is written before the first receipt arrives.
        let is_heard = self.rng.below(3) > 0;
        if !is_heard {
            self.aggregator.kill();
        }
        self.capture(round);
        self.set_back();
        if !is_heard {
            self.aggregator.run();
        }
        self.kill();
        if self.rng.below(2) == 0 {
            wait_for(&self.aggregator, &self.on_disk);
        }
    }
}

/// Goes through it; `meanwhile` begins what else goes on at the broker, until the value that it returns is dropped.
fn undergo<T>(ordeal: &Ordeal, meanwhile: impl FnOnce(u16) -> T) {
    let broker = Broker::start();
    let neighbour = meanwhile(broker.port);
    let aggregator = Aggregator::start(broker.port);
    let board = Board::start(broker.port);
    let (rng, on_disk, copies, all) = (Rng::new(ordeal.seed), BTreeSet::new(), Vec::new(), BTreeSet::new());
    let mut scene = Scene { rng, broker, aggregator, board, on_disk, copies, all };
    for round in 0..ordeal.rounds {
        scene.round(round);
    }
    wait_for(&scene.aggregator, &scene.on_disk);
    let mut client = Client::connect(scene.broker.port, "onlooker", &HEARD);
    client.state("nothing unconfirmed", |state| state.unconfirmed == 0);
    drop(neighbour);
    let stored = stored(&scene.aggregator);
    assert!(stored.values().all(|times| *times == 1), "stored twice: {stored:?}");
    let gone = scene.all.iter().filter(|id| !stored.contains_key(*id)).count();
    eprintln!(
        "seed {}: {} results, {} copies; 0 lost, 0 stored twice, {gone} went with a disk before they were sent",
        ordeal.seed,
        scene.all.len(),
        scene.copies.len()
    );
}

fn whatever_a_board_is_set_back_to_what_its_disk_holds_is_stored_once() {
    undergo(&Ordeal { seed: 1, rounds: 5 }, |_| ());
}

/// Boards that misbehave in each way, over one link each of `link` bytes a second.
fn floods(port: u16, link: f64) -> Vec<Misbehaving> {
    let begin =
        |(_, misdeed): &(_, Misdeed)| Flood { misdeed: *misdeed, link, elsewhere: false }.begin(port, 0);
    MISDEEDS.iter().map(begin).collect()
}

fn beside_boards_that_flood_the_broker_what_its_disk_holds_is_stored_once() {
    undergo(&Ordeal { seed: 7, rounds: 3 }, |port| floods(port, FAST_ETHERNET / 100.0));
}

/// Takes some minutes; prints the counts that docs/robustness.md states.
fn a_hundred_rounds_of_set_backs_and_kills() {
    for seed in 2..7 {
        undergo(&Ordeal { seed, rounds: 20 }, |_| ());
    }
}

/// Takes some minutes; prints the counts that docs/robustness.md states.
fn a_hundred_rounds_of_set_backs_and_kills_beside_floods() {
    for seed in 2..7 {
        undergo(&Ordeal { seed, rounds: 20 }, |port| floods(port, FAST_ETHERNET / 10.0));
    }
}
