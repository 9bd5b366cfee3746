//! How long a board waits for its receipt beside a board that misbehaves.
//!
//! One mosquitto, one aggregator over SQLite, one run: a board publishes a record and waits for its receipt, time and
//! again, in rounds of which every second one has another client misbehave meanwhile. The median of the rounds'
//! ratios says what the misbehaviour costs the neighbour; it should stay below 2. Other work on the machine hits both
//! kinds of rounds, so that the ratio stands where the times do not.
//!
//! `cargo bench -p clipmark-fleet --bench neighbour` prints a table; nothing fails by it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and ends at the first thing that goes wrong"
)]

#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/serve/aggregator.rs"]
mod aggregator;
#[expect(dead_code, reason = "shared with the daemon's tests, which use all of it")]
#[path = "../../daemon/tests/serve/broker.rs"]
mod broker;
#[expect(dead_code, reason = "shared with the daemon's tests, which use all of it")]
#[path = "../../daemon/tests/serve/client.rs"]
mod client;
#[path = "../tests/serve/device.rs"]
mod device;
#[path = "../tests/serve/raw.rs"]
mod raw;
#[expect(dead_code, reason = "shared with the store's suite, which uses all of it")]
#[path = "../tests/common/records.rs"]
mod records;

use aggregator::Aggregator;
use broker::Broker;
use client::Client;
use clipmark_profile::message::{Envelope, Payload};
use clipmark_profile::topics::UpKind;
use device::{RECEIPTS, confirmed, numbered, send};
use raw::Raw;
use records::envelope;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Pairs of rounds, one quiet and one not.
const ROUNDS: usize = 3;

/// Receipts that are waited for in a round.
const RECEIPTS_A_ROUND: u64 = 20;

/// The n-th message of a board that misbehaves: its topic and payload.
type Misdeed = fn(u64) -> (&'static str, Vec<u8>);

fn event(epoch: u64, sequence: u64) -> Vec<u8> {
    envelope(epoch, sequence, UpKind::Event, Vec::new()).to_bytes().unwrap()
}

const MISDEEDS: [(&str, Misdeed); 6] = [
    ("unfinished contents, 60 KB a part", |n| {
        let part = envelope(1, n + 1, UpKind::Series, vec![n as u8; 60_000]);
        ("clipmark/v1/d/bad-parts/up/series", Envelope { parts: 2, ..part }.to_bytes().unwrap())
    }),
    ("every second sequence", |n| ("clipmark/v1/d/bad-gaps/up/event", event(1, 2 * n + 2))),
    ("an epoch for each record", |n| ("clipmark/v1/d/bad-epochs/up/event", event(n + 1, 1))),
    ("garbage of 60 KB", |n| {
        ("clipmark/v1/d/bad-garbage/state", [n.to_be_bytes().to_vec(), vec![0xff; 60_000]].concat())
    }),
    ("messages of 1 MB", |n| ("clipmark/v1/d/bad-long/up/profile", vec![n as u8; 1_000_000])),
    ("statuses of made-up commands", |n| {
        ("clipmark/v1/d/bad-status/cmd/run/x/status", n.to_be_bytes().to_vec())
    }),
];

/// The median time until a record of the board that behaves is confirmed, from `sequence` on.
fn round(client: &mut Client, sequence: &mut u64) -> Duration {
    let mut times: Vec<Duration> = (0..RECEIPTS_A_ROUND)
        .map(|_| {
            *sequence += 1;
            let record = numbered("good", 1, *sequence);
            let start = Instant::now();
            send(client, "good", &record);
            confirmed(client, "good", 1, *sequence);
            client.seen.clear();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Misbehaves in a thread of its own until it is told to stop; the number of messages sent.
fn misbehave(port: u16, misdeed: Misdeed, from: u64, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut client = Raw::connect(port, "bad");
        let mut n = from;
        while !stop.load(Ordering::Relaxed) {
            let (topic, payload) = misdeed(n);
            assert!(client.publish(topic, &payload), "the broker ended the connection");
            n += 1;
        }
        n
    })
}

fn main() {
    let broker = Broker::start();
    let aggregator = Aggregator::start(broker.port);
    let mut client = Client::connect(broker.port, "good", &[RECEIPTS]);
    let mut sequence = 0;
    round(&mut client, &mut sequence);
    println!(
        "| {:<40} | {:>10} | {:>10} | {:>8} | {:>10} |",
        "a neighbour sends", "quiet", "beside it", "ratio", "messages"
    );
    println!("|{:-<42}|{:->12}|{:->12}|{:->10}|{:->12}|", "", ":", ":", ":", ":");
    for (name, misdeed) in MISDEEDS {
        let mut sent = 0;
        let mut pairs: Vec<(f64, Duration, Duration)> = (0..ROUNDS)
            .map(|_| {
                let quiet = round(&mut client, &mut sequence);
                let stop = Arc::new(AtomicBool::new(false));
                let neighbour = misbehave(broker.port, misdeed, sent, &stop);
                let beside = round(&mut client, &mut sequence);
                stop.store(true, Ordering::Relaxed);
                sent = neighbour.join().unwrap();
                (beside.as_secs_f64() / quiet.as_secs_f64(), quiet, beside)
            })
            .collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, quiet, beside) = pairs[ROUNDS / 2];
        let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        println!("| {name:<40} | {:>10} | {:>10} | {ratio:>8.2} | {sent:>10} |", ms(quiet), ms(beside));
    }
    let left = round(&mut client, &mut sequence);
    println!("\nafter all of it, with nobody misbehaving: {:.1} ms", left.as_secs_f64() * 1e3);
    drop(aggregator);
}
