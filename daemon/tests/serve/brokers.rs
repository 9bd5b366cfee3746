//! Brokers that refuse, cap or lack something: mosquitto with settings that show it, and a proxy before it for what
//! other brokers do.

use crate::broker::Broker;
use crate::client::Client;
use crate::daemon::{DEVICE, Daemon};
use crate::proxy::{Behaviour, Proxy, property};
use crate::security::{credentials, guarded};
use clipmark_profile::message::{CommandState, DeviceState, Envelope};
use clipmark_profile::topics::UpKind;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use std::sync::atomic::Ordering;

const ALL: &str = "clipmark/v1/d/bench/#";

/// mosquitto's DISCONNECT: nothing behind the reason code.
pub(crate) const fn disconnect(code: u8) -> [u8; 3] {
    [0xe0, 1, code]
}

/// Asks for an answer where the device may not write.
fn ask_elsewhere(client: &Client, id: &str) {
    let properties = PublishProperties {
        response_topic: Some("elsewhere/answers".into()),
        ..PublishProperties::default()
    };
    client.publish(&format!("clipmark/v1/d/bench/cmd/probe/{id}/req"), b"", properties);
}

/// The device stays on the broker and does what it is asked, however often a reply of it is refused.
fn stays(daemon: &mut Daemon, client: &mut Client, connections: u64) {
    client.online();
    for round in 0..6 {
        let id = format!("asked{round}");
        ask_elsewhere(client, &id);
        assert_eq!(client.final_status(&id).state, CommandState::Successful);
        let id = format!("plain{round}");
        client.request(DEVICE, "probe", &id, "");
        assert_eq!(client.final_status(&id).state, CommandState::Successful);
    }
    assert!(daemon.connections() <= connections, "{} connections", daemon.connections());
    assert_eq!(
        daemon.complaints("another client") + daemon.complaints("clients"),
        0,
        "no client is at fault"
    );
}

/// mosquitto before 2.0.22 ends the connection upon a refused message where `max_queued_messages` is 0.
#[test]
fn a_response_topic_that_the_acl_refuses_costs_one_reply_also_where_it_ends_the_connection() {
    for (settings, connections) in [("", 1), ("max_queued_messages 0\n", 4)] {
        let broker = guarded(settings);
        let mut daemon = Daemon::prepare(broker.port, "");
        daemon.configure(broker.port, &credentials(&daemon, "secret"));
        daemon.run();
        let login = Some(("operator", "other"));
        let mut client = Client::connect_as(broker.port, "operator", &[ALL], login);
        stays(&mut daemon, &mut client, connections);
        daemon.logged("the broker refuses the response topic of a request");
    }
}

