//! Boards that misbehave: what they send, and how fast.

use crate::raw::Raw;
use crate::records::envelope;
use clipmark_profile::message::{Envelope, Payload};
use clipmark_profile::topics::UpKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The n-th message of a board that misbehaves: its topic and payload.
pub(crate) type Misdeed = fn(u64) -> (&'static str, Vec<u8>);

fn event(epoch: u64, sequence: u64) -> Vec<u8> {
    envelope(epoch, sequence, UpKind::Event, Vec::new()).to_bytes().unwrap()
}

pub(crate) const MISDEEDS: [(&str, Misdeed); 6] = [
    ("unfinished contents, 60 KB a part", |n| {
        let part = envelope(1, n + 1, UpKind::Series, vec![n as u8; 60_000]);
        ("clipmark/v1/d/bad-parts/up/series", Envelope { parts: 2, ..part }.to_bytes().unwrap())
    }),
    ("every second sequence", |n| ("clipmark/v1/d/bad-gaps/up/event", event(1, 2 * n + 2))),
    ("an epoch for each record", |n| ("clipmark/v1/d/bad-epochs/up/event", event(n + 1, 1))),
    ("garbage of 60 KB", |n| {
        ("clipmark/v1/d/bad-garbage/state", [n.to_be_bytes().to_vec(), vec![0xff; 60_000]].concat())
    }),
    ("messages of 1 MB", |n| ("clipmark/v1/d/bad-long/up/profile", vec![n as u8; 1_000_000])),
    ("statuses of made-up commands", |n| {
        ("clipmark/v1/d/bad-status/cmd/run/x/status", n.to_be_bytes().to_vec())
    }),
];

/// Bytes a second of a link of 100 Mbit/s.
pub(crate) const FAST_ETHERNET: f64 = 12.5e6;

/// How a neighbour misbehaves.
#[derive(Clone, Copy)]
pub(crate) struct Flood {
    /// The n-th message.
    pub(crate) misdeed: Misdeed,
    /// Bytes a second that its link carries.
    pub(crate) link: f64,
    /// Whether it sends where nobody listens, so that it burdens the broker alone.
    pub(crate) elsewhere: bool,
}

/// What a message takes on the wire beside its topic and payload: Ethernet, IP, TCP and MQTT.
const WIRE_OVERHEAD: usize = 80;

/// A neighbour that misbehaves in a thread of its own, until it is stopped or dropped.
pub(crate) struct Misbehaving {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Flood {
    /// Begins with the message `from`.
    pub(crate) fn begin(self, port: u16, from: u64) -> Misbehaving {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || self.send(port, from, &stopped));
        Misbehaving { stop, thread: Some(thread) }
    }

    /// Sends until it is told to stop, over one connection after the other; returns the next message's number.
    fn send(self, port: u16, from: u64, stop: &AtomicBool) -> u64 {
        let (mut n, mut client) = (from, None);
        let (start, mut bytes) = (Instant::now(), 0);
        let name = (self.misdeed)(0).0.split('/').nth(3).unwrap();
        while !stop.load(Ordering::Relaxed) {
            let Some(connected) = &mut client else {
                client = Raw::connect(port, name);
                std::thread::yield_now();
                continue;
            };
            let (topic, payload) = (self.misdeed)(n);
            let topic =
                if self.elsewhere { topic.replace("clipmark", "elsewhere") } else { topic.to_owned() };
            if !connected.publish(&topic, &payload) {
                client = None;
                continue;
            }
            n += 1;
            bytes += topic.len() + payload.len() + WIRE_OVERHEAD;
            let due = Duration::from_secs_f64(bytes as f64 / self.link);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        n
    }
}

impl Misbehaving {
    /// Stops it; returns the number of its next message, 0 once it is stopped.
    pub(crate) fn stop(&mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(0, |thread| thread.join().unwrap())
    }
}

impl Drop for Misbehaving {
    fn drop(&mut self) {
        self.stop();
    }
}
