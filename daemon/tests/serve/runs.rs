//! Runs over MQTT: from the request to the profile, cancelled, and cut off.

use crate::broker::Broker;
use crate::client::Client;
use crate::daemon::Daemon;
use clipmark_profile::message::CommandState;
use clipmark_profile::summary::Status;
use clipmark_profile::topics::{Operation, UpKind};
use clipmark_profile::wire::{decode_profile, decode_series};

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

#[test]
fn a_run_that_a_stop_interrupts_is_checkpointed_and_goes_on_after_the_restart() {
    let broker = Broker::start();
    // Had the start counted as unclean, the run would be given up.
    let mut daemon = Daemon::start(broker.port, "[run]\nprogress_s = 1\nattempts = 1");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    let request = r#"{"models":["temporal"],"backends":["tract"],"clip_lengths":[8,16,32],"batch_sizes":[1,2],"iterations":800}"#;
    client.request("bench", "run", "stopped", request);
    let mut told = 0;
    client.wait("progress twice", |seen| {
        told += u32::from(seen.topic.ends_with("/progress"));
        (told == 2).then_some(())
    });
    daemon.signal("TERM");
    assert!(daemon.ended().success());
    assert!(!client.seen.iter().any(|seen| seen.topic.ends_with("/up/profile")));
    client.seen.clear();
    daemon.run();
    assert_eq!(client.status("stopped", CommandState::Executing).attempt, 2);
    let status = client.final_status("stopped");
    assert_eq!(status.state, CommandState::Successful, "{status:?}");
    let profile = decode_profile(&client.record(UpKind::Profile, 1).content).unwrap();
    assert_eq!(profile.points.len(), 6);
    assert!(profile.points.iter().all(|point| point.status == Status::Measured));
    assert!(!profile.run.partial);
}

#[test]
fn every_soak_has_a_series_when_the_configuration_says_always() {
    let broker = Broker::start();
    let _daemon = Daemon::start(broker.port, "[spool]\nseries = \"always\"");
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    let request = r#"{"models":["temporal"],"backends":["tract"],"mode":"soak","soak_s":1,
        "soak_points":[{"batch_size":1,"clip_length":8},{"batch_size":2,"clip_length":8}]}"#;
    client.request("bench", "run", "soaks", request);
    let status = client.final_status("soaks");
    let records = status.records.unwrap_or_else(|| panic!("{status:?}"));
    let of = |kind, client: &mut Client| client.record(kind, records.first).sequence;
    assert_eq!(of(UpKind::Profile, &mut client), records.first);
    let series: Vec<_> = (records.first + 1..=records.last)
        .map(|sequence| decode_series(&client.record(UpKind::Series, sequence).content).unwrap().id.shape)
        .map(|at| at.batch())
        .collect();
    assert_eq!(series, [1, 2]);
}
