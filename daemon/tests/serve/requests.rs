//! Requests, statuses and the device's own state.

use crate::broker::Broker;
use crate::client::Client;
use crate::daemon::{DEVICE, Daemon};
use clipmark_profile::message::{Availability, CommandState, DeviceInfo, ReasonCode};
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use std::process::Command;

const ALL: &str = "clipmark/v1/d/bench/#";

#[test]
fn a_request_by_mosquitto_pub_is_answered_with_a_status_that_stays() {
    let broker = Broker::start();
    let _daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    let published = Command::new("mosquitto_pub")
        .args(["-V", "5", "-h", "127.0.0.1", "-p", &broker.port.to_string(), "-q", "1"])
        .args(["-t", "clipmark/v1/d/bench/cmd/models/by-hand/req", "-m", "{}"])
        .status()
        .unwrap();
    assert!(published.success());
    let status = client.final_status("by-hand");
    assert_eq!(status.state, CommandState::Successful, "{status:?}");
    let names: Vec<String> = status.result.unwrap().models.into_iter().map(|model| model.name).collect();
    assert!(names.contains(&"joint".to_owned()), "{names:?}");
    // Whoever comes later finds it.
    let mut late = Client::connect(broker.port, "late", &["clipmark/v1/d/bench/cmd/#"]);
    assert!(late.wait("the retained status", |seen| Some(seen.retained)));
}

#[test]
fn the_birth_message_tells_what_the_device_is_and_can_do() {
    let broker = Broker::start();
    let daemon = Daemon::prepare(broker.port, "");
    std::fs::write(daemon.path("models/clip.onnx"), b"abc").unwrap();
    let mut daemon = daemon;
    daemon.run();
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    let info = client.wait("info with digests", |seen| {
        let info = seen.topic.ends_with("/info").then(|| seen.read::<DeviceInfo>())?;
        info.models.iter().all(|model| model.sha256.is_some()).then_some(info)
    });
    assert_eq!(info.device.as_str(), DEVICE);
    assert!(info.backends.contains(&"tract".to_owned()));
    let clip = info.models.iter().find(|model| model.name == "clip").unwrap();
    assert!(clip.sha256.as_ref().unwrap().starts_with("ba7816bf"));
}

#[test]
fn a_killed_daemon_is_declared_offline_by_its_last_will_and_a_stopped_one_says_goodbye() {
    let broker = Broker::start();
    let mut daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    let first = client.online();
    daemon.kill();
    let will = client.state("the last will", |state| state.state == Availability::Offline);
    assert_eq!(will.connection, first.connection);
    assert_eq!(will.reasons, ["the connection broke"]);
    daemon.run();
    let second = client.online();
    assert!(second.connection > first.connection);
    daemon.signal("TERM");
    let goodbye = client.state("the goodbye", |state| state.state == Availability::Offline);
    assert_eq!(goodbye.reasons, ["stopped by SIGTERM"]);
    assert!(daemon.ended().success());
}

#[test]
fn what_is_wrong_with_a_request_is_told_in_its_status() {
    let broker = Broker::start();
    let _daemon = Daemon::start(broker.port, "[limits]\nmax_clip_length = 64\nmax_points = 5");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    for (operation, id, payload, code, part) in [
        ("reboot", "a", "", ReasonCode::UnknownOperation, "reboot"),
        ("run", "b", "{\"modles\":[]}", ReasonCode::BadRequest, "modles"),
        ("run", "c", "{\"clip_lengths\":[65]}", ReasonCode::LimitExceeded, "clip_lengths = 65"),
        ("run", "d", "{\"clip_lengths\":[8],\"models\":[\"../x\"]}", ReasonCode::UnknownModel, "../x"),
        ("probe", "e", "{\"fast\":true}", ReasonCode::BadRequest, "fast"),
        // Only once the models are known can points be counted.
        (
            "run",
            "f",
            "{\"models\":[\"temporal\"],\"clip_lengths\":[8,16]}",
            ReasonCode::LimitExceeded,
            "points = 6",
        ),
        ("run", "g", "{\"clip_lengths\":[8],\"backends\":[\"abacus\"]}", ReasonCode::BadRequest, "abacus"),
    ] {
        client.request(DEVICE, operation, id, payload);
        let status = client.final_status(id);
        let reason = status.reason.unwrap();
        assert_eq!((status.state, reason.code), (CommandState::Rejected, code), "{}", reason.message);
        assert!(reason.message.contains(part), "{}", reason.message);
    }
}

