//! `clipmarkd model` as a user meets it: files, findings, errors and exit codes.
#![expect(clippy::unwrap_used, reason = "a helper that fails is its test failing")]

use clipmark_daemon::model::built_in::BuiltIn;
use std::path::Path;
use std::process::{Command, Output};

fn clipmarkd(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_clipmarkd")).current_dir(folder).args(arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_model_is_written_once_and_then_only_by_force() {
    let folder = tempfile::tempdir().unwrap();
    let first = clipmarkd(folder.path(), &["model", "write", "temporal", "m.onnx"]);
    assert_eq!(first.status.code(), Some(0), "{}", told(&first));
    assert_eq!(std::fs::read(folder.path().join("m.onnx")).unwrap(), BuiltIn::Temporal.onnx_bytes());
    let second = clipmarkd(folder.path(), &["model", "write", "joint", "m.onnx"]);
    assert_eq!(second.status.code(), Some(2));
    assert!(told(&second).contains("m.onnx exists already"), "{}", told(&second));
    let forced = clipmarkd(folder.path(), &["model", "write", "joint", "m.onnx", "--force"]);
    assert_eq!(forced.status.code(), Some(0), "{}", told(&forced));
}

#[test]
fn inspect_names_the_axes_and_probes_them_in_a_worker() {
    let folder = tempfile::tempdir().unwrap();
    BuiltIn::Temporal.write(&folder.path().join("m.onnx"), false).unwrap();
    let output = clipmarkd(folder.path(), &["model", "inspect", "m.onnx", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let axes = serde_json::json!(["batch", "frames", "3", "64", "64"]);
    assert_eq!(report["inputs"][0]["axes"], axes, "{report:#}");
    assert_eq!(report["parameters"], 293_817, "{report:#}");
    let verdicts: Vec<&str> =
        report["probes"].as_array().unwrap().iter().filter_map(|probe| probe["verdict"].as_str()).collect();
    assert_eq!(
        verdicts,
        ["frames is dynamic: 1, 2, 8, 16, 32, 64, 128 all worked", "batch is dynamic: 1, 2, 4 all worked"]
    );
}

#[test]
fn inspect_finds_out_an_axis_that_is_declared_dynamic_and_is_not() {
    let folder = tempfile::tempdir().unwrap();
    BuiltIn::Conv3d.write(&folder.path().join("m.onnx"), false).unwrap();
    // The text's 16 tokens taken for frames: declared by the user, refused by the model.
    let hints = ["--axes", "video=batch,8,3,64,64", "--axes", "text=batch,frames"];
    let output = clipmarkd(folder.path(), &[&["model", "inspect", "m.onnx"][..], &hints].concat());
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(text.contains("frames is 16 alone: the file fixes it"), "{text}");
    assert!(text.contains("probe   batch is dynamic: 1, 2, 4 all worked"), "{text}");
}

#[test]
fn a_file_that_is_missing_or_no_model_ends_with_the_code_for_bad_models() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("words.onnx"), "these are words").unwrap();
    for (name, problem) in
        [("nowhere.onnx", "there is no file nowhere.onnx"), ("words.onnx", "not a usable ONNX")]
    {
        let output = clipmarkd(folder.path(), &["model", "inspect", name]);
        assert_eq!(output.status.code(), Some(3), "{}", told(&output));
        assert!(told(&output).contains(problem), "{}", told(&output));
    }
}

#[test]
fn a_malformed_flag_ends_with_the_code_for_usage() {
    let folder = tempfile::tempdir().unwrap();
    BuiltIn::Joint.write(&folder.path().join("m.onnx"), false).unwrap();
    let output = clipmarkd(folder.path(), &["model", "inspect", "m.onnx", "--size", "height"]);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("--size height is not understood; write NAME=SIZE"), "{}", told(&output));
}

#[test]
fn a_hostile_name_in_a_model_commands_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    // OSC 52 writes the clipboard. As long as the name that it replaces, so that the file stays a model.
    let (name, attack) = (b"video", b"\x1b]52;");
    let mut bytes = BuiltIn::Temporal.onnx_bytes();
    let places: Vec<usize> =
        (0..bytes.len() - name.len()).filter(|at| bytes[*at..].starts_with(name)).collect();
    for at in places {
        bytes[at..at + name.len()].copy_from_slice(attack);
    }
    std::fs::write(folder.path().join("m.onnx"), bytes).unwrap();
    for more in [&["--no-probe"][..], &["--no-probe", "--axes", "nothing=batch"]] {
        let output = clipmarkd(folder.path(), &[&["model", "inspect", "m.onnx"], more].concat());
        let (out, error) = (String::from_utf8(output.stdout.clone()).unwrap(), told(&output));
        assert!(format!("{out}{error}").contains("\u{fffd}]52;"), "{out}{error}");
        assert!(!out.contains('\u{1b}') && !error.contains('\u{1b}'), "{out:?} {error:?}");
    }
}
