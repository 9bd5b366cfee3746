//! The operator's or aggregator's end: a plain MQTT 5 client that remembers everything it has seen.

use clipmark_profile::message::{
    Availability, CommandState, CommandStatus, DeviceState, Envelope, Payload, Receipt,
};
use clipmark_profile::topics::{CommandLeaf, DeviceTopic, Operation, Topic, UpKind};
use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
use rumqttc::v5::{Client as Library, Event, MqttOptions};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(300);

/// A message as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) retained: bool,
    pub(crate) content_type: Option<String>,
    pub(crate) correlation: Option<Vec<u8>>,
}

impl Seen {
    pub(crate) fn read<T: Payload>(&self) -> T {
        T::from_bytes(&self.payload, self.content_type.as_deref()).unwrap()
    }
}

/// What somebody who is there and has nothing to do publishes as their state.
pub(crate) fn online() -> DeviceState {
    DeviceState {
        state: Availability::Online,
        connection: 1,
        since_unix_ms: 0,
        command: None,
        queued: 0,
        unconfirmed: 0,
        reasons: Vec::new(),
    }
}

fn is_device_state(seen: &Seen) -> bool {
    seen.topic.starts_with("clipmark/v1/d/") && seen.topic.ends_with("/state")
}

pub(crate) struct Client {
    library: Library,
    messages: Receiver<Seen>,
    pub(crate) seen: Vec<Seen>,
    /// Whether it has been told of a device that is there.
    met: bool,
    hears_states: bool,
}

impl Client {
    /// Connects and subscribes; returns once the broker has confirmed all subscriptions.
    pub(crate) fn connect(port: u16, id: &str, filters: &[&str]) -> Self {
        Self::connect_as(port, id, filters, None)
    }

    pub(crate) fn connect_as(port: u16, id: &str, filters: &[&str], login: Option<(&str, &str)>) -> Self {
        let mut options = MqttOptions::new(id, "127.0.0.1", port);
        options.set_max_packet_size(Some(1 << 20));
        // Without it each small message waits for the acknowledgement of the one before, 40 ms.
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        if let Some((user, password)) = login {
            options.set_credentials(user, password);
        }
        let (library, mut connection) = Library::new(options, 64);
        for filter in filters {
            library.subscribe(*filter, QoS::AtLeastOnce).unwrap();
        }
        let (sender, messages) = channel();
        let (ready, subscribed) = channel();
        std::thread::spawn(move || {
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::SubAck(_))) => drop(ready.send(())),
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let properties = publish.properties.unwrap_or_default();
                        let seen = Seen {
                            topic: String::from_utf8(publish.topic.to_vec()).unwrap(),
                            payload: publish.payload.to_vec(),
                            retained: publish.retain,
                            content_type: properties.content_type,
                            correlation: properties.correlation_data.map(|data| data.to_vec()),
                        };
                        if sender.send(seen).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        });
        let hears_states = filters.iter().any(|filter| filter.ends_with("/state") || filter.ends_with('#'));
        for _ in filters {
            subscribed.recv_timeout(PATIENCE).expect("the broker confirms every subscription");
        }
        Self { library, messages, seen: Vec::new(), met: false, hears_states }
    }

    pub(crate) fn publish(&self, topic: &str, payload: &[u8], properties: PublishProperties) {
        self.library
            .publish_with_properties(topic, QoS::AtLeastOnce, false, payload.to_vec(), properties)
            .unwrap();
    }

    pub(crate) fn publish_retained(&self, topic: &str, payload: &[u8]) {
        self.library.publish(topic, QoS::AtLeastOnce, true, payload.to_vec()).unwrap();
    }

    /// Asks once the device has been there: a broker drops what is sent to one that has never subscribed. A client that
    /// does not hear of states asks at once.
    pub(crate) fn request(&mut self, device: &str, operation: &str, id: &str, payload: &str) {
        if self.hears_states && !self.met {
            self.wait("a device", |seen| is_device_state(seen).then_some(()));
        }
        let topic = format!("clipmark/v1/d/{device}/cmd/{operation}/{id}/req");
        self.publish(&topic, payload.as_bytes(), PublishProperties::default());
    }

    pub(crate) fn cancel(&self, device: &str, operation: Operation, id: &str) {
        let (device, id) = (device.parse().unwrap(), id.parse().unwrap());
        let topic = Topic::command(&device, operation, &id, CommandLeaf::Cancel);
        self.publish(&topic.to_string(), b"", PublishProperties::default());
    }

    pub(crate) fn receipt(&self, device: &str, receipt: &Receipt) {
        let topic = Topic::device(&device.parse().unwrap(), DeviceTopic::Receipt).to_string();
        self.publish_retained(&topic, &receipt.to_bytes().unwrap());
    }

    /// The first message, past or future, for which `found` has an answer.
    pub(crate) fn wait<T>(&mut self, what: &str, mut found: impl FnMut(&Seen) -> Option<T>) -> T {
        if let Some(answer) = self.seen.iter().find_map(&mut found) {
            return answer;
        }
        let start = Instant::now();
        loop {
            match self.messages.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
                Ok(seen) => {
                    let answer = found(&seen);
                    self.met |= is_device_state(&seen);
                    self.seen.push(seen);
                    if let Some(answer) = answer {
                        return answer;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let topics: Vec<_> = self
                        .seen
                        .iter()
                        .map(|seen| format!("{} {}", seen.topic, String::from_utf8_lossy(&seen.payload)))
                        .collect();
                    panic!("{what} did not come; seen:\n{}", topics.join("\n"));
                }
            }
        }
    }

    /// The status of a command once it is in `state`.
    pub(crate) fn status(&mut self, id: &str, state: CommandState) -> CommandStatus {
        let part = format!("/{id}/status");
        self.wait(&format!("status {state:?} of {id}"), |seen| {
            let status = seen.topic.ends_with(&part).then(|| seen.read::<CommandStatus>())?;
            (status.state == state).then_some(status)
        })
    }

    /// The final status of a command.
    pub(crate) fn final_status(&mut self, id: &str) -> CommandStatus {
        let part = format!("/{id}/status");
        self.wait(&format!("the final status of {id}"), |seen| {
            let status = seen.topic.ends_with(&part).then(|| seen.read::<CommandStatus>())?;
            status.state.is_final().then_some(status)
        })
    }

    /// The next device state, from now on, that `wanted` accepts.
    pub(crate) fn state(&mut self, what: &str, wanted: impl Fn(&DeviceState) -> bool) -> DeviceState {
        self.seen.retain(|seen| !seen.topic.ends_with("/state"));
        self.wait(what, |seen| {
            let state = seen.topic.ends_with("/state").then(|| seen.read::<DeviceState>())?;
            wanted(&state).then_some(state)
        })
    }

    pub(crate) fn online(&mut self) -> DeviceState {
        self.state("an online device", |state| state.state == Availability::Online)
    }

    /// The envelope of a record with at least this sequence.
    pub(crate) fn record(&mut self, kind: UpKind, sequence: u64) -> Envelope {
        let part = format!("/up/{kind}");
        self.wait(&format!("record {sequence}"), |seen| {
            let envelope = seen.topic.ends_with(&part).then(|| seen.read::<Envelope>())?;
            (envelope.sequence >= sequence).then_some(envelope)
        })
    }
}
