//! The access rules that `acl` prints, held by a real mosquitto: its acl_file and its dynamic security plugin.

use crate::broker::Broker;
use crate::client::Client;
use crate::device::{confirmed, numbered, publish, send};
use clipmark_fleet::store::Store;
use clipmark_profile::message::Receipt;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{Client as Library, Event, MqttOptions};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PASSWORD: &str = "s3cret";

/// What `acl` prints for a fleet whose group `lab` has the member `orin`.
fn acl(arguments: &[&str]) -> String {
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(config.path(), "[groups]\nlab = [\"orin\"]\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_clipmark-fleet"));
    let output = command.arg("--config").arg(config.path()).arg("acl").args(arguments).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An aggregator that logs in as `fleet`.
fn aggregator(folder: &Path, port: u16) -> Killed {
    aggregator_with_log(folder, port, Stdio::inherit())
}

fn aggregator_with_log(folder: &Path, port: u16, log: Stdio) -> Killed {
    let path = |name: &str| folder.join(name).display().to_string();
    fs::write(path("user"), "fleet\n").unwrap();
    fs::write(path("password"), PASSWORD).unwrap();
    let text = format!(
        "[mqtt]\nhost = \"127.0.0.1\"\nport = {port}\nusername_file = \"{}\"\npassword_file = \"{}\"\nbackoff_min_ms = 20\n\
         backoff_max_ms = 200\n[store]\npath = \"{}\"\n",
        path("user"),
        path("password"),
        path("fleet.db")
    );
    fs::write(path("fleet.toml"), text).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_clipmark-fleet"))
        .args(["--config", &path("fleet.toml"), "serve", "--no-dashboard"])
        .env("CLIPMARK_LOG", "warn,rumqttc=error")
        .stdin(Stdio::null())
        .stderr(log)
        .spawn();
    Killed(child.unwrap())
}

