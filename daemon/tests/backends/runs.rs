//! Whole runs with TensorRT: what is timed, what options do, and which backend `auto` takes.

use super::{Machine, point, remarks};

const QUICK: &str = "copy.onnx --backend tensorrt --batch-sizes 1 --clip-lengths 8,16 --iterations 20";

#[test]
fn wall_time_and_the_devices_own_times_stand_side_by_side() {
    for major in [8, 10, 11] {
        let machine = Machine::with_tensorrt(major, "compute_us = 300\ncopy_us = 20");
        let (_, profile) = machine.run(QUICK, 0);
        for clip_length in [8, 16] {
            let point = point(&profile, clip_length);
            assert_eq!(point["status"], "measured", "{point:#}");
            assert_eq!(point["latency"]["iterations"], 20);
            // A wait sleeps at least as long as the device was busy: 20 + 300 + 20 microseconds.
            assert!(point["latency"]["min_ns"].as_u64() >= Some(340_000), "{point:#}");
            for (name, ns) in [
                ("compute_p50_ns", 300_000.0),
                ("compute_p99_ns", 300_000.0),
                ("h2d_p50_ns", 20_000.0),
                ("d2h_p99_ns", 20_000.0),
            ] {
                assert_eq!(point[name], ns, "TensorRT {major}, {name}");
            }
            assert!(point["device_memory_bytes"].as_u64() > Some(0), "{point:#}");
            assert!(remarks(point, "engine built, "), "{point:#}");
            assert_eq!(point["engine"]["cached"], false, "{point:#}");
            assert!(point["engine"]["size"].as_u64() > Some(0), "{point:#}");
        }
        let notes = profile["backends"][0]["notes"].to_string();
        assert!(notes.contains("latency is the host's wall time"), "{notes}");
        for (file, every) in [("compute.u64", 300_000), ("h2d.u64", 20_000), ("d2h.u64", 20_000)] {
            let bytes = std::fs::read(machine.path("out/record/points/0000").join(file)).expect("an array");
            let times: Vec<u64> =
                bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
            assert!(times.len() >= 20 && times.iter().all(|&time| time == every), "{file}: {times:?}");
        }
        let report = std::fs::read_to_string(machine.path("out/report.html")).expect("a report");
        assert!(report.contains("Device times"));
    }
}

#[test]
fn jitter_of_the_device_shows_in_the_tail_of_wall_and_compute() {
    let machine = Machine::with_tensorrt(10, "compute_us = 100\njitter_us = 400");
    let (_, profile) = machine.run(&QUICK.replace("--iterations 20", "--iterations 200"), 0);
    let point = point(&profile, 8);
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    let compute = ["compute_p50_ns", "compute_p95_ns", "compute_p99_ns"].map(|name| number(&point[name]));
    assert!(compute.is_sorted() && compute[2] > 1.3 * compute[0], "{compute:?}");
    assert!(compute[0] > 100_000.0 && compute[2] <= 500_000.0, "{compute:?}");
    assert!(number(&point["latency"]["p99_ns"]) > compute[2], "{point:#}");
}

#[test]
fn the_second_run_takes_its_engines_from_the_cache() {
    let machine = Machine::with_tensorrt(10, "");
    machine.run(QUICK, 0);
    std::fs::remove_dir_all(machine.path("out")).expect("a finished run");
    let (_, profile) = machine.run(QUICK, 0);
    assert_eq!(machine.builds().len(), 2, "one engine a point, built once");
    assert!(remarks(point(&profile, 8), "engine taken from the cache, "), "{profile:#}");
    assert_eq!(point(&profile, 8)["engine"]["cached"], true, "{profile:#}");
}

