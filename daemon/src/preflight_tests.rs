use super::*;
use clipmark_probes::board::Boards;
use clipmark_probes::tree::Tree;
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
fn rails_that_only_root_may_read_name_the_capability_that_opens_them() {
    let (rails, mend) = standing(&check("xavier-nx_jp5", &[real()]), "power rails");
    assert_eq!(rails, Standing::Advised);
    assert!(mend.contains("setcap cap_dac_read_search"), "{mend}");
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

#[test]
fn every_gap_comes_with_a_way_to_mend_it() {
    for fixture in ["agx-orin_jp6", "rpi5", "x86-laptop", "nano_jp4", "rk3588_cm3588", "thor_jp7"] {
        for requirement in check(fixture, &[]) {
            assert_eq!(
                requirement.mend.is_some(),
                requirement.standing.is_gap(),
                "{fixture}: {requirement:?}"
            );
        }
    }
}

fn unusable(name: &str, cause: &str) -> BackendCheck {
    (name.to_owned(), Err(cause.to_owned()))
}

#[test]
fn a_backend_that_can_be_installed_comes_with_the_command_that_does_it() {
    let backends = [
        unusable("onnxruntime", "ONNX Runtime is not installed where clipmark looks for it"),
        unusable("tensorrt", "TensorRT (libnvinfer) was not found (tried libnvinfer.so.10)"),
        unusable("trtexec", "trtexec cannot be run as /usr/src/tensorrt/bin/trtexec"),
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
fn what_needs_an_nvidia_gpu_does_not_concern_a_machine_without_one() {
    let backends = [unusable("tensorrt", "libcuda.so.1 was not found"), unusable("trtexec", "cannot be run")];
    let standings = |fixture: &str| {
        let list = check(fixture, &backends);
        ["backend tensorrt", "backend trtexec"].map(|name| standing(&list, name).0)
    };
    assert_eq!(standings("rpi5"), [Standing::NotApplicable; 2]);
    assert_eq!(standings("orin-nano-super_jp6"), [Standing::Advised; 2]);
}

#[test]
fn without_a_real_backend_nothing_can_be_measured() {
    let broken = ("tensorrt".to_owned(), Err("libnvinfer.so.10 is missing".to_owned()));
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
