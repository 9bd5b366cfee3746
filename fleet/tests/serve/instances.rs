//! Several aggregators over one PostgreSQL, in one shared subscription.

use crate::aggregator::Aggregator;
use crate::broker::Broker;
use crate::client::Client;
use crate::device::{RECEIPTS, confirmed, numbered, send};
use crate::postgres_server::Server;

const RECORDS: u64 = 40;
const DEVICES: [&str; 3] = ["a", "b", "c"];

#[test]
fn two_instances_share_the_work_and_one_of_them_may_die() {
    let Some(server) = Server::start() else { return };
    let store = server.database("fleet");
    let broker = Broker::start();
    let mut first = Aggregator::prepare(broker.port, "one", Some(&store));
    let mut second = Aggregator::prepare(broker.port, "two", Some(&store));
    first.run();
    second.run();
    let mut client = Client::connect(broker.port, "devices", &[RECEIPTS]);
    for sequence in 1..=RECORDS {
        for device in DEVICES {
            // Each twice, and pairs in the wrong order.
            let swapped = ((sequence - 1) ^ 1) + 1;
            for sequence in [sequence, swapped] {
                send(&client, device, &numbered(device, 1, sequence));
            }
        }
    }
    for device in DEVICES {
        confirmed(&mut client, device, 1, RECORDS);
    }
    let receipts = client.seen.iter().filter(|seen| seen.topic.ends_with("/receipt"));
    let names: std::collections::BTreeSet<String> = receipts
        .filter_map(|seen| Some(seen.read::<clipmark_profile::message::Receipt>().aggregator?.to_string()))
        .collect();
    assert_eq!(names.len(), 2, "both have worked: {names:?}");
    second.kill();
    // What the dead one held without a receipt is sent again by its device.
    for device in DEVICES {
        for sequence in RECORDS + 1..=RECORDS + 10 {
            send(&client, device, &numbered(device, 1, sequence));
        }
    }
    second.run();
    for device in DEVICES {
        for sequence in RECORDS + 1..=RECORDS + 10 {
            send(&client, device, &numbered(device, 1, sequence));
        }
        confirmed(&mut client, device, 1, RECORDS + 10);
    }
    let profiles = first.profiles();
    assert_eq!(profiles, (RECORDS + 10) * DEVICES.len() as u64);
}
