//! Encrypted connections, and what is said of each way in which one does not come about.

use crate::certificates::{ALWAYS, Dates, certificates, encrypted, trusting};
use crate::client::Client;
use crate::daemon::{DEVICE, Daemon};
use clipmark_profile::message::CommandState;

#[test]
fn an_encrypted_connection_proves_both_ends() {
    let mut broker = encrypted("require_certificate true\n");
    certificates(broker.dir(), "IP:127.0.0.1", ALWAYS);
    broker.run();
    let dir = broker.dir().display().to_string();
    let mut daemon = Daemon::prepare(broker.tls_port, "");
    daemon.configure(broker.tls_port, &trusting(broker.dir()));
    daemon.run();
    let line = daemon.logged("no connection to the broker");
    assert!(line.contains("client_certificate"), "{line}");
    daemon.kill();
    daemon.environment.push(("CREDENTIALS_DIRECTORY", dir.clone()));
    let both = format!("client_certificate = \"{dir}/device.crt\"\nclient_key = \"credential:device.key\"");
    daemon.configure(broker.tls_port, &format!("{}{both}", trusting(broker.dir())));
    daemon.run();
    let mut client = Client::connect(broker.port, "operator", &["clipmark/v1/#"]);
    client.online();
    client.request(DEVICE, "probe", "p", "");
    assert_eq!(client.final_status("p").state, CommandState::Successful);
}

/// What a daemon says of a broker whose certificate is for `name` and valid at `dates`.
fn said_of(name: &str, dates: Dates) -> String {
    let mut broker = encrypted("");
    certificates(broker.dir(), name, dates);
    broker.run();
    let mut daemon = Daemon::start(broker.tls_port, &trusting(broker.dir()));
    daemon.logged("no connection to the broker")
}

#[test]
fn each_fault_of_a_certificate_has_its_advice() {
    for (name, dates, parts) in [
        (
            "IP:127.0.0.1",
            ["20200101000000Z", "20200201000000Z"],
            ["certificate expired", "compare this machine's clock"],
        ),
        (
            "IP:127.0.0.1",
            ["20480101000000Z", "20490101000000Z"],
            ["not valid yet", "compare this machine's clock"],
        ),
        ("DNS:broker.example", ALWAYS, ["not valid for name", "subjectAltName=IP:127.0.0.1"]),
        ("IP:192.0.2.1", ALWAYS, ["not valid for name", "set mqtt.host to a name in the certificate"]),
    ] {
        let line = said_of(name, dates);
        assert!(parts.iter().all(|part| line.contains(part)), "{name} {dates:?}: {line}");
        assert!(!line.contains("check that it runs"), "{line}");
    }
}

#[test]
fn a_certificate_of_another_authority_is_not_trusted() {
    let mut broker = encrypted("");
    certificates(broker.dir(), "IP:127.0.0.1", ALWAYS);
    broker.run();
    let other = tempfile::tempdir().unwrap();
    certificates(other.path(), "IP:127.0.0.1", ALWAYS);
    let mut daemon = Daemon::start(broker.tls_port, &trusting(other.path()));
    let line = daemon.logged("no connection to the broker");
    assert!(line.contains("set mqtt.tls.ca to the certificate of the authority"), "{line}");
}

#[test]
fn tls_on_a_plain_port_and_the_other_way_round_are_told_apart() {
    let mut broker = encrypted("");
    certificates(broker.dir(), "IP:127.0.0.1", ALWAYS);
    broker.run();
    let mut daemon = Daemon::start(broker.port, &trusting(broker.dir()));
    let line = daemon.logged("no connection to the broker");
    assert!(line.contains("without TLS") && line.contains("8883"), "{line}");
    let mut daemon = Daemon::start(broker.tls_port, "");
    let line = daemon.logged("no connection to the broker");
    assert!(line.contains("mqtt.tls.enabled = true"), "{line}");
}
