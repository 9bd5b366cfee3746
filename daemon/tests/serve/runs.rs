//! Runs over MQTT: from the request to the profile, cancelled, and cut off.

use crate::broker::Broker;
use crate::client::Client;
use crate::daemon::Daemon;
use clipmark_profile::message::CommandState;
use clipmark_profile::summary::Status;
use clipmark_profile::topics::{Operation, UpKind};
use clipmark_profile::wire::decode_profile;

const ALL: &str = "clipmark/v1/d/bench/#";

#[test]
fn a_run_is_triggered_followed_and_published_as_a_profile() {
    let broker = Broker::start();
    let _daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    let request = r#"{"models":["temporal"],"backends":["tract"],"clip_lengths":[8],"batch_sizes":[1],"iterations":20}"#;
    client.request("bench", "run", "small", request);
    client.wait("progress", |seen| seen.topic.ends_with("/progress").then_some(()));
    let status = client.final_status("small");
    assert_eq!(status.state, CommandState::Successful, "{status:?}");
    let envelope = client.record(UpKind::Profile, 1);
    let profile = decode_profile(&envelope.content).unwrap();
    assert_eq!(profile.points.len(), 1);
    assert_eq!(profile.points[0].status, Status::Measured);
    assert_eq!(profile.points[0].latency.as_ref().unwrap().iterations, 20);
    assert!(!profile.run.partial);
}

#[test]
fn a_cancelled_run_ends_canceled() {
    let broker = Broker::start();
    let _daemon = Daemon::start(broker.port, "");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    client.request(
        "bench",
        "run",
        "long",
        r#"{"models":["temporal"],"backends":["tract"],"exhaustive":true}"#,
    );
    client.wait("progress", |seen| seen.topic.ends_with("/progress").then_some(()));
    client.cancel("bench", Operation::Run, "long");
    let status = client.final_status("long");
    assert_eq!(status.state, CommandState::Canceled, "{status:?}");
}

#[test]
fn a_run_that_is_cut_off_with_its_daemon_goes_on_after_the_restart() {
    let broker = Broker::start();
    let mut daemon = Daemon::start(broker.port, "[run]\nprogress_s = 1");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    let request = r#"{"models":["temporal"],"backends":["tract"],"clip_lengths":[8,16,32],"batch_sizes":[1,2],"iterations":800}"#;
    client.request("bench", "run", "cut", request);
    let mut told = 0;
    client.wait("progress twice", |seen| {
        told += u32::from(seen.topic.ends_with("/progress"));
        (told == 2).then_some(())
    });
    daemon.kill();
    daemon.run();
    let status = client.final_status("cut");
    assert_eq!(status.state, CommandState::Successful, "{status:?}");
    let profile = decode_profile(&client.record(UpKind::Profile, 1).content).unwrap();
    assert_eq!(profile.points.len(), 6);
    assert!(profile.points.iter().all(|point| point.status == Status::Measured));
}
