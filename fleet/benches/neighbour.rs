//! How long a board waits for its receipt beside a board that misbehaves.
//!
//! One mosquitto, one aggregator over SQLite, one run: a board publishes a record and waits for its receipt, time and
//! again, in rounds of which every second one has another client misbehave meanwhile. The median of the rounds'
//! ratios says what the misbehaviour costs the neighbour; it should stay below 2. The misbehaving board sends as much
//! as its link carries; the last column is the same flood on topics that nobody hears, which burdens the broker alone. Other work on the machine hits both
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
#[path = "../tests/others/flood.rs"]
mod flood;
#[path = "../tests/serve/raw.rs"]
mod raw;
#[expect(dead_code, reason = "shared with the store's suite, which uses all of it")]
#[path = "../tests/common/records.rs"]
mod records;

use aggregator::Aggregator;
use broker::Broker;
use client::Client;
use device::{RECEIPTS, confirmed, numbered, send};
use flood::{FAST_ETHERNET, Flood, MISDEEDS};
use std::time::{Duration, Instant};

/// Pairs of rounds, one quiet and one not.
const ROUNDS: usize = 3;

/// Receipts that are waited for in a round.
const RECEIPTS_A_ROUND: u64 = 20;

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

/// What `clipmark-fleet acl` advises for the broker's queues, without a log of each message.
const BROKER: &str =
    "allow_anonymous true\nlog_type error\nmax_queued_messages 1000000\nmax_queued_bytes 1073741824\n";

/// The board that behaves.
struct Good {
    port: u16,
    client: Client,
    sequence: u64,
    sent: u64,
}

impl Good {
    fn quiet(&mut self) -> Duration {
        round(&mut self.client, &mut self.sequence)
    }

    /// The median ratio of rounds beside the flood to quiet ones between them, and the median time beside it.
    fn beside(&mut self, flood: Flood) -> (f64, Duration) {
        let mut pairs: Vec<(f64, Duration)> = (0..ROUNDS)
            .map(|_| {
                let quiet = self.quiet();
                let mut neighbour = flood.begin(self.port, self.sent);
                let beside = self.quiet();
                self.sent = neighbour.stop();
                // What is still on its way belongs to the flood.
                self.quiet();
                (beside.as_secs_f64() / quiet.as_secs_f64(), beside)
            })
            .collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        pairs[ROUNDS / 2]
    }
}

fn main() {
    let broker = Broker::with_settings(BROKER);
    let aggregator = Aggregator::start(broker.port);
    let client = Client::connect(broker.port, "good", &[RECEIPTS]);
    let mut good = Good { port: broker.port, client, sequence: 0, sent: 0 };
    good.quiet();
    println!("quiet: {:.1} ms", good.quiet().as_secs_f64() * 1e3);
    println!(
        "| {:<38} | {:>18} | {:>18} | {:>18} |",
        "a neighbour sends", "100 Mbit/s", "1 Gbit/s", "broker at 1 Gbit/s"
    );
    println!("|{:-<40}|{:->20}|{:->20}|{:->20}|", "", ":", ":", ":");
    for (name, misdeed) in MISDEEDS {
        let flood = Flood { misdeed, link: 10.0 * FAST_ETHERNET, elsewhere: false };
        let cells = [Flood { link: FAST_ETHERNET, ..flood }, flood, Flood { elsewhere: true, ..flood }].map(
            |flood| {
                let (ratio, time) = good.beside(flood);
                format!("{ratio:.2} ({:.1} ms)", time.as_secs_f64() * 1e3)
            },
        );
        println!("| {name:<38} | {:>18} | {:>18} | {:>18} |", cells[0], cells[1], cells[2]);
    }
    println!(
        "\nafter all of it, with nobody misbehaving: {:.1} ms; {} messages",
        good.quiet().as_secs_f64() * 1e3,
        good.sent
    );
    drop(aggregator);
}
