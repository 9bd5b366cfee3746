//! A real clipmarkd that measures for a real aggregator.

use crate::aggregator::Aggregator;
use crate::broker::Broker;
use crate::client::Client;
use crate::clipmarkd;
use crate::command::{ended, spawn};
use crate::component::trials;
use clipmark_fleet::store::PointQuery;
use clipmark_profile::figures::Figure;
use clipmark_profile::message::Availability;
use libtest_mimic::Trial;
use std::process::{Child, Command, Stdio};

pub(crate) fn trials() -> Vec<Trial> {
    trials![&[clipmarkd::component()]; a_real_clipmarkd_measures_on_request_and_forgets_what_is_stored]
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn a_real_clipmarkd_measures_on_request_and_forgets_what_is_stored() {
    let broker = Broker::start();
    let aggregator = Aggregator::start(broker.port);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::create_dir(dir.path().join("models")).unwrap();
    let text = format!(
        "[device]\nid = \"bench\"\ngroups = [\"lab\"]\nstate_dir = \"{}\"\n[models]\ndir = \"{}\"\n[mqtt]\n\
         host = \"127.0.0.1\"\nport = {}\nbackoff_min_ms = 20\nbackoff_max_ms = 200\n",
        path("state"),
        path("models"),
        broker.port
    );
    std::fs::write(path("clipmarkd.toml"), text).unwrap();
    let plan = "models = [\"joint\"]\nbackends = [\"tract\"]\nclip_lengths = [4]\nbatch_sizes = [1, 2]\niterations = 5\n";
    std::fs::write(path("plan.toml"), plan).unwrap();
    let mut client = Client::connect(broker.port, "onlooker", &["clipmark/v1/d/bench/state"]);
    let daemon = Command::new(clipmarkd::path())
        .args(["serve", "--config", &path("clipmarkd.toml")])
        .env("CLIPMARK_LOG", "warn,rumqttc=error")
        .stdin(Stdio::null())
        .spawn();
    let _daemon = Killed(daemon.unwrap());
    client.online();
    let (output, told) =
        ended(spawn(&aggregator, &["trigger", "--group", "lab", "--plan", &path("plan.toml"), "--wait"]));
    assert!(output.status.success(), "{told}");
    client
        .state("nothing unconfirmed", |state| state.state == Availability::Online && state.unconfirmed == 0);
    let points = aggregator.store().points(&PointQuery::default()).unwrap();
    assert_eq!(points.len(), 2);
    assert!(
        points
            .iter()
            .all(|point| point.figures.figures.get(Figure::Iterations) == Some(5.0)
                && !point.identity.simulated)
    );
    let listed = aggregator.command(&["devices"]);
    assert!(listed.lines().any(|line| line.starts_with("bench") && line.contains("online")), "{listed}");
    let listed = aggregator.command(&["profiles"]);
    assert!(listed.contains("bench") && listed.contains("2/2"), "{listed}");
}
