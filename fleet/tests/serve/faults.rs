//! Faults: nothing is lost and nothing doubled.

use crate::aggregator::Aggregator;
use crate::broker::Broker;
use crate::client::Client;
use crate::device::{RECEIPTS, confirmed, numbered, send};
use crate::records::{profile, profile_envelope};
use clipmark_fleet::store::ProfileQuery;
use clipmark_profile::message::Envelope;
use std::process::Command;

const DEVICES: [&str; 4] = ["a", "b", "c", "d"];

fn send_all(client: &Client, epoch: u64, sequences: impl Iterator<Item = u64> + Clone) {
    for device in DEVICES {
        for sequence in sequences.clone() {
            send(client, device, &numbered(device, epoch, sequence));
        }
    }
}

#[test]
fn an_aggregator_killed_in_a_batch_loses_and_doubles_nothing() {
    const RECORDS: u64 = 30;
    let broker = Broker::start();
    let mut aggregator = Aggregator::start(broker.port);
    let mut client = Client::connect(broker.port, "devices", &[RECEIPTS]);
    for round in 0..4_u64 {
        let first = round * RECORDS + 1;
        send_all(&client, 1, first..first + RECORDS);
        // Some of the round is stored, most of it under way.
        confirmed(&mut client, "a", 1, first);
        aggregator.kill();
        aggregator.run();
    }
    let all = 4 * RECORDS;
    for device in DEVICES {
        assert_eq!(confirmed(&mut client, device, 1, all).gaps, []);
    }
    assert_eq!(aggregator.profiles(), all * DEVICES.len() as u64);
}

#[test]
fn a_locked_database_holds_everything_back_until_it_is_free() {
    let broker = Broker::start();
    let mut aggregator = Aggregator::start(broker.port);
    let mut client = Client::connect(broker.port, "devices", &[RECEIPTS]);
    send_all(&client, 1, 1..3);
    confirmed(&mut client, "d", 1, 2);
    let lock = rusqlite::Connection::open(aggregator.database()).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    send_all(&client, 1, 3..40);
    let line = aggregator.logged("nothing is acknowledged until the store takes it");
    assert!(line.contains("locked"), "{line}");
    lock.execute_batch("COMMIT").unwrap();
    aggregator.logged("the store takes batches again");
    for device in DEVICES {
        confirmed(&mut client, device, 1, 39);
    }
    assert_eq!(aggregator.profiles(), 39 * 4);
}

#[test]
fn a_full_disk_holds_everything_back_until_there_is_room() {
    let broker = Broker::start();
    let mut aggregator = Aggregator::prepare(broker.port, "fleet", None);
    // A limit on the size of files stands in for a full disk: writes fail in the same place.
    let mut limited = Command::new("bash");
    limited.args([
        "-c",
        "trap '' XFSZ; ulimit -S -f 700; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_clipmark-fleet"),
    ]);
    aggregator.run_as(limited, &[]);
    aggregator.logged("connected to the broker");
    let mut client = Client::connect(broker.port, "devices", &[RECEIPTS]);
    send_all(&client, 1, 1..120);
    aggregator.logged("nothing is acknowledged until the store takes it");
    let pid = format!("--pid={}", aggregator.pid());
    assert!(Command::new("prlimit").args([&pid, "--fsize=unlimited:"]).status().unwrap().success());
    for device in DEVICES {
        confirmed(&mut client, device, 1, 119);
    }
    assert_eq!(aggregator.profiles(), 119 * 4);
}

#[test]
fn a_broker_that_dies_costs_nothing_that_the_devices_still_have() {
    let mut broker = Broker::start();
    let aggregator = Aggregator::start(broker.port);
    let mut client = Client::connect(broker.port, "devices", &[RECEIPTS]);
    send_all(&client, 1, 1..20);
    confirmed(&mut client, "a", 1, 1);
    broker.kill();
    broker.run();
    // Devices send what no receipt covers, which here is everything.
    let mut client = Client::connect(broker.port, "devices", &[RECEIPTS]);
    send_all(&client, 1, 1..20);
    for device in DEVICES {
        confirmed(&mut client, device, 1, 19);
    }
    assert_eq!(aggregator.profiles(), 19 * 4);
}

#[test]
fn a_reflashed_device_begins_anew_beside_its_former_self() {
    let broker = Broker::start();
    let aggregator = Aggregator::start(broker.port);
    let mut client = Client::connect(broker.port, "devices", &[RECEIPTS]);
    send_all(&client, 1, 1..4);
    confirmed(&mut client, "d", 1, 3);
    send_all(&client, 2, 1..3);
    for device in DEVICES {
        assert_eq!(confirmed(&mut client, device, 2, 2).contiguous, 2);
    }
    assert_eq!(aggregator.profiles(), 5 * 4);
}

#[test]
fn clocks_that_are_wrong_by_years_lose_and_reorder_nothing() {
    let broker = Broker::start();
    let aggregator = Aggregator::start(broker.port);
    let mut client = Client::connect(broker.port, "devices", &[RECEIPTS]);
    // 1970, 2106, 2001: what the device calls the times of its runs.
    for (sequence, started) in [(1, 0), (2, 4_291_747_200_000), (3, 1_000_000_000_000)] {
        let mut profile = profile(&format!("run-{sequence}"));
        profile.run.started_unix_ms = started;
        let envelope = Envelope { spooled_unix_ms: started, ..profile_envelope(1, sequence, &profile) };
        send(&client, "a", &envelope);
        confirmed(&mut client, "a", 1, sequence);
    }
    let mut store = aggregator.store();
    let rows = store.profiles(&ProfileQuery::default()).unwrap();
    let runs: Vec<&str> = rows.iter().map(|row| row.run_id.as_str()).collect();
    assert_eq!(runs, ["run-3", "run-2", "run-1"], "the order of arrival, the newest first");
    let listed = aggregator.command(&["devices"]);
    assert!(listed.contains(" s ago") || listed.contains("min ago"), "by the aggregator's clock: {listed}");
}
