//! The commands that read the store, as processes: what they say where there is no store, nothing that matches,
//! or no broker.

#![expect(clippy::unwrap_used, reason = "helpers fail a test")]

#[path = "../common/place.rs"]
mod place;
#[expect(dead_code, reason = "shared with the store's suite, which uses all of it")]
#[path = "../common/records.rs"]
mod records;

use clipmark_profile::example;
use place::Place;
use std::fs;
use std::path::Path;

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_command_that_reads_makes_no_store_and_says_where_it_looked() {
    let place = Place::new();
    for arguments in [
        ["devices"].as_slice(),
        &["profiles"],
        &["models"],
        &["export"],
        &["prune"],
        &["compare", "1", "2"],
        &["report", "cohort"],
        &["report", "device", "orin-7"],
    ] {
        let (code, out, told) = place.run(arguments);
        assert_eq!((code, out.as_str()), (5, ""), "{arguments:?}: {told}");
        let wanted = format!(
            "there is no store at {}; `clipmark-fleet serve` makes it; check store.path in {}",
            shown(&place.database()),
            shown(&place.config())
        );
        assert!(told.contains(&wanted), "{arguments:?}: {told}");
        assert!(!place.database().parent().unwrap().exists(), "{arguments:?} made a directory");
    }
    // A file that is there but holds nothing is no store either.
    fs::create_dir(place.database().parent().unwrap()).unwrap();
    fs::write(place.database(), "").unwrap();
    let (code, _, told) = place.run(&["devices"]);
    assert!(code == 5 && told.contains("there is no store at"), "{told}");
}

#[test]
fn another_programs_database_is_no_store_and_stays_as_it_is() {
    let place = Place::new();
    fs::create_dir(place.database().parent().unwrap()).unwrap();
    let other = rusqlite::Connection::open(place.database()).unwrap();
    other.execute_batch("CREATE TABLE recipe (name TEXT); INSERT INTO recipe VALUES ('bread')").unwrap();
    drop(other);
    let before = fs::read(place.database()).unwrap();
    let (code, _, told) = place.run(&["devices"]);
    assert!(code == 5 && told.contains("there is no store at"), "{told}");
    assert_eq!(fs::read(place.database()).unwrap(), before);
    fs::write(place.database(), "not a database at all, but long enough to be looked at").unwrap();
    let (code, _, told) = place.run(&["devices"]);
    assert!(code == 5 && told.contains("file is not a database"), "{told}");
}

#[test]
fn what_finds_nothing_says_how_much_there_is_and_how_more_comes_about() {
    let place = Place::new();
    place.fill(&[]);
    let held =
        format!("the store {} holds 0 devices and 0 profiles; boards appear when", shown(&place.database()));
    for (arguments, what) in [
        (["devices"], "no device matches"),
        (["profiles"], "no profile matches"),
        (["models"], "no model has been measured"),
        (["export"], "no point matches"),
    ] {
        let (code, _, told) = place.run(&arguments);
        assert_eq!(code, 7, "{told}");
        assert!(told.starts_with(&format!("{what}; {held}")), "{told}");
    }
    place.fill(&[records::record("orin-7", 1, 1)]);
    let (code, _, told) = place.run(&["devices", "--board", "nowhere"]);
    assert!(code == 7 && told.contains("holds 1 device and 1 profile;"), "{told}");
}

#[test]
fn an_export_has_its_heading_without_rows_and_says_where_it_stopped() {
    let place = Place::new();
    place.fill(&[records::record("orin-7", 1, 1)]);
    let (code, out, _) = place.run(&["export", "--model", "nowhere"]);
    assert_eq!((code, out.lines().count()), (7, 1));
    assert!(out.starts_with("device,profile,received_unix_ms,"), "{out}");
    let (code, out, told) = place.run(&["export", "--limit", "10"]);
    assert_eq!((code, out.lines().count()), (0, 11));
    assert_eq!(told, "stopped at --limit 10; there may be more\n");
    let (code, out, told) = place.run(&["export"]);
    assert_eq!((code, out.lines().count(), told.as_str()), (0, 28, ""));
}

