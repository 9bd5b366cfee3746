//! Encrypted connections, and what is said of each way in which one does not come about.

use crate::broker::Broker;
use crate::client::Client;
use crate::daemon::{DEVICE, Daemon};
use clipmark_profile::message::CommandState;
use std::path::Path;
use std::process::Command;

/// Settings of a broker with a TLS listener beside the plain one; `{more}` is for the listener.
fn encrypted(more: &str) -> Broker {
    let tls = "listener {tls} 127.0.0.1\nallow_anonymous true\ncafile {dir}/ca.crt\ncertfile {dir}/broker.crt\n\
               keyfile {dir}/broker.key\n";
    Broker::prepared(&format!("allow_anonymous true\n{tls}{more}"))
}

fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl").current_dir(dir).args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

/// When a certificate is valid, as openssl's `ca` takes it: from and to.
type Dates = [&'static str; 2];

const ALWAYS: Dates = ["20000101000000Z", "20491231000000Z"];

/// A certificate authority, and certificates of it for broker and device.
fn certificates(dir: &Path, name: &str, [from, to]: Dates) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(dir, &format!("req -x509 {key} -days 9000 -subj /CN=test-ca -keyout ca.key -out ca.crt"));
    let settings = format!(
        "[ca]\ndefault_ca=it\n[it]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n\
         x509_extensions=v3\n[any]\ncommonName=supplied\n[v3]\nsubjectAltName={name}\n"
    );
    std::fs::write(dir.join("ca.cnf"), settings).unwrap();
    std::fs::write(dir.join("index"), "").unwrap();
    for name in ["broker", "device"] {
        openssl(dir, &format!("req -new {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        let sign = "ca -batch -notext -config ca.cnf -cert ca.crt -keyfile ca.key";
        openssl(dir, &format!("{sign} -startdate {from} -enddate {to} -in {name}.csr -out {name}.crt"));
    }
}

fn trusting(dir: &Path) -> String {
    format!("[mqtt.tls]\nenabled = true\nca = \"{}/ca.crt\"\n", dir.display())
}

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

/// A board without a battery: its clock starts in 1970 and is set once the network is there.
#[test]
fn a_clock_that_starts_in_1970_is_named_and_the_connection_comes_once_it_is_set() {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !Path::new(library).exists() {
        eprintln!("skipped: needs libfaketime (apt-get install faketime)");
        return;
    }
    let mut broker = encrypted("");
    certificates(broker.dir(), "IP:127.0.0.1", ALWAYS);
    broker.run();
    let mut daemon = Daemon::prepare(broker.tls_port, "");
    daemon.configure(broker.tls_port, &trusting(broker.dir()));
    let clock = daemon.path("clock");
    std::fs::write(&clock, "@1970-01-01 00:00:10").unwrap();
    for (name, value) in [
        ("LD_PRELOAD", library.to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ] {
        daemon.environment.push((name, value));
    }
    daemon.run();
    let line = daemon.logged("no connection to the broker");
    assert!(line.contains("not valid yet") && line.contains("compare this machine's clock"), "{line}");
    assert_eq!(daemon.complaints("no connection to the broker"), 1);
    let mut client = Client::connect(broker.port, "operator", &["clipmark/v1/#"]);
    std::fs::write(&clock, "+0").unwrap();
    client.online();
    client.request(DEVICE, "capture", "c", "");
    let status = client.final_status("c");
    assert_eq!(status.state, CommandState::Successful);
    assert!(status.at_unix_ms > 1_000_000_000_000, "{status:?}");
}
