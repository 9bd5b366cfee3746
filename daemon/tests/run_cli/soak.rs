//! Soaks through the real binary, on a virtual clock.

use super::{code, errors, folder_with, json, run, text};
use std::path::Path;

fn words(path: &Path) -> Vec<u64> {
    let bytes = std::fs::read(path).expect("the array");
    bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))).collect()
}

fn soak(variant: &str, more: &str) -> serde_json::Value {
    let (keep, folder) = folder_with(variant);
    let arguments = format!("run --simulate variant.toml --no-sampler --out o {more}");
    let output = run(&folder, &arguments.split_whitespace().collect::<Vec<_>>());
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let profile = json(&folder.join("o/profile.json"));
    for (index, soak) in profile["soaks"].as_array().expect("soaks").iter().enumerate() {
        let directory = folder.join(format!("o/record/soaks/{index:04}"));
        let (completed, latencies) =
            (words(&directory.join("completed.u64")), words(&directory.join("latencies.u64")));
        assert_eq!(completed.len(), latencies.len());
        assert_eq!(soak["inferences"], completed.len());
        assert!(completed.windows(2).all(|pair| pair[0] <= pair[1]), "completions are in order");
    }
    drop(keep);
    profile
}

const STEADY: &str =
    "[variant]\n[variant.noise]\nsigma = 0.0\n[variant.latency]\nfixed_us = 2000.0\nlinear_us = 0.0\n";

#[test]
fn a_soak_alone_measures_the_given_point_for_its_length() {
    let profile = soak(STEADY, "--soak 20s --soak-only --point 1,8");
    let soaks = profile["soaks"].as_array().expect("soaks");
    assert_eq!(soaks.len(), 1);
    let soak = &soaks[0];
    // 2 ms each for 20 s of the engine's own time.
    assert_eq!(soak["duration_ms"].as_u64().map(|ms| ms / 100), Some(200), "{soak}");
    assert_eq!(soak["inferences"].as_u64().map(|count| count.div_ceil(100)), Some(100), "{soak}");
    assert_eq!(soak["aborted"], serde_json::Value::Null);
    assert_eq!(soak["throttles"].as_array().map(Vec::len), Some(0));
    // Nothing was swept, so nothing is said of points that a sweep would have measured.
    let objectives: Vec<_> = profile["operating_points"]
        .as_array()
        .expect("operating points")
        .iter()
        .map(|point| point["objective"].as_str().expect("an objective").to_owned())
        .collect();
    assert_eq!(objectives, ["sustained_streaming", "sustained_offline", "sustained_efficiency"]);
}

#[test]
fn a_paced_soak_keeps_the_streams_schedule_across_chunks() {
    let profile = soak(STEADY, "--soak 20s --soak-only --point 1,8 --load paced --fps 40");
    let soak = &profile["soaks"][0];
    // A clip of 8 frames at 40 frames a second every 200 ms; the arrival at the very end may count.
    let inferences = soak["inferences"].as_u64().expect("a count");
    assert!((100..=101).contains(&inferences), "{soak}");
}

#[test]
fn a_slowdown_of_the_engine_shows_as_segments() {
    let variant = format!("{STEADY}[[variant.throttle]]\nat_s = 30.0\nfactor = 1.5\n");
    let profile = soak(&variant, "--soak 60s --soak-only --point 1,8");
    let soak = &profile["soaks"][0];
    let segments = soak["segments"].as_array().expect("segments");
    assert_eq!(segments.len(), 2, "{soak}");
    let onset = segments[1]["start_ms"].as_u64().expect("a start");
    assert!(onset.abs_diff(30_000) <= 1000, "{onset}");
}

#[test]
fn after_a_sweep_the_chosen_points_are_soaked() {
    let profile = soak(STEADY, "--clip-lengths 8,16 --batch-sizes 1,2 --iterations 40 --soak 3s");
    let soaks = profile["soaks"].as_array().expect("soaks");
    assert!((1..=3).contains(&soaks.len()), "{}", soaks.len());
    let chosen: Vec<_> = profile["operating_points"]
        .as_array()
        .expect("operating points")
        .iter()
        .filter_map(|point| point["chosen"].as_array()?.first().cloned())
        .collect();
    for soak in soaks {
        assert!(chosen.contains(&soak["id"]), "{} is not chosen: {chosen:?}", soak["id"]);
    }
}

