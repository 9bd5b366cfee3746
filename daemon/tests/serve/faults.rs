//! Faults from outside: a stopped broker, a full disk, hostile messages, a second daemon, signals.

use crate::broker::Broker;
use crate::client::Client;
use crate::daemon::{DEVICE, Daemon};
use clipmark_profile::message::{CommandState, ReasonCode};
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use std::process::Command;

const ALL: &str = "clipmark/v1/d/bench/#";

#[test]
fn a_stopped_broker_is_given_up_and_taken_up_again() {
    let broker = Broker::start();
    let mut daemon = Daemon::start(broker.port, "keepalive_s = 5");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    broker.signal("STOP");
    daemon.logged("has not answered for");
    broker.signal("CONT");
    client.request(DEVICE, "probe", "after", "");
    assert_eq!(client.final_status("after").state, CommandState::Successful);
}

#[test]
fn a_disk_that_takes_no_more_fails_the_command_and_not_the_daemon() {
    let broker = Broker::start();
    let mut daemon = Daemon::prepare(broker.port, "");
    // Files of more than 1 KiB are refused: small states fit, results do not.
    daemon.spawn("trap '' XFSZ; ulimit -f 1;");
    daemon.notified("READY=1");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    client.request(DEVICE, "capture", "big", "");
    let status = client.final_status("big");
    let reason = status.reason.unwrap();
    assert_eq!(
        (status.state, reason.code),
        (CommandState::Failed, ReasonCode::Storage),
        "{}",
        reason.message
    );
    client.request(DEVICE, "reboot", "small", "");
    assert_eq!(client.final_status("small").state, CommandState::Rejected);
}

#[test]
fn hostile_messages_are_answered_or_ignored_and_never_hurt() {
    let broker = Broker::start();
    let _daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    let deep_json = "[".repeat(50_000);
    let deep_cbor = vec![0x81; 50_000];
    let huge_claim = [0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0];
    let payloads: [&[u8]; 6] = [
        &[0xff; 100],
        deep_json.as_bytes(),
        &deep_cbor,
        &huge_claim,
        &[b' '; 100_000],
        b"{\"clip_lengths\":[1e99]}",
    ];
    for (index, payload) in payloads.iter().enumerate() {
        for (kind, content_type) in [("j", None), ("c", Some("application/cbor")), ("x", Some("text/html"))] {
            let id = format!("{kind}{index}");
            let properties = PublishProperties {
                content_type: content_type.map(Into::into),
                ..PublishProperties::default()
            };
            for topic in ["receipt".to_owned(), "cfg/desired".to_owned(), format!("cmd/run/{id}/req")] {
                client.publish(&format!("clipmark/v1/d/bench/{topic}"), payload, properties.clone());
            }
            let reason = client.final_status(&id).reason.unwrap();
            assert_eq!(reason.code, ReasonCode::BadRequest, "{id}: {}", reason.message);
        }
    }
    // Beyond what the device takes in one packet: the broker keeps it to itself.
    std::fs::write(broker.dir().join("big"), vec![b' '; 3 << 20]).unwrap();
    let published = Command::new("mosquitto_pub")
        .args(["-V", "5", "-h", "127.0.0.1", "-p", &broker.port.to_string(), "-q", "1"])
        .args(["-t", "clipmark/v1/d/bench/cmd/run/oversize/req", "-f"])
        .arg(broker.dir().join("big"))
        .status()
        .unwrap();
    assert!(published.success());
    for topic in ["cmd/run/..%2f/req", "cmd/run/.hidden/req", "cmd/a b/c/req", "cmd/run/c/status"] {
        client.publish(&format!("clipmark/v1/d/bench/{topic}"), b"{}", PublishProperties::default());
    }
    client.request(DEVICE, "probe", "after", "");
    assert_eq!(client.final_status("after").state, CommandState::Successful);
}