fn stays_below(last_words: Vec<u8>, connections: u64) {
    let broker = Broker::start();
    let behaviour = Behaviour { forbidden: Some("elsewhere/"), last_words, ..Behaviour::default() };
    let proxy = Proxy::start(broker.port, behaviour);
    let mut daemon = Daemon::start(proxy.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    stays(&mut daemon, &mut client, connections);
}

/// Other brokers end the connection with "not authorized".
#[test]
fn a_reply_upon_which_a_broker_ends_the_connection_is_found_and_dropped() {
    stays_below(disconnect(0x87).to_vec(), 10);
}

#[test]
fn a_reply_upon_which_a_broker_ends_the_connection_without_a_word_is_found_and_dropped() {
    stays_below(Vec::new(), 20);
}

/// The same for what is not a reply: it is tried again, but rarely.
#[test]
fn a_birth_message_upon_which_a_broker_ends_the_connection_does_not_keep_the_device_off() {
    let broker = Broker::start();
    let behaviour =
        Behaviour { forbidden: Some("/info"), last_words: disconnect(0x87).to_vec(), ..Behaviour::default() };
    let proxy = Proxy::start(broker.port, behaviour);
    let daemon = Daemon::start(proxy.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    let state =
        client.state("the concern", |state| state.reasons.iter().any(|why| why.contains("birth message")));
    assert!(
        state.reasons.iter().any(|why| why.contains("not authorized") && why.contains("ACL")),
        "{state:?}"
    );
    client.request(DEVICE, "capture", "c", "");
    assert_eq!(client.final_status("c").state, CommandState::Successful);
    client.record(UpKind::Event, 1);
    assert!(daemon.connections() < 10, "{} connections", daemon.connections());
}

const RUN: &str =
    r#"{"models":["temporal"],"backends":["tract"],"clip_lengths":[8],"batch_sizes":[1],"iterations":20}"#;

/// Not authorized, with that reason and without a word.
fn refusals() -> [Vec<u8>; 2] {
    [disconnect(0x87).to_vec(), Vec::new()]
}

/// A broker that ends the connection upon what `behaviour` has, a daemon behind it, and an operator.
fn behind(behaviour: Behaviour) -> (Broker, Daemon, Client) {
    let broker = Broker::start();
    let proxy = Proxy::start(broker.port, behaviour);
    let daemon = Daemon::start(proxy.port, "");
    let client = Client::connect(broker.port, "operator", &[ALL]);
    (broker, daemon, client)
}

/// A capture, whose record is refused, keeps no profile back that comes behind it.
fn profiles_go_on(daemon: &mut Daemon, client: &mut Client, what: &str) {
    client.request(DEVICE, "capture", "refused", "");
    assert_eq!(client.final_status("refused").state, CommandState::Successful, "{what}");
    for run in ["first", "second"] {
        client.request(DEVICE, "run", run, RUN);
        assert_eq!(client.final_status(run).state, CommandState::Successful, "{what}");
        client.wait("the profile", |seen| {
            let envelope = seen.topic.ends_with("/up/profile").then(|| seen.read::<Envelope>())?;
            (envelope.command.as_ref().map(|command| command.as_str()) == Some(run)).then_some(())
        });
    }
    assert!(daemon.connections() < 25, "{what}: {} connections", daemon.connections());
    assert_eq!(daemon.complaints("another client") + daemon.complaints("clients"), 0, "{what}");
}

#[test]
fn a_kind_of_results_that_a_broker_refuses_keeps_no_other_kind_back() {
    for last_words in refusals() {
        let what = format!("{last_words:?}");
        let behaviour = Behaviour { forbidden: Some("/up/event"), last_words, ..Behaviour::default() };
        let (_broker, mut daemon, mut client) = behind(behaviour);
        profiles_go_on(&mut daemon, &mut client, &what);
        let reason = |why: &String| why.contains(" a result (event)") && why.contains("ACL");
        client.wait("the concern, which stays", |seen| {
            let state = seen.topic.ends_with("/state").then(|| seen.read::<DeviceState>())?;
            state.reasons.iter().any(reason).then_some(())
        });
    }
}

#[test]
fn a_result_that_a_broker_refuses_for_its_content_keeps_none_of_its_kind_back() {
    for last_words in [disconnect(0x99).to_vec(), Vec::new()] {
        let what = format!("{last_words:?}");
        // Not in the status, whose text is JSON.
        let behaviour = Behaviour { disliked: Some("gcommandgrefused"), last_words, ..Behaviour::default() };
        let (_broker, mut daemon, mut client) = behind(behaviour);
        profiles_go_on(&mut daemon, &mut client, &what);
        client.request(DEVICE, "capture", "taken", "");
        assert_eq!(client.final_status("taken").state, CommandState::Successful, "{what}");
        client.wait("a later result of the same kind", |seen| {
            let envelope = seen.topic.ends_with("/up/event").then(|| seen.read::<Envelope>())?;
            (envelope.command.as_ref().map(|command| command.as_str()) == Some("taken")).then_some(())
        });
    }
}

#[test]
fn messages_about_progress_that_a_broker_refuses_are_left_out() {
    for last_words in refusals() {
        let what = format!("{last_words:?}");
        let behaviour = Behaviour { forbidden: Some("/progress"), last_words, ..Behaviour::default() };
        let (_broker, mut daemon, mut client) = behind(behaviour);
        profiles_go_on(&mut daemon, &mut client, &what);
        assert_eq!(daemon.complaints("in the broker's ACL about="), 0, "{what}: nothing else is at fault");
    }
}

#[test]
fn a_subscription_upon_which_a_broker_ends_the_connection_is_left_out() {
    for last_words in refusals() {
        let what = format!("{last_words:?}");
        let behaviour = Behaviour { unreadable: Some("/cfg/desired"), last_words, ..Behaviour::default() };
        let (_broker, mut daemon, mut client) = behind(behaviour);
        daemon.logged("the broker refuses the subscription to clipmark/v1/d/bench/cfg/desired");
        profiles_go_on(&mut daemon, &mut client, &what);
        assert_eq!(daemon.complaints("the broker refuses"), 1, "{what}: nothing else is at fault");
    }
}

#[test]
fn a_broker_without_what_clipmark_needs_is_told_by_the_feature() {
    let broker = Broker::start();
    let no_retain = Behaviour { connack: vec![property::RETAIN_AVAILABLE, 0], ..Behaviour::default() };
    let proxy = Proxy::start(broker.port, no_retain);
    let lacking = [
        (Broker::with_settings("allow_anonymous true\nretain_available false\n"), "retained messages"),
        (Broker::with_settings("allow_anonymous true\nmax_qos 0\n"), "QoS 1"),
    ];
    for (port, feature) in [
        (proxy.port, "retained messages"),
        (lacking[0].0.port, lacking[0].1),
        (lacking[1].0.port, lacking[1].1),
    ] {
        let mut daemon = Daemon::start(port, "");
        let line = daemon.logged("does not offer what clipmark needs");
        assert!(line.contains(feature) && !line.contains("password"), "{line}");
        while daemon.connections() < 5 {
            std::thread::yield_now();
        }
        assert_eq!(daemon.complaints("does not offer"), 1);
    }
}

#[test]
fn what_a_broker_caps_is_obeyed_and_said() {
    let broker = Broker::start();
    let session = [property::SESSION_EXPIRY, 0, 0, 0, 60];
    let two = [property::RECEIVE_MAXIMUM, 0, 2];
    let behaviour = Behaviour { connack: [&session[..], &two].concat(), ..Behaviour::default() };
    let proxy = Proxy::start(broker.port, behaviour);
    let mut daemon = Daemon::start(proxy.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    daemon.logged(
        "keeps the session of an absent client for 60 s, not for the 604800 s of mqtt.session_expiry_s",
    );
    daemon.logged("takes 2 unacknowledged messages at a time");
    for index in 0..20 {
        client.request(DEVICE, "reboot", &format!("r{index}"), "");
    }
    for index in 0..20 {
        assert_eq!(client.final_status(&format!("r{index}")).state, CommandState::Rejected);
    }
    assert!((1..=2).contains(&proxy.in_flight.load(Ordering::SeqCst)));
    assert_eq!(proxy.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn another_client_is_named_where_the_broker_says_so() {
    let broker = Broker::start();
    let behaviour = Behaviour {
        forbidden: Some("/state"),
        last_words: disconnect(0x8e).to_vec(),
        ..Behaviour::default()
    };
    let proxy = Proxy::start(broker.port, behaviour);
    let mut daemon = Daemon::start(proxy.port, "");
    let line = daemon.logged("another client uses the id clipmarkd-bench");
    assert!(line.contains("the broker says") && line.contains("set device.id on one of them"), "{line}");
}

#[test]
fn what_does_not_speak_mqtt_5_is_told() {
    // A server that speaks something else, and one that speaks MQTT 3 alone.
    for (answer, parts) in [
        (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], "does not speak MQTT"),
        (&[0x20, 2, 0, 1][..], "does not speak MQTT 5, which is required"),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut connect = [0; 16];
                let _ = std::io::Read::read(&mut stream, &mut connect);
                let _ = std::io::Write::write_all(&mut stream, answer);
            }
        });
        Daemon::start(port, "").logged(parts);
    }
}
