//! What an aggregator does when everything is well, and with what it cannot understand.

use crate::aggregator::Aggregator;
use crate::broker::Broker;
use crate::client::Client;
use crate::device::{RECEIPTS, confirmed, numbered, publish, send};
use crate::records::envelope;
use clipmark_fleet::store::{ProfileQuery, Store};
use clipmark_profile::message::{Availability, DeviceState, Payload};
use clipmark_profile::topics::UpKind;
use std::process::Command;

#[test]
fn a_receipt_says_what_is_stored_and_is_there_for_a_device_that_comes_later() {
    let broker = Broker::start();
    let mut aggregator = Aggregator::start(broker.port);
    let mut client = Client::connect(broker.port, "device", &[RECEIPTS]);
    send(&client, "orin", &numbered("orin", 7, 1));
    let receipt = confirmed(&mut client, "orin", 7, 1);
    assert_eq!((receipt.contiguous, receipt.aggregator.unwrap().as_str()), (1, "fleet"));
    assert_eq!(aggregator.store().profiles(&ProfileQuery::default()).unwrap()[0].run_id, "orin-7-1");
    let mut later = Client::connect(broker.port, "later", &[RECEIPTS]);
    assert_eq!(confirmed(&mut later, "orin", 7, 1).contiguous, 1);
    aggregator.stop();
}

#[test]
fn what_cannot_be_understood_is_set_aside_and_blocks_nothing() {
    let broker = Broker::start();
    let aggregator = Aggregator::start(broker.port);
    let mut client = Client::connect(broker.port, "device", &[RECEIPTS]);
    publish(&client, "clipmark/v1/d/orin/up/profile", b"nonsense");
    publish(&client, "clipmark/v1/d/orin/up/nonsense", b"{}");
    publish(&client, "clipmark/v1/d/orin/state", b"{\"state\":\"asleep\"}");
    send(&client, "orin", &envelope(1, 1, UpKind::Profile, b"not a profile".to_vec()));
    send(&client, "orin", &envelope(1, 2, UpKind::Series, vec![0xa0]));
    send(&client, "orin", &numbered("orin", 1, 3));
    confirmed(&mut client, "orin", 1, 3);
    let mut store = aggregator.store();
    let poison = store.poison(10).unwrap();
    assert_eq!(poison.len(), 5, "{poison:?}");
    assert_eq!(store.counts().unwrap().profiles, 1);
}

#[test]
fn devices_are_listed_with_state_and_last_profile() {
    let broker = Broker::start();
    let aggregator = Aggregator::start(broker.port);
    let mut client = Client::connect(broker.port, "device", &[RECEIPTS]);
    let state = DeviceState {
        state: Availability::Busy,
        connection: 3,
        since_unix_ms: 0,
        command: Some("c9".parse().unwrap()),
        queued: 0,
        unconfirmed: 1,
        reasons: Vec::new(),
    };
    client.publish_retained("clipmark/v1/d/orin/state", &state.to_bytes().unwrap());
    send(&client, "orin", &numbered("orin", 1, 1));
    confirmed(&mut client, "orin", 1, 1);
    let listed = aggregator.command(&["devices"]);
    assert!(listed.contains("orin") && listed.contains("busy"), "{listed}");
}

#[test]
fn a_broker_inside_the_process_serves_for_trying() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut aggregator = Aggregator::prepare(port, "fleet", None);
    aggregator.run_as(Command::new(env!("CARGO_BIN_EXE_clipmark-fleet")), &["--embedded-broker"]);
    aggregator.logged("connected to the broker");
    let mut client = Client::connect(port, "device", &[RECEIPTS]);
    send(&client, "orin", &numbered("orin", 7, 1));
    confirmed(&mut client, "orin", 7, 1);
    let mut store: Store = aggregator.store();
    assert_eq!(store.counts().unwrap().profiles, 1);
}
