//! More acknowledgements at once than the client library takes.

use crate::broker::Broker;
use clipmark_service::mqtt::{AckHandle, Connection, ConnectionOptions, Message, Mqtt, MqttEvent, NotSent};
use clipmark_service::systemd::Supervisor;
use std::time::Duration;

/// Messages that are acknowledged at once.
const MESSAGES: usize = 4000;

fn connection(mqtt: &Mqtt, client: &str, filters: Vec<String>) -> Connection<()> {
    let options = ConnectionOptions { mqtt, client, will: None, filters, receive_maximum: MESSAGES as u16 };
    let heartbeat = Supervisor::default().watch("test", Duration::from_secs(600));
    Connection::open(options, heartbeat).unwrap()
}

/// The next event, which comes.
async fn next(connection: &mut Connection<()>) -> MqttEvent<()> {
    tokio::time::timeout(Duration::from_secs(60), connection.next()).await.expect("something happens")
}

async fn connected(connection: &mut Connection<()>) {
    while !matches!(next(connection).await, MqttEvent::Connected { .. }) {}
}

async fn publish(connection: &mut Connection<()>, most: usize) {
    for _ in 0..most {
        let message = Message {
            topic: "flood/message".into(),
            payload: Vec::new(),
            retain: false,
            content_type: "text/plain",
            expiry: None,
            correlation: None,
        };
        while let Err(NotSent::Busy) = connection.publish(message.clone(), ()) {
            next(connection).await;
        }
    }
}

/// Takes messages; their acknowledgements are still due.
async fn received(connection: &mut Connection<()>, most: usize) -> Vec<AckHandle> {
    let mut handles = Vec::new();
    while handles.len() < most {
        match next(connection).await {
            MqttEvent::Received(received) => handles.push(received.ack),
            MqttEvent::Closed(why) => panic!("{why}"),
            _ => {}
        }
    }
    handles
}

#[tokio::test]
async fn acknowledgements_beyond_what_may_be_in_flight_are_sent_in_their_turn() {
    let broker =
        Broker::with_settings("allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n");
    let mqtt = Mqtt { host: "127.0.0.1".into(), port: broker.port, ..Mqtt::default() };
    let mut receiver = connection(&mqtt, "receiver", vec!["flood/#".into()]);
    connected(&mut receiver).await;
    let mut sender = connection(&mqtt, "sender", Vec::new());
    connected(&mut sender).await;
    let (_, handles) = tokio::join!(publish(&mut sender, MESSAGES + 1), received(&mut receiver, MESSAGES));
    for handle in handles {
        receiver.acknowledge(handle);
    }
    // The broker sends the last one once it has room for it, and as many again once every acknowledgement has come.
    let last = received(&mut receiver, 1).await;
    receiver.acknowledge(last[0]);
    let (_, again) = tokio::join!(publish(&mut sender, MESSAGES), received(&mut receiver, MESSAGES));
    assert_eq!(again.len(), MESSAGES);
}