#[test]
fn an_engine_that_crashes_ends_its_soak_and_keeps_what_was_measured() {
    let variant = format!(
        "{STEADY}[[fault]]\nkind = \"crash\"\nstage = \"measure\"\nbatch_size = 1\nclip_length = 1\n\
         after_iterations = 2000\n"
    );
    let (_keep, folder) = folder_with(&variant);
    let arguments = "run --simulate variant.toml --no-sampler --out o --soak 20s --soak-only --point 1,8";
    let output = run(&folder, &arguments.split_whitespace().collect::<Vec<_>>());
    let profile = json(&folder.join("o/profile.json"));
    let soak = &profile["soaks"][0];
    assert_eq!(soak["failure"]["cause"], "crashed", "{}", errors(&output));
    assert!(soak["inferences"].as_u64().is_some_and(|count| count > 500), "{soak}");
}

/// What the fixture's input stands at.
const INPUT_V: f64 = 5.016;

#[test]
fn a_captured_board_that_heats_up_is_soaked_end_to_end() {
    let variant = include_str!("heat.toml");
    let (_keep, folder) = folder_with(variant);
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let board = tests.join("../probes/tests/fixtures/orin-nano-super_jp6.txt");
    let heat = tests.join("tests/run_cli/heat.overlay.txt");
    let mut arguments = "run --simulate variant.toml --out o --soak 300s --soak-only --point 1,8 --root"
        .split(' ')
        .collect::<Vec<_>>();
    let (board, heat) = (board.display().to_string(), heat.display().to_string());
    arguments.extend([board.as_str(), "--overlay", heat.as_str()]);
    let output = run(&folder, &arguments);
    assert_eq!(code(&output), 0, "{}", errors(&output));

    let profile = json(&folder.join("o/profile.json"));
    let soak = &profile["soaks"][0];
    assert_eq!(soak["gate"]["passed"], true, "{soak}");
    let throttles = soak["throttles"].as_array().expect("throttles");
    assert_eq!(throttles.len(), 1, "{soak}");
    assert_eq!(throttles[0]["cause"], "thermal");
    near(&throttles[0]["onset_ms"], 120_000.0, 2_000.0);
    near(&soak["time_to_throttle_ms"], 120_000.0, 2_000.0);
    near(&soak["sustained_ratio"], 1.0 / 1.5, 0.01);
    near(&soak["burst_frames_per_s"], 8.0 / 0.02, 8.0);
    // 2.2 A while an inference takes 30 ms for 8 frames; idle takes 1 A.
    let per_frame_uj = |ampere: f64| ampere * INPUT_V * 0.030 / 8.0 * 1e6;
    let energy = &soak["sustained_energy"];
    near(&energy["gross_per_frame_uj"], per_frame_uj(2.2), 0.01 * per_frame_uj(2.2));
    near(&energy["net_per_frame_uj"], per_frame_uj(1.2), 0.02 * per_frame_uj(1.2));
    let peaks = soak["peak_temperatures"].to_string();
    assert!(peaks.contains("99500"), "{peaks}");

    let shown = text(&output);
    assert!(shown.contains("throttled  ") && shown.contains('\u{2588}'), "{shown}");
    let report = std::fs::read_to_string(folder.join("o/report.html")).expect("a report");
    assert!(report.contains("passive trip 99.0"), "the timeline names the trip point");
    let shown_again = text(&run(&folder, &["show", "o"]));
    assert!(shown_again.contains("throttled  "), "{shown_again}");
    let replayed = run(&folder, &["replay", "o", "--dry-run", "--json"]);
    let again: serde_json::Value = serde_json::from_slice(&replayed.stdout).expect("JSON");
    assert_eq!(again["soaks"], profile["soaks"]);
}

fn near(found: &serde_json::Value, wanted: f64, within: f64) {
    let found = found.as_f64().expect("a number");
    assert!((found - wanted).abs() <= within, "{found} is not within {within} of {wanted}");
}
