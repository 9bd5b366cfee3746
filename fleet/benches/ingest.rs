//! How fast an aggregator drains a broker, and how fast the dashboard's questions are answered.
//!
//! 10,000 simulated devices have each published one profile of 12 KB to a real mosquitto while nobody listened.
//! `mosquitto_sub` writes them to a file, then `clipmark-fleet serve` stores them: both drain the same messages
//! from the same broker in the same run, at the same quality of service and with the same number of messages in
//! flight, so that the ratio says what storing costs beyond receiving. That is done in rounds, because other
//! work on the machine hits one as well as the other, and the median of the rounds' ratios counts. SQLite
//! unbatched is the same store with one commit a profile. Then the store grows to 1,000,000 points, and the
//! dashboard's queries and whole pages are timed.
//!
//! `cargo bench -p clipmark-fleet --bench ingest` prints a table of figures with their bounds and fails when one
//! is missed. `CLIPMARK_BENCH_DEVICES` and `CLIPMARK_BENCH_POINTS` make it smaller for a first look.

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
use clipmark_profile::topics::{DeviceId, UpKind};
use clipmark_profile::{example, wire};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
use rumqttc::v5::{Client, Event, MqttOptions};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Messages in flight from the broker to whoever drains it.
const IN_FLIGHT: u16 = 1000;

/// Rounds of draining.
const ROUNDS: usize = 3;

/// Backends in the profile, which with 27 points each make it 12 KB long.
const VARIANTS: u16 = 4;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Simulated devices.
fn devices() -> u64 {
    from_environment("CLIPMARK_BENCH_DEVICES", 10_000)
}

/// Points in the store when the dashboard is asked.
fn points() -> u64 {
    from_environment("CLIPMARK_BENCH_POINTS", 1_000_000)
}

/// Commits timed one by one.
const UNBATCHED: u64 = 500;

/// Repetitions of each query.
const ASKED: usize = 40;

/// Pages of the dashboard that are timed.
const PAGES: [&str; 5] = [
    "/",
    "/device/device-00042",
    "/compare?model=joint&batch=1&clip=16",
    "/trends?model=joint&batch=1&clip=16",
    "/metrics",
];

