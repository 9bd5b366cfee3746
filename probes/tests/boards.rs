//! Every captured board tree gives the readings expected of it.

use clipmark_probes::board::Boards;
use clipmark_probes::capture::capture;
use clipmark_probes::registry::Sensors;
use clipmark_probes::root::Root;
use clipmark_probes::state;
use clipmark_probes::tree::Tree;
use clipmark_profile::channel::ChannelKind;
use clipmark_profile::units::Nanos;
use std::path::Path;

fn root(fixture: &str, overlay: Option<&str>) -> Root {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let text =
        |name: &str| std::fs::read_to_string(dir.join(format!("{name}.txt"))).expect("the fixture exists");
    let mut tree = Tree::parse(&text(fixture)).expect("the fixture is a capture");
    if let Some(overlay) = overlay {
        tree.apply(&text(&format!("{fixture}.{overlay}.overlay"))).expect("the overlay is a capture");
    }
    Root::stored(tree)
}

fn sensors(fixture: &str, overlay: Option<&str>) -> Sensors {
    discover(&root(fixture, overlay))
}

fn discover(root: &Root) -> Sensors {
    Sensors::discover(root, &Boards::embedded().expect("embedded boards are valid"))
}

/// Names of the fixtures that are whole trees.
fn fixtures() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = std::fs::read_dir(dir).expect("the fixtures exist");
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".txt").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// What fixtures/totals.toml expects of a tree.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Total {
    fixture: String,
    overlay: Option<String>,
    board: String,
    topology: Option<String>,
    total_mw: Option<i64>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Totals {
    tree: Vec<Total>,
}

#[test]
fn total_power_counts_every_watt_once() {
    let totals: Totals = toml::from_str(include_str!("fixtures/totals.toml")).expect("the table is valid");
    for expected in &totals.tree {
        let mut sensors = sensors(&expected.fixture, expected.overlay.as_deref());
        let readings = sensors.read_settled(Nanos(0));
        let told = format!("{} {:?}", expected.fixture, expected.overlay);
        assert_eq!(sensors.board.id, expected.board, "{told}");
        assert_eq!(sensors.power_topology, expected.topology, "{told}");
        assert_eq!(sensors.total_power_mw(&readings), expected.total_mw, "{told}");
    }
    let fixtures = fixtures().len();
    assert_eq!(totals.tree.len(), fixtures, "every tree and overlay is in the table");
}

/// Every channel with its value and role, then every absence with its cause, as one text.
fn describe(sensors: &mut Sensors) -> String {
    let readings = sensors.read_settled(Nanos(0));
    let mut lines = vec![format!("board {}", sensors.board.id)];
    for (sensed, reading) in sensors.channels().zip(&readings) {
        let channel = &sensed.channel;
        let value = match reading {
            Ok(value) => format!("{value} {}", channel.kind.unit()),
            Err(fault) => format!("absent: {fault}"),
        };
        lines.push(format!("{} = {value} [{:?}]", channel.id, channel.role));
    }
    let absent = sensors.absent.iter().map(|absence| format!("{} absent: {}", absence.id, absence.cause));
    lines.extend(absent);
    let trips = sensors.trips.iter().map(|(id, kind, at)| format!("trip {id} {kind} {at}"));
    lines.extend(trips);
    lines.extend(sensors.notes.iter().map(|note| format!("note {note}")));
    let state = state::assess(sensors, &readings);
    lines.push(format!("throttling {:?}", state.throttling));
    lines.extend(state.reasons.iter().map(|reason| format!("because {reason}")));
    lines.extend(state.remarks.iter().map(|remark| format!("remark {remark}")));
    lines.join("\n")
}

#[test]
fn every_fixture_gives_its_expected_readings() {
    let names = fixtures();
    assert!(names.len() >= 11, "{names:?}");
    for name in names {
        let text = match name.split_once('.') {
            Some((fixture, overlay)) => {
                let overlay = overlay.strip_suffix(".overlay").expect("overlays are named so");
                let plain = describe(&mut sensors(fixture, None));
                let laid = describe(&mut sensors(fixture, Some(overlay)));
                let changed = laid.lines().filter(|line| !plain.lines().any(|other| other == *line));
                changed.collect::<Vec<_>>().join("\n")
            }
            None => describe(&mut sensors(&name, None)),
        };
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn a_capture_of_a_board_reads_as_the_board_does() {
    for name in fixtures().iter().filter(|name| !name.contains('.')) {
        let original = root(name, None);
        if original.moves() {
            // A capture holds one instant.
            continue;
        }
        let copy = Tree::parse(&capture(&original).to_text()).expect("a capture is in the format");
        let copy = Root::stored(copy);
        assert_eq!(describe(&mut discover(&copy)), describe(&mut discover(&original)), "{name}");
    }
}

#[test]
fn every_board_file_has_a_captured_tree() {
    let boards = Boards::embedded().expect("embedded boards are valid");
    let whole = fixtures().into_iter().filter(|name| !name.contains('.'));
    let seen: Vec<String> = whole.map(|name| sensors(&name, None).board.id).collect();
    let without: Vec<&str> =
        boards.ids().filter(|id| *id != "generic" && !seen.iter().any(|seen| seen == id)).collect();
    assert!(without.is_empty(), "boards without a tree in tests/fixtures: {without:?}");
}

#[test]
fn every_kind_of_channel_is_read_somewhere() {
    let mut unread: Vec<ChannelKind> = ChannelKind::ALL.to_vec();
    for name in fixtures().iter().filter(|name| !name.contains('.')) {
        let mut sensors = sensors(name, None);
        sensors.read(Nanos(0));
        let readings = sensors.read(Nanos::from_secs(1));
        for (sensed, reading) in sensors.channels().zip(&readings) {
            unread.retain(|kind| *kind != sensed.channel.kind || reading.is_err());
        }
    }
    assert!(unread.is_empty(), "kinds without a reading in tests/fixtures: {unread:?}");
}

#[test]
fn ids_are_unique_on_every_board() {
    for name in fixtures().iter().filter(|name| !name.contains('.')) {
        let sensors = sensors(name, None);
        let mut ids: Vec<&str> = sensors.channels().map(|sensed| sensed.channel.id.as_str()).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{name}");
    }
}
