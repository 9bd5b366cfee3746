//! Results on their way to an aggregator: sent until a receipt, across restarts of everybody.

use crate::broker::Broker;
use crate::client::Client;
use crate::daemon::{DEVICE, Daemon};
use clipmark_profile::message::{
    CommandState, CommandStatus, Envelope, EventKind, EventReport, Payload, Place, Receipt,
};
use clipmark_profile::summary::Status;
use clipmark_profile::topics::UpKind;
use clipmark_profile::wire::decode_profile;
use std::io::Write;

const ALL: &str = "clipmark/v1/d/bench/#";

#[test]
fn a_result_is_sent_until_a_receipt_says_that_it_is_stored() {
    let broker = Broker::start();
    let mut daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "aggregator", &[ALL]);
    client.online();
    client.request(DEVICE, "capture", "c1", "");
    let status = client.final_status("c1");
    assert_eq!(status.state, CommandState::Successful, "{status:?}");
    let records = status.records.unwrap();
    let envelope = client.record(UpKind::Event, records.first);
    assert_eq!(Some(envelope.epoch), status.epoch);
    assert_eq!(envelope.command.as_ref().map(|id| id.as_str()), Some("c1"));
    // Acknowledged by the broker, yet not confirmed: it comes again.
    daemon.kill();
    daemon.run();
    client.seen.clear();
    assert_eq!(client.record(UpKind::Event, records.first), envelope);
    let receipt = Receipt::new(envelope.epoch, records.last, vec![]);
    client.receipt(DEVICE, &receipt);
    daemon.logged("removed what a receipt confirmed");
    daemon.kill();
    client.seen.clear();
    daemon.run();
    assert_eq!(client.online().unconfirmed, 0);
    client.request(DEVICE, "capture", "c2", "");
    client.final_status("c2");
    let again = client.seen.iter().filter(|seen| seen.topic.ends_with("/up/event"));
    assert!(again.map(|seen| seen.read::<Envelope>()).all(|of| of.sequence > records.last));
}

#[test]
fn a_capture_holds_the_boards_tree() {
    let broker = Broker::start();
    let _daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "aggregator", &[ALL]);
    client.request(DEVICE, "capture", "c1", "");
    let first = client.final_status("c1").records.unwrap();
    let parts: Vec<u8> = (first.first..=first.last)
        .flat_map(|sequence| client.record(UpKind::Event, sequence).content)
        .collect();
    let event = EventReport::from_bytes(&parts, Some("application/cbor")).unwrap();
    assert_eq!(event.kind, EventKind::Capture);
    assert!(String::from_utf8(event.attachment).unwrap().contains("/proc/meminfo"));
}

#[test]
fn a_broker_that_is_away_for_a_whole_run_gets_profile_and_status_later() {
    let mut broker = Broker::start();
    // Nobody may listen yet when the broker is back: what it then drops is sent again after a second.
    let daemon = Daemon::start(broker.port, "[spool]\nresend_s = 1");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    let request = r#"{"models":["temporal"],"backends":["tract"],"clip_lengths":[8,16],"batch_sizes":[1],"iterations":300}"#;
    client.request(DEVICE, "run", "alone", request);
    client.status("alone", CommandState::Executing);
    broker.kill();
    daemon.notified("idle, 0 waiting, 1 unconfirmed");
    broker.run();
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    assert_eq!(client.final_status("alone").state, CommandState::Successful);
    let profile = decode_profile(&client.record(UpKind::Profile, 1).content).unwrap();
    assert!(profile.points.iter().all(|point| point.status == Status::Measured));
}

#[test]
fn with_puback_delivery_a_result_that_nobody_listens_to_stays_on_the_device() {
    let broker = Broker::start();
    let mut daemon = Daemon::start(broker.port, "[spool]\ndelivery = \"puback\"");
    let mut operator =
        Client::connect(broker.port, "operator", &["clipmark/v1/d/+/state", "clipmark/v1/d/+/cmd/#"]);
    operator.online();
    operator.request(DEVICE, "capture", "c1", "");
    operator.final_status("c1");
    let state = operator.state("the concern", |state| !state.reasons.is_empty());
    assert!(state.reasons[0].contains("nobody subscribes"), "{:?}", state.reasons);
    assert_eq!(state.unconfirmed, 1);
    let mut listener = Client::connect(broker.port, "listener", &["clipmark/v1/d/+/up/#"]);
    daemon.kill();
    daemon.run();
    listener.record(UpKind::Event, 1);
    operator.state("an empty spool", |state| state.unconfirmed == 0 && state.connection == 2);
}

#[test]
fn a_torn_tail_of_the_spool_costs_nothing_that_was_promised_and_is_declared() {
    let broker = Broker::start();
    let mut daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.request(DEVICE, "capture", "c1", "");
    let records = client.final_status("c1").records.unwrap();
    daemon.kill();
    let segments = std::fs::read_dir(daemon.path("state/spool")).unwrap().map(|entry| entry.unwrap().path());
    let newest = segments.filter(|path| path.extension().is_some_and(|ext| ext == "seg")).max().unwrap();
    let mut file = std::fs::File::options().append(true).open(newest).unwrap();
    file.write_all(&[0x17; 1000]).unwrap();
    client.seen.clear();
    daemon.run();
    assert_eq!(client.record(UpKind::Event, records.first).sequence, records.first);
    let declared = client.record(UpKind::Event, records.last + 2);
    let event = EventReport::from_bytes(&declared.content, Some("application/cbor")).unwrap();
    let lost = event.range.unwrap();
    assert_eq!(
        (event.kind, lost.first, lost.last),
        (EventKind::SpoolGap, records.last + 1, records.last + 1)
    );
}

#[test]
fn a_receipt_of_a_future_that_never_was_is_an_alarm_and_everything_is_sent_under_a_new_epoch() {
    let broker = Broker::start();
    let mut daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.request(DEVICE, "capture", "c1", "");
    let epoch = client.final_status("c1").epoch.unwrap();
    client.receipt(DEVICE, &Receipt::new(epoch, 1000, vec![]));
    let state = client.state("the alarm", |state| !state.reasons.is_empty());
    assert!(state.reasons[0].contains("record 1000 is stored"), "{:?}", state.reasons);
    assert_eq!(state.unconfirmed, 1);
    let again = client.wait("the record in a new epoch", |seen| {
        let envelope = seen.topic.ends_with("/up/event").then(|| seen.read::<Envelope>())?;
        (envelope.epoch != epoch).then_some(envelope)
    });
    assert_eq!((again.sequence, &again.former[..]), (1, &[Place { epoch, sequence: 1 }][..]));
    let status = client.wait("a status that names the new place", |seen| {
        let status = seen.topic.ends_with("/c1/status").then(|| seen.read::<CommandStatus>())?;
        (status.epoch == Some(again.epoch)).then_some(status)
    });
    assert_eq!(status.records.map(|records| (records.first, records.last)), Some((1, 1)));
    // The alarm stays whatever later receipts confirm, and so does the epoch.
    client.receipt(DEVICE, &Receipt::new(again.epoch, 1, vec![]));
    let state = client.state("nothing unconfirmed", |state| state.unconfirmed == 0);
    assert!(state.reasons[0].contains("set back"), "{:?}", state.reasons);
    daemon.kill();
    daemon.run();
    client.request(DEVICE, "capture", "c2", "");
    assert_eq!(client.final_status("c2").epoch, Some(again.epoch));
}
