//! How fast an aggregator drains a broker, and how fast the dashboard's questions are answered.
//!
//! 10,000 simulated devices have each published one profile of 12 KB to a real mosquitto while nobody listened.
//! `mosquitto_sub` writes them to a file, then `clipmark-fleet serve` stores them: both drain the same messages
//! from the same broker in the same run, so that the ratio says what storing costs beyond receiving. SQLite
//! unbatched is the same store with one commit a profile. Then the store grows to 1,000,000 points and the
//! dashboard's queries are timed.
//!
//! `cargo bench -p clipmark-fleet --bench ingest` prints the figures and fails when a bound is missed.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and ends at the first thing that goes wrong"
)]

#[expect(dead_code, reason = "shared with the daemon's tests, which use all of it")]
#[path = "../../daemon/tests/serve/broker.rs"]
mod broker;

use broker::Broker;
use clipmark_fleet::config;
use clipmark_fleet::ingest::{Inbound, read};
use clipmark_fleet::store::{DeviceQuery, Message, PointQuery, ProfileQuery, Store};
use clipmark_profile::message::{Envelope, Epoch, Payload};
use clipmark_profile::topics::UpKind;
use clipmark_profile::{example, wire};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
use rumqttc::v5::{Client, Event, MqttOptions};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DEVICES: u64 = 10_000;

/// Backends in the profile, which with 27 points each make it 12 KB long.
const SUBJECTS: u16 = 3;

const POINTS: u64 = 1_000_000;

/// Commits timed one by one.
const UNBATCHED: u64 = 500;

/// Repetitions of each query.
const ASKED: usize = 40;

fn content() -> Vec<u8> {
    let mut profile = example::profile_of_27_points();
    let (points, subject) = (profile.points.clone(), profile.subjects[0].clone());
    for index in 1..SUBJECTS {
        let mut subject = subject.clone();
        subject.backend = format!("backend-{index}");
        profile.subjects.push(subject);
        profile.points.extend(points.iter().cloned().map(|mut point| {
            point.id.subject = index;
            point
        }));
    }
    wire::encode_profile(&profile).unwrap()
}

fn envelope(content: &[u8], sequence: u64) -> Vec<u8> {
    let envelope = Envelope {
        version: Envelope::VERSION,
        epoch: Epoch(1),
        sequence,
        kind: UpKind::Profile,
        part: 0,
        parts: 1,
        command: None,
        spooled_unix_ms: 0,
        content: content.to_vec(),
    };
    envelope.to_bytes().unwrap()
}

fn topic(device: u64) -> String {
    format!("clipmark/v1/d/device-{device:05}/up/profile")
}

fn message(device: u64, payload: &[u8]) -> Message {
    match read(&topic(device), payload, Some("application/cbor")) {
        Inbound::Store(message) => message,
        other => panic!("{other:?}"),
    }
}

fn publish(port: u16, payload: &[u8]) {
    let mut options = MqttOptions::new("devices", "127.0.0.1", port);
    options.set_max_packet_size(Some(1 << 20));
    let (client, mut connection) = Client::new(options, 100);
    let payload = payload.to_vec();
    let sender = std::thread::spawn(move || {
        for device in 0..DEVICES {
            let properties = PublishProperties {
                content_type: Some("application/cbor".into()),
                ..PublishProperties::default()
            };
            let payload = payload.clone();
            client
                .publish_with_properties(topic(device), QoS::AtLeastOnce, false, payload, properties)
                .unwrap();
        }
        client
    });
    let is_ack = |event: &Event| matches!(event, Event::Incoming(Packet::PubAck(_)));
    let acks = connection.iter().map(Result::unwrap).filter(is_ack);
    assert_eq!(acks.take(DEVICES as usize).count() as u64, DEVICES);
    drop(sender.join().unwrap());
}

/// `mosquitto_sub` with a session that the broker keeps.
fn mosquitto_sub(port: u16, arguments: &[&str], output: &Path) -> Child {
    let filter = "clipmark/v1/d/+/up/+";
    Command::new("mosquitto_sub")
        .args([
            "-V",
            "5",
            "-c",
            "-x",
            "3600",
            "-i",
            "to-a-file",
            "-q",
            "1",
            "-p",
            &port.to_string(),
            "-t",
            filter,
        ])
        .args(arguments)
        .stdout(fs::File::create(output).unwrap())
        .spawn()
        .expect("mosquitto_sub is needed: apt-get install mosquitto-clients")
}

fn serve(config: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clipmark-fleet"));
    command.arg("--config").arg(config).arg("serve").stdin(Stdio::null());
    command.env("CLIPMARK_LOG", "warn,rumqttc=error").spawn().unwrap()
}

fn stop(mut child: Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

/// The most memory that a process has had, in KiB.
fn peak_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Waits for the aggregator's session: until it has said that it is online.
fn wait_online(port: u16) {
    let mut command = Command::new("mosquitto_sub");
    command.args([
        "-V",
        "5",
        "-C",
        "1",
        "-W",
        "30",
        "-p",
        &port.to_string(),
        "-t",
        "clipmark/v1/agg/+/state",
    ]);
    assert!(command.stdout(Stdio::null()).status().unwrap().success(), "the aggregator does not come up");
}

fn stored(path: &Path) -> u64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT COUNT(*) FROM spool WHERE contiguous > 0";
    let count: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap_or(0);
    count as u64
}