/// A profile; every second device has the newer release.
fn content(is_newer: bool) -> Vec<u8> {
    let mut profile = example::profile_of_27_points();
    if is_newer {
        profile.environment.l4t = Some("36.4.7".into());
    }
    let (points, variant) = (profile.points.clone(), profile.variants[0].clone());
    for index in 1..VARIANTS {
        let mut variant = variant.clone();
        variant.backend = format!("backend-{index}");
        profile.variants.push(variant);
        profile.points.extend(points.iter().cloned().map(|mut point| {
            point.id.variant = index;
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
        former: Vec::new(),
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

fn publish(port: u16, contents: &[Vec<u8>; 2], sequence: u64) {
    let mut options = MqttOptions::new("devices", "127.0.0.1", port);
    options.set_max_packet_size(Some(1 << 20));
    let (client, mut connection) = Client::new(options, 100);
    let payloads = contents.each_ref().map(|content| envelope(content, sequence));
    let sender = std::thread::spawn(move || {
        for device in 0..devices() {
            let properties = PublishProperties {
                content_type: Some("application/cbor".into()),
                ..PublishProperties::default()
            };
            let payload = payloads[device as usize % 2].clone();
            client
                .publish_with_properties(topic(device), QoS::AtLeastOnce, false, payload, properties)
                .unwrap();
        }
        client
    });
    let is_ack = |event: &Event| matches!(event, Event::Incoming(Packet::PubAck(_)));
    let acks = connection.iter().map(Result::unwrap).filter(is_ack);
    assert_eq!(acks.take(devices() as usize).count() as u64, devices());
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
            "-D",
            "connect",
            "receive-maximum",
            &IN_FLIGHT.to_string(),
        ])
        .args(arguments)
        .stdout(fs::File::create(output).unwrap())
        .spawn()
        .expect("mosquitto_sub is needed: apt-get install mosquitto-clients")
}

fn serve(config: &Path, dashboard: SocketAddr) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clipmark-fleet"));
    command.arg("--config").arg(config).arg("serve").args(["--dashboard", &dashboard.to_string()]);
    command.stdin(Stdio::null());
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

fn stored(path: &Path, sequence: u64) -> u64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT COUNT(*) FROM spool WHERE contiguous >= ?1";
    let count: i64 = connection.query_row(sql, [sequence as i64], |row| row.get(0)).unwrap_or(0);
    count as u64
}

fn unbatched(dir: &Path, payload: &[u8]) -> f64 {
    let settings = config::Store { path: dir.join("unbatched.db"), ..config::Store::default() };
    let mut store = Store::create(&settings).unwrap();
    let start = Instant::now();
    for device in 0..UNBATCHED {
        store.commit(&[message(device, payload)], 1).unwrap();
    }
    UNBATCHED as f64 / start.elapsed().as_secs_f64()
}

/// Adds profiles of further runs until there are enough points.
fn grow(store: &mut Store, contents: &[Vec<u8>; 2]) -> u64 {
    let of_each = 27 * u64::from(VARIANTS);
    let here = store.counts().unwrap().profiles * of_each;
    let runs = points().saturating_sub(here).div_ceil(of_each);
    let again = contents.each_ref().map(|content| envelope(content, ROUNDS as u64 + 1));
    let numbers: Vec<u64> = (0..runs).collect();
    for batch in numbers.chunks(250) {
        let batch: Vec<Message> =
            batch.iter().map(|device| message(*device, &again[*device as usize % 2])).collect();
        store.commit(&batch, 2).unwrap();
    }
    store.counts().unwrap().profiles * of_each
}

/// The 95th percentile of the time of `ask`, in milliseconds.
fn p95(mut ask: impl FnMut() -> usize) -> (f64, usize) {
    let mut rows = 0;
    let mut times: Vec<Duration> = (0..ASKED)
        .map(|_| {
            let start = Instant::now();
            rows = ask();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times[ASKED * 95 / 100].as_secs_f64() * 1e3, rows)
}

/// Figures with their bounds.
#[derive(Default)]
struct Table {
    is_missed: bool,
}

impl Table {
    fn tell(&mut self, what: &str, figure: &str, bound: &str, is_kept: bool) {
        let kept = match (bound, is_kept) {
            ("", _) => "",
            (_, true) => "kept",
            (_, false) => "MISSED",
        };
        self.is_missed |= !is_kept;
        println!("| {what:<56} | {figure:>22} | {bound:>10} | {kept:<6} |");
    }

    fn head(&mut self) {
        println!("| {:<56} | {:>22} | {:>10} | {:<6} |", "figure", "measured", "bound", "");
        println!("|{:-<58}|{:->24}|{:->12}|{:-<8}|", "", ":", ":", "");
    }

    fn rate(&mut self, what: &str, profiles_per_s: f64) {
        self.tell(what, &format!("{profiles_per_s:.0} profiles/s"), "", true);
    }

    fn memory(&mut self, what: &str, kib: u64) {
        let mib = kib / 1024;
        self.tell(what, &format!("{mib} MiB"), "< 256 MiB", mib < 256);
    }

    fn query(&mut self, what: &str, (ms, rows): (f64, usize)) {
        self.tell(&format!("{what}, P95, {rows} rows"), &format!("{ms:.1} ms"), "< 200 ms", ms < 200.0);
    }

    fn page(&mut self, what: &str, (ms, bytes): (f64, usize)) {
        self.tell(&format!("page {what}, P95, {} KB", bytes / 1000), &format!("{ms:.1} ms"), "", true);
    }
}

fn queries(store: &mut Store, table: &mut Table) {
    table.query("list of devices", p95(|| store.devices(&DeviceQuery::default()).unwrap().len()));
    table.query("names of models", p95(|| store.model_names().unwrap().len()));
    table.query("points at which a model was measured", p95(|| store.grid("joint").unwrap().len()));
    let study = PointQuery {
        model: Some("joint".into()),
        shape: clipmark_profile::point::Shape::new(1, 16),
        newest_first: true,
        limit: 1000,
        ..PointQuery::default()
    };
    table.query("a comparison's runs with distributions", p95(|| store.points(&study).unwrap().len()));
    let followed = PointQuery { histograms: false, limit: 2000, ..study.clone() };
    table.query("a trend's runs", p95(|| store.points(&followed).unwrap().len()));
    let device: DeviceId = "device-00042".parse().unwrap();
    let own = PointQuery { device: Some(device.clone()), newest_first: false, ..followed };
    table.query("one board's trend", p95(|| store.points(&own).unwrap().len()));
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
    table.query("one board's page", p95(page));
    table.query("counts", p95(|| store.counts().map(|_| 1).unwrap()));
}

/// The length of a page.
fn fetched(dashboard: SocketAddr, path: &str) -> usize {
    let mut stream = TcpStream::connect(dashboard).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {dashboard}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut page = Vec::new();
    stream.read_to_end(&mut page).unwrap();
    assert!(page.starts_with(b"HTTP/1.1 200"), "{path}");
    page.len()
}

/// Profiles that are stored and not yet read.
fn unread(path: &Path) -> u64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    let count: i64 = connection.query_row("SELECT COUNT(*) FROM inbox", [], |row| row.get(0)).unwrap();
    count as u64
}

/// What both ways of draining the broker came to, in profiles a second.
struct Drained {
    to_a_file: f64,
    /// Durable, acknowledged and confirmed.
    ingest: f64,
    /// Until every point can be asked for.
    readable: f64,
}

/// A real broker, a configuration of the aggregator, and what the devices publish.
struct Bench {
    broker: Broker,
    dir: tempfile::TempDir,
    config: PathBuf,
    database: PathBuf,
    contents: [Vec<u8>; 2],
}

/// The aggregator's dashboard where nobody asks it: any free port.
fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Bench {
    fn set_up() -> Self {
        let settings =
            "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\nlog_type error\n";
        let broker = Broker::with_settings(settings);
        let dir = tempfile::tempdir().unwrap();
        let (database, config) = (dir.path().join("fleet.db"), dir.path().join("fleet.toml"));
        let text = format!(
            "[mqtt]\nhost = \"127.0.0.1\"\nport = {}\n[aggregator]\nreceive_maximum = {IN_FLIGHT}\n[store]\npath = \"{}\"\n",
            broker.port,
            database.display()
        );
        fs::write(&config, text).unwrap();
        Self { broker, dir, config, database, contents: [content(false), content(true)] }
    }

    fn received(&self) -> PathBuf {
        self.dir.path().join("received")
    }

    /// Makes both sessions, so that they are there before anything is published.
    fn subscribe(&self) {
        let subscribed = mosquitto_sub(self.broker.port, &["-E"], &self.received()).wait().unwrap();
        assert!(subscribed.success());
        let first = serve(&self.config, anywhere());
        wait_online(self.broker.port);
        stop(first);
    }

    /// Publishes one profile a device and drains the broker in both ways; with the rates the most memory that
    /// the aggregator had, in KiB.
    fn drained(&self, sequence: u64) -> (Drained, u64) {
        publish(self.broker.port, &self.contents, sequence);
        let start = Instant::now();
        let count = devices().to_string();
        let mut subscriber = mosquitto_sub(self.broker.port, &["-C", &count], &self.received());
        assert!(subscriber.wait().unwrap().success());
        let to_a_file = devices() as f64 / start.elapsed().as_secs_f64();
        let start = Instant::now();
        let aggregator = serve(&self.config, anywhere());
        while stored(&self.database, sequence) < devices() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let ingest = devices() as f64 / start.elapsed().as_secs_f64();
        while unread(&self.database) > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        let readable = devices() as f64 / start.elapsed().as_secs_f64();
        let memory = peak_kib(&aggregator);
        stop(aggregator);
        (Drained { to_a_file, ingest, readable }, memory)
    }

    /// Drains the broker in rounds and tells each, and what they come to beside `one_by_one`.
    fn drain(&self, one_by_one: f64, table: &mut Table) {
        table.rate("SQLite, a commit each", one_by_one);
        let mut rounds = Vec::new();
        let mut memory = 0;
        for round in 1..=ROUNDS as u64 {
            let (found, peak) = self.drained(round);
            memory = memory.max(peak);
            table.rate(&format!("round {round}: mosquitto_sub to a file"), found.to_a_file);
            table.rate(&format!("round {round}: serve, stored and acknowledged"), found.ingest);
            table.rate(&format!("round {round}: serve, read into points"), found.readable);
            rounds.push(found);
        }
        let batched = median(rounds.iter().map(|round| round.ingest / one_by_one).collect());
        let against = median(rounds.iter().map(|round| round.ingest / round.to_a_file).collect());
        let (told, bound) = (format!("{batched:.1}"), ">= 10");
        table.tell("serve / SQLite with a commit each, median", &told, bound, batched >= 10.0);
        let (told, bound) = (format!("{against:.2}"), ">= 0.5");
        table.tell("serve / mosquitto_sub to a file, median", &told, bound, against >= 0.5);
        table.memory("serve, peak resident memory", memory);
    }

    /// Grows the store and times the dashboard's queries, then its pages.
    fn ask(&self, table: &mut Table) {
        let settings = config::Store { path: self.database.clone(), ..config::Store::default() };
        let mut store = Store::create(&settings).unwrap();
        let points = grow(&mut store, &self.contents);
        let bytes = fs::metadata(&self.database).unwrap().len();
        let each = bytes / store.counts().unwrap().profiles;
        table.tell("points in the store", &points.to_string(), "", true);
        table.tell("size of the store, a profile", &format!("{} MiB, {each} B", bytes >> 20), "", true);
        queries(&mut store, table);
        let address = SocketAddr::from(([127, 0, 0, 1], self.broker.tls_port));
        let aggregator = serve(&self.config, address);
        wait_online(self.broker.port);
        for path in PAGES {
            table.page(path.split('?').next().unwrap_or(path), p95(|| fetched(address, path)));
        }
        table.memory("serve with pages, peak resident memory", peak_kib(&aggregator));
        stop(aggregator);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let bench = Bench::set_up();
    let payload = envelope(&bench.contents[0], 1);
    let one_by_one = unbatched(bench.dir.path(), &payload);
    bench.subscribe();
    let mut table = Table::default();
    println!("{} devices, {} bytes a profile with {} points\n", devices(), payload.len(), 27 * VARIANTS);
    table.head();
    bench.drain(one_by_one, &mut table);
    bench.ask(&mut table);
    if table.is_missed {
        eprintln!("a bound is missed");
        // Exiting drops nothing: the broker would be left.
        drop(bench);
        std::process::exit(1);
    }
}
