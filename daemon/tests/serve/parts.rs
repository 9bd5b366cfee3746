//! Brokers that take only small packets: results come in smaller parts, whether the limit is announced or not.

use crate::broker::Broker;
use crate::brokers::disconnect;
use crate::client::Client;
use crate::daemon::{DEVICE, Daemon};
use crate::proxy::{Behaviour, Proxy};
use crate::whole::{content, everything_comes_up};
use clipmark_profile::message::{CommandState, Envelope, EventKind, EventReport, Payload};
use clipmark_profile::topics::UpKind;

const ALL: &str = "clipmark/v1/d/bench/#";

#[test]
fn a_broker_that_announces_small_packets_gets_small_parts() {
    let broker = Broker::with_settings("allow_anonymous true\nmax_packet_size 2000\n");
    let mut daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    everything_comes_up(&mut client);
    assert_eq!(daemon.connections(), 1);
    daemon.logged("results are cut into parts");
}

/// mosquitto's answer is a PUBACK with "packet too large"; brokers that end the connection do so with that reason, or
/// without one.
#[test]
fn a_broker_that_does_not_announce_what_is_too_large_gets_it_in_smaller_parts() {
    let limited = Broker::with_settings("allow_anonymous true\nmessage_size_limit 3000\n");
    smaller_parts("mosquitto", &limited, Behaviour::default());
}

#[test]
fn a_broker_that_closes_with_packet_too_large_gets_it_in_smaller_parts() {
    let last_words = disconnect(0x95).to_vec();
    smaller_parts(
        "0x95",
        &Broker::start(),
        Behaviour { longest: Some(3000), last_words, ..Behaviour::default() },
    );
}

#[test]
fn a_broker_that_closes_without_a_word_gets_what_is_too_large_in_smaller_parts() {
    smaller_parts("silent", &Broker::start(), Behaviour { longest: Some(3000), ..Behaviour::default() });
}

/// A result within a status cannot be cut: it is left out, and the status says so.
#[test]
fn a_status_that_is_too_large_says_less_however_the_broker_refuses_it() {
    let limit = 1100;
    let settings = format!("allow_anonymous true\nmessage_size_limit {limit}\n");
    let closing = |last_words| Behaviour { longest: Some(limit), last_words, ..Behaviour::default() };
    for (what, broker, behaviour) in [
        ("PUBACK", Broker::with_settings(&settings), Behaviour::default()),
        ("0x95", Broker::start(), closing(disconnect(0x95).to_vec())),
        ("silent", Broker::start(), closing(Vec::new())),
    ] {
        let proxy = Proxy::start(broker.port, behaviour);
        let mut daemon = Daemon::start(proxy.port, "");
        let mut client = Client::connect(broker.port, "operator", &[ALL]);
        client.online();
        client.request(DEVICE, "probe", "wordy", "");
        let status = client.final_status("wordy");
        let notes = status.result.map(|result| result.notes).unwrap_or_default();
        assert!(notes.iter().any(|note| note.contains("the result is left out")), "{what}: {notes:?}");
        client.request(DEVICE, "models", "behind", "");
        assert_eq!(client.final_status("behind").state, CommandState::Successful, "{what}");
        assert!(daemon.connections() < 15, "{what}: {} connections", daemon.connections());
        assert_eq!(daemon.complaints("another client") + daemon.complaints("clients"), 0, "{what}");
    }
}

fn smaller_parts(what: &str, broker: &Broker, behaviour: Behaviour) {
    let proxy = Proxy::start(broker.port, behaviour);
    let mut daemon = Daemon::start(proxy.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    let status = everything_comes_up(&mut client);
    assert_eq!(status.state, CommandState::Successful, "{what}");
    let blamed = daemon.complaints("another client") + daemon.complaints("clients");
    assert_eq!(blamed, 0, "{what}: no other client is at fault");
    assert!(daemon.connections() < 40, "{what}: {} connections", daemon.connections());
}

#[test]
fn a_result_that_is_in_the_spool_before_a_broker_with_small_packets_comes_is_cut_anew() {
    let mut broker = Broker::with_settings("allow_anonymous true\n");
    let mut daemon = Daemon::start(broker.port, "");
    let mut client =
        Client::connect(broker.port, "operator", &["clipmark/v1/d/+/state", "clipmark/v1/d/+/cmd/#"]);
    client.online();
    client.request(DEVICE, "capture", "large", "");
    client.final_status("large");
    broker.kill();
    let small = Broker::with_settings("allow_anonymous true\nmax_packet_size 2000\n");
    let mut client = Client::connect(small.port, "operator", &[ALL]);
    daemon.configure(small.port, "");
    daemon.signal("HUP");
    let event =
        EventReport::from_bytes(&content(&mut client, UpKind::Event, "large"), Some("application/cbor"))
            .unwrap();
    assert_eq!(event.kind, EventKind::Capture);
    let gap = client.wait("the word that its old place stays empty", |seen| {
        let envelope = seen.topic.ends_with("/up/event").then(|| seen.read::<Envelope>())?;
        let event = (envelope.parts == 1)
            .then(|| EventReport::from_bytes(&envelope.content, Some("application/cbor")))?;
        event.ok().filter(|event| event.kind == EventKind::SpoolGap)
    });
    assert!(
        gap.range.is_some_and(|range| range.first == 1) && gap.message.contains("smaller parts"),
        "{gap:?}"
    );
    // A restart brings nothing back of it.
    daemon.kill();
    client.seen.clear();
    daemon.run();
    content(&mut client, UpKind::Event, "large");
    assert!(
        client
            .seen
            .iter()
            .filter(|seen| seen.topic.ends_with("/up/event"))
            .all(|seen| seen.payload.len() < 2000)
    );
}