fn unbatched(dir: &Path, payload: &[u8]) -> f64 {
    let settings = config::Store { path: dir.join("unbatched.db"), ..config::Store::default() };
    let mut store = Store::open(&settings).unwrap();
    let start = Instant::now();
    for device in 0..UNBATCHED {
        store.commit(&[message(device, payload)], 1).unwrap();
    }
    UNBATCHED as f64 / start.elapsed().as_secs_f64()
}

/// Adds profiles of further runs until there are enough points.
fn grow(store: &mut Store, content: &[u8]) {
    let of_each = 27 * u64::from(SUBJECTS);
    let runs = (POINTS.saturating_sub(DEVICES * of_each)).div_ceil(of_each);
    let again = envelope(content, 2);
    let devices: Vec<u64> = (0..runs).collect();
    for batch in devices.chunks(250) {
        let batch: Vec<Message> = batch.iter().map(|device| message(*device, &again)).collect();
        store.commit(&batch, 2).unwrap();
    }
    let points = store.models().unwrap().iter().map(|model| model.profiles).sum::<u64>() * of_each;
    println!("store: {points} points");
    assert!(points >= POINTS);
}

/// The 95th percentile of the time of `ask`.
fn p95(mut ask: impl FnMut() -> usize) -> (Duration, usize) {
    let mut rows = 0;
    let mut times: Vec<Duration> = (0..ASKED)
        .map(|_| {
            let start = Instant::now();
            rows = ask();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times[ASKED * 95 / 100], rows)
}

fn queries(store: &mut Store) -> bool {
    let mut is_fast = true;
    let mut tell = |what: &str, (p95, rows): (Duration, usize)| {
        let ms = p95.as_secs_f64() * 1e3;
        println!("query {what}: P95 {ms:.1} ms for {rows} rows (bound 200 ms)");
        is_fast &= ms < 200.0;
    };
    tell("device list", p95(|| store.devices(&DeviceQuery::default()).unwrap().len()));
    let cohort = PointQuery {
        model: Some("joint".into()),
        backend: Some("tract".into()),
        batch_size: Some(1),
        clip_length: Some(16),
        latest_per_device: true,
        limit: 1000,
        ..PointQuery::default()
    };
    tell("cohort points with distributions", p95(|| store.points(&cohort).unwrap().len()));
    let all = PointQuery { histograms: false, limit: u32::MAX, ..cohort };
    tell("cohort points of every device", p95(|| store.points(&all).unwrap().len()));
    let device: clipmark_profile::topics::DeviceId = "device-00042".parse().unwrap();
    let page = || {
        let of = DeviceQuery { device: Some(device.clone()), ..DeviceQuery::default() };
        let profiles = ProfileQuery { device: Some(device.clone()), ..ProfileQuery::default() };
        let newest = store.profiles(&profiles).unwrap();
        let points = PointQuery { profile: newest.first().map(|row| row.id), ..PointQuery::default() };
        store.devices(&of).unwrap().len()
            + newest.len()
            + store.points(&points).unwrap().len()
            + store.soaks(Some(&device), 10).unwrap().len()
    };
    tell("device page", p95(page));
    tell("counts for /metrics", p95(|| store.counts().map(|_| 1).unwrap()));
    is_fast
}

fn main() {
    let broker = Broker::with_settings("allow_anonymous true\nmax_queued_messages 0\nlog_type error\n");
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("fleet.db");
    let config = dir.path().join("fleet.toml");
    let text = format!(
        "[mqtt]\nhost = \"127.0.0.1\"\nport = {}\n[store]\npath = \"{}\"\n",
        broker.port,
        database.display()
    );
    fs::write(&config, text).unwrap();
    let content = content();
    let payload = envelope(&content, 1);
    println!("profile: {} bytes, {} points", payload.len(), 27 * SUBJECTS);
    let one_by_one = unbatched(dir.path(), &payload);

    let output = dir.path().join("received");
    assert!(mosquitto_sub(broker.port, &["-E"], &output).wait().unwrap().success());
    let first = serve(&config);
    wait_online(broker.port);
    stop(first);
    publish(broker.port, &payload);

    let start = Instant::now();
    let count = DEVICES.to_string();
    assert!(mosquitto_sub(broker.port, &["-C", &count], &output).wait().unwrap().success());
    let to_a_file = DEVICES as f64 / start.elapsed().as_secs_f64();

    let start = Instant::now();
    let aggregator = serve(&config);
    while stored(&database) < DEVICES {
        std::thread::sleep(Duration::from_millis(50));
    }
    let ingest = DEVICES as f64 / start.elapsed().as_secs_f64();
    let memory = peak_kib(&aggregator);
    stop(aggregator);

    println!("SQLite unbatched: {one_by_one:.0} profiles/s");
    println!("mosquitto_sub to a file: {to_a_file:.0} profiles/s");
    println!("clipmark-fleet serve: {ingest:.0} profiles/s, peak resident memory {} MiB", memory / 1024);
    let (batched, against_sub) = (ingest / one_by_one, ingest / to_a_file);
    println!("ratio to SQLite unbatched: {batched:.1} (bound 10)");
    println!("ratio to mosquitto_sub to a file: {against_sub:.2} (bound 0.5)");
    let settings = config::Store { path: database.clone(), ..config::Store::default() };
    let mut store = Store::open(&settings).unwrap();
    grow(&mut store, &content);
    let bytes = fs::metadata(&database).unwrap().len();
    println!("database: {} MiB, {} bytes a profile", bytes >> 20, bytes / store.counts().unwrap().profiles);
    let is_fast = queries(&mut store);
    if batched < 10.0 || against_sub < 0.5 || !is_fast {
        eprintln!("a bound is missed");
        std::process::exit(1);
    }
}
