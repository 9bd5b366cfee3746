//! Boards that read badly, through the real binary: captured trees of probes/tests/fixtures with series laid over
//! them, on the clock of a simulated engine.

use super::{code, errors, folder_with, json, run, text};
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// 20 ms an inference, steady.
const STEADY: &str = "[variant]\nseed = 3\n[variant.noise]\nsigma = 0.02\n[variant.latency]\nfixed_us = 20000.0\nlinear_us = 0.0\n";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../probes/tests/fixtures").join(format!("{name}.txt"))
}

/// A soak of `variant` on the board `name` with `overlay` laid over it, into the folder `o`.
fn soak(name: &str, overlay: &str, variant: &str, more: &str) -> (TempDir, PathBuf, Output) {
    let (keep, folder) = folder_with(variant);
    std::fs::write(folder.join("overlay.txt"), overlay).expect("writable");
    let board = fixture(name).display().to_string();
    let mut arguments =
        vec!["run", "--simulate", "variant.toml", "--out", "o", "--soak-only", "--point", "1,8"];
    arguments.extend(["--root", &board, "--overlay", "overlay.txt"]);
    arguments.extend(more.split_whitespace());
    let output = run(&folder, &arguments);
    (keep, folder, output)
}

fn the_soak(folder: &Path) -> serde_json::Value {
    json(&folder.join("o/profile.json"))["soaks"][0].clone()
}

const MAIN: &str = "/sys/devices/virtual/thermal/thermal_zone6/temp";
const TJ: &str = "/sys/devices/virtual/thermal/thermal_zone8/temp";
const GPU: &str = "/sys/devices/virtual/thermal/thermal_zone1/temp";

#[test]
fn a_limit_is_kept_on_the_hottest_zone_where_none_is_known_to_be_the_chips() {
    let overlay = format!("{MAIN}\t@ramp 0:55000,60000:95000\n");
    let (_keep, folder, output) = soak("am68-sk", &overlay, STEADY, "--soak 60s --abort-celsius 70");
    assert_eq!(code(&output), 10, "{}", errors(&output));
    assert!(errors(&output).contains("none of which is known to be the chip's"), "{}", errors(&output));
    let aborted = the_soak(&folder)["aborted"].as_str().expect("it was aborted").to_owned();
    assert!(aborted.contains("temp.main4-thermal read 7") && aborted.contains("70.0"), "{aborted}");
    assert!(the_soak(&folder)["inferences"].as_u64().is_some_and(|count| count > 100), "{aborted}");
}

#[test]
fn a_limit_that_nothing_can_keep_is_refused_before_the_run() {
    let refused = |name: &str, more: &str| {
        let (_keep, folder, output) = soak(name, "", STEADY, &format!("--soak 20s {more}"));
        assert_eq!(code(&output), 2, "{name}: {}", errors(&output));
        assert!(!folder.join("o").exists(), "{name}: nothing was begun");
        errors(&output)
    };
    let unknown = refused("acpi-only", "--abort-celsius 80");
    assert!(unknown.contains("80 \u{b0}C (--abort-celsius) cannot be kept"), "{unknown}");
    assert!(unknown.contains("thermal.junction"), "{unknown}");
    let blind = refused("am68-sk", "--abort-celsius 80 --no-sampler");
    assert!(blind.contains("the sampler is off"), "{blind}");
    let too_high = refused("am68-sk", "--abort-celsius 140");
    assert!(too_high.contains("125"), "{too_high}");
}

#[test]
fn a_glitch_ends_no_run_and_two_hot_readings_do() {
    let board = "agx-orin_jp5_gpu-minus256";
    let glitch = format!("{TJ}\t@series 0:44500,12500:85000,13500:44500,20500:-650789,21500:44500\n");
    let (_keep, folder, output) = soak(board, &glitch, STEADY, "--soak 30s --abort-celsius 80");
    assert_eq!(code(&output), 0, "{}", errors(&output));
    assert_eq!(the_soak(&folder)["aborted"], serde_json::Value::Null);
    let hot = format!("{TJ}\t@series 0:44500,12500:85000\n");
    let (_keep, folder, output) = soak(board, &hot, STEADY, "--soak 30s --abort-celsius 80");
    assert_eq!(code(&output), 10, "{}", errors(&output));
    let aborted = the_soak(&folder)["aborted"].to_string();
    assert!(aborted.contains("temp.tj-therm read 85.0"), "{aborted}");
}

#[test]
fn a_limit_whose_zone_falls_silent_ends_the_run_and_says_so() {
    let silent = format!("{TJ}\t@series 0:44500,12500:!EIO\n");
    let board = "agx-orin_jp5_gpu-minus256";
    let (_keep, folder, output) = soak(board, &silent, STEADY, "--soak 60s --abort-celsius 80");
    assert_eq!(code(&output), 10, "{}", errors(&output));
    let aborted = the_soak(&folder)["aborted"].to_string();
    assert!(aborted.contains("could not be kept"), "{aborted}");
}

#[test]
fn a_gpu_that_wakes_up_does_not_hold_the_gate_and_leaves_no_peak_of_its_own() {
    let waking = format!("{GPU}\t@series 0:-256000,3000:47000\n");
    let (_keep, folder, output) = soak("agx-orin_jp5_gpu-minus256", &waking, STEADY, "--soak 30s");
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let soak = the_soak(&folder);
    assert_eq!(soak["gate"]["passed"], true, "{soak}");
    assert_eq!(soak["gate"]["waited"], 0, "{soak}");
    assert!(!text(&output).contains("-256.0"), "{}", text(&output));
}

#[test]
fn idle_injection_is_throttling_and_named() {
    let overlay =
        std::fs::read_to_string(fixture("qcs6490-rb3gen2.idle-injection.overlay")).expect("an overlay");
    let slower = format!("{STEADY}[[variant.throttle]]\nat_s = 28.0\nfactor = 1.6\n");
    let (_keep, folder, output) = soak("qcs6490-rb3gen2", &overlay, &slower, "--soak 120s");
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let soak = the_soak(&folder);
    assert_eq!(soak["throttles"][0]["cause"], "thermal", "{soak}");
    let evidence = soak["throttles"][0]["evidence"].to_string();
    assert!(evidence.contains("cooling.idle-cpu4 became active (state 50)"), "{evidence}");
}

#[test]
fn a_dead_platform_counter_leaves_the_package_as_the_total() {
    let (_keep, folder, output) = soak("laptop_psys-dead", "", STEADY, "--soak 60s");
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let power = the_soak(&folder)["energy"]["mean_power_mw"].as_f64().expect("an energy");
    assert!((power - 15_000.0).abs() < 20.0, "{power}");
}

#[test]
fn no_line_of_a_reading_is_empty_on_any_board() {
    let folder = TempDir::new().expect("a temporary folder");
    let fixtures = std::fs::read_dir(fixture("x").with_file_name("")).expect("the fixtures");
    let names = fixtures.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let boards: Vec<String> =
        names.filter(|name| name.ends_with(".txt") && !name.contains(".overlay")).collect();
    assert!(boards.len() > 20, "{boards:?}");
    for board in boards {
        let path = fixture(board.trim_end_matches(".txt")).display().to_string();
        let output = run(folder.path(), &["probe", "read", "--root", &path]);
        assert_eq!(code(&output), 0, "{board}: {}", errors(&output));
        let empty = text(&output).lines().filter(|line| line.trim().is_empty()).count();
        assert_eq!(empty, 0, "{board}: {}", text(&output));
    }
}
