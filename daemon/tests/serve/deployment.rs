//! What a board meets when it starts: a state directory that is none, a network that comes up late.

use crate::broker::Broker;
use crate::client::Client;
use crate::daemon::{DEVICE, Daemon};
use clipmark_profile::message::CommandState;

const ALL: &str = "clipmark/v1/d/bench/#";

#[test]
fn a_state_directory_of_another_user_ends_the_start_with_what_to_do() {
    let mut daemon = Daemon::prepare(1, "");
    std::fs::write(daemon.path("state"), "not a directory").unwrap();
    daemon.spawn("");
    daemon.logged("device.state_dir");
    assert_eq!(daemon.ended().code(), Some(5));
}

/// Each attempt in the log would fill it: a line is written when it is new.
#[test]
fn a_network_that_comes_up_late_is_waited_for_with_few_lines() {
    let mut broker = Broker::start();
    broker.kill();
    let mut daemon = Daemon::start(broker.port, "");
    let line = daemon.logged("no connection to the broker");
    assert!(line.contains("nothing listens there"), "{line}");
    while daemon.connections() < 30 {
        std::thread::yield_now();
    }
    assert_eq!(daemon.complaints("no connection"), 1);
    broker.run();
    let mut client = Client::connect(broker.port, "operator", &[ALL]);
    client.online();
    client.request(DEVICE, "probe", "p", "");
    assert_eq!(client.final_status("p").state, CommandState::Successful);
}
