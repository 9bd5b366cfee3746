//! What a broker refuses, and encrypted connections.

use crate::broker::Broker;
use crate::client::Client;
use crate::daemon::{DEVICE, Daemon};
use clipmark_profile::message::CommandState;
use std::path::Path;
use std::process::Command;

/// A broker with two users: `operator` may do everything, `device` lacks the right to publish results.
fn guarded() -> Broker {
    let broker =
        Broker::prepared("allow_anonymous false\npassword_file {dir}/passwords\nacl_file {dir}/acl\n");
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

fn credentials(daemon: &Daemon, password: &str) -> String {
    let (user, secret) = (daemon.path("user"), daemon.path("password"));
    std::fs::write(&user, "device\n").unwrap();
    std::fs::write(&secret, format!("{password}\n")).unwrap();
    format!("username_file = \"{}\"\npassword_file = \"{}\"", user.display(), secret.display())
}

#[test]
fn a_result_that_the_acl_refuses_is_visible_in_the_state_and_stays_on_the_device() {
    let broker = guarded();
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
        state.reasons[0].contains("NotAuthorized") && state.reasons[0].contains("ACL"),
        "{:?}",
        state.reasons
    );
    assert_eq!(state.unconfirmed, 1);
}

#[test]
fn a_wrong_password_is_told_with_what_to_check() {
    let broker = guarded();
    let mut daemon = Daemon::prepare(broker.port, "");
    daemon.configure(broker.port, &credentials(&daemon, "wrong"));
    daemon.run();
    let line = daemon.logged("refuses this client");
    assert!(line.contains("check user name, password"), "{line}");
}

fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl").current_dir(dir).args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A certificate authority and certificates for broker and device, all for a day.
fn certificates(dir: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1";
    openssl(dir, &format!("req -x509 {key} -subj /CN=test-ca -keyout ca.key -out ca.crt"));
    std::fs::write(dir.join("san"), "subjectAltName=IP:127.0.0.1").unwrap();
    for name in ["broker", "device"] {
        openssl(
            dir,
            &format!(
                "req {} -subj /CN={name} -keyout {name}.key -out {name}.csr",
                key.replace(" -days 1", "")
            ),
        );
        let sign = "x509 -req -days 1 -CA ca.crt -CAkey ca.key -CAcreateserial -extfile san";
        openssl(dir, &format!("{sign} -in {name}.csr -out {name}.crt"));
    }
}

#[test]
fn an_encrypted_connection_proves_both_ends() {
    let tls = "listener {tls} 127.0.0.1\nallow_anonymous true\ncafile {dir}/ca.crt\ncertfile {dir}/broker.crt\n\
               keyfile {dir}/broker.key\nrequire_certificate true\n";
    let mut broker = Broker::prepared(&format!("allow_anonymous true\n{tls}"));
    certificates(broker.dir());
    broker.run();
    let dir = broker.dir().display().to_string();
    let mut daemon = Daemon::prepare(broker.tls_port, "");
    let with = |more: &str| format!("[mqtt.tls]\nenabled = true\nca = \"{dir}/ca.crt\"\n{more}");
    daemon.configure(broker.tls_port, &with(""));
    daemon.run();
    daemon.logged("no connection to the broker");
    daemon.kill();
    daemon.environment.push(("CREDENTIALS_DIRECTORY", dir.clone()));
    let both = format!("client_certificate = \"{dir}/device.crt\"\nclient_key = \"credential:device.key\"");
    daemon.configure(broker.tls_port, &with(&both));
    daemon.run();
    let mut client = Client::connect(broker.port, "operator", &["clipmark/v1/#"]);
    client.online();
    client.request(DEVICE, "probe", "p", "");
    assert_eq!(client.final_status("p").state, CommandState::Successful);
}

#[test]
fn a_broker_with_a_certificate_of_another_authority_is_not_trusted() {
    let tls = "listener {tls} 127.0.0.1\nallow_anonymous true\ncertfile {dir}/broker.crt\nkeyfile {dir}/broker.key\n";
    let mut broker = Broker::prepared(&format!("allow_anonymous true\n{tls}"));
    certificates(broker.dir());
    broker.run();
    let other = tempfile::tempdir().unwrap();
    certificates(other.path());
    let ca = format!("[mqtt.tls]\nenabled = true\nca = \"{}/ca.crt\"", other.path().display());
    let mut daemon = Daemon::start(broker.tls_port, &ca);
    let line = daemon.logged("no connection to the broker");
    assert!(line.contains("certificate"), "{line}");
}
