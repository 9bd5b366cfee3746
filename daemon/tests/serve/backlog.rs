//! What a board has gathered before the first aggregator starts.

use crate::broker::Broker;
use crate::chaos;
use crate::client::{Client, online};
use crate::daemon::{DEVICE, Daemon};
use clipmark_profile::message::{Envelope, Payload, Receipt};
use clipmark_profile::stats::rng::Rng;
use clipmark_profile::topics::Topic;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

const HEARD: [&str; 2] = ["clipmark/v1/d/+/state", "clipmark/v1/d/+/cmd/+/+/status"];

/// A daemon that sends again after an hour, with `records` that it has sent in vain.
fn forgotten(broker: &Broker, records: u64) -> (Daemon, Client) {
    let mut daemon = Daemon::prepare(broker.port, "[spool]\nresend_s = 3600");
    chaos::fill(&daemon, records, &mut Rng::new(3));
    let mut client = Client::connect(broker.port, "onlooker", &HEARD);
    daemon.run();
    client.state("the backlog", |state| state.unconfirmed == records);
    // While this is answered, a window of it goes where nobody listens.
    client.request(DEVICE, "probe", "c1", "");
    client.final_status("c1");
    (daemon, client)
}

#[test]
fn a_backlog_is_sent_as_soon_as_an_aggregator_says_that_it_is_there() {
    let broker = Broker::start();
    let (_daemon, _) = forgotten(&broker, 306);
    let mut aggregator = Client::connect(broker.port, "aggregator", &["clipmark/v1/d/+/up/#"]);
    let state = online();
    let topic = Topic::AggregatorState("fleet".parse().unwrap()).to_string();
    aggregator.publish_retained(&topic, &state.to_bytes().unwrap());
    let (mut stored, mut contiguous) = (BTreeSet::new(), 0);
    while contiguous < 306 {
        aggregator.wait("another record", |seen| (!seen.topic.is_empty()).then_some(()));
        for seen in std::mem::take(&mut aggregator.seen) {
            let envelope: Envelope = seen.read();
            stored.insert(envelope.sequence);
            while stored.contains(&(contiguous + 1)) {
                contiguous += 1;
            }
            aggregator.receipt(DEVICE, &Receipt::new(envelope.epoch, contiguous, Vec::new()));
        }
    }
}

#[test]
#[ignore = "needs a clipmark-fleet: CLIPMARK_FLEET, or beside clipmarkd; prints how long each backlog takes"]
fn a_backlog_goes_to_a_real_aggregator() {
    let beside = PathBuf::from(env!("CARGO_BIN_EXE_clipmarkd")).with_file_name("clipmark-fleet");
    let program = std::env::var_os("CLIPMARK_FLEET").map_or(beside, PathBuf::from);
    for records in [306, 5000] {
        let broker = Broker::start();
        let (_daemon, mut client) = forgotten(&broker, records);
        let store = tempfile::tempdir().unwrap();
        let text = format!(
            "[mqtt]\nhost = \"127.0.0.1\"\nport = {}\n[store]\npath = \"{}\"\n[dashboard]\nenabled = false\n",
            broker.port,
            store.path().join("fleet.db").display()
        );
        let config = store.path().join("fleet.toml");
        std::fs::write(&config, text).unwrap();
        let began = Instant::now();
        let mut aggregator = Command::new(&program)
            .arg("--config")
            .arg(&config)
            .arg("serve")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        client.state("everything confirmed", |state| state.unconfirmed == 0);
        eprintln!(
            "{records} records: {:.1} s from the start of the aggregator",
            began.elapsed().as_secs_f64()
        );
        aggregator.kill().unwrap();
        aggregator.wait().unwrap();
    }
}
