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
    let output = clipmarkd(folder.path(), &["model", "inspect", "m.onnx", "--json", "--trial-limit", "60"]);
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
    let hints = ["--trial-limit", "60", "--axes", "video=batch,8,3,64,64", "--axes", "text=batch,frames"];
    let output = clipmarkd(folder.path(), &[&["model", "inspect", "m.onnx"][..], &hints].concat());
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(text.contains("frames is 16 alone: the file fixes it"), "{text}");
    assert!(text.contains("trial   batch 2 worked\n"), "{text}");
    assert!(text.contains("probe   batch is dynamic: 1, 2, 4 all worked"), "{text}");
}

#[test]
fn an_operator_that_the_backend_lacks_is_not_blamed_on_the_axes() {
    let folder = tempfile::tempdir().unwrap();
    write_with(folder.path(), b"Erf", b"Erq");
    let output = clipmarkd(folder.path(), &["model", "inspect", "m.onnx", "--trial-limit", "60"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(text.contains("tract cannot run this model at any size tried: "), "{text}");
    assert!(text.contains("does not know the operator Erq; try --backend onnxruntime\n"), "{text}");
    assert!(!text.contains("dynamic"), "{text}");
    assert_eq!(text.matches("trial ").count(), 2, "{text}");
}

/// Writes a model as `m.onnx` in which `text` is replaced by another of its length, so that the file stays a model.
fn write_with(folder: &Path, text: &[u8], replacement: &[u8]) {
    assert_eq!(text.len(), replacement.len());
    let mut bytes = BuiltIn::Temporal.onnx_bytes();
    let places: Vec<usize> =
        (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text)).collect();
    for at in places {
        bytes[at..at + text.len()].copy_from_slice(replacement);
    }
    std::fs::write(folder.join("m.onnx"), bytes).unwrap();
}

#[test]
fn a_hostile_name_in_a_model_commands_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    // OSC 52 writes the clipboard.
    write_with(folder.path(), b"video", b"\x1b]52;");
    for more in [&["--no-probe"][..], &["--no-probe", "--axes", "nothing=batch"]] {
        let output = clipmarkd(folder.path(), &[&["model", "inspect", "m.onnx"], more].concat());
        let (out, error) = (String::from_utf8(output.stdout.clone()).unwrap(), told(&output));
        assert!(format!("{out}{error}").contains("\u{fffd}]52;"), "{out}{error}");
        assert!(!out.contains('\u{1b}') && !error.contains('\u{1b}'), "{out:?} {error:?}");
    }
}