#[test]
fn what_was_not_soaked_is_shown_as_unknown_not_as_unthrottled() {
    let place = Place::new();
    place.fill(&[records::record("orin-7", 1, 1)]);
    let (_, out, _) = place.run(&["export", "--limit", "2"]);
    assert_eq!(column(&out, "throttled"), ["", ""]);
    let (_, out, _) = place.run(&["devices"]);
    let (heading, line) = out.split_once('\n').unwrap();
    let at = heading.find("throttled").unwrap();
    assert_eq!(line[at..].split_whitespace().next(), Some("-"), "{out}");
}

/// One column of a CSV.
fn column(text: &str, name: &str) -> Vec<String> {
    let at = text.lines().next().unwrap().split(',').position(|heading| heading == name).unwrap();
    text.lines().skip(1).map(|line| line.split(',').nth(at).unwrap().to_owned()).collect()
}

#[test]
fn figures_of_boards_that_changed_are_compared_in_their_common_state_and_that_is_said() {
    let place = Place::new();
    let still = records::record("orin-7", 1, 1);
    let drifted = example::drifted(records::profile("drifted"), 1.25);
    let moved = records::received("orin-8", &records::profile_envelope(2, 1, &drifted));
    place.fill(&[still, moved]);
    let (_, out, _) = place.run(&["export"]);
    let (devices, measured) = (column(&out, "device"), column(&out, "p99_ns"));
    for (index, comparable) in column(&out, "comparable_p99_ns").iter().enumerate() {
        if devices[index] == "orin-7" {
            assert_eq!(comparable, "", "absent where the board held still");
            continue;
        }
        let ratio = comparable.parse::<f64>().unwrap() / measured[index].parse::<f64>().unwrap();
        assert!((ratio - 1.25).abs() < 1e-3, "{ratio}");
    }
    let (code, out, told) = place.run(&["report", "compare", "1", "2"]);
    assert_eq!(code, 9, "a quarter slower in its state at the end: {out}{told}");
    let row = out.lines().find(|line| line.starts_with("state of the figures")).unwrap_or_default();
    let words = row.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        words, "state of the figures as measured the board's at the end of the sweep, estimated",
        "{out}"
    );
    assert!(out.contains("board during the sweep: held still, figures as measured in the baseline"), "{out}");
    let (code, out, told) = place.run(&["report", "cohort", "--batch", "1", "--clip", "16"]);
    assert_eq!(code, 0, "{told}");
    assert!(out.contains("In 1 of 2 runs the board changed while it was measured"), "{out}");
}

#[test]
fn devices_are_found_by_a_part_of_their_board_model() {
    let place = Place::new();
    place.fill(&[records::record("orin-7", 1, 1)]);
    let (code, out, told) = place.run(&["devices", "--board", "ORIN nano"]);
    assert!(code == 0 && out.contains("orin-7"), "{out}{told}");
}

#[test]
fn a_broker_that_is_not_there_is_named_with_the_keys_that_name_it() {
    let place = Place::new();
    for arguments in
        [["trigger", "--all"].as_slice(), &["watch"], &["cancel", "c-1"], &["models", "--remote"]]
    {
        let (code, _, told) = place.run(arguments);
        let wanted = format!("(settings are in {})", shown(&place.config()));
        assert!(code == 8 && told.contains(&wanted), "{arguments:?}: {told}");
    }
}

#[test]
fn a_profile_is_written_under_the_former_name_of_the_option_too() {
    let place = Place::new();
    place.fill(&[records::record("orin-7", 1, 1)]);
    for option in ["--out", "--output"] {
        let file = place.0.path().join(option);
        let (code, _, told) = place.run(&["profiles", "--get", "1", option, &shown(&file)]);
        assert!(code == 0 && fs::metadata(&file).unwrap().len() > 0, "{told}");
    }
}
