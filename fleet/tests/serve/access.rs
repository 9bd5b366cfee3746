//! The access rules that `acl` prints, held by a real mosquitto: its acl_file and its dynamic security plugin.

use crate::broker::Broker;
use crate::client::Client;
use crate::device::{confirmed, numbered, publish, send};
use clipmark_fleet::store::Store;
use clipmark_profile::message::Receipt;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PASSWORD: &str = "s3cret";

fn acl(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_clipmark-fleet")).arg("acl").args(arguments).output().unwrap();
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

#[test]
fn the_acl_file_lets_each_device_speak_for_itself_alone() {
    let mut broker =
        Broker::prepared("allow_anonymous false\npassword_file {dir}/passwords\nacl_file {dir}/acl\n");
    broker.file("acl", &acl(&[]));
    let passwords = broker.file("passwords", "");
    for user in ["orin", "operator", "fleet"] {
        let mut add = Command::new("mosquitto_passwd");
        assert!(add.args(["-b"]).arg(&passwords).args([user, PASSWORD]).status().unwrap().success());
    }
    broker.run();
    rules_hold(&broker);
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
