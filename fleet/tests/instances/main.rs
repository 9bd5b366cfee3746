//! Several aggregators over one PostgreSQL, in one shared subscription: with a real mosquitto.
//!
//! Ignored where no PostgreSQL is installed, unless CLIPMARK_REQUIRE_POSTGRESQL is set: then it fails.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers fail a test and say what is amiss")]

#[expect(dead_code, reason = "shared with the other tests of the service, which use all of it")]
#[path = "../serve/aggregator.rs"]
mod aggregator;
#[expect(dead_code, reason = "shared with the daemon's tests, which use all of it")]
#[path = "../../../daemon/tests/serve/broker.rs"]
mod broker;
#[expect(dead_code, reason = "shared with the daemon's tests, which use all of it")]
#[path = "../../../daemon/tests/serve/client.rs"]
mod client;
#[path = "../serve/device.rs"]
mod device;
#[path = "../common/postgres.rs"]
mod postgres_server;
#[expect(dead_code, reason = "shared with the store's suite, which uses all of it")]
#[path = "../common/records.rs"]
mod records;

use aggregator::Aggregator;
use broker::Broker;
use client::Client;
use device::{RECEIPTS, confirmed, numbered, send};
use libtest_mimic::{Arguments, Trial};
use postgres_server::Server;
use std::process::ExitCode;

const RECORDS: u64 = 40;
const DEVICES: [&str; 3] = ["a", "b", "c"];

fn two_instances_share_the_work_and_one_of_them_may_die() {
    let server = Server::start();
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

fn main() -> ExitCode {
    let name = "two_instances_share_the_work_and_one_of_them_may_die";
    let test = || {
        two_instances_share_the_work_and_one_of_them_may_die();
        Ok(())
    };
    let trial = Trial::test(name, test).with_ignored_flag(Server::is_missing());
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}
