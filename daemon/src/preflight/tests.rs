use super::*;
use clipmark_probes::board::Boards;
use clipmark_probes::tree::Tree;
use clipmark_profile::record::{Cause, Failure, Stage};
use std::path::PathBuf;

fn check(fixture: &str, backends: &[BackendCheck]) -> Vec<Requirement> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probes/tests/fixtures");
    let text = std::fs::read_to_string(dir.join(format!("{fixture}.txt"))).unwrap();
    let root = Root::stored(Tree::parse(&text).unwrap());
    let sensors = Sensors::discover(&root, &Boards::embedded().unwrap());
    let found = environment::read(&root, &sensors.board, "0.0.0");
    requirements(&root, &sensors, &found, backends, &PathBuf::from("/nonexistent/models"))
}

fn standing(list: &[Requirement], name: &str) -> (Standing, String) {
    let requirement = list.iter().find(|requirement| requirement.name == name).unwrap();
    (requirement.standing, requirement.mend.clone().unwrap_or_default())
}

fn real() -> BackendCheck {
    let record = BackendRecord {
        name: "tract".into(),
        version: "1".into(),
        device: "cpu".into(),
        simulated: false,
        notes: Vec::new(),
    };
    ("tract".to_owned(), Ok(record))
}

#[test]
fn rails_that_only_root_may_read_are_opened_to_the_daemon_and_to_nobody_else() {
    let (rails, mend) = standing(&check("xavier-nx_jp5", &[real()]), "power rails");
    assert_eq!(rails, Standing::Advised);
    assert!(mend.contains("check --drop-in --install") && !mend.contains("setcap"), "{mend}");
}

#[test]
fn a_board_in_order_is_satisfied_and_a_loaded_one_told_so() {
    let list = check("orin-nano-super_jp6", &[real()]);
    for name in
        ["board file", "power rails", "temperature", "debugfs", "power mode", "clocks held", "backend tract"]
    {
        assert_eq!(standing(&list, name).0, Standing::Satisfied, "{name}");
    }
    assert_eq!(standing(&list, "nothing else running").0, Standing::Advised);
    let (models, mend) = standing(&list, "model directory");
    assert_eq!(models, Standing::Advised);
    assert!(mend.contains("install -d -m 0755 /nonexistent/models"), "{mend}");
}

/// Names of the captured trees.
fn fixtures() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probes/tests/fixtures");
    let names =
        std::fs::read_dir(dir).unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names = names.filter_map(|name| name.strip_suffix(".txt").map(str::to_owned));
    names.filter(|name| !name.contains('.')).collect()
}

#[test]
fn every_gap_comes_with_a_way_to_mend_it() {
    for fixture in fixtures() {
        for requirement in check(&fixture, &[]) {
            assert_eq!(
                requirement.mend.is_some(),
                requirement.standing.is_gap(),
                "{fixture}: {requirement:?}"
            );
        }
    }
}

#[test]
fn no_board_is_advised_what_only_helps_another() {
    for fixture in fixtures() {
        let list = check(&fixture, &[]);
        let (debugfs, mend) = standing(&list, "debugfs");
        let is_jetson = list[0].found.contains("Jetson");
        assert!(is_jetson || debugfs == Standing::NotApplicable, "{fixture}: {mend}");
        assert!(is_jetson || !standing(&list, "clocks held").1.contains("jetson_clocks"), "{fixture}");
    }
}

#[test]
fn cpus_that_are_offline_do_not_count_as_clocks_that_follow_the_load() {
    for fixture in ["x86_cpu-offline", "x86_psys-guarded"] {
        assert_eq!(standing(&check(fixture, &[]), "clocks held").0, Standing::Satisfied, "{fixture}");
    }
    let fixed = check("am68-sk", &[]);
    assert_eq!(standing(&fixed, "clocks held").0, Standing::NotApplicable);
}

