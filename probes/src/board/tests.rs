use super::*;

fn find(compatible: &[&str], vendor: Option<&str>) -> String {
    let fingerprint = Fingerprint {
        compatible: compatible.iter().map(|entry| (*entry).to_owned()).collect(),
        cpu_vendor: vendor.map(str::to_owned),
        ..Fingerprint::default()
    };
    Boards::embedded().unwrap().find(&fingerprint).id
}

#[test]
fn every_embedded_file_is_valid_and_named_after_its_id() {
    for (name, text) in EMBEDDED {
        let file = parse(Path::new(name), text).unwrap();
        assert_eq!(format!("{}.toml", file.id), *name);
    }
}

#[test]
fn patterns_fit_whole_texts() {
    let cases = [
        ("tj-thermal", "tj-thermal", true),
        ("tj-thermal", "tj-thermal2", false),
        ("*-throttle-alert", "cpu-throttle-alert", true),
        ("cpufreq-*", "cpufreq-cpu0", true),
        ("*+p3767-0005*", "nvidia,p3768-0000+p3767-0005-super", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("*", "", true),
        ("ab*ba", "aba", false),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(Pattern(pattern.into()).matches(text), expected, "{pattern} on {text}");
    }
}

#[test]
fn boards_with_the_same_soc_are_told_apart_by_their_module() {
    let super_kit = ["nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234"];
    assert_eq!(find(&super_kit, None), "orin-nano");
    assert_eq!(find(&["nvidia,p3768-0000+p3767-0000", "nvidia,tegra234"], None), "orin-nx");
    assert_eq!(find(&["nvidia,p3737-0000+p3701-0005", "nvidia,tegra234"], None), "agx-orin");
    assert_eq!(find(&["nvidia,p3509-0000+p3668-0001", "nvidia,tegra194"], None), "xavier-nx");
    assert_eq!(find(&["nvidia,p2972-0000", "nvidia,tegra194"], None), "agx-xavier");
    assert_eq!(find(&["raspberrypi,5-model-b", "brcm,bcm2712"], None), "raspberry-pi-5");
    assert_eq!(find(&["friendlyelec,cm3588", "rockchip,rk3588"], None), "rk3588");
}

#[test]
fn machines_without_a_device_tree_match_by_cpu_and_others_are_generic() {
    assert_eq!(find(&[], Some("GenuineIntel")), "x86");
    assert_eq!(find(&["vendor,x86-board"], Some("GenuineIntel")), "generic");
    assert_eq!(find(&["vendor,board"], None), "generic");
}

#[test]
fn a_directory_replaces_and_adds_boards() {
    let dir = tempfile::tempdir().unwrap();
    let mine = "id = \"orin-nx\"\nname = \"mine\"\n[match]\ncompatible = [\"vendor,carrier\"]\n";
    std::fs::write(dir.path().join("mine.toml"), mine).unwrap();
    let boards = Boards::embedded().unwrap().with_directory(dir.path()).unwrap();
    let carrier = Fingerprint { compatible: vec!["vendor,carrier".into()], ..Fingerprint::default() };
    let board = boards.find(&carrier);
    assert_eq!((board.id.as_str(), board.name.as_str()), ("orin-nx", "mine"));
    assert!(!board.harmless.is_empty(), "what the file leaves out comes from the generic board");
    std::fs::write(dir.path().join("bad.toml"), "id = \"x\"\nname = \"y\"\nunknown = 1\n").unwrap();
    assert!(Boards::embedded().unwrap().with_directory(dir.path()).is_err());
}