/// One device is served, and cannot write for another or confirm its own records.
fn rules_hold(broker: &Broker) {
    let folder = tempfile::tempdir().unwrap();
    let _aggregator = aggregator(folder.path(), broker.port);
    let heard = ["clipmark/v1/agg/+/state", "clipmark/v1/d/+/state"];
    let mut operator = Client::connect_as(broker.port, "operator", &heard, Some(("operator", PASSWORD)));
    operator.wait("an aggregator that is online", |seen| {
        String::from_utf8_lossy(&seen.payload).contains("online").then_some(())
    });
    let own = "clipmark/v1/d/orin/receipt";
    let mut orin = Client::connect_as(broker.port, "orin", &[own], Some(("orin", PASSWORD)));
    // A receipt that only an aggregator may write, and a record in another device's name.
    publish(&orin, own, br#"{"epoch":1,"contiguous":99}"#);
    send(&orin, "nano", &numbered("nano", 1, 1));
    send(&orin, "orin", &numbered("orin", 1, 1));
    confirmed(&mut orin, "orin", 1, 1);
    let receipts = orin.seen.iter().filter(|seen| seen.topic == own).map(|seen| seen.read::<Receipt>());
    assert!(
        receipts.map(|receipt| receipt.contiguous).all(|stored| stored == 1),
        "it confirmed its own records"
    );
    let store = clipmark_fleet::config::Store { path: folder.path().join("fleet.db"), ..Default::default() };
    let mut store = Store::create(&store).unwrap();
    let names: Vec<String> =
        store.devices(&Default::default()).unwrap().iter().map(|row| row.device.to_string()).collect();
    assert_eq!(names, ["orin"]);
}

/// A broker with the settings and the rules that `acl` prints, but for encryption and ports. With `are_bound`
/// client ids are those of the users, as the settings have it.
fn generated(are_bound: bool) -> Broker {
    let printed = acl(&["--form", "mosquitto-conf"]);
    assert!(printed.contains("\nuse_username_as_clientid true\n"), "{printed}");
    let of_machine =
        ["listener ", "cafile ", "certfile ", "keyfile ", "persistence ", "persistent_client_expiration "];
    let mut settings: Vec<&str> =
        printed.lines().filter(|line| !of_machine.iter().any(|word| line.starts_with(word))).collect();
    settings.retain(|line| are_bound || !line.starts_with("use_username_as_clientid"));
    let settings = settings.join("\n").replace("/etc/mosquitto/passwd", "{dir}/passwords");
    let mut broker = Broker::prepared(&settings.replace("/etc/mosquitto/clipmark.acl", "{dir}/acl"));
    broker.file("acl", &acl(&[]));
    let passwords = broker.file("passwords", "");
    for user in ["orin", "nano", "operator", "fleet"] {
        let mut add = Command::new("mosquitto_passwd");
        assert!(add.args(["-b"]).arg(&passwords).args([user, PASSWORD]).status().unwrap().success());
    }
    broker.run();
    broker
}

#[test]
fn the_acl_file_lets_each_device_speak_for_itself_alone() {
    rules_hold(&generated(true));
}

#[test]
fn a_board_reads_requests_to_its_own_groups_alone() {
    let broker = generated(true);
    let filter = "clipmark/v1/g/+/cmd/+/+/req";
    let mut boards = ["orin", "nano"].map(|name| {
        let own = format!("clipmark/v1/d/{name}/cmd/+/+/req");
        Client::connect_as(broker.port, name, &[filter, &own], Some((name, PASSWORD)))
    });
    let operator = Client::connect_as(broker.port, "operator", &[], Some(("operator", PASSWORD)));
    publish(&operator, "clipmark/v1/g/lab/cmd/run/c1/req", b"{}");
    publish(&operator, "clipmark/v1/g/rack/cmd/run/c2/req", b"{}");
    for name in ["orin", "nano"] {
        publish(&operator, &format!("clipmark/v1/d/{name}/cmd/run/last/req"), b"{}");
    }
    let heard = boards.each_mut().map(|board| {
        board.wait("its own request", |seen| seen.topic.ends_with("/last/req").then_some(()));
        board
            .seen
            .iter()
            .filter(|seen| seen.topic.contains("/g/"))
            .map(|seen| seen.topic.clone())
            .collect::<Vec<_>>()
    });
    assert_eq!(heard, [vec!["clipmark/v1/g/lab/cmd/run/c1/req".to_owned()], vec![]]);
}

/// Begins or goes on with the session of `client`, as `user`: whether the broker had one, and what waited in it.
fn session(port: u16, client: &str, user: &str, filter: &str) -> (bool, usize) {
    let mut options = MqttOptions::new(client, "127.0.0.1", port);
    options.set_clean_start(false).set_session_expiry_interval(Some(600)).set_credentials(user, PASSWORD);
    let (library, mut connection) = Library::new(options, 8);
    let (mut was_there, mut waited) = (false, 0);
    for event in connection.iter() {
        match event.unwrap() {
            Event::Incoming(Packet::ConnAck(connack)) => {
                was_there = connack.session_present;
                library.subscribe(filter, QoS::AtLeastOnce).unwrap();
            }
            Event::Incoming(Packet::Publish(_)) => waited += 1,
            // What waits is sent before the next subscription is confirmed.
            Event::Incoming(Packet::SubAck(_)) => library.disconnect().unwrap(),
            Event::Outgoing(Outgoing::Disconnect) => break,
            _ => {}
        }
    }
    (was_there, waited)
}

/// What is left of a board's session, after another board has logged in with its own password and that board's id.
fn after_theft(broker: &Broker) -> (bool, usize) {
    let requests = "clipmark/v1/d/orin/cmd/+/+/req";
    assert_eq!(session(broker.port, "orin", "orin", requests), (false, 0));
    let mut operator =
        Client::connect_as(broker.port, "operator", &["clipmark/v1/d/+/state"], Some(("operator", PASSWORD)));
    publish(&operator, "clipmark/v1/d/orin/cmd/run/c1/req", b"{}");
    // Messages of one client are handled in their order: the request waits once this one is through.
    let nano = Client::connect_as(broker.port, "nano", &[], Some(("nano", PASSWORD)));
    nano.publish_retained("clipmark/v1/d/nano/state", b"{}");
    operator.wait("the other board's state", |seen| seen.topic.ends_with("nano/state").then_some(()));
    session(broker.port, "orin", "nano", "clipmark/v1/d/nano/receipt");
    session(broker.port, "orin", "orin", requests)
}

#[test]
fn a_board_with_its_own_password_and_anothers_id_does_not_take_over_the_session() {
    assert_eq!(after_theft(&generated(true)), (true, 1), "the request still waits");
    // What the settings prevent.
    assert_ne!(after_theft(&generated(false)), (true, 1));
}

#[test]
fn an_aggregator_warns_where_client_ids_are_not_bound_to_users() {
    for (are_bound, warns) in [(true, false), (false, true)] {
        let (broker, folder) = (generated(are_bound), tempfile::tempdir().unwrap());
        let log = folder.path().join("log");
        let _aggregator =
            aggregator_with_log(folder.path(), broker.port, fs::File::create(&log).unwrap().into());
        let mut operator = Client::connect_as(
            broker.port,
            "operator",
            &["clipmark/v1/agg/+/state"],
            Some(("operator", PASSWORD)),
        );
        operator.wait("an aggregator that is online", |seen| {
            String::from_utf8_lossy(&seen.payload).contains("online").then_some(())
        });
        let told = fs::read_to_string(&log).unwrap();
        assert_eq!(told.contains("lets any user take any client id"), warns, "{told}");
    }
}

#[test]
fn the_dynamic_security_plugin_takes_the_same_rules() {
    let libraries = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(|arch| format!("/usr/lib/{arch}"));
    let plugin = libraries.iter().map(|folder| format!("{folder}/mosquitto_dynamic_security.so"));
    let plugin = plugin.into_iter().find(|path| Path::new(path).exists());
    let plugin = plugin.expect("mosquitto's package brings the plugin along");
    let settings = format!(
        "allow_anonymous false\nplugin {plugin}\nplugin_opt_config_file {{dir}}/dynamic-security.json\n"
    );
    let mut broker = Broker::prepared(&settings);
    let file = broker.dir().join("dynamic-security.json");
    let mut init = Command::new("mosquitto_ctrl");
    init.args(["dynsec", "init"])
        .arg(&file)
        .args(["admin", PASSWORD])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    assert!(init.status().unwrap().success());
    broker.run();
    let script = broker.file("roles.sh", &acl(&["--form", "dynamic-security"]));
    let port = broker.port.to_string();
    for what in ["device", "fleet"] {
        let mut command = Command::new("sh");
        command.arg(&script).args([what, "-h", "127.0.0.1", "-p", &port, "-u", "admin", "-P", PASSWORD]);
        let output = command.env("DEVICE", "orin").env("PASSWORD", PASSWORD).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !told.contains("Error"), "{what}: {told}");
    }
    rules_hold(&broker);
}