#[test]
fn the_second_of_two_daemons_with_one_id_is_told_of_and_they_do_not_take_turns() {
    let broker = Broker::start();
    let mut first = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    let _second = Daemon::start(broker.port, "");
    // mosquitto 2.0.11 does not say who took the session, so nobody is accused.
    let line = first.logged("Two clients that share the id clipmarkd-bench would have this effect");
    assert!(line.contains("another device has the same device.id"), "{line}");
    let connections = || std::fs::read_to_string(first.path("state/connections")).unwrap();
    let before = connections();
    for index in 0..5 {
        let id = format!("p{index}");
        client.request(DEVICE, "probe", &id, "");
        assert_eq!(client.final_status(&id).state, CommandState::Successful);
    }
    assert_eq!(connections(), before, "the first daemon came back at once");
}

#[test]
fn a_second_daemon_on_one_state_directory_does_not_start() {
    let broker = Broker::start();
    let daemon = Daemon::start(broker.port, "");
    let output = Command::new(env!("CARGO_BIN_EXE_clipmarkd"))
        .args(["serve", "--config"])
        .arg(daemon.path("clipmarkd.toml"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("in use by another clipmarkd"), "{told}");
    assert_eq!(output.status.code(), Some(5));
}

#[test]
fn a_reload_takes_a_good_file_over_and_keeps_the_old_one_otherwise() {
    let broker = Broker::start();
    let mut daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    daemon.configure(broker.port, "[limits]\nmax_clip_length = 10");
    daemon.signal("HUP");
    daemon.notified("RELOADING=1");
    daemon.notified("READY=1");
    client.request(DEVICE, "run", "a", "{\"clip_lengths\":[11]}");
    assert_eq!(client.final_status("a").reason.unwrap().code, ReasonCode::LimitExceeded);
    for (more, part) in [("[limits]\nmax_clip = 10", "max_clip"), ("[spool]\nwindow = 0", "spool.window")] {
        daemon.configure(broker.port, more);
        daemon.signal("HUP");
        let state =
            client.state("the concern", |state| state.reasons.iter().any(|reason| reason.contains(part)));
        assert!(state.reasons[0].starts_with("the old configuration stays in force"), "{:?}", state.reasons);
        daemon.notified("READY=1");
    }
    client.request(DEVICE, "run", "b", "{\"clip_lengths\":[11]}");
    assert_eq!(client.final_status("b").reason.unwrap().code, ReasonCode::LimitExceeded);
    let text = std::fs::read_to_string(daemon.path("clipmarkd.toml")).unwrap();
    std::fs::write(
        daemon.path("clipmarkd.toml"),
        text.replace("\"bench\"", "\"other\"").replace("window = 0", ""),
    )
    .unwrap();
    daemon.signal("HUP");
    daemon.logged("device.id can only change with a restart");
}

#[test]
fn a_reload_can_move_to_another_broker() {
    let (old, new) = (Broker::start(), Broker::start());
    let daemon = Daemon::start(old.port, "");
    Client::connect(old.port, "operator", &[ALL]).online();
    let mut client = Client::connect(new.port, "operator", &[ALL]);
    daemon.configure(new.port, "");
    daemon.signal("HUP");
    client.online();
    client.request(DEVICE, "probe", "there", "");
    assert_eq!(client.final_status("there").state, CommandState::Successful);
}

#[test]
fn the_watchdog_is_fed() {
    let broker = Broker::start();
    let mut daemon = Daemon::prepare(broker.port, "");
    daemon.environment.push(("WATCHDOG_USEC", "600000".into()));
    daemon.run();
    for _ in 0..3 {
        daemon.notified("WATCHDOG=1");
    }
}

#[test]
fn a_configuration_that_cannot_be_used_ends_the_start_with_the_reason() {
    let mut daemon = Daemon::prepare(1, "[mqtt.tls]\nenable = true");
    daemon.spawn("");
    daemon.logged("unknown field `enable`");
    assert_eq!(daemon.ended().code(), Some(2));
}
