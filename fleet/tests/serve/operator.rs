//! The operator's commands, with the device's side of the protocol played by the test.

use crate::aggregator::Aggregator;
use crate::broker::Broker;
use crate::client::{Client, Seen, online};
use crate::command::{ended, spawn};
use clipmark_fleet::store::CommandQuery;
use clipmark_profile::message::{CommandState, CommandStatus, DeviceInfo, Epoch, Payload};
use clipmark_profile::plan::{Limits, Request};
use clipmark_profile::topics::{CommandLeaf, DeviceTopic, Topic};

const REQUESTS: &str = "clipmark/v1/d/+/cmd/+/+/req";

/// A device's birth and state, as the broker retains them.
fn introduce(client: &Client, device: &str, board: &str) {
    let info = DeviceInfo {
        schema: 1,
        clipmark: "0.1.0".into(),
        device: device.parse().unwrap(),
        groups: vec!["lab".parse().unwrap()],
        operations: Vec::new(),
        board: Some(board.into()),
        l4t: None,
        kernel: None,
        arch: "aarch64".into(),
        power_mode: None,
        backends: Vec::new(),
        models: Vec::new(),
        epoch: Epoch(1),
        limits: Limits::default(),
        absent: Vec::new(),
    };
    let state = online();
    client.publish_retained(&format!("clipmark/v1/d/{device}/info"), &info.to_bytes().unwrap());
    client.publish_retained(&format!("clipmark/v1/d/{device}/state"), &state.to_bytes().unwrap());
}

fn request_for(client: &mut Client, device: &str) -> Seen {
    let part = format!("/d/{device}/cmd/");
    client.wait(&format!("the request to {device}"), |seen| seen.topic.contains(&part).then(|| seen.clone()))
}

/// Answers a request as its device would.
fn answer(client: &Client, request: &Seen, state: CommandState) {
    let Topic::Device { device, about: DeviceTopic::Command { operation, command, .. } } =
        request.topic.parse().unwrap()
    else {
        panic!("{}", request.topic);
    };
    let status = CommandStatus {
        command: command.clone(),
        operation: operation.clone(),
        state,
        at_unix_ms: 0,
        reason: None,
        attempt: 1,
        queued_behind: None,
        epoch: None,
        records: None,
        result: None,
    };
    let topic = Topic::command(&device, operation, &command, CommandLeaf::Status).to_string();
    client.publish_retained(&topic, &status.to_bytes().unwrap());
}

#[test]
fn a_trigger_reaches_the_boards_that_match_and_waits_for_them() {
    let broker = Broker::start();
    let aggregator = Aggregator::start(broker.port);
    let mut client = Client::connect(broker.port, "devices", &[REQUESTS]);
    for (device, board) in
        [("orin-1", "Jetson Orin Nano"), ("orin-2", "Jetson Orin NX"), ("pi", "Raspberry Pi 5")]
    {
        introduce(&client, device, board);
    }
    let trigger = spawn(&aggregator, &["trigger", "--board", "orin", "--model", "joint", "--wait"]);
    for device in ["orin-1", "orin-2"] {
        let request = request_for(&mut client, device);
        assert_eq!(request.read::<Request>().models, ["joint"]);
        answer(&client, &request, CommandState::Executing);
        answer(&client, &request, CommandState::Successful);
    }
    let (output, told) = ended(trigger);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("orin-1: successful") && told.contains("orin-2: successful"), "{told}");
    assert!(!client.seen.iter().any(|seen| seen.topic.contains("/d/pi/")));
    let id = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let of_command = CommandQuery { command: Some(id.parse().unwrap()), ..CommandQuery::default() };
    let finished = |aggregator: &Aggregator| {
        let rows = aggregator.store().commands(&of_command).unwrap();
        rows.iter().filter(|row| row.status.as_ref().is_some_and(|status| status.state.is_final())).count()
    };
    while finished(&aggregator) < 2 {
        std::thread::yield_now();
    }
}

#[test]
fn a_failure_and_a_device_that_nobody_knows_are_told_by_the_exit_code() {
    let broker = Broker::start();
    let aggregator = Aggregator::start(broker.port);
    let mut client = Client::connect(broker.port, "devices", &["clipmark/v1/d/orin/cmd/+/+/req"]);
    let trigger =
        spawn(&aggregator, &["trigger", "--device", "orin,nowhere", "--operation", "check", "--wait"]);
    let request = request_for(&mut client, "orin");
    answer(&client, &request, CommandState::Failed);
    let (output, told) = ended(trigger);
    assert_eq!(output.status.code(), Some(12), "{told}");
    assert!(told.contains("orin: failed") && told.contains("nowhere: the broker keeps no session"), "{told}");
}

#[test]
fn a_cancel_goes_to_the_devices_that_have_not_finished() {
    let broker = Broker::start();
    let aggregator = Aggregator::start(broker.port);
    let filters = [REQUESTS, "clipmark/v1/d/+/cmd/+/+/cancel"];
    let mut client = Client::connect(broker.port, "devices", &filters);
    let trigger = spawn(&aggregator, &["trigger", "--device", "a,b", "--operation", "probe"]);
    let (output, told) = ended(trigger);
    assert!(output.status.success(), "{told}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let id = lines.split_whitespace().next().unwrap().to_owned();
    for (device, state) in [("a", CommandState::Executing), ("b", CommandState::Successful)] {
        let request = request_for(&mut client, device);
        answer(&client, &request, state);
    }
    let canceled = aggregator.command(&["cancel", &id]);
    assert_eq!(canceled, format!("{id} a\n"));
    let topic = format!("clipmark/v1/d/a/cmd/probe/{id}/cancel");
    client.wait("the cancel", |seen| (seen.topic == topic).then_some(()));
}