#[test]
fn advice_on_power_fits_what_is_missing() {
    let mend = |fixture: &str| standing(&check(fixture, &[]), "power rails").1;
    assert!(mend("ls1046a-8xina226").contains("power.total"), "{}", mend("ls1046a-8xina226"));
    assert!(mend("amd-apu_average-only").contains("--drop-in --install"), "{}", mend("amd-apu_average-only"));
    assert!(mend("rpi5").contains("external meter"), "{}", mend("rpi5"));
    assert_eq!(standing(&check("laptop_psys-dead", &[]), "power rails").0, Standing::Satisfied);
}

#[test]
fn a_board_that_a_container_hides_is_known_by_what_is_left_or_told_how_to_show_itself() {
    assert_eq!(standing(&check("orin-nx_container", &[]), "board file").0, Standing::Satisfied);
    for fixture in ["tegra_container", "arm_container"] {
        let (board, mend) = standing(&check(fixture, &[]), "board file");
        assert_eq!(board, Standing::Advised, "{fixture}");
        assert!(mend.contains("systempaths=unconfined"), "{fixture}: {mend}");
    }
}

#[test]
fn a_board_whose_zones_have_other_names_still_has_a_temperature() {
    for fixture in ["am68-sk", "nano_mainline", "qcs6490-rb3gen2", "rdk-x5", "ls1046a-8xina226"] {
        assert_eq!(standing(&check(fixture, &[]), "temperature").0, Standing::Satisfied, "{fixture}");
    }
    assert_eq!(standing(&check("acpi-only", &[]), "temperature").0, Standing::Advised);
}

fn unusable(name: &str, missing: Option<MissingPart>) -> BackendCheck {
    let failure = Failure {
        stage: Stage::Load,
        cause: Cause::BackendUnavailable,
        message: "it is not here".to_owned(),
    };
    (name.to_owned(), Err(Unusable { failure, missing }))
}

#[test]
fn a_backend_that_can_be_installed_comes_with_the_command_that_does_it() {
    let backends = [
        unusable("onnxruntime", Some(MissingPart::Runtime)),
        unusable("tensorrt", Some(MissingPart::Runtime)),
        unusable("trtexec", Some(MissingPart::Runtime)),
    ];
    let list = check("agx-orin_jp6", &backends);
    for (name, command) in [
        ("onnxruntime", "pip install onnxruntime"),
        ("tensorrt", "sudo apt install tensorrt"),
        ("trtexec", "sudo apt install libnvinfer-bin"),
    ] {
        let expected = (Standing::Advised, command.to_owned());
        assert_eq!(standing(&list, &format!("backend {name}")), expected);
    }
}

#[test]
fn a_jetson_is_not_sent_to_the_tools_of_a_pc() {
    let list = check("nano_cold", &[unusable("tensorrt", Some(MissingPart::Driver))]);
    let (_, mend) = standing(&list, "backend tensorrt");
    assert!(mend.contains("nvidia-l4t-cuda") && !mend.contains("nvidia-smi"), "{mend}");
}

#[test]
fn what_needs_an_nvidia_gpu_does_not_concern_a_machine_without_one() {
    let missing = Some(MissingPart::Driver);
    let backends = [unusable("tensorrt", missing), unusable("trtexec", Some(MissingPart::Runtime))];
    let standings = |fixture: &str| {
        let list = check(fixture, &backends);
        ["backend tensorrt", "backend trtexec"].map(|name| standing(&list, name).0)
    };
    assert_eq!(standings("rpi5"), [Standing::NotApplicable; 2]);
    assert_eq!(standings("orin-nano-super_jp6"), [Standing::Advised; 2]);
}

#[test]
fn without_a_real_backend_nothing_can_be_measured() {
    let broken = unusable("tensorrt", None);
    let list = check("agx-orin_jp6", std::slice::from_ref(&broken));
    assert_eq!(standing(&list, "a real backend").0, Standing::Missed);
    let list = check("agx-orin_jp6", &[broken, real()]);
    assert!(list.iter().all(|requirement| requirement.standing != Standing::Missed));
}

#[test]
fn an_ungoverned_board_names_the_command_that_holds_its_clocks() {
    assert!(standing(&check("nano_jp4", &[]), "clocks held").1.contains("jetson_clocks"));
    assert!(standing(&check("rk3588_cm3588", &[]), "clocks held").1.contains("scaling_governor"));
}
