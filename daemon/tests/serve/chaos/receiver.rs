//! A receiver of results as a process of its own: commits each record to a file, then says so by a receipt.
//!
//! The file holds one line a record, appended and synced before the message is acknowledged; what is in it already
//! is not written again. Killed at any instant, the process goes on where its file ends.

use clipmark_profile::message::{Envelope, EventKind, EventReport, Payload, Receipt, SequenceRange};
use clipmark_profile::topics::{DeviceTopic, Topic, UpKind};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{Client, Event as Raw, MqttOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Between two attempts to reach a broker that is down.
const AGAIN: Duration = Duration::from_millis(20);

/// One line of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) crc: u32,
    pub(crate) command: Option<String>,
    /// What the device declares lost.
    pub(crate) lost: Option<SequenceRange>,
}

impl Stored {
    fn of(envelope: &Envelope) -> Self {
        let event = (envelope.kind == UpKind::Event && envelope.parts == 1)
            .then(|| EventReport::from_bytes(&envelope.content, Some("application/cbor")).unwrap());
        Self {
            epoch: envelope.epoch.0,
            sequence: envelope.sequence,
            crc: crc32c::crc32c(&envelope.content),
            command: envelope.command.as_ref().map(|command| command.as_str().to_owned()),
            lost: event.filter(|event| event.kind == EventKind::SpoolGap).and_then(|event| event.range),
        }
    }

    fn line(&self) -> String {
        let command = self.command.as_deref().unwrap_or("-");
        let lost = self.lost.map_or((0, 0), |lost| (lost.first, lost.last));
        format!("{} {} {} {command} {} {}\n", self.epoch, self.sequence, self.crc, lost.0, lost.1)
    }

    fn from_line(line: &str) -> Self {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| fields[index].parse::<u64>().unwrap();
        let lost = SequenceRange { first: number(4), last: number(5) };
        Self {
            epoch: number(0),
            sequence: number(1),
            crc: u32::try_from(number(2)).unwrap(),
            command: Some(fields[3].to_owned()).filter(|command| command != "-"),
            lost: Some(lost).filter(|lost| lost.first > 0),
        }
    }
}

/// Every line of the store in `dir`, repeats included.
pub(crate) fn read(dir: &Path) -> Vec<Stored> {
    let text = fs::read_to_string(dir.join("store")).unwrap_or_default();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    text[..whole].lines().map(Stored::from_line).collect()
}

/// How many messages arrived, repeats included.
pub(crate) fn arrived(dir: &Path) -> u64 {
    fs::metadata(dir.join("arrived")).map_or(0, |metadata| metadata.len())
}

struct Store {
    file: File,
    arrived: File,
    sequences: BTreeMap<u64, BTreeSet<u64>>,
    /// Whether it may store without leave.
    is_free: bool,
}

impl Store {
    fn open(dir: &Path) -> Self {
        let open = |name: &str| File::options().create(true).append(true).open(dir.join(name)).unwrap();
        let mut sequences: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        let mut whole = 0;
        for stored in read(dir) {
            whole += stored.line().len() as u64;
            sequences.entry(stored.epoch).or_default().insert(stored.sequence);
        }
        let file = open("store");
        // A line that was cut off was never acknowledged.
        file.set_len(whole).unwrap();
        Self { file, arrived: open("arrived"), sequences, is_free: false }
    }

    fn holds(&self, stored: &Stored) -> bool {
        self.sequences.get(&stored.epoch).is_some_and(|sequences| sequences.contains(&stored.sequence))
    }

    fn commit(&mut self, stored: &Stored) {
        self.file.write_all(stored.line().as_bytes()).unwrap();
        self.file.sync_data().unwrap();
        self.sequences.entry(stored.epoch).or_default().insert(stored.sequence);
    }

    fn len(&self) -> usize {
        self.sequences.values().map(BTreeSet::len).sum()
    }

    fn receipt(&self, epoch: u64) -> Receipt {
        let mut contiguous = 0;
        let mut gaps = Vec::new();
        let mut next = 1;
        for &sequence in &self.sequences[&epoch] {
            if sequence > next {
                gaps.push(SequenceRange { first: next, last: sequence - 1 });
            } else if gaps.is_empty() {
                contiguous = sequence;
            }
            next = sequence + 1;
        }
        Receipt {
            epoch: clipmark_profile::message::Epoch(epoch),
            contiguous,
            gaps,
            aggregator: Some("chaos".parse().unwrap()),
            stored: None,
            conflict: None,
        }
    }
}

fn tell(store: &Store) {
    // Not by a macro: what those print, a test keeps to itself.
    std::io::stdout().write_all(format!("stored {}\n", store.len()).as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

/// Gives leave to store everything.
pub(crate) const ALL: &str = "all";

/// Waits for leave to store another record; ends the process when nobody gives it any more.
fn wait_for_leave(store: &mut Store) {
    let mut line = String::new();
    if !store.is_free && std::io::stdin().lock().read_line(&mut line).unwrap_or(0) == 0 {
        std::process::exit(0);
    }
    store.is_free |= line.trim() == ALL;
}

fn take(store: &mut Store, client: &Client, publish: &Publish) {
    let topic: Topic = std::str::from_utf8(&publish.topic).unwrap().parse().unwrap();
    let Topic::Device { device, .. } = topic else { panic!("not a device's topic: {topic}") };
    let envelope = Envelope::from_bytes(&publish.payload, Some("application/cbor")).unwrap();
    store.arrived.write_all(b".").unwrap();
    let stored = Stored::of(&envelope);
    if !store.holds(&stored) {
        wait_for_leave(store);
        store.commit(&stored);
        tell(store);
    }
    // What is not sent because the connection is ending is made up for when the record comes again.
    let _ = client.try_ack(publish);
    let topic = Topic::device(&device, DeviceTopic::Receipt).to_string();
    let receipt = store.receipt(stored.epoch).to_bytes().unwrap();
    let _ = client.try_publish(topic, QoS::AtLeastOnce, true, receipt);
}

/// Receives until its standard input ends or it is killed.
pub(crate) fn receive(port: u16, dir: &Path) {
    let mut store = Store::open(dir);
    tell(&store);
    loop {
        let mut options = MqttOptions::new("chaos-receiver", "127.0.0.1", port);
        options.set_clean_start(false);
        options.set_session_expiry_interval(Some(3600));
        options.set_receive_maximum(Some(16));
        options.set_max_packet_size(Some(1 << 20));
        options.set_manual_acks(true);
        let (client, mut connection) = Client::new(options, 64);
        client.try_subscribe("clipmark/v1/d/+/up/#", QoS::AtLeastOnce).unwrap();
        for event in connection.iter() {
            match event {
                Ok(Raw::Incoming(Packet::Publish(publish))) => take(&mut store, &client, &publish),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        sleep(AGAIN);
    }
}

/// Where a receiver finds what it is to do.
pub(crate) const DIR_VARIABLE: &str = "CLIPMARK_TEST_RECEIVER_DIR";
/// The broker's port.
pub(crate) const PORT_VARIABLE: &str = "CLIPMARK_TEST_RECEIVER_PORT";

/// The directory and the port that the environment names.
pub(crate) fn ordered() -> Option<(PathBuf, u16)> {
    let dir = std::env::var_os(DIR_VARIABLE)?.into();
    Some((dir, std::env::var(PORT_VARIABLE).ok()?.parse().ok()?))
}
