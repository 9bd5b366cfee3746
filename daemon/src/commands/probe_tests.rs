use super::*;
use clipmark_probes::tree::Tree;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../probes/tests/fixtures").join(format!("{name}.txt"))
}

fn report(name: &str, overlay: Option<&str>) -> Report {
    let overlays = overlay.map(|overlay| fixture(&format!("{name}.{overlay}.overlay")));
    let args = BoardArgs { root: fixture(name), overlays: overlays.into_iter().collect(), boards: None };
    let (root, boards) = args.open().unwrap();
    Report::read(&root, &boards, Nanos(0))
}

#[test]
fn a_reading_tells_total_power_throttle_state_and_every_absence_with_its_cause() {
    let text = report("orin-nano-super_jp6", Some("oc3-throttle")).to_text();
    assert!(text.contains("total power  9.310 W = VDD_IN (whole module"), "{text}");
    assert!(text.contains("throttling   active"), "{text}");
    assert!(text.contains("cpu0 runs at 862 MHz while 1728 MHz is requested"), "{text}");
    assert!(text.contains("overcurrent.oc3 counted 27405 since boot"), "{text}");
    assert!(text.contains("temp.cv0-thermal") && text.contains("EAGAIN"), "{text}");
}

#[test]
fn clocks_that_were_let_go_are_no_throttling() {
    let report = report("orin-nano-super_jp6", Some("clocks-lost"));
    assert_eq!(report.throttling.state, "none");
    assert!(report.throttling.remarks.iter().any(|remark| remark.contains("clocks are not held")));
}

#[test]
fn the_json_form_has_a_value_or_a_cause_for_every_channel() {
    for name in ["agx-orin_jp6", "x86-laptop", "rpi5", "thor_jp7"] {
        let json: serde_json::Value = serde_json::from_str(&report(name, None).to_json().unwrap()).unwrap();
        let channels = json["channels"].as_array().unwrap();
        assert!(channels.len() > 10, "{name}");
        for channel in channels {
            let (value, absent) = (&channel["value"], &channel["absent"]);
            assert!(value.is_null() != absent.is_null(), "{name}: {channel}");
            assert!(value.is_null() || channel["source"].is_string(), "{name}: {channel}");
        }
    }
}

#[test]
fn a_captured_board_can_be_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("board.txt");
    let root = Root::open(&fixture("nano_jp4")).unwrap();
    let said = write_capture(&root, &file).unwrap();
    assert!(said.contains("entries in"), "{said}");
    let args = BoardArgs { root: file, overlays: Vec::new(), boards: None };
    let (copy, boards) = args.open().unwrap();
    assert_eq!(Report::read(&copy, &boards, Nanos(0)).total_power_mw, Some(933));
    let nowhere = dir.path().join("none/board.txt");
    assert_eq!(write_capture(&root, &nowhere).unwrap_err().code, ExitCode::Storage);
}

#[test]
fn a_root_that_is_no_tree_is_a_usage_error() {
    let args = BoardArgs { root: "/nonexistent".into(), overlays: Vec::new(), boards: None };
    assert_eq!(args.open().unwrap_err().code, ExitCode::Usage);
}

#[test]
fn energy_counters_of_a_moving_capture_give_power() {
    let text = "/proc/cpuinfo\tvendor_id : GenuineIntel\n\
        /sys/class/powercap/intel-rapl:0/name\tpackage-0\n\
        /sys/class/powercap/intel-rapl:0/max_energy_range_uj\t1000000000\n\
        /sys/class/powercap/intel-rapl:0/energy_uj\t@ramp 0:0,10000:150000000\n";
    let root = Root::stored(Tree::parse(text).unwrap());
    let report = Report::read(&root, &Boards::embedded().unwrap(), Nanos::from_secs(5));
    assert_eq!(report.total_power_mw, Some(15_000));
}