#[test]
fn options_reach_the_builder_and_their_effect_is_in_the_profile() {
    let machine = Machine::with_tensorrt(10, "dla_cores = 2");
    let options = "--precision fp16 --backend-option dla_core=1 --backend-option cuda_graph=true \
                   --backend-option workspace_mib=64 --backend-option builder_level=4";
    let (_, profile) = machine.run(&format!("{QUICK} {options}"), 0);
    for words in [
        "DLA core 1; layers that it cannot run run on the GPU",
        "one CUDA graph",
        "scratch memory limited to 64 MiB",
        "builder optimisation level 4",
    ] {
        assert!(remarks(point(&profile, 16), words), "{words}: {profile:#}");
    }
    for asked in ["dla_core=1", "level=4", "pool0=67108864", "flag0=1"] {
        assert!(machine.builds()[0].contains(asked), "{asked}: {:?}", machine.builds());
    }
}

#[test]
fn a_plan_file_asks_for_one_engine_that_serves_every_point() {
    let machine = Machine::with_tensorrt(8, "");
    let plan = "backends = [\"tensorrt\", \"tract\"]\nbatch_sizes = [1, 2]\nclip_lengths = [8, 32]\n\
                iterations = 5\n[backend_options]\nprofile = \"shared\"\n";
    std::fs::write(machine.path("plan.toml"), plan).expect("a writable folder");
    let (_, profile) = machine.run("copy.onnx --plan plan.toml", 0);
    let builds = machine.builds();
    assert_eq!(builds.len(), 1, "{builds:?}");
    assert!(builds[0].contains("x=[[1, 8, 4], [2, 32, 4], [2, 32, 4]]"), "{builds:?}");
    for clip_length in [8, 32] {
        assert!(
            remarks(point(&profile, clip_length), "one engine serves x:1x8x4 to x:2x32x4"),
            "{profile:#}"
        );
    }
    let statuses = profile["points"].as_array().expect("points").iter().map(|point| &point["status"]);
    assert!(statuses.clone().all(|status| status == "measured"), "{profile:#}");
    assert_eq!(statuses.count(), 8, "tract is not troubled by an option that is not its own");
}

#[test]
fn an_option_that_no_backend_takes_is_a_usage_error() {
    let machine = Machine::with_tensorrt(10, "");
    for (option, words) in
        [("warp=1", "no backend of this run takes the option `warp`"), ("dla_core=x", "0 to 15")]
    {
        let output =
            machine.clipmarkd(&format!("run {QUICK} --no-sampler --out o --backend-option {option}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn auto_takes_tensorrt_where_it_can_be_used_and_says_so() {
    let machine = Machine::with_tensorrt(11, "");
    let (said, profile) = machine.run(&QUICK.replace("tensorrt", "auto"), 0);
    assert!(said.contains("auto chose tensorrt: it is the best backend"), "{said}");
    assert_eq!(profile["variants"][0]["backend"], "tensorrt");
    assert!(profile["backends"][0]["notes"].to_string().contains("auto chose tensorrt"), "{profile:#}");
}

#[test]
fn auto_takes_tract_elsewhere_and_says_why() {
    let machine = Machine::bare();
    let (said, profile) = machine.run(&QUICK.replace("tensorrt", "auto"), 0);
    assert!(said.contains("auto chose tract, because tensorrt cannot be used: "), "{said}");
    assert!(said.contains("libcuda.so.1"), "{said}");
    assert_eq!(profile["variants"][0]["backend"], "tract");
    assert!(profile["backends"][0]["notes"].to_string().contains("auto chose tract, because"), "{profile:#}");
}

#[test]
fn without_a_gpu_there_is_one_error_with_what_to_do_and_its_exit_code() {
    for (machine, words) in [
        (Machine::bare(), "libcuda.so.1"),
        (Machine::with_tensorrt(10, "devices = 0"), "no CUDA-capable device"),
        (Machine::with_tensorrt(8, "create = garbage\ncuinit = 803"), "reboot"),
    ] {
        let output = machine.clipmarkd(&format!("run {QUICK} --no-sampler --out out"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains(words) && said.contains("tensorrt"), "{said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("error")).count(), 1, "{said}");
        assert!(output.stdout.is_empty() && !machine.path("out/profile.json").exists());
    }
}
