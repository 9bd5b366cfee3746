//! One client that misbehaves, beside boards that do not: with a real mosquitto and a real aggregator.

use crate::aggregator::Aggregator;
use crate::broker::Broker;
use crate::client::Client;
use crate::device::{RECEIPTS, confirmed, numbered, send};
use crate::raw::Raw;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Memory that docs/operating.md promises to suffice.
const MEMORY: u64 = 256 << 20;

/// Requests that are begun and not ended: as many as once stopped the service.
const HALF_OPEN: usize = 1138;

/// The most memory that a process had at once, in bytes.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A control group whose processes have so much memory together, their files' pages included. It goes with the value.
struct Group(PathBuf);

impl Group {
    /// None where this user may make none.
    fn with(memory: u64) -> Option<Self> {
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
            .into_iter()
            .find_map(|(root, limit)| {
                let group = Self(Path::new(root).join(format!("clipmark-test-{}", std::process::id())));
                fs::create_dir(&group.0).ok()?;
                // Made by the kernel, so that it is there only where memory can be bounded.
                let mut file = fs::File::options().write(true).open(group.0.join(limit)).ok()?;
                file.write_all(memory.to_string().as_bytes()).ok().map(|()| group)
            })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One that could not be made whole; what still runs in it keeps it.
        let _ = fs::remove_dir(&self.0);
    }
}

/// An aggregator within limits of prlimit, and within a group where there is one.
fn bounded(port: u16, limits: &[&str], group: Option<&Group>) -> Aggregator {
    let mut aggregator = Aggregator::prepare(port, "fleet", None);
    let mut limited = Command::new("sh");
    let procs = group.map_or("/dev/null".into(), |group| group.0.join("cgroup.procs"));
    limited.args(["-c", "echo $$ >\"$0\" && exec prlimit \"$@\""]).arg(procs);
    limited.args(limits).arg(env!("CARGO_BIN_EXE_clipmark-fleet"));
    aggregator.run_as(limited, &[]);
    aggregator.logged("connected to the broker");
    aggregator
}

#[test]
fn a_flood_from_one_board_neither_fills_the_memory_nor_stops_the_others() {
    let broker = Broker::with_settings("allow_anonymous true\nmax_queued_messages 0\n");
    let data = format!("--data={MEMORY}");
    let group = Group::with(MEMORY);
    if group.is_none() {
        eprintln!("no control group can be made here: the memory is bounded by prlimit alone");
    }
    let mut aggregator = bounded(broker.port, &[&data], group.as_ref());
    let mut client = Client::connect(broker.port, "good", &[RECEIPTS]);
    send(&client, "good", &numbered("good", 1, 1));
    confirmed(&mut client, "good", 1, 1);
    // A store that takes nothing: what comes meanwhile has nowhere to go but into memory.
    let lock = rusqlite::Connection::open(aggregator.database()).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    send(&client, "good", &numbered("good", 1, 2));
    aggregator.logged("nothing is acknowledged until the store takes it");
    let mut flood = Raw::connect(broker.port, "bad").unwrap();
    let (long, fits) = (vec![0xff; 1_000_000], vec![0xff; 60_000]);
    let is_open = (0..200).all(|_| flood.publish("clipmark/v1/d/bad/up/profile", &long))
        && (0..12_000).all(|_| flood.publish("clipmark/v1/d/bad/up/profile", &fits))
        && (0..50_000).all(|_| flood.publish("clipmark/v1/d/bad/up/event", b"short"));
    assert!(is_open, "the broker ended the connection");
    send(&client, "good", &numbered("good", 1, 3));
    lock.execute_batch("COMMIT").unwrap();
    confirmed(&mut client, "good", 1, 3);
    let line = aggregator.logged("messages are refused");
    assert!(line.contains("device=\"bad\"") && line.contains("kind=\"waiting\""), "{line}");
    assert!(peak(aggregator.pid()) < MEMORY, "{} MiB", peak(aggregator.pid()) >> 20);
    let refused = aggregator.store().refusals(10).unwrap();
    assert!(refused.iter().all(|row| row.device == "bad") && !refused.is_empty(), "{refused:?}");
    aggregator.stop();
}

/// The head of an answer and its body.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn half_open_requests_stop_neither_the_dashboard_nor_ingestion() {
    let mut broker = Broker::start();
    // As many files as systemd gives a service, by far fewer than there are half-open requests.
    let mut aggregator = bounded(broker.port, &["--nofile=512:512"], None);
    let line = aggregator.logged("dashboard address=");
    let address: SocketAddr =
        line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap().parse().unwrap();
    let half_open: Vec<TcpStream> = (0..HALF_OPEN)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            // One that was closed already to make room takes nothing more.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: loc");
            stream
        })
        .collect();
    assert!(get(address, "/").starts_with("HTTP/1.1 200"));
    broker.kill();
    broker.run();
    let mut client = Client::connect(broker.port, "good", &[RECEIPTS, "clipmark/v1/agg/+/state"]);
    // A broker that has just started keeps nothing for an aggregator that is not back yet.
    client.wait("the aggregator's state", |seen| seen.topic.contains("/agg/").then_some(()));
    send(&client, "good", &numbered("good", 1, 1));
    confirmed(&mut client, "good", 1, 1);
    assert!(get(address, "/device/good").starts_with("HTTP/1.1 200"));
    drop(half_open);
    aggregator.stop();
}
