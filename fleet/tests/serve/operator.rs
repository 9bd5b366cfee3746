//! The operator's commands: with the device's side of the protocol played by the test, and with a real
//! clipmarkd where its binary is there.

use crate::aggregator::Aggregator;
use crate::broker::Broker;
use crate::client::{Client, Seen, online};
use clipmark_fleet::store::{CommandQuery, PointQuery};
use clipmark_profile::figures::Figure;
use clipmark_profile::message::{Availability, CommandState, CommandStatus, DeviceInfo, Epoch, Payload};
use clipmark_profile::plan::{Limits, Request};
use clipmark_profile::topics::{CommandLeaf, DeviceTopic, Topic};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const REQUESTS: &str = "clipmark/v1/d/+/cmd/+/+/req";

fn spawn(aggregator: &Aggregator, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clipmark-fleet"));
    command.arg("--config").arg(aggregator.config()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> (Output, String) {
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, told)
}

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

/// A clipmarkd that somebody has built: `CLIPMARKD`, or beside this program.
pub(crate) fn clipmarkd() -> Option<PathBuf> {
    let named = std::env::var_os("CLIPMARKD").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_BIN_EXE_clipmark-fleet")).with_file_name("clipmarkd");
    let found = named.or(Some(beside)).filter(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: no clipmarkd is built; set CLIPMARKD to one");
    }
    found
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_clipmarkd_measures_on_request_and_forgets_what_is_stored() {
    let Some(clipmarkd) = clipmarkd() else { return };
    let broker = Broker::start();
    let aggregator = Aggregator::start(broker.port);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::create_dir(dir.path().join("models")).unwrap();
    let text = format!(
        "[device]\nid = \"bench\"\ngroups = [\"lab\"]\nstate_dir = \"{}\"\n[models]\ndir = \"{}\"\n[mqtt]\n\
         host = \"127.0.0.1\"\nport = {}\nbackoff_min_ms = 20\nbackoff_max_ms = 200\n",
        path("state"),
        path("models"),
        broker.port
    );
    std::fs::write(path("clipmarkd.toml"), text).unwrap();
    let plan = "models = [\"joint\"]\nbackends = [\"tract\"]\nclip_lengths = [4]\nbatch_sizes = [1, 2]\niterations = 5\n";
    std::fs::write(path("plan.toml"), plan).unwrap();
    let mut client = Client::connect(broker.port, "onlooker", &["clipmark/v1/d/bench/state"]);
    let daemon = Command::new(clipmarkd)
        .args(["serve", "--config", &path("clipmarkd.toml")])
        .env("CLIPMARK_LOG", "warn,rumqttc=error")
        .stdin(Stdio::null())
        .spawn();
    let _daemon = Killed(daemon.unwrap());
    client.online();
    let (output, told) =
        ended(spawn(&aggregator, &["trigger", "--group", "lab", "--plan", &path("plan.toml"), "--wait"]));
    assert!(output.status.success(), "{told}");
    client
        .state("nothing unconfirmed", |state| state.state == Availability::Online && state.unconfirmed == 0);
    let points = aggregator.store().points(&PointQuery::default()).unwrap();
    assert_eq!(points.len(), 2);
    assert!(
        points
            .iter()
            .all(|point| point.figures.figures.get(Figure::Iterations) == Some(5.0)
                && !point.identity.simulated)
    );
    let listed = aggregator.command(&["devices"]);
    assert!(listed.lines().any(|line| line.starts_with("bench") && line.contains("online")), "{listed}");
    let listed = aggregator.command(&["profiles"]);
    assert!(listed.contains("bench") && listed.contains("2/2"), "{listed}");
}
