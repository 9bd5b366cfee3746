//! `clipmarkd check --selftest` as a user runs it.

use super::Machine;
use clipmark_trt_fakes::model;

/// A machine with a model of one Add, which the stand-in for TensorRT computes truly. The stand-in for trtexec
/// says that compute takes 1.5 ms.
fn machine(major: u32, compute_us: u32) -> Machine {
    let machine = Machine::with_tensorrt(major, &format!("compute_us = {compute_us}")).with_trtexec();
    let shape = ["B", "T", "4"];
    let add = model::encode(
        &[("a", model::F32, &shape), ("b", model::F32, &shape)],
        &[("y", model::F32, &shape)],
        &[("add", "Add", &["a", "b"], &["y"])],
    );
    std::fs::write(machine.path("add.onnx"), add).expect("a writable folder");
    machine
}

/// The exit code, and everything said.
fn selftest(machine: &Machine, model: &str) -> (Option<i32>, String) {
    let output = machine.clipmarkd(&format!("check --selftest {model}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn outputs_that_equal_tracts_and_a_compute_time_that_equals_trtexecs_pass() {
    for major in [8, 10, 11] {
        let (code, said) = selftest(&machine(major, 1500), "add.onnx");
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("TensorRT on add at B1 T8"), "{said}");
        assert!(said.contains("ok      output y: 32 elements"), "{said}");
        assert!(said.contains("ok      compute 1.500 ms against 1.5"), "{said}");
    }
}

#[test]
fn a_compute_time_that_differs_from_trtexecs_fails() {
    let (code, said) = selftest(&machine(10, 3000), "add.onnx");
    assert_eq!(code, Some(9), "{said}");
    assert!(said.contains("ok      output y") && said.contains("DIFFER  compute 3.000 ms"), "{said}");
}

#[test]
fn outputs_that_differ_from_tracts_fail() {
    // The stand-in adds up its inputs, whatever the model says.
    let (code, said) = selftest(&machine(10, 1500), "");
    assert_eq!(code, Some(9), "{said}");
    for output in ["similarity", "logits", "embeddings"] {
        assert!(said.contains(&format!("DIFFER  output {output}")), "{output}: {said}");
    }
}

#[test]
fn a_missing_trtexec_is_said_and_is_no_failure() {
    let machine = machine(10, 1500);
    std::fs::remove_file(machine.path("trtexec")).expect("it was there");
    let (code, said) = selftest(&machine, "add.onnx");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("not compared: compute time, because trtexec cannot be run"), "{said}");
}

#[test]
fn without_tensorrt_with_a_crash_and_without_the_model_each_has_its_exit_code() {
    let (code, said) = selftest(&Machine::bare(), "copy.onnx");
    assert!(code == Some(4) && said.contains("libcuda.so.1"), "{code:?}: {said}");
    let (code, said) = selftest(&Machine::with_tensorrt(10, "crash = build"), "copy.onnx");
    assert!(code == Some(11) && said.contains("signal: 11") && said.contains("dmesg"), "{code:?}: {said}");
    let (code, said) = selftest(&Machine::bare(), "absent.onnx");
    assert!(code == Some(3) && said.contains("absent.onnx"), "{code:?}: {said}");
}
