//! What a broker refuses.

use crate::broker::Broker;
use crate::client::Client;
use crate::daemon::{DEVICE, Daemon};
use clipmark_profile::message::CommandState;
use std::process::Command;

/// A broker with two users: `operator` may do everything, `device` lacks the right to publish results. `more` is
/// appended to its settings.
pub(crate) fn guarded(more: &str) -> Broker {
    let settings =
        format!("allow_anonymous false\npassword_file {{dir}}/passwords\nacl_file {{dir}}/acl\n{more}");
    let broker = Broker::prepared(&settings);
    let passwords = broker.file("passwords", "");
    for (user, password) in [("device", "secret"), ("operator", "other")] {
        let mut set = Command::new("mosquitto_passwd");
        assert!(set.arg("-b").arg(&passwords).args([user, password]).status().unwrap().success());
    }
    let acl = "user operator\ntopic readwrite #\nuser device\ntopic read clipmark/v1/d/bench/#\n\
               topic write clipmark/v1/d/bench/state\ntopic write clipmark/v1/d/bench/info\n\
               topic write clipmark/v1/d/bench/cmd/#\n";
    broker.file("acl", acl);
    let mut broker = broker;
    broker.run();
    broker
}

pub(crate) fn credentials(daemon: &Daemon, password: &str) -> String {
    let (user, secret) = (daemon.path("user"), daemon.path("password"));
    std::fs::write(&user, "device\n").unwrap();
    std::fs::write(&secret, format!("{password}\n")).unwrap();
    format!("username_file = \"{}\"\npassword_file = \"{}\"", user.display(), secret.display())
}

#[test]
fn a_result_that_the_acl_refuses_is_visible_in_the_state_and_stays_on_the_device() {
    let broker = guarded("");
    let mut daemon = Daemon::prepare(broker.port, "");
    daemon.configure(broker.port, &credentials(&daemon, "secret"));
    daemon.run();
    let login = Some(("operator", "other"));
    let mut client = Client::connect_as(broker.port, "operator", &["clipmark/v1/#"], login);
    client.online();
    client.request(DEVICE, "capture", "c1", "");
    assert_eq!(client.final_status("c1").state, CommandState::Successful);
    let state = client.state("the concern", |state| !state.reasons.is_empty());
    assert!(
        state.reasons[0].contains("not authorized") && state.reasons[0].contains("ACL"),
        "{:?}",
        state.reasons
    );
    assert_eq!(state.unconfirmed, 1);
}

#[test]
fn a_wrong_password_is_told_with_what_to_check() {
    let broker = guarded("");
    let mut daemon = Daemon::prepare(broker.port, "");
    daemon.configure(broker.port, &credentials(&daemon, "wrong"));
    daemon.run();
    let line = daemon.logged("refuses this client");
    assert!(line.contains("check user name, password"), "{line}");
}

#[test]
fn check_warns_of_a_broker_on_which_any_user_may_take_any_client_id() {
    for (setting, mark) in [("true", "ok     "), ("false", "advised")] {
        let mut broker = Broker::prepared(&format!(
            "use_username_as_clientid {setting}\nallow_anonymous false\npassword_file {{dir}}/passwords\n"
        ));
        let passwords = broker.file("passwords", "");
        let mut set = Command::new("mosquitto_passwd");
        assert!(set.arg("-b").arg(&passwords).args(["device", "secret"]).status().unwrap().success());
        broker.run();
        let daemon = Daemon::prepare(broker.port, "");
        daemon.configure(broker.port, &credentials(&daemon, "secret"));
        let mut check = Command::new(env!("CARGO_BIN_EXE_clipmarkd"));
        let output = check.arg("check").arg("--config").arg(daemon.path("clipmarkd.toml")).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let line = told.lines().find(|line| line.contains("client ids at the broker")).unwrap_or_default();
        assert!(line.starts_with(mark), "use_username_as_clientid {setting}: {told}");
    }
}
