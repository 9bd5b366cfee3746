//! Everything a user can get wrong gives its documented exit code, names the thing, and says what to do.

use super::{clipmarkd, code, errors, folder_with, quick, run, text};
use std::process::Stdio;

/// Runs `arguments`; holds the exit code and that standard error names each of `parts`.
fn check(arguments: &str, expected: i32, parts: &[&str]) {
    let (_keep, folder) = folder_with(super::VARIANT);
    std::fs::write(folder.join("notes.txt"), "not a model").expect("a writable folder");
    std::fs::write(folder.join("notes.onnx"), "not a model").expect("a writable folder");
    let whole = clipmark_daemon::model::built_in::BuiltIn::Temporal.onnx_bytes();
    std::fs::write(folder.join("cut.onnx"), &whole[..whole.len() / 2]).expect("a writable folder");
    std::fs::write(folder.join("whole.onnx"), &whole).expect("a writable folder");
    std::fs::write(folder.join("plan.toml"), "clip_lenghts = [8]").expect("a writable folder");
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let output = run(&folder, &arguments);
    let told = errors(&output);
    assert_eq!(code(&output), expected, "{arguments:?}: {told}");
    for part in parts {
        assert!(told.contains(part), "{arguments:?} does not speak of {part:?}: {told}");
    }
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn a_missing_model_is_named() {
    check("run absent.onnx --no-sampler", 3, &["there is no file absent.onnx", "check the path"]);
}

#[test]
fn a_file_that_is_no_onnx_is_named() {
    check("run notes.onnx --no-sampler", 3, &["notes.onnx", "ONNX"]);
    check("run notes.txt --no-sampler", 3, &["notes.txt", "ONNX"]);
}

#[test]
fn a_file_that_is_cut_short_is_named() {
    check("run cut.onnx --no-sampler", 3, &["cut.onnx"]);
}

#[test]
fn a_batch_size_of_zero_is_refused_with_its_range() {
    check("run --batch-sizes 0 --no-sampler", 2, &["--batch-sizes", "0", "1 to"]);
    check("run --clip-lengths 0 --no-sampler", 2, &["--clip-lengths", "1 to"]);
}

#[test]
fn axes_that_the_model_lacks_are_refused_with_the_models_inputs() {
    check("run whole.onnx --axes sound=batch,frames --no-sampler", 3, &["sound", "video"]);
    check("run whole.onnx --axes video=batch,height,3,64,64 --no-sampler", 3, &["video"]);
}

#[test]
fn a_clip_length_that_the_model_cannot_take_is_a_failed_point_and_nothing_is_measured() {
    check(
        "run whole.onnx --backend tract --clip-lengths 300 --batch-sizes 1 --iterations 3 --no-sampler --out o",
        7,
        &["B1 T300", "failed"],
    );
}

#[test]
fn an_unknown_backend_is_refused_with_the_known_ones() {
    check("run --backend abacus --no-sampler", 2, &["abacus", "tract"]);
}

#[test]
fn a_backend_that_this_machine_lacks_is_unavailable() {
    check("run --backend tensorrt --no-sampler", 4, &["tensorrt", "without a GPU use --backend tract"]);
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    check("run --fps 30 --deadline 10 --no-sampler", 2, &["--deadline"]);
    check("run --load paced --no-sampler", 2, &["give --fps, e.g. 30"]);
    check("run --budget soon --no-sampler", 2, &["--budget"]);
}

#[test]
fn a_plan_file_with_an_unknown_field_is_refused_with_its_line() {
    check("run --plan plan.toml --no-sampler", 2, &["plan.toml", "clip_lenghts"]);
    check("run --plan absent.toml --no-sampler", 2, &["absent.toml", "check the path"]);
}

#[test]
fn a_value_that_is_no_number_is_named_with_the_form_that_is_expected() {
    check("run --clip-lengths 8-16", 2, &["clip length: `8-16` is not a whole number from 1 to 4096"]);
    check("run --batch-sizes 8,x", 2, &["batch size: `x` is not a whole number from 1 to 1024"]);
    check("run --deadline abc", 2, &["`abc` is no number; write milliseconds, e.g. 33.3"]);
    check("run --seed x", 2, &["`x` is no whole number; write a number from 0 on"]);
}

#[test]
fn a_number_out_of_range_is_named_by_its_flag() {
    check("run --budget 0 --no-sampler", 2, &["--budget (in seconds) = 0 is outside 1 to"]);
    check("run --fps -3 --no-sampler", 2, &["--fps = -3 is outside 0.01 to"]);
    check("run --memory-limit 1k --no-sampler", 2, &["--memory-limit (in bytes) = 1024 is outside 1048576"]);
}

#[test]
fn a_cpu_that_is_not_there_is_refused_with_those_that_are() {
    let (_keep, folder) = folder_with(super::VARIANT);
    let mut arguments = quick("out");
    arguments.extend(["--worker-cpus", "999"]);
    let output = run(&folder, &arguments);
    let told = errors(&output);
    assert_eq!(code(&output), 2, "{told}");
    for part in ["--worker-cpus 999: CPU 999 is not among those", "(0", "choose from these"] {
        assert!(told.contains(part), "{told}");
    }
    // It is refused before anything runs.
    assert!(!folder.join("out").exists());
}

#[test]
fn a_simulated_variant_that_cannot_be_read_is_named() {
    let told = "the simulated variant absent.toml cannot be read";
    check("run --simulate absent.toml --no-sampler", 2, &[told, "check the path"]);
    let told = "the simulated variant plan.toml cannot be read";
    check("run --simulate plan.toml --no-sampler", 2, &[told, "clip_lenghts"]);
}

#[test]
fn a_misspelt_name_is_answered_by_the_one_that_was_meant() {
    check("run jiont --no-sampler", 3, &["the model cannot be used", "did you mean joint?"]);
    check("run --backend trt --no-sampler", 2, &["did you mean tensorrt?"]);
}

#[test]
fn no_setting_of_a_run_is_taken_when_it_is_resumed() {
    for flags in ["--fps 30", "--budget 5m", "--seed 3", "--exhaustive", "--plan plan.toml", "--out p"] {
        let flag = flags.split(' ').next().expect("a flag");
        check(&format!("run --resume o {flags}"), 2, &["cannot be used with", "--resume", flag]);
    }
    check("run --resume o whole.onnx", 2, &["cannot be used with", "MODEL.onnx"]);
}

#[test]
fn a_run_of_which_nothing_comes_leaves_no_folder() {
    let (_keep, folder) = folder_with(super::VARIANT);
    assert_eq!(code(&run(&folder, &["run", "absent.onnx", "--no-sampler"])), 3);
    let left: Vec<_> = std::fs::read_dir(&folder).expect("readable").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn help_names_the_defaults_of_a_run() {
    let (_keep, folder) = folder_with("");
    let shown = text(&run(&folder, &["run", "--help"]));
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "[default: 8,16,32,64,128]",
        "[default: 1,2,4]",
        "[default: 4s a point, at least 20s]",
        "[default: 120s]",
        "[default: 30s]",
        "--budget <TIME>",
        "--fps <RATE>",
        "--iterations <COUNT>",
        "config/plan.toml",
        "CLIPMARK_TENSORRT_DIR",
        "[possible values: model, fp32, tf32, fp16, bf16, int8]",
    ] {
        assert!(words.contains(part), "{part:?} is missing: {words}");
    }
}

#[test]
fn an_unknown_subcommand_is_a_usage_error() {
    check("walk", 2, &["walk"]);
}

#[test]
fn help_lists_every_exit_code() {
    let (_keep, folder) = folder_with("");
    let output = run(&folder, &["--help"]);
    assert_eq!(code(&output), 0);
    for (code, meaning) in
        <clipmark_daemon::exit_codes::ExitCode as clipmark_service::outcome::Code>::MEANINGS
    {
        // Long meanings are wrapped: their first words are enough.
        let words: Vec<&str> = meaning.split_whitespace().take(3).collect();
        assert!(text(&output).contains(&words.join(" ")), "{code:?} is missing");
    }
}

#[test]
fn a_folder_that_cannot_be_created_is_named() {
    check("run --no-sampler --out /proc/foo", 5, &["cannot make the results folder /proc/foo", "--out"]);
    check("run --simulate variant.toml --no-sampler --out notes.txt/results", 5, &["notes.txt/results"]);
}

#[test]
fn results_are_never_overwritten() {
    let (_keep, folder) = folder_with(super::VARIANT);
    assert_eq!(code(&run(&folder, &quick("o"))), 0);
    let again = run(&folder, &quick("o"));
    assert_eq!(code(&again), 5);
    assert!(errors(&again).contains("--resume o"), "{}", errors(&again));
}

#[test]
fn standard_output_on_a_full_disk_is_an_error() {
    let (_keep, folder) = folder_with(super::VARIANT);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut arguments = quick("o");
    arguments.push("--json");
    let output = clipmarkd(&folder).args(arguments).stdout(Stdio::from(full)).output().expect("it starts");
    assert_eq!(code(&output), 5);
    assert!(errors(&output).contains("standard output"), "{}", errors(&output));
}

/// A disk of 96 KiB in a mount namespace of its own. Where the system permits no such namespace, a limit on
/// the size of files stands in: the write fails all the same, with another reason.
#[test]
fn a_full_disk_is_told_as_such_and_keeps_what_was_written() {
    let (_keep, folder) = folder_with(super::VARIANT);
    std::fs::create_dir(folder.join("disk")).expect("a writable folder");
    let binary = env!("CARGO_BIN_EXE_clipmarkd");
    let quick = quick("disk/o").join(" ").replace("--iterations 60", "--iterations 5000");
    let namespaces = std::process::Command::new("unshare").args(["-Urm", "true"]).status();
    let (script, reason) = if namespaces.is_ok_and(|status| status.success()) {
        let mount = "mount -t tmpfs -o size=96k none disk";
        (format!("{mount} && {binary} {quick}; code=$?; ls disk/o/record >&2; exit $code"), "disk is full")
    } else {
        (
            format!(
                "trap '' XFSZ; ulimit -f 40; {binary} {quick}; code=$?; ls disk/o/record >&2; exit $code"
            ),
            "limit",
        )
    };
    let mut command = std::process::Command::new(if reason == "limit" { "env" } else { "unshare" });
    if reason != "limit" {
        command.arg("-Urm");
    }
    let output = command.args(["sh", "-c", &script]).current_dir(&folder).output().expect("a shell");
    assert_eq!(code(&output), 5, "{}", errors(&output));
    let told = errors(&output);
    assert!(told.contains("cannot write") && told.contains(reason), "{told}");
    assert!(told.contains("header.json"), "the record is still there: {told}");
}

#[test]
fn showing_something_else_than_a_profile_is_refused() {
    check("show absent.cbor", 5, &["absent.cbor", "check the path"]);
    check("show notes.txt", 5, &["notes.txt", "no profile"]);
    check("replay .", 5, &["holds no record"]);
}

#[test]
fn a_full_disk_below_standard_error_does_not_hide_the_exit_code() {
    let (_keep, folder) = folder_with(super::VARIANT);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let mut command = clipmarkd(&folder);
    let status = command.args(["run", "absent.onnx", "--no-sampler"]).stderr(full).status();
    assert_eq!(status.expect("the binary starts").code(), Some(3));
}