#[test]
fn a_model_other_than_the_one_asked_for_is_rejected_with_both_digests() {
    let broker = Broker::start();
    let _daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.request(DEVICE, "models", "list", "");
    let models = client.final_status("list").result.unwrap().models;
    let found = models.into_iter().find(|model| model.name == "conv3d").unwrap().sha256.unwrap();
    let request = |digest: &str| {
        format!(
            r#"{{"models":["conv3d"],"digests":["{digest}"],"backends":["tract"],"clip_lengths":[8],"batch_sizes":[1],"iterations":3}}"#
        )
    };
    let wanted = "0".repeat(64);
    client.request(DEVICE, "run", "wrong", &request(&wanted));
    let status = client.final_status("wrong");
    let reason = status.reason.unwrap();
    assert_eq!((status.state, reason.code), (CommandState::Rejected, ReasonCode::DigestMismatch));
    assert!(reason.message.contains(&wanted) && reason.message.contains(&found), "{}", reason.message);
    client.request(DEVICE, "run", "right", &request(&found.to_uppercase()));
    let status = client.final_status("right");
    assert_eq!(status.state, CommandState::Successful, "{status:?}");
}

#[test]
fn a_repeated_request_is_answered_again_and_not_carried_out_again() {
    let broker = Broker::start();
    let mut daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.request(DEVICE, "probe", "once", "");
    let first = client.final_status("once");
    assert_eq!(first.state, CommandState::Successful);
    for restart in [false, true] {
        if restart {
            daemon.kill();
            daemon.run();
        }
        client.seen.clear();
        client.request(DEVICE, "probe", "once", "");
        let again = client.final_status("once");
        assert_eq!(again, first);
    }
}

#[test]
fn an_answer_goes_to_the_response_topic_with_the_correlation_data() {
    let broker = Broker::start();
    let _daemon = Daemon::start(broker.port, "");
    Client::connect(broker.port, "onlooker", &[ALL]).online();
    let mut client = Client::connect(broker.port, "operator", &["ops/answers"]);
    let properties = PublishProperties {
        response_topic: Some("ops/answers".into()),
        correlation_data: Some(vec![7, 0, 9].into()),
        ..PublishProperties::default()
    };
    client.publish("clipmark/v1/d/bench/cmd/check/q/req", b"", properties);
    let answer = client.wait("the final answer", |seen| {
        let status = seen.read::<clipmark_profile::message::CommandStatus>();
        status.state.is_final().then(|| (seen.correlation.clone(), status))
    });
    assert_eq!(answer.0, Some(vec![7, 0, 9]));
    let checks = answer.1.result.unwrap().checks;
    assert!(checks.iter().any(|check| check.name == "backend tract"), "{checks:?}");
}

#[test]
fn a_group_reaches_its_members() {
    let broker = Broker::start();
    let _daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    client.publish("clipmark/v1/g/lab/cmd/probe/g1/req", b"", PublishProperties::default());
    assert_eq!(client.final_status("g1").state, CommandState::Successful);
}

#[test]
fn a_request_to_an_absent_device_waits_at_the_broker() {
    let broker = Broker::start();
    let mut daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    daemon.kill();
    client.request(DEVICE, "probe", "later", "");
    daemon.run();
    assert_eq!(client.final_status("later").state, CommandState::Successful);
}

#[test]
fn settings_from_afar_are_taken_reported_and_refused_with_the_reason() {
    let broker = Broker::start();
    let _daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    let reported = |client: &mut Client, part: &'static str| {
        client.wait(part, |seen| {
            let text = String::from_utf8_lossy(&seen.payload).into_owned();
            (seen.topic.ends_with("cfg/reported") && text.contains(part)).then_some(text)
        })
    };
    client
        .publish_retained("clipmark/v1/d/bench/cfg/desired", br#"{"version":7,"settings":{"paused":true}}"#);
    reported(&mut client, "\"version\":7");
    client.request(DEVICE, "run", "paused", "{\"clip_lengths\":[8]}");
    assert_eq!(client.final_status("paused").reason.unwrap().code, ReasonCode::Paused);
    client.publish_retained("clipmark/v1/d/bench/cfg/desired", br#"{"version":8,"settings":{"broker":"x"}}"#);
    reported(&mut client, "unknown field `broker`");
}
